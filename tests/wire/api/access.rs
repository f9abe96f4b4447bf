//! Tokens with scopes, requests that come again, too many requests, and pages of other origins.

use serde_json::{Value, json};

use super::{Api, POSTS, TOKEN, heard, member, path_of, routes};
use crate::ops::run;
use crate::support::{Client, SOON, Scratch, wait_until};

/// Makes a token in a file, as an operator does.
fn create(file: &Scratch, name: &str, args: &[&str]) -> String {
    let all = [&["token", "api-create", "--file", file.path(), "--name", name], args].concat();
    let (code, secret, said) = run(&all, "");
    assert_eq!(code, 0, "{said}");
    secret.trim().to_owned()
}

/// A file that is not there yet.
fn no_file() -> Scratch {
    let file = Scratch::new("api-tokens", b"");
    std::fs::remove_file(file.path()).unwrap();
    file
}

/// Every operation is refused to a token without its scope, and to one that is used too often.
pub(super) fn other_scopes_and_too_fast(api: &mut Api) {
    let file = no_file();
    let reader = create(&file, "reader", &["--scope", "read"]);
    let others = create(&file, "others", &["--scope", "post,moderate", "--scope", "operate"]);
    let mut second = Api::start_with(file, &reader, &[]);
    let contract = second.contract.clone();
    for (route, methods) in routes(&contract) {
        for method in methods {
            let scope = contract["paths"][&route][&method]["x-scope"].as_str();
            let Some(scope) = scope else {
                assert_eq!(route, "/openapi.json", "every other operation takes a scope");
                continue;
            };
            second.token = if scope == "read" { others.clone() } else { reader.clone() };
            let refused =
                second.ask(&method.to_uppercase(), &route, &path_of(&route), Some(r#"{"text":"x"}"#));
            let lacks = refused.body["scope"].as_str().unwrap_or_default();
            assert!(
                refused.status == 403 && scope.split(" or ").any(|it| it == lacks),
                "{method} {route}: {}",
                refused.body
            );
            let challenge = refused.head.field("www-authenticate").unwrap();
            assert_eq!(challenge, format!("Bearer error=\"insufficient_scope\", scope=\"{lacks}\""));
        }
    }
    api.met.extend(second.met);
    let mut third = Api::start(&["--api-requests-per-second", "1"]);
    let mut answers = (0..10).map(|_| third.ask("GET", "/openapi.json", "/openapi.json", None).status);
    assert!(answers.any(|status| status == 429));
    for (route, methods) in routes(&contract) {
        for method in methods {
            // A second may pass meanwhile, in which there is a token.
            let method = method.to_uppercase();
            let answer = |third: &mut Api| third.ask(&method, &route, &path_of(&route), Some("{}"));
            if method == "POST" && route == "/drain" {
                third.ask("GET", "/openapi.json", "/openapi.json", None);
            }
            let refused = (0..10).map(|_| answer(&mut third)).find(|it| it.status == 429).unwrap();
            assert_eq!(refused.body["code"], "rate_limited");
            assert_eq!(refused.head.field("retry-after"), Some("1"), "{method} {route}");
        }
    }
    api.met.extend(third.met);
}

#[test]
fn tokens_are_revoked_and_expire_and_the_file_has_no_secret() {
    let file = no_file();
    let bot = create(&file, "bot", &["--scope", "read,post"]);
    let short = create(&file, "short", &["--scope", "read", "--expires", "0s"]);
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(!text.contains(&bot) && !text.contains(&short) && text.contains("name = \"bot\""), "{text}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file.path()).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let (code, _, said) =
        run(&["token", "api-create", "--file", file.path(), "--name", "bot", "--scope", "read"], "");
    assert!(code == 2 && said.contains("stands twice"), "{said}");
    // `MAX_TOKEN_NAME`
    create(&Scratch::new("api-tokens", b""), &"n".repeat(64), &["--scope", "read"]);
    let long = "n".repeat(65);
    let (code, _, said) =
        run(&["token", "api-create", "--file", file.path(), "--name", &long, "--scope", "read"], "");
    assert!(code == 2 && said.contains("1 to 64 letters"), "{said}");
    let (code, ..) =
        run(&["token", "api-create", "--file", file.path(), "--name", "x", "--scope", "root"], "");
    assert_eq!(code, 2);
    let mut api = Api::start_with(file, &bot, &[]);
    assert_eq!(api.ask("GET", "/rooms", "/rooms", None).status, 200);
    api.token = short;
    assert_eq!(api.ask("GET", "/rooms", "/rooms", None).status, 401, "it has expired");
    // Another token is added, and the first one taken out.
    let other = Scratch::new("api-tokens", b"");
    let moderator = create(&other, "moderator", &["--scope", "moderate"]);
    std::fs::copy(other.path(), api.file.path()).unwrap();
    api.token = moderator;
    assert_eq!(api.ask("GET", "/bans", "/bans", None).status, 401, "the file has not been read again");
    api.server.signal("HUP");
    wait_until(SOON, "the file is read again", || api.ask("GET", "/bans", "/bans", None).status == 200);
    api.token = bot;
    assert_eq!(api.ask("GET", "/rooms", "/rooms", None).status, 401, "it is revoked");
    // A file that cannot be read changes nothing.
    std::fs::write(api.file.path(), "[[token]]\nname = 7\n").unwrap();
    api.server.signal("HUP");
    wait_until(SOON, "the fault is in the log", || {
        api.ask("GET", "/rooms", "/rooms", None);
        api.server.log().iter().any(|line| line.contains("the tokens of the API stay as they were"))
    });
    assert!(api.server.log().iter().all(|line| !line.contains("sbapi_")), "no secret is in the log");
}

#[test]
fn a_file_of_one_secret_is_not_made_a_list() {
    let file = Scratch::new("api-token", format!("{TOKEN}\n").as_bytes());
    let (code, _, said) =
        run(&["token", "api-create", "--file", file.path(), "--name", "x", "--scope", "read"], "");
    assert!(code == 2 && said.contains("one token that may do everything"), "{said}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("{TOKEN}\n"));
}

/// A request with a key is done once.
pub(super) fn repeated_requests(api: &mut Api) {
    let mut ada = member(&api.server, "Ada");
    let with = |key: &str| format!("Authorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n");
    let once = r#"{"text":"only once"}"#;
    let first = api.ask_with("POST", "/broadcast", "/broadcast", Some(once), &with("b1"));
    let again = api.ask_with("POST", "/broadcast", "/broadcast", Some(once), &with("b1"));
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(
        (first.head.field("idempotency-replayed"), again.head.field("idempotency-replayed")),
        (None, Some("true"))
    );
    let other = api.ask_with("POST", "/broadcast", "/broadcast", Some(r#"{"text":"else"}"#), &with("b1"));
    assert_eq!((other.status, &other.body["field"]), (422, &json!("Idempotency-Key")));
    assert_eq!(
        api.ask_with("POST", "/broadcast", "/broadcast", Some(r#"{"text":"last"}"#), &with("b2")).status,
        200
    );
    assert_eq!(heard(&mut ada, "broadcast")["text"], "only once");
    assert_eq!(heard(&mut ada, "broadcast")["text"], "last", "it was told once");
    let gone = r#"{"user":"nobody"}"#;
    assert_eq!(api.ask_with("POST", "/disconnect", "/disconnect", Some(gone), &with("d1")).status, 404);
    let ada_goes = r#"{"user":"ada"}"#;
    let end = api.ask_with("POST", "/disconnect", "/disconnect", Some(ada_goes), &with("d1"));
    assert_eq!(end.body["disconnected"], 1, "what was refused is not remembered");
    let again = api.ask_with("POST", "/disconnect", "/disconnect", Some(ada_goes), &with("d1"));
    assert_eq!(again.body["disconnected"], 1, "Ada is gone, and the answer is the first one");
    for key in ["", &"k".repeat(65)] {
        for (route, path) in [("/broadcast", "/broadcast"), (POSTS, "/rooms/lobby/posts")] {
            let body = r#"{"user":"Robot","text":"x"}"#;
            assert_eq!(api.ask_with("POST", route, path, Some(body), &with(key)).status, 422, "{key:?}");
        }
    }
}

#[test]
fn pages_of_other_origins_use_the_api_if_they_may() {
    let api = Api::start(&["--api-cors-origin", "https://app.example,http://localhost:3000"]);
    let ask = |method: &str, fields: &str| {
        let mut client = Client::connect(api.server.addr);
        let request = format!("{method} /api/v1/rooms HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        client.send(request.as_bytes());
        if method == "HEAD" { client.head() } else { client.response().0 }
    };
    let auth = format!("Authorization: Bearer {TOKEN}\r\n");
    let asks = "Access-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: authorization\r\n";
    let allowed = ask("OPTIONS", &format!("Origin: https://app.example\r\n{asks}"));
    assert_eq!(
        (allowed.status, allowed.field("access-control-allow-origin")),
        (204, Some("https://app.example"))
    );
    assert!(allowed.field("access-control-allow-methods").unwrap().contains("PATCH"));
    let fields = allowed.field("access-control-allow-headers").unwrap();
    assert!(fields.contains("Authorization") && fields.contains("Idempotency-Key"), "{fields}");
    let other = ask("OPTIONS", &format!("Origin: https://evil.example\r\n{asks}"));
    assert_eq!((other.status, other.field("access-control-allow-origin")), (204, None));
    for (origin, expected) in [
        ("https://app.example", Some("https://app.example")),
        ("http://localhost:3000", Some("http://localhost:3000")),
        ("https://app.example:8443", None),
        ("http://app.example", None),
        ("https://app.example.evil", None),
        ("null", None),
    ] {
        let answer = ask("GET", &format!("Origin: {origin}\r\n{auth}"));
        assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, expected), "{origin}");
        let refused = ask("GET", &format!("Origin: {origin}\r\n"));
        assert_eq!(
            (refused.status, refused.field("access-control-allow-origin")),
            (401, expected),
            "{origin}"
        );
    }
    assert_eq!(ask("OPTIONS", &auth).status, 405, "no question of a browser");
    let mut any = Api::start(&["--api-cors-origin", "*"]);
    let answer =
        any.ask_with("GET", "/rooms", "/rooms", None, &format!("{auth}Origin: https://any.example\r\n"));
    assert_eq!(answer.head.field("access-control-allow-origin"), Some("https://any.example"));
    let mut none = Api::start(&[]);
    let answer =
        none.ask_with("GET", "/rooms", "/rooms", None, &format!("{auth}Origin: https://any.example\r\n"));
    assert_eq!((answer.status, answer.head.field("access-control-allow-origin")), (200, None));
    let (code, _, said) = run(
        &["serve", "--ephemeral", "--api-token-file", api.file.path(), "--api-cors-origin", "app.example"],
        "",
    );
    assert!(code == 2 && said.contains("--api-cors-origin"), "{said}");
    assert_eq!(none.ask("GET", "/stats", "/stats", None).body["draining"], Value::from(0));
}

#[test]
fn the_operators_page_is_there_for_an_operator() {
    let file = no_file();
    let reader = create(&file, "reader", &["--scope", "read,post,moderate"]);
    let expired = create(&file, "expired", &["--scope", "operate", "--expires", "0s"]);
    assert_ne!(reader, expired);
    let mut api = Api::start_with(file, &reader, &[]);
    let get = |api: &Api, path: &str| {
        let mut client = Client::connect(api.server.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let (head, body) = client.response();
        (head, String::from_utf8_lossy(&body).into_owned())
    };
    for path in ["/admin", "/admin/", "/admin/admin.js"] {
        assert_eq!(get(&api, path).0.status, 404, "nobody may operate: {path}");
    }
    create(&api.file, "operator", &["--scope", "operate"]);
    api.server.signal("HUP");
    wait_until(SOON, "the file is read again", || get(&api, "/admin/").0.status == 200);
    let (head, _) = get(&api, "/admin");
    assert_eq!((head.status, head.field("location")), (308, Some("admin/")));
    let (head, page) = get(&api, "/admin/");
    let policy = head.field("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(head.field("content-type").unwrap().starts_with("text/html"));
    let files = page.split(['"', '\'']).filter(|part| [".js", ".css"].iter().any(|end| part.ends_with(end)));
    for file in files {
        assert_eq!(get(&api, &format!("/admin/{file}")).0.status, 200, "{file}");
    }
    for path in ["/admin/nothing.js", "/administration", "/admin/../api/v1/rooms"] {
        assert_eq!(get(&api, path).0.status, 404, "{path}");
    }
    api.token = reader;
    assert_eq!(api.ask("GET", "/stats", "/stats", None).status, 403, "the page has no rights of its own");
}
