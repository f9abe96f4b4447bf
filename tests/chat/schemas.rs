//! `asyncapi.json` and the server agree: whatever any test here is told is what the schema of its type says, and the server takes
//! the commands that the schemas allow, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use switchboard::chat::command::Parser;
use switchboard::chat::{Code, Limits};

use crate::world::{Call, World, options};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(include_str!("../../src/api/asyncapi.json")).unwrap())
}

fn validator(schema: &str) -> Validator {
    let reference = format!("#/components/schemas/{schema}");
    let schema = json!({ "components": document()["components"], "$ref": reference });
    jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&schema).unwrap()
}

/// The names of messages whose keys end in this, with their keys.
fn messages(end: &str) -> BTreeMap<String, String> {
    let all = document()["components"]["messages"].as_object().unwrap();
    let of_kind = all.iter().filter(|(key, _)| key.ends_with(end));
    of_kind.map(|(key, message)| (message["name"].as_str().unwrap().to_owned(), key.clone())).collect()
}

/// A message of the server is what its schema says; the subprotocol `json` has no types.
#[track_caller]
pub(crate) fn check(text: &str) {
    static VALIDATORS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let said = messages("Answer").into_iter().chain(messages("Event"));
        said.map(|(name, key)| (name, validator(&key))).collect()
    });
    let message: Value = serde_json::from_str(text).unwrap();
    let Some(kind) = message["type"].as_str() else { return };
    let known = validators.get(kind).unwrap_or_else(|| panic!("no schema of {kind}: {text}"));
    if let Err(error) = known.validate(&message) {
        panic!("{error} at {}: {text}", error.instance_path());
    }
}

fn commands() -> BTreeMap<String, (Value, Validator)> {
    let schemas = &document()["components"]["schemas"];
    messages("Command")
        .into_iter()
        .map(|(name, key)| (name, (schemas[&key].clone(), validator(&key))))
        .collect()
}

/// What the server's parser says of a command.
fn parse(command: &Value) -> Result<(), (Code, Option<&'static str>)> {
    let mut payload = command.to_string().into_bytes();
    let mut parser = Parser::default();
    match parser.parse(&mut payload, &Limits::default()) {
        Ok(_) => Ok(()),
        Err((_, refusal)) => Err((refusal.code, refusal.field)),
    }
}

#[test]
fn the_document_has_the_commands_of_the_protocol_and_the_server_knows_them() {
    let page = include_str!("../../docs/chat-protocol.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Commands\n")).unwrap();
    let mut documented = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with("- `")) {
        // An entry may name two: `subscribe` … and `unsubscribe` ….
        for part in line.split(", `unsubscribe").enumerate() {
            let name = if part.0 == 1 { "unsubscribe" } else { part.1[3..].split('`').next().unwrap() };
            documented.insert(name.to_owned());
        }
    }
    let known: BTreeSet<String> = commands().into_keys().collect();
    assert_eq!(known, documented);
    for name in &known {
        let answer = parse(&json!({ "type": name }));
        assert!(!matches!(answer, Err((Code::UnknownType, _))), "{name}");
    }
    assert_eq!(parse(&json!({"type": "sing"})), Err((Code::UnknownType, Some("type"))));
    // Each is an operation, and each answer is the reply to one.
    let operations = document()["operations"].as_object().unwrap();
    assert_eq!(operations.len(), known.len() + 1, "{:?}", operations.keys());
    let replies: BTreeSet<&str> = operations
        .values()
        .flat_map(|operation| operation["reply"]["messages"].as_array().into_iter().flatten())
        .map(|message| message["$ref"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(replies, messages("Answer").values().map(String::as_str).collect());
}

#[test]
fn the_server_takes_what_the_schema_of_a_command_allows_and_nothing_else() {
    let values = [
        json!(null),
        json!(true),
        json!(5),
        json!(-1),
        json!(1.5),
        json!(1_u64 << 53),
        json!(""),
        json!("x"),
        json!([]),
        json!(["client"]),
        json!(["seq"]),
        json!([1]),
        json!({}),
        json!({"epoch": "e", "seq": 1}),
        json!({"epoch": 1, "seq": 1}),
        json!({"epoch": "e", "seq": "1"}),
        json!({"epoch": "e", "seq": 1, "rev": true}),
        json!("x".repeat(65)),
        json!("x".repeat(66)),
        json!("x".repeat(257)),
        json!("x".repeat(513)),
        json!("x".repeat(8193)),
    ];
    let mut compared = 0;
    for (name, (schema, validator)) in commands() {
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty());
        for example in examples {
            assert!(
                validator.is_valid(example) && parse(example) == Ok(()),
                "{example}: {:?}",
                parse(example)
            );
            for field in schema["properties"].as_object().unwrap().keys().filter(|field| *field != "type") {
                let mut changed = example.clone();
                changed.as_object_mut().unwrap().remove(field);
                assert_eq!(validator.is_valid(&changed), parse(&changed).is_ok(), "{changed}");
                for value in &values {
                    changed[field] = value.clone();
                    let taken = parse(&changed);
                    // Which texts are emoji, and how long a value is when it is written, a schema cannot say.
                    let beyond = [(Code::BadField, Some("emoji")), (Code::TooLong, Some("data"))];
                    if taken.is_err_and(|why| beyond.contains(&why)) {
                        continue;
                    }
                    assert_eq!(
                        validator.is_valid(&changed),
                        taken.is_ok(),
                        "{name} {field}: {changed} {taken:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn every_answer_and_event_is_met() {
    let limits = options().limits.with(|it| it.unread_ms = 20);
    let mut world =
        World::with(options().with(|it| it.limits = limits), None, switchboard::reactor::Config::default());
    let mut met = BTreeSet::new();
    let mod_token = "Mo:*=jpm";
    let (ada, bob, guest) = (world.connect(), world.verified("Bob"), world.person("Guest"));
    world.send(ada, &json!({"type": "hello", "token": format!("good-{mod_token}")}));
    let r = "r";
    for client in [ada, bob, guest] {
        world.send(client, &json!({"type": "join", "room": r}));
    }
    let commands = [
        json!({"type": "mine"}),
        json!({"type": "post", "room": r, "text": "one", "data": {"a": 1}}),
        json!({"type": "post", "room": r, "text": "two", "reply_to": 1}),
        json!({"type": "edit", "room": r, "seq": 1, "text": "two", "data": [1]}),
        json!({"type": "react", "room": r, "seq": 1, "emoji": "👍"}),
        json!({"type": "delete", "room": r, "seq": 1}),
        json!({"type": "history", "room": r}),
        json!({"type": "search", "room": r, "query": "two"}),
        json!({"type": "who", "room": r}),
        json!({"type": "read", "room": r, "seq": 2}),
        json!({"type": "typing", "room": r}),
        json!({"type": "rooms"}),
        json!({"type": "subscribe", "room": "other"}),
        json!({"type": "direct", "to": "Bob", "text": "psst", "data": 1}),
        json!({"type": "conversations"}),
        json!({"type": "refresh", "token": format!("good-{mod_token}")}),
        json!({"type": "ping"}),
        json!({"type": "sing"}),
        json!({"type": "kick", "room": r, "user": "Bob", "reason": "x"}),
        json!({"type": "leave", "room": r}),
        json!({"type": "ban", "user": "Guest"}),
        json!({"type": "mine"}),
    ];
    for command in commands {
        world.send(ada, &command);
        world.advance(30);
    }
    world.call(Call::Broadcast("to all".to_owned()));
    world.advance(1000);
    for client in [ada, bob, guest] {
        met.extend(
            world.take(client).into_iter().map(|message| message["type"].as_str().unwrap().to_owned()),
        );
    }
    let all: BTreeSet<String> = messages("Answer").into_keys().chain(messages("Event").into_keys()).collect();
    let unmet: Vec<&String> = all.difference(&met).collect();
    // These take a slow reader and a store that forgets: they are checked where they come, in `rooms` and `epochs`.
    assert_eq!(unmet, ["epoch", "lagged"]);
}
