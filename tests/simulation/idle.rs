//! FR-13: Pongs that nobody asked for keep nothing alive but the TCP connection.

use std::collections::BTreeMap;
use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, CloseReason, Closed, ConnId, Context, Message, Request, Verdict,
};
use switchboard::proto::{CloseCode, ProtocolError};
use switchboard::reactor::Config;

use crate::few::{Few, masked};

const IDLE_MS: u64 = 60_000;

/// Closes whom it has not heard for [`IDLE_MS`].
#[derive(Default)]
struct Impatient {
    heard: BTreeMap<ConnId, u64>,
    closed: BTreeMap<ConnId, CloseReason>,
}

impl Application for Impatient {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        Verdict::Accept(Acceptance::default())
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.heard.insert(conn, ctx.now().monotonic_ms);
        ctx.set_timer(ctx.now().monotonic_ms + IDLE_MS, 0);
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: Message<'_>) {
        self.heard.insert(conn, ctx.now().monotonic_ms);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, _: u64) {
        let now = ctx.now().monotonic_ms;
        for (conn, _) in self.heard.iter().filter(|(_, heard)| **heard + IDLE_MS <= now) {
            ctx.close(*conn, CloseCode(4000), "idle");
        }
        ctx.set_timer(now + 1000, 0);
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, closed: &Closed) {
        self.heard.remove(&conn);
        self.closed.insert(conn, closed.reason.clone());
    }
}

/// Ten Pongs in each of this many seconds.
fn pongs(few: &mut Few<Impatient>, conn: ConnId, seconds: u64) {
    for _ in 0..seconds {
        few.send(conn, &masked(0x8A, b"alive").repeat(10));
        few.tick_after(1000);
    }
}

#[test]
fn fr_13_pongs_do_not_reset_an_idle_timer_of_the_application() {
    let mut few = Few::new(Impatient::default(), Config::default());
    let (silent, speaking) = (few.connect(), few.connect());
    for _ in 0..=IDLE_MS / 1000 {
        few.send(speaking, &masked(0x81, b"a message"));
        pongs(&mut few, silent, 1);
    }
    // It answers nothing but with Pongs, and so meets the close deadline as well, which no Pong moves.
    pongs(&mut few, silent, 6);
    let closed = &few.reactor.app().closed;
    assert_eq!(closed.get(&silent), Some(&CloseReason::Application(CloseCode(4000))));
    assert_eq!(closed.get(&speaking), None);
    assert_eq!(few.reactor.connections(), 1);
}

#[test]
fn fr_13_pongs_do_not_prolong_an_unfinished_message() {
    let mut few = Few::new(Impatient::default(), Config::default());
    let conn = few.connect();
    few.send(conn, &masked(0x01, b"a message that never"));
    pongs(&mut few, conn, 29);
    assert_eq!(few.reactor.app().closed.get(&conn), None);
    pongs(&mut few, conn, 3);
    let reason = CloseReason::Protocol(ProtocolError::MessageTimeout);
    assert_eq!(few.reactor.app().closed.get(&conn), Some(&reason));
}

#[test]
fn fr_13_who_falls_silent_after_a_flood_of_pongs_is_pinged_and_cut() {
    let mut few = Few::new(Impatient::default(), Config::default());
    let conn = few.connect();
    few.send(conn, &masked(0x8A, b"").repeat(9000));
    few.tick();
    few.wires[&conn].borrow_mut().to_client.clear();
    few.tick_after(25_032);
    assert_eq!(few.wires[&conn].borrow().to_client, [0x89, 0], "a Ping");
    few.tick_after(10_032);
    assert_eq!(few.reactor.app().closed.get(&conn), Some(&CloseReason::PongTimeout));
    assert_eq!(few.reactor.connections(), 0);
}
