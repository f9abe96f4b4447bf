//! The words of a text, as a search compares them: one rule for the histories in memory and for the index on the disk.
//!
//! Words are folded without case, diacritics and forms of compatibility. Scripts that are written without blanks (Han, kana,
//! Thai, Khmer and others) have no words that could be told apart without a dictionary: there every pair of neighbours is a
//! token, and a word of a query is a sequence of such pairs. Symbols, emoji among them, are words by themselves.

use std::borrow::Cow;

use caseless::Caseless as _;
use icu_properties::props::{
    EmojiModifier, GeneralCategory, GeneralCategoryGroup, LineBreak, RegionalIndicator, Script,
};
use icu_properties::script::ScriptWithExtensions;
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

use super::{category, fold_ascii, is_ignorable};

/// Words of a query; the rest is left out.
pub(crate) const MAX_WORDS: usize = 32;
/// Characters of a word that is looked for as the beginning of longer ones.
const MIN_PREFIX: usize = 2;

/// What a character is to a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Between words.
    Gap,
    /// Part of a word that ends at a gap.
    Letter,
    /// Of a script without blanks: ideographs and kana, or one of South East Asia.
    Unspaced(Script),
    /// A word by itself.
    Symbol,
    /// Half of a flag.
    Flag,
}

fn class(c: char) -> Class {
    use GeneralCategoryGroup as Group;
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() { Class::Letter } else { Class::Gap };
    }
    let category = category(c);
    if Group::Letter.contains(category) || Group::Mark.contains(category) || Group::Number.contains(category)
    {
        let scripts = ScriptWithExtensions::new();
        if [Script::Han, Script::Hiragana, Script::Katakana, Script::Bopomofo]
            .iter()
            .any(|script| scripts.has_script(c, *script))
        {
            return Class::Unspaced(Script::Han);
        }
        if CodePointMapData::<LineBreak>::new().get(c) == LineBreak::ComplexContext {
            return Class::Unspaced(Script::Thai);
        }
        return Class::Letter;
    }
    if CodePointSetData::new::<RegionalIndicator>().contains(c) {
        return Class::Flag;
    }
    if Group::Symbol.contains(category) {
        // A thumb is a thumb, whatever its colour.
        let is_tone = CodePointSetData::new::<EmojiModifier>().contains(c);
        return if is_tone { Class::Gap } else { Class::Symbol };
    }
    match category {
        GeneralCategory::PrivateUse | GeneralCategory::Unassigned => Class::Letter,
        _ => Class::Gap,
    }
}

/// Marks such as accents, which most people leave out when they search. Marks without which a word is another one belong to
/// one script; the sound marks of kana are an exception.
fn is_diacritic(c: char) -> bool {
    let scripts = ScriptWithExtensions::new();
    matches!(category(c), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
        && scripts.get_script_val(c) == Script::Inherited
        && !scripts.has_script(c, Script::Hiragana)
}

fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return fold_ascii(text);
    }
    let kept = text.chars().filter(|c| !is_ignorable(*c));
    let folded = kept.nfd().default_case_fold().nfkd().default_case_fold().nfkd();
    Cow::Owned(folded.filter(|c| !is_ignorable(*c) && !is_diacritic(*c)).nfc().collect())
}

/// Calls `found` with each word of a folded text, and its class.
fn for_each_word<'a>(folded: &'a str, mut found: impl FnMut(&'a str, Class)) {
    let mut chars = folded.char_indices().map(|(at, c)| (at, c, class(c))).peekable();
    while let Some((start, c, class)) = chars.next() {
        let mut end = start + c.len_utf8();
        let mut left = match class {
            Class::Gap => continue,
            Class::Symbol => 0,
            Class::Flag => 1,
            Class::Letter | Class::Unspaced(_) => usize::MAX,
        };
        while left > 0
            && let Some((at, c, _)) = chars.next_if(|(_, _, next)| *next == class)
        {
            end = at + c.len_utf8();
            left -= 1;
        }
        found(&folded[start..end], class);
    }
}

/// Each two neighbours, and the last one alone, so that every character begins a token.
fn for_each_pair<'a>(word: &'a str, is_whole: bool, mut found: impl FnMut(&'a str)) {
    let starts: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    for pair in starts.windows(3) {
        found(&word[pair[0]..pair[2]]);
    }
    if let [.., last, end] = starts[..]
        && (is_whole || starts.len() == 2)
    {
        found(&word[last..end]);
    }
}

fn for_each_token<'a>(folded: &'a str, mut found: impl FnMut(&'a str)) {
    for_each_word(folded, |word, class| match class {
        Class::Unspaced(_) => for_each_pair(word, true, &mut found),
        _ => found(word),
    });
}

/// The tokens of a text with blanks between them, for an index that splits ASCII text at what is no letter and no digit, folds
/// its case, and splits nowhere else.
pub(crate) fn indexed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let folded = fold(text);
    let mut tokens = String::with_capacity(folded.len() + folded.len() / 8);
    for_each_token(&folded, |token| {
        if !tokens.is_empty() {
            tokens.push(' ');
        }
        tokens.push_str(token);
    });
    Cow::Owned(tokens)
}

/// A word that is looked for: tokens that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    tokens: Vec<String>,
    /// The last token may go on.
    is_prefix: bool,
}

/// What is looked for: all of these words. There is no syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<Word>);

impl Query {
    /// The words of a text; `None` when there are none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let folded = fold(text);
        let mut words = Vec::new();
        for_each_word(&folded, |word, class| {
            let mut tokens = Vec::new();
            let is_unspaced = matches!(class, Class::Unspaced(_));
            if is_unspaced {
                for_each_pair(word, false, |token| tokens.push(token.to_owned()));
            } else {
                tokens.push(word.to_owned());
            }
            // Its pairs begin with it.
            let is_prefix = is_unspaced && word.chars().nth(1).is_none();
            words.push(Word { tokens, is_prefix });
        });
        words.truncate(MAX_WORDS);
        let last = words.last_mut()?;
        last.is_prefix |= last.tokens.last().is_some_and(|token| token.chars().count() >= MIN_PREFIX);
        Some(Self(words))
    }

    /// The same for FTS5.
    pub(crate) fn pattern(&self) -> String {
        let quoted = self.0.iter().map(|word| {
            let star = if word.is_prefix { " *" } else { "" };
            format!("text : \"{}\"{star}", word.tokens.join(" "))
        });
        quoted.collect::<Vec<_>>().join(" AND ")
    }

    /// Whether a text has all of the words.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if text.is_ascii() {
            return self.0.iter().all(|word| word.is_in_ascii(text));
        }
        let folded = fold(text);
        let mut tokens = Vec::new();
        for_each_token(&folded, |token| tokens.push(token));
        self.0.iter().all(|word| word.is_in(&tokens))
    }
}

impl Word {
    fn is_in(&self, tokens: &[&str]) -> bool {
        let Some((last, others)) = self.tokens.split_last() else { return true };
        tokens.windows(self.tokens.len()).any(|window| {
            let end = window[others.len()];
            let ends = if self.is_prefix { end.starts_with(&**last) } else { end == last };
            ends && others.iter().zip(window).all(|(token, found)| token == found)
        })
    }

    /// The same without a copy of the text.
    fn is_in_ascii(&self, text: &str) -> bool {
        let [token] = &self.tokens[..] else { return false };
        let token = token.as_bytes();
        text.as_bytes().split(|octet| !octet.is_ascii_alphanumeric()).any(|word| {
            let len = if self.is_prefix { token.len().min(word.len()) } else { word.len() };
            word[..len].eq_ignore_ascii_case(token)
        })
    }
}
