//! A test about the code itself: the rooms of `loadgen` are layers, and no file is in a circle of imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms, lowest first. A file names only its own room and those before it.
const ROOMS: [&str; 6] = ["clock", "input", "output", "run", "scenario", "command"];

/// Source files by their path under `src`, without tests.
type Files = BTreeMap<String, String>;

#[test]
fn the_rooms_are_layers_and_no_file_is_in_a_circle() {
    let mut files = Files::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.len() > 30, "the walk found {} files", files.len());
    assert_eq!(violations(&files), Vec::<String>::new());
}

#[test]
fn a_planted_circle_is_found() {
    let planted = [
        // Upwards, in each form of a path.
        (&[("input/plan.rs", "use crate::output::report::Report;")][..], "input/plan.rs names output"),
        (&[("clock.rs", "use crate::{input::plan, run};")], "clock.rs names input"),
        (&[("run/mod.rs", "fn f() { crate::scenario::echo::run(); }")], "run/mod.rs names scenario"),
        (&[("output/mod.rs", "use super::command::cli;")], "output/mod.rs names command"),
        (&[("cellar.rs", "")], "cellar has no place"),
        // Within one room.
        (
            &[("run/a.rs", "use super::b::X;"), ("run/b.rs", "use crate::run::{a::Y, c};")],
            "run/a.rs -> run/b.rs",
        ),
        (
            &[("run/a/mod.rs", "use self::b::X;"), ("run/a/b.rs", "use super::Y;")],
            "run/a/b.rs -> run/a/mod.rs",
        ),
        (
            &[
                ("output/a.rs", "use super::b;"),
                ("output/b.rs", "use super::{\n    // c is next\n    c::{D, E as F},\n};"),
                ("output/c.rs", "use super::a;"),
            ],
            "output/a.rs -> output/b.rs -> output/c.rs",
        ),
    ];
    for (files, expected) in planted {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let found = violations(&files);
        assert!(found.iter().any(|violation| violation.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    let allowed = [
        ("clock.rs", "// crate::run is not named here.\nconst S: &str = \"crate::run\";"),
        ("input/plan.rs", "use super::target::Target;\nuse crate::clock::Nanos;"),
        ("input/target.rs", "use std::fmt;"),
        ("run/fleet/mod.rs", "mod serve;\nuse crate::input::plan::Plan;"),
        ("run/fleet/serve.rs", "use super::Fleet;\n#[cfg(test)]\nmod tests { use crate::command::cli; }"),
    ];
    let files = allowed.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    assert_eq!(violations(&files), Vec::<String>::new());
}

fn violations(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| *path != "main.rs") {
        let Some(place) = place_of(path) else {
            found.push(format!("{} has no place among the rooms", room(path)));
            continue;
        };
        for named in paths(path, text) {
            let named_room = named.first().map_or("", String::as_str);
            if ROOMS.iter().position(|room| *room == named_room).is_some_and(|other| other > place) {
                found.push(format!("{path} names {named_room}"));
            }
            if let Some(file) = file_of(files, &named).filter(|file| file != path) {
                imports.entry(path).or_default().insert(file);
            }
        }
    }
    found.extend(circle(&imports));
    found
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

fn place_of(path: &str) -> Option<usize> {
    ROOMS.iter().position(|name| *name == room(path))
}

/// The file in which a path of modules and items ends.
fn file_of<'f>(files: &'f Files, named: &[String]) -> Option<&'f str> {
    (1..=named.len()).rev().find_map(|length| {
        let module = named[..length].join("/");
        let candidates = [format!("{module}.rs"), format!("{module}/mod.rs")];
        candidates.iter().find_map(|name| files.get_key_value(name)).map(|(path, _)| path.as_str())
    })
}

/// Every path that begins with `crate::`, `super::` or `self::`, from the root of the crate.
fn paths(file: &str, text: &str) -> Vec<Vec<String>> {
    let modules: Vec<String> =
        file.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(str::to_owned).collect();
    let words = words(text);
    let mut paths = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let base = match word.as_str() {
            "crate" => Vec::new(),
            "self" => modules.clone(),
            "super" => modules[..modules.len() - 1].to_vec(),
            _ => continue,
        };
        if words.get(i + 1).map(String::as_str) == Some("::") {
            tree(&words, i + 2, base, &mut paths);
        }
    }
    paths
}

/// Adds the paths of a tree such as `a::{b, c::{d, e}}`; returns the position after it.
fn tree(words: &[String], mut at: usize, mut base: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    loop {
        match words.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while let Some(word) = words.get(at).map(String::as_str) {
                    at = match word {
                        "}" => return at + 1,
                        "," => at + 1,
                        _ => tree(words, at, base.clone(), paths),
                    };
                }
                return at;
            }
            Some(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => base.push(name.to_owned()),
            _ => {}
        }
        at += 1;
        if words.get(at).map(String::as_str) != Some("::") {
            paths.push(base);
            // An alias is not a path.
            return if words.get(at).map(String::as_str) == Some("as") { at + 2 } else { at };
        }
        at += 1;
    }
}

/// Identifiers, `::` and other characters, without comments, literals in double quotes, and tests.
fn words(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            let length = if rest.starts_with("::") {
                2
            } else if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            words.push(rest[..length].to_owned());
            length
        };
        rest = rest[length..].trim_start();
    }
    words
}

/// A circle of imports, if there is one.
fn circle(imports: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    imports.keys().find_map(|start| {
        let mut path = vec![*start];
        way_back(imports, start, &mut path, &mut BTreeSet::new()).then(|| path.join(" -> "))
    })
}

/// Extends `path` until its last file imports `start`; `false`: there is no such path.
fn way_back<'f>(
    imports: &BTreeMap<&'f str, BTreeSet<&'f str>>,
    start: &str,
    path: &mut Vec<&'f str>,
    seen: &mut BTreeSet<&'f str>,
) -> bool {
    let Some(next) = path.last().and_then(|last| imports.get(last)) else { return false };
    for file in next {
        if *file == start {
            return true;
        }
        if seen.insert(file) {
            path.push(file);
            if way_back(imports, start, path, seen) {
                return true;
            }
            path.pop();
        }
    }
    false
}

fn read(directory: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(directory).expect("a directory of the sources") {
        let entry = entry.expect("an entry");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            read(&entry.path(), &format!("{path}/"), files);
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            files.insert(path, fs::read_to_string(entry.path()).expect("a source"));
        }
    }
}
