//! The names of keys and channels at the engine.

use redis::Cmd;

/// How the names of all keys and channels begin.
const PREFIX: &str = "sb:";
/// The keys of a room, in the order of the functions.
const OF_A_ROOM: [&str; 6] = ["m", "h", "o", "c", "k", "j"];

/// Who is banned, by folded name.
pub(super) const BANS: &str = "sb:bans";
/// Whose the verified names are, by folded name.
pub(super) const HOLDERS: &str = "sb:holders";
/// The names of all rooms that are no conversation of two.
pub(super) const ROOMS: &str = "sb:rooms";
/// Conversations of two in which something happened lately, by the engine's time.
pub(super) const RECENT_PAIRS: &str = "sb:pairs";
/// Which engine of the chat this one is.
pub(super) const ENGINES: &str = "sb:engines";
/// The channel of every node.
pub(super) const EVERYBODY: &str = "sb:X";
/// The channel of conversations of two, whose users may be connected to any node.
pub(super) const PAIRS: &str = "sb:P";

/// The keys of a room that the first `count` letters of the functions stand for.
pub(super) fn room_keys(room: &str, count: usize) -> Vec<String> {
    let tag = tag(room);
    OF_A_ROOM[..count].iter().map(|kind| format!("{PREFIX}{kind}:{tag}")).collect()
}

/// Adds the keys of `propose`, behind their number: those of the room, and the lists in which it is.
pub(super) fn add_keys(call: &mut Cmd, room: &str, scratch: &mut String) {
    let lists = lists(room);
    call.arg(OF_A_ROOM.len() + lists.len());
    scratch.clear();
    scratch.push_str(PREFIX);
    scratch.push_str(OF_A_ROOM[0]);
    scratch.push(':');
    push_tag(scratch, room);
    for kind in OF_A_ROOM {
        // Their names differ in this letter.
        scratch.replace_range(PREFIX.len()..=PREFIX.len(), kind);
        call.arg(&**scratch);
    }
    call.arg(lists);
}

/// The lists of rooms in which a room is.
pub(super) fn lists(room: &str) -> Vec<String> {
    match pair(room) {
        Some((a, b)) => vec![pairs_of(a), pairs_of(b), RECENT_PAIRS.to_owned()],
        None => vec![ROOMS.to_owned()],
    }
}

/// Where what happens in a room is told.
pub(super) fn channel(room: &str) -> String {
    if pair(room).is_some() { PAIRS.to_owned() } else { format!("{PREFIX}C:{}", tag(room)) }
}

/// The channel of one node.
pub(super) fn node(node: &str) -> String {
    format!("{PREFIX}N:{node}")
}

/// How far the users of a room have read.
pub(super) fn marks(room: &str) -> String {
    format!("{PREFIX}r:{}", tag(room))
}

/// The rooms that a user has subscribed to.
pub(super) fn subscriptions(user: &str) -> String {
    format!("{PREFIX}s:{}", tag(user))
}

/// The conversations of two of a user, by the time of the newest message.
pub(super) fn pairs_of(user: &str) -> String {
    format!("{PREFIX}p:{}", tag(user))
}

/// The two whose conversation a room is.
pub(super) fn pair(room: &str) -> Option<(&str, &str)> {
    room.strip_prefix('@')?.split_once('\n')
}

/// A name as a hash tag: all keys of a room are in one slot, and an operator's terminal can show them.
fn tag(name: &str) -> String {
    let mut tag = String::with_capacity(name.len() + 2);
    push_tag(&mut tag, name);
    tag
}

fn push_tag(tag: &mut String, name: &str) {
    tag.push('{');
    // Most names; what begins with this octet may be a control character of Latin 1.
    let is_plain = |octet: u8| !octet.is_ascii_control() && !b"{}%\xC2".contains(&octet);
    if name.bytes().all(is_plain) {
        tag.push_str(name);
        tag.push('}');
        return;
    }
    for character in name.chars() {
        if matches!(character, '{' | '}' | '%') || character.is_control() {
            let mut octets = [0; 4];
            for octet in character.encode_utf8(&mut octets).bytes() {
                tag.push('%');
                tag.push(hex(octet >> 4));
                tag.push(hex(octet & 15));
            }
        } else {
            tag.push(character);
        }
    }
    tag.push('}');
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rooms_never_share_a_key_and_all_keys_of_one_have_its_tag() {
        let names = ["a", "{a}", "a}", "%7ba", "{a", "@a\nb", "@a%0ab", "ä"];
        let keys: Vec<_> = names.iter().map(|name| room_keys(name, 6)).collect();
        for (at, of_one) in keys.iter().enumerate() {
            let tag = of_one[0].strip_prefix("sb:m:").unwrap();
            assert!(tag.starts_with('{') && tag[1..].find('}') == Some(tag.len() - 2), "{tag}");
            assert!(of_one.iter().all(|key| key.ends_with(tag)));
            assert!(keys[at + 1..].iter().all(|other| other[0] != of_one[0]), "{}", names[at]);
        }
    }

    #[test]
    fn a_call_has_the_keys_of_the_room_and_its_lists() {
        for room in ["r", "@a\nb", "{a}\u{85}é\u{a0}"] {
            let (mut call, mut keys) = (Cmd::new(), room_keys(room, 6));
            keys.extend(lists(room));
            add_keys(&mut call, room, &mut "left over".to_owned());
            let mut expected = Cmd::new();
            expected.arg(keys.len()).arg(keys);
            assert_eq!(call.get_packed_command(), expected.get_packed_command());
        }
        assert_eq!(tag("\u{85}"), "{%c2%85}");
    }

    #[test]
    fn a_conversation_is_in_the_lists_of_both_and_told_to_every_node() {
        assert_eq!(lists("@a\nb"), ["sb:p:{a}", "sb:p:{b}", "sb:pairs"]);
        assert_eq!((lists("r"), channel("r")), (vec![ROOMS.to_owned()], "sb:C:{r}".to_owned()));
        assert_eq!(channel("@a\nb"), PAIRS);
    }
}
