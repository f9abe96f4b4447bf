//! Text that a server may have chosen, made safe for a terminal and a page.

use std::fmt;

/// Characters of a server's text that are kept.
const MAX_CHARS: usize = 200;

/// Shows a text with control characters, and those that change the direction of a line, escaped.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if is_active(c) { write!(f, "{}", c.escape_unicode()) } else { write!(f, "{c}") }
        })
    }
}

fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The text as [`Plain`] shows it, cut to 200 characters.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", Plain(&text[..end])),
        None => Plain(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(Plain("closed: caf\u{e9} 日本").to_string(), "closed: caf\u{e9} 日本");
        let shown = Plain("\x1b[2J\r\n\u{9b}31m\u{202e}txt").to_string();
        assert_eq!(shown, "\\u{1b}[2J\\u{d}\\u{a}\\u{9b}31m\\u{202e}txt");
        assert!(cut(&"x".repeat(10_000)).chars().count() == MAX_CHARS + 1);
    }
}
