//! Who comes in, and how everybody is seen out.

use std::collections::BTreeMap;
use std::convert::Infallible;

use switchboard::app::{Application, CloseKind, Closed, ConnId, Context, Entrance, Message, Rejection};
use switchboard::proto::CloseCode;
use switchboard::reactor::Config;

use crate::few::{Few, masked};

#[derive(Default)]
struct Door {
    ends: BTreeMap<ConnId, Closed>,
    rejected: Vec<u16>,
    stops: bool,
}

impl Application for Door {
    type Mail = Infallible;

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, _: Message<'_>) {
        if self.stops {
            ctx.drain();
        }
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, closed: &Closed) {
        self.ends.insert(conn, closed.clone());
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        self.rejected.extend(rejection.status);
    }
}

const INTERNAL: Entrance =
    Entrance { listener: 1, is_internal: true, is_trusted: false, is_introduced: false };

#[test]
fn rx_09_an_address_gets_so_many_connections_and_no_more() {
    let config = Config::default().with(|it| it.max_connections_per_address = 2);
    let mut few = Few::new(Door::default(), config);
    for _ in 0..50 {
        let let_in: Vec<ConnId> = (0..2).map(|_| few.accept([10, 0, 0, 1], Entrance::default())).collect();
        let refused = few.accept([10, 0, 0, 1], Entrance::default());
        let other = few.accept([10, 0, 0, 2], Entrance::default());
        let operator = few.accept([10, 0, 0, 1], INTERNAL);
        few.tick();
        let answer = few.read(refused);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer:?}");
        assert!(few.is_ended(refused));
        for conn in [let_in[0], let_in[1], other, operator] {
            assert!(!few.is_ended(conn));
            few.wires[&conn].borrow_mut().client_resets();
        }
        few.wires[&refused].borrow_mut().client_ends();
        few.tick();
        few.tick();
        assert_eq!(few.reactor.connections(), 0);
    }
    assert_eq!(few.reactor.stats().requests.crowded, 50);
    assert_eq!(few.reactor.stats().accepted, 250);
    assert_eq!(few.reactor.app().rejected, [503; 50]);
}

#[test]
fn rx_09_new_connections_come_at_a_rate() {
    for per_address in [true, false] {
        let rate = 10;
        let config = Config::default().with(|it| {
            it.max_new_per_second_per_address = if per_address { rate } else { 0 };
            it.max_new_per_second = if per_address { 0 } else { rate };
        });
        let mut few = Few::new(Door::default(), config);
        let mut let_in = 0;
        for _ in 0..20 {
            for _ in 0..5 {
                let conn = few.accept([10, 0, 0, 1], Entrance::default());
                few.tick_after(10);
                let_in += usize::from(few.read(conn).is_empty());
            }
        }
        // One second: a burst, and what flows in meanwhile.
        assert!((19..=21).contains(&let_in), "{let_in} of 100 in 1 s");
        assert_eq!(few.reactor.stats().requests.hurried, 100 - let_in as u64);
    }
}

#[test]
fn pr_01_many_are_closed_over_a_while_and_few_at_once() {
    for (count, spread_ms) in [(200, 0), (1000, 5000)] {
        let config = Config::default().with(|it| it.shutdown_code = CloseCode(1012));
        let mut few = Few::new(Door::default(), config);
        let conns: Vec<ConnId> = (0..count).map(|_| few.connect()).collect();
        for conn in &conns {
            few.read(*conn);
        }
        few.reactor.begin_shutdown();
        let mut closed_at = BTreeMap::new();
        for step in 0..300 {
            few.tick_after(20);
            for conn in &conns {
                if few.wires[conn].borrow().to_client.is_empty() {
                    continue;
                }
                let octets = few.wires[conn].borrow_mut().client_takes(usize::MAX);
                assert_eq!((octets[0], &octets[2..4]), (0x88, &1012_u16.to_be_bytes()[..]));
                closed_at.insert(*conn, step * 20);
                few.send(*conn, &masked(0x88, &1012_u16.to_be_bytes()));
            }
        }
        assert_eq!(closed_at.len(), count);
        let last = *closed_at.values().max().unwrap();
        assert!(last >= spread_ms * 9 / 10 && last <= spread_ms + 40, "{count}: the last after {last} ms");
        let early = closed_at.values().filter(|&&at| at < spread_ms / 2).count();
        assert!(spread_ms == 0 || (450..550).contains(&early), "{early} of 1000 in the first half");
        for wire in few.wires.values() {
            wire.borrow_mut().client_ends();
        }
        few.tick();
        few.tick();
        assert!(few.reactor.is_drained());
        assert_eq!(few.reactor.stats().closes.of(CloseKind::Shutdown), count as u64);
    }
}

#[test]
fn nobody_is_upgraded_while_the_server_stops() {
    let mut few = Few::new(Door::default(), Config::default());
    few.reactor.begin_shutdown();
    let late = few.connect();
    few.tick();
    assert!(few.read(late).starts_with("HTTP/1.1 503 "));
    assert_eq!(few.reactor.stats().upgrades.draining, 1);
}

#[test]
fn an_application_may_ask_for_the_end() {
    let mut few = Few::new(Door { stops: true, ..Door::default() }, Config::default());
    let conn = few.connect();
    few.send(conn, &masked(0x82, b"stop"));
    few.tick();
    assert!(few.reactor.is_drain_asked() && few.reactor.has_pending_work(), "the loop is told");
    few.reactor.begin_shutdown();
    assert!(!few.reactor.is_drain_asked());
    few.tick();
    few.send(conn, &masked(0x82, b"stop"));
    few.tick();
    assert!(!few.reactor.is_drain_asked(), "once");
}

#[test]
fn promise_10_the_end_of_a_connection_says_who_why_and_what_was_left() {
    let mut few = Few::new(Door::default(), Config::default());
    let conn = few.connect();
    few.tick_after(7000);
    few.send(conn, &masked(0x83, b""));
    few.tick();
    let closed = &few.reactor.app().ends[&conn];
    assert_eq!(
        (closed.peer.to_string().as_str(), closed.silent_ms, closed.queued > 0),
        ("127.0.0.1:1", 0, true)
    );
    let silent = few.connect();
    few.tick_after(25_001);
    for _ in 0..20 {
        few.tick_after(1000);
    }
    let closed = &few.reactor.app().ends[&silent];
    assert!((35_000..37_000).contains(&closed.silent_ms), "{} ms without a Pong", closed.silent_ms);
    assert_eq!(few.reactor.stats().closes.of(CloseKind::PongTimeout), 1);
    assert_eq!(few.reactor.stats().closes.of(CloseKind::Protocol), 1);
}
