//! The page: embedded in the binary, read from a directory, or none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use http_range_header::parse_range_header;
use percent_encoding::percent_decode_str;
use sha1::{Digest, Sha1};

use crate::app::{Body, Fields, RequestHead, Response, list_elements};

/// Nothing from elsewhere, nothing inline: what a user wrote cannot become a script (S25).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// For a directory of one's own: nothing from elsewhere; styles and pictures may stand in its files.
const OWN_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     object-src 'none'; base-uri 'self'; frame-ancestors 'none'";
/// Files of a directory.
const MAX_PAGE_FILES: usize = 4096;
/// Bytes of all files of a directory together; they are kept in memory.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// Directories in each other.
const MAX_PAGE_DEPTH: usize = 16;
/// A file is compressed when that saves so much: one in this many octets at least.
#[cfg(feature = "deflate")]
const WORTH_COMPRESSING: usize = 8;
/// What the page is told before it connects.
const CONFIG: &str = "config.json";
const INDEX: &str = "index.html";

/// The files that the chat serves beside `/ws`. All of them are in memory, so a request never waits for a disk, and no
/// path of a request ever reaches the file system.
#[derive(Debug)]
pub struct Page {
    assets: BTreeMap<String, Asset>,
    policy: &'static str,
}

/// A file of the page.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Asset {
    content_type: String,
    plain: Form,
    /// The same, compressed by gzip, where that is worth it.
    gzip: Option<Form>,
    policy: &'static str,
}

/// A form in which a file is sent.
#[derive(Debug, Clone)]
struct Form {
    body: &'static [u8],
    etag: String,
}

/// Why a directory is no page.
#[derive(Debug)]
#[non_exhaustive]
pub enum PageError {
    /// It cannot be read.
    Io(io::Error),
    /// It has no `index.html`.
    NoIndex,
    /// It has directories that are too deep in each other.
    TooDeep,
    /// It has too many files, or too many bytes.
    TooLarge,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoIndex => write!(f, "there is no {INDEX} in it"),
            Self::TooDeep => write!(f, "its directories are more than {MAX_PAGE_DEPTH} deep"),
            Self::TooLarge => {
                write!(f, "a page has at most {MAX_PAGE_FILES} files and {} MiB", MAX_PAGE_BYTES >> 20)
            }
        }
    }
}

impl Error for PageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for PageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The files of the built-in page, by name.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, { let body: &[u8] = include_bytes!(concat!("page/", $name)); body })),*]
    };
}

/// The files of the client for JavaScript, by the names under which they are served.
macro_rules! client {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!("client/", $name),
            {
                let body: &[u8] = include_bytes!(concat!("../../clients/js/src/", $name));
                body
            },
        )),*]
    };
}

/// The files of the built-in page.
const FILES: &[(&str, &[u8])] = &embedded![
    "app.js",
    "browse.js",
    "complete.js",
    "composer.css",
    "composer.js",
    "deletions.js",
    "dom.js",
    "early.js",
    "emoji.js",
    "favicon.svg",
    "files.js",
    "frames.js",
    "index.html",
    "item.js",
    "later.js",
    "layout.css",
    "log.css",
    "log.js",
    "memory.js",
    "menu.js",
    "moderate.js",
    "notices.js",
    "notify.js",
    "panels.js",
    "person.js",
    "picker.js",
    "route.js",
    "schedule.js",
    "search.js",
    "sentences.js",
    "settings.js",
    "sidebar.js",
    "signin.js",
    "status.js",
    "style.css",
    "tap.js",
    "text.js",
    "time.js",
    "words.ar.js",
    "words.de.js",
    "words.en.js",
    "words.js",
];
/// The client for JavaScript, which the page uses, and which pages of one's own may use (`import './client/index.js'`).
const CLIENT: &[(&str, &[u8])] = &client![
    "client.js",
    "connection.js",
    "conversations.js",
    "environment.js",
    "errors.js",
    "index.js",
    "marks.js",
    "mentions.js",
    "outbox.js",
    "piece.js",
    "requests.js",
    "room.js",
    "storage.js",
    "wire.js",
];
/// What is served of them, hashed and compressed once in a process.
static BUILT_IN: OnceLock<BTreeMap<String, Asset>> = OnceLock::new();

impl Page {
    /// The page that is part of the binary.
    #[must_use]
    pub fn built_in() -> Self {
        let assets = BUILT_IN.get_or_init(|| {
            let mut page = Self::none();
            for (name, body) in FILES.iter().chain(CLIENT) {
                page.add(name, body);
            }
            page.with_sign_in_url(None).assets
        });
        Self { assets: assets.clone(), policy: CONTENT_SECURITY_POLICY }
    }

    /// No page: everything but `/ws` is not found.
    #[must_use]
    pub fn none() -> Self {
        Self { assets: BTreeMap::new(), policy: CONTENT_SECURITY_POLICY }
    }

    /// These files, by name, under this Content Security Policy. They are hashed and compressed here, once.
    #[must_use]
    pub fn of_files(files: &[(&str, &'static [u8])], policy: &'static str) -> Self {
        let mut page = Self { assets: BTreeMap::new(), policy };
        for (name, body) in files {
            page.add(name, body);
        }
        page
    }

    /// The answer to a request for one of the files, whose path is given without what is before the page; `None`: there
    /// is no such file.
    #[must_use]
    pub fn respond(&self, path: &str, head: &RequestHead<'_>) -> Option<Response> {
        let asset = self.find(path)?;
        Some(match head.method {
            "GET" | "HEAD" => asset.response(&head.fields, head.method == "GET"),
            _ => Response::text(405, "only GET and HEAD are allowed here").field("Allow", "GET, HEAD"),
        })
    }

    /// The files under a directory, as they are now; `index.html` of a directory answers for its path. Names that begin
    /// with a dot are left out, and so are symbolic links that lead out of the directory.
    ///
    /// # Errors
    /// When the directory cannot be read, is too deep or too large, or has no `index.html`.
    pub fn directory(path: &Path) -> Result<Self, PageError> {
        let mut files = Files { root: fs::canonicalize(path)?, found: Vec::new(), bytes: 0 };
        let root = files.root.clone();
        files.find(&root, "", 0)?;
        let mut page = Self { assets: BTreeMap::new(), policy: OWN_SECURITY_POLICY };
        for (name, path) in files.found {
            // Once a process, and for all of it.
            page.add(&name, fs::read(path)?.leak());
        }
        // Unless it brings its own.
        for (name, body) in CLIENT {
            if !page.assets.contains_key(&format!("/{name}")) {
                page.add(name, body);
            }
        }
        if page.assets.contains_key("/") {
            return Ok(page.with_sign_in_url(None));
        }
        Err(PageError::NoIndex)
    }

    /// The same page, which is told where people sign in. A page that is none is told nothing.
    #[must_use]
    pub fn with_sign_in_url(mut self, url: Option<&str>) -> Self {
        if !self.assets.is_empty() {
            let config = serde_json::json!({ "sign_in_url": url }).to_string();
            self.add(CONFIG, config.into_bytes().leak());
        }
        self
    }

    /// The file at this path of a request target.
    pub(in crate::chat) fn find(&self, path: &str) -> Option<&Asset> {
        let path: Cow<'_, str> = percent_decode_str(path).decode_utf8().ok()?;
        self.assets.get(&*path)
    }

    fn add(&mut self, name: &str, body: &'static [u8]) {
        let path = match name.strip_suffix(INDEX) {
            Some(directory) if directory.is_empty() || directory.ends_with('/') => format!("/{directory}"),
            _ => format!("/{name}"),
        };
        self.assets.insert(path, Asset::new(name, body, self.policy));
    }
}

impl Asset {
    fn new(name: &str, body: &'static [u8], policy: &'static str) -> Self {
        let kind = mime_guess::from_path(name).first_or_octet_stream();
        let is_text = kind.type_() == mime_guess::mime::TEXT || kind.subtype() == "javascript";
        let is_compressible = is_text || kind.suffix().is_some() || kind.subtype() == mime_guess::mime::JSON;
        let content_type = if is_text { format!("{kind}; charset=utf-8") } else { kind.to_string() };
        let gzip = is_compressible.then(|| compressed(body)).flatten().map(Form::new);
        Self { content_type, plain: Form::new(body), gzip, policy }
    }

    /// 200, 304 when the client has it already (RFC 9110 13.1.2), 206 or 416 when it asks for a part (RFC 9110 14.2).
    pub(in crate::chat) fn response(&self, request: &Fields<'_>, is_get: bool) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| request.first("range").is_none() && takes_gzip(request));
        let form = gzip.unwrap_or(&self.plain);
        let is_known = request
            .all("if-none-match")
            .flat_map(list_elements)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == form.etag.as_bytes());
        let (status, body, range) = match self.range(request) {
            _ if is_known => (304, &[][..], None),
            Some(Ok((first, last))) if is_get => {
                (206, &self.plain.body[first..=last], Some(format!("{first}-{last}")))
            }
            Some(Err(())) if is_get => (416, &[][..], Some("*".to_owned())),
            _ => (200, form.body, None),
        };
        let mut response = Response { status, fields: Vec::new(), body: Body::Static(body) }
            .field("ETag", form.etag.as_str())
            .field("Cache-Control", "no-cache")
            .field("Accept-Ranges", "bytes")
            .field("Content-Security-Policy", self.policy)
            .field("X-Content-Type-Options", "nosniff")
            .field("Referrer-Policy", "no-referrer");
        if self.gzip.is_some() {
            response = response.field("Vary", "Accept-Encoding");
        }
        if let Some(range) = range {
            response = response.field("Content-Range", format!("bytes {range}/{}", self.plain.body.len()));
        }
        if matches!(status, 304 | 416) {
            return response;
        }
        if gzip.is_some() {
            response = response.field("Content-Encoding", "gzip");
        }
        response.field("Content-Type", &*self.content_type)
    }

    /// The one part that is asked for, first and last octet; an error when there is no such part. Several parts, and what
    /// is no range, are answered with the whole file, which RFC 9110 14.2 allows.
    fn range(&self, request: &Fields<'_>) -> Option<Result<(usize, usize), ()>> {
        let asked = parse_range_header(request.text("range")?.trim()).ok()?;
        // RFC 9110 13.1.5: a part of another version would be of no use.
        if request.first("if-range").is_some_and(|tag| tag != self.plain.etag.as_bytes()) || asked.len() != 1
        {
            return None;
        }
        let Ok(ranges) = asked.validate(self.plain.body.len() as u64) else { return Some(Err(())) };
        let range = ranges.first()?;
        Some(Ok((usize::try_from(*range.start()).ok()?, usize::try_from(*range.end()).ok()?)))
    }
}

/// The files of a directory, while they are looked for.
struct Files {
    root: PathBuf,
    found: Vec<(String, PathBuf)>,
    bytes: usize,
}

impl Files {
    fn find(&mut self, directory: &Path, prefix: &str, depth: usize) -> Result<(), PageError> {
        if depth > MAX_PAGE_DEPTH {
            return Err(PageError::TooDeep);
        }
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Where it leads; a link without an end is no file.
            let Ok(path) = fs::canonicalize(entry.path()) else { continue };
            if name.starts_with('.') || !path.starts_with(&self.root) {
                continue;
            }
            let kind = fs::metadata(&path)?;
            if kind.is_dir() {
                self.find(&path, &format!("{prefix}{name}/"), depth + 1)?;
            } else if kind.is_file() {
                self.bytes = self.bytes.saturating_add(usize::try_from(kind.len()).unwrap_or(usize::MAX));
                self.found.push((format!("{prefix}{name}"), path));
            }
            if self.found.len() > MAX_PAGE_FILES || self.bytes > MAX_PAGE_BYTES {
                return Err(PageError::TooLarge);
            }
        }
        Ok(())
    }
}

impl Form {
    fn new(body: &'static [u8]) -> Self {
        let etag =
            Sha1::digest(body).iter().fold(String::from("\""), |tag, octet| format!("{tag}{octet:02x}"));
        Self { body, etag: etag + "\"" }
    }
}

/// A file compressed by gzip, for as long as the process runs; `None` where that saves little.
#[cfg(feature = "deflate")]
fn compressed(body: &[u8]) -> Option<&'static [u8]> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).ok()?;
    let compressed = encoder.finish().ok()?;
    (compressed.len() + body.len() / WORTH_COMPRESSING < body.len()).then(|| &*compressed.leak())
}

/// Whoever builds without compression sends files as they are.
#[cfg(not(feature = "deflate"))]
fn compressed(_: &[u8]) -> Option<&'static [u8]> {
    None
}

/// Whether a client takes gzip (RFC 9110 12.5.3): one that names it, with a weight above 0.
fn takes_gzip(request: &Fields<'_>) -> bool {
    request.all("accept-encoding").flat_map(list_elements).any(|element| {
        let mut parts = element.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip"));
        let is_refused = |weight: &[u8]| {
            let weight = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="));
            weight.is_some_and(|weight| weight.iter().all(|octet| matches!(octet, b'0' | b'.')))
        };
        is_gzip && !parts.any(is_refused)
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_PAGE_BYTES, MAX_PAGE_DEPTH, MAX_PAGE_FILES, Page};
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A directory that is gone with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("switchboard-{}-{name}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, name: &str, body: &[u8]) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, body).expect("a file");
        }

        fn refused(&self) -> String {
            Page::directory(&self.0).expect_err("it is not taken").to_string()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn every_file_of_the_page_is_served_once() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chat/page");
        let own = Page::directory(Path::new(directory)).expect("the page");
        let built_in = Page::built_in();
        assert!(own.assets.keys().eq(built_in.assets.keys()), "{:?}", own.assets.keys());
    }

    #[test]
    fn a_directory_of_ones_own_shows_its_files_and_nothing_else() {
        let scratch = Scratch::new("page");
        scratch.file("secret", b"outside");
        scratch.file("page/index.html", b"<p>hi");
        scratch.file("page/docs/index.html", b"<p>docs");
        scratch.file("page/a b.txt", b"text");
        scratch.file("page/.env", b"hidden");
        let root = scratch.0.join("page");
        std::os::unix::fs::symlink(scratch.0.join("secret"), root.join("out")).expect("a link");
        std::os::unix::fs::symlink(&scratch.0, root.join("up")).expect("a link");
        std::os::unix::fs::symlink(root.join("a b.txt"), root.join("in.txt")).expect("a link");
        let page = Page::directory(&root).expect("a page");
        let is_own = |path: &&str| !path.starts_with("/client/");
        let paths: Vec<_> = page.assets.keys().map(String::as_str).filter(is_own).collect();
        assert_eq!(paths, ["/", "/a b.txt", "/config.json", "/docs/", "/in.txt"]);
        // The client is there, too, unless the directory has one of its own.
        assert!(page.find("/client/index.js").is_some());
        scratch.file("page/client/index.js", b"own");
        let own = Page::directory(&root).expect("a page");
        assert_eq!(own.find("/client/index.js").expect("it").plain.body, b"own");
        assert!(page.find("/a%20b.txt").is_some());
        for path in ["/../secret", "/%2e%2e/secret", "/docs/../../secret", "//secret", "/.env", "/a%ffb"] {
            assert!(page.find(path).is_none(), "{path}");
        }
        assert!(Page::none().with_sign_in_url(Some("/in")).find("/config.json").is_none());
    }

    #[test]
    fn a_directory_that_is_too_large_is_refused() {
        let scratch = Scratch::new("large");
        assert!(scratch.refused().contains("no index.html"));
        scratch.file("index.html", b"");
        assert!(Page::directory(&scratch.0).is_ok());
        let deep = "d/".repeat(MAX_PAGE_DEPTH + 1);
        scratch.file(&format!("{deep}x"), b"");
        assert!(scratch.refused().contains("deep"));
        fs::remove_dir_all(scratch.0.join("d")).expect("gone");
        let large = fs::File::create(scratch.0.join("large")).expect("a file");
        large.set_len(MAX_PAGE_BYTES as u64 + 1).expect("a length");
        assert!(scratch.refused().contains("at most"));
        large.set_len(0).expect("a length");
        for number in 0..MAX_PAGE_FILES {
            scratch.file(&number.to_string(), b"");
        }
        assert!(scratch.refused().contains("at most"));
    }
}
