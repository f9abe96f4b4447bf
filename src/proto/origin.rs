//! Who may open a connection from a browser (RFC 6455 10.2): exact scheme, host and port, no suffixes.

/// An allow-list for the Origin field. Same origin and loopback hosts are always on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    allowed: Vec<Origin>,
}

/// An origin in its serialised form (RFC 6454 6.2), default port filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// Text that is not `scheme://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrigin(pub String);

impl std::fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is not an origin; write scheme://host or scheme://host:port", self.0)
    }
}

impl std::error::Error for InvalidOrigin {}

impl OriginPolicy {
    /// Adds an origin such as `https://example.com`.
    ///
    /// # Errors
    /// [`InvalidOrigin`] when the text has another form.
    pub fn allow(&mut self, origin: &str) -> Result<(), InvalidOrigin> {
        let origin = Origin::parse(origin).ok_or_else(|| InvalidOrigin(origin.to_owned()))?;
        self.allowed.push(origin);
        Ok(())
    }

    /// Whether a request with this Origin field may be upgraded. `authority`: whom the request is for. A client that
    /// sends no Origin is no browser, and the field protects browsers only.
    #[must_use]
    pub fn admits(&self, origin: Option<&[u8]>, authority: &str) -> bool {
        let Some(origin) = origin else { return true };
        let Some(origin) = std::str::from_utf8(origin).ok().and_then(Origin::parse) else { return false };
        if !matches!(origin.scheme.as_str(), "http" | "https") {
            return self.allowed.contains(&origin);
        }
        origin.is_loopback()
            || Origin::parse(&format!("{}://{authority}", origin.scheme)).as_ref() == Some(&origin)
            || self.allowed.contains(&origin)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        // The colon of a port follows the bracket of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let is_host =
            |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || is_bracketed && "[]:".contains(c);
        if host.is_empty() || scheme.is_empty() || !host.chars().all(is_host) {
            return None;
        }
        let port = match (port, scheme.as_str()) {
            (Some(port), _) => port.parse().ok()?,
            (None, "https") => 443,
            (None, "http") => 80,
            (None, _) => 0,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_13_only_same_origin_loopback_and_listed_origins_are_admitted() {
        let mut policy = OriginPolicy::default();
        policy.allow("https://allowed.example").unwrap();
        let admits = |origin: &str| policy.admits(Some(origin.as_bytes()), "chat.example:8080");
        for good in [
            "http://chat.example:8080",
            "http://CHAT.example:8080",
            "http://localhost",
            "https://localhost:3000",
            "http://127.0.0.1:1",
            "http://[::1]:9",
            "https://allowed.example",
            "https://allowed.example:443",
        ] {
            assert!(admits(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "http://evil",
            "http://chat.example",
            "http://chat.example:8081",
            "http://allowed.example",
            "https://evil-allowed.example",
            "https://allowed.example.evil",
            "https://allowed.example:444",
            "http://localhost.evil",
            "http://evil/http://localhost",
            "file://localhost",
        ] {
            assert!(!admits(bad), "{bad}");
        }
        assert!(policy.admits(None, "chat.example"));
    }
}
