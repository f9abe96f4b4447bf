//! What somebody may do where.

use super::identity::{Claims, Grant};
use super::names;
use super::session::Actor;
use super::{Chat, Code, Refusal};

/// Something that a token may permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Join,
    Post,
    Moderate,
}

impl Grant {
    fn gives(&self, right: Right) -> bool {
        match right {
            Right::Join => self.join,
            Right::Post => self.post,
            Right::Moderate => self.moderate,
        }
    }

    fn covers(&self, room: &str) -> bool {
        covers(&self.pattern, room)
    }
}

/// Whether a pattern covers a room: a name in any spelling, or the beginning of names followed by `*`.
pub(super) fn covers(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => room.starts_with(&*names::fold(beginning)),
        None => names::fold(pattern) == room,
    }
}

/// What claims permit in a room; without a token everything but to moderate.
pub(super) fn permits(claims: Option<&Claims>, right: Right, room: &str) -> bool {
    match claims {
        Some(claims) if !claims.rooms.is_empty() => {
            claims.rooms.iter().any(|grant| grant.gives(right) && grant.covers(room))
        }
        _ => right != Right::Moderate,
    }
}

impl Chat {
    /// The server itself may do everything.
    pub(super) fn may(&self, actor: &Actor, right: Right, room: &str) -> bool {
        let Some(index) = actor.session else { return true };
        let session = self.people.look(index);
        session.is_some_and(|session| permits(session.claims.as_deref(), right, room))
    }

    /// Whether somebody moderates every room there may be.
    pub(super) fn moderates_all(&self, actor: &Actor) -> bool {
        let Some(index) = actor.session else { return true };
        let claims = self.people.look(index).and_then(|session| session.claims.as_deref());
        claims.is_some_and(|claims| claims.rooms.iter().any(|grant| grant.moderate && grant.pattern == "*"))
    }

    pub(super) fn require(&self, actor: &Actor, right: Right, room: &str) -> Result<(), Refusal> {
        if self.may(actor, right, room) {
            return Ok(());
        }
        Err(Refusal::field(Code::Forbidden, "room", "your token does not permit this in this room"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(pattern: &str, join: bool, post: bool, moderate: bool) -> Grant {
        Grant { pattern: pattern.to_owned(), join, post, moderate }
    }

    #[test]
    fn grants_add_up_and_patterns_are_names_or_beginnings() {
        let claims = Claims {
            subject: "ada".into(),
            rooms: vec![
                grant("Team-*", true, true, false),
                grant("team-lead", false, false, true),
                grant("news", true, false, false),
            ],
            ..Claims::default()
        };
        for (room, join, post, moderate) in [
            ("team-a", true, true, false),
            ("team-", true, true, false),
            ("team-lead", true, true, true),
            ("news", true, false, false),
            ("newsletter", false, false, false),
            ("general", false, false, false),
        ] {
            let found =
                [Right::Join, Right::Post, Right::Moderate].map(|right| permits(Some(&claims), right, room));
            assert_eq!(found, [join, post, moderate], "{room}");
        }
        let none = Claims::default();
        for claims in [None, Some(&none)] {
            assert!(permits(claims, Right::Join, "x") && permits(claims, Right::Post, "x"));
            assert!(!permits(claims, Right::Moderate, "x"));
        }
        assert!(covers("*", "anything"));
    }
}
