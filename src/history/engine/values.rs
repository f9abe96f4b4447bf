//! What the functions take and return, as the seam has it.

use redis::{Cmd, Value};

use crate::history::keys::Scope;
use crate::history::log::apply;
use crate::history::place::{News, Since};
use crate::history::{
    Act, Action, Ban, BanChange, Data, Draft, Fork, Holder, Outcome, Post, Record, RoomState, Who,
};

/// What somebody said and who: lines, since no name has a line break in it.
fn head(draft: &Draft) -> String {
    let verified = if draft.is_verified { "1" } else { "" };
    let reply_to = draft.reply_to.map(|seq| seq.to_string()).unwrap_or_default();
    format!("{}\n{}\n{verified}\n{reply_to}", draft.user, draft.client)
}

/// What is kept of a post and told, but for its time: three texts, as RESP.
fn words(draft: &Draft) -> String {
    let (head, text, data) = (head(draft), &*draft.text, draft.data.as_ref().map_or("", Data::as_str));
    format!("${}\r\n{head}\r\n${}\r\n{text}\r\n${}\r\n{data}\r\n", head.len(), text.len(), data.len())
}

/// Adds a post or a change to a call of `propose`. Anything else is no item of it.
pub(super) fn add_item(call: &mut Cmd, act: &Act, room: &str) {
    match act {
        Act::Post(draft) => {
            let key =
                Scope::of(draft, room).map(|it| format!("{}{}\n{}", it.origin as u8, it.person, it.key));
            let reply_to = draft.reply_to.map(|seq| seq.to_string()).unwrap_or_default();
            call.arg("P").arg(words(draft)).arg(key.unwrap_or_default()).arg(reply_to);
        }
        Act::Edit { seq, text, data } => {
            call.arg("E").arg(*seq).arg(&**text).arg(data.as_ref().map_or("", Data::as_str));
        }
        Act::Delete { seq } => {
            call.arg("D").arg(*seq);
        }
        Act::React { seq, user, emoji, is_removed, most } => {
            call.arg("R").arg(*seq).arg(&*user.label()).arg(&**emoji);
            call.arg(u8::from(*is_removed)).arg(*most);
        }
        Act::Import(_) | Act::Subscribe { .. } | Act::Read { .. } | Act::Note(_) => {
            debug_assert!(false, "no item of a call: {act:?}");
        }
    }
}

/// What came of the items of a call of `propose`; `None`: that is no such answer, or one of more or fewer items.
pub(super) fn outcomes(answer: &Value, items: usize) -> Option<Vec<Outcome>> {
    let Value::BulkString(answer) = answer else { return None };
    let mut outcomes = Vec::with_capacity(items);
    for words in std::str::from_utf8(answer).ok()?.split_terminator(';') {
        let mut words = words.split(' ');
        let kind = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        outcomes.push(match kind {
            "P" => {
                let (first, count, time) = (number()?, number()?, number()?);
                if count > items as u64 {
                    return None;
                }
                outcomes.extend((first..first + count).map(|seq| Outcome::Posted { seq, time }));
                continue;
            }
            "K" => Outcome::Repeated { seq: number()?, time: number()? },
            // Reactions have no time.
            "C" => Outcome::Changed { seq: number()?, rev: number()?, time: number() },
            "S" => Outcome::Same { seq: number()?, rev: number()? },
            "G" => Outcome::Gone,
            "N" => Outcome::NoTarget,
            "T" => Outcome::TooMany,
            _ => return None,
        });
    }
    (outcomes.len() == items).then_some(outcomes)
}

// ---- what is told

/// What a node is told.
#[derive(Debug)]
pub(super) enum Told {
    /// Something happened in a room.
    News(News),
    /// Somebody is banned, or no more.
    Ban(BanChange),
    /// A name is somebody's.
    Hold(Holder),
    /// Another server tells something.
    Sign { from: String, word: String },
    /// Nothing: it shows that the connection works.
    Beat,
}

/// What shows that a connection works.
pub(super) const BEAT: &str = "*1\r\n$4\r\nbeat\r\n";

/// What a server tells others.
pub(super) fn sign(from: &str, word: &str) -> String {
    format!("*3\r\n$4\r\nsign\r\n${}\r\n{from}\r\n${}\r\n{word}\r\n", from.len(), word.len())
}

/// Reads what is told; `None`: it is nothing that a node of this version tells.
pub(super) fn told(payload: &[u8]) -> Option<Told> {
    let value = redis::parse_redis_value(payload).ok()?;
    let parts = list(&value)?;
    match (&*text(parts.first()?)?, parts.len()) {
        ("beat", 1) => Some(Told::Beat),
        ("sign", 3) => Some(Told::Sign { from: text(&parts[1])?, word: text(&parts[2])? }),
        ("ban", 2..=4) => Some(Told::Ban(ban(&parts[1..])?)),
        ("hold", 4) => Some(Told::Hold(Holder {
            name: text(&parts[1])?.as_str().into(),
            subject: text(&parts[2])?.as_str().into(),
            is_first: text(&parts[3])? == "1",
        })),
        (_, 5) => news(parts).map(Told::News),
        _ => None,
    }
}

fn news(parts: &[Value]) -> Option<News> {
    let (prev_seq, prev_rev) = (number(&parts[2])?, number(&parts[3])?);
    let (mut seq, mut rev) = (prev_seq, prev_rev);
    let mut actions = Vec::new();
    for item in list(&parts[4])? {
        let item = list(item)?;
        if let [Value::Int(_), ..] = item {
            seq += 1;
            actions.push(Action::Post(post(seq, item)?));
        } else {
            rev += 1;
            actions.push(change(rev, item)?);
        }
    }
    let (room, epoch) = (text(&parts[0])?.as_str().into(), text(&parts[1])?.as_str().into());
    Some(News { room, epoch, prev_seq, prev_rev, actions })
}

fn post(seq: u64, parts: &[Value]) -> Option<Post> {
    let [time, head, words, data] = parts else { return None };
    let head = text(head)?;
    let mut lines = head.split('\n');
    let (user, client) = (lines.next()?.into(), lines.next()?.into());
    let is_verified = lines.next()? == "1";
    let reply_to = lines.next()?;
    let reply_to = if reply_to.is_empty() { None } else { Some(reply_to.parse().ok()?) };
    let (text, data) = (text(words)?.into(), data_of(data)?);
    Some(Post { seq, time: number(time)?, user, is_verified, client, text, key: None, data, reply_to })
}

/// `Some(None)`: it carries nothing.
#[expect(clippy::option_option, reason = "what is damaged is another thing than what is not there")]
fn data_of(value: &Value) -> Option<Option<Data>> {
    let json = text(value)?;
    Some((!json.is_empty()).then(|| Data::of_compact(&json)))
}

fn change(rev: u64, parts: &[Value]) -> Option<Action> {
    let seq = number(parts.get(1)?)?;
    match (&*text(&parts[0])?, &parts[2..]) {
        ("E", [time, words, data]) => {
            let (text, data) = (text(words)?.into(), data_of(data)?);
            Some(Action::Edit { rev, seq, text, data, time: number(time)? })
        }
        ("D", [time]) => Some(Action::Delete { rev, seq, time: number(time)? }),
        ("R", [user, emoji, is_removed]) => Some(Action::React {
            rev,
            seq,
            user: Who::from_label(&text(user)?),
            emoji: text(emoji)?.into(),
            is_removed: text(is_removed)? == "1",
        }),
        _ => None,
    }
}

/// The arguments of `ban`.
pub(super) fn add_ban(call: &mut Cmd, change: &BanChange) {
    match change {
        BanChange::Lift(user) => {
            call.arg(&**user);
        }
        BanChange::Set(ban) => {
            let until = ban.until.map(|until| until.to_string()).unwrap_or_default();
            call.arg(&*ban.user).arg(until).arg(&*ban.reason);
        }
    }
}

fn ban(parts: &[Value]) -> Option<BanChange> {
    let user = text(parts.first()?)?.as_str().into();
    let [until, reason] = &parts[1..] else { return Some(BanChange::Lift(user)) };
    let until = text(until)?;
    let until = if until.is_empty() { None } else { Some(until.parse().ok()?) };
    Some(BanChange::Set(Ban { user, until, reason: text(reason)?.into() }))
}

/// Everybody who is banned.
pub(super) fn bans(answer: &Value) -> Option<Vec<Ban>> {
    let is_set = |change| if let BanChange::Set(ban) = change { Some(ban) } else { None };
    list(answer)?.iter().map(|parts| is_set(ban(list(parts)?)?)).collect()
}

/// All verified names; of each person the first name comes before the others.
pub(super) fn holders(answer: &Value) -> Option<Vec<Holder>> {
    let flat: Vec<String> = match answer {
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(name, of)| [text(name), text(of)]).collect::<Option<_>>()?
        }
        other => list(other)?.iter().map(text).collect::<Option<_>>()?,
    };
    let holder = |pair: &[String]| {
        let subject = pair[1].get(1..).unwrap_or_default();
        Holder { name: pair[0].as_str().into(), subject: subject.into(), is_first: pair[1].starts_with('1') }
    };
    let mut holders: Vec<Holder> = flat.chunks_exact(2).map(holder).collect();
    holders.sort_by(|a, b| b.is_first.cmp(&a.is_first).then_with(|| a.name.cmp(&b.name)));
    Some(holders)
}

// ---- what is read

/// The state of a room.
pub(super) fn state(answer: &Value) -> Option<RoomState> {
    let [epoch, lineage, seq, rev, time, oldest, messages, changes] = list(answer)? else { return None };
    let fork = |value: &Value| {
        let [epoch, seq, rev] = list(value)? else { return None };
        Some(Fork { epoch: text(epoch)?.as_str().into(), seq: number(seq)?, rev: number(rev)? })
    };
    Some(RoomState {
        epoch: text(epoch)?.as_str().into(),
        lineage: list(lineage)?.iter().map(fork).collect::<Option<_>>()?,
        seq: number(seq)?,
        rev: number(rev)?,
        time: number(time)?,
        oldest: number(oldest)?,
        recent: records(messages)?,
        changes: numbered_changes(changes)?,
    })
}

/// Reads the answer of `since`.
pub(super) fn since(answer: &Value) -> Option<Since> {
    let [epoch, base_seq, base_rev, seq, rev, messages, changes] = list(answer)? else { return None };
    let messages = if *messages == Value::Nil { None } else { Some(records(messages)?) };
    let changes = if *changes == Value::Nil { None } else { Some(numbered_changes(changes)?) };
    Some(Since {
        epoch: text(epoch)?.as_str().into(),
        base: (number(base_seq)?, number(base_rev)?),
        end: (number(seq)?, number(rev)?),
        messages,
        changes,
    })
}

fn numbered_changes(value: &Value) -> Option<Vec<Action>> {
    let numbered = |parts: &[Value]| change(number(parts.first()?)?, &parts[1..]);
    list(value)?.iter().map(|parts| numbered(list(parts)?)).collect()
}

/// Messages; damaged ones are left out.
pub(super) fn records(value: &Value) -> Option<Vec<Record>> {
    Some(list(value)?.iter().filter_map(record).collect())
}

fn record(value: &Value) -> Option<Record> {
    let [seq, Value::BulkString(message), is_deleted, edited, reactions] = list(value)? else { return None };
    let post = post(number(seq)?, list(&redis::parse_redis_value(message).ok()?)?)?;
    let (is_deleted, edited) = (number(is_deleted)? == 1, number(edited)?);
    let mut record = Record { post, edited: (edited > 0).then_some(edited), ..Record::default() };
    for pair in list(reactions)?.chunks_exact(2) {
        let (emoji, user) = (text(&pair[0])?.into(), Who::from_label(&text(&pair[1])?));
        apply(&mut record, &Action::React { rev: 0, seq: 0, user, emoji, is_removed: false });
    }
    record.is_deleted = is_deleted;
    Some(record)
}

// ---- values

/// A list, as the engine has it.
pub(super) fn list(value: &Value) -> Option<&[Value]> {
    if let Value::Array(list) = value { Some(list) } else { None }
}

/// A text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(octets) => String::from_utf8(octets.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// A number that is not below 0.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(octets) => std::str::from_utf8(octets).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(resp: &str) -> Option<Told> {
        told(resp.replace(' ', "\r\n").as_bytes())
    }

    #[test]
    fn what_is_told_is_read_with_its_numbers() {
        let item = "*4 :17 $5 a\nc\n\n $2 hi $0  ".to_owned();
        let change = "*3 $1 D $1 4 $2 18 ";
        let all = format!("*5 $1 r $1 e $1 6 $1 2 *3 {item}{change}{item}");
        let Some(Told::News(news)) = told_of(&all) else { panic!("no news") };
        assert_eq!((&*news.room, &*news.epoch, news.prev_seq, news.prev_rev), ("r", "e", 6, 2));
        assert_eq!(news.end(), (8, 3));
        assert!(matches!(&news.actions[0], Action::Post(post) if post.seq == 7 && &*post.text == "hi"));
        assert_eq!(news.actions[1], Action::Delete { rev: 3, seq: 4, time: 18 });
    }

    #[test]
    fn what_servers_tell_each_other_comes_as_it_was_said() {
        let Some(Told::Sign { from, word }) = told(sign("n1", "{\"a\":\"\\r\\n ä\"}").as_bytes()) else {
            panic!("no sign")
        };
        assert_eq!((&*from, &*word), ("n1", "{\"a\":\"\\r\\n ä\"}"));
    }

    #[test]
    fn what_no_node_tells_is_nothing() {
        for payload in
            ["", "hello", "*1 $4 boat ", "*5 $1 r $1 e $1 x $1 2 *0 ", "*5 $1 r $1 e $1 1 $1 2 *1 *1 :1 "]
        {
            assert!(told_of(payload).is_none(), "{payload:?}");
        }
        assert!(matches!(told_of("*1 $4 beat "), Some(Told::Beat)));
        let lifted = told_of("*2 $3 ban $3 eve ");
        assert!(matches!(lifted, Some(Told::Ban(BanChange::Lift(user))) if &*user == "eve"));
    }
}
