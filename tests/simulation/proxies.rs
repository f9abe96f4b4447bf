//! Who asks, where proxies stand between.

use std::convert::Infallible;
use std::net::SocketAddr;

use switchboard::app::{
    Acceptance, Application, Closed, ConnId, Context, Entrance, Message, Rejection, Request, Response,
    Verdict,
};
use switchboard::proto::TrustedProxies;
use switchboard::reactor::Config;

use crate::few::Few;

/// Accepts upgrades and answers the rest, and notes who it was.
#[derive(Default)]
struct Notes {
    /// Peer, host and whether over TLS, of each request.
    asked: Vec<String>,
    ended: Vec<String>,
    rejected: Vec<String>,
}

impl Application for Notes {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        let is_secure = if request.is_secure() { " over TLS" } else { "" };
        self.asked.push(format!("{} to {}{is_secure}", request.peer, request.authority()));
        match request.upgrade {
            Some(_) => Verdict::Accept(Acceptance::default()),
            None => Verdict::Respond(Response::text(200, "here")),
        }
    }

    fn wants_body(&mut self, _: &switchboard::app::RequestHead<'_>) -> bool {
        true
    }

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}

    fn on_close<C: Context>(&mut self, _: &mut C, _: ConnId, closed: &Closed) {
        self.ended.push(closed.peer.to_string());
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        let status = rejection.status.map_or("none".to_owned(), |status| status.to_string());
        self.rejected.push(format!("{status} {}", rejection.peer));
    }
}

/// A loop that trusts 10.0.0.0/8.
fn few(change: impl FnOnce(&mut Config)) -> Few<Notes> {
    let mut trusted = TrustedProxies::default();
    trusted.trust("10.0.0.0/8").unwrap();
    Few::new(Notes::default(), Config::default().with(|it| it.trusted_proxies = trusted).with(change))
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n").into_bytes()
}

fn upgrade(fields: &str) -> Vec<u8> {
    get(&format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}"
    ))
}

const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [203, 0, 113, 9];
const UNIX: Entrance = Entrance { listener: 0, is_internal: false, is_trusted: true, is_introduced: false };
const INTRODUCED: Entrance =
    Entrance { listener: 0, is_internal: false, is_trusted: false, is_introduced: true };

#[test]
fn px_01_what_strangers_forward_changes_nothing() {
    let mut few = few(|_| {});
    let forged = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=2.2.2.2\r\n";
    let conn = few.accept(STRANGER, Entrance::default());
    few.send(conn, &get(forged));
    few.tick();
    few.send(conn, &upgrade(forged));
    few.tick();
    let other = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(other, &get(forged));
    few.tick();
    let asked = &few.reactor.app().asked;
    assert_eq!(*asked, ["203.0.113.9:1 to inner", "203.0.113.9:1 to inner", "127.0.0.1:1 to inner"]);
    few.wires[&conn].borrow_mut().client_resets();
    few.tick();
    assert_eq!(few.reactor.app().ended, ["203.0.113.9:1"]);
}

#[test]
fn px_02_each_request_of_a_proxy_has_its_own_client() {
    for (ip, entrance) in [(PROXY, Entrance::default()), ([127, 0, 0, 1], UNIX)] {
        let mut few = few(|_| {});
        let conn = few.accept(ip, entrance);
        let proxy = format!("{}:1", SocketAddr::from((ip, 1)).ip());
        let requests = [
            get(
                "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https\r\n",
            ),
            get("Forwarded: for=\"[2001:db8::7]:5\";host=chat.example, for=10.0.0.9\r\n"),
            get(""),
            get("X-Forwarded-For: unknown\r\n"),
        ];
        few.send(conn, &requests.concat());
        for _ in 0..5 {
            few.tick();
        }
        let expected = [
            "192.0.2.7:0 to chat.example over TLS".to_owned(),
            "[2001:db8::7]:5 to chat.example".to_owned(),
            format!("{proxy} to inner"),
            format!("{proxy} to inner"),
        ];
        assert_eq!(few.reactor.app().asked, expected);
        // What is wrong between two requests is the proxy's, what is wrong with a body its client's.
        let broken = "POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.8\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
        few.send(conn, &get("X-Forwarded-For: 192.0.2.7\r\n"));
        few.tick();
        few.send(conn, broken.as_bytes());
        few.tick();
        let second = few.accept(ip, entrance);
        few.send(second, &get("X-Forwarded-For: 192.0.2.7\r\n"));
        few.tick();
        few.send(second, b"GET\x01");
        few.tick();
        assert_eq!(few.reactor.app().rejected, ["400 192.0.2.8:0".to_owned(), format!("400 {proxy}")]);
        // An upgraded connection is its client's until the end.
        let third = few.accept(ip, entrance);
        few.send(third, &get("X-Forwarded-For: 192.0.2.7\r\n"));
        few.tick();
        few.send(third, &upgrade("X-Forwarded-For: 2001:db8::9\r\n"));
        few.tick();
        assert!(few.read(third).contains("HTTP/1.1 101 "));
        few.wires[&third].borrow_mut().client_resets();
        few.tick();
        assert_eq!(few.reactor.app().ended, ["[2001:db8::9]:0"]);
    }
}

#[test]
fn px_03_limits_for_an_address_are_those_of_the_client_behind_the_proxy() {
    for (ip, entrance) in [(PROXY, Entrance::default()), ([127, 0, 0, 1], UNIX)] {
        let mut few = few(|it| it.max_connections_per_address = 2);
        for round in 0..20 {
            let mut connect = |client: &str| {
                let conn = few.accept(ip, entrance);
                // Plain requests are not counted, and neither is the proxy.
                few.send(conn, &get("X-Forwarded-For: 192.0.2.1\r\n"));
                few.tick();
                few.read(conn);
                few.send(conn, &upgrade(&format!("X-Forwarded-For: {client}\r\n")));
                few.tick();
                let answer = few.read(conn);
                (conn, answer.lines().next().unwrap_or_default()[9..12].to_owned(), answer)
            };
            let all =
                ["192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "9.9.9.9, 192.0.2.7"].map(&mut connect);
            let statuses = all.each_ref().map(|(_, status, _)| status.as_str());
            assert_eq!(statuses, ["101", "101", "503", "101", "503"], "{round}");
            assert!(
                all[2].2.contains("Retry-After: 1")
                    && all[2].2.contains("too many connections from this address")
            );
            for (conn, ..) in all {
                let wire = few.wires[&conn].clone();
                let mut wire = wire.borrow_mut();
                if !wire.server_closed {
                    wire.client_resets();
                }
            }
            few.tick();
            few.tick();
            assert_eq!(few.reactor.connections(), 0);
            few.reactor.check();
        }
        assert_eq!(few.reactor.stats().requests.crowded, 40);
    }
}

#[test]
fn px_03_the_rate_of_an_address_counts_its_upgrades() {
    let mut few = few(|it| it.max_new_per_second_per_address = 3);
    let mut status = |octets: Vec<u8>| {
        let conn = few.accept(PROXY, Entrance::default());
        few.send(conn, &octets);
        few.tick();
        few.read(conn)[9..12].to_owned()
    };
    for _ in 0..20 {
        assert_eq!(status(get("X-Forwarded-For: 192.0.2.7\r\n")), "200");
    }
    let upgrades: Vec<String> = (0..5).map(|_| status(upgrade("X-Forwarded-For: 192.0.2.7\r\n"))).collect();
    assert_eq!(upgrades, ["101", "101", "101", "503", "503"]);
    assert_eq!(status(upgrade("X-Forwarded-For: 192.0.2.8\r\n")), "101");
    assert_eq!(few.reactor.stats().requests.hurried, 2);
}

#[test]
fn px_04_two_fields_that_disagree_are_refused() {
    let mut few = few(|_| {});
    let conn = few.accept(PROXY, Entrance::default());
    few.send(conn, &upgrade("X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n"));
    few.tick();
    let answer = few.read(conn);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("name different clients"), "{answer}");
    assert!(few.is_ended(conn) && few.reactor.app().asked.is_empty());
    // From a stranger both mean nothing.
    let conn = few.accept(STRANGER, Entrance::default());
    few.send(conn, &upgrade("X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n"));
    few.tick();
    assert!(few.read(conn).starts_with("HTTP/1.1 101 "));
}

#[test]
fn px_05_who_is_introduced_is_the_peer_from_the_first_octet() {
    let client: SocketAddr = "[2001:db8::7]:50000".parse().unwrap();
    let mut few = Few::new(Notes::default(), Config::default().with(|it| it.max_connections_per_address = 1));
    let introduced = |few: &mut Few<Notes>, client: Option<SocketAddr>, octets: &[u8]| {
        let conn = few.accept(PROXY, INTRODUCED);
        few.wires[&conn].borrow_mut().introduced = client;
        few.send(conn, octets);
        few.tick();
        conn
    };
    // Nobody is trusted: what is forwarded means nothing.
    let first = introduced(&mut few, Some(client), &upgrade("X-Forwarded-For: 192.0.2.7\r\n"));
    assert!(few.read(first).starts_with("HTTP/1.1 101 "));
    let second = introduced(&mut few, Some(client), &upgrade(""));
    assert!(few.read(second).starts_with("HTTP/1.1 503 "));
    let other = introduced(&mut few, Some("192.0.2.7:1".parse().unwrap()), &upgrade(""));
    assert!(few.read(other).starts_with("HTTP/1.1 101 "));
    // A health check of the proxy.
    introduced(&mut few, None, &get("X-Forwarded-For: 192.0.2.7\r\n"));
    introduced(&mut few, Some(client), b"\x01");
    let app = few.reactor.app();
    assert_eq!(app.asked, ["[2001:db8::7]:50000 to inner", "192.0.2.7:1 to inner", "10.0.0.1:1 to inner"]);
    assert_eq!(app.rejected, ["503 [2001:db8::7]:50000", "400 [2001:db8::7]:50000"]);
    few.wires[&first].borrow_mut().client_resets();
    few.tick();
    few.reactor.check();
    assert_eq!(few.reactor.app().ended, ["[2001:db8::7]:50000"]);
}

#[test]
fn px_06_where_proxies_are_named_only_they_may_introduce() {
    let mut few = few(|_| {});
    let mut ask = |ip: [u8; 4], client: Option<&str>, fields: &str| {
        let conn = few.accept(ip, INTRODUCED);
        few.wires[&conn].borrow_mut().introduced = client.map(|client| client.parse().unwrap());
        few.send(conn, &get(fields));
        few.tick();
        few.read(conn)[9..12].to_owned()
    };
    assert_eq!(ask(PROXY, Some("192.0.2.7:1"), "X-Forwarded-For: 192.0.2.8\r\n"), "200");
    assert_eq!(ask(PROXY, Some("10.0.0.2:1"), "X-Forwarded-For: 192.0.2.8\r\n"), "200");
    assert_eq!(ask(PROXY, None, "X-Forwarded-For: 192.0.2.8\r\n"), "200");
    assert_eq!(ask(STRANGER, Some("192.0.2.7:1"), ""), "403");
    assert_eq!(ask(STRANGER, Some("10.0.0.2:1"), "X-Forwarded-For: 192.0.2.8\r\n"), "403");
    let app = few.reactor.app();
    assert_eq!(app.asked, ["192.0.2.7:1 to inner", "192.0.2.8:0 to inner", "192.0.2.8:0 to inner"]);
    assert_eq!(app.rejected, ["403 203.0.113.9:1", "403 203.0.113.9:1"]);
}
