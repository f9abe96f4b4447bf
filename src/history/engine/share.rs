//! Which of several engines has which room, and whether a list of engines is that with which the chat began. Pure.
//!
//! Rooms are dealt out by rendezvous hashing over the engines' places. What an engine's place is the engine remembers itself,
//! so the order of the list does not matter, and an engine may move to another address.

use super::error::EngineError;

/// What an engine remembers of the chat that it is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Names the chat's engines.
    pub(super) chat: String,
    /// The place of this one, from 0.
    pub(super) place: usize,
    /// How many they are.
    pub(super) count: usize,
}

impl Mark {
    pub(super) fn text(&self) -> String {
        format!("{} {} {}", self.chat, self.place, self.count)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let chat = parts.next()?.to_owned();
        let (place, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (parts.next().is_none() && place < count).then_some(Self { chat, place, count })
    }
}

/// An engine as it is found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) mark: Option<Mark>,
    /// It has rooms.
    pub(super) has_rooms: bool,
}

/// The marks that engines in this order have, or are to be given where nobody has one; `fresh` names a chat that begins.
///
/// # Errors
/// They are not the engines with which the chat began: rooms would be looked for where they are not.
pub(super) fn arrange(found: &[Found], fresh: &str) -> Result<Vec<Mark>, EngineError> {
    let count = found.len();
    let no = |why: String| Err(EngineError::Engines(why));
    let Some(known) = found.iter().find_map(|it| it.mark.as_ref()) else {
        if count > 1 && found.iter().any(|it| it.has_rooms) {
            return no(format!("there are rooms already, and not by {count} engines"));
        }
        let mark = |place| Mark { chat: fresh.to_owned(), place, count };
        return Ok((0..count).map(mark).collect());
    };
    if known.count != count {
        return no(format!("the chat began with {}, and these are {count}", known.count));
    }
    let mut is_taken = vec![false; count];
    for mark in found.iter().filter_map(|it| it.mark.as_ref()) {
        if mark.chat != known.chat || mark.count != count {
            return no("they are not of one chat".to_owned());
        }
        if std::mem::replace(&mut is_taken[mark.place], true) {
            return no("one of them is there twice".to_owned());
        }
    }
    let mut marks = Vec::with_capacity(count);
    for (at, it) in found.iter().enumerate() {
        let Some(mark) = &it.mark else {
            let places: Vec<String> =
                (0..count).filter(|place| !is_taken[*place]).map(|place| place.to_string()).collect();
            return no(format!(
                "number {} of the list has no mark of the chat; if it has lost its data, run there: HSET sb:engines chat \
                 \"{} PLACE {count}\" (PLACE is {})",
                at + 1,
                known.chat,
                places.join(" or ")
            ));
        };
        marks.push(mark.clone());
    }
    Ok(marks)
}

/// The place of the engine, of so many, that has a room. With one more engine, only rooms move that it gets.
pub(super) fn place_of(room: &str, count: usize) -> usize {
    // FNV-1a: the same on every machine and in every version.
    let fnv = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    let hash = room.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    (0..count).max_by_key(|place| mixed(hash ^ mixed(*place as u64 + 1))).unwrap_or_default()
}

/// The finalizer of `SplitMix64`: each bit of the answer depends on each bit of the number.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(marks: &[&str]) -> Vec<Found> {
        let found = |text: &&str| match text.strip_suffix('!') {
            Some(text) => Found { mark: Mark::read(text), has_rooms: true },
            None => Found { mark: Mark::read(text), has_rooms: false },
        };
        marks.iter().map(found).collect()
    }

    fn places(marks: &[&str]) -> Result<Vec<usize>, String> {
        let marks = arrange(&found(marks), "new").map_err(|why| why.to_string())?;
        assert!(marks.iter().all(|it| it.count == marks.len() && it.chat == marks[0].chat));
        Ok(marks.iter().map(|it| it.place).collect())
    }

    #[test]
    fn engines_that_a_chat_began_with_are_known_in_any_order_and_others_are_refused() {
        assert_eq!(places(&[""]), Ok(vec![0]));
        assert_eq!(places(&["!"]), Ok(vec![0]), "a chat from before there were marks");
        assert_eq!(places(&["", "", ""]), Ok(vec![0, 1, 2]));
        assert_eq!(places(&["a 1 2", "a 0 2"]), Ok(vec![1, 0]));
        for (marks, word) in [
            (&["!", ""][..], "rooms already"),
            (&["a 0 1", ""], "began with 1"),
            (&["a 0 2"], "began with 2"),
            (&["a 0 2", "b 1 2"], "one chat"),
            (&["a 0 2", "a 0 2"], "twice"),
            (&["a 2 3", "", "a 0 3"], "number 2 of the list has no mark"),
            (&["a 2 3", "", "a 0 3"], "\"a PLACE 3\" (PLACE is 1)"),
            (&["a 0 3", "!", ""], "(PLACE is 1 or 2)"),
        ] {
            let why = places(marks).unwrap_err();
            assert!(why.contains(word), "{marks:?}: {why}");
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark { chat: "a1".into(), place: 2, count: 3 };
        assert_eq!(Mark::read(&mark.text()), Some(mark));
        for text in ["", "a", "a 1", "a 3 3", "a x 3", "a 1 2 3"] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }

    #[test]
    fn rooms_are_dealt_out_evenly_and_a_further_engine_gets_its_share_of_them_alone() {
        let rooms: Vec<String> = (0..30_000).map(|nth| format!("room {nth}")).collect();
        for count in 1..=5 {
            let mut shares = vec![0_usize; count];
            for room in &rooms {
                let place = place_of(room, count);
                shares[place] += 1;
                let later = place_of(room, count + 1);
                assert!(later == place || later == count, "{room} moves from {place} to {later}");
            }
            let even = rooms.len() / count;
            assert!(shares.iter().all(|share| share.abs_diff(even) < even / 10), "{shares:?}");
        }
        // What is stored under these numbers stays where it is.
        assert_eq!(["general", "tea", "@a\nb"].map(|room| place_of(room, 3)), [2, 1, 0]);
    }
}
