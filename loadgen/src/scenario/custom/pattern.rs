//! Regular expressions, with what is known of them in advance: which texts cannot match, and which numbers do not matter.

use regex::{Captures, Regex};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A group of this name is the number of the message that is answered.
const SEQ: &str = "seq";

/// A regular expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    /// A text that matches begins with one of these. Empty: it may begin with anything.
    beginnings: Vec<Box<[u8]>>,
    /// No digit can be part of a match, so the numbers in a text do not decide.
    ignores_numbers: bool,
    numbered: Option<Numbered>,
}

/// The pattern `^BEFORE(?<seq>\d+)AFTER`, whose parts are literals.
#[derive(Debug, Clone)]
struct Numbered {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl Pattern {
    /// Reads a regular expression.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let error = |error: &dyn std::fmt::Display| format!("{text:?} is not a regular expression: {error}");
        let regex = Regex::new(text).map_err(|cause| error(&cause))?;
        let hir = regex_syntax::parse(text).map_err(|cause| error(&cause))?;
        Ok(Self {
            regex,
            beginnings: beginnings(&hir),
            ignores_numbers: ignores_numbers(&hir),
            numbered: Numbered::of(&hir),
        })
    }

    /// Whether the pattern has a group `seq`.
    pub(super) fn has_seq(&self) -> bool {
        self.names().any(|name| name == SEQ)
    }

    /// The names of the groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.regex.capture_names().flatten()
    }

    /// The pattern as it was written.
    pub(super) fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether two texts that differ in a number, and nowhere else, always match alike.
    pub(super) fn ignores_numbers(&self) -> bool {
        self.ignores_numbers
    }

    /// Whether a text with this beginning can match. `false` is certain.
    #[inline]
    pub(super) fn may_match(&self, text: &[u8]) -> bool {
        self.beginnings.is_empty() || self.beginnings.iter().any(|beginning| text.starts_with(beginning))
    }

    /// Whether any text with this beginning, and more behind it, can match. `false` is certain.
    pub(super) fn may_match_more_than(&self, text: &[u8]) -> bool {
        self.beginnings.is_empty()
            || self
                .beginnings
                .iter()
                .any(|beginning| text.starts_with(beginning) || beginning.starts_with(text))
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.may_match(text.as_bytes()) && self.regex.is_match(text)
    }

    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        if self.may_match(text.as_bytes()) { self.regex.captures(text) } else { None }
    }

    /// What stands before the number in texts of which [`Self::number`] knows it; `None`: it knows none.
    pub(super) fn numbered(&self) -> Option<&[u8]> {
        self.numbered.as_ref().map(|numbered| &*numbered.before)
    }

    /// The number in the group `seq`, where the form of the pattern allows to read it without a search. `None`: only the
    /// regular expression can tell.
    #[inline]
    pub(super) fn number(&self, text: &[u8]) -> Option<u64> {
        let Numbered { before, after } = self.numbered.as_ref()?;
        let rest = text.strip_prefix(&**before)?;
        let (number, len) = leading_number(rest)?;
        let behind = &rest[len..];
        // `\d` also matches digits outside ASCII.
        let ends = behind.first().is_none_or(u8::is_ascii);
        (ends && behind.starts_with(after)).then_some(number)
    }

    /// The text of the group `seq`.
    pub(super) fn seq<'t>(groups: &Captures<'t>) -> Option<&'t str> {
        groups.name(SEQ).map(|group| group.as_str())
    }
}

/// The digits at the beginning as a number that fits into 64 bits, and how many there are.
#[inline]
pub(super) fn leading_number(text: &[u8]) -> Option<(u64, usize)> {
    const MAX_DIGITS: usize = 18;
    let (mut number, mut len) = (0, 0);
    for octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u64::from(digit);
        len += 1;
        if len > MAX_DIGITS {
            return None;
        }
    }
    (len > 0).then_some((number, len))
}

impl Numbered {
    fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let (first, rest) = parts.split_first()?;
        let (before, rest) = match rest.split_first()? {
            (literal, rest) if literal_of(literal).is_some() => (literal_of(literal)?, rest),
            _ => (&[][..], rest),
        };
        let (seq, rest) = rest.split_first()?;
        let after = match rest {
            [] => &[][..],
            [literal] => literal_of(literal)?,
            _ => return None,
        };
        let is_numbered = *first.kind() == HirKind::Look(Look::Start) && is_seq(seq);
        is_numbered.then(|| Self { before: before.into(), after: after.into() })
    }
}

fn literal_of(hir: &Hir) -> Option<&[u8]> {
    if let HirKind::Literal(literal) = hir.kind() { Some(&literal.0) } else { None }
}

/// Whether this is `(?<seq>\d+)` or `(?<seq>[0-9]+)`.
fn is_seq(hir: &Hir) -> bool {
    let HirKind::Capture(capture) = hir.kind() else { return false };
    let HirKind::Repetition(digits) = capture.sub.kind() else { return false };
    let all_digits = match digits.sub.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().any(|range| ('0', '9') == (range.start(), range.end()))
        }
        _ => false,
    };
    let at_least_one = digits.min == 1 && digits.max.is_none() && digits.greedy;
    // Other digits than those of ASCII end a number that is read without a search: see `Pattern::number`.
    let only_digits = || {
        let regex = regex_syntax::parse(r"\d").ok();
        let is = |other: &str| regex_syntax::parse(other).is_ok_and(|class| class == *digits.sub);
        regex.is_some_and(|class| class == *digits.sub) || is("[0-9]")
    };
    capture.name.as_deref() == Some(SEQ) && at_least_one && all_digits && only_digits()
}

/// What every match begins with, if a match begins where the text does and there are few ways to begin.
fn beginnings(hir: &Hir) -> Vec<Box<[u8]>> {
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return Vec::new();
    }
    let prefixes = Extractor::new().extract(hir);
    let literals = prefixes.literals().unwrap_or_default();
    if literals.iter().any(|literal| literal.as_bytes().is_empty()) {
        return Vec::new();
    }
    literals.iter().map(|literal| literal.as_bytes().into()).collect()
}

/// Whether no digit can be part of a match. All digits are alike to what looks at the text around a match.
fn ignores_numbers(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => !literal.0.iter().any(u8::is_ascii_digit),
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().all(|range| range.end() < '0' || range.start() > '9')
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().all(|range| range.end() < b'0' || range.start() > b'9')
        }
        HirKind::Repetition(repetition) => ignores_numbers(&repetition.sub),
        HirKind::Capture(capture) => ignores_numbers(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(ignores_numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_number_that_is_read_without_a_search_is_the_one_of_the_group() {
        let texts = [
            "43",
            "4312[",
            "43[12]",
            "4312",
            "x4312[",
            "4312\u{665}[",
            "43999999999999999999999[",
            "430[",
            "4307[",
            "43 7[",
            "",
        ];
        for regex in [r"^43(?<seq>\d+)\[", r"^43(?<seq>[0-9]+)", r"^(?<seq>\d+)\[", r"^43(?<seq>\d+)"] {
            let pattern = pattern(regex);
            assert!(pattern.numbered.is_some(), "{regex}");
            let mut found = 0;
            for text in texts {
                if let Some(number) = pattern.number(text.as_bytes()) {
                    let groups = pattern.captures(text).expect(text);
                    assert_eq!(Pattern::seq(&groups).unwrap().parse(), Ok(number), "{regex} {text}");
                    found += 1;
                }
            }
            assert!(found > 0, "{regex}");
        }
        for other in [
            r"43(?<seq>\d+)",
            r"^43(?<seq>\d*)",
            r"^43(?<seq>\d+?)",
            r"^43(?<seq>[0-9a]+)",
            r"^43(?<id>\d+)",
            r"^43(?<seq>\d+).",
            r"^43(?<seq>\d{1,9})",
            r"^43(?<seq>[1-9]+)",
            r"^4.(?<seq>\d+)",
            r"^43(?<seq>\w+)",
        ] {
            assert!(pattern(other).numbered.is_none(), "{other}");
        }
    }

    #[test]
    fn a_text_with_another_beginning_does_not_match() {
        for (regex, may, may_not) in [
            ("^2$", "23", "1"),
            ("^(?:1|41|44)", "44{}", "43[]"),
            ("^(?i:ok)", "oK", "no"),
            ("^\\{\\}\\s*$", "{}", "{\"id\":1}"),
        ] {
            let pattern = pattern(regex);
            assert!(pattern.may_match(may.as_bytes()) && !pattern.may_match(may_not.as_bytes()), "{regex}");
            assert!(pattern.may_match_more_than(may.as_bytes()) && pattern.may_match_more_than(b""));
            assert!(!pattern.may_match_more_than(may_not.as_bytes()), "{regex}");
            assert!(!pattern.is_match(may_not) && pattern.captures(may_not).is_none(), "{regex}");
        }
        for regex in ["2$", "^.2", "(?m)^2", "^2|3", "^(?:|2)", ""] {
            assert!(pattern(regex).may_match(b"anything"), "{regex}");
        }
        assert!(pattern("^2$").is_match("2") && !pattern("^2$").is_match("23"));
    }

    #[test]
    fn it_is_known_whether_numbers_decide() {
        for regex in [
            r#""error":\{|"disconnect":\{"#,
            r"^\{\}\s*$",
            "[a-z]+",
            r"\bok\b",
            "é|(?i)ß",
            "^$",
            "(?-u:[\\x3a-\\x7f])",
        ] {
            assert!(pattern(regex).ignores_numbers(), "{regex}");
        }
        for regex in
            ["4", r"\d", "x.y", "[^a]", r"\w", "(?:a|b5)", "(a7)*", r"\S", "[+-:]", "(?-u:[\\x20-\\x30])"]
        {
            assert!(!pattern(regex).ignores_numbers(), "{regex}");
        }
    }
}
