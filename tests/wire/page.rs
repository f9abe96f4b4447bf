//! The HTTP side of the chat: the page, its parts, and what is none of them.

use std::io::Read as _;
use std::net::SocketAddr;

use crate::support::{Client, Head, Launch, Scratch};

fn request(addr: SocketAddr, method: &str, target: &str, extra: &str) -> (Head, Vec<u8>) {
    let mut client = Client::connect(addr);
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n").as_bytes());
    if method != "HEAD" {
        return client.response();
    }
    let head = client.head();
    client.half_close();
    client.end(crate::support::secs(3));
    assert_eq!(client.take_unread(), b"", "a body for HEAD");
    (head, Vec::new())
}

fn get(addr: SocketAddr, target: &str) -> (Head, Vec<u8>) {
    request(addr, "GET", target, "")
}

const PARTS: [(&str, &str); 4] = [
    ("/", "text/html"),
    ("/app.js", "javascript"),
    ("/style.css", "text/css"),
    ("/favicon.svg", "image/svg+xml"),
];

#[test]
fn s24_the_page_and_its_parts_are_served() {
    let server = Launch::serve().start();
    for (target, kind) in PARTS {
        let (head, body) = get(server.addr, target);
        assert_eq!(head.status, 200, "{target}");
        assert!(head.field("content-type").unwrap().contains(kind), "{target}: {}", head.raw);
        assert_eq!(head.field("x-content-type-options"), Some("nosniff"), "{target}");
        assert!(!body.is_empty() && std::str::from_utf8(&body).is_ok(), "{target}");
        assert_eq!(get(server.addr, &format!("{target}?v=1")).1, body, "a query changes nothing");
    }
    let page = String::from_utf8(get(server.addr, "/").1).unwrap();
    for part in ["app.js", "style.css"] {
        assert!(page.contains(part), "the page asks for {part}");
    }
    assert!(!page.contains("http://") || !page.contains("src=\"http"), "nothing from elsewhere");
}

#[test]
fn s24_what_is_text_is_sent_compressed_to_those_who_take_it() {
    let server = Launch::serve().start();
    for (target, _) in PARTS {
        let (plain, body) = get(server.addr, target);
        assert_eq!((plain.field("content-encoding"), plain.field("vary")), (None, Some("Accept-Encoding")));
        for accepted in ["gzip", "br, gzip;q=0.5", "GZIP;Q=1.000", "identity;q=0, gzip"] {
            let accept = format!("Accept-Encoding: {accepted}\r\n");
            let (head, packed) = request(server.addr, "GET", target, &accept);
            assert_eq!((head.status, head.field("content-encoding")), (200, Some("gzip")), "{accepted}");
            assert_eq!(head.field("content-type"), plain.field("content-type"));
            assert!(packed.len() < body.len());
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, body, "{target}");
            // Each form has a tag of its own.
            let tag = head.field("etag").unwrap();
            assert_ne!(Some(tag), plain.field("etag"));
            let known = format!("{accept}If-None-Match: {tag}\r\n");
            assert_eq!(request(server.addr, "GET", target, &known).0.status, 304);
            let (head, _) = request(server.addr, "GET", target, &format!("If-None-Match: {tag}\r\n"));
            assert_eq!(head.status, 200, "who takes none has another form");
            // A part is one of the file itself.
            let (head, part) = request(server.addr, "GET", target, &format!("{accept}Range: bytes=1-4\r\n"));
            assert_eq!((head.status, head.field("content-encoding"), &part[..]), (206, None, &body[1..5]));
            let (head, _) = request(server.addr, "HEAD", target, &accept);
            assert_eq!(head.field("content-length"), Some(packed.len().to_string().as_str()));
        }
        for refused in ["", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "xgzip"] {
            let accept = format!("Accept-Encoding: {refused}\r\n");
            let (head, same) = request(server.addr, "GET", target, &accept);
            assert_eq!((head.field("content-encoding"), same == body), (None, true), "{refused}");
        }
    }
}

/// What a file of the page asks for.
fn references(text: &str) -> Vec<String> {
    let after = |mark: &str| {
        let parts = text.split(mark).skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap().to_owned());
        parts.collect::<Vec<_>>()
    };
    [after("href=\""), after("src=\""), after("} from '"), after("import '")].concat()
}

#[test]
fn whatever_the_page_asks_for_is_served_and_beside_it() {
    let server = Launch::serve().start();
    let mut seen = vec![String::new()];
    let mut next = 0;
    while next < seen.len() {
        let (head, body) = get(server.addr, &format!("/{}", seen[next]));
        assert_eq!(head.status, 200, "{}", seen[next]);
        for reference in references(std::str::from_utf8(&body).unwrap()) {
            // Behind a reverse proxy the page may live under a path.
            assert!(!reference.starts_with('/') && !reference.contains(':'), "{reference} is not relative");
            let directory = seen[next].rsplit_once('/').map_or("", |(directory, _)| directory);
            let directory = if directory.is_empty() { String::new() } else { format!("{directory}/") };
            let name = format!("{directory}{}", reference.trim_start_matches("./"));
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        next += 1;
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn s25_the_page_may_run_nothing_but_its_own_script() {
    let server = Launch::serve().start();
    let (head, page) = get(server.addr, "/");
    let policy = head.field("content-security-policy").expect("a Content-Security-Policy");
    assert!(policy.contains("default-src"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"), "{policy}");
    assert!(!policy.split_whitespace().any(|word| word.starts_with('*')), "{policy}");
    let page = String::from_utf8(page).unwrap().to_lowercase();
    assert!(!page.contains("<script>") && !page.contains(" onclick=") && !page.contains("<style>"));
    let script = String::from_utf8(get(server.addr, "/app.js").1).unwrap();
    assert!(!script.contains("eval(") && !script.contains("document.write"), "the script");
}

#[test]
fn s24_what_is_known_is_not_sent_again() {
    let server = Launch::serve().start();
    for (target, _) in PARTS {
        let (head, body) = get(server.addr, target);
        let etag = head.field("etag").unwrap_or_else(|| panic!("an ETag for {target}")).to_owned();
        assert!(etag.trim_start_matches("W/").starts_with('"') && etag.ends_with('"'), "{etag}");
        for known in
            [etag.clone(), format!("\"other\", {etag}"), format!("W/{}", etag.trim_start_matches("W/"))]
        {
            let (head, rest) = request(server.addr, "GET", target, &format!("If-None-Match: {known}\r\n"));
            assert_eq!((head.status, rest.len()), (304, 0), "{known}: {}", head.raw);
            assert_eq!(head.field("etag"), Some(etag.as_str()));
        }
        let (head, again) = request(server.addr, "GET", target, "If-None-Match: \"other\"\r\n");
        assert_eq!((head.status, again == body), (200, true));
    }
}

#[test]
fn s24_a_head_request_gets_the_head_alone() {
    let server = Launch::serve().start();
    for (target, _) in PARTS {
        let (get_head, body) = get(server.addr, target);
        let (head, _) = request(server.addr, "HEAD", target, "Connection: close\r\n");
        assert_eq!(head.status, 200, "{target}");
        assert_eq!(head.field("content-length"), Some(body.len().to_string().as_str()), "{target}");
        assert_eq!(head.field("etag"), get_head.field("etag"));
    }
    assert_eq!(request(server.addr, "HEAD", "/nothing", "Connection: close\r\n").0.status, 404);
    // RFC 9110 9.3.2: not even a refused upgrade.
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!((400..500).contains(&request(server.addr, "HEAD", "/ws", upgrade).0.status));
}

#[test]
fn s24_another_path_is_not_found() {
    let server = Launch::serve().start();
    for target in ["/nothing", "/app.jsx", "/App.js", "/ws/", "/ws/x", "/index.php", "/favicon.svg/"] {
        let (head, body) = get(server.addr, target);
        assert_eq!(head.status, 404, "{target}");
        assert!(body.len() < 1024, "a short body");
    }
    let (head, _) = request(server.addr, "GET", "/nothing", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert!((400..500).contains(&head.status), "{}", head.raw);
}

#[test]
fn s24_another_method_is_not_allowed() {
    let server = Launch::serve().start();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let (head, _) = request(server.addr, method, "/", "Content-Length: 0\r\n");
        assert_eq!(head.status, 405, "{method}");
        let allow = head.field("allow").expect("Allow");
        let allowed: Vec<_> = allow.split(',').map(str::trim).collect();
        assert!(allowed.contains(&"GET") && !allowed.contains(&method), "{allow}");
    }
    // A body that is announced is never taken for a next request.
    let smuggled = "GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = Client::connect(server.addr);
    let len = smuggled.len();
    client.send(
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n{smuggled}").as_bytes(),
    );
    assert_eq!(client.response().0.status, 405);
    client.half_close();
    client.end(crate::support::secs(3));
    assert_eq!(String::from_utf8_lossy(&client.take_unread()), "");
}

#[test]
fn s24_a_plain_get_of_the_socket_is_told_to_upgrade() {
    let server = Launch::serve().start();
    let (head, _) = get(server.addr, "/ws");
    assert_eq!(head.status, 426, "{}", head.raw);
    assert!(
        head.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")),
        "{}",
        head.raw
    );
    assert!(head.has_token("connection", "upgrade"), "RFC 9110 7.8: {}", head.raw);
}

/// The subprotocol that speaks first.
const JSON: &str = "Sec-WebSocket-Protocol: json\r\n";

#[test]
fn s27_one_port_serves_the_page_and_the_socket() {
    let server = Launch::serve().start();
    for _ in 0..3 {
        assert_eq!(get(server.addr, "/").0.status, 200);
        Client::upgrade(server.addr, "/", JSON).0.expect_text("{\"msg\":[]}");
    }
    // A page that was fetched over a connection which stays open does not keep the next one from upgrading.
    let mut client = Client::connect(server.addr);
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
    let (head, _) = client.response();
    assert_eq!(head.status, 200);
    if !head.has_token("connection", "close") {
        client.send(crate::support::upgrade_request("/", JSON).as_bytes());
        assert_eq!(client.head().status, 101);
        client.expect_text("{\"msg\":[]}");
    }
}

/// A page of one's own, and the directory that holds it.
fn own_page() -> (Scratch, String) {
    let index = Scratch::new("index.html", b"<!doctype html><p>mine");
    let directory = std::path::Path::new(index.path()).parent().unwrap().to_owned();
    std::fs::create_dir(directory.join("app")).unwrap();
    std::fs::write(directory.join("app/main.js"), b"export const ten = '0123456789';").unwrap();
    std::fs::write(directory.join("data.bin"), (0..=255).collect::<Vec<u8>>()).unwrap();
    (index, directory.to_str().unwrap().to_owned())
}

#[test]
fn a_directory_takes_the_place_of_the_page() {
    let (_index, directory) = own_page();
    let server = Launch::serve().args(&["--page", &directory, "--sign-in-url", "/in"]).start();
    for (target, kind, content) in [
        ("/", "text/html; charset=utf-8", &b"<!doctype html><p>mine"[..]),
        ("/app/main.js", "text/javascript; charset=utf-8", b"export const ten = '0123456789';"),
        ("/config.json", "application/json", b"{\"sign_in_url\":\"/in\"}"),
    ] {
        let (head, body) = get(server.addr, target);
        assert_eq!((head.status, head.field("content-type"), &*body), (200, Some(kind), content), "{target}");
        assert_eq!(head.field("accept-ranges"), Some("bytes"));
        let known = format!("If-None-Match: {}\r\n", head.field("etag").unwrap());
        assert_eq!(request(server.addr, "GET", target, &known).0.status, 304);
    }
    assert_eq!(get(server.addr, "/data.bin").0.field("content-type"), Some("application/octet-stream"));
    for target in ["/app.js", "/app", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/app/../data.bin"] {
        assert_ne!(get(server.addr, target).0.status, 200, "{target}");
    }
    Client::upgrade(server.addr, "/ws", JSON).0.expect_text("{\"msg\":[]}");
}

#[test]
fn a_part_of_a_file_may_be_asked_for() {
    let (_index, directory) = own_page();
    let server = Launch::serve().args(&["--page", &directory]).start();
    let whole: Vec<u8> = (0..=255).collect();
    let (head, _) = get(server.addr, "/data.bin");
    let etag = head.field("etag").unwrap().to_owned();
    for (range, first, last) in
        [("0-0", 0, 0), ("10-19", 10, 19), ("250-", 250, 255), ("-6", 250, 255), ("200-999", 200, 255)]
    {
        let (head, body) = request(server.addr, "GET", "/data.bin", &format!("Range: bytes={range}\r\n"));
        assert_eq!((head.status, &*body), (206, &whole[first..=last]), "{range}");
        assert_eq!(head.field("content-range"), Some(format!("bytes {first}-{last}/256").as_str()));
    }
    let (head, body) = request(server.addr, "GET", "/data.bin", "Range: bytes=256-\r\n");
    assert_eq!((head.status, body.len(), head.field("content-range")), (416, 0, Some("bytes */256")));
    let if_range = |tag: &str| format!("Range: bytes=1-2\r\nIf-Range: {tag}\r\n");
    assert_eq!(request(server.addr, "GET", "/data.bin", &if_range(&etag)).0.status, 206);
    for other in [
        if_range("\"other\""),
        "Range: bytes=1-2, 5-6\r\n".to_owned(),
        "Range: lines=1-2\r\n".to_owned(),
        "Range: bytes=x\r\n".to_owned(),
    ] {
        let (head, body) = request(server.addr, "GET", "/data.bin", &other);
        assert_eq!((head.status, body.len()), (200, 256), "{other}");
    }
    assert_eq!(
        request(server.addr, "HEAD", "/data.bin", "Range: bytes=1-2\r\nConnection: close\r\n").0.status,
        200
    );
}

#[test]
fn without_a_page_the_socket_alone_is_served() {
    let server = Launch::serve().args(&["--no-page"]).start();
    for target in ["/", "/app.js", "/config.json"] {
        assert_eq!(get(server.addr, target).0.status, 404, "{target}");
    }
    Client::upgrade(server.addr, "/ws", JSON).0.expect_text("{\"msg\":[]}");
}

#[test]
fn a_page_that_cannot_be_served_is_refused_at_the_start() {
    let other = Scratch::new("other.html", b"");
    let directory = std::path::Path::new(other.path()).parent().unwrap().to_str().unwrap();
    for (args, why) in [
        (["--page", directory], "index.html"),
        (["--page", "/nowhere/at/all"], "--page /nowhere/at/all"),
        (["--sign-in-url", "javascript:alert(1)"], "not an address"),
        (["--sign-in-url", "//elsewhere.example"], "not an address"),
    ] {
        let (code, _, said) = crate::ops::run_with(&[&["serve", "--ephemeral"], &args[..]].concat(), &[], "");
        assert!(code != 0 && said.contains(why), "{args:?}: {code} {said}");
    }
}
