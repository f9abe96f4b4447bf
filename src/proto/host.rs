//! Which hosts a server answers for: against DNS rebinding, by which a page of a stranger reaches a server under the stranger's
//! own name.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::authority::Authority;

/// A list of hosts that requests may be for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    allowed: Vec<Pattern>,
    any: bool,
}

/// One host of the list. Without a port, any port will do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Exactly(String),
    /// All names below this one, which begins with a dot.
    Below(String),
}

/// Text that names no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHost(pub String);

impl std::fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is not a host; write a name such as chat.example, *.chat.example or chat.example:8443, an address such as \
             192.0.2.1 or [2001:db8::1], or * for any host",
            self.0
        )
    }
}

impl std::error::Error for InvalidHost {}

impl HostPolicy {
    /// Adds `host`, `host:port`, `*.domain` or `*`. An IPv6 address may stand without its brackets where no port follows.
    ///
    /// # Errors
    /// [`InvalidHost`] when the text is none of these.
    pub fn allow(&mut self, text: &str) -> Result<(), InvalidHost> {
        let text = text.trim();
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        let pattern = Pattern::parse(text).ok_or_else(|| InvalidHost(text.to_owned()))?;
        self.allowed.push(pattern);
        Ok(())
    }

    /// Whether no host is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && !self.any
    }

    /// Whether a request for `authority` (see [`RequestHead::authority`]) is for a host of the list.
    ///
    /// [`RequestHead::authority`]: crate::proto::head::RequestHead::authority
    #[must_use]
    pub fn admits(&self, authority: &str) -> bool {
        self.any
            || Authority::parse(authority)
                .is_some_and(|authority| self.allowed.iter().any(|pattern| pattern.covers(authority)))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let bracketed;
        let text = if text.parse::<Ipv6Addr>().is_ok() {
            bracketed = format!("[{text}]");
            &bracketed
        } else {
            text
        };
        let (text, is_wildcard) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let authority = Authority::parse(text)?;
        let host = authority.canonical_host();
        if host.is_empty() || host.contains('*') || text.ends_with(':') {
            return None;
        }
        let host = if is_wildcard { Name::Below(format!(".{host}")) } else { Name::Exactly(host) };
        Some(Self { host, port: authority.port() })
    }

    fn covers(&self, authority: Authority<'_>) -> bool {
        let host = authority.canonical_host();
        let is_host = match &self.host {
            Name::Exactly(name) => *name == host,
            Name::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
        };
        // A client leaves out the port that its scheme implies.
        let port = |port: u16| {
            authority.port() == Some(port) || authority.port().is_none() && matches!(port, 80 | 443)
        };
        is_host && self.port.is_none_or(port)
    }
}

/// Whether a name in a Host field can only be that of the machine itself: `localhost`, a name below it (RFC 6761 6.3), or a
/// loopback address. No other name server can give these to a stranger.
#[must_use]
pub fn is_loopback_authority(authority: &str) -> bool {
    let Some(authority) = Authority::parse(authority) else { return false };
    let host = authority.canonical_host();
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')?.parse::<Ipv6Addr>().ok());
    host == "localhost"
        || host.ends_with(".localhost")
        || v6.is_some_and(|address| address.to_canonical().is_loopback())
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The host of an authority, in lower case and without its port; `None` when it is no authority, or names no host.
#[must_use]
pub fn host_of(authority: &str) -> Option<String> {
    let host = Authority::parse(authority)?.canonical_host();
    (!host.is_empty()).then_some(host)
}

/// Whether the host is an address. A page cannot be led to an address by a name of a stranger's.
#[must_use]
pub fn is_address_authority(authority: &str) -> bool {
    let Some(authority) = Authority::parse(authority) else { return false };
    let host = authority.canonical_host();
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(hosts: &[&str]) -> HostPolicy {
        let mut policy = HostPolicy::default();
        for host in hosts {
            policy.allow(host).unwrap();
        }
        policy
    }

    #[test]
    fn a_listed_host_is_admitted_in_every_way_of_writing_it() {
        for (host, authority) in [
            ("chat.example", "chat.example"),
            ("chat.example", "CHAT.example:8443"),
            ("chat.example", "chat.example."),
            ("Chat.Example.", "chat.example:1"),
            ("chat.example:8443", "chat.example:8443"),
            ("chat.example:443", "chat.example"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[0:0:0::1]"),
            ("[::1]:8080", "[::1]:8080"),
            ("*.chat.example", "a.b.chat.example:80"),
            ("*", "anything"),
            ("*", ""),
        ] {
            assert!(policy(&[host]).admits(authority), "{host} {authority}");
        }
        for (host, authority) in [
            ("chat.example", "evil.example"),
            ("chat.example", "chat.example.evil"),
            ("chat.example", "evilchat.example"),
            ("chat.example:8443", "chat.example:8444"),
            ("chat.example:8443", "chat.example"),
            ("*.chat.example", "chat.example"),
            ("*.chat.example", "evilchat.example"),
            ("::1", "[::2]"),
            ("chat.example", ""),
        ] {
            assert!(!policy(&[host]).admits(authority), "{host} {authority}");
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for bad in [
            "",
            " ",
            ".",
            "http://chat.example",
            "chat.example/",
            "chat.example:",
            "chat.example:x",
            "a b",
            "[::1",
            "::1:8080x",
            "*.",
            "a.*.b",
            "**",
            "chat.example:99999",
            "b\u{fc}cher.example",
        ] {
            assert_eq!(HostPolicy::default().allow(bad), Err(InvalidHost(bad.trim().to_owned())), "{bad}");
        }
    }

    #[test]
    fn loopback_names_are_those_that_no_stranger_can_have() {
        for good in [
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in
            ["", "localhost.evil", "evil", "127.0.0.1.evil", "10.0.0.1", "[::2]", "0.0.0.0", "notlocalhost"]
        {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
        assert!(is_address_authority("10.0.0.1:1") && is_address_authority("[2001:db8::1]"));
        assert!(!is_address_authority("10.0.0.1.evil") && !is_address_authority("localhost"));
    }
}
