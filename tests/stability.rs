//! What docs/stability.md promises: docs/stable-names.txt has every name that others rely on, and none is ever taken away. Other tests
//! hold the pages and contracts from which the names are read against the server, both ways.
//!
//! `SWITCHBOARD_SNAPSHOTS=update` adds what is new. A name that is gone is a broken promise: only a person takes its line out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

const LIST: &str = "docs/stable-names.txt";

#[test]
fn no_name_that_others_rely_on_is_taken_away() {
    let now = names();
    let path = root().join(LIST);
    let known: BTreeSet<String> = read(LIST).lines().map(str::to_owned).collect();
    let gone: Vec<_> = known.difference(&now).collect();
    assert!(gone.is_empty(), "docs/stability.md promises these: {gone:#?}");
    let new: Vec<_> = now.difference(&known).collect();
    if std::env::var("SWITCHBOARD_SNAPSHOTS").is_ok_and(|it| it == "update") {
        let lines: Vec<_> = now.iter().map(String::as_str).collect();
        fs::write(path, lines.join("\n") + "\n").unwrap();
    } else {
        assert!(new.is_empty(), "{LIST} lacks these; SWITCHBOARD_SNAPSHOTS=update adds them: {new:#?}");
    }
}

#[test]
fn each_kind_of_name_is_found() {
    let names = names();
    for name in [
        "metric switchboard_closes_total",
        "metric switchboard_chat_users",
        "metric switchboard_engine_up",
        "chat postCommand.key",
        "chat postCommand.text required",
        "chat errorAnswer.code = rate_limited",
        "api POST /rooms/{room}/posts 201",
        "api HookAnswer.allow required",
        "close banned 4002",
        "setting max-connections",
        "log duration_ms",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for page in ["docs/metrics.md", "docs/scaling.md"] {
        for name in read(page).lines().filter_map(|line| line.strip_prefix("- `switchboard_")) {
            let entry = format!("switchboard_{}", name.split(": ").next().unwrap());
            for name in entry.split("`, `").map(|name| name.trim_end_matches('`')) {
                let prefix = if name.starts_with('_') { "switchboard_chat" } else { "" };
                names.insert(format!("metric {prefix}{name}"));
            }
        }
    }
    for (kind, document) in [("chat", "src/api/asyncapi.json"), ("api", "src/api/openapi.json")] {
        let document: Value = serde_json::from_str(&read(document)).unwrap();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            fields(&format!("{kind} {name}"), schema, &mut names);
        }
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().unwrap() {
                for status in operation["responses"].as_object().into_iter().flat_map(|it| it.keys()) {
                    names.insert(format!("{kind} {} {path} {status}", method.to_uppercase()));
                }
            }
        }
    }
    let schema: Value = serde_json::from_str(&read("docs/log.schema.json")).unwrap();
    names.extend(schema["properties"].as_object().unwrap().keys().map(|field| format!("log {field}")));
    let settings = read("docs/configuration.md");
    let settings = settings.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    names.extend(settings.map(|key| format!("setting {key}")));
    let protocol = read("docs/chat-protocol.md").replace('\n', " ");
    for (before, after) in protocol.match_indices(" (").map(|(at, _)| (&protocol[..at], &protocol[at + 2..]))
    {
        let code = after.split(')').next().filter(|code| code.len() == 4 && code.parse::<u16>().is_ok());
        let name = before.strip_suffix('`').and_then(|before| before.rsplit('`').next());
        if let (Some(code), Some(name)) = (code, name) {
            names.insert(format!("close {name} {code}"));
        }
    }
    names
}

/// The fields of a schema and the values that they may have.
fn fields(name: &str, schema: &Value, names: &mut BTreeSet<String>) {
    for value in schema["enum"].as_array().into_iter().flatten() {
        names.insert(format!("{name} = {}", value.as_str().map_or(value.to_string(), str::to_owned)));
    }
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.iter().any(|it| *it == field);
        names.insert(format!("{name}.{field}{}", if is_required { " required" } else { "" }));
        fields(&format!("{name}.{field}"), inner, names);
    }
    for part in ["allOf", "anyOf", "oneOf"] {
        schema[part].as_array().into_iter().flatten().for_each(|inner| fields(name, inner, names));
    }
    fields_of_items(name, &schema["items"], names);
}

fn fields_of_items(name: &str, items: &Value, names: &mut BTreeSet<String>) {
    if items.is_object() {
        fields(&format!("{name}[]"), items, names);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
