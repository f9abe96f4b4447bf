//! CP-02: what inflates to a thousand times its length costs one connection no more than its share of a tick.

use std::collections::BTreeMap;
use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, CloseReason, Closed, ConnId, Context, Message, Request, Verdict,
};
use switchboard::proto::{DeflateConfig, ProtocolError};
use switchboard::reactor::{Config, Readiness};

use crate::few::{Few, masked};

/// What one bomb inflates to.
const BOMB_LEN: usize = 60_000;
/// What a turn may inflate.
const BUDGET: usize = 4 * BOMB_LEN - 1;
const BOMBS: usize = 100;

/// Notes how much arrived from whom.
#[derive(Default)]
struct Sink {
    opened: Vec<ConnId>,
    messages: BTreeMap<ConnId, usize>,
    closed: BTreeMap<ConnId, CloseReason>,
}

impl Application for Sink {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        Verdict::Accept(Acceptance::default())
    }

    fn on_open<C: Context>(&mut self, _: &mut C, conn: ConnId) {
        self.opened.push(conn);
    }

    fn on_message<C: Context>(&mut self, _: &mut C, conn: ConnId, _: Message<'_>) {
        *self.messages.entry(conn).or_default() += 1;
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, closed: &Closed) {
        self.closed.insert(conn, closed.reason.clone());
    }
}

/// Compressed messages of [`BOMB_LEN`] bytes each, none of which needs the one before.
fn bombs(count: usize) -> Vec<u8> {
    let mut inner = flate2::Compress::new_with_window_bits(flate2::Compression::best(), false, 15);
    let mut bomb = Vec::with_capacity(1000);
    inner.compress_vec(&vec![0; BOMB_LEN], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    bomb.truncate(bomb.len() - 4);
    masked(0xC2, &bomb).repeat(count)
}

fn opened(few: &mut Few<Sink>) -> ConnId {
    let conn = few.connect();
    assert!(few.reactor.app().opened.contains(&conn));
    conn
}

fn messages(few: &Few<Sink>, conn: ConnId) -> usize {
    few.reactor.app().messages.get(&conn).copied().unwrap_or_default()
}

fn config() -> Config {
    let mut config = Config::default().with(|it| it.max_inflated = BUDGET);
    config.proto.deflate = Some(DeflateConfig::default());
    config
}

#[test]
fn cp_02_a_turn_inflates_no_more_than_its_budget() {
    let mut one = Few::new(Sink::default(), config());
    let (bomber, other) = (opened(&mut one), opened(&mut one));
    let last = masked(0x82, b"the last one");
    for round in 0..3 {
        let before = (messages(&one, bomber), messages(&one, other));
        one.send(bomber, &bombs(BOMBS));
        one.send(bomber, &last);
        let ticks = BOMBS / 4;
        for tick in 1..=ticks {
            one.send(other, &masked(0x81, b"hello"));
            one.tick();
            // The message that passes the budget is finished.
            assert_eq!(messages(&one, bomber) - before.0, 4 * tick, "round {round}");
            assert_eq!(messages(&one, other) - before.1, tick, "the other one is served meanwhile");
            assert!(one.reactor.has_pending_work(), "the next tick comes by itself");
        }
        one.tick();
        assert_eq!(messages(&one, bomber) - before.0, BOMBS + 1, "what was small comes behind, in order");
        one.tick();
        assert!(!one.reactor.has_pending_work());
        assert_eq!(messages(&one, other) - before.1, ticks);
    }
}

/// Events while input is parked neither overtake it nor bring it a second turn.
#[test]
fn cp_02_events_do_not_add_to_the_budget() {
    let mut one = Few::new(Sink::default(), config());
    let bomber = opened(&mut one);
    one.send(bomber, &bombs(BOMBS));
    for tick in 1..BOMBS / 4 {
        one.tick();
        let readiness = Readiness { readable: true, writable: true, read_closed: false };
        one.send(bomber, &bombs(1));
        one.reactor.ready(bomber, readiness);
        one.reactor.end_tick();
        assert_eq!(messages(&one, bomber), 4 * tick);
    }
}

/// A message of so many octets, each 32 of which are a block with BFINAL set, as RFC 7692 7.2.3.5 allows: the inflater starts again
/// behind each.
fn final_blocks(blocks: usize) -> Vec<u8> {
    let block = [&[0x01, 27, 0, !27, 0xFF][..], &[b'x'; 27]].concat();
    compressed(block.repeat(blocks))
}

/// Blocks that bring nothing: each octet costs, whatever comes out.
fn empty_blocks(count: usize) -> Vec<u8> {
    compressed([0, 0, 0, 0xFF, 0xFF].repeat(count))
}

/// A message of these blocks, with a masking-key of zeros.
fn compressed(mut payload: Vec<u8>) -> Vec<u8> {
    // RFC 7692 7.2.3.4: an empty block, of which the tail is left out.
    payload.push(0);
    let mut frame = vec![0xC2, 0xFE];
    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn cp_02_what_goes_in_costs_whatever_comes_out() {
    let mut config = Config::default();
    config.proto.deflate = Some(DeflateConfig::default());
    // At 4 KiB for each final block 1,800 of them are seven turns and more; of empty blocks 2 x 60,000 octets are less than one.
    for (input, least) in [(final_blocks(1_800), 7), (empty_blocks(12_000).repeat(5), 2)] {
        let mut few = Few::new(Sink::default(), config.clone());
        let (bomber, other) = (opened(&mut few), opened(&mut few));
        few.send(bomber, &input);
        let expected = if least == 7 { 1 } else { 5 };
        let mut ticks = 0;
        while messages(&few, bomber) < expected {
            few.send(other, &masked(0x81, b"hello"));
            few.tick();
            ticks += 1;
            assert!(ticks < 1_000, "{:?}", few.reactor.app().closed);
            assert_eq!(messages(&few, other), ticks, "the other one is served in each turn");
        }
        assert!(ticks >= least, "{ticks} turns");
    }
}

/// A FIN behind parked input is read in its turn.
#[test]
fn cp_02_parked_input_is_delivered_before_the_fin() {
    let mut one = Few::new(Sink::default(), config());
    let bomber = opened(&mut one);
    one.send(bomber, &bombs(10));
    one.wires[&bomber].borrow_mut().client_ends();
    for _ in 0..5 {
        one.tick();
    }
    assert_eq!(messages(&one, bomber), 10);
    assert_eq!(one.reactor.app().closed.get(&bomber), Some(&CloseReason::Disconnected));
    assert_eq!(one.reactor.connections(), 0);
}

/// Held input counts as unfinished: it is given back when it is eaten and when its connection ends, and fails the
/// connection where the budget is used up.
#[test]
fn cp_02_parked_input_is_counted_and_given_back() {
    let octets = bombs(BOMBS);
    let held = octets.len() - octets.len() / BOMBS * 4;
    let mut one = Few::new(Sink::default(), config().with(|it| it.max_unfinished = held));
    for _ in 0..3 {
        let eaten = opened(&mut one);
        one.send(eaten, &octets);
        (0..=BOMBS / 4).for_each(|_| one.tick());
        assert_eq!(messages(&one, eaten), BOMBS, "given back when eaten");
        let broken = opened(&mut one);
        one.send(broken, &octets);
        one.tick();
        one.reactor.abort(broken);
        one.wires.remove(&broken);
        one.tick();
        assert_eq!(messages(&one, broken), 4, "given back when the connection ends");
    }
    let mut one = Few::new(Sink::default(), config().with(|it| it.max_unfinished = held - 1));
    let bomber = opened(&mut one);
    one.send(bomber, &octets);
    one.tick();
    let reason = CloseReason::Protocol(ProtocolError::UnfinishedBudget);
    assert_eq!(one.reactor.app().closed.get(&bomber), Some(&reason));
    assert_eq!(messages(&one, bomber), 4);
}
