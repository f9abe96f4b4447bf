//! Who is connected, who is in which room, and how connections ended.

use serde_json::{Value, json};

use super::{Api, MEMBERS, heard, member, path_of};
use crate::support::{CLOSE, Client, SOON, wait_until};

const MEMBER: &str = "/rooms/{room}/members/{user}";

/// All elements of a list, over all of its pages.
fn all(api: &mut Api, route: &str, path: &str, list: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), None::<String>);
    for _ in 0..1000 {
        let glue = if path.contains('?') { '&' } else { '?' };
        let after = next.map_or(String::new(), |next| format!("{glue}after={next}"));
        let page = api.ask("GET", route, &format!("{path}{after}"), None);
        assert_eq!(page.status, 200, "{}", page.body);
        found.extend(page.body[list].as_array().unwrap().iter().cloned());
        match page.body["next"].as_str() {
            Some(place) => next = Some(place.to_owned()),
            None => return found,
        }
    }
    panic!("{path} has no end")
}

pub(super) fn rooms_and_members(api: &mut Api) {
    let mut clients: Vec<Client> = (0..7).map(|nth| member(&api.server, &format!("Member {nth}"))).collect();
    let members = all(api, MEMBERS, "/rooms/lobby/members?limit=2", "members");
    let mut names: Vec<&str> = members.iter().map(|it| it["user"].as_str().unwrap()).collect();
    names.sort_unstable();
    let expected: Vec<String> = (0..7).map(|nth| format!("Member {nth}")).collect();
    assert_eq!(names, expected, "each once, over several pages");
    let page = api.ask("GET", MEMBERS, "/rooms/lobby/members?limit=1", None);
    assert_eq!(page.body["count"], 7);
    let nobody = all(api, MEMBERS, "/rooms/nobody-is-here/members?limit=5", "members");
    assert_eq!(nobody, Vec::<Value>::new());
    for (query, status) in [("after=x", 422), ("limit=0", 422), ("limit=1&limit=2", 400)] {
        assert_eq!(api.ask("GET", MEMBERS, &format!("/rooms/lobby/members?{query}"), None).status, status);
    }
    let rooms = api.ask("GET", "/rooms", "/rooms", None);
    let lobby = rooms.body["rooms"].as_array().unwrap().iter().find(|room| room["room"] == "lobby").unwrap();
    assert!(lobby["time"].as_u64().unwrap() > 1_600_000_000_000, "{lobby}");
    assert_eq!(api.ask("DELETE", MEMBER, "/rooms/LOBBY/members/member%203?reason=enough", None).status, 204);
    let kicked = heard(&mut clients[3], "kicked");
    assert_eq!((&kicked["room"], &kicked["reason"]), (&json!("lobby"), &json!("enough")));
    for (path, status) in [
        ("/rooms/lobby/members/member%203".to_owned(), 404),
        ("/rooms/lobby/members/%ff".to_owned(), 400),
        (format!("/rooms/lobby/members/x?reason={}", "x".repeat(257)), 422),
    ] {
        assert_eq!(api.ask("DELETE", MEMBER, &path, None).status, status, "{path}");
    }
}

pub(super) fn users_and_connections(api: &mut Api) {
    // Connections of earlier tests go in their own time.
    let mut clients: Vec<Client> =
        (0..5).map(|nth| member(&api.server, &format!("Guest {}", nth / 2))).collect();
    let users = all(api, "/users", "/users?prefix=GUEST&limit=1", "users");
    let mut counts: Vec<(String, u64)> = users
        .iter()
        .map(|it| (it["user"].as_str().unwrap().to_owned(), it["connections"].as_u64().unwrap()))
        .collect();
    counts.sort();
    let expected: Vec<(String, u64)> =
        [("Guest 0", 2), ("Guest 1", 2), ("Guest 2", 1)].map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(counts, expected, "each user once, whatever loops their connections are on");
    let guest = api.ask("GET", "/users/{user}", "/users/guest%200", None);
    let connections = guest.body["connections"].as_array().unwrap();
    assert_eq!((connections.len(), &guest.body["user"]), (2, &json!("Guest 0")));
    assert_eq!(
        (&connections[0]["rooms"], &connections[0]["address"]),
        (&json!(["lobby"]), &json!("127.0.0.1"))
    );
    for (path, status) in [("/users/nobody", 404), ("/users/%20", 422), ("/users/%ff", 400)] {
        assert_eq!(api.ask("GET", "/users/{user}", path, None).status, status, "{path}");
    }
    let rooms = api.ask("GET", "/users/{user}/rooms", "/users/guest%200/rooms", None);
    assert_eq!((rooms.status, &rooms.body["rooms"]), (200, &json!([])), "nothing is remembered for a guest");
    for (path, status) in [
        ("/users/%20/rooms", 422),
        ("/users/%ff/rooms", 400),
        ("/users/x/rooms?limit=x", 422),
        ("/users/x/rooms?page=x", 422),
    ] {
        assert_eq!(api.ask("GET", "/users/{user}/rooms", path, None).status, status, "{path}");
    }
    let found = all(api, "/connections", "/connections?search=guest&limit=2", "connections");
    let mut ids: Vec<&str> = found.iter().map(|it| it["client"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each once");
    assert!(all(api, "/connections", "/connections?search=127.0.0.", "connections").len() >= 5);
    assert_eq!(all(api, "/connections", "/connections?search=10.9.8.", "connections").len(), 0);
    let last =
        found.iter().find(|it| it["user"] == "Guest 2").unwrap()["client"].as_str().unwrap().to_owned();
    assert_eq!(all(api, "/connections", &format!("/connections?search={last}"), "connections").len(), 1);
    for query in ["after=0", "after=0.x", "after=64.0", "limit=0", "limit=x"] {
        for route in ["/users", "/connections"] {
            assert_eq!(
                api.ask("GET", route, &format!("{route}?{query}"), None).status,
                422,
                "{route} {query}"
            );
        }
    }
    for route in ["/users", "/connections"] {
        assert_eq!(api.ask("GET", route, &format!("{route}?limit=1&limit=1"), None).status, 400);
    }
    let end = |api: &mut Api, path: &str| api.ask("DELETE", "/connections/{client}", path, None);
    assert_eq!(end(api, &format!("/connections/{last}?reason={}", "x".repeat(124))).status, 422);
    assert_eq!(end(api, &format!("/connections/{last}?reason=so+long")).body["disconnected"], 1);
    assert_eq!(heard(&mut clients[4], "bye")["reason"], "disconnected");
    assert_eq!(clients[4].frame().opcode, CLOSE);
    assert_eq!(end(api, &format!("/connections/{last}")).status, 404);
    assert_eq!(end(api, "/connections/%ff").status, 400);
}

pub(super) fn figures_and_ends(api: &mut Api) {
    let before = api.ask("GET", "/stats", "/stats", None).body;
    assert_eq!(before["loops"], std::env::var("SWITCHBOARD_TEST_THREADS").map_or(1, |n| n.parse().unwrap()));
    let body = r#"{"user":"Robot","text":"one more"}"#;
    assert_eq!(api.ask("POST", super::POSTS, "/rooms/lobby/posts", Some(body)).status, 201);
    let after = api.ask("GET", "/stats", "/stats", None).body;
    assert_eq!(after["posts"].as_u64(), before["posts"].as_u64().map(|posts| posts + 1));
    assert_eq!(api.ask("GET", "/stats", "/stats?x=1&x=2", None).status, 400);
    let last =
        |api: &mut Api| api.ask("GET", "/closes", "/closes?limit=1", None).body["last"].as_u64().unwrap();
    let known = last(api);
    drop(member(&api.server, "Leaver"));
    let path = format!("/closes?after={known}&limit=200");
    let mut closes = Value::Null;
    wait_until(SOON, "the end of the connection is told", || {
        closes = api.ask("GET", "/closes", &path, None).body["closes"].clone();
        closes.as_array().unwrap().iter().any(|close| close["user"] == "Leaver")
    });
    let close = closes.as_array().unwrap().iter().find(|close| close["user"] == "Leaver").unwrap();
    assert_eq!((&close["kind"], &close["address"]), (&json!("disconnected"), &json!("127.0.0.1")));
    let known = last(api);
    let mut sent_away = member(&api.server, "Sent Away");
    let body = r#"{"user":"sent away","reason":"for a reason"}"#;
    assert_eq!(api.ask("POST", "/disconnect", "/disconnect", Some(body)).status, 200);
    heard(&mut sent_away, "bye");
    drop(sent_away);
    let path = format!("/closes?after={known}&limit=200");
    wait_until(SOON, "the end of the connection is told", || {
        closes = api.ask("GET", "/closes", &path, None).body["closes"].clone();
        closes
            .as_array()
            .unwrap()
            .iter()
            .any(|close| close["user"] == "Sent Away" && close["reason"] == "for a reason")
    });
    let numbers: Vec<u64> =
        closes.as_array().unwrap().iter().map(|it| it["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().zip(known + 1..).all(|(number, expected)| *number == expected), "{numbers:?}");
    // `MAX_CLOSES_LISTED`
    let known = last(api);
    for _ in 0..201 {
        drop(member(&api.server, "Leaver"));
    }
    wait_until(SOON, "all ends are told", || last(api) >= known + 201);
    closes =
        api.ask("GET", "/closes", &format!("/closes?after={known}&limit=1000"), None).body["closes"].clone();
    assert_eq!(closes.as_array().unwrap().len(), 200);
    for (query, status) in [("limit=0", 422), ("after=x", 422), ("limit=1&limit=1", 400)] {
        assert_eq!(api.ask("GET", "/closes", &format!("/closes?{query}"), None).status, status);
    }
    assert_eq!(path_of("/users/{user}"), "/users/x");
}
