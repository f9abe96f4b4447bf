//! What servers are told, read in place: it comes once for each message and server.

use super::values::{ban, change, post};
use crate::history::{Action, BanChange, Holder, Post};

/// Octets of a line that is a number, or the name of a history.
const MAX_LINE: usize = 128;
/// Octets of the shortest item of news.
const SHORTEST_ITEM: usize = 16;

/// What a node is told.
#[derive(Debug)]
pub(super) enum Told<'t> {
    /// Something happened in a room.
    News(Heard<'t>),
    /// Somebody is banned, or no more.
    Ban(BanChange),
    /// A name is somebody's.
    Hold(Holder),
    /// Another server tells something.
    Sign { from: &'t str, word: &'t str },
    /// Nothing: it shows that the connection works.
    Beat,
}

/// News of a room, of which only the head is read.
#[derive(Debug)]
pub(super) struct Heard<'t> {
    /// The room's name in its normal form.
    pub(super) room: &'t str,
    /// The name of its history.
    pub(super) epoch: &'t str,
    /// The newest message before.
    pub(super) prev_seq: u64,
    /// The newest change before.
    pub(super) prev_rev: u64,
    items: Parts<'t>,
}

/// What shows that a connection works.
pub(super) const BEAT: &str = "*1\r\n$4\r\nbeat\r\n";

/// What a server tells others.
pub(super) fn sign(from: &str, word: &str) -> String {
    format!("*3\r\n$4\r\nsign\r\n${}\r\n{from}\r\n${}\r\n{word}\r\n", from.len(), word.len())
}

/// Reads what is told; `None`: it is nothing that a node of this version tells.
pub(super) fn told(payload: &[u8]) -> Option<Told<'_>> {
    let mut parts = Parts(payload);
    let count = parts.list()?;
    let first = parts.text()?;
    // A room of such a name has five parts as well, so the number tells them apart.
    match (first, count) {
        (room, 5) => {
            let (epoch, prev_seq, prev_rev) = (parts.line(b'+')?, parts.number()?, parts.number()?);
            Some(Told::News(Heard { room, epoch, prev_seq, prev_rev, items: parts }))
        }
        ("beat", 1) => Some(Told::Beat),
        ("sign", 3) => Some(Told::Sign { from: parts.text()?, word: parts.text()? }),
        ("ban", 2..=4) => Some(Told::Ban(ban(&parts.texts(count - 1)?)?)),
        ("hold", 4) => {
            let (name, subject) = (parts.text()?.into(), parts.text()?.into());
            Some(Told::Hold(Holder { name, subject, is_first: parts.text()? == "1" }))
        }
        _ => None,
    }
}

impl Heard<'_> {
    /// Messages and changes, in order; `None`: they cannot be read.
    pub(super) fn actions(&self) -> Option<Vec<Action>> {
        let (mut seq, mut rev) = (self.prev_seq, self.prev_rev);
        let mut parts = Parts(self.items.0);
        let count = parts.list()?;
        // Whatever the number says, there are no more than fit.
        let mut actions = Vec::with_capacity(count.min(parts.0.len() / SHORTEST_ITEM));
        for _ in 0..count {
            let len = parts.list()?;
            // Changes begin with a letter, messages with their time.
            if parts.0.starts_with(b":") {
                seq += 1;
                actions.push(Action::Post(parts.message(seq, len)?));
            } else {
                rev += 1;
                let (kind, target) = (parts.text()?, parts.text()?.parse().ok()?);
                actions.push(change(rev, kind, target, &parts.texts(len.checked_sub(2)?)?)?);
            }
        }
        Some(actions)
    }
}

/// A message, as it is kept; `None`: it is damaged.
pub(super) fn message(seq: u64, kept: &[u8]) -> Option<Post> {
    let mut parts = Parts(kept);
    let len = parts.list()?;
    parts.message(seq, len)
}

/// The name of a room's history, its newest message and its newest change before something happened, and what follows.
pub(super) fn before(answer: &[u8]) -> Option<(&str, (u64, u64), &str)> {
    let mut parts = Parts(answer);
    let (epoch, prev) = (parts.line(b'+')?, (parts.number()?, parts.number()?));
    Some((epoch, prev, std::str::from_utf8(parts.0).ok()?))
}

/// What is left of lists and texts, as the functions write them.
#[derive(Debug)]
struct Parts<'t>(&'t [u8]);

impl<'t> Parts<'t> {
    /// What is between a mark and the end of its line.
    fn line(&mut self, mark: u8) -> Option<&'t str> {
        let rest = self.0.strip_prefix(&[mark])?;
        let end = rest.iter().take(MAX_LINE).position(|octet| *octet == b'\r')?;
        let (line, rest) = rest.split_at(end);
        self.0 = rest.strip_prefix(b"\r\n")?;
        std::str::from_utf8(line).ok()
    }

    fn len(&mut self, mark: u8) -> Option<usize> {
        self.line(mark)?.parse().ok()
    }

    /// How many parts a list has, which follow.
    fn list(&mut self) -> Option<usize> {
        self.len(b'*')
    }

    fn text(&mut self) -> Option<&'t str> {
        let len = self.len(b'$')?;
        let (octets, rest) = self.0.split_at_checked(len)?;
        self.0 = rest.strip_prefix(b"\r\n")?;
        std::str::from_utf8(octets).ok()
    }

    fn texts(&mut self, count: usize) -> Option<Vec<&'t str>> {
        (0..count).map(|_| self.text()).collect()
    }

    fn number(&mut self) -> Option<u64> {
        self.line(b':')?.parse().ok()
    }

    /// A message that has this number of parts; `None`: it is damaged.
    fn message(&mut self, seq: u64, parts: usize) -> Option<Post> {
        if parts != 4 {
            return None;
        }
        let time = self.number()?;
        post(seq, time, [self.text()?, self.text()?, self.text()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(resp: &str) -> Option<String> {
        let resp = resp.replace(' ', "\r\n");
        match told(resp.as_bytes())? {
            Told::News(heard) => heard.actions().map(|actions| format!("{actions:?}")),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn what_is_told_is_read_with_its_numbers() {
        let item = "*4 :17 $5 a\nc\n\n $2 hi $0  ".to_owned();
        let change = "*3 $1 D $1 4 $2 18 ";
        let all = format!("*5 $1 r +e :6 :2 *3 {item}{change}{item}").replace(' ', "\r\n");
        let Some(Told::News(news)) = told(all.as_bytes()) else { panic!("no news") };
        assert_eq!((news.room, news.epoch, news.prev_seq, news.prev_rev), ("r", "e", 6, 2));
        let actions = news.actions().unwrap();
        assert!(matches!(&actions[0], Action::Post(post) if post.seq == 7 && &*post.text == "hi"));
        assert_eq!(actions[1], Action::Delete { rev: 3, seq: 4, time: 18 });
        assert!(matches!(&actions[2], Action::Post(post) if post.seq == 8 && post.time == 17));
    }

    #[test]
    fn what_servers_tell_each_other_comes_as_it_was_said() {
        let sign = sign("n1", "{\"a\":\"\\r\\n ä\"}");
        let Some(Told::Sign { from, word }) = told(sign.as_bytes()) else { panic!("no sign") };
        assert_eq!((from, word), ("n1", "{\"a\":\"\\r\\n ä\"}"));
    }

    #[test]
    fn what_no_node_tells_is_nothing() {
        for payload in [
            "",
            "hello",
            "*1 $4 boat ",
            "*1 $4 bea",
            "*1 $5 beat ",
            "*1 $ beat ",
            "*1 $99999999999999999999 beat ",
            "*5 $1 r +e :x :2 *0 ",
            "*5 $1 r $1 e :1 :2 *0 ",
            "*5 $1 r +e :1 :2 *1 *1 :1 ",
            "*5 $1 r +e :1 :2 *1 *5 :17 $5 a\nc\n\n $2 hi $0  ",
            "*5 $1 r +e :1 :2 *9999999999 ",
            "*5 $1 r +e :1 :2 *1 *1 $1 D $1 1 ",
        ] {
            assert!(told_of(payload).is_none(), "{payload:?}");
        }
        assert!(matches!(told(b"*1\r\n$4\r\nbeat\r\n"), Some(Told::Beat)));
        let lifted = told(b"*2\r\n$3\r\nban\r\n$3\r\neve\r\n");
        assert!(matches!(lifted, Some(Told::Ban(BanChange::Lift(user))) if &*user == "eve"));
    }
}
