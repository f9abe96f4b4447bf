//! Exports over HTTP: what they hold is what the history holds, and a new server takes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Api, TOKEN};
use crate::ops::run;
use crate::support::{Client, Launch, SOON, Scratch, Server};

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
}
