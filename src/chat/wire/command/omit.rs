//! The fields of `message` events that a client does without.

use simd_json::Node;

use super::fields::Field;
use crate::chat::wire::refusal::Refusal;

/// Characters of an unknown name that an error repeats.
const MAX_SHOWN: usize = 32;

/// The set of fields that a client does not want in its `message` events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Omit(u8);

impl Omit {
    const CLIENT: Self = Self(1);
    const PREV: Self = Self(2);

    /// Whether `client` is left out.
    pub(in crate::chat) fn client(self) -> bool {
        self.0 & Self::CLIENT.0 != 0
    }

    /// Whether `prev` is left out.
    pub(in crate::chat) fn prev(self) -> bool {
        self.0 & Self::PREV.0 != 0
    }

    /// Reads the elements of a list of names. A name may be repeated.
    pub(super) fn of_names(names: &[Node<'_>]) -> Result<Self, Refusal> {
        let mut omit = Self::default();
        for name in names {
            omit.0 |= match name {
                Node::String("client") => Self::CLIENT.0,
                Node::String("prev") => Self::PREV.0,
                Node::String(name) => return Err(unknown(name)),
                _ => return Err(Field::Omit.wrong("a list of strings")),
            };
        }
        Ok(omit)
    }
}

#[cold]
fn unknown(name: &str) -> Refusal {
    let name: String = name.chars().take(MAX_SHOWN).collect();
    Field::Omit.wrong(&format!("a list of `client` and `prev`; a message has no `{name}` to leave out"))
}
