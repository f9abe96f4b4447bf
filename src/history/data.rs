//! What a message carries besides its text: any JSON, as its sender wrote it.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A value of JSON without whitespace between its tokens. Numbers and strings keep the form in which they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data(Box<str>);

impl Data {
    /// Reads a value, and removes the whitespace between its tokens.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn new(json: &str) -> Result<Self, serde_json::Error> {
        let value: &RawValue = serde_json::from_str(json)?;
        Ok(Self(compact(value.get())))
    }

    /// A value that is stored, with its checksum, as [`Self::as_str`] returned it.
    pub(in crate::history) fn stored(json: &str) -> Self {
        Self(json.into())
    }

    /// The value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of the value; 0 where there is none.
    pub(crate) fn len_of(data: Option<&Self>) -> usize {
        data.map_or(0, |data| data.0.len())
    }
}

/// What is between tokens of valid JSON goes.
fn compact(json: &str) -> Box<str> {
    let (mut is_in_string, mut is_escaped) = (false, false);
    let kept = json.chars().filter(|char| {
        let is_kept = is_in_string || !char.is_ascii_whitespace();
        match char {
            '"' if !is_escaped => is_in_string = !is_in_string,
            _ => {}
        }
        is_escaped = is_in_string && !is_escaped && *char == '\\';
        is_kept
    });
    kept.collect::<String>().into()
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_between_tokens_goes_and_nothing_else() {
        for (written, kept) in [
            (" { \"a b\" : [ 1 ,\t2.50 ] ,\r\n\"c\":null } ", r#"{"a b":[1,2.50],"c":null}"#),
            (r#""a \" b \\" "#, r#""a \" b \\""#),
            (r#"["\\", " ", "\\\" x "]"#, r#"["\\"," ","\\\" x "]"#),
            ("1e400", "1e400"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("\"\u{a0}\\u00e9\"", "\"\u{a0}\\u00e9\""),
            (" true ", "true"),
        ] {
            let data = Data::new(written).unwrap();
            assert_eq!(data.as_str(), kept);
            assert_eq!(serde_json::to_string(&data).unwrap(), kept);
            assert_eq!(Data::new(kept).unwrap(), data);
        }
        for broken in ["", "{", "tru", "1 2", "'a'", "{\"a\":}"] {
            assert!(Data::new(broken).is_err(), "{broken}");
        }
    }
}
