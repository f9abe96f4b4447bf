//! Names of users and rooms: what may be one, how it is shown, and when two are the same.

use std::borrow::Cow;

use icu_properties::CodePointMapData;
use icu_properties::props::{
    CanonicalCombiningClass, GeneralCategoryGroup as Group, IndicSyllabicCategory, JoiningType,
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc_quick};

use crate::chat::wire::refusal::{Code, Refusal};
pub(in crate::chat) use crate::text::fold;
use crate::text::{is_any_of, is_ignorable};

/// Longest name, in bytes of UTF-8 and in characters.
pub(in crate::chat) const MAX_LEN: usize = 64;
const MAX_CHARS: usize = 32;

/// Joins two characters, or keeps them apart.
const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';

/// A user's name as it is shown.
pub(in crate::chat) fn user<'a>(raw: &'a str, field: &'static str) -> Result<Cow<'a, str>, Refusal> {
    let shown = match is_nfc_quick(raw.chars()) {
        unicode_normalization::IsNormalized::Yes => Cow::Borrowed(raw),
        _ => Cow::Owned(raw.nfc().collect()),
    };
    check(&shown, field)?;
    if shown.starts_with('@') {
        return Err(refuse(field, "begins with @"));
    }
    let mut before = None;
    for c in shown.chars() {
        if c == ' ' && (before.is_none() || before == Some(' ')) {
            return Err(refuse(field, "has a space that is no single inner one"));
        }
        before = Some(c);
    }
    if before == Some(' ') {
        return Err(refuse(field, "ends with a space"));
    }
    check(&fold(&shown), field)?;
    Ok(shown)
}

/// A room's name in its normal form.
pub(in crate::chat) fn room(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    check(raw, "room")?;
    let normal = fold(raw);
    check(&normal, "room")?;
    // Some letters are folded to a space and a mark.
    if raw.contains(' ') || normal.contains(' ') {
        return Err(refuse("room", "has a space"));
    }
    Ok(normal)
}

fn check_len(name: &str, field: &'static str) -> Result<(), Refusal> {
    if name.len() > MAX_LEN || name.chars().count() > MAX_CHARS {
        let message = format!("`{field}` is longer than {MAX_LEN} bytes or {MAX_CHARS} characters");
        return Err(Refusal::field(Code::TooLong, field, message));
    }
    Ok(())
}

fn check(name: &str, field: &'static str) -> Result<(), Refusal> {
    check_len(name, field)?;
    let Some(first) = name.chars().next() else { return Err(refuse(field, "is empty")) };
    if name.is_ascii() {
        if name.bytes().any(|octet| octet.is_ascii_control()) {
            return Err(refuse(field, "has a control character"));
        }
        return Ok(());
    }
    if is_any_of(first, &[Group::Mark]) {
        return Err(refuse(field, "begins with a mark"));
    }
    let chars: Vec<char> = name.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        if !is_allowed(*c) && !is_joiner_in_place(&chars[..at], *c, &chars[at + 1..]) {
            return Err(refuse(field, "has a character that names cannot have"));
        }
    }
    Ok(())
}

fn is_allowed(c: char) -> bool {
    if is_ignorable(c) {
        // Variation selectors and the like, which make no other name. Letters that show nothing make none at all.
        return is_any_of(c, &[Group::Mark]);
    }
    // Braille without a dot is a symbol by its category.
    c == ' '
        || c != '\u{2800}'
            && is_any_of(c, &[Group::Letter, Group::Mark, Group::Number, Group::Punctuation, Group::Symbol])
}

/// UAX 31 2.3.1 (A1, A2, B): a joiner is allowed between letters that join, or behind a virama, where it changes what is seen.
fn is_joiner_in_place(before: &[char], c: char, after: &[char]) -> bool {
    match c {
        NON_JOINER => parts_letters(before, after) || follows_virama(before) && begins_with_letter(after),
        JOINER => follows_virama(before) && !begins_with_vowel(after),
        _ => false,
    }
}

fn parts_letters(before: &[char], after: &[char]) -> bool {
    let joining = CodePointMapData::<JoiningType>::new();
    let visible = |c: &&char| joining.get(**c) != JoiningType::Transparent;
    let left = before.iter().rev().find(visible).map(|c| joining.get(*c));
    let right = after.iter().find(visible).map(|c| joining.get(*c));
    matches!(left, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

fn follows_virama(before: &[char]) -> bool {
    let classes = CodePointMapData::<CanonicalCombiningClass>::new();
    let is_mark = |c: &char| is_any_of(*c, &[Group::Mark]);
    let mut back = before.iter().rev();
    let virama = back.find(|c| {
        let class = classes.get(**c);
        class == CanonicalCombiningClass::Virama || class == CanonicalCombiningClass::NotReordered
    });
    virama.is_some_and(|c| classes.get(*c) == CanonicalCombiningClass::Virama)
        && back.find(|c| !is_mark(c)).is_some_and(|c| is_any_of(*c, &[Group::Letter]))
}

fn begins_with_letter(after: &[char]) -> bool {
    let classes = CodePointMapData::<CanonicalCombiningClass>::new();
    let next = after.iter().find(|c| classes.get(**c) == CanonicalCombiningClass::NotReordered);
    next.is_some_and(|c| is_any_of(*c, &[Group::Letter]))
}

fn begins_with_vowel(after: &[char]) -> bool {
    let syllabic = CodePointMapData::<IndicSyllabicCategory>::new();
    after.first().is_some_and(|c| syllabic.get(*c) == IndicSyllabicCategory::VowelDependent)
}

fn refuse(field: &'static str, fault: &str) -> Refusal {
    Refusal::field(Code::BadField, field, format!("`{field}` {fault}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user_code(raw: &str) -> Option<Code> {
        user(raw, "user").err().map(|refusal| refusal.code)
    }

    #[test]
    fn ch_04_names_of_users() {
        for good in [
            "Ada",
            "a",
            "ann <b>",
            "__proto__",
            "grüße",
            "κόσμος",
            "名前",
            "👍",
            "a b c",
            "O'Neil",
            "50%",
            "ﬁ",
            "constructor",
            "İ",
            "ß",
            "a@b",
            "می\u{200c}خواهم",
            "ന്\u{200d}",
            "ක්\u{200d}ෂ",
            "ശ്രീ\u{fe0f}",
            "❤\u{fe0f}",
            "क्\u{200c}ष",
        ] {
            assert_eq!(user_code(good), None, "{good}");
        }
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "\0",
            "a\0",
            "a\nb",
            "a\tb",
            "\u{7f}",
            "\u{202e}abc",
            "a\u{200b}b",
            "a\u{200d}b",
            "\u{feff}a",
            "a\u{a0}b",
            "a\u{2028}b",
            "\u{2066}a",
            "\u{3164}",
            "\u{2800}",
            "\u{301}a",
            "@ada",
            "\u{e000}",
            "\u{115f}",
            "a\u{ad}b",
            "a\u{200c}b",
            "ক\u{200d}া",
            "\u{645}\u{200d}\u{6cc}",
            "\u{645}\u{6cc}\u{200c}",
            "\u{fe0f}",
            "\u{e0100}\u{fe0f}",
        ] {
            assert_eq!(user_code(bad), Some(Code::BadField), "{bad:?}");
        }
        for long in ["x".repeat(33), "é".repeat(33), "x".repeat(64 * 1024), "名".repeat(22)] {
            assert_eq!(user_code(&long), Some(Code::TooLong), "{}", long.len());
        }
        assert_eq!(user_code(&"x".repeat(32)), None);
        assert_eq!(user_code(&"é".repeat(32)), None, "64 bytes");
        // One character that folds to eighteen.
        assert_eq!(user_code(&"\u{fdfa}".repeat(2)), Some(Code::TooLong));
    }

    #[test]
    fn ch_04_twins_are_the_same_name() {
        for (a, b) in [
            ("Ada", "aDA"),
            ("é", "e\u{301}"),
            ("É", "e\u{301}"),
            ("ﬁn", "FIN"),
            ("straße", "STRASSE"),
            ("Ａｄａ", "ada"),
            ("K", "k"),
            ("①", "1"),
            ("Ada\u{fe0f}", "ada"),
            ("A\u{180b}da", "ada"),
            ("Ada\u{e0100}", "ada"),
            ("می\u{200c}خواهم", "میخواهم"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("ada"), fold("adа"), "the Cyrillic letter is another letter");
        assert_eq!(user("e\u{301}", "user").unwrap(), "é", "shown in NFC");
    }

    #[test]
    fn names_of_rooms() {
        for (raw, normal) in [
            ("General", "general"),
            ("Ｒｏｏｍ", "room"),
            ("@ada", "@ada"),
            ("É", "é"),
            ("team\u{fe0f}", "team"),
        ] {
            assert_eq!(room(raw).unwrap(), normal);
        }
        for bad in ["", "a b", "a\u{200b}", "\n"] {
            assert_eq!(room(bad).unwrap_err().code, Code::BadField, "{bad:?}");
        }
        assert_eq!(room(&"x".repeat(65)).unwrap_err().code, Code::TooLong);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn folding_twice_is_folding_once(name in "\\PC{0,16}") {
            let once = fold(&name).into_owned();
            prop_assert_eq!(fold(&once), once.as_str());
        }

        #[test]
        fn what_is_a_name_stays_one(name in "\\PC{0,16}") {
            if let Ok(normal) = room(&name) {
                prop_assert_eq!(room(&normal).unwrap(), normal.as_ref());
            }
            if let Ok(shown) = user(&name, "user") {
                prop_assert_eq!(user(&shown, "user").unwrap(), shown.as_ref());
            }
        }
    }
}
