//! A test about the code itself: which room may name which, what stays behind a fence, and what never enters the tree.
//!
//! It reads the sources as words, with comments and literals blanked, so a sentence about `mio` is no use of it.

use std::fs;
use std::path::Path;

/// Each room of `src/` and the rooms it may name. A new room gets a row here, and ARCHITECTURE.md says why.
const ROOMS: &[(&str, &[&str])] = &[
    ("simd", &[]),
    ("proto", &["simd"]),
    ("app", &["proto"]),
    ("reactor", &["app", "proto"]),
    ("net", &["app", "proto", "reactor", "wall"]),
    ("apps", &["app"]),
    ("text", &[]),
    ("chat", &["app", "history", "text"]),
    ("history", &["text", "wall"]),
    ("wall", &[]),
    ("auth", &["chat"]),
    ("api", &["app", "chat", "history"]),
    ("ops", &["api", "app", "apps", "chat", "proto"]),
];

/// The file on top, which puts the rooms together and may name all of them. So may the binary, in `server/`.
const TOP: &[&str] = &["lib"];

/// What the load generator may name of the library.
const LOADGEN: &[&str] = &["proto"];

/// Words that stay within some paths, and why.
const FENCES: &[Fence] = &[
    Fence {
        words: &["mio", "signal_hook_mio"],
        within: &["src/net/", "loadgen/"],
        why: "mio stays under src/net",
    },
    Fence { words: &["rusqlite"], within: &["src/history/sqlite/"], why: "what a history is knows no SQL" },
    Fence {
        words: &["sqlite"],
        within: &["src/history/", "server/src/"],
        why: "the chat knows the seam, not what is behind it",
    },
    Fence { words: &["unsafe"], within: &["src/simd/"], why: "only the SIMD kernels are unsafe" },
    Fence {
        words: &["TcpStream", "TcpListener", "UnixStream", "UnixListener", "UdpSocket"],
        within: &["src/net/", "loadgen/"],
        why: "only src/net knows sockets",
    },
    Fence {
        words: &["serde_json", "simd_json"],
        within: &[
            "src/chat/",
            "src/auth/",
            "src/api/",
            "server/src/cli/archive.rs",
            "server/src/log.rs",
            "loadgen/",
        ],
        why: "the layers below the chat know no JSON",
    },
];

/// Macros of unfinished work.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Directories of one machine only. Split, so that this file does not trip over itself.
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "work/"), concat!("/", "farm/"), concat!("/", "root/"), concat!("/", "tmp/bash_jobs")];

/// Package registries, whose hosts are the business of each machine's package clients.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("debian", ".org"),
];

const MAX_FILE_LINES: usize = 600;

struct Fence {
    words: &'static [&'static str],
    within: &'static [&'static str],
    why: &'static str,
}

/// A file of the tree: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

#[test]
fn the_tree_is_tidy() {
    let mut files = Vec::new();
    read_tree(Path::new(env!("CARGO_MANIFEST_DIR")), "", &ignored(), &mut files);
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the walk did not find the sources");
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn a_planted_violation_is_found() {
    let long = "\n".repeat(MAX_FILE_LINES + 1);
    let machine = format!("see {}notes", MACHINE_PATHS[0]);
    let registry = format!("https://index.{}/se/rd", REGISTRIES[0]);
    let planted: &[(&str, &str, &str)] = &[
        ("src/proto/frame.rs", "use crate::reactor::Slab;", "proto must not name reactor"),
        (
            "src/proto/frame.rs",
            "use crate::{\n  simd::mask,\n  chat::{Room, net}\n};",
            "proto must not name chat",
        ),
        ("src/chat/page.rs", "fn f(c: crate::net::Stream) {}", "chat must not name net"),
        ("src/proto/frame.rs", "use crate::Chat;", "proto must not name Chat"),
        ("src/app.rs", "use super::reactor;", "app must not name reactor"),
        ("src/app.rs", "pub use super::{proto, chat};", "app must not name chat"),
        ("src/proto/frame.rs", "use super::super::net;", "super::super"),
        ("src/cellar/mod.rs", "", "has no row"),
        ("loadgen/src/main.rs", "use switchboard::reactor::Reactor;", "loadgen must not name reactor"),
        ("src/reactor/mod.rs", "impl Source for mio::net::TcpStream {}", "mio stays under src/net"),
        ("src/chat/mod.rs", "use std::net::{TcpStream};", "only src/net knows sockets"),
        ("src/history/mod.rs", "fn f(e: rusqlite::Error) {}", "knows no SQL"),
        ("src/chat/mod.rs", "use crate::history::sqlite::Client;", "the chat knows the seam"),
        ("src/net/mod.rs", "fn f() { unsafe { g() } }", "only the SIMD kernels are unsafe"),
        ("src/proto/mod.rs", "let v = serde_json::json!(1);", "know no JSON"),
        (
            "src/net/mod.rs",
            "let c = 'a'; let l: &'static str = \"\\\"\"; todo!()",
            "todo! is unfinished work",
        ),
        ("src/net/mod.rs", &long, "over 600 lines"),
        ("src/lib.rs", "/// Documented.\npub mod net;\n#[cfg(x)]\npub mod app;", ":4: pub mod app"),
        ("README.md", &machine, "a path of one machine"),
        ("docs/build.md", &registry, "the host of a registry"),
    ];
    for (path, text, expected) in planted {
        let found = violations(&[File { path: (*path).into(), text: (*text).into() }]);
        assert!(
            found.iter().any(|violation| violation.contains(expected)),
            "{expected:?} was not found in {path}: {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    let allowed: &[(&str, &str)] = &[
        ("src/proto/frame.rs", "//! Not mio, see [`crate::reactor`].\nuse crate::{proto::head, simd};"),
        (
            "src/proto/frame.rs",
            "/* unsafe /* crate::chat */ todo!() */ const S: &str = r#\"\"mio\" unsafe\"#;",
        ),
        ("src/proto/frame.rs", "mod tests { use super::*; const B: &[u8] = b\"crate::net\\\\\"; }"),
        ("src/net/event_loop.rs", "use mio::Poll; use crate::reactor::Reactor;"),
        ("server/src/main.rs", "use switchboard::{chat, net};"),
        ("src/lib.rs", "#[cfg(feature = \"mio\")]\n/// The seam.\n#[doc(inline)]\npub mod app;"),
        ("loadgen/src/main.rs", "use switchboard::proto::Connection; use crate::plan;"),
        ("README.md", concat!("https://example.org/frame/work/ and crates", ".io")),
    ];
    for (path, text) in allowed {
        let found = violations(&[File { path: (*path).into(), text: (*text).into() }]);
        assert_eq!(found, Vec::<String>::new(), "{path}");
    }
}

fn violations(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        check_text(file, &mut found);
        if Path::new(&file.path).extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let code = blank_comments_and_literals(&file.text);
        let words = words(&code);
        check_unfinished(file, &words, &mut found);
        if ["src/", "server/src/", "loadgen/src/", "examples/"].iter().any(|room| file.path.starts_with(room))
        {
            check_directions(file, &words, &mut found);
            check_fences(file, &words, &mut found);
            check_length(file, &mut found);
            check_module_docs(file, files, &words, &mut found);
        }
    }
    found
}

/// The room that a path belongs to, and what it may name; `None` for the file on top, the binary and the examples.
fn room_of(path: &str) -> Result<Option<(&str, &'static [&'static str])>, String> {
    let Some(inside) = path.strip_prefix("src/") else {
        return Ok(path.starts_with("loadgen/").then_some(("loadgen", LOADGEN)));
    };
    let name = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
    if TOP.contains(&name) {
        return Ok(None);
    }
    let row = ROOMS.iter().find(|(room, _)| *room == name);
    row.map(|row| Some(*row)).ok_or_else(|| format!("{path}:1: the room {name} has no row in tests/tidy.rs"))
}

fn check_directions(file: &File, words: &[Word<'_>], found: &mut Vec<String>) {
    let (room, may_name) = match room_of(&file.path) {
        Ok(Some(row)) => row,
        Ok(None) => return,
        Err(violation) => return found.push(violation),
    };
    let crate_name = if room == "loadgen" { "switchboard" } else { "crate" };
    // In the room's own front file `super` is the root of the crate.
    let front = file.path == format!("src/{room}.rs") || file.path == format!("src/{room}/mod.rs");
    for (i, word) in words.iter().enumerate() {
        if word.text == "super"
            && is_path(&words[i..])
            && words.get(i + 3).is_some_and(|next| next.text == "super")
        {
            found.push(format!("{}:{}: super::super hides a direction, write crate::", file.path, word.line));
        }
        if !is_path(&words[i..]) || !(word.text == crate_name || front && word.text == "super") {
            continue;
        }
        for named in names_after(&words[i + 3..]) {
            let known = word.text != "super" || ROOMS.iter().any(|(room, _)| *room == named.text);
            if known && named.text != room && !may_name.contains(&named.text) {
                found.push(format!("{}:{}: {room} must not name {}", file.path, named.line, named.text));
            }
        }
    }
}

/// Whether the first word is followed by `::`.
fn is_path(words: &[Word<'_>]) -> bool {
    matches!(words, [_, first, second, _, ..] if first.text == ":" && second.text == ":")
}

/// The first segments after `root::`: one name, or the outermost names of a `{…}` group.
fn names_after<'w, 't>(words: &'w [Word<'t>]) -> Vec<&'w Word<'t>> {
    if words[0].text != "{" {
        return vec![&words[0]];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut starts = false;
    for word in words {
        match word.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if starts && depth == 1 => names.push(word),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        starts = depth == 1 && matches!(word.text, "{" | ",");
    }
    names
}

fn check_fences(file: &File, words: &[Word<'_>], found: &mut Vec<String>) {
    for fence in FENCES.iter().filter(|fence| !fence.within.iter().any(|room| file.path.starts_with(room))) {
        for word in words.iter().filter(|word| fence.words.contains(&word.text)) {
            found.push(format!("{}:{}: {}: {}", file.path, word.line, word.text, fence.why));
        }
    }
}

fn check_unfinished(file: &File, words: &[Word<'_>], found: &mut Vec<String>) {
    for pair in words.windows(2).filter(|pair| UNFINISHED.contains(&pair[0].text) && pair[1].text == "!") {
        found.push(format!("{}:{}: {}! is unfinished work", file.path, pair[0].line, pair[0].text));
    }
}

fn check_length(file: &File, found: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > MAX_FILE_LINES {
        found.push(format!(
            "{}:{lines}: over {MAX_FILE_LINES} lines: is there a second room in it?",
            file.path
        ));
    }
}

/// Every `pub mod name;` is documented: above it, or at the head of its file.
fn check_module_docs(file: &File, files: &[File], words: &[Word<'_>], found: &mut Vec<String>) {
    let lines: Vec<&str> = file.text.lines().collect();
    let directory = match file.path.rsplit_once('/') {
        Some((directory, "lib.rs" | "main.rs" | "mod.rs")) => directory,
        _ => file.path.trim_end_matches(".rs"),
    };
    for at in words.windows(4).filter(|at| at[0].text == "pub" && at[1].text == "mod" && at[3].text == ";") {
        let name = at[2].text;
        let above = lines[..at[0].line - 1].iter().rev().find(|line| !line.trim_start().starts_with("#["));
        let paths = [format!("{directory}/{name}.rs"), format!("{directory}/{name}/mod.rs")];
        let own = files.iter().find(|file| paths.contains(&file.path));
        let documented = above.is_some_and(|line| line.trim_start().starts_with("///"))
            || own.is_some_and(|file| file.text.starts_with("//!"));
        if !documented {
            found.push(format!("{}:{}: pub mod {name} has no documentation", file.path, at[0].line));
        }
    }
}

fn check_text(file: &File, found: &mut Vec<String>) {
    for (i, line) in file.text.lines().enumerate() {
        let mut report =
            |what| found.push(format!("{}:{}: {what} in the tree: {}", file.path, i + 1, line.trim()));
        let starts_path =
            |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c));
        if MACHINE_PATHS.iter().any(|path| line.match_indices(path).any(|(at, _)| starts_path(at))) {
            report("a path of one machine");
        }
        let hosts =
            line.split("://").skip(1).filter_map(|rest| rest.split(['/', '"', '\'', ')', '>', ' ']).next());
        if hosts.into_iter().any(|host| REGISTRIES.iter().any(|registry| host.ends_with(registry))) {
            report("the host of a registry");
        }
    }
}

struct Word<'t> {
    text: &'t str,
    line: usize,
}

/// Identifiers whole, every other visible character by itself.
fn words(code: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    for (i, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let end = if is_word(first) { rest.find(|c| !is_word(c)) } else { Some(first.len_utf8()) };
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            words.push(Word { text, line: i + 1 });
            rest = after.trim_start();
        }
    }
    words
}

/// The source with the same lines, where comments are gone and literals are empty.
fn blank_comments_and_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (skipped, kept) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), ""),
            '/' if rest.starts_with("/*") => (block_comment(rest), " "),
            'r' if !code.ends_with(is_identifier) || code.ends_with(['b', 'c']) => match raw_string(rest) {
                Some(length) => (length, "\"\""),
                None => (1, "r"),
            },
            '"' => (quoted(rest, '"'), "\"\""),
            '\'' if is_char_literal(rest) => (quoted(rest, '\''), "''"),
            _ => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        code.push_str(kept);
        if skipped > kept.len() {
            code.extend(rest[..skipped].matches('\n'));
        }
        rest = &rest[skipped..];
    }
    code
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"…"` or `r#"…"#`, unless the text is an identifier that starts with `r`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + body.find(&end)? + end.len())
}

/// The length of a literal between two `quote`s, where a backslash covers the next character.
fn quoted(text: &str, quote: char) -> usize {
    let mut covered = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if covered => covered = false,
            '\\' => covered = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    matches!((after.next(), after.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

/// The paths that .gitignore names; all of its lines are anchored at the root.
fn ignored() -> Vec<String> {
    let lines =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitignore")).expect("a .gitignore");
    lines.lines().filter_map(|line| line.strip_prefix('/')).map(String::from).collect()
}

fn read_tree(directory: &Path, prefix: &str, ignored: &[String], files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("a directory of the tree") {
        let entry = entry.expect("an entry of the tree");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path == ".git" || ignored.contains(&path) {
            continue;
        }
        if entry.file_type().expect("the type of an entry").is_dir() {
            read_tree(&entry.path(), &format!("{path}/"), ignored, files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}
