//! What an answer looks like: regular expressions and fields of JSON, and which message it answers.

use regex::Regex;

use super::field::{FieldPath, judge_field};
use super::template::{Template, Variables};

/// Something that an answer must have.
#[derive(Debug, Clone)]
enum Expectation {
    /// The text matches. A group `seq` names the message.
    Pattern(Regex),
    /// A field has a value. `{{seq}}` in the value names the message.
    Field { path: FieldPath, value: Template },
}

/// Everything that an answer must have. Without an expectation every message is an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectations {
    all: Vec<Expectation>,
    numbers_from: Option<u64>,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is not an answer.
    Other,
    /// The answer to the oldest message, or to the one with this number.
    Answer(Option<u64>),
    /// It is not JSON although a field is expected, or answers another connection's message.
    Wrong,
}

impl Expectations {
    /// Reads the values of `--expect`.
    pub(super) fn parse(texts: &[String], known: &Variables) -> Result<Self, String> {
        let expectations: Vec<Expectation> =
            texts.iter().map(|text| Expectation::parse(text, known)).collect::<Result<_, _>>()?;
        if expectations.iter().filter(|expectation| expectation.names_message()).count() > 1 {
            return Err("only one --expect may have {{seq}} or a group seq".to_owned());
        }
        let is_field = |expectation: &Expectation| matches!(expectation, Expectation::Field { .. });
        let plus = expectations.iter().find_map(|expectation| match expectation {
            Expectation::Field { value, .. } => value.seq_plus(),
            Expectation::Pattern(_) => None,
        });
        let numbers_from = plus.filter(|_| expectations.iter().all(is_field));
        Ok(Self { all: expectations, numbers_from })
    }

    /// Whether answers name their messages, so that they may come in any order.
    pub(super) fn names_message(&self) -> bool {
        self.all.iter().any(Expectation::names_message)
    }

    /// If fields alone decide, and one of them names the message: what is added to the sequence number in it. `None`: a
    /// pattern may depend on any part of the text.
    #[inline]
    pub(super) fn numbers_from(&self) -> Option<u64> {
        self.numbers_from
    }

    /// Judges a message of connection `conn`.
    pub(super) fn judge(&self, text: &str, conn: u32) -> Judged {
        let mut answer = Judged::Answer(None);
        for expectation in &self.all {
            let judged = match expectation {
                Expectation::Pattern(pattern) => judge_pattern(pattern, text, expectation.names_message()),
                Expectation::Field { path, value } => {
                    match judge_field(text, path, |found| judge_value(found, value, conn)) {
                        Err(_) => return Judged::Wrong,
                        Ok(judged) => judged.unwrap_or(Judged::Other),
                    }
                }
            };
            match judged {
                Judged::Other => return Judged::Other,
                // Another expectation may still say that it is no answer at all.
                Judged::Wrong => answer = Judged::Wrong,
                Judged::Answer(None) => {}
                Judged::Answer(seq) if answer != Judged::Wrong => answer = Judged::Answer(seq),
                Judged::Answer(_) => {}
            }
        }
        answer
    }
}

impl Expectation {
    fn parse(text: &str, known: &Variables) -> Result<Self, String> {
        if !text.starts_with('$') {
            return pattern(text).map(Self::Pattern);
        }
        let (path, value) = text.split_once('=').unwrap_or((text, "{{seq}}"));
        let value = Template::parse(value.trim(), known, &[])?;
        Ok(Self::Field { path: field_path(path.trim())?, value })
    }

    fn names_message(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.capture_names().flatten().any(|name| name == "seq"),
            Self::Field { value, .. } => value.has_seq(),
        }
    }
}

/// Reads a regular expression.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("{text:?} is not a regular expression: {error}"))
}

fn judge_pattern(pattern: &Regex, text: &str, names_message: bool) -> Judged {
    if !names_message {
        return if pattern.is_match(text) { Judged::Answer(None) } else { Judged::Other };
    }
    let Some(groups) = pattern.captures(text) else { return Judged::Other };
    match groups.name("seq").and_then(|seq| seq.as_str().parse().ok()) {
        Some(seq) => Judged::Answer(Some(seq)),
        None => Judged::Wrong,
    }
}

fn judge_value(found: &str, value: &Template, conn: u32) -> Judged {
    if value.has_seq() {
        return value.read_seq(found, conn).map_or(Judged::Wrong, |seq| Judged::Answer(Some(seq)));
    }
    if value.is_fixed_to(found, conn) { Judged::Answer(None) } else { Judged::Other }
}

/// The names and indices of `$.a.b[0]`.
fn field_path(path: &str) -> Result<FieldPath, String> {
    let error = || format!("{path:?} is not a path such as $.payload.id or $[1]");
    let mut names = FieldPath::new();
    let mut rest = path.strip_prefix('$').ok_or_else(error)?;
    while !rest.is_empty() {
        let name = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            rest = &after[end..];
            &after[..end]
        } else {
            let (index, behind) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(error)?;
            if !index.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(error());
            }
            rest = behind;
            index
        };
        if name.is_empty() {
            return Err(error());
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(texts: &[&str]) -> Result<Expectations, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Expectations::parse(&texts, &Variables::new())
    }

    #[test]
    fn a_message_is_judged_by_all_expectations() {
        let expectations = expect(&["$.type=next", "$.id=c{{conn}}-{{seq}}"]).unwrap();
        for (text, judged) in [
            (r#"{"type":"next","id":"c3-12"}"#, Judged::Answer(Some(12))),
            (r#"{"type":"complete","id":"c3-12"}"#, Judged::Other),
            (r#"{"type":"next","id":"c4-12"}"#, Judged::Wrong),
            (r#"{"type":"next","id":"c3-x"}"#, Judged::Wrong),
            (r#"{"type":"next"}"#, Judged::Other),
            (r#"{"type":"ne"#, Judged::Wrong),
            (r#"{"id":"c4-12","type":"other"}"#, Judged::Other),
        ] {
            assert_eq!(expectations.judge(text, 3), judged, "{text}");
        }
        assert!(expectations.names_message());
        let expectations = expect(&["$[1]"]).unwrap();
        assert_eq!(expectations.judge("[0,17]", 3), Judged::Answer(Some(17)));
        assert_eq!(expectations.judge("[0,-17]", 3), Judged::Wrong);
        let expectations = expect(&[r"^43(?<seq>\d+)\["]).unwrap();
        assert_eq!(expectations.judge("4319[1]", 3), Judged::Answer(Some(19)));
        assert_eq!(expectations.judge("2", 3), Judged::Other);
        assert_eq!(expectations.judge("4399999999999999999999[1]", 3), Judged::Wrong);
        assert_eq!(expect(&["pong"]).unwrap().judge("a pong", 1), Judged::Answer(None));
        assert_eq!(expect(&[]).unwrap().judge("anything", 1), Judged::Answer(None));
    }

    #[test]
    fn bad_expectations_are_refused() {
        for bad in [&["("][..], &["$x"], &["$.a..b"], &["$[x]"], &["$[1"], &["$.a={{x}}"], &["$.a", "$.b"]] {
            assert!(expect(bad).is_err(), "{bad:?}");
        }
        assert_eq!(field_path("$.a/b[0].c~d").unwrap(), ["a/b", "0", "c~d"]);
    }
}
