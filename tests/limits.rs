//! Holds docs/limits.md against the code: each entry has the value that the code has, and each limit of an options struct has an entry.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use switchboard::{api, chat, proto, reactor};

/// A limit in numbers: one, or two where it is a rate (a second, at once). Times are in milliseconds.
type Value = Vec<u64>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A number with digits in groups, `_` or `,` between them.
fn integer(text: &str) -> Option<u64> {
    text.replace(['_', ','], "").parse().ok()
}

/// `64 KiB`, `10 s`, `2^20`, `20/s, 40 at once`, `none`.
fn stated(text: &str) -> Option<Value> {
    if let Some((rate, burst)) = text.split_once("/s, ") {
        return Some(vec![integer(rate)?, integer(burst.strip_suffix(" at once")?)?]);
    }
    if text == "none" {
        return Some(vec![0]);
    }
    if let Some((base, exponent)) = text.split_once('^') {
        return Some(vec![integer(base)?.pow(exponent.parse().ok()?)]);
    }
    let (number, unit) = text.split_once(' ').unwrap_or((text, "B"));
    let unit = match unit {
        "B" | "ms" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(vec![integer(number)? * unit])
}

/// The entries of a page by its headings of the second order: names and what is stated.
fn entries(page: &str) -> BTreeMap<&str, BTreeMap<&str, Value>> {
    let mut sections: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    let mut section = "";
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_matches('`');
        } else if let Some((name, rest)) = line.strip_prefix("- `").and_then(|rest| rest.split_once("` **")) {
            let (text, _) = rest.split_once("**").unwrap();
            let value = stated(text).unwrap_or_else(|| panic!("{name}: what is {text:?}?"));
            let earlier = sections.entry(section).or_default().insert(name, value);
            assert!(earlier.is_none(), "{name} stands twice");
        }
    }
    sections
}

/// The numbers among the fields of a struct, out of what it shows for debugging.
fn fields(shown: &str) -> BTreeMap<&str, Value> {
    let mut found: BTreeMap<&str, Value> = BTreeMap::new();
    let mut outer = "";
    for line in shown.lines() {
        let Some((name, value)) = line.trim().split_once(": ") else { continue };
        let depth = line.len() - line.trim_start().len();
        if value.ends_with('{') {
            outer = if value.starts_with("Rate") { name } else { "" };
        } else if let Some(number) = integer(value.trim_end_matches(',')) {
            match depth {
                4 => drop(found.insert(name, vec![number])),
                8 if !outer.is_empty() => found.entry(outer).or_default().push(number),
                _ => {}
            }
        }
    }
    found
}

/// The value of `expression`: numbers, `*`, `<<`, and durations of whole seconds or hours.
fn evaluated(expression: &str) -> Option<u64> {
    for (constructor, unit) in [("from_secs(", 1_000), ("from_millis(", 1), ("from_hours(", 3_600_000)] {
        if let Some(inside) = expression.strip_prefix(&format!("Duration::{constructor}")) {
            return Some(integer(inside.strip_suffix(')')?)? * unit);
        }
    }
    if let Some((left, right)) = expression.split_once(" << ") {
        return Some(integer(left)? << integer(right)?);
    }
    expression.split(" * ").map(integer).product()
}

/// All constants of the sources that are numbers, by name.
fn constants(path: &Path, found: &mut BTreeMap<String, Vec<u64>>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            constants(&entry.unwrap().path(), found);
        }
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    for line in fs::read_to_string(path).unwrap().lines() {
        let Some((_, constant)) = line.split_once("const ") else { continue };
        let Some((declared, expression)) = constant.split_once(" = ") else { continue };
        let name = declared.split(':').next().unwrap();
        if let Some(value) = evaluated(expression.trim_end_matches(';')) {
            found.entry(name.to_owned()).or_default().push(value);
        }
    }
}

#[test]
fn every_limit_is_on_the_page_with_the_value_that_it_has() {
    let page = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let sections = entries(&page);
    let structs = [
        ("proto::Limits", format!("{:#?}", proto::Limits::default())),
        ("proto::Timeouts", format!("{:#?}", proto::Timeouts::default())),
        ("reactor::Config", format!("{:#?}", reactor::Config::default())),
        ("chat::Limits", format!("{:#?}", chat::Limits::default())),
        ("api::Limits", format!("{:#?}", api::Limits::default())),
    ];
    for (name, shown) in &structs {
        assert_eq!(sections[name], fields(shown), "{name}");
    }
    let mut known = BTreeMap::new();
    for room in ["src", "server/src"] {
        constants(&root().join(room), &mut known);
    }
    let stated = &sections["Constants"];
    assert!(stated.len() > 30, "{stated:?}");
    for (name, value) in stated {
        let values = known.get(*name).unwrap_or_else(|| panic!("no constant is called {name}"));
        assert!(values.contains(&value[0]), "{name} is {values:?}, and not {value:?}");
    }
    assert_eq!(sections.len(), structs.len() + 1);
}

#[test]
fn what_is_written_is_understood() {
    for (text, value) in
        [("64 KiB", vec![65_536]), ("10 min", vec![600_000]), ("2^20", vec![1 << 20]), ("none", vec![0])]
    {
        assert_eq!(stated(text), Some(value), "{text}");
    }
    assert_eq!(stated("20/s, 40 at once"), Some(vec![20, 40]));
    assert_eq!(stated("much"), None);
    assert_eq!(evaluated("16 * 1024"), Some(16_384));
    assert_eq!(evaluated("8 << 20"), Some(8 << 20));
    assert_eq!(evaluated("Duration::from_hours(1)"), Some(3_600_000));
    assert_eq!(evaluated("OTHER * 2"), None);
}
