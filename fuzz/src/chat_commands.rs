//! Octets as a command of the chat: whatever they are, the parser says what is wrong or reads what `serde_json` reads too.

use switchboard::chat::command::{Command, Parser};
use switchboard::chat::{Code, Limits};

pub fn run(data: &[u8]) {
    let limits = Limits::default();
    let mut parser = Parser::default();
    let mut payload = data.to_vec();
    let parsed =
        parser.parse(&mut payload, &limits).map(|(id, command)| (id.into_owned(), command.into_owned()));
    let parsed = parsed.map_err(|(id, refusal)| (id.into_owned(), refusal));

    // A parser that has read something else before reads the same.
    let mut used = Parser::default();
    let mut other =
        br#"{"type":"post","id":9,"room":"r","text":"before","since":{"epoch":"e","seq":1}}"#.to_vec();
    let _ = used.parse(&mut other, &limits);
    let mut again = data.to_vec();
    let second = used.parse(&mut again, &limits).map(|(id, command)| (id.into_owned(), command.into_owned()));
    assert_eq!(second.map_err(|(id, refusal)| (id.into_owned(), refusal)), parsed);

    let naive: Option<serde_json::Value> = serde_json::from_slice(data).ok();
    match parsed {
        Ok((_, command)) => {
            let naive = naive.expect("serde_json reads it too");
            let said = |name: &str| naive[name].as_str().map(str::to_owned);
            match command {
                Command::Post { room, text, key, data, reply_to } => {
                    assert_eq!(
                        (Some(room.into_owned()), Some(text.to_string())),
                        (said("room"), said("text"))
                    );
                    assert_eq!(key.map(std::borrow::Cow::into_owned), said("key"));
                    let carried: Option<serde_json::Value> =
                        data.map(|data| serde_json::from_str(data.as_str()).expect("JSON"));
                    assert_eq!(carried.unwrap_or_default(), naive["data"]);
                    assert_eq!(reply_to, naive["reply_to"].as_u64());
                    assert!(text.len() <= limits.max_text && !text.trim().is_empty());
                }
                Command::Read { room, seq } => {
                    assert_eq!((Some(room.into_owned()), Some(seq)), (said("room"), naive["seq"].as_u64()));
                }
                _ => {}
            }
        }
        Err((_, refusal)) => {
            assert!(refusal.code != Code::BadField || refusal.field.is_some());
            if naive.is_none() {
                assert!(matches!(
                    refusal.code,
                    Code::BadJson | Code::BadField | Code::UnknownType | Code::TooLong
                ));
            }
        }
    }
}
