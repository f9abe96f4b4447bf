//! What the team's backend may be told of.

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A message became history.
    Posted,
    /// A message has another text.
    Edited,
    /// A message lost its text.
    Deleted,
    /// A reaction came or went.
    Reacted,
    /// A connection entered a room.
    Joined,
    /// A connection is in a room no more.
    Left,
    /// A connection speaks for somebody.
    Connected,
    /// A connection speaks for them no more.
    Disconnected,
    /// Somebody is banned, or not any more.
    Banned,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Posted,
        Self::Edited,
        Self::Deleted,
        Self::Reacted,
        Self::Joined,
        Self::Left,
        Self::Connected,
        Self::Disconnected,
        Self::Banned,
    ];

    /// The name of the kind, as in the events themselves.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Reacted => "reacted",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Banned => "banned",
        }
    }
}

/// Some kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventKinds(u16);

impl EventKinds {
    /// Whether a kind is among them.
    #[must_use]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let some: EventKinds = [EventKind::Posted, EventKind::Banned].into_iter().collect();
        let found: Vec<&str> =
            EventKind::ALL.into_iter().filter(|kind| some.has(*kind)).map(EventKind::name).collect();
        assert_eq!(found, ["posted", "banned"]);
        assert!(!some.is_empty() && EventKinds::default().is_empty());
    }
}
