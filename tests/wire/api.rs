//! The HTTP API: every route and every status of `openapi.json` is met here, and each answer is what its schema says.

mod access;
mod archive;
mod messages;
mod people;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{CLOSE, Client, Launch, SOON, Scratch, Server, millis, text, wait_until};

const TOKEN: &str = "a-token-of-some-length-0123456789";

/// A server with an API, and what of its contract has been met.
struct Api {
    server: Server,
    contract: Value,
    met: BTreeSet<(String, String, String)>,
    /// What requests show.
    token: String,
    file: Scratch,
}

/// An answer of the API.
struct Answer {
    status: u16,
    body: Value,
    head: crate::support::Head,
}

impl Api {
    fn start(args: &[&str]) -> Self {
        Self::start_with(Scratch::new("api-token", format!("{TOKEN}\n").as_bytes()), TOKEN, args)
    }

    /// The same, with a file of tokens.
    fn start_with(file: Scratch, token: &str, args: &[&str]) -> Self {
        let server = Launch::serve().args(&["--api-token-file", file.path()]).args(args).start();
        let contract = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
        Self { server, contract, met: BTreeSet::new(), token: token.to_owned(), file }
    }

    /// A request as it stands in the contract: `route` is its path there, `path` the one that is asked for.
    #[track_caller]
    fn ask(&mut self, method: &str, route: &str, path: &str, body: Option<&str>) -> Answer {
        let fields = format!("Authorization: Bearer {}\r\n", self.token);
        self.ask_with(method, route, path, body, &fields)
    }

    #[track_caller]
    fn ask_with(
        &mut self,
        method: &str,
        route: &str,
        path: &str,
        body: Option<&str>,
        fields: &str,
    ) -> Answer {
        let body = body.unwrap_or_default();
        let mut client = Client::connect(self.server.addr);
        let json = if fields.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n{fields}{json}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = client.try_send(request.as_bytes());
        let (head, octets) = client.response();
        let body = self.check(method, route, &head, &octets);
        Answer { status: head.status, body, head }
    }

    /// The answer is one that the contract knows, in every detail.
    #[track_caller]
    fn check(&mut self, method: &str, route: &str, head: &crate::support::Head, octets: &[u8]) -> Value {
        let status = head.status.to_string();
        // A method that is not there is answered as any of the resource says.
        let resource = &self.contract["paths"][route];
        let operation = match &resource[method.to_lowercase()] {
            Value::Null => ["get", "post", "put", "patch", "delete"]
                .iter()
                .map(|m| &resource[*m])
                .find(|o| o.is_object())
                .unwrap(),
            operation => operation,
        };
        let mut response = &operation["responses"][&status];
        assert!(response.is_object(), "{method} {route} {status} is not in the contract: {}", head.raw);
        if let Some(reference) = response["$ref"].as_str() {
            response = self.contract.pointer(&reference[1..]).unwrap();
        }
        if let Some(headers) = response["headers"].as_object() {
            for (name, header) in headers {
                assert!(
                    header["required"] != true || head.field(&name.to_lowercase()).is_some(),
                    "{name}: {}",
                    head.raw
                );
            }
        }
        let body = match response["content"].as_object().and_then(|content| content.iter().next()) {
            None => {
                assert!(octets.is_empty(), "{status} has no body");
                Value::Null
            }
            Some((media, content)) => {
                let given = head.field("content-type").unwrap_or_default();
                assert_eq!(given.split(';').next(), Some(media.as_str()), "{}", head.raw);
                let body = if media.ends_with("/json") || media.ends_with("+json") {
                    serde_json::from_slice(octets).unwrap()
                } else {
                    Value::String(String::from_utf8(octets.to_vec()).unwrap())
                };
                let schema =
                    json!({ "components": self.contract["components"], "allOf": [content["schema"]] });
                let validator = jsonschema::validator_for(&schema).unwrap();
                if let Err(error) = validator.validate(&body) {
                    panic!("{method} {route} {status}: {error} in {body}");
                }
                body
            }
        };
        let method =
            if operation == &resource[method.to_lowercase()] { method.to_lowercase() } else { "any".into() };
        self.met.insert((route.to_owned(), method, status));
        body
    }

    /// The statuses that the contract knows and no request has met.
    fn unmet(&self) -> Vec<String> {
        let mut unmet = Vec::new();
        for (route, resource) in self.contract["paths"].as_object().unwrap() {
            for (method, operation) in
                resource.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters")
            {
                for status in operation["responses"].as_object().unwrap().keys() {
                    let method = if status == "405" { "any" } else { method };
                    if !self.met.contains(&(route.clone(), method.to_owned(), status.clone())) {
                        unmet.push(format!("{method} {route} {status}"));
                    }
                }
            }
        }
        unmet.sort();
        unmet.dedup();
        unmet
    }
}

/// A client of `chat.v1.json` in the room `lobby`.
fn member(server: &Server, user: &str) -> Client {
    let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&text(&json!({ "type": "hello", "user": user }).to_string()));
    client.send(&text(&json!({ "type": "join", "room": "lobby" }).to_string()));
    heard(&mut client, "joined");
    client
}

/// The next notice of a type; others are passed over.
#[track_caller]
fn heard(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.message();
        assert_ne!(frame.opcode, CLOSE, "a Close before {kind}: {frame:?}");
        let notice: Value = serde_json::from_slice(&frame.payload).unwrap();
        if notice["type"] == kind {
            return notice;
        }
    }
}

const POSTS: &str = "/rooms/{room}/posts";
const HISTORY: &str = "/rooms/{room}/history";
const MEMBERS: &str = "/rooms/{room}/members";
const BAN: &str = "/bans/{user}";

#[test]
fn every_route_and_status_of_the_contract() {
    let mut api = Api::start(&["--posts-per-second", "0"]);
    posts(&mut api);
    reads(&mut api);
    notices(&mut api);
    bans(&mut api);
    messages::one_by_one(&mut api);
    messages::direct(&mut api);
    archive::errors(&mut api);
    people::rooms_and_members(&mut api);
    people::users_and_connections(&mut api);
    people::figures_and_ends(&mut api);
    access::repeated_requests(&mut api);
    errors(&mut api);
    access::other_scopes_and_too_fast(&mut api);
    let answer = api.ask("POST", "/drain", "/drain", None);
    assert_eq!(answer.status, 202);
    assert_eq!(api.server.wait(SOON).code(), Some(0), "as after SIGTERM");
    // A disk that fails is met below; a history that cannot be read takes more than that.
    let unmet = api.unmet();
    let rest = |status| unmet.iter().filter(move |it| it.ends_with(status)).collect::<Vec<_>>();
    // A request that comes again while the first one is under way has a test beside the code.
    assert_eq!(rest(" 409"), ["post /broadcast 409", "post /direct 409", "post /disconnect 409"]);
    let others: Vec<_> = unmet.iter().filter(|it| !it.ends_with(" 503") && !it.ends_with(" 409")).collect();
    assert_eq!(others, Vec::<&String>::new(), "in the contract and never met");
}

fn posts(api: &mut Api) {
    let mut ada = member(&api.server, "Ada");
    let said = r#"{"user":"Robot","text":"hello <b>","key":"k1","more":1}"#;
    let first = api.ask("POST", POSTS, "/rooms/lobby/posts", Some(said));
    assert_eq!((first.status, &first.body["seq"]), (201, &json!(1)));
    let message = heard(&mut ada, "message");
    assert_eq!(
        (&message["user"], &message["text"], &message["verified"]),
        (&json!("Robot"), &json!("hello <b>"), &json!(true))
    );
    let again = api.ask("POST", POSTS, "/rooms/LOBBY/posts", Some(said));
    assert_eq!((again.status, &again.body["seq"], &again.body["duplicate"]), (200, &json!(1), &json!(true)));
    for (body, status, field) in [
        (r#"{"text":"x"}"#, 422, "user"),
        (r#"{"user":"Robot"}"#, 422, "text"),
        (r#"{"user":7,"text":"x"}"#, 422, "user"),
        (r#"{"user":"Robot","text":["x"]}"#, 422, "text"),
        (r#"{"user":"Robot","text":""}"#, 422, "text"),
        (r#"{"user":"Robot","text":"x","key":" "}"#, 422, "key"),
        (r#"{"user":"a\u0007b","text":"x"}"#, 422, "user"),
        (r#"{"user":"Robot","text":"x","reply_to":"1"}"#, 422, "reply_to"),
        (&format!(r#"{{"user":"Robot","text":"x","data":"{}"}}"#, "x".repeat(4095)), 422, "data"),
        (&format!(r#"{{"user":"Robot","text":"{}"}}"#, "x".repeat(5000)), 422, "text"),
    ] {
        let answer = api.ask("POST", POSTS, "/rooms/lobby/posts", Some(body));
        assert_eq!(
            (answer.status, answer.body["field"].as_str()),
            (status, Some(field)),
            "{body}: {}",
            answer.body
        );
    }
    let carries = r#"{"user":"Robot","text":"x","data":{ "n": 0.10 },"reply_to":1}"#;
    assert_eq!(api.ask("POST", POSTS, "/rooms/carried/posts", Some(carries)).status, 404);
    let plain = r#"{"user":"Robot","text":"x","data":null}"#;
    assert_eq!(api.ask("POST", POSTS, "/rooms/carried/posts", Some(plain)).status, 201);
    assert_eq!(api.ask("POST", POSTS, "/rooms/carried/posts", Some(carries)).status, 201);
    let history = api.ask("GET", HISTORY, "/rooms/carried/history", None);
    assert_eq!(
        (&history.body["messages"][1]["data"], &history.body["messages"][1]["reply_to"]),
        (&json!({ "n": 0.10 }), &json!(1))
    );
    assert!(history.body["messages"][0].get("data").is_none());
    for body in ["", "[]", "7", "{", r#"{"user":"Robot""#] {
        assert_eq!(api.ask("POST", POSTS, "/rooms/lobby/posts", Some(body)).status, 400, "{body:?}");
    }
    for (body, field) in [
        (r#"{"user":"Robot","text":"one","text":"two"}"#, "text"),
        (r#"{"user":"Robot","us\u0065r":"Eve","text":"x"}"#, "user"),
        (r#"{"user":"Robot","text":"x","more":{"a":[{"b":1,"b":2}]}}"#, "more.a.0.b"),
    ] {
        let answer = api.ask("POST", POSTS, "/rooms/lobby/posts", Some(body));
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!(field)), "{body}: {}", answer.body);
    }
    assert_eq!(
        api.ask("POST", POSTS, "/rooms/%40Ada/posts", Some(said)).status,
        422,
        "no conversation of two"
    );
    assert_eq!(api.ask("POST", POSTS, "/rooms/%ff/posts", Some(said)).status, 400);
    let auth = format!("Authorization: bearer {TOKEN}\r\nContent-Type: text/plain\r\n");
    assert_eq!(api.ask_with("POST", POSTS, "/rooms/lobby/posts", Some(said), &auth).status, 415);
    let long = format!(r#"{{"user":"Robot","text":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(api.ask("POST", POSTS, "/rooms/lobby/posts", Some(&long)).status, 413);
}

fn reads(api: &mut Api) {
    let _ada = member(&api.server, "Ada");
    for i in 2..=5 {
        let body = json!({ "user": "Robot", "text": format!("text {i}") }).to_string();
        assert_eq!(api.ask("POST", POSTS, "/rooms/lobby/posts", Some(&body)).body["seq"], i);
    }
    let all = api.ask("GET", HISTORY, "/rooms/lobby/history", None);
    assert_eq!((all.status, all.body["messages"].as_array().unwrap().len()), (200, 5));
    let page = api.ask("GET", HISTORY, "/rooms/lobby/history?before=4&limit=2", None);
    let seqs: Vec<&Value> = page.body["messages"].as_array().unwrap().iter().map(|m| &m["seq"]).collect();
    assert_eq!((seqs, &page.body["more"]), (vec![&json!(2), &json!(3)], &json!(true)));
    let bad = api.ask("GET", HISTORY, "/rooms/lobby/history?limit=many", None);
    assert_eq!((bad.status, &bad.body["field"]), (422, &json!("limit")));
    for query in ["limit=1&limit=2", "limit=1&before=4&l%69mit=1", "x=1&x=1"] {
        let twice = api.ask("GET", HISTORY, &format!("/rooms/lobby/history?{query}"), None);
        let field = if query.starts_with('x') { "x" } else { "limit" };
        assert_eq!((twice.status, &twice.body["field"]), (400, &json!(field)), "{query}");
    }
    assert_eq!(api.ask("GET", HISTORY, "/rooms/%ff/history", None).status, 400);
    let members = api.ask("GET", MEMBERS, "/rooms/lobby/members", None);
    assert_eq!((&members.body["count"], &members.body["members"][0]["user"]), (&json!(1), &json!("Ada")));
    assert_eq!(api.ask("GET", MEMBERS, "/rooms/a%20b/members", None).status, 422);
    assert_eq!(api.ask("GET", MEMBERS, "/rooms/%ff/members", None).status, 400);
    let rooms = api.ask("GET", "/rooms", "/rooms", None);
    let lobby = rooms.body["rooms"].as_array().unwrap().iter().find(|room| room["room"] == "lobby").unwrap();
    assert_eq!((&lobby["seq"], &lobby["members"]), (&json!(5), &json!(1)));
    assert_eq!(rooms.body["more"], false);
    for (query, status) in [("limit=0", 422), ("limit=x", 422), ("after=a&after=b", 400), ("limit=5000", 200)]
    {
        assert_eq!(api.ask("GET", "/rooms", &format!("/rooms?{query}"), None).status, status, "{query}");
    }
    let contract = api.ask("GET", "/openapi.json", "/openapi.json", None);
    assert_eq!(contract.body, api.contract);
}

fn notices(api: &mut Api) {
    let (mut ada, mut bob) = (member(&api.server, "Ada"), member(&api.server, "Bob"));
    let (mut outside, _) =
        Client::upgrade(api.server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    outside.send(&text(r#"{"type":"hello","user":"Eve"}"#));
    heard(&mut outside, "welcome");
    let all = api.ask("POST", "/broadcast", "/broadcast", Some(r#"{"text":"to all"}"#));
    assert!(all.body["receivers"].as_u64().unwrap() >= 3);
    let some =
        api.ask("POST", "/broadcast", "/broadcast", Some(r#"{"text":"to the lobby","rooms":["Lobby"]}"#));
    assert!(some.body["receivers"].as_u64().unwrap() >= 2);
    for client in [&mut ada, &mut bob] {
        assert_eq!(heard(client, "broadcast")["text"], "to all");
        assert_eq!(heard(client, "broadcast")["text"], "to the lobby");
    }
    assert_eq!(heard(&mut outside, "broadcast")["text"], "to all");
    for (body, status) in [
        (r#"{"text":"x","rooms":["nowhere"]}"#, 404),
        (r#"{"text":"x","rooms":"lobby"}"#, 422),
        (r#"{"text":""}"#, 422),
        ("no", 400),
    ] {
        assert_eq!(api.ask("POST", "/broadcast", "/broadcast", Some(body)).status, status, "{body}");
    }
    let gone = api.ask("POST", "/disconnect", "/disconnect", Some(r#"{"user":"bob","reason":"so long"}"#));
    assert_eq!(gone.body["disconnected"], 1);
    let bye = heard(&mut bob, "bye");
    assert_eq!((&bye["reason"], &bye["message"]), (&json!("disconnected"), &json!("so long")));
    assert_eq!(bob.frame().opcode, CLOSE);
    let members = api.ask("GET", MEMBERS, "/rooms/lobby/members", None);
    let ada_client = members.body["members"].as_array().unwrap().iter().find(|m| m["user"] == "Ada").unwrap()
        ["client"]
        .clone();
    let body = json!({ "client": ada_client }).to_string();
    assert_eq!(api.ask("POST", "/disconnect", "/disconnect", Some(&body)).status, 200);
    heard(&mut ada, "bye");
    for (body, status) in [
        (r#"{"user":"nobody"}"#.to_owned(), 404),
        (r#"{"client":"c0"}"#.to_owned(), 404),
        ("{}".to_owned(), 422),
        (r#"{"user":"a","client":"b"}"#.to_owned(), 422),
        (json!({ "user": "Eve", "reason": "x".repeat(124) }).to_string(), 422),
        ("{".to_owned(), 400),
    ] {
        assert_eq!(api.ask("POST", "/disconnect", "/disconnect", Some(&body)).status, status, "{body}");
    }
    let auth = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/xml\r\n");
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000));
    for route in ["/broadcast", "/disconnect"] {
        assert_eq!(api.ask_with("POST", route, route, Some("{}"), &auth).status, 415);
        assert_eq!(api.ask("POST", route, route, Some(&long)).status, 413);
    }
}

fn bans(api: &mut Api) {
    let mut mallory = member(&api.server, "Mallory");
    assert_eq!(api.ask("GET", BAN, "/bans/Mallory", None).status, 404);
    assert_eq!(api.ask("PUT", BAN, "/bans/MALLORY", Some(r#"{"seconds":60,"reason":"spam"}"#)).status, 204);
    assert_eq!(heard(&mut mallory, "bye")["reason"], "banned");
    let ban = api.ask("GET", BAN, "/bans/Mallory", None);
    assert_eq!((ban.status, &ban.body["reason"]), (200, &json!("spam")));
    assert!(ban.body["until"].is_u64());
    assert_eq!(api.ask("PUT", BAN, "/bans/Trudy", Some("{}")).status, 204);
    let all = api.ask("GET", "/bans", "/bans", None);
    assert_eq!((all.body["bans"].as_array().unwrap().len(), &all.body["more"]), (2, &json!(false)));
    let page = api.ask("GET", "/bans", "/bans?limit=1&after=mallory", None);
    assert_eq!((&page.body["bans"][0]["user"], &page.body["more"]), (&json!("trudy"), &json!(false)));
    for (query, status) in [("limit=0", 422), ("after=a&after=b", 400)] {
        assert_eq!(api.ask("GET", "/bans", &format!("/bans?{query}"), None).status, status, "{query}");
    }
    let (mut back, _) = Client::upgrade(api.server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    back.send(&text(r#"{"type":"hello","user":"mallory"}"#));
    let mut told = String::new();
    while let Ok(frame) = back.try_frame(millis(500)) {
        told.push_str(&String::from_utf8_lossy(&frame.payload));
    }
    assert!(told.contains("banned") || told.contains("forbidden"), "{told}");
    assert_eq!(api.ask("DELETE", BAN, "/bans/Mallory", None).status, 204);
    assert_eq!(api.ask("DELETE", BAN, "/bans/Mallory", None).status, 404);
    let _mallory = member(&api.server, "Mallory");
    for (body, status) in [(r#"{"seconds":-1}"#, 422), (r#"{"reason":1}"#, 422), ("[]", 400)] {
        assert_eq!(api.ask("PUT", BAN, "/bans/x", Some(body)).status, status, "{body}");
    }
    let auth = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/xml\r\n");
    assert_eq!(api.ask_with("PUT", BAN, "/bans/x", Some("{}"), &auth).status, 415);
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(api.ask("PUT", BAN, "/bans/x", Some(&long)).status, 413);
    for method in ["GET", "DELETE"] {
        assert_eq!(api.ask(method, BAN, "/bans/%ff", None).status, 400);
    }
    assert_eq!(api.ask("DELETE", BAN, "/bans/%20", None).status, 422);
}

/// A path of a route of the contract.
fn path_of(route: &str) -> String {
    let names = [
        ("{room}", "lobby"),
        ("{user}", "x"),
        ("{seq}", "1"),
        ("{emoji}", "%F0%9F%91%8D"),
        ("{client}", "c"),
    ];
    names.iter().fold(route.to_owned(), |path, (name, value)| path.replace(name, value))
}

/// The routes of the contract, with their methods.
fn routes(contract: &Value) -> Vec<(String, Vec<String>)> {
    let paths = contract["paths"].as_object().unwrap().iter();
    let methods = |resource: &Value| -> Vec<String> {
        resource.as_object().unwrap().keys().filter(|name| *name != "parameters").cloned().collect()
    };
    paths.map(|(route, resource)| (route.clone(), methods(resource))).collect()
}

fn errors(api: &mut Api) {
    for (route, methods) in routes(&api.contract) {
        let path = path_of(&route);
        for method in &methods {
            let method = method.to_uppercase();
            for fields in [
                String::new(),
                "Authorization: Bearer wrong\r\n".to_owned(),
                format!("Authorization: Basic {TOKEN}\r\n"),
                format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
                format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"),
            ] {
                assert_eq!(
                    api.ask_with(&method, &route, &path, None, &fields).status,
                    401,
                    "{method} {route} {fields}"
                );
            }
        }
        let answer = api.ask("LOCK", &route, &path, None);
        let allow = answer.head.field("allow").unwrap().to_owned();
        assert_eq!(answer.status, 405);
        for method in methods {
            assert!(allow.split(", ").any(|name| name.eq_ignore_ascii_case(&method)), "{route}: {allow}");
        }
    }
}

#[test]
fn the_description_of_the_protocol_is_served_to_anybody() {
    let described: Value = serde_json::from_str(include_str!("../../src/api/asyncapi.json")).unwrap();
    let token = Scratch::new("api-token", TOKEN.as_bytes());
    for server in [Launch::serve().start(), Launch::serve().args(&["--api-token-file", token.path()]).start()]
    {
        let (status, body) = crate::ops::get(server.addr, "/api/v1/asyncapi.json");
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, described.clone()));
        let mut client = Client::connect(server.addr);
        client.send(b"POST /api/v1/asyncapi.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = client.response();
        assert_eq!((head.status, head.field("allow")), (405, Some("GET, HEAD")));
        let (other, _) = crate::ops::get(server.addr, "/api/v1/asyncapi.jsonx");
        assert!([401, 404].contains(&other), "{other}");
    }
}

#[test]
fn st_05_what_cannot_be_kept_is_refused_and_readiness_says_why() {
    let token = Scratch::new("api-token", TOKEN.as_bytes());
    let data = Scratch::new("unused", b"");
    let data = std::path::Path::new(data.path()).with_file_name("data");
    let data = data.to_str().unwrap();
    let launch = || {
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", data, "--api-token-file", token.path()];
        Launch::switchboard(&args).args(&["--posts-per-second", "0"])
    };
    let contract: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
    let mut api = Api {
        server: launch().with_faults(&["fsync,fdatasync:error=EIO:when=12+"]).start(),
        contract,
        met: BTreeSet::new(),
        token: TOKEN.to_owned(),
        file: Scratch::new("unused", b""),
    };
    assert_eq!(crate::ops::get(api.server.addr, "/readyz").0, 200);
    let said = r#"{"user":"Robot","text":"on the disk"}"#;
    let mut acked = 0;
    assert_eq!(api.ask("PUT", BAN, "/bans/Trudy", Some("{}")).status, 204);
    let refused = loop {
        let answer = api.ask("POST", POSTS, "/rooms/lobby/posts", Some(said));
        if answer.status != 201 {
            break answer;
        }
        assert_eq!(answer.body["durable"], "disk");
        acked += 1;
        assert!(acked < 100, "the disk never failed");
    };
    assert!(acked > 0, "the fault comes too early to show anything");
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("unavailable")), "{}", refused.body);
    assert_eq!(refused.head.field("retry-after"), Some("1"));
    assert_eq!(api.ask("PUT", BAN, "/bans/Mallory", Some("{}")).status, 503);
    assert_eq!(api.ask("DELETE", BAN, "/bans/Trudy", None).status, 503);
    let (status, why) = crate::ops::get(api.server.addr, "/readyz");
    assert!(status == 503 && why.contains("the store is unavailable"), "{status} {why}");
    assert_eq!(crate::ops::get(api.server.addr, "/healthz").0, 200);
    let metrics = crate::ops::Metrics::of(api.server.addr);
    assert_eq!(metrics.value("switchboard_store_unavailable", None), 1);
    assert!(metrics.value("switchboard_chat_errors_total", Some(("code", "unavailable"))) >= 1);
    // What was acknowledged is there when the disk is well again.
    api.server.signal("KILL");
    api.server.wait(SOON);
    api.server = launch().start();
    let history = api.ask("GET", HISTORY, "/rooms/lobby/history", None);
    assert!(history.body["messages"].as_array().unwrap().len() >= acked, "{acked} acked: {}", history.body);
    assert_eq!(crate::ops::get(api.server.addr, "/readyz").0, 200);
}

#[test]
fn without_a_token_file_there_is_no_api() {
    let server = Launch::serve().start();
    let mut client = Client::connect(server.addr);
    client.send(
        format!("GET /api/v1/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(client.response().0.status, 404);
    let short = Scratch::new("token", b"hunter2\n");
    let (code, _, said) = crate::ops::run(
        &["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--api-token-file", short.path()],
        "",
    );
    assert!(code == 2 && said.contains("at least 16 characters") && said.contains(short.path()), "{said}");
}

#[test]
fn ch_17_tokens_are_in_no_log() {
    let mut api = Api::start(&["--log-format", "json"]);
    let _ = api.ask("GET", "/rooms", "/rooms", None);
    let _ = api.ask_with("GET", "/rooms", "/rooms", None, "Authorization: Bearer secret-but-wrong\r\n");
    let mut client = Client::connect(api.server.addr);
    client.send(crate::support::upgrade_request("/ws?token=secret-in-the-query", "").as_bytes());
    assert_eq!(client.head().status, 401);
    wait_until(SOON, "something is logged", || !api.server.log().is_empty());
    for line in api.server.log() {
        assert!(!line.contains(TOKEN) && !line.contains("secret"), "{line}");
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let api = Api::start(&[]);
    let mut client = Client::connect(api.server.addr);
    let auth = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    let mut requests = String::new();
    for i in 0..20 {
        let body = json!({ "user": "Robot", "text": format!("number {i}") }).to_string();
        let both = format!(
            "POST /api/v1/rooms/line/posts HTTP/1.1\r\n{auth}Content-Length: {}\r\n\r\n{body}GET /api/v1/rooms HTTP/1.1\r\n{auth}\r\n",
            body.len()
        );
        requests.push_str(&both);
    }
    client.send(requests.as_bytes());
    for i in 1..=20 {
        let (head, body) = client.response();
        let ack: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((head.status, &ack["seq"]), (201, &json!(i)), "{ack}");
        assert_eq!(client.response().0.status, 200);
    }
}

#[test]
fn rooms_on_the_disk_are_listed_after_a_restart_a_page_at_a_time() {
    let data = Scratch::new("rooms", b"");
    std::fs::remove_file(data.path()).unwrap();
    let token = Scratch::new("api-token", format!("{TOKEN}\n").as_bytes());
    let start = || {
        let args = ["serve", "--listen", "127.0.0.1:0", "--posts-per-second", "0", "--data", data.path()];
        Launch::switchboard(&args).args(&["--api-token-file", token.path()]).start()
    };
    let ask = |server: &Server, method: &str, path: &str, body: &str| -> Value {
        let mut client = Client::connect(server.addr);
        let len = body.len();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len}\r\n\r\n{body}"
        );
        client.send(request.as_bytes());
        serde_json::from_slice(&client.response().1).unwrap()
    };
    let list = |server: &Server, query: &str| {
        let page = ask(server, "GET", &format!("/rooms?{query}"), "");
        let rooms = page["rooms"].as_array().unwrap();
        let rooms: Vec<(String, u64, u64)> = rooms
            .iter()
            .map(|room| {
                (
                    room["room"].as_str().unwrap().into(),
                    room["seq"].as_u64().unwrap(),
                    room["members"].as_u64().unwrap(),
                )
            })
            .collect();
        (rooms, page["more"].as_bool().unwrap())
    };
    let mut server = start();
    for (nth, room) in ["a", "b", "éa", "9", "general", "zebra", "[x]"].iter().enumerate() {
        for _ in 0..=nth {
            let path = format!("/rooms/{}/posts", room.replace('é', "%C3%A9"));
            let posted = ask(&server, "POST", &path, r#"{"user":"Robot","text":"x"}"#);
            assert_eq!(posted["type"], "ack", "{posted}");
        }
    }
    server.signal("TERM");
    server.wait(SOON);
    let server = start();
    let _ada = member(&server, "Ada");
    let all = [
        ("9", 4, 0),
        ("[x]", 7, 0),
        ("a", 1, 0),
        ("b", 2, 0),
        ("general", 5, 0),
        ("lobby", 0, 1),
        ("zebra", 6, 0),
        ("éa", 3, 0),
    ];
    let all: Vec<(String, u64, u64)> =
        all.iter().map(|(room, seq, members)| ((*room).to_owned(), *seq, *members)).collect();
    assert_eq!(list(&server, ""), (all.clone(), false));
    let (mut paged, mut after, mut more) = (Vec::new(), String::new(), true);
    while more {
        let (page, is_more) = list(&server, &format!("limit=3&after={}", after.replace('é', "%C3%A9")));
        assert!(page.len() == 3 || !is_more, "{page:?}");
        after = page.last().unwrap().0.clone();
        paged.extend(page);
        more = is_more;
    }
    assert_eq!(paged, all);
}
