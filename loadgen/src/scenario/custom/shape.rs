//! Answers that differ from an earlier one in the number of their message alone. Pure.
//!
//! Most answers of a protocol do. Once one of them has been read as JSON and judged, the next ones are recognised by what
//! stands before the number and behind it: another number at the same place leaves JSON valid, and every other field as it
//! was. That costs a tenth of reading it.

/// Limit on the digits of a number, so that it fits into 64 bits.
const MAX_DIGITS: usize = 18;

/// An answer without the number of its message.
#[derive(Debug, Default)]
pub(super) struct Shape {
    text: String,
    /// Length of what stands before the number.
    before: usize,
}

impl Shape {
    /// Learns from an answer that was judged to hold `number`. Nothing is learned if the number could be anywhere else than
    /// in the field: it must occur once, and no character may be escaped.
    pub(super) fn learn(&mut self, text: &str, number: u64) {
        self.text.clear();
        let digits = number.to_string();
        let mut places = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(digits.as_bytes()));
        let (Some(at), None) = (places.next(), places.next()) else { return };
        if text.contains('\\') {
            return;
        }
        self.before = at;
        self.text.push_str(&text[..at]);
        self.text.push_str(&text[at + digits.len()..]);
    }

    /// The number in an answer that is otherwise the one that was learned.
    #[inline]
    pub(super) fn number(&self, text: &[u8]) -> Option<u64> {
        let learned = self.text.as_bytes();
        let len = text.len().checked_sub(learned.len())?;
        if learned.is_empty() || !(1..=MAX_DIGITS).contains(&len) {
            return None;
        }
        let digits = &text[self.before..self.before + len];
        let is_same = text[..self.before] == learned[..self.before]
            && text[self.before + len..] == learned[self.before..];
        // A number has one form in JSON, without zeros in front.
        if !is_same || digits[0] == b'0' && len > 1 {
            return None;
        }
        digits.iter().try_fold(0_u64, |value, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| value * 10 + u64::from(digit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(text: &str, number: u64) -> Shape {
        let mut shape = Shape::default();
        shape.learn(text, number);
        shape
    }

    #[test]
    fn a_number_at_the_same_place_is_read() {
        let shape = learned(r#"{"id":7,"ok":true}"#, 7);
        for number in [0, 7, 10, 123_456, 999_999_999_999_999_999] {
            let text = format!(r#"{{"id":{number},"ok":true}}"#);
            assert_eq!(shape.number(text.as_bytes()), Some(number), "{text}");
        }
        assert_eq!(learned("[\"c3-12\"]", 12).number(b"[\"c3-9\"]"), Some(9));
        assert_eq!(learned("5", 5).number(b"5"), None, "there is nothing besides");
    }

    #[test]
    fn whatever_else_differs_is_left_to_the_reader_of_json() {
        let shape = learned(r#"{"id":7,"ok":true}"#, 7);
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
            "",
        ] {
            assert_eq!(shape.number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_number_that_could_be_elsewhere_teaches_nothing() {
        for (text, number) in [
            (r#"{"n":12,"id":12}"#, 12),
            (r#"{"id":"c111"}"#, 11),
            (r#"{"n":12,"id":"\u0031\u0032"}"#, 12),
            (r#"{"id":"x"}"#, 5),
        ] {
            assert_eq!(learned(text, number).number(text.as_bytes()), None, "{text}");
        }
        // What was known before is forgotten.
        let mut shape = learned("[7]", 7);
        shape.learn("[1,1]", 1);
        assert_eq!(shape.number(b"[7]"), None);
    }
}
