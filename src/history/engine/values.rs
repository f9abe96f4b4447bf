//! What the functions take and return, as the seam has it.

use std::borrow::Cow;

use redis::{Cmd, Value};

use super::told;

use crate::history::keys::Scope;
use crate::history::log::apply;
use crate::history::place::Since;
use crate::history::{
    Act, Action, Ban, BanChange, Data, Draft, Fork, Holder, Outcome, Post, Record, RoomState, Who,
};

/// A text in parts, as RESP.
fn push_text(out: &mut String, parts: &[&str]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.push('$');
    out.push_str(&len.to_string());
    out.push_str("\r\n");
    for part in parts {
        out.push_str(part);
    }
    out.push_str("\r\n");
}

/// The name of a room, as RESP.
pub(super) fn add_name(call: &mut Cmd, room: &str, scratch: &mut String) {
    scratch.clear();
    push_text(scratch, &[room]);
    call.arg(&**scratch);
}

/// Adds what `post` is told of a post: what is kept of it and told, but for its time, which is three texts as RESP; then its key
/// and whose that is.
pub(super) fn add_post(call: &mut Cmd, draft: &Draft, room: &str, scratch: &mut String) {
    scratch.clear();
    let verified = if draft.is_verified { "1" } else { "" };
    let reply_to = draft.reply_to.map(|seq| seq.to_string()).unwrap_or_default();
    // Lines, since no name has a line break in it.
    push_text(scratch, &[&draft.user, "\n", &draft.client, "\n", verified, "\n", &reply_to]);
    push_text(scratch, &[&draft.text]);
    push_text(scratch, &[draft.data.as_ref().map_or("", Data::as_str)]);
    call.arg(&**scratch);
    scratch.clear();
    if let Some(scope) = Scope::of(draft, room) {
        scratch.push(char::from(b'0' + scope.origin as u8));
        scratch.push_str(scope.person);
        scratch.push('\n');
        scratch.push_str(scope.key);
    }
    call.arg(&**scratch);
}

/// Adds a post or a change to a call of `propose`. Anything else is no item of it.
pub(super) fn add_item(call: &mut Cmd, act: &Act, room: &str, scratch: &mut String) {
    match act {
        Act::Post(draft) => {
            call.arg(if draft.reply_to.is_some() { "A" } else { "P" });
            add_post(call, draft, room, scratch);
            call.arg(draft.reply_to);
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

/// What came of a call of `propose` or `post`.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// The name of the room's history.
    pub(super) epoch: &'a str,
    /// The newest message and the newest change before.
    pub(super) prev: (u64, u64),
    /// Of each item.
    pub(super) outcomes: Vec<Outcome>,
}

/// Reads the answer of `propose` or `post` to a call of `items` items; `None`: it is not such an answer.
pub(super) fn answer(answer: &Value, items: usize) -> Option<Answer<'_>> {
    let Value::BulkString(answer) = answer else { return None };
    let (epoch, prev, rest) = told::before(answer)?;
    let mut posted = 0;
    let mut outcomes = Vec::with_capacity(items);
    for words in rest.split_terminator(';') {
        let mut words = words.split(' ');
        let kind = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        outcomes.push(match kind {
            "P" => {
                let (count, time) = (number()?, number()?);
                if count > items as u64 {
                    return None;
                }
                let before = prev.0.checked_add(posted)?;
                posted = posted.checked_add(count)?;
                before.checked_add(count)?;
                outcomes.extend((1..=count).map(|nth| Outcome::Posted { seq: before + nth, time }));
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
    (outcomes.len() == items).then_some(Answer { epoch, prev, outcomes })
}

// ---- messages and changes, of whatever

/// A message of its parts; `None`: they are damaged.
pub(super) fn post(seq: u64, time: u64, [head, text, data]: [&str; 3]) -> Option<Post> {
    let mut lines = head.split('\n');
    let (user, client) = (lines.next()?.into(), lines.next()?.into());
    let is_verified = lines.next()? == "1";
    let reply_to = lines.next()?;
    let reply_to = if reply_to.is_empty() { None } else { Some(reply_to.parse().ok()?) };
    let (text, data) = (text.into(), data_of(data));
    Some(Post { seq, time, user, is_verified, client, text, key: None, data, reply_to })
}

fn data_of(json: &str) -> Option<Data> {
    (!json.is_empty()).then(|| Data::of_compact(json))
}

/// A change of its parts; `None`: they are damaged.
pub(super) fn change(rev: u64, kind: &str, seq: u64, parts: &[&str]) -> Option<Action> {
    match (kind, parts) {
        ("E", [time, text, data]) => {
            let (text, data, time) = ((*text).into(), data_of(data), time.parse().ok()?);
            Some(Action::Edit { rev, seq, text, data, time })
        }
        ("D", [time]) => Some(Action::Delete { rev, seq, time: time.parse().ok()? }),
        ("R", [user, emoji, is_removed]) => Some(Action::React {
            rev,
            seq,
            user: Who::from_label(user),
            emoji: (*emoji).into(),
            is_removed: *is_removed == "1",
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

/// A ban, or the end of one, of its parts.
pub(super) fn ban(parts: &[&str]) -> Option<BanChange> {
    let (user, rest) = parts.split_first()?;
    let user = (*user).into();
    let [until, reason] = rest else { return Some(BanChange::Lift(user)) };
    let until = if until.is_empty() { None } else { Some(until.parse().ok()?) };
    Some(BanChange::Set(Ban { user, until, reason: (*reason).into() }))
}

/// Everybody who is banned.
pub(super) fn bans(answer: &Value) -> Option<Vec<Ban>> {
    let of = |parts: &Value| match ban(&refs(&texts(list(parts)?)?))? {
        BanChange::Set(ban) => Some(ban),
        BanChange::Lift(_) => None,
    };
    list(answer)?.iter().map(of).collect()
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
    let numbered = |parts: &Value| {
        let [rev, kind, seq, rest @ ..] = list(parts)? else { return None };
        change(number(rev)?, &shown(kind)?, number(seq)?, &refs(&texts(rest)?))
    };
    list(value)?.iter().map(numbered).collect()
}

/// Messages; damaged ones are left out.
pub(super) fn records(value: &Value) -> Option<Vec<Record>> {
    Some(list(value)?.iter().filter_map(record).collect())
}

fn record(value: &Value) -> Option<Record> {
    let [seq, Value::BulkString(message), is_deleted, edited, reactions] = list(value)? else { return None };
    let post = told::message(number(seq)?, message)?;
    let (is_deleted, edited) = (number(is_deleted)? == 1, number(edited)?);
    let mut record = Record { post, edited: (edited > 0).then_some(edited), ..Record::default() };
    for pair in list(reactions)?.chunks_exact(2) {
        let (emoji, user) = ((&*shown(&pair[0])?).into(), Who::from_label(&shown(&pair[1])?));
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
    if matches!(value, Value::Int(_)) { None } else { shown(value).map(Cow::into_owned) }
}

/// A text, or a number as one.
fn shown(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::BulkString(octets) => std::str::from_utf8(octets).ok().map(Cow::Borrowed),
        Value::SimpleString(text) => Some(Cow::Borrowed(text)),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn texts(values: &[Value]) -> Option<Vec<Cow<'_, str>>> {
    values.iter().map(shown).collect()
}

fn refs<'t>(texts: &'t [Cow<'_, str>]) -> Vec<&'t str> {
    texts.iter().map(|text| &**text).collect()
}

/// A number that is not below 0.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(octets) => std::str::from_utf8(octets).ok()?.parse().ok(),
        _ => None,
    }
}
