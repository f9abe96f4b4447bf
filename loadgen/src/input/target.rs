//! The server to flood: the parts of its URL.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::{Position, Url};

use super::error::PlanError;

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

/// The parts of a WebSocket URL (RFC 6455 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL for reports, without secrets.
    pub(crate) url: String,
    /// Whether the scheme is `wss`.
    pub(crate) is_tls: bool,
    /// Name or address to resolve, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The Unix domain socket of `ws+unix:`.
    pub(crate) socket: Option<PathBuf>,
    /// Value of the Host field.
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, PlanError> {
        if let Some(rest) = text.strip_prefix("ws+unix:") {
            return Self::parse_unix(rest);
        }
        if !text.contains("://") {
            return Err(PlanError(format!(
                "{text} is not a URL, it has no scheme: write ws://{text}, or wss:// if the server speaks TLS"
            )));
        }
        let url = Url::parse(text).map_err(|error| PlanError(format!("{text} is not a URL: {error}")))?;
        let is_tls = match url.scheme() {
            "ws" => false,
            "wss" => true,
            other => return Err(PlanError(format!("{other}:// is not WebSocket; use ws:// or wss://"))),
        };
        // RFC 6455 3: fragment identifiers MUST NOT be used on these URIs.
        if url.fragment().is_some() {
            return Err(PlanError("a WebSocket URL has no fragment (#…)".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PlanError("give credentials with --header 'Authorization: …'".to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        Ok(Self {
            is_tls,
            socket: None,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            path_and_query: url[Position::BeforePath..Position::AfterQuery].to_owned(),
            url: shown(&url),
        })
    }
}

impl Target {
    /// Reads what follows `ws+unix:`: the path of a socket and, behind a colon, that of the request.
    fn parse_unix(text: &str) -> Result<Self, PlanError> {
        let text = text.strip_prefix("//").unwrap_or(text);
        let (socket, path) =
            text.split_once(":/").map_or((text, String::new()), |(socket, path)| (socket, path.to_owned()));
        if socket.is_empty() {
            return Err(PlanError(
                "ws+unix: needs the path of a socket: ws+unix:/run/server.sock:/path".to_owned(),
            ));
        }
        // The rest is a URL as any other, of a host that no one resolves.
        let target = Self::parse(&format!("ws://localhost/{path}"))?;
        let url = format!("ws+unix:{socket}:{}", target.url.trim_start_matches("ws://localhost"));
        Ok(Self { url, socket: Some(socket.into()), ..target })
    }
}

/// A query parameter whose name contains one of these words may hold a secret.
const SECRET_NAMES: [&str; 13] = [
    "token",
    "key",
    "secret",
    "pass",
    "pwd",
    "auth",
    "jwt",
    "sig",
    "session",
    "ticket",
    "credential",
    "code",
    "sid",
];
/// A query value of this many characters may be a secret under any name.
const SECRET_LEN: usize = 16;

/// The URL for reports that people share: `…` replaces every value that may be a secret.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let is_secret = |name: &str, value: &str| {
        let name = name.to_ascii_lowercase();
        value.len() >= SECRET_LEN || SECRET_NAMES.iter().any(|secret| name.contains(secret))
    };
    if url.query().is_some() {
        let pairs: Vec<String> = url
            .query()
            .unwrap_or_default()
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if is_secret(name, value) => format!("{name}=…"),
                None if is_secret("", pair) => "…".to_owned(),
                _ => pair.to_owned(),
            })
            .collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    // A JSON Web Token begins with `{"` in base64url (RFC 7515 3.3).
    let segments = shown.path().split('/').map(|part| if part.starts_with("eyJ") { "…" } else { part });
    let path = segments.collect::<Vec<_>>().join("/");
    shown.set_path(&path);
    shown.to_string().replace("%E2%80%A6", "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_a_target() {
        let target = Target::parse("ws://[::1]:8080/chat%20room?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.is_tls), ("::1", 8080, false));
        assert_eq!(
            (target.authority.as_str(), target.path_and_query.as_str()),
            ("[::1]:8080", "/chat%20room?a=b")
        );
        let target = Target::parse("ws://example.org").unwrap();
        assert_eq!(
            (target.port, target.authority.as_str(), target.path_and_query.as_str()),
            (80, "example.org", "/")
        );
        let target = Target::parse("wss://example.org/").unwrap();
        assert_eq!((target.port, target.is_tls), (443, true));
        for (url, shown) in [
            ("ws://h/ws?token=abc&room=general", "ws://h/ws?token=…&room=general"),
            ("ws://h/ws?access_token=abc", "ws://h/ws?access_token=…"),
            ("ws://h/?x=0123456789abcdef", "ws://h/?x=…"),
            ("ws://h/?0123456789abcdef", "ws://h/?…"),
            ("ws://h/eyJhbGciOi.eyJzdWIi.c2ln/ws?a=b", "ws://h/…/ws?a=b"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.url, shown);
            assert!(url.ends_with(&target.path_and_query), "the request has the whole query");
        }
        let target = Target::parse("ws+unix:/run/a.sock:/chat?token=abc").unwrap();
        assert_eq!(target.socket, Some("/run/a.sock".into()));
        assert_eq!(target.path_and_query, "/chat?token=abc");
        assert_eq!(
            (target.authority.as_str(), target.url.as_str()),
            ("localhost", "ws+unix:/run/a.sock:/chat?token=…")
        );
        assert_eq!(Target::parse("ws+unix:///a.sock").unwrap().path_and_query, "/");
        assert!(Target::parse("ws+unix:").is_err());
        let missing = Target::parse("127.0.0.1:7301").unwrap_err().to_string();
        assert!(missing.contains("no scheme") && missing.contains("ws://127.0.0.1:7301"), "{missing}");
        for bad in ["localhost:1", "http://localhost/", "ws://h/#f", "ws://u:p@h/", "ws://"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
