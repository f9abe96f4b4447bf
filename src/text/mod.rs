//! What texts have in common: when two are the same, and what of them can be seen. The tables are those of Unicode, in crates.

pub(crate) mod words;

use std::borrow::Cow;

use caseless::Caseless as _;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

/// A code point that shows nothing where it is not supported, such as a variation selector or a joiner.
pub(crate) fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

pub(crate) fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// Whether a text has nothing that a reader could see.
pub(crate) fn is_blank(text: &str) -> bool {
    let is_hidden = |c: char| {
        c.is_whitespace()
            || is_ignorable(c)
            // Braille without a dot is a symbol by its category.
            || c == '\u{2800}'
            || !c.is_ascii_graphic()
                && matches!(category(c), GeneralCategory::Control | GeneralCategory::Format)
    };
    text.chars().all(is_hidden)
}

/// Whether a character is of one of these groups.
pub(crate) fn is_any_of(c: char, groups: &[GeneralCategoryGroup]) -> bool {
    let category = category(c);
    groups.iter().any(|group| group.contains(category))
}

/// `NFKC_Casefold` (Unicode 3.13, R5): the same for all spellings that differ in case, in compatibility or in code points that
/// are ignored.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return fold_ascii(text);
    }
    let kept = text.chars().filter(|c| !is_ignorable(*c));
    let folded = kept.nfd().default_case_fold().nfkd().default_case_fold().nfkd();
    Cow::Owned(folded.filter(|c| !is_ignorable(*c)).nfc().collect())
}

fn fold_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_blank() {
        for blank in [
            "",
            " \n\t",
            "\u{200b}\u{200d}",
            "\u{202e}",
            "\u{fe0f}",
            "\u{2800}",
            "\u{3164}",
            "\u{0}\u{1b}",
            "\u{e0001}",
            "\u{ad}",
            "\u{fff9}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in ["a", "👍", "\u{202e}a", "\u{301}", "❤\u{fe0f}", "\u{e000}", "."] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }
}
