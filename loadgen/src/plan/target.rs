//! Who is flooded: the URL, taken apart.

use url::{Position, Url};

use super::PlanError;

/// Who is asked, as the URL says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL as it stands in the report.
    pub(crate) url: String,
    /// `wss`.
    pub(crate) is_tls: bool,
    /// Name or address to resolve, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The Host field.
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, PlanError> {
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
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            path_and_query: url[Position::BeforePath..Position::AfterQuery].to_owned(),
            url: url.to_string(),
        })
    }
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
        for bad in ["localhost:1", "http://localhost/", "ws://h/#f", "ws://u:p@h/", "ws://"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
