//! Where the backend is.

use std::path::PathBuf;

use ureq::http::Uri;

/// An address of http or https, or a Unix socket with a path of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    uri: String,
    socket: Option<PathBuf>,
}

impl Target {
    /// Reads `http://…`, `https://…` or `unix:/path/of/socket[:/path]`.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = match rest.split_once(":/") {
                Some((socket, path)) => (socket, format!("/{path}")),
                None => (rest, "/".to_owned()),
            };
            if !socket.starts_with('/') {
                return Err("the path of the socket must begin with /".to_owned());
            }
            let uri = format!("http://localhost{path}");
            uri.parse::<Uri>().map_err(|error| format!("the path behind the socket: {error}"))?;
            return Ok(Self { uri, socket: Some(socket.into()) });
        }
        let uri: Uri = text.parse().map_err(|error| format!("not an address: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("not an address of http or https, nor unix:PATH".to_owned());
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err("the address names no host".to_owned());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("the address must not hold a password; requests are signed instead".to_owned());
        }
        Ok(Self { uri: text.to_owned(), socket: None })
    }

    /// The address for requests.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The socket that they go through, if it is not that of the address.
    #[must_use]
    pub fn socket(&self) -> Option<&PathBuf> {
        self.socket.as_ref()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.socket.is_none() && self.uri.starts_with("https:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_are_understood() {
        for (text, uri, socket) in [
            ("http://127.0.0.1:3000/hooks", "http://127.0.0.1:3000/hooks", None),
            ("https://team.example/chat?x=1", "https://team.example/chat?x=1", None),
            ("unix:/run/team.sock", "http://localhost/", Some("/run/team.sock")),
            ("unix:/run/team.sock:/hooks", "http://localhost/hooks", Some("/run/team.sock")),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.uri(), target.socket().cloned()), (uri, socket.map(PathBuf::from)), "{text}");
        }
        for (text, why) in [
            ("team.example", "nor unix:PATH"),
            ("ftp://team.example/", "nor unix:PATH"),
            ("/run/team.sock", "nor unix:PATH"),
            ("http://", "not an address"),
            ("https://a:b@team.example/", "password"),
            ("unix:team.sock", "must begin with /"),
            ("unix:/run/team.sock:/a b", "the path behind the socket"),
        ] {
            let error = Target::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
