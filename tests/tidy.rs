//! A test about the code itself: which room may name which, what stays behind a fence, and what never enters the tree.
//!
//! It reads the sources as words, with comments and literals blanked, so a sentence about `mio` is no use of it.

use std::fs;
use std::path::Path;

/// A room and those that it may name.
type Row = (&'static str, &'static [&'static str]);

/// Each room of `src/` and the rooms it may name. A new room gets a row here, and ARCHITECTURE.md says why.
const ROOMS: &[Row] = &[
    ("simd", &[]),
    ("proto", &["simd"]),
    ("app", &["proto"]),
    ("reactor", &["app", "proto"]),
    ("tls", &["app", "reactor"]),
    ("net", &["app", "proto", "reactor", "tls", "wall"]),
    ("apps", &["app", "ops"]),
    ("shards", &[]),
    ("text", &[]),
    ("chat", &["app", "history", "shards", "text"]),
    ("history", &["shards", "text", "wall"]),
    ("wall", &[]),
    ("auth", &["chat"]),
    ("api", &["app", "auth", "chat", "history", "ops"]),
    ("hooks", &["app", "chat", "history", "tls"]),
    ("ops", &["app", "proto", "tls"]),
];

/// The sub-rooms of rooms, by the folder or the file below the room, and which of them each may name. A sub-room names only
/// those above it in the table, so there is no circle. Where a file has a row of its own, it is no part of its folder's row.
/// The front file of the room puts the sub-rooms together and may name all of them.
const SUB_ROOMS: &[(&str, &[Row])] = &[
    (
        "chat",
        &[
            ("archive", &[]),
            ("assets", &[]),
            ("connections", &[]),
            ("identity", &[]),
            ("ids", &[]),
            ("limits", &[]),
            ("membership", &["ids"]),
            ("strict", &[]),
            ("wire/data", &[]),
            ("happening", &["wire/data"]),
            ("decisions", &["happening", "identity", "wire/data"]),
            ("wire/json", &[]),
            ("wire/refusal", &[]),
            ("people/names", &["wire/refusal"]),
            ("wire/command", &["limits", "people/names", "wire/data", "wire/refusal"]),
            ("wire/reply_to", &["wire/command"]),
            ("people", &["identity", "ids", "membership", "people/names", "wire/command", "wire/reply_to"]),
            (
                "wire/notices",
                &["ids", "limits", "people", "people/names", "wire/command", "wire/data", "wire/refusal"],
            ),
            ("wire/responder", &["wire/notices", "wire/refusal", "wire/reply_to"]),
            ("wire", &[]),
            ("rooms", &["ids", "limits", "membership", "people", "wire/command"]),
            ("watch", &["rooms"]),
            ("exchange", &["people"]),
            ("neighbours", &["connections", "exchange", "people", "wire/reply_to"]),
            ("nodes", &["connections", "exchange", "neighbours", "people"]),
            ("pending", &["ids", "people", "rooms", "wire/command", "wire/refusal", "wire/reply_to"]),
            ("deciding", &["decisions", "identity", "people", "rooms", "wire/command", "wire/refusal"]),
            ("stats", &["deciding", "decisions", "wire/refusal"]),
            (
                "commands",
                &[
                    "connections",
                    "deciding",
                    "decisions",
                    "exchange",
                    "happening",
                    "identity",
                    "ids",
                    "limits",
                    "membership",
                    "neighbours",
                    "pending",
                    "people",
                    "people/names",
                    "rooms",
                    "watch",
                    "wire/command",
                    "wire/data",
                    "wire/notices",
                    "wire/reply_to",
                ],
            ),
            (
                "tutorial",
                &[
                    "commands",
                    "identity",
                    "ids",
                    "people",
                    "people/names",
                    "wire/command",
                    "wire/json",
                    "wire/notices",
                    "wire/reply_to",
                ],
            ),
            ("http", &["commands", "decisions", "identity", "people", "tutorial"]),
            ("listing", &["commands", "pending", "wire/notices", "wire/reply_to"]),
            (
                "api",
                &[
                    "commands",
                    "listing",
                    "neighbours",
                    "people",
                    "people/names",
                    "rooms",
                    "wire/command",
                    "wire/notices",
                    "wire/reply_to",
                    "wire/responder",
                ],
            ),
            ("operate", &["commands", "ids", "neighbours", "people/names", "wire/reply_to"]),
            (
                "events",
                &[
                    "commands",
                    "ids",
                    "listing",
                    "pending",
                    "people",
                    "rooms",
                    "tutorial",
                    "wire/command",
                    "wire/notices",
                ],
            ),
        ],
    ),
    (
        "history",
        &[
            ("data", &[]),
            ("engine_figures", &[]),
            ("error", &[]),
            ("followers", &[]),
            ("keys", &[]),
            ("kinds", &[]),
            ("log", &[]),
            ("names", &[]),
            ("outbox", &[]),
            ("place", &[]),
            ("proposal", &[]),
            ("stamp", &[]),
            ("subscriptions", &[]),
            ("unread", &["keys"]),
            ("order", &["keys", "stamp"]),
            ("memory", &["followers", "keys", "log", "order", "unread"]),
            ("engine", &["followers", "keys", "log", "memory", "place", "unread"]),
            ("sqlite", &["followers", "keys", "outbox", "stamp", "unread"]),
        ],
    ),
    (
        "reactor",
        &[
            ("config", &[]),
            ("slot", &[]),
            ("stats", &[]),
            ("socket", &["slot"]),
            ("timers", &["slot"]),
            ("http/phase", &[]),
            ("input/inbound", &[]),
            ("output/outbound", &["slot"]),
            ("table", &["http/phase", "input/inbound", "output/outbound", "slot"]),
            ("pending", &["slot", "table"]),
            ("drain", &["http/phase", "table"]),
            ("input/intake", &["slot", "table"]),
            ("output", &["pending", "slot", "socket", "table", "timers"]),
            (
                "core",
                &[
                    "drain",
                    "http/phase",
                    "input/intake",
                    "output",
                    "pending",
                    "slot",
                    "socket",
                    "stats",
                    "table",
                    "timers",
                ],
            ),
            ("http", &["slot", "table"]),
            ("input", &["core", "slot", "socket", "table"]),
        ],
    ),
];

/// Types with inherent methods outside of the file that defines them and of a folder of their name, and why.
const METHODS_ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "DeflateConfig",
        "src/proto/deflate/",
        "the settings belong to the extension, their offers to its negotiation",
    ),
    ("Grant", "src/chat/", "claims carry grants, permissions read them"),
    ("Command", "src/chat/", "the parser makes commands, the pace weighs them"),
    ("Report", "loadgen/src/output/", "each form of a report has a file of its own"),
    ("Ack", "src/chat/wire/", "a macro defines the notices"),
    ("Transactions", "src/history/sqlite/", "an import is a transaction of its own"),
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
    Fence { words: &["redis"], within: &["src/history/engine/"], why: "what a history is knows no engine" },
    Fence { words: &["rusqlite"], within: &["src/history/sqlite/"], why: "what a history is knows no SQL" },
    Fence {
        words: &["sqlite"],
        within: &["src/history/", "server/src/"],
        why: "the chat knows the seam, not what is behind it",
    },
    Fence {
        words: &["rustls", "x509_parser"],
        within: &["src/tls/", "loadgen/"],
        why: "only src/tls knows how TLS is spoken",
    },
    Fence { words: &["unsafe"], within: &["src/simd/"], why: "only the SIMD kernels are unsafe" },
    Fence {
        words: &["TcpStream", "TcpListener", "UnixStream", "UnixListener", "UdpSocket"],
        within: &["src/net/", "src/hooks/unix.rs", "loadgen/"],
        why: "only src/net knows sockets",
    },
    Fence {
        words: &["serde_json", "simd_json"],
        within: &[
            "src/chat/",
            "src/auth/",
            "src/api/",
            "src/hooks/",
            "src/ops/health.rs",
            "server/src/cli/archive.rs",
            "server/src/doctor/",
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
        ("src/reactor/cellar.rs", "", "the sub-room has no row"),
        ("src/reactor/timers/mod.rs", "use super::table::Table;", "timers must not name table"),
        ("src/reactor/table/entry.rs", "use crate::reactor::output::Output;", "table must not name output"),
        ("src/reactor/timers/wheel.rs", "impl Timer<u8> { fn f() {} }", "methods of Timer stand neither"),
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
        ("src/reactor/table/entry.rs", "use crate::reactor::output::outbound::Outbound;"),
        ("src/reactor/http/mod.rs", "use super::{Reactor, Socket}; use super::slot::Slot;"),
        ("src/reactor/http/mod.rs", "impl<A: F<fn(u8) -> u8>> Reactor<A> { } impl Clone for Other<A> { }"),
        ("src/net/alarm.rs", "struct Alarm; impl Alarm { fn f(self) -> impl Iterator { g() } }"),
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
            check_sub_rooms(file, &words, &mut found);
            check_inherent_impls(file, &words, &mut found);
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

/// The sub-room that a path below a room belongs to: a file with a row of its own, or the folder.
fn sub_room_of(rows: &[Row], path: &str) -> Option<(usize, &'static str)> {
    let path = path.trim_end_matches(".rs");
    let is_in =
        |row: &str| path.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let rows = rows.iter().enumerate().filter(|(_, (row, _))| is_in(row));
    rows.max_by_key(|(_, (row, _))| row.len()).map(|(at, (row, _))| (at, *row))
}

/// A sub-room names only what its row allows, all of which is above it.
fn check_sub_rooms(file: &File, words: &[Word<'_>], found: &mut Vec<String>) {
    let Some((room, rows, inside)) = SUB_ROOMS.iter().find_map(|(room, rows)| {
        let inside = file.path.strip_prefix("src/")?.strip_prefix(room)?.strip_prefix('/')?;
        Some((*room, *rows, inside))
    }) else {
        return;
    };
    if inside == "mod.rs" {
        return;
    }
    let Some((at, own)) = sub_room_of(rows, inside) else {
        return found.push(format!("{}:1: the sub-room has no row in tests/tidy.rs", file.path));
    };
    let may_name = rows[at].1;
    if let Some(below) = may_name.iter().find(|name| !rows[..at].iter().any(|(row, _)| row == *name)) {
        found.push(format!("{}:1: {own} may name {below}, which is not above it", file.path));
    }
    // In the sub-room's own front file `super` is the room.
    let is_front = !inside.contains('/') || inside.matches('/').count() == 1 && inside.ends_with("/mod.rs");
    for (i, word) in words.iter().enumerate() {
        let path = match word.text {
            "super" if is_front && is_path(&words[i..]) => &words[i + 3..],
            "crate" if is_path(&words[i..]) && words[i + 3].text == room && is_path(&words[i + 3..]) => {
                &words[i + 6..]
            }
            _ => continue,
        };
        for named in names_after(path) {
            let next = if path[0].text == named.text && is_path(path) { path[3].text } else { "" };
            let Some((_, target)) = sub_room_of(rows, &format!("{}/{next}", named.text)) else { continue };
            if target != own && !may_name.contains(&target) {
                found.push(format!("{}:{}: {own} must not name {target}", file.path, named.line));
            }
        }
    }
}

/// Methods stand in the file that defines their type, or in a folder of the type's name.
fn check_inherent_impls(file: &File, words: &[Word<'_>], found: &mut Vec<String>) {
    for (i, word) in words.iter().enumerate() {
        let is_item = i == 0 || matches!(words[i - 1].text, "}" | ";" | "]" | "{");
        if word.text != "impl" || !is_item {
            continue;
        }
        let Some(name) = inherent_type(&words[i + 1..]) else { continue };
        let defines = |at: &[Word<'_>]| {
            matches!(at[0].text, "struct" | "enum" | "union" | "trait") && at[1].text == name
        };
        let folder = snake_case(name);
        let is_at_home = words.windows(2).any(defines)
            || file.path.trim_end_matches(".rs").split('/').any(|part| part == folder)
            || METHODS_ELSEWHERE.iter().any(|(of, path, _)| *of == name && file.path.starts_with(path));
        if !is_at_home {
            found.push(format!(
                "{}:{}: methods of {name} stand neither in its file nor in a folder {folder}",
                file.path, word.line
            ));
        }
    }
}

/// The type of `impl<…> Type<…> {`; `None` where a trait is implemented.
fn inherent_type<'t>(header: &[Word<'t>]) -> Option<&'t str> {
    let mut depth = 0;
    let mut name = None;
    for (at, word) in header.iter().enumerate() {
        match word.text {
            "<" => depth += 1,
            ">" if header[at - 1].text != "-" => depth -= 1,
            "{" | "where" if depth == 0 => return name,
            // The parameter of a macro is any type.
            "for" | "$" if depth == 0 => return None,
            text if depth == 0 && text.starts_with(char::is_alphabetic) && text != "dyn" => name = Some(text),
            _ => {}
        }
    }
    None
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
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
