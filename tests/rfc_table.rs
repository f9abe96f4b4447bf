//! Holds docs/rfc6455.md against the tree: each entry names a requirement by its section, and tests that exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Sections of RFC 6455 that must have an entry, so that none is lost.
const SECTIONS: &[&str] = &[
    "5.1", "5.2", "5.3", "5.4", "5.5", "5.5.1", "5.5.2", "5.5.3", "5.6", "5.8", "6.1", "6.2", "7.1.2",
    "7.1.7", "7.2.1", "7.2.2", "7.4.1", "7.4.2",
];

struct Row<'t> {
    section: &'t str,
    tests: Vec<&'t str>,
    line: usize,
}

/// The entries of both lists: `- **5.1** requirement:`, and the tests in the lines after it.
fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some((section, _)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("**")) {
            rows.push(Row { section, tests: Vec::new(), line: at + 1 });
        } else if let Some(row) = rows.last_mut().filter(|_| line.starts_with("  `")) {
            row.tests.extend(line.split('`').skip(1).step_by(2));
        }
    }
    rows
}

/// The names of all functions under `#[test]`.
fn tests_of_the_tree() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for room in ["src", "tests"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(room), &mut names);
    }
    names
}

fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names_in(&fs::read_to_string(&path).unwrap(), names);
        }
    }
}

fn names_in(source: &str, names: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if is_test {
                names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
            is_test = false;
        }
    }
}

/// What is wrong with a table.
fn faults(table: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows(table) {
        if !row.section.split('.').all(|number| number.parse::<u8>().is_ok()) {
            found.push(format!("line {}: no section: {}", row.line, row.section));
        }
        if row.tests.is_empty() {
            found.push(format!("line {}: no test", row.line));
        }
        for name in row.tests.iter().filter(|name| !tests.contains(**name)) {
            found.push(format!("line {}: there is no test {name}", row.line));
        }
    }
    found
}

#[test]
fn every_requirement_is_shown_by_a_test_that_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rfc6455.md");
    let table = fs::read_to_string(path).unwrap();
    let found = faults(&table, &tests_of_the_tree());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    let (first, second) = table.split_once("## RFC 7692").unwrap();
    let sections: BTreeSet<&str> = rows(first).iter().map(|row| row.section).collect();
    for section in SECTIONS {
        assert!(sections.contains(section), "no entry for section {section}");
    }
    assert!(rows(second).iter().any(|row| row.section.starts_with("7.2")));
}

#[test]
fn a_row_without_a_test_is_found() {
    let tests = tests_of_the_tree();
    let good = "- **5.1** x:\n  `a_row_without_a_test_is_found`\n";
    assert_eq!(faults(good, &tests), Vec::<String>::new());
    for (row, fault) in [
        ("- **5.1** x:", "no test"),
        ("- **5.1** x:\n  later", "no test"),
        ("- **5.1** x:\n  `faults`", "there is no test faults"),
        ("- **5.1** x:\n  `a_row_without_a_test_is_found`, `gone`", "there is no test gone"),
        ("- **five** x:\n  `a_row_without_a_test_is_found`", "no section"),
    ] {
        let found = faults(&format!("{good}{row}\n"), &tests);
        assert!(found.len() == 1 && found[0].contains(fault), "{row}: {found:?}");
    }
}
