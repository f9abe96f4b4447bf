//! What somebody may do where.

use crate::chat::identity::{Claims, Grant};
use crate::chat::people::actor::Actor;
use crate::chat::people::{People, names};
use crate::chat::wire::command::Command;
use crate::chat::{Code, Refusal};
use crate::history::NameRange;

/// Something that a token may permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Right {
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
pub(in crate::chat) fn covers(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => room.starts_with(&*names::fold(beginning)),
        None => names::fold(pattern) == room,
    }
}

/// What claims permit in a room; without a token everything but to moderate.
pub(in crate::chat) fn permits(claims: Option<&Claims>, right: Right, room: &str) -> bool {
    match claims {
        Some(claims) if !claims.rooms.is_empty() => {
            claims.rooms.iter().any(|grant| grant.gives(right) && grant.covers(room))
        }
        _ => right != Right::Moderate,
    }
}

/// The rooms in which claims permit something, by their names in order; conversations of two are none of them.
fn permitted_names(claims: Option<&Claims>, right: Right) -> Vec<NameRange> {
    let all = NameRange::all();
    match claims {
        Some(claims) if !claims.rooms.is_empty() => {
            let granted = claims.rooms.iter().filter(|grant| grant.gives(right));
            let ranges = granted.map(|grant| names_of(&grant.pattern)).collect();
            NameRange::in_both(&NameRange::united(ranges), &all)
        }
        _ if right == Right::Moderate => Vec::new(),
        _ => all,
    }
}

/// The names that a pattern covers: see [`covers`].
fn names_of(pattern: &str) -> NameRange {
    match pattern.strip_suffix('*') {
        Some(beginning) => NameRange::of_prefix(&names::fold(beginning)),
        None => NameRange::of_name(&names::fold(pattern)),
    }
}

/// The right that a command about a room takes; `None`: leaving takes none.
pub(in crate::chat) fn right_to(command: &Command<'_>) -> Option<Right> {
    match command {
        Command::Join { .. }
        | Command::History { .. }
        | Command::Search { .. }
        | Command::Who { .. }
        | Command::Typing { .. }
        | Command::Read { .. } => Some(Right::Join),
        Command::Post { .. }
        | Command::Edit { .. }
        | Command::Delete { .. }
        | Command::React { .. }
        | Command::Direct { .. } => Some(Right::Post),
        Command::Kick { .. } | Command::Import { .. } => Some(Right::Moderate),
        Command::Hello { .. }
        | Command::Leave { .. }
        | Command::Conversations { .. }
        | Command::Rooms { .. }
        | Command::Subscribe { .. }
        | Command::Mine { .. }
        | Command::Refresh { .. }
        | Command::Ping
        | Command::Ban { .. }
        | Command::Unban { .. } => None,
    }
}

impl People {
    /// Whether a token permits something in a room. The server itself may do everything, and whoever acts through it in a
    /// user's name everything but to moderate.
    pub(in crate::chat) fn may(&self, actor: &Actor, right: Right, room: &str) -> bool {
        let Some(session) = actor.session else { return actor.is_server || right != Right::Moderate };
        self.look(session).is_some_and(|session| permits(session.claims(), right, room))
    }

    /// The rooms in which a token permits something, by their names in order.
    pub(in crate::chat) fn names_where(&self, actor: &Actor, right: Right) -> Vec<NameRange> {
        let Some(session) = actor.session else { return NameRange::all() };
        self.look(session).map_or_else(Vec::new, |session| permitted_names(session.claims(), right))
    }

    /// What a token permits in a room, as clients are told.
    pub(in crate::chat) fn permissions(&self, actor: &Actor, room: &str) -> Vec<&'static str> {
        let all = [(Right::Join, "join"), (Right::Post, "post"), (Right::Moderate, "moderate")];
        all.into_iter().filter(|(right, _)| self.may(actor, *right, room)).map(|(_, name)| name).collect()
    }

    /// The same in the conversation with a user: a token may name any of their names.
    pub(in crate::chat) fn may_pair(&self, actor: &Actor, right: Right, other: &str) -> bool {
        self.holders().names_of(other).any(|name| self.may(actor, right, &format!("@{name}")))
    }

    /// The refusal of anyone who does not moderate every room there may be.
    pub(in crate::chat) fn require_moderator(&self, actor: &Actor) -> Result<(), Refusal> {
        if actor.is_server {
            return Ok(());
        }
        let claims_of = |session| self.look(session).and_then(|session| session.claims());
        let claims = actor.session.and_then(claims_of);
        let covers_all = |grant: &Grant| grant.moderate && grant.pattern == "*";
        if claims.is_some_and(|claims| claims.rooms.iter().any(covers_all)) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "this takes a moderator of every room"))
    }

    /// The refusal where [`Self::may`] says no.
    pub(in crate::chat) fn require(
        &self,
        actor: &Actor,
        right: Right,
        room: &str,
        field: &'static str,
    ) -> Result<(), Refusal> {
        if self.may(actor, right, room) { Ok(()) } else { Err(not_permitted(field)) }
    }

    /// The refusal where [`Self::may_pair`] says no.
    pub(in crate::chat) fn require_pair(
        &self,
        actor: &Actor,
        right: Right,
        other: &str,
        field: &'static str,
    ) -> Result<(), Refusal> {
        if self.may_pair(actor, right, other) { Ok(()) } else { Err(not_permitted(field)) }
    }
}

fn not_permitted(field: &'static str) -> Refusal {
    Refusal::field(Code::Forbidden, field, "your token does not permit this in this room")
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

    #[test]
    fn the_names_that_are_permitted_are_those_of_the_rooms_that_are() {
        let patterns = ["Team-*", "team-lead", "news", "*", "@*", "@ada", "", "té*", "Ａ*"];
        let rooms =
            ["", "a", "ab", "news", "newsletter", "team", "team-", "team-a", "team-lead", "té", "tée", "zz"];
        for first in patterns {
            for second in patterns {
                let rooms_of = vec![grant(first, true, false, false), grant(second, false, true, true)];
                let claims = Claims { rooms: rooms_of, ..Claims::default() };
                for right in [Right::Join, Right::Post, Right::Moderate] {
                    let names = permitted_names(Some(&claims), right);
                    for room in rooms {
                        let is_in = names.iter().any(|range| range.has(room));
                        assert_eq!(is_in, permits(Some(&claims), right, room), "{first} {second} {room}");
                    }
                    assert!(names.iter().all(|range| !range.has("@ada") && !range.has("@a\nb")));
                }
            }
        }
        assert_eq!(permitted_names(None, Right::Join), NameRange::all());
        assert_eq!(permitted_names(None, Right::Moderate), []);
    }
}
