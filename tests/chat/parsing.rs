//! Commands are read in place: no allocation, and the same as `serde_json` reads.

use std::borrow::Cow;

use allocation_counter::measure;
use proptest::prelude::*;
use serde_json::{Value, json};
use switchboard::chat::command::{Command, Id, Parser};
use switchboard::chat::{Code, Limits};

#[test]
fn reading_a_post_allocates_nothing() {
    let limits = Limits::default();
    let mut parser = Parser::default();
    let commands = [
        json!({"type": "post", "id": 7, "room": "general", "text": "x".repeat(46)}),
        json!({"type": "post", "id": "seven", "room": "general", "text": "\"escaped\" \u{1f44d}", "key": "k"}),
        json!({"type": "join", "room": "r", "since": {"epoch": "e", "seq": 1, "rev": 2}, "history": 50}),
        json!({"type": "typing", "room": "general"}),
        json!({"type": "post", "room": "general", "text": "x".repeat(4000)}),
    ];
    for command in commands {
        let text = command.to_string();
        let mut payloads = [text.clone().into_bytes(), text.into_bytes()];
        let [warm, measured] = &mut payloads;
        assert!(parser.parse(warm, &limits).is_ok());
        let allocations = measure(|| assert!(parser.parse(measured, &limits).is_ok()));
        assert_eq!(allocations.count_total, 0, "{command}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..100_u64).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!({"epoch": "e", "seq": 3})),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn command() -> impl Strategy<Value = Value> {
    let kind =
        prop::sample::select(vec!["post", "join", "history", "edit", "react", "who", "ban", "nonsense"]);
    let name = prop::sample::select(vec![
        "id", "room", "text", "key", "seq", "since", "user", "emoji", "limit", "data", "reply_to", "x",
    ]);
    (kind, prop::collection::btree_map(name, value(), 0..6)).prop_map(|(kind, fields)| {
        let mut command = json!(fields);
        command["type"] = json!(kind);
        command
    })
}

fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    value.as_str().map(Cow::Borrowed)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_written(command in command()) {
        let mut payload = command.to_string().into_bytes();
        let mut parser = Parser::default();
        match parser.parse(&mut payload, &Limits::default()) {
            Ok((id, parsed)) => {
                match id {
                    Id::None => prop_assert!(command["id"].is_null()),
                    Id::Number(number) => prop_assert_eq!(&command["id"], &json!(number)),
                    Id::Text(text) => prop_assert_eq!(&command["id"], &json!(text)),
                }
                match parsed {
                    Command::Post { room, text, key, data, reply_to } => {
                        let carried: Option<Value> = data.map(|data| serde_json::from_str(data.as_str()).unwrap());
                        prop_assert_eq!(carried.unwrap_or_default(), command["data"].clone());
                        prop_assert_eq!(reply_to, command["reply_to"].as_u64());
                        prop_assert_eq!(Some(room), text_of(&command["room"]));
                        prop_assert_eq!(Some(text), text_of(&command["text"]));
                        prop_assert_eq!(key, text_of(&command["key"]));
                    }
                    Command::Edit { room, seq, text, .. } => {
                        prop_assert_eq!(Some(room), text_of(&command["room"]));
                        prop_assert_eq!(Some(seq), command["seq"].as_u64());
                        prop_assert_eq!(Some(text), text_of(&command["text"]));
                    }
                    Command::History { limit, .. } => prop_assert_eq!(limit, command["limit"].as_u64()),
                    _ => {}
                }
            }
            Err((_, refusal)) if refusal.code == Code::BadField => {
                // The field that is named is missing or has something in it that it cannot have.
                let field = refusal.field.unwrap();
                prop_assert!(["id", "room", "text", "key", "seq", "since", "rev", "user", "emoji", "limit", "reply_to"].contains(&field));
            }
            Err((_, refusal)) => prop_assert!(matches!(refusal.code, Code::UnknownType | Code::TooLong), "{refusal:?}"),
        }
    }

    #[test]
    fn no_octets_are_too_strange(mut payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut parser = Parser::default();
        let parsed = parser.parse(&mut payload, &Limits::default()).is_ok();
        prop_assert!(!parsed || !payload.is_empty());
    }
}
