//! Which pages may open a connection from a browser (RFC 6455 10.2): exact scheme, host and port, no suffixes.

use super::authority::Authority;
use super::host::is_loopback_authority;

/// An allow-list for the Origin field. Same origin and loopback hosts are always on it.
///
/// ```
/// use switchboard::proto::OriginPolicy;
///
/// let mut origins = OriginPolicy::default();
/// origins.allow("https://chat.example")?;
/// assert!(origins.allow("chat.example").is_err(), "a scheme is missing");
/// # Ok::<(), switchboard::proto::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    allowed: Vec<Origin>,
    any: bool,
}

/// What an Origin field says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// An origin in its serialised form (RFC 6454 6.2), default port filled in.
    Host { scheme: String, host: String, port: u16 },
    /// A scheme without a host, such as `file://`.
    Scheme(String),
    /// `null`: an origin that a browser does not tell (RFC 6454 7.1), such as that of a sandboxed frame.
    Null,
    /// An empty field.
    Empty,
}

/// Text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrigin(pub String);

impl std::fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is not an origin; write scheme://host, scheme://host:port, file://, null, an empty text for clients that send an \
             empty Origin, or * for any",
            self.0
        )
    }
}

impl std::error::Error for InvalidOrigin {}

impl OriginPolicy {
    /// Adds an origin such as `https://example.com`, a scheme without a host such as `file://`, `null`, the empty text, or `*`,
    /// which means any.
    ///
    /// # Errors
    /// [`InvalidOrigin`] when the text has another form.
    pub fn allow(&mut self, origin: &str) -> Result<(), InvalidOrigin> {
        let text = origin.trim();
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        // An address copied from a browser ends in the slash of its path.
        let bare = text.strip_suffix('/').filter(|bare| !bare.ends_with('/')).unwrap_or(text);
        let parsed =
            Origin::parse(bare).or_else(|| (text == "file:///").then(|| Origin::Scheme("file".into())));
        self.allowed.push(parsed.ok_or_else(|| InvalidOrigin(origin.to_owned()))?);
        Ok(())
    }

    /// Whether a request with this Origin field may be upgraded. `authority`: whom the request is for. `is_secure`: it is known to have
    /// come over TLS; then a page of the same host without TLS is of another origin. A client that sends no Origin is no browser, and
    /// the field protects browsers only.
    #[must_use]
    pub fn admits(&self, origin: Option<&[u8]>, authority: &str, is_secure: bool) -> bool {
        let Some(origin) = origin else { return true };
        if self.any {
            return true;
        }
        let Some(origin) = std::str::from_utf8(origin).ok().and_then(Origin::parse) else { return false };
        origin.is_loopback_page() || origin.is_of(authority, is_secure) || self.allowed.contains(&origin)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => return Some(Self::Empty),
            "null" => return Some(Self::Null),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        if !is_scheme {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        if authority.is_empty() {
            return (!is_web(&scheme)).then_some(Self::Scheme(scheme));
        }
        let authority = Authority::parse(authority)?;
        let host = authority.canonical_host();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => 0,
        };
        let port = authority.port().unwrap_or(default_port);
        (!host.is_empty() && !host.contains('*')).then_some(Self::Host { scheme, host, port })
    }

    /// Whether it is a page of the host that the request is for.
    fn is_of(&self, authority: &str, is_secure: bool) -> bool {
        matches!(self, Self::Host { scheme, .. } if is_web(scheme) && (scheme == "https" || !is_secure)
            && Self::parse(&format!("{scheme}://{authority}")).as_ref() == Some(self))
    }

    fn is_loopback_page(&self) -> bool {
        matches!(self, Self::Host { scheme, host, .. } if is_web(scheme) && is_loopback_authority(host))
    }
}

fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_13_only_same_origin_loopback_and_listed_origins_are_admitted() {
        let mut policy = OriginPolicy::default();
        policy.allow("https://allowed.example").unwrap();
        let admits = |origin: &str| policy.admits(Some(origin.as_bytes()), "chat.example:8080", false);
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
            "file://",
            "http://",
            "http://evil",
            "http://chat.example",
            "http://chat.example:8081",
            "http://allowed.example",
            "https://evil-allowed.example",
            "https://allowed.example.evil",
            "https://allowed.example:444",
            "https://allowed.example:x",
            "http://localhost.evil",
            "http://evil/http://localhost",
            "https://allowed.example http://evil",
            "file://localhost",
        ] {
            assert!(!admits(bad), "{bad}");
        }
        assert!(policy.admits(None, "chat.example", false));
    }

    #[test]
    fn over_tls_a_page_without_tls_is_a_stranger() {
        let mut policy = OriginPolicy::default();
        let admits = |policy: &OriginPolicy, origin: &str| {
            policy.admits(Some(origin.as_bytes()), "chat.example", true)
        };
        assert!(admits(&policy, "https://chat.example") && admits(&policy, "https://chat.example:443"));
        assert!(!admits(&policy, "http://chat.example") && !admits(&policy, "http://chat.example:443"));
        assert!(admits(&policy, "http://localhost:3000"));
        policy.allow("http://chat.example").unwrap();
        assert!(admits(&policy, "http://chat.example"));
    }

    #[test]
    fn origins_without_a_host_are_admitted_where_they_are_listed() {
        for (listed, origin, others) in [
            ("file://", "file://", ["null", "", "content://"]),
            ("file:///", "file://", ["null", "", "https://a"]),
            ("null", "null", ["file://", "", "https://null"]),
            ("", "", ["null", "file://", "https://a"]),
            ("capacitor://localhost", "capacitor://localhost", ["ionic://localhost", "null", ""]),
            (
                "chrome-extension://abcdef",
                "chrome-extension://abcdef",
                ["chrome-extension://abc", "null", ""],
            ),
            ("https://A.example:443/", "https://a.example", ["http://a.example", "null", ""]),
        ] {
            let mut policy = OriginPolicy::default();
            policy.allow(listed).unwrap();
            assert!(policy.admits(Some(origin.as_bytes()), "chat.example", false), "{listed}");
            for other in others {
                assert!(!policy.admits(Some(other.as_bytes()), "chat.example", false), "{listed} {other}");
            }
        }
        let mut policy = OriginPolicy::default();
        policy.allow("*").unwrap();
        assert!(policy.admits(Some(b"anything at all"), "chat.example", false));
    }

    #[test]
    fn what_is_no_origin_cannot_be_listed() {
        for bad in [
            "chat.example",
            "https://",
            "https://a/b",
            "https://*.example",
            "https:/a",
            "://a",
            "NULL",
            "https://a:b",
        ] {
            assert_eq!(OriginPolicy::default().allow(bad), Err(InvalidOrigin(bad.to_owned())), "{bad}");
        }
    }
}
