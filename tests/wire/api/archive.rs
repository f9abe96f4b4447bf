//! Exports over HTTP: what they hold is what the history holds, and a new server takes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Api, TOKEN};
use crate::ops::run;
use crate::support::{Client, Launch, SOON, Scratch, Server, wait_until};

const EXPORT: &str = "/rooms/{room}/export";

/// An answer of a server: status, head and body.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> (crate::support::Head, String) {
    let mut client = Client::connect(server.addr);
    let len = body.len();
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    client.send(request.as_bytes());
    let (head, body) = client.response();
    (head, String::from_utf8(body).unwrap())
}

/// All pages of an export; each has at most `limit` messages.
fn export(server: &Server, path: &str, limit: usize) -> String {
    let (mut text, mut place) = (String::new(), format!("?limit={limit}"));
    for _ in 0..10_000 {
        let (head, page) = ask(server, "GET", &format!("{path}{place}"), "");
        assert_eq!((head.status, head.field("content-type")), (200, Some("application/x-ndjson")), "{page}");
        assert!(page.lines().count() <= limit, "{page}");
        text.push_str(&page);
        let Some(link) = head.field("link") else { return text };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        next.clone_into(&mut place);
    }
    panic!("{path} has no end")
}

/// The messages of an archive by room and number, without what only some archives have.
fn messages(archive: &str) -> BTreeMap<(String, u64), Value> {
    let lines = archive.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found = BTreeMap::new();
    for mut message in lines {
        let place = (message["room"].as_str().unwrap().to_owned(), message["seq"].as_u64().unwrap());
        message.as_object_mut().unwrap().remove("key");
        assert_eq!(found.insert(place, message), None, "a message comes once");
    }
    found
}

pub(super) fn errors(api: &mut Api) {
    let some = api.ask("GET", EXPORT, "/rooms/lobby/export?limit=1", None);
    assert_eq!((some.status, some.body.as_str().unwrap().lines().count()), (200, 1));
    assert_eq!(api.ask("GET", EXPORT, "/rooms/nothing-was-said/export", None).body, "");
    assert_eq!(api.ask("GET", "/export", "/export", None).status, 200);
    imports(api);
    for (query, status) in [("after=x", 422), ("limit=many", 422), ("limit=1&limit=1", 400)] {
        assert_eq!(api.ask("GET", EXPORT, &format!("/rooms/lobby/export?{query}"), None).status, status);
        assert_eq!(api.ask("GET", "/export", &format!("/export?{query}"), None).status, status);
    }
}

#[test]
fn an_export_over_http_is_that_of_the_command_and_a_new_server_takes_it() {
    let token = Scratch::new("api-token", format!("{TOKEN}\n").as_bytes());
    let place = |name| {
        let data = Scratch::new(name, b"");
        std::fs::remove_file(data.path()).unwrap();
        data
    };
    let (data, copy) = (place("data"), place("copy"));
    let start = |data: &Scratch| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--posts-per-second", "0", "--data", data.path()];
        Launch::switchboard(&args).args(&["--api-token-file", token.path()]).start()
    };
    let mut server = start(&data);
    for (room, count) in [("a", 1), ("lobby", 230), ("mélange", 3), ("zz", 7)] {
        for nth in 1..=count {
            let path = format!("/rooms/{}/posts", room.replace('é', "%C3%A9"));
            let body = json!({ "user": format!("User {}", nth % 3), "text": format!("text {nth}\n\"<é>\"") });
            assert_eq!(ask(&server, "POST", &path, &body.to_string()).0.status, 201);
        }
    }
    let thumb = "%F0%9F%91%8D";
    assert_eq!(
        ask(&server, "PUT", &format!("/rooms/lobby/messages/2/reactions/{thumb}/Ada"), "").0.status,
        204
    );
    assert_eq!(ask(&server, "PATCH", "/rooms/lobby/messages/3", r#"{"text":"edited"}"#).0.status, 200);
    assert_eq!(ask(&server, "DELETE", "/rooms/lobby/messages/4", "").0.status, 204);
    // Of several loops the one that is asked may hear of a change a moment later than the one that made it.
    wait_until(SOON, "every loop knows of the deletion", || {
        let is_deleted = |archive: &str| messages(archive)[&("lobby".to_owned(), 4)]["deleted"] == true;
        (0..8).all(|_| is_deleted(&export(&server, "/rooms/lobby/export", 1000)))
    });
    let whole = export(&server, "/export", 50);
    assert_eq!(messages(&whole), messages(&export(&server, "/export", 1000)), "in pages of any length");
    let lobby = export(&server, "/rooms/lobby/export", 99);
    assert_eq!(messages(&lobby).len(), 230);
    assert_eq!(
        messages(&lobby),
        messages(&whole).into_iter().filter(|((room, _), _)| room == "lobby").collect()
    );
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
    let (code, archive, said) = run(&["export", "--data", data.path(), "--all"], "");
    assert_eq!(code, 0, "{said}");
    assert_eq!(messages(&archive), messages(&whole));
    let (code, _, said) = run(&["import", "--data", copy.path()], &whole);
    assert_eq!(code, 0, "{said}");
    assert_eq!(messages(&export(&start(&copy), "/export", 1000)), messages(&whole));
    over_http(&start(&place("live")), &whole);
}

/// A server at work takes an archive in, part by part, and whoever is in a room sees it.
fn over_http(server: &Server, whole: &str) {
    let mut ada = super::member(server, "Ada");
    let lines: Vec<&str> = whole.lines().collect();
    let import = |lines: &[&str]| {
        let (head, body) = ask(server, "POST", "/import", &lines.join("\n"));
        (head.status, serde_json::from_str::<Value>(&body).unwrap())
    };
    for part in lines.chunks(100) {
        let (status, body) = import(part);
        assert_eq!((status, body), (200, json!({ "imported": part.len(), "known": 0 })));
    }
    assert_eq!(super::heard(&mut ada, "message")["seq"], 1);
    assert_eq!(super::heard(&mut ada, "reacted")["seq"], 2);
    assert_eq!(super::heard(&mut ada, "edited")["text"], "edited");
    assert_eq!(super::heard(&mut ada, "deleted")["seq"], 4);
    assert_eq!(messages(&export(server, "/export", 1000)), messages(whole));
    assert_eq!(import(&lines[..50]), (200, json!({ "imported": 0, "known": 50 })), "again");
    let message = |room: &str, seq: u64, user: &str| {
        json!({ "room": room, "seq": seq, "time": 1_700_000_000_000u64, "user": user, "text": "x" })
            .to_string()
    };
    for (line, why) in [
        (message("a", 1, "Somebody Else"), "another message has this number"),
        (message("a", 3, "Ada"), "must be number 2"),
        (message("new", 2, "Ada"), "must be number 1"),
        (message("new", 0, "Ada"), "must be number 1"),
    ] {
        let (status, body) = import(&[&line]);
        let detail = body["detail"].as_str().unwrap();
        assert!(status == 422 && body["field"] == "seq" && detail.contains(why), "{line}: {body}");
    }
    let (status, body) = import(&[&message("b", 1, "Ada"), &message("b", 3, "Ada"), &message("b", 2, "Ada")]);
    assert_eq!(status, 422);
    assert!(body["detail"].as_str().unwrap().starts_with("2 messages were imported"), "{body}");
    // What is said afterwards goes on behind the archive, and all of it is found.
    let said = ask(server, "POST", "/rooms/a/posts", r#"{"user":"Robot","text":"and then"}"#).1;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["seq"], 2);
    wait_until(SOON, "what was imported is found", || {
        let found = ask(server, "GET", "/rooms/lobby/search?query=text+200", "").1;
        serde_json::from_str::<Value>(&found).unwrap()["messages"][0]["seq"] == 200
    });
}

/// What a history in memory says, and what is no archive.
fn imports(api: &mut Api) {
    let line = r#"{"room":"taken-in","seq":1,"time":1700000000000,"user":"Ada","text":"x"}"#;
    let nd = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/x-ndjson\r\n");
    let mut import = |body: &str| api.ask_with("POST", "/import", "/import", Some(body), &nd);
    let none = import("\n \n");
    assert_eq!((none.status, &none.body["imported"]), (200, &json!(0)));
    let memory = import(line);
    assert_eq!((memory.status, &memory.body["field"]), (422, &json!("room")), "{}", memory.body);
    let pair = line.replace("taken-in", "@ada\\nben");
    for (body, why) in
        [(format!("{line}\n{{}}"), "line 2"), (pair, "conversation of two"), ("[]".to_owned(), "line 1")]
    {
        let refused = import(&body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(refused.status == 422 && detail.contains(why), "{body}: {detail}");
    }
    assert_eq!(import(&"x".repeat(70_000)).status, 413);
    assert_eq!(api.ask("POST", "/import", "/import", Some(line)).status, 415);
    assert_eq!(api.ask_with("POST", "/import", "/import?a=1&a=1", Some(line), &nd).status, 400);
}
