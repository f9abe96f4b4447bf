//! Names of users and rooms: what may be one, how it is shown, and when two are the same.

use std::borrow::Cow;

use caseless::Caseless as _;
use unicode_normalization::{UnicodeNormalization as _, is_nfc_quick};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::refusal::{Code, Refusal};

/// Longest name, in bytes of UTF-8 and in characters.
pub(super) const MAX_LEN: usize = 64;
const MAX_CHARS: usize = 32;

/// Letters and symbols that show nothing, so that two names would look the same.
const BLANKS: &[char] =
    &['\u{34f}', '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// A user's name as it is shown.
pub(super) fn user<'a>(raw: &'a str, field: &'static str) -> Result<Cow<'a, str>, Refusal> {
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
pub(super) fn room(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    check(raw, "room")?;
    let normal = fold(raw);
    check(&normal, "room")?;
    // Some letters are folded to a space and a mark.
    if raw.contains(' ') || normal.contains(' ') {
        return Err(refuse("room", "has a space"));
    }
    Ok(normal)
}

/// What the same names have in common: NFKC and case folding (Unicode 3.13, D146).
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
    }
    Cow::Owned(name.chars().nfd().default_case_fold().nfkd().default_case_fold().nfkd().nfkc().collect())
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
    if first.general_category_group() == GeneralCategoryGroup::Mark {
        return Err(refuse(field, "begins with a mark"));
    }
    if name.is_ascii() {
        if name.bytes().any(|octet| octet.is_ascii_control()) {
            return Err(refuse(field, "has a control character"));
        }
        return Ok(());
    }
    let is_allowed = |c: char| {
        use GeneralCategoryGroup::{Letter, Mark, Number, Punctuation, Symbol};
        c == ' '
            || !BLANKS.contains(&c)
                && matches!(c.general_category_group(), Letter | Mark | Number | Punctuation | Symbol)
    };
    if name.chars().all(is_allowed) {
        return Ok(());
    }
    Err(refuse(field, "has a character that names cannot have"))
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
        ] {
            assert_eq!(user_code(bad), Some(Code::BadField), "{bad:?}");
        }
        for long in ["x".repeat(33), "é".repeat(33), "x".repeat(64 * 1024), "名".repeat(22)] {
            assert_eq!(user_code(&long), Some(Code::TooLong), "{}", long.len());
        }
        assert_eq!(user_code(&"x".repeat(32)), None);
        assert_eq!(user_code(&"é".repeat(32)), None, "64 bytes");
        // One character that stands for eighteen.
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
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("ada"), fold("adа"), "the Cyrillic letter is another letter");
        assert_eq!(user("e\u{301}", "user").unwrap(), "é", "shown in NFC");
    }

    #[test]
    fn names_of_rooms() {
        for (raw, normal) in [("General", "general"), ("Ｒｏｏｍ", "room"), ("@ada", "@ada"), ("É", "é")]
        {
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
