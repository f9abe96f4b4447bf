//! Messages that are an earlier one again, or differ from it in one number alone. Pure.
//!
//! Most messages of a protocol do. Once one of them has been read and judged, the next ones are recognised by what stands
//! before the number and behind it: another number at the same place leaves JSON valid, and every other field as it was.
//! That costs a tenth of reading them.

use std::ops::Range;

use super::expect::Judged;
use super::pattern::leading_number;

/// After this many messages in turn that taught nothing, only one of `SELDOM` is looked at.
const PATIENCE: u32 = 16;
const SELDOM: u32 = 64;

/// What a connection has learned from the messages of its server.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// An answer.
    answer: Shape,
    /// A message that is none.
    other: Shape,
}

/// A message, without its number if it has one.
#[derive(Debug, Default)]
struct Shape {
    text: Box<[u8]>,
    /// Length of what stands before the number, and what is added to the sequence number there. `None`: the message is known as
    /// a whole.
    before: Option<(usize, u64)>,
    /// Messages that were looked at since the last one that was recognised.
    looked_at: u32,
}

impl Shapes {
    /// What a message is. The number of an answer is the one in its text. `None`: it must be read.
    #[inline]
    pub(super) fn recognise(&mut self, text: &[u8]) -> Option<Judged> {
        if let Some(number) = self.answer.recognise(text) {
            return Some(Judged::Answer(number));
        }
        self.other.recognise(text).map(|_| Judged::Other)
    }

    /// Learns from a message that was judged. `number`: a sequence number that it may hold, as the sum with a constant, and
    /// that may be another one in the next. The
    /// message is known without its number if that number could not be anywhere else than in its field: it must occur once,
    /// and no character may be escaped. Else, and if `or_whole`, the message is known as a whole.
    pub(super) fn learn(&mut self, text: &str, judged: Judged, number: Option<(u64, u64)>, or_whole: bool) {
        let shape = if judged == Judged::Other { &mut self.other } else { &mut self.answer };
        shape.looked_at = shape.looked_at.wrapping_add(1);
        if shape.looked_at > PATIENCE && !shape.looked_at.is_multiple_of(SELDOM) {
            return;
        }
        let place = number.and_then(|(seq, plus)| Some((place_of(text, seq.checked_add(plus)?)?, plus)));
        if let Some((place, plus)) = place {
            shape.text = [&text.as_bytes()[..place.start], &text.as_bytes()[place.end..]].concat().into();
            shape.before = Some((place.start, plus));
        } else if or_whole {
            shape.text = text.as_bytes().into();
            shape.before = None;
        }
    }
}

/// Where a number is, if it is nowhere else.
fn place_of(text: &str, number: u64) -> Option<Range<usize>> {
    let digits = number.to_string();
    let mut places = text.match_indices(&digits);
    let (Some((start, _)), None) = (places.next(), places.next()) else { return None };
    let end = start + digits.len();
    // Places that overlap, as those of 11 in 111, are found by their neighbours.
    let is_digit = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_digit);
    let (before, after) = (&text.as_bytes()[..start], &text.as_bytes()[end..]);
    let is_alone = !is_digit(before.last()) && !is_digit(after.first()) && !text.contains('\\');
    is_alone.then_some(start..end)
}

impl Shape {
    /// The number in a message, if it is this one; `Some(None)`: it has none.
    #[inline]
    #[expect(clippy::option_option, reason = "a message may be known as a whole")]
    fn recognise(&mut self, text: &[u8]) -> Option<Option<u64>> {
        if self.text.is_empty() {
            return None;
        }
        let number = match self.before {
            None => (*text == *self.text).then_some(None),
            Some((before, plus)) => self.number(before, text)?.checked_sub(plus).map(Some),
        }?;
        self.looked_at = 0;
        Some(number)
    }

    /// The number in a message that is otherwise this one.
    #[inline]
    fn number(&self, before: usize, text: &[u8]) -> Option<u64> {
        let len = text.len().checked_sub(self.text.len())?;
        let (first, last) = self.text.split_at_checked(before)?;
        let (number, digits) = leading_number(text.get(before..)?)?;
        // A number has one form in JSON, without zeros in front.
        let has_one_form = text[before] != b'0' || len == 1;
        (digits == len && has_one_form && text[..before] == *first && text[before + len..] == *last)
            .then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(text: &str, number: u64) -> Shapes {
        let mut shapes = Shapes::default();
        shapes.learn(text, Judged::Answer(Some(number)), Some((number, 0)), false);
        shapes
    }

    #[test]
    fn a_number_at_the_same_place_is_read() {
        let mut shapes = learned(r#"{"id":7,"ok":true}"#, 7);
        for number in [0, 7, 10, 123_456, 999_999_999_999_999_999] {
            let text = format!(r#"{{"id":{number},"ok":true}}"#);
            assert_eq!(shapes.recognise(text.as_bytes()), Some(Judged::Answer(Some(number))), "{text}");
        }
        let mut shapes = learned("[\"c3-12\"]", 12);
        assert_eq!(shapes.recognise(b"[\"c3-9\"]"), Some(Judged::Answer(Some(9))));
        shapes.learn("[\"c3-12\"]", Judged::Answer(Some(10)), Some((10, 2)), false);
        assert_eq!(shapes.recognise(b"[\"c3-9\"]"), Some(Judged::Answer(Some(7))));
        assert_eq!(shapes.recognise(b"[\"c3-1\"]"), None, "no message has such a number");
        assert_eq!(learned("5", 5).recognise(b"5"), None, "there is nothing besides");
    }

    #[test]
    fn whatever_else_differs_must_be_read() {
        let mut shapes = learned(r#"{"id":7,"ok":true}"#, 7);
        for text in [
            r#"{"id":7,"ok":false}"#,
            r#"{"ix":7,"ok":true}"#,
            r#"{"id":,"ok":true}"#,
            r#"{"id":07,"ok":true}"#,
            r#"{"id":-7,"ok":true}"#,
            r#"{"id":7.5,"ok":true}"#,
            r#"{"id":1e3,"ok":true}"#,
            r#"{"id":7,"id":8,"ok":true}"#,
            r#"{"id":1000000000000000000,"ok":true}"#,
            r#"{"id":7,"ok":true"#,
            r#"{"id""#,
            "",
        ] {
            assert_eq!(shapes.recognise(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_number_that_could_be_elsewhere_teaches_nothing() {
        for (text, number) in [
            (r#"{"n":12,"id":12}"#, 12),
            (r#"{"id":"c111"}"#, 11),
            (r#"{"n":12,"id":"\u0031\u0032"}"#, 12),
            (r#"{"id":"x"}"#, 5),
            (r#"{"id":"m12"}"#, 2),
        ] {
            assert_eq!(learned(text, number).recognise(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_answer_and_another_message_are_known() {
        let mut shapes = learned("next 1.", 1);
        shapes.learn("complete 1.", Judged::Other, Some((1, 0)), true);
        assert_eq!(shapes.recognise(b"next 5."), Some(Judged::Answer(Some(5))));
        assert_eq!(shapes.recognise(b"complete 5."), Some(Judged::Other));
        shapes.learn("pong", Judged::Answer(None), None, true);
        shapes.learn("news 1 1", Judged::Other, Some((1, 0)), true);
        assert_eq!(shapes.recognise(b"pong"), Some(Judged::Answer(None)));
        assert_eq!(shapes.recognise(b"news 1 1"), Some(Judged::Other));
        for other in ["pong ", "next 5.", "complete 5.", "news 1 2"] {
            assert_eq!(shapes.recognise(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_server_whose_messages_are_never_alike_is_seldom_looked_at() {
        let mut shapes = Shapes::default();
        let learned = (1000..1000 + u64::from(10 * SELDOM))
            .filter(|number| {
                let text = format!("[{number},{}]", number * 3);
                shapes.learn(&text, Judged::Other, None, true);
                shapes.other.text == text.as_bytes().into()
            })
            .count();
        assert!((PATIENCE as usize..PATIENCE as usize + 11).contains(&learned), "{learned}");
    }
}
