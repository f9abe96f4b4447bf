//! What an answer looks like: regular expressions and fields of JSON, and which message it answers.

use super::field::{FieldPath, judge_field};
use super::pattern::Pattern;
use super::template::{Template, Variables};

/// Something that an answer must have.
#[derive(Debug, Clone)]
enum Expectation {
    /// The text matches. A group `seq` names the message.
    Pattern(Pattern),
    /// A field has a value. `{{seq}}` in the value names the message.
    Field { path: FieldPath, value: Template },
}

/// Everything that an answer must have. Without an expectation every message is an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectations {
    all: Vec<Expectation>,
    /// The expectation that names the message.
    naming: Option<usize>,
    /// What may differ in messages that are judged alike.
    alike: Alike,
}

/// What may differ in two messages of a connection that are judged alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Alike {
    /// Nothing.
    #[default]
    Nothing,
    /// The number of the message that is answered, in an answer. This is added to it in the text.
    AnswersNumber(u64),
    /// The same; and in a message that is no answer, any one number.
    AnyNumber(u64),
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
        let naming = expectations.iter().position(Expectation::names_message);
        let alike = naming.map_or(Alike::Nothing, |naming| alike(&expectations, naming));
        Ok(Self { all: expectations, naming, alike })
    }

    /// Whether answers name their messages, so that they may come in any order.
    pub(super) fn names_message(&self) -> bool {
        self.naming.is_some()
    }

    /// What may differ in messages that are judged alike.
    #[inline]
    pub(super) fn alike(&self) -> Alike {
        self.alike
    }

    /// What stands before the number in texts of which [`Self::number`] knows it; `None`: it knows none.
    pub(super) fn numbered(&self) -> Option<&[u8]> {
        let [Expectation::Pattern(pattern)] = &self.all[..] else { return None };
        pattern.numbered()
    }

    /// The number of the message that a text answers, where one pattern alone decides and allows to read it without a search.
    #[inline]
    pub(super) fn number(&self, text: &[u8]) -> Option<u64> {
        let [Expectation::Pattern(pattern)] = &self.all[..] else { return None };
        pattern.number(text)
    }

    /// Judges a message of connection `conn`.
    pub(super) fn judge(&self, text: &str, conn: u32) -> Judged {
        let mut answer = Judged::Answer(None);
        for expectation in &self.all {
            let judged = match expectation {
                Expectation::Pattern(pattern) => judge_pattern(pattern, text),
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
            return Pattern::parse(text).map(Self::Pattern);
        }
        let (path, value) = text.split_once('=').unwrap_or((text, "{{seq}}"));
        let value = Template::parse(value.trim(), known, &[])?;
        Ok(Self::Field { path: field_path(path.trim())?, value })
    }

    fn names_message(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.has_seq(),
            Self::Field { value, .. } => value.has_seq(),
        }
    }
}

/// See [`Alike`]. `naming`: the expectation that names the message.
fn alike(expectations: &[Expectation], naming: usize) -> Alike {
    let Expectation::Field { value, .. } = &expectations[naming] else { return Alike::Nothing };
    let Some(plus) = value.seq_plus() else { return Alike::Nothing };
    let others = || expectations.iter().enumerate().filter(|(i, _)| *i != naming).map(|(_, other)| other);
    let ignores_numbers = |other: &Expectation| match other {
        Expectation::Pattern(pattern) => pattern.ignores_numbers(),
        Expectation::Field { .. } => true,
    };
    // No number makes a field equal to a value without digits.
    let has_no_digits = |other: &Expectation| match other {
        Expectation::Pattern(_) => true,
        Expectation::Field { value, .. } => value.has_no_digits(),
    };
    match (others().all(ignores_numbers), others().all(has_no_digits)) {
        (false, _) => Alike::Nothing,
        (true, false) => Alike::AnswersNumber(plus),
        (true, true) => Alike::AnyNumber(plus),
    }
}

fn judge_pattern(pattern: &Pattern, text: &str) -> Judged {
    if !pattern.has_seq() {
        return if pattern.is_match(text) { Judged::Answer(None) } else { Judged::Other };
    }
    let Some(groups) = pattern.captures(text) else { return Judged::Other };
    match Pattern::seq(&groups).and_then(|seq| seq.parse().ok()) {
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
    fn it_is_known_what_may_differ() {
        for (texts, alike) in [
            (&["$.type=next", "$.id={{seq+3}}"][..], Alike::AnyNumber(3)),
            (&["$.id"], Alike::AnyNumber(0)),
            (&["$.id", "$.version=2"], Alike::AnswersNumber(0)),
            (&["$.id", "$.who={{conn}}"], Alike::AnswersNumber(0)),
            (&["$.id", "ok"], Alike::AnyNumber(0)),
            (&["$.id", "v2"], Alike::Nothing),
            (&["$.type=pong"], Alike::Nothing),
            (&[r"^43(?<seq>\d+)"], Alike::Nothing),
            (&[], Alike::Nothing),
        ] {
            assert_eq!(expect(texts).unwrap().alike(), alike, "{texts:?}");
        }
        assert_eq!(expect(&[r"^43(?<seq>\d+)"]).unwrap().number(b"4319[]"), Some(19));
        assert_eq!(expect(&[r"^43(?<seq>\d+)", "ok"]).unwrap().number(b"4319[]"), None);
    }

    #[test]
    fn bad_expectations_are_refused() {
        for bad in [&["("][..], &["$x"], &["$.a..b"], &["$[x]"], &["$[1"], &["$.a={{x}}"], &["$.a", "$.b"]] {
            assert!(expect(bad).is_err(), "{bad:?}");
        }
        assert_eq!(field_path("$.a/b[0].c~d").unwrap(), ["a/b", "0", "c~d"]);
    }
}
