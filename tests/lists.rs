//! The pages that must be complete. The lists that the names of tests refer to: an id of a test has an entry in `docs/attacks.md` or
//! `docs/behaviours.md`, and an entry has a test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where tests are. The scripts carry ids in their comments.
const PLACES: [&str; 4] = ["tests", "loadgen/tests", "src", "server/src"];

/// Ids of attacks have two letters and two digits, those of behaviours an `S` and a number.
fn id(word: &str) -> Option<String> {
    let letters = word.chars().take_while(char::is_ascii_alphabetic).count();
    let (kind, number) = word.split_at(letters);
    let is_number = number.chars().all(|digit| digit.is_ascii_digit());
    let is_id = match (letters, number.len()) {
        (2, 2) => true,
        (1, 1 | 2) => kind.eq_ignore_ascii_case("s"),
        _ => false,
    };
    (is_id && is_number).then(|| format!("{}{number}", kind.to_ascii_uppercase()))
}

/// The ids at the beginning of the name of a test: `ch_06_ch_09_what_…` has two, `hs_13_s31_…` as well.
fn ids_of_name(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let mut ids = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let joined = words.get(at + 1).map(|next| format!("{}{next}", words[at]));
        if let Some(id) = joined.as_deref().filter(|_| words[at].len() == 2).and_then(id) {
            ids.push(id);
            at += 2;
        } else if let Some(id) = id(words[at]).filter(|id| id.starts_with('S') && !id.starts_with("ST")) {
            ids.push(id);
            at += 1;
        } else {
            break;
        }
    }
    ids
}

/// `CH-11, PR-03` and `S9-S13` before the colon of a title in the browser suite, or in a comment of a script.
fn ids_of_title(title: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for part in title.split(',').map(str::trim) {
        let word: String = part.chars().filter(|c| *c != '-').collect();
        match (id(&word), part.split_once('-')) {
            (Some(id), _) => ids.push(id),
            (None, Some((from, to))) => ids.extend(range(from, to)),
            (None, None) => return Vec::new(),
        }
    }
    ids
}

/// `S10` to `S12`.
fn range(from: &str, to: &str) -> Vec<String> {
    let number = |word: &str| word.strip_prefix('S').and_then(|digits| digits.parse::<u8>().ok());
    match (number(from), number(to)) {
        (Some(from), Some(to)) => (from..=to).map(|number| format!("S{number}")).collect(),
        _ => Vec::new(),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        if !path.ends_with("node_modules") {
            for entry in fs::read_dir(path).unwrap() {
                collect(&entry.unwrap().path(), found);
            }
        }
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines().map(str::trim) {
        match extension {
            "rs" => {
                if let Some(rest) = line.split_once("fn ").filter(|(before, _)| before.len() < 12) {
                    found.extend(ids_of_name(rest.1.split('(').next().unwrap_or_default()));
                }
            }
            "js" | "sh" => {
                let title = line.strip_prefix("test('").or_else(|| line.strip_prefix("# "));
                let title = title.and_then(|title| title.split_once(": "));
                found.extend(title.map(|(ids, _)| ids_of_title(ids)).unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The entries of both lists, `- **HS-01** …`: each with the ids that it is about.
fn rows() -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for page in ["docs/attacks.md", "docs/behaviours.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for line in text.lines() {
            let entry = line.strip_prefix("- **").and_then(|line| line.split_once("**"));
            let Some((first, _)) = entry else { continue };
            let ids = match first.split_once('–') {
                Some((from, to)) => range(from, to),
                None => ids_of_title(first),
            };
            if !ids.is_empty() {
                rows.push(ids);
            }
        }
    }
    rows
}

#[test]
fn every_id_of_a_test_has_a_row_and_every_row_has_a_test() {
    let mut used = BTreeSet::new();
    for place in PLACES {
        collect(&root().join(place), &mut used);
    }
    assert!(used.len() > 150, "the walk found {} ids", used.len());
    let rows = rows();
    let listed: BTreeSet<&String> = rows.iter().flatten().collect();
    assert_eq!(listed.len(), rows.iter().map(Vec::len).sum::<usize>(), "a row stands twice");
    let without_row: Vec<&String> = used.iter().filter(|id| !listed.contains(id)).collect();
    assert!(without_row.is_empty(), "tests name ids that no list has: {without_row:?}");
    let without_test: Vec<&Vec<String>> =
        rows.iter().filter(|row| !row.iter().any(|id| used.contains(id))).collect();
    assert!(without_test.is_empty(), "no test names these rows: {without_test:?}");
}

/// The folders below `path` that hold sources, from the root of the project.
fn folders(path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    for entry in fs::read_dir(root().join(path)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            folders(&format!("{path}/{}", entry.file_name().to_str().unwrap()), found);
        }
    }
}

#[test]
fn every_folder_of_the_sources_is_on_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut all = Vec::new();
    for room in ["src", "server/src", "loadgen/src"] {
        folders(room, &mut all);
    }
    // A folder is named by its path, or by its path within the room whose paragraph it is in.
    let is_named = |path: &&String| {
        let parts: Vec<&str> = path.split('/').collect();
        (0..parts.len()).any(|from| map.contains(&format!("`{}`", parts[from..].join("/"))))
    };
    let missing: Vec<&String> = all.iter().filter(|path| !is_named(path)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
}

#[test]
fn ids_are_found_in_names_and_titles() {
    assert_eq!(ids_of_name("hs_13_s31_s32_the_origin_policy"), ["HS13", "S31", "S32"]);
    assert_eq!(ids_of_name("ch_06_ch_09_what_a_client_says"), ["CH06", "CH09"]);
    assert_eq!(ids_of_name("st_01_full"), ["ST01"]);
    assert!(ids_of_name("an_upgrade_with_20_fields").is_empty());
    assert_eq!(ids_of_title("CH-11, PR-03"), ["CH11", "PR03"]);
    assert_eq!(ids_of_title("S7, S9-S11"), ["S7", "S9", "S10", "S11"]);
    assert!(ids_of_title("the page").is_empty());
}

/// Who has just cloned the repository needs no other commands.
#[test]
fn the_front_page_names_the_commands_that_run_and_test_everything() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["cargo run --release", "tests/all.sh"] {
        assert!(page.contains(command), "README.md does not name `{command}`");
    }
    let gate = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(gate.contains("exec tests/all.sh"), "the gate runs something else");
}

/// What tests need of Debian is installed, or named, in one way.
#[test]
fn one_script_installs_packages_of_debian() {
    let mut scripts = Vec::new();
    for place in ["tests", "packaging", "clients", "loadgen/tests", "benches", "examples"] {
        shell_scripts(&root().join(place), &mut scripts);
    }
    assert!(scripts.len() > 15, "the walk found {scripts:?}");
    let installs = |path: &Path| fs::read_to_string(path).unwrap().contains("apt-get install -y");
    let found: Vec<_> = scripts.iter().filter(|path| installs(path)).collect();
    assert_eq!(found, [&root().join("tests/support/need.sh")]);
}

fn shell_scripts(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            let is_ours = !["node_modules", "target", "out", "venv"].iter().any(|made| path.ends_with(made));
            if is_ours {
                shell_scripts(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "sh") {
            found.push(path);
        }
    }
}
