//! Where and how a run was started: host, kernel, and the command line without secrets.

use std::fs;

use crate::input::target::Target;

/// Name of the host; empty if the system does not report it.
pub(crate) fn host() -> String {
    kernel_text("hostname")
}

/// Release of the kernel; empty if the system does not report it.
pub(crate) fn kernel() -> String {
    kernel_text("osrelease")
}

fn kernel_text(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/kernel/{name}"))
        .map_or(String::new(), |text| text.trim().to_owned())
}

/// Options whose values may be secrets, with the sign between name and value.
const SECRET_OPTIONS: [(&str, &str); 2] = [("--header", ": "), ("--set", "=")];

/// The words of a command line for reports that people share: `…` replaces the values of header fields, of placeholders
/// and of URL parameters that may be secrets.
pub(crate) fn shown_command(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown = Vec::new();
    // The sign, if the next word is the value of such an option.
    let mut awaited = None;
    for word in words {
        let joined = SECRET_OPTIONS.iter().find_map(|(option, sign)| {
            let value = word.strip_prefix(option)?.strip_prefix('=')?;
            Some(format!("{option}={}", hidden(value, sign)))
        });
        shown.push(match (awaited, joined) {
            (Some(sign), _) => hidden(&word, sign),
            (None, Some(joined)) => joined,
            (None, None) => shown_word(&word),
        });
        let option = SECRET_OPTIONS.iter().find(|(option, _)| *option == word);
        awaited = option.filter(|_| awaited.is_none()).map(|(_, sign)| *sign);
    }
    shown
}

/// The name before the sign, without the value.
fn hidden(text: &str, sign: &str) -> String {
    let name = text.split(sign.trim()).next().unwrap_or_default();
    format!("{name}{sign}…")
}

fn shown_word(word: &str) -> String {
    match Target::parse(word) {
        Ok(target) => target.url,
        // A URL that cannot be flooded may have a password.
        Err(_) if word.contains("://") => "…".to_owned(),
        Err(_) => shown_subprotocol(word),
    }
}

/// A subprotocol for reports: some servers take a token as one (RFC 7515 3.3: it begins with `{"` in base64url).
pub(crate) fn shown_subprotocol(name: &str) -> String {
    if name.len() >= LONG || name.contains("eyJ") { "…".to_owned() } else { name.to_owned() }
}

/// A word without a slash of this many characters may be a token.
const LONG: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_its_secrets() {
        let words = [
            "loadgen",
            "echo",
            "ws://h/ws?token=abc&room=general",
            "--header",
            "Authorization: Bearer abc",
            "--header=Cookie: sid=abc",
            "--set",
            "password=abc",
            "--set=pin=1234",
            "--subprotocol",
            "access.eyJhbGciOi",
            "--rate",
            "5",
            "http://user:abc@h/",
        ];
        let shown = shown_command(words.map(str::to_owned).into_iter());
        let expected = [
            "loadgen",
            "echo",
            "ws://h/ws?token=…&room=general",
            "--header",
            "Authorization: …",
            "--header=Cookie: …",
            "--set",
            "password=…",
            "--set=pin=…",
            "--subprotocol",
            "…",
            "--rate",
            "5",
            "…",
        ];
        assert_eq!(shown, expected);
    }
}
