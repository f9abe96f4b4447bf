//! Plain requests with bodies, one behind the other, against a small application in this process (no application of
//! the binary takes bodies yet).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use switchboard::app::{
    Application, Body, ConnId, Context, Message, Request, RequestHead, Response, Verdict,
};
use switchboard::net::{Handle, Options, Server};

use crate::handshake::expect_refusal;
use crate::support::{Client, Head, SOON, millis, secs};

/// Answers a request with `METHOD TARGET BODY`, `/large` with 200,000 octets; takes no body for `/unwanted`.
struct Reflect {
    asked: Arc<AtomicUsize>,
}

const LARGE_LEN: usize = 200_000;

impl Application for Reflect {
    type Mail = Infallible;

    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        head.path() != "/unwanted"
    }

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let head = request.head;
        let mut body = format!("{} {} ", head.method, head.target).into_bytes();
        body.extend_from_slice(request.body);
        if head.path() == "/large" {
            body.resize(LARGE_LEN, b'.');
        }
        Verdict::Respond(Response { status: 200, fields: Vec::new(), body: Body::Owned(body) })
    }

    fn on_message<C: Context>(&mut self, _ctx: &mut C, _conn: ConnId, _message: Message<'_>) {}
}

/// The application on a thread of its own, stopped when the value goes.
struct Running {
    addr: SocketAddr,
    /// Requests that the application has seen.
    asked: Arc<AtomicUsize>,
    handle: Handle<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let mut options = Options::listen("127.0.0.1:0".parse().unwrap());
        options.config.proto.timeouts.handshake_ms = 2000;
        options.config.proto.timeouts.keep_alive_ms = 2000;
        options.drain_ms = 0;
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Server::bind(options, Reflect { asked: Arc::clone(&asked) }).unwrap();
        let (addr, handle) = (server.local_addrs().unwrap()[0], server.handle());
        let thread = Some(std::thread::spawn(|| server.run().unwrap()));
        Self { addr, asked, handle, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        assert!(self.handle.shutdown());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn request(line: &str, fields: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

#[track_caller]
fn expect_answer(client: &mut Client, body: &str) -> Head {
    let (head, got) = client.response();
    assert_eq!((head.status, String::from_utf8_lossy(&got).as_ref()), (200, body), "{}", head.raw);
    head
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn bodies_of_both_kinds_arrive_whole_and_the_connection_goes_on() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    let stream = [
        request("POST /a", "Content-Length: 5\r\n", "hello"),
        request("PUT /b", CHUNKED, "5;x=y\r\nhello\r\n6\r\n there\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        request("GET /c", "", ""),
        request("POST /d", "Content-Length: 0\r\n", ""),
        request("POST /e", "Content-Length: 2\r\nContent-Length: 2\r\n", "ok"),
        request("POST /f", CHUNKED, "0\r\n\r\n"),
    ]
    .concat();
    let answers = ["POST /a hello", "PUT /b hello there", "GET /c ", "POST /d ", "POST /e ok", "POST /f "];
    client.send(stream.as_bytes());
    for answer in answers {
        let head = expect_answer(&mut client, answer);
        assert!(!head.has_token("connection", "close"));
    }
    // Cut everywhere.
    for octet in stream.as_bytes() {
        client.send(&[*octet]);
    }
    for answer in answers {
        expect_answer(&mut client, answer);
    }
}

#[test]
fn a_body_up_to_the_limit_is_taken_and_one_more_octet_is_413() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    let full = "x".repeat(64 * 1024);
    client.send(request("POST /", "Content-Length: 65536\r\n", &full).as_bytes());
    expect_answer(&mut client, &format!("POST / {full}"));
    client.send(request("POST /", CHUNKED, &format!("10000\r\n{full}\r\n0\r\n\r\n")).as_bytes());
    expect_answer(&mut client, &format!("POST / {full}"));
    for (fields, body) in [
        ("Content-Length: 65537\r\n", String::new()),
        ("Content-Length: 18446744073709551615\r\n", String::new()),
        (CHUNKED, "10001\r\n".to_owned()),
        (CHUNKED, "FFFFFFFFFFFFFFFF\r\n".to_owned()),
        (CHUNKED, format!("10000\r\n{full}\r\n1\r\n")),
    ] {
        expect_refusal(server.addr, request("POST /", fields, &body).as_bytes(), &[413]);
    }
}

#[test]
fn hs_10_a_body_that_two_recipients_could_read_differently_is_refused() {
    let server = Running::start();
    let smuggled = request("GET /smuggled", "", "");
    for (fields, body) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("Content-Length: 3, 4\r\n", "abcd"),
        ("Content-Length: +3\r\n", "abc"),
        ("Content-Length: 0x3\r\n", "abc"),
        ("Content-Length: 3 3\r\n", "abc"),
        ("Content-Length:\r\n", ""),
        ("Content-Length : 3\r\n", "abc"),
        ("Content-Length: 3\r\n 4\r\n", "abc"),
        ("X: y\rContent-Length: 3\r\n", "abc"),
        ("X: y\nContent-Length: 3\r\n", "abc"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        (CHUNKED, "\r\n"),
        (CHUNKED, "0x0\r\n\r\n"),
        (CHUNKED, "1\nx\r\n0\r\n\r\n"),
        (CHUNKED, "1\r\nx\n0\r\n\r\n"),
        (CHUNKED, "1\r\nxy\r\n0\r\n\r\n"),
        (CHUNKED, "1;\nx\r\n0\r\n\r\n"),
        (CHUNKED, "10000000000000000\r\n\r\n"),
        (CHUNKED, "0\r\nX : y\r\n\r\n"),
        (CHUNKED, "0\r\nX: y\r\n z\r\n\r\n"),
        (CHUNKED, "0\r\n\n"),
    ] {
        let whole = request("POST /", fields, body) + &smuggled;
        expect_refusal(server.addr, whole.as_bytes(), &[400]);
    }
    // RFC 9112 6.1: HTTP/1.0 knows no transfer coding.
    let old = request("POST /", CHUNKED, "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0") + &smuggled;
    expect_refusal(server.addr, old.as_bytes(), &[400]);
}

#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let server = Running::start();
    let extensions = format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(20);
    expect_refusal(server.addr, request("POST /", CHUNKED, &extensions).as_bytes(), &[431]);
    let endless = format!("1;{}", "e".repeat(20_000));
    expect_refusal(server.addr, request("POST /", CHUNKED, &endless).as_bytes(), &[431]);
    let trailers = format!("0\r\n{}\r\n", "a:b\r\n".repeat(101));
    expect_refusal(server.addr, request("POST /", CHUNKED, &trailers).as_bytes(), &[431]);
}

#[test]
fn a_client_that_expects_100_gets_it_before_the_body_and_only_then() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    for fields in ["Content-Length: 5\r\n", CHUNKED] {
        let body = if fields == CHUNKED { "5\r\nhello\r\n0\r\n\r\n" } else { "hello" };
        let expecting = format!("Expect: 100-Continue\r\n{fields}");
        client.send(request("POST /", &expecting, "").as_bytes());
        let interim = client.head();
        assert_eq!((interim.status, interim.fields.len()), (100, 0), "{}", interim.raw);
        client.send(body.as_bytes());
        expect_answer(&mut client, "POST / hello");
        // Part of the body is there already (RFC 9110 10.1.1).
        client.send(request("POST /", &expecting, body).as_bytes());
        expect_answer(&mut client, "POST / hello");
    }
    // No body to wait for.
    client.send(request("GET /", "Expect: 100-continue\r\n", "").as_bytes());
    expect_answer(&mut client, "GET / ");
    // The body is refused, or not wanted: the client need not send it.
    for (line, length, status) in [("POST /", 65_537, 413), ("POST /unwanted", 5, 200)] {
        let fields = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        expect_refusal(server.addr, request(line, &fields, "").as_bytes(), &[status]);
    }
    for other in ["Expect: more\r\n", "Expect: 100-continue\r\nExpect: 100-continue\r\n"] {
        let fields = format!("{other}Content-Length: 5\r\n");
        expect_refusal(server.addr, request("POST /", &fields, "hello").as_bytes(), &[417]);
    }
    // HTTP/1.0 knows no interim responses.
    let old = request("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n", "");
    let mut client = Client::connect(server.addr);
    client.send(old.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert!(client.try_head(millis(200)).is_err());
    client.send(b"hello");
    expect_answer(&mut client, "POST / hello");
}

#[test]
fn behind_a_body_that_is_not_wanted_nothing_is_a_request() {
    let server = Running::start();
    let smuggled = request("GET /smuggled", "", "");
    for fields in ["Content-Length: 68\r\n", CHUNKED] {
        let whole = request("POST /unwanted", fields, &smuggled);
        expect_refusal(server.addr, whole.as_bytes(), &[200]);
    }
}

#[test]
fn a_body_that_stays_away_is_408_at_the_deadline() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    client.send(request("POST /", "Content-Length: 5\r\n", "hel").as_bytes());
    let head = client.try_head(secs(5)).unwrap();
    assert_eq!(head.status, 408, "{}", head.raw);
    assert!(head.has_token("connection", "close"));
}

#[test]
fn pipelined_requests_are_answered_in_order_however_slowly_the_answers_are_read() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    let count = 100;
    let stream: String = (0..count)
        .map(|at| request(&format!("POST /large?{at}"), "Content-Length: 4\r\n", &format!("{at:04}")))
        .collect();
    client.send(stream.as_bytes());
    for at in 0..count {
        if at % 10 == 0 {
            std::thread::sleep(millis(20));
        }
        let (head, body) = client.response();
        let start = format!("POST /large?{at} {at:04}.");
        assert_eq!((head.status, body.len()), (200, LARGE_LEN));
        assert!(body.starts_with(start.as_bytes()), "{:?}", String::from_utf8_lossy(&body[..40]));
        assert!(!head.has_token("connection", "close"));
    }
    client.send(request("GET /end", "", "").as_bytes());
    expect_answer(&mut client, "GET /end ");
}

#[test]
fn a_peer_that_asks_and_never_reads_costs_a_bounded_number_of_answers() {
    let server = Running::start();
    let mut client = Client::connect(server.addr);
    let stream = request("GET /large", "", "").repeat(800);
    client.send(stream.as_bytes());
    std::thread::sleep(millis(500));
    // The kernel's buffers take some answers; 800 of them would be 160 MB.
    let asked = server.asked.load(Ordering::Relaxed);
    assert!((1..100).contains(&asked), "{asked} answers made for a peer that does not read");
    assert_ne!(client.end(SOON + secs(10)), crate::support::End::Timeout);
}
