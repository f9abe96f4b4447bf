//! The page, embedded in the binary.

use sha1::{Digest, Sha1};

use crate::app::{Body, Fields, Response, list_elements};

/// Nothing from elsewhere, nothing inline: what a user wrote cannot become a script (S25).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug)]
pub(in crate::chat) struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    etag: String,
}

/// All files of the page; nothing else is ever served.
#[derive(Debug)]
pub(in crate::chat) struct Assets([Asset; 32]);

impl Assets {
    pub(in crate::chat) fn new() -> Self {
        Self([
            Asset::new("/", "text/html; charset=utf-8", include_bytes!("page/index.html")),
            Asset::script("/app.js", include_bytes!("page/app.js")),
            Asset::script("/client.js", include_bytes!("page/client.js")),
            Asset::script("/composer.js", include_bytes!("page/composer.js")),
            Asset::script("/connection.js", include_bytes!("page/connection.js")),
            Asset::script("/conversations.js", include_bytes!("page/conversations.js")),
            Asset::script("/dom.js", include_bytes!("page/dom.js")),
            Asset::script("/files.js", include_bytes!("page/files.js")),
            Asset::script("/item.js", include_bytes!("page/item.js")),
            Asset::script("/log.js", include_bytes!("page/log.js")),
            Asset::script("/memory.js", include_bytes!("page/memory.js")),
            Asset::script("/menu.js", include_bytes!("page/menu.js")),
            Asset::script("/notices.js", include_bytes!("page/notices.js")),
            Asset::script("/outbox.js", include_bytes!("page/outbox.js")),
            Asset::script("/panels.js", include_bytes!("page/panels.js")),
            Asset::script("/person.js", include_bytes!("page/person.js")),
            Asset::script("/piece.js", include_bytes!("page/piece.js")),
            Asset::script("/requests.js", include_bytes!("page/requests.js")),
            Asset::script("/room.js", include_bytes!("page/room.js")),
            Asset::script("/route.js", include_bytes!("page/route.js")),
            Asset::script("/schedule.js", include_bytes!("page/schedule.js")),
            Asset::script("/search.js", include_bytes!("page/search.js")),
            Asset::script("/sidebar.js", include_bytes!("page/sidebar.js")),
            Asset::script("/signin.js", include_bytes!("page/signin.js")),
            Asset::script("/status.js", include_bytes!("page/status.js")),
            Asset::script("/time.js", include_bytes!("page/time.js")),
            Asset::script("/wire.js", include_bytes!("page/wire.js")),
            Asset::script("/words.js", include_bytes!("page/words.js")),
            Asset::style("/layout.css", include_bytes!("page/layout.css")),
            Asset::style("/log.css", include_bytes!("page/log.css")),
            Asset::style("/style.css", include_bytes!("page/style.css")),
            Asset::new("/favicon.svg", "image/svg+xml", include_bytes!("page/favicon.svg")),
        ])
    }

    /// The file at exactly this path.
    pub(in crate::chat) fn find(&self, path: &str) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.path == path)
    }
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        let etag =
            Sha1::digest(body).iter().fold(String::from("\""), |tag, octet| format!("{tag}{octet:02x}"));
        Self { path, content_type, body, etag: etag + "\"" }
    }

    fn script(path: &'static str, body: &'static [u8]) -> Self {
        Self::new(path, "text/javascript; charset=utf-8", body)
    }

    fn style(path: &'static str, body: &'static [u8]) -> Self {
        Self::new(path, "text/css; charset=utf-8", body)
    }

    /// 200, or 304 when the client has it already (RFC 9110 13.1.2).
    pub(in crate::chat) fn response(&self, request: &Fields<'_>) -> Response {
        let is_known = request
            .all("if-none-match")
            .flat_map(list_elements)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes());
        let (status, body) = if is_known { (304, &[][..]) } else { (200, self.body) };
        let response = Response { status, fields: Vec::new(), body: Body::Static(body) }
            .field("ETag", self.etag.as_str())
            .field("Cache-Control", "no-cache")
            .field("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .field("X-Content-Type-Options", "nosniff")
            .field("Referrer-Policy", "no-referrer");
        if is_known { response } else { response.field("Content-Type", self.content_type) }
    }
}

#[cfg(test)]
mod tests {
    use super::Assets;

    #[test]
    fn every_file_of_the_page_is_served_once() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chat/page");
        let names =
            std::fs::read_dir(directory).expect("the page").map(|entry| entry.expect("a file").file_name());
        let mut files: Vec<String> = names
            .map(|name| format!("/{}", name.into_string().expect("a plain name")).replace("/index.html", "/"))
            .collect();
        let mut served: Vec<String> = Assets::new().0.iter().map(|asset| asset.path.to_owned()).collect();
        files.sort_unstable();
        served.sort_unstable();
        assert_eq!(files, served);
    }
}
