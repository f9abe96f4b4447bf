//! Parts of the list of all rooms: ranges of their names, in the order of the octets.

/// Begins the names of conversations of two, which no list of rooms has.
const PAIR: &str = "@";
/// The first name behind those of conversations of two.
const BEHIND_PAIRS: &str = "A";
/// Behind every name: no name has this code point, which is no character.
const END: &str = "\u{10ffff}";

/// Rooms by name: those from `from` on that come before `before`. Names of conversations of two are in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRange {
    /// The first name.
    pub from: Box<str>,
    /// The first name behind the range.
    pub before: Box<str>,
}

impl NameRange {
    fn new(from: impl Into<Box<str>>, before: impl Into<Box<str>>) -> Self {
        Self { from: from.into(), before: before.into() }
    }

    /// All rooms; two ranges, as the names of conversations of two lie between them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::new("", PAIR), Self::new(BEHIND_PAIRS, END)]
    }

    /// The room of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::new(name, next_name(name))
    }

    /// The rooms whose names begin like this.
    #[must_use]
    pub fn of_prefix(prefix: &str) -> Self {
        Self::new(prefix, format!("{prefix}{END}"))
    }

    /// The rooms whose names come after this one.
    #[must_use]
    pub fn behind(name: &str) -> Self {
        Self::new(next_name(name), END)
    }

    /// Whether a room is in the range.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        *self.from <= *name && *name < *self.before
    }

    /// Those that are in both lists, of which the second is in order, in order.
    #[must_use]
    pub fn in_both(ranges: &[Self], others: &[Self]) -> Vec<Self> {
        let both = |(one, other): (&Self, &Self)| {
            let from = (&one.from).max(&other.from);
            let before = (&one.before).min(&other.before);
            (from < before).then(|| Self { from: from.clone(), before: before.clone() })
        };
        others.iter().flat_map(|other| ranges.iter().map(move |one| (one, other))).filter_map(both).collect()
    }

    /// The same rooms, each in one range, in order.
    #[must_use]
    pub fn united(mut ranges: Vec<Self>) -> Vec<Self> {
        ranges.sort_by(|a, b| a.from.cmp(&b.from));
        let mut united: Vec<Self> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match united.last_mut().filter(|last| range.from <= last.before) {
                Some(last) => last.before = std::mem::take(&mut last.before).max(range.before),
                None => united.push(range),
            }
        }
        united
    }
}

/// The first text behind this one.
fn next_name(name: &str) -> String {
    format!("{name}\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names around every boundary.
    const NAMES: [&str; 15] =
        ["", "!", "0", "?", "@", "@a\nb", "A", "a", "aa", "a\u{10fffd}", "b", "ba", "z", "é", "\u{10fffd}"];

    #[test]
    fn ranges_have_the_names_that_they_say() {
        let has = |ranges: &[NameRange]| -> Vec<&str> {
            NAMES.into_iter().filter(|name| ranges.iter().any(|range| range.has(name))).collect()
        };
        let all: Vec<&str> = NAMES.into_iter().filter(|name| !name.starts_with('@')).collect();
        assert_eq!(has(&NameRange::all()), all);
        assert_eq!(has(&[NameRange::of_name("a")]), ["a"]);
        assert_eq!(has(&[NameRange::of_prefix("a")]), ["a", "aa", "a\u{10fffd}"]);
        assert_eq!(has(&[NameRange::behind("b")]), ["ba", "z", "é", "\u{10fffd}"]);
    }

    #[test]
    fn what_is_united_and_what_is_in_both_is_what_a_naive_filter_finds() {
        let made: Vec<NameRange> = NAMES
            .into_iter()
            .flat_map(|name| [NameRange::of_name(name), NameRange::of_prefix(name), NameRange::behind(name)])
            .collect();
        for (at, first) in made.iter().enumerate() {
            for second in &made {
                let pair = vec![first.clone(), second.clone(), made[(at * 7 + 3) % made.len()].clone()];
                let united = NameRange::united(pair.clone());
                let both = NameRange::in_both(&united, &NameRange::all());
                assert!(united.windows(2).all(|two| two[0].before < two[1].from), "{united:?}");
                assert!(both.windows(2).all(|two| two[0].before <= two[1].from), "{both:?}");
                for name in NAMES {
                    let is_in = pair.iter().any(|range| range.has(name));
                    assert_eq!(united.iter().filter(|range| range.has(name)).count(), usize::from(is_in));
                    let is_room = is_in && !name.starts_with('@');
                    assert_eq!(both.iter().filter(|range| range.has(name)).count(), usize::from(is_room));
                }
            }
        }
    }
}
