//! The terminal of the screen: its modes, its size, its keys.

use std::io::{self, IsTerminal as _, Write as _};

use console::{Term, truncate_str};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Limit on the keys that are read at once.
const MAX_KEYS: usize = 64;
/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal at stdin and stderr. Dropped, it is as before.
#[derive(Debug)]
pub(super) struct Terminal {
    term: Term,
    /// The modes before; `None`: stdin is no terminal, and there are no keys.
    before: Option<Termios>,
    is_open: bool,
}

impl Terminal {
    /// Takes the screen, and lets keys arrive one by one and unseen.
    ///
    /// # Errors
    /// The terminal cannot be changed.
    pub(super) fn open() -> io::Result<Self> {
        let before = if io::stdin().is_terminal() { Some(tcgetattr(io::stdin())?) } else { None };
        if let Some(before) = &before {
            let mut modes = before.clone();
            // Ctrl-C becomes a key, so that the screen is given back whenever the process ends.
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            // A read returns at once.
            modes.special_codes[SpecialCodeIndex::VMIN] = 0;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        }
        let terminal = Self { term: Term::stderr(), before, is_open: true };
        terminal.term.write_str(ENTER)?;
        Ok(terminal)
    }

    /// The keys that were pressed.
    pub(super) fn keys(&self) -> Vec<u8> {
        if self.before.is_none() {
            return Vec::new();
        }
        let mut keys = [0; MAX_KEYS];
        // A terminal that is gone has no keys.
        let count = rustix::io::read(io::stdin(), &mut keys).unwrap_or(0);
        keys[..count].to_vec()
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (rows.into(), columns.into())
    }

    /// Draws these lines, each cut at the width.
    pub(super) fn show(&self, lines: &[String], width: usize) {
        let mut text = String::from("\x1b[H");
        for (i, line) in lines.iter().enumerate() {
            if i > 0 {
                text.push_str("\r\n");
            }
            text.push_str(&truncate_str(line, width, ""));
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        // A terminal that refuses the write shows nothing; the run goes on.
        let _ = self.term.write_str(&text);
        let _ = io::stderr().flush();
    }

    /// Gives the screen back.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.is_open, false) {
            let _ = self.term.write_str(LEAVE);
            if let Some(before) = &self.before {
                // Nothing is left to do if it fails.
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
    }
}
