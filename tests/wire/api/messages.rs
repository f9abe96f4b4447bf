//! Messages one by one, and messages from one user to another.

use serde_json::{Value, json};

use super::{Api, HISTORY, POSTS, TOKEN, heard, member};
use crate::support::Client;

const MESSAGE: &str = "/rooms/{room}/messages/{seq}";
const REACTION: &str = "/rooms/{room}/messages/{seq}/reactions/{emoji}/{user}";
const SEARCH: &str = "/rooms/{room}/search";
const THUMB: &str = "%F0%9F%91%8D";

pub(super) fn one_by_one(api: &mut Api) {
    let mut ada = member(&api.server, "Ada");
    ada.send(&crate::support::text(
        &json!({ "type": "post", "room": "lobby", "text": "ada's own" }).to_string(),
    ));
    let hers = heard(&mut ada, "ack")["seq"].as_u64().unwrap();
    let said = r#"{"user":"Robot","text":"quarterly figures"}"#;
    let bots = api.ask("POST", POSTS, "/rooms/lobby/posts", Some(said)).body["seq"].as_u64().unwrap();
    edits(api, &mut ada, (hers, bots));
    reactions(api, &mut ada, bots);
    tags(api, bots);
    let path = |seq: u64| format!("/rooms/lobby/messages/{seq}");
    for (method, body) in [("GET", None), ("PATCH", Some(r#"{"text":"x"}"#)), ("DELETE", None)] {
        for (wrong, status) in [
            ("/rooms/lobby/messages/999", 404),
            ("/rooms/lobby/messages/x", 422),
            ("/rooms/%ff/messages/1", 400),
        ] {
            assert_eq!(api.ask(method, MESSAGE, wrong, body).status, status, "{method} {wrong}");
        }
    }
    assert_eq!(api.ask("GET", MESSAGE, "/rooms/lobby/messages/0", None).status, 404);
    let found = api.ask("GET", SEARCH, "/rooms/lobby/search?query=quarterly+FIGURES&limit=5", None);
    assert_eq!(found.status, 200);
    let found = api.ask("GET", SEARCH, "/rooms/lobby/search?query=brought", None);
    assert_eq!(found.body["messages"][0]["seq"], bots, "{}", found.body);
    for (query, status) in [
        ("", 422),
        ("query=%20", 422),
        ("query=x&query=y", 400),
        (&format!("query={}", "x".repeat(257)), 422),
    ] {
        assert_eq!(
            api.ask("GET", SEARCH, &format!("/rooms/lobby/search?{query}"), None).status,
            status,
            "{query}"
        );
    }
    assert_eq!(api.ask("DELETE", MESSAGE, &format!("{}?user=robot", path(bots)), None).status, 204);
    assert_eq!(heard(&mut ada, "deleted")["seq"], bots);
    let gone = api.ask("GET", MESSAGE, &path(bots), None);
    assert_eq!((gone.status, &gone.body["deleted"], &gone.body["text"]), (200, &json!(true), &json!("")));
    assert_eq!(api.ask("DELETE", MESSAGE, &format!("{}?user=Robot", path(hers)), None).status, 403);
    assert_eq!(api.ask("DELETE", MESSAGE, &path(hers), None).status, 204, "a moderator may");
    assert_eq!(heard(&mut ada, "deleted")["seq"], hers);
}

fn edits(api: &mut Api, ada: &mut crate::support::Client, (hers, bots): (u64, u64)) {
    let path = |seq: u64| format!("/rooms/lobby/messages/{seq}");
    let mine = r#"{"user":"robot","text":"brought forward"}"#;
    let edited = api.ask("PATCH", MESSAGE, &path(bots), Some(mine));
    assert_eq!((edited.status, &edited.body["seq"]), (200, &json!(bots)), "{}", edited.body);
    assert_eq!(heard(ada, "edited")["text"], "brought forward");
    for (seq, body, why) in [
        (hers, mine, "another user's"),
        (bots, r#"{"user":"Ada","text":"x"}"#, "in another name"),
        (hers, r#"{"user":"Ada","text":"x"}"#, "what Ada said herself is hers"),
    ] {
        let refused = api.ask("PATCH", MESSAGE, &path(seq), Some(body));
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (403, &json!("forbidden")),
            "{why}: {}",
            refused.body
        );
    }
    assert_eq!(api.ask("PATCH", MESSAGE, &path(hers), Some(r#"{"text":"by a moderator"}"#)).status, 200);
    assert_eq!(heard(ada, "edited")["text"], "by a moderator");
    assert_eq!(api.ask("GET", MESSAGE, &path(hers), None).body["text"], "by a moderator");
    for (body, status) in [("{}", 422), ("[]", 400), (r#"{"text":" "}"#, 422)] {
        assert_eq!(api.ask("PATCH", MESSAGE, &path(bots), Some(body)).status, status, "{body}");
    }
    let auth = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/xml\r\n");
    assert_eq!(api.ask_with("PATCH", MESSAGE, &path(bots), Some(mine), &auth).status, 415);
    let long = json!({ "text": "x".repeat(70_000) }).to_string();
    assert_eq!(api.ask("PATCH", MESSAGE, &path(bots), Some(&long)).status, 413);
}

fn reactions(api: &mut Api, ada: &mut crate::support::Client, seq: u64) {
    let path = |user: &str| format!("/rooms/lobby/messages/{seq}/reactions/{THUMB}/{user}");
    assert_eq!(api.ask("PUT", REACTION, &path("Robot"), None).status, 204);
    assert_eq!(heard(ada, "reacted")["user"], "Robot");
    assert_eq!(api.ask("PUT", REACTION, &path("Robot"), None).status, 204, "it is there already");
    let message = api.ask("GET", MESSAGE, &format!("/rooms/lobby/messages/{seq}"), None);
    assert_eq!(message.body["reactions"]["👍"], json!(["Robot"]), "{}", message.body);
    assert_eq!(api.ask("DELETE", REACTION, &path("Robot"), None).status, 204);
    assert_eq!(heard(ada, "reacted")["removed"], true);
    for method in ["PUT", "DELETE"] {
        for (wrong, status) in [
            (format!("/rooms/lobby/messages/999/reactions/{THUMB}/Robot"), 404),
            (format!("/rooms/lobby/messages/{seq}/reactions/x/Robot"), 422),
            (path("%ff"), 400),
        ] {
            assert_eq!(api.ask(method, REACTION, &wrong, None).status, status, "{method} {wrong}");
        }
    }
}

/// An answer that the client has already does not come again.
fn tags(api: &mut Api, seq: u64) {
    for (route, path) in [
        (MESSAGE, format!("/rooms/lobby/messages/{seq}")),
        (HISTORY, "/rooms/lobby/history?limit=3".to_owned()),
        ("/openapi.json", "/openapi.json".to_owned()),
    ] {
        let first = api.ask("GET", route, &path, None);
        let tag = first.head.field("etag").unwrap().to_owned();
        let with = |tags: &str| format!("Authorization: Bearer {TOKEN}\r\nIf-None-Match: {tags}\r\n");
        for tags in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = api.ask_with("GET", route, &path, None, &with(&tags));
            assert_eq!((again.status, again.head.field("etag")), (304, Some(&*tag)), "{path} {tags}");
        }
        assert_eq!(api.ask_with("GET", route, &path, None, &with("\"other\"")).body, first.body);
        // `MAX_KEPT_TAGS`: a longer list is ignored.
        for (len, status) in [(1024, 304), (1025, 200)] {
            let others = "x".repeat(len - tag.len() - ", \"\"".len());
            let again = api.ask_with("GET", route, &path, None, &with(&format!("{tag}, \"{others}\"")));
            assert_eq!(again.status, status, "{len} bytes");
        }
    }
    let path = format!("/rooms/lobby/messages/{seq}");
    let before = api.ask("GET", MESSAGE, &path, None).head.field("etag").unwrap().to_owned();
    assert_eq!(api.ask("PATCH", MESSAGE, &path, Some(r#"{"text":"brought back"}"#)).status, 200);
    let after = api.ask("GET", MESSAGE, &path, None).head.field("etag").unwrap().to_owned();
    assert_ne!(before, after, "another message, another tag");
}

pub(super) fn direct(api: &mut Api) {
    let mut bob = member(&api.server, "Bob");
    let said = r#"{"user":"Robot","to":"bob","text":"for you","key":"d1"}"#;
    let sent = api.ask("POST", "/direct", "/direct", Some(said));
    assert_eq!((sent.status, &sent.body["room"]), (201, &json!("@Bob")), "{}", sent.body);
    let came = heard(&mut bob, "direct");
    assert_eq!(
        (&came["from"], &came["text"], &came["verified"]),
        (&json!("Robot"), &json!("for you"), &json!(true))
    );
    repeated(api);
    for (body, status, field) in [
        (r#"{"user":"Robot","text":"x"}"#, 422, "to"),
        (r#"{"to":"bob","text":"x"}"#, 422, "user"),
        (r#"{"user":"Robot","to":"bob"}"#, 422, "text"),
        (r#"{"user":"Robot","to":"nobody-at-all","text":"x"}"#, 404, "to"),
    ] {
        let refused = api.ask("POST", "/direct", "/direct", Some(body));
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (status, &json!(field)),
            "{body}: {}",
            refused.body
        );
    }
    assert_eq!(api.ask("POST", "/direct", "/direct", Some("[]")).status, 400);
    let auth = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/xml\r\n");
    assert_eq!(api.ask_with("POST", "/direct", "/direct", Some(said), &auth).status, 415);
    let long = json!({ "user": "Robot", "to": "bob", "text": "x".repeat(70_000) }).to_string();
    assert_eq!(api.ask("POST", "/direct", "/direct", Some(&long)).status, 413);
    let key = format!("Authorization: Bearer {TOKEN}\r\nIdempotency-Key: of-a-direct-message\r\n");
    let said = r#"{"user":"Robot","to":"bob","text":"once"}"#;
    let first = api.ask_with("POST", "/direct", "/direct", Some(said), &key);
    let again = api.ask_with("POST", "/direct", "/direct", Some(said), &key);
    assert_eq!(
        (again.head.field("idempotency-replayed"), again.body),
        (Some("true"), first.body),
        "on any loop"
    );
    let key = format!("Authorization: Bearer {TOKEN}\r\nIdempotency-Key: in-the-head\r\n");
    let said = r#"{"user":"Robot","text":"once"}"#;
    let first = api.ask_with("POST", POSTS, "/rooms/lobby/posts", Some(said), &key);
    let again = api.ask_with("POST", POSTS, "/rooms/lobby/posts", Some(said), &key);
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!((&first.body["seq"], &again.body["duplicate"]), (&again.body["seq"], &Value::Bool(true)));
    let other = r#"{"user":"Robot","text":"once","key":"another"}"#;
    let refused = api.ask_with("POST", POSTS, "/rooms/lobby/posts", Some(other), &key);
    assert_eq!((refused.status, &refused.body["field"]), (422, &json!("key")));
}

/// What a guest is told is kept on the loop of the connection that told it: the `key` holds there.
fn repeated(api: &mut Api) {
    let said = r#"{"user":"Robot","to":"bob","text":"again","key":"d2"}"#;
    let request = format!(
        "POST /api/v1/direct HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{said}",
        said.len()
    );
    let mut client = Client::connect(api.server.addr);
    for (status, duplicate) in [(201, Value::Null), (200, json!(true))] {
        client.send(request.as_bytes());
        let (head, octets) = client.response();
        let body = api.check("POST", "/direct", &head, &octets);
        assert_eq!((head.status, &body["duplicate"]), (status, &duplicate));
    }
}
