//! Whose turn it is, and for how long: what is left waits for the next tick.

use std::convert::Infallible;

use switchboard::app::{
    Application, ConnId, Context, Entrance, Message, Outgoing, Request, Response, Verdict,
};
use switchboard::reactor::Config;

use crate::few::{Few, masked};

/// Counts requests, and answers a message that is a number with as many bytes.
#[derive(Default)]
struct Counter {
    requests: usize,
    messages: usize,
}

impl Application for Counter {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_some() {
            return Verdict::Accept(switchboard::app::Acceptance::default());
        }
        self.requests += 1;
        Verdict::Respond(Response::text(200, self.requests.to_string()))
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        self.messages += 1;
        let len = std::str::from_utf8(message.payload).unwrap().parse().unwrap();
        ctx.send(conn, Outgoing::binary(&vec![0; len])).unwrap();
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n";

#[test]
fn sixteen_connections_before_their_upgrade_are_read_in_a_tick() {
    let mut few = Few::new(Counter::default(), Config::default());
    for _ in 0..40 {
        let conn = few.accept([127, 0, 0, 1], Entrance::default());
        few.send(conn, GET);
    }
    for answered in [16, 32, 40, 40] {
        few.tick();
        assert_eq!(few.reactor.app().requests, answered);
    }
}

#[test]
fn the_thousandth_request_of_a_connection_is_its_last() {
    let mut few = Few::new(Counter::default(), Config::default());
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    let mut answers = String::new();
    for _ in 0..1001 {
        few.send(conn, GET);
        few.tick();
        answers.push_str(&few.read(conn));
    }
    assert_eq!(few.reactor.app().requests, 1000);
    assert_eq!(answers.matches("Connection: close").count(), 1);
    assert!(answers.ends_with("\r\n\r\n1000\n") && few.is_ended(conn));
}

#[test]
fn amid_congestion_only_those_for_whom_nothing_waits_are_read() {
    const SOCKET: usize = 1 << 20;
    const LIMIT: usize = 60_000;
    let config = Config::default().with(|it| {
        it.max_queued = LIMIT / 3 * 4;
        it.max_backlog = 2 * SOCKET;
    });
    let mut few = Few::new(Counter::default(), config);
    let [waits, reads, stalls] = [(); 3].map(|()| few.connect());
    let ask = |few: &mut Few<Counter>, conn: ConnId, len: usize| {
        few.send(conn, &masked(0x81, len.to_string().as_bytes()));
        few.tick();
        few.reactor.app().messages
    };
    for conn in [waits, reads, stalls] {
        few.read(conn);
    }
    assert_eq!(ask(&mut few, waits, SOCKET + 1000), 1);
    assert_eq!(ask(&mut few, waits, 0), 2, "something waits for it, but not much for all");

    assert_eq!(ask(&mut few, stalls, SOCKET + LIMIT), 3);
    assert_eq!(ask(&mut few, waits, 0), 3, "what waits for all is above three quarters of the limit");
    assert_eq!(ask(&mut few, reads, 0), 4, "nothing waits for this one");
    few.read(stalls);
    few.tick();
    few.read(waits);
    few.tick();
    few.tick();
    assert_eq!(few.reactor.app().messages, 5, "it is read when the congestion is over");
}

#[test]
fn a_connection_brings_one_receive_buffer_in_a_tick() {
    let config = Config::default();
    let mut few = Few::new(Counter::default(), config.clone());
    let conn = few.connect();
    let frame = masked(0x81, b"00000000000000000000000000");
    assert_eq!(frame.len(), 32);
    let in_buffer = config.receive_buffer / frame.len();
    few.send(conn, &frame.repeat(in_buffer * 5 / 2));
    for seen in [in_buffer, in_buffer * 2, in_buffer * 5 / 2] {
        few.tick();
        assert_eq!(few.reactor.app().messages, seen);
    }
}

#[test]
fn what_a_socket_holds_is_read_without_an_event_and_what_it_owes_is_passed_on() {
    let mut few = Few::new(Counter::default(), Config::default());
    let conn = few.connect();
    few.read(conn);
    few.wires[&conn].borrow_mut().keeps_back = true;
    for _ in 0..25 {
        few.send(conn, &masked(0x82, b"1").repeat(4));
        few.tick();
    }
    for _ in 0..1000 {
        few.tick();
    }
    assert_eq!(few.reactor.app().messages, 100);
    assert!(few.wires[&conn].borrow().inputs_held > 0 && few.wires[&conn].borrow().outputs_owed > 0);
    assert_eq!(few.wires[&conn].borrow_mut().client_takes(usize::MAX), [0x82, 1, 0].repeat(100));
}

#[test]
fn what_several_turns_in_one_tick_bring_goes_out_in_order() {
    let mut few = Few::new(Counter::default(), Config::default());
    let conns = [(); 3].map(|()| few.connect());
    for conn in conns {
        few.read(conn);
        few.wires[&conn].borrow_mut().capacity = 150;
    }
    for len in [b"100", b"101", b"102"] {
        for conn in conns {
            few.send(conn, &masked(0x82, len));
            let edges = few.wires[&conn].borrow_mut().take_edges().unwrap();
            few.reactor.ready(conn, edges);
        }
    }
    few.reactor.end_tick();
    for conn in conns {
        let mut said = Vec::new();
        for _ in 0..5 {
            said.extend(few.wires[&conn].borrow_mut().client_takes(usize::MAX));
            few.tick();
        }
        let answer = |len: u8| [vec![0x82, len], vec![0; len.into()]].concat();
        assert_eq!(said, [answer(100), answer(101), answer(102)].concat());
    }
}

#[test]
fn no_fin_goes_out_before_what_a_socket_owes() {
    let mut few = Few::new(Counter::default(), Config::default());
    let conn = few.connect();
    few.read(conn);
    {
        let mut wire = few.wires[&conn].borrow_mut();
        (wire.keeps_back, wire.capacity) = (true, 10);
    }
    few.send(conn, &[masked(0x82, b"100"), masked(0x88, b"")].concat());
    let mut said = Vec::new();
    for _ in 0..200 {
        few.tick();
        let is_ended = few.is_ended(conn);
        said.extend(few.wires[&conn].borrow_mut().client_takes(7));
        assert!(!is_ended || few.wires[&conn].borrow().owed_output.is_empty());
    }
    assert_eq!(said.len(), 102 + 2, "the answer and the Close");
    assert!(few.is_ended(conn));
}

#[test]
fn a_connection_is_kept_alive_for_as_long_as_balancers_keep_it_and_a_head_has_its_own_time() {
    let mut few = Few::new(Counter::default(), Config::default());
    let [waits, drips, late] = [(); 3].map(|()| few.accept([127, 0, 0, 1], Entrance::default()));
    for conn in [waits, drips, late] {
        few.send(conn, GET);
    }
    few.tick();
    assert_eq!(few.reactor.app().requests, 3);
    few.tick_after(65_000);
    assert!(!few.is_ended(waits) && !few.is_ended(drips), "the default of common balancers is 60 s");
    few.send(waits, GET);
    few.send(drips, b"GET / HT");
    few.tick();
    assert_eq!(few.reactor.app().requests, 4);
    few.read(drips);
    few.tick_after(5_000);
    few.send(drips, b"TP/1.1\r\n");
    few.tick_after(5_500);
    assert!(few.read(drips).starts_with("HTTP/1.1 408 ") && few.is_ended(drips), "a head has 10 s");
    assert!(few.is_ended(late), "75 s have passed");
    few.tick_after(70_000);
    assert!(few.is_ended(waits));
    // A head that began in the read that brought the request before it has its time, too.
    let coalesced = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(coalesced, &[GET, b"GET / HT"].concat());
    few.tick();
    few.read(coalesced);
    few.tick_after(10_500);
    assert!(few.read(coalesced).starts_with("HTTP/1.1 408 "));
}

#[test]
fn pings_keep_to_their_interval_though_the_pong_may_take_longer() {
    for (pong_ms, talks) in [(5_000, false), (0, false), (5_000, true), (300, true)] {
        let mut config = Config::default();
        (config.proto.timeouts.ping_ms, config.proto.timeouts.pong_ms) = (1_000, pong_ms);
        let mut few = Few::new(Counter::default(), config);
        let conn = few.connect();
        few.read(conn);
        let mut pings = Vec::new();
        for at in 0..500_u64 {
            few.tick_after(10);
            if talks {
                few.send(conn, &masked(0x81, b"0"));
            }
            let said = few.wires[&conn].borrow_mut().client_takes(usize::MAX);
            if said.windows(2).any(|octets| octets == [0x89, 0]) {
                pings.push(at * 10);
                few.send(conn, &masked(0x8A, b""));
            }
        }
        assert_eq!(pings.len(), 4, "{pong_ms} {talks}: {pings:?}");
        let gaps = pings.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.into_iter().all(|gap| (1_000..1_100).contains(&gap)), "{pong_ms} {talks}: {pings:?}");
    }
}

#[test]
fn nothing_behind_a_text_that_is_not_utf_8_reaches_the_application() {
    for behind in [masked(0x81, b"1"), masked(0x82, b"1"), masked(0x89, b"")] {
        for before in [vec![], masked(0x81, b"0")] {
            let mut few = Few::new(Counter::default(), Config::default());
            let conn = few.connect();
            few.read(conn);
            few.send(conn, &[before.clone(), masked(0x81, b"\xff"), behind.clone()].concat());
            few.tick();
            assert_eq!(few.reactor.app().messages, usize::from(!before.is_empty()));
            let said = few.wires[&conn].borrow_mut().client_takes(usize::MAX);
            let close = said.iter().position(|&octet| octet == 0x88).unwrap();
            assert_eq!(said[close + 2..close + 4], 1007_u16.to_be_bytes());
            assert!(few.is_ended(conn));
        }
    }
}
