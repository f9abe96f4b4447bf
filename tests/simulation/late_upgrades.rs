//! Upgrades that are answered later: each is opened, refused or abandoned, exactly once, and nothing of it is read before.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use switchboard::app::{
    Acceptance, Application, Closed, ConnId, Context, Entrance, Message, Refused, Request, Response, Verdict,
};
use switchboard::reactor::Config;

use crate::few::{Few, masked};
use crate::network::Random;

/// What is decided of a request.
#[derive(Debug, Clone, Copy)]
enum Decision {
    Accept(ConnId),
    Refuse(ConnId),
    Respond(ConnId),
}

/// What became of a request that was put off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    opened: u32,
    /// What the application itself has said to it.
    refused: u32,
    abandoned: u32,
    closed: u32,
}

/// Puts every request off; an echo behind that.
#[derive(Default)]
struct Waiter {
    asked: Vec<ConnId>,
    fates: BTreeMap<ConnId, Fate>,
    accepts_at_once: bool,
    /// The reasons of which it was told that it refused late.
    refused_for: Vec<Refused>,
}

impl Waiter {
    fn fate(&mut self, conn: ConnId) -> &mut Fate {
        self.fates.entry(conn).or_default()
    }
}

impl Application for Waiter {
    type Mail = Decision;

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        self.asked.push(request.conn);
        if self.accepts_at_once {
            ctx.accept(request.conn, Acceptance::default());
        }
        Verdict::Later
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, decision: Decision) {
        match decision {
            Decision::Accept(conn) => {
                ctx.accept(conn, Acceptance::default().with(|it| it.any_subprotocol = true));
            }
            Decision::Refuse(conn) => {
                ctx.refuse(conn, Refused::Token, Response::text(401, "not you"));
                self.fate(conn).refused += 1;
            }
            Decision::Respond(conn) => {
                ctx.respond(conn, Response::text(403, "nor you"));
                self.fate(conn).refused += 1;
            }
        }
    }

    fn on_refused_late(&mut self, peer: SocketAddr, reason: Refused) {
        assert!(peer.ip().is_loopback());
        self.refused_for.push(reason);
    }

    fn on_open<C: Context>(&mut self, _: &mut C, conn: ConnId) {
        self.fate(conn).opened += 1;
    }

    fn on_abandoned<C: Context>(&mut self, _: &mut C, conn: ConnId) {
        self.fate(conn).abandoned += 1;
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        assert_eq!(self.fate(conn).opened, 1, "a message before on_open");
        // It may have begun to close.
        let _ = ctx.send(conn, message.as_outgoing());
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, _: &Closed) {
        self.fate(conn).closed += 1;
    }
}

fn upgrade(fields: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
    .into_bytes()
}

fn few(change: impl FnOnce(&mut Config)) -> Few<Waiter> {
    Few::new(Waiter::default(), Config::default().with(change))
}

fn asks(few: &mut Few<Waiter>) -> ConnId {
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(conn, &upgrade(""));
    few.tick();
    conn
}

/// The echo of a masked frame.
fn echo(payload: &[u8]) -> Vec<u8> {
    [&[0x82, payload.len() as u8], payload].concat()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[test]
fn an_upgrade_is_accepted_later_and_nothing_is_lost_or_read_meanwhile() {
    let mut few = few(|_| {});
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    // Frames behind the request, and more while it waits.
    let offer = "Sec-WebSocket-Protocol: first, second\r\n";
    few.send(conn, &[upgrade(offer), masked(0x82, b"one")].concat());
    few.tick();
    for _ in 0..10 {
        few.send(conn, &masked(0x82, b"two"));
        few.tick_after(100);
    }
    assert_eq!(few.wires[&conn].borrow().unread(), 10 * masked(0x82, b"two").len(), "it was read");
    assert_eq!(few.read(conn), "");
    few.reactor.mail(Decision::Accept(conn));
    few.tick();
    few.tick();
    let octets = few.wires[&conn].borrow_mut().client_takes(usize::MAX);
    let end = octets.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&octets[..end]);
    assert!(
        head.starts_with("HTTP/1.1 101 ")
            && head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(head.contains("Sec-WebSocket-Protocol: first"), "{head}");
    assert_eq!(octets[end..], [echo(b"one"), echo(b"two").repeat(10)].concat());
    // A second answer is none.
    few.reactor.mail(Decision::Accept(conn));
    few.reactor.mail(Decision::Refuse(conn));
    few.tick();
    assert_eq!(few.read(conn), "");
    assert_eq!(few.reactor.app().fates[&conn], Fate { opened: 1, refused: 1, ..Fate::default() });
    assert_eq!((few.reactor.stats().upgrades.accepted, few.reactor.stats().upgrades.refused), (1, 0));
}

#[test]
fn an_upgrade_may_be_accepted_within_the_callback_itself() {
    let mut few = Few::new(Waiter { accepts_at_once: true, ..Waiter::default() }, Config::default());
    let conn = asks(&mut few);
    few.send(conn, &masked(0x82, b"one"));
    few.tick();
    assert!(few.read(conn).starts_with("HTTP/1.1 101 "));
    assert_eq!(few.reactor.app().fates[&conn].opened, 1);
}

#[test]
fn an_upgrade_is_refused_later_and_the_connection_ends() {
    let mut few = few(|_| {});
    for (decision, status) in [
        (Decision::Refuse as fn(ConnId) -> Decision, "401"),
        (Decision::Respond as fn(ConnId) -> Decision, "403"),
    ] {
        let conn = asks(&mut few);
        few.reactor.mail(decision(conn));
        few.tick();
        few.tick();
        let answer = few.read(conn);
        assert_eq!(statuses(&answer), [status]);
        assert!(answer.contains("Connection: close") && few.is_ended(conn));
        assert_eq!(few.reactor.app().fates[&conn], Fate { refused: 1, ..Fate::default() });
    }
    let stats = few.reactor.stats();
    assert_eq!((stats.upgrades.refused, stats.refusals.of(Refused::Token)), (2, 1));
    assert_eq!(few.reactor.app().refused_for, [Refused::Token], "what has a reason");
}

#[test]
fn a_plain_request_cannot_be_accepted() {
    let mut few = few(|_| {});
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(conn, b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n");
    few.tick();
    few.reactor.mail(Decision::Accept(conn));
    few.tick();
    few.tick();
    assert_eq!(statuses(&few.read(conn)), ["426"]);
}

#[test]
fn px_11_an_upgrade_that_is_never_answered_is_504() {
    let mut few = few(|_| {});
    let conn = asks(&mut few);
    few.tick_after(9_900);
    assert_eq!(few.read(conn), "");
    few.tick_after(200);
    few.tick();
    assert_eq!(statuses(&few.read(conn)), ["504"]);
    assert!(few.is_ended(conn));
    few.reactor.mail(Decision::Accept(conn));
    few.tick();
    assert_eq!(few.read(conn), "");
    assert_eq!(few.reactor.app().fates[&conn], Fate { abandoned: 1, ..Fate::default() });
}

#[test]
fn px_11_a_client_that_leaves_frees_its_place() {
    for is_reset in [false, true] {
        let mut few = few(|it| it.max_late = 1);
        let conn = asks(&mut few);
        {
            let mut wire = few.wires[&conn].borrow_mut();
            if is_reset { wire.client_resets() } else { wire.client_ends() }
        }
        few.tick();
        few.tick();
        assert_eq!(few.reactor.connections(), 0, "it is gone");
        assert_eq!(few.reactor.app().fates[&conn], Fate { abandoned: 1, ..Fate::default() });
        // Another one in the same slot is not taken for it.
        let next = asks(&mut few);
        few.reactor.mail(Decision::Accept(conn));
        few.tick();
        assert_eq!(few.read(next), "");
        few.reactor.mail(Decision::Accept(next));
        few.tick();
        assert_eq!(statuses(&few.read(next)), ["101"]);
    }
}

#[test]
fn px_11_so_many_wait_at_a_time_and_no_more() {
    let mut few = few(|it| it.max_late = 2);
    let waiting = [asks(&mut few), asks(&mut few)];
    for _ in 0..10 {
        let refused = asks(&mut few);
        few.tick();
        let answer = few.read(refused);
        assert!(statuses(&answer) == ["503"] && answer.contains("Retry-After: 1"), "{answer}");
        assert_eq!(few.reactor.app().fates[&refused], Fate { abandoned: 1, ..Fate::default() });
    }
    few.reactor.mail(Decision::Accept(waiting[0]));
    few.reactor.mail(Decision::Refuse(waiting[1]));
    few.tick();
    let next = [asks(&mut few), asks(&mut few)];
    assert_eq!(next.map(|conn| few.read(conn)), ["", ""]);
}

#[test]
fn who_waits_when_the_server_stops_is_told_so() {
    let mut few = few(|_| {});
    let [conn, accepted] = [asks(&mut few), asks(&mut few)];
    // Accepted, and not opened before the end begins.
    few.reactor.mail(Decision::Accept(accepted));
    few.reactor.begin_shutdown();
    few.tick();
    few.tick();
    for conn in [conn, accepted] {
        let answer = few.read(conn);
        assert!(statuses(&answer) == ["503"] && answer.contains("shutting down"), "{answer}");
        assert_eq!(few.reactor.app().fates[&conn], Fate { abandoned: 1, ..Fate::default() });
        few.wires[&conn].borrow_mut().client_ends();
    }
    few.tick();
    few.tick();
    assert!(few.reactor.is_drained());
}

#[test]
fn there_may_be_no_room_any_more() {
    let mut few = few(|it| it.max_connections = 1);
    let conns = [asks(&mut few), asks(&mut few)];
    for conn in conns {
        few.reactor.mail(Decision::Accept(conn));
    }
    few.tick();
    assert_eq!(conns.map(|conn| statuses(&few.read(conn))[0].to_owned()), ["101", "503"]);
    assert_eq!(few.reactor.app().fates[&conns[1]], Fate { abandoned: 1, ..Fate::default() });
}

/// Many clients that do whatever they like, and decisions at any time.
struct Crowd {
    random: Random,
    few: Few<Waiter>,
    /// What the echo of a client's messages is.
    sent: BTreeMap<ConnId, Vec<u8>>,
    received: BTreeMap<ConnId, Vec<u8>>,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let few = few(|it| {
            it.max_late = 6;
            it.max_answer_ms = 500;
        });
        Self { random: Random(seed), few, sent: BTreeMap::new(), received: BTreeMap::new() }
    }

    fn step(&mut self, step: u32) {
        if self.random.one_in(3) {
            let conn = self.few.accept([127, 0, 0, 1], Entrance::default());
            self.few.send(conn, &upgrade(""));
            self.sent.insert(conn, Vec::new());
        }
        let asked = self.few.reactor.app().asked.clone();
        if !asked.is_empty() {
            let conn = asked[self.random.below(asked.len())];
            let is_accepted = self.random.below(3) < 2;
            self.few.reactor.mail(if is_accepted { Decision::Accept(conn) } else { Decision::Refuse(conn) });
        }
        for (conn, echoed) in &mut self.sent {
            let mut wire = self.few.wires[conn].borrow_mut();
            if wire.client_fin || wire.is_reset || wire.server_closed || wire.server_fin {
                continue;
            }
            match self.random.below(30) {
                0 => wire.client_resets(),
                1 => wire.client_ends(),
                2..8 => {
                    let payload = step.to_be_bytes();
                    wire.client_sends(&masked(0x82, &payload));
                    echoed.extend(echo(&payload));
                }
                _ => {}
            }
        }
        self.few.tick_after(1 + self.random.below(40) as u64);
        for (conn, wire) in &self.few.wires {
            self.received.entry(*conn).or_default().extend(wire.borrow_mut().client_takes(usize::MAX));
        }
        self.few.reactor.check();
    }

    /// Everybody leaves.
    fn end(&mut self) {
        for wire in self.few.wires.values() {
            let mut wire = wire.borrow_mut();
            if !wire.server_closed {
                wire.client_resets();
            }
        }
        self.few.tick_after(1000);
        self.few.tick_after(10_000);
        self.few.reactor.check();
        assert_eq!(self.few.reactor.connections(), 0);
    }

    /// The status that a client was answered, if the answer has reached it; what became of the request agrees with it.
    fn status(&self, conn: ConnId) -> String {
        let fate = self.few.reactor.app().fates.get(&conn).copied().unwrap_or_default();
        let octets = &self.received[&conn];
        let status = octets.get(9..12).map_or("none".into(), String::from_utf8_lossy).into_owned();
        let opened = fate.opened;
        assert!(opened <= 1 && fate.closed == opened && fate.abandoned <= 1 - opened, "{fate:?}");
        assert!(opened == 1 || fate.abandoned == 1 || fate.refused > 0, "{fate:?}");
        let is_right = match status.as_str() {
            "101" => opened == 1,
            "401" => opened == 0 && fate.refused > 0 && fate.abandoned == 0,
            "503" | "504" => fate.abandoned == 1,
            _ => status == "none",
        };
        assert!(is_right, "{status} {fate:?}");
        if opened == 1 && status == "101" {
            let head = octets.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a head") + 4;
            assert!(self.sent[&conn].starts_with(&octets[head..]), "what came back was not sent");
        }
        status
    }
}

#[test]
fn every_upgrade_that_waits_has_one_fate() {
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..60 {
        let mut crowd = Crowd::new(seed);
        (0..200).for_each(|step| crowd.step(step));
        crowd.end();
        for conn in crowd.few.reactor.app().asked.clone() {
            *statuses.entry(crowd.status(conn)).or_default() += 1;
        }
    }
    // Every end has been seen.
    for status in ["101", "401", "503", "504", "none"] {
        assert!(statuses.get(status).is_some_and(|count| *count > 20), "{status}: {statuses:?}");
    }
}
