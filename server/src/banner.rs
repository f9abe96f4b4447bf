//! What a person at a terminal is told once the server listens: where everything is, and which doors are open to other machines.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use switchboard::net::Address;
use switchboard::tls::Certificate;

use crate::{Purpose, version};

/// A listener.
#[derive(Debug)]
pub(crate) struct Door {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// `None`: for metrics and health.
    pub(crate) purpose: Option<Purpose>,
    /// Other machines may reach it.
    pub(crate) is_public: bool,
}

impl Door {
    pub(crate) fn new(address: &Address, purpose: Option<Purpose>) -> Self {
        let is_public = address.tcp().is_some_and(|address| !address.ip().is_loopback());
        Self { url: url(address, purpose), purpose, is_public }
    }
}

/// Where a listener is, as a browser has it.
fn url(address: &Address, purpose: Option<Purpose>) -> String {
    let Some(address) = address.tcp() else { return address.to_string() };
    let scheme = if purpose == Some(Purpose::Tls) { "https" } else { "http" };
    if address.ip().is_loopback() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// What a chat offers, and to whom.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) has_page: bool,
    pub(crate) has_api: bool,
    pub(crate) data: Data,
    pub(crate) speakers: Speakers,
}

/// Where the history is.
#[derive(Debug)]
pub(crate) enum Data {
    Memory,
    Directory(PathBuf),
    /// At the engine of this address.
    Engine(String),
}

/// Who may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speakers {
    Anybody,
    /// A token protects a name, but nobody needs one.
    AnybodyAndTokens,
    Tokens,
    /// The team's backend is asked.
    Backend,
}

/// All that the banner says.
#[derive(Debug)]
pub(crate) struct Banner {
    pub(crate) doors: Vec<Door>,
    /// `None`: a server for benchmarks.
    pub(crate) chat: Option<Chat>,
    pub(crate) certificates: Vec<Certificate>,
}

impl Banner {
    /// Shows it where somebody looks on.
    pub(crate) fn show(&self) {
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            // Nobody is served any worse without it.
            let _ = stderr.write_all(self.text().as_bytes());
        }
    }

    fn text(&self) -> String {
        let mut text = format!("\n  Switchboard {}\n\n", version::SHORT);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<10} {value}");
        };
        for door in self.served() {
            if door.url.starts_with("unix:") {
                line("socket", &door.url);
                continue;
            }
            let socket = door.url.replacen("http", "ws", 1);
            match &self.chat {
                Some(chat) => {
                    if chat.has_page {
                        line("page", &format!("{}/", door.url));
                    }
                    line("WebSocket", &format!("{socket}/ws"));
                    if chat.has_api {
                        line("API", &format!("{0}/api/v1, for operators {0}/admin", door.url));
                    }
                }
                None => line("WebSocket", &format!("{socket}/")),
            }
        }
        for door in self.metrics().iter().filter(|door| !door.url.starts_with("unix:")) {
            line("metrics", &format!("{}/metrics", door.url));
        }
        if let Some(chat) = &self.chat {
            match &chat.data {
                Data::Directory(data) => line("data", &data.display().to_string()),
                Data::Engine(address) => line("engine", address),
                Data::Memory => line("data", "in memory only: it ends with the server"),
            }
            line("speakers", chat.speakers.text());
        }
        for certificate in &self.certificates {
            line("TLS", &format!("until {} ({})", date(certificate.not_after), certificate.names.join(", ")));
        }
        let warnings = self.warnings();
        if !warnings.is_empty() {
            text.push('\n');
        }
        for warning in warnings {
            let _ = writeln!(text, "  Warning: {warning}");
        }
        text.push_str("\n  Ctrl+C stops the server.\n\n");
        text
    }

    /// Where clients connect.
    fn served(&self) -> impl Iterator<Item = &Door> {
        self.doors.iter().filter(|door| matches!(door.purpose, Some(Purpose::Plain | Purpose::Tls)))
    }

    /// Where metrics are: on listeners of their own, or else where clients connect.
    fn metrics(&self) -> Vec<&Door> {
        let own: Vec<&Door> = self.doors.iter().filter(|door| door.purpose.is_none()).collect();
        if own.is_empty() { self.served().collect() } else { own }
    }

    /// A sentence for each door that other machines find open, and what closes it.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let speakers = self.chat.as_ref().map(|chat| chat.speakers);
        if let Some(door) = self.served().find(|door| door.is_public) {
            let url = &door.url;
            match speakers {
                Some(Speakers::Anybody) => warnings.push(format!(
                    "anybody who reaches {url} may read and speak. --token-key FILE --require-token asks for tokens."
                )),
                Some(Speakers::AnybodyAndTokens) => warnings.push(format!(
                    "guests who reach {url} may read and speak. --require-token asks everybody for a token."
                )),
                _ => {}
            }
        }
        if let Some(door) = self.metrics().iter().find(|door| door.is_public) {
            warnings.push(format!(
                "anybody who reaches {0} may read {0}/metrics. --internal-listen 127.0.0.1:9100 moves it.",
                door.url
            ));
        }
        let mut plain = self.served().filter(|door| door.is_public && door.purpose == Some(Purpose::Plain));
        if let Some(door) = plain.next().filter(|_| self.chat.is_some()) {
            warnings.push(format!(
                "{} is not encrypted. --tls-listen or a proxy with TLS in front of it is.",
                door.url
            ));
        }
        warnings
    }
}

impl Speakers {
    fn text(self) -> &'static str {
        match self {
            Self::Anybody => "anybody, under any free name",
            Self::AnybodyAndTokens => "people with a token, and guests under any free name",
            Self::Tokens => "people with a token",
            Self::Backend => "those whom the backend of --hook-url lets in",
        }
    }
}

/// A day, in UTC.
fn date(unix_s: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix_s).unwrap_or_default());
    let time = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(address: &str, purpose: Option<Purpose>) -> Door {
        Door::new(&Address::Tcp(address.parse().unwrap()), purpose)
    }

    fn chat(speakers: Speakers) -> Chat {
        Chat { has_page: true, has_api: true, data: Data::Directory("/srv/chat".into()), speakers }
    }

    #[test]
    fn it_says_where_everything_is() {
        let doors = vec![
            door("127.0.0.1:8080", Some(Purpose::Plain)),
            door("[2001:db8::1]:8443", Some(Purpose::Tls)),
            door("192.0.2.1:80", Some(Purpose::Redirect)),
            Door::new(&Address::Unix("/run/chat.sock".into()), Some(Purpose::Plain)),
            door("[::1]:9100", None),
        ];
        let text = Banner { doors, chat: Some(chat(Speakers::Tokens)), certificates: Vec::new() }.text();
        for line in [
            "  page       http://localhost:8080/\n",
            "  WebSocket  ws://localhost:8080/ws\n",
            "  API        http://localhost:8080/api/v1, for operators http://localhost:8080/admin\n",
            "  socket     unix:/run/chat.sock\n",
            "  page       https://[2001:db8::1]:8443/\n",
            "  WebSocket  wss://[2001:db8::1]:8443/ws\n",
            "  metrics    http://localhost:9100/metrics\n",
            "  data       /srv/chat\n",
            "  speakers   people with a token\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("Warning") && !text.contains("192.0.2.1"), "{text}");
        assert_eq!(text.matches("/metrics").count(), 1, "{text}");
        assert_eq!(date(1_798_761_600), "2027-01-01");
    }

    #[test]
    fn each_door_that_other_machines_find_open_is_warned_of() {
        let public = || vec![door("0.0.0.0:8080", Some(Purpose::Plain))];
        let apart = || vec![door("[::]:8443", Some(Purpose::Tls)), door("127.0.0.1:9100", None)];
        for (doors, chat, expected) in [
            (
                public(),
                Some(chat(Speakers::Anybody)),
                &["anybody who reaches", "/metrics", "not encrypted"][..],
            ),
            (
                public(),
                Some(chat(Speakers::AnybodyAndTokens)),
                &["guests who reach", "/metrics", "not encrypted"],
            ),
            (public(), Some(chat(Speakers::Tokens)), &["/metrics", "not encrypted"]),
            (public(), Some(chat(Speakers::Backend)), &["/metrics", "not encrypted"]),
            (public(), None, &["/metrics"]),
            (apart(), Some(chat(Speakers::Anybody)), &["anybody who reaches"]),
            (apart(), Some(chat(Speakers::Tokens)), &[]),
            (vec![door("127.0.0.1:1", Some(Purpose::Plain))], Some(chat(Speakers::Anybody)), &[]),
        ] {
            let warnings = Banner { doors, chat, certificates: Vec::new() }.warnings();
            let is_each = warnings.iter().zip(expected).all(|(warning, part)| warning.contains(part));
            assert!(warnings.len() == expected.len() && is_each, "{expected:?}: {warnings:?}");
        }
    }
}
