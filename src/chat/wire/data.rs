//! JSON that messages carry, as its sender wrote it: read, and told.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::history::Data;

/// Reads a value, and removes the whitespace between its tokens. Numbers and strings keep the form in which they were written.
///
/// # Errors
/// It is no JSON.
pub fn compact(json: &str) -> Result<Data, serde_json::Error> {
    let value: &RawValue = serde_json::from_str(json)?;
    Ok(Data::of_compact(&without_blanks(value.get())))
}

/// What is between tokens of valid JSON goes.
fn without_blanks(json: &str) -> String {
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
    kept.collect()
}

/// A value within what is told.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(pub(in crate::chat) &'a Data);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_str(self.0.as_str()).map_err(S::Error::custom)?;
        value.serialize(serializer)
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
            let data = compact(written).unwrap();
            assert_eq!(data.as_str(), kept);
            assert_eq!(serde_json::to_string(&Json(&data)).unwrap(), kept);
            assert_eq!(compact(kept).unwrap(), data);
        }
        for broken in ["", "{", "tru", "1 2", "'a'", "{\"a\":}"] {
            assert!(compact(broken).is_err(), "{broken}");
        }
    }
}
