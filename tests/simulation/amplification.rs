//! AM-01: what a few octets of input can make the loop hold and do, however expensive the commands are that fill a read.

use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, Chunk, CloseReason, Closed, ConnId, Context, Entrance, Message, Outgoing,
    Request, Response, TopicId, TopicOptions, Verdict,
};
use switchboard::reactor::Config;

use crate::few::{Few, masked};

/// Octets of one answer.
const ANSWER: usize = 100_000;
/// Octets of one answer with its header.
const ANSWERED: usize = ANSWER + 10;

/// What a message makes the application do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A long answer to the sender.
    Send,
    /// A long answer to the sender from a buffer that is not copied.
    Publish,
    /// Pieces of a streamed message, each with a long answer.
    Stream,
}

/// Answers each message with [`ANSWER`] octets, in one way or another.
struct Expensive {
    way: Way,
    topic: Option<TopicId>,
    calls: usize,
    /// The most octets that waited for a connection when it was called.
    most_waiting: usize,
    closed: Vec<(ConnId, CloseReason)>,
}

impl Expensive {
    fn new(way: Way) -> Self {
        Self { way, topic: None, calls: 0, most_waiting: 0, closed: Vec::new() }
    }

    fn called<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.calls += 1;
        self.most_waiting = self.most_waiting.max(ctx.backlog(conn));
        let answer = vec![b'a'; ANSWER];
        match self.topic {
            Some(topic) if self.way == Way::Publish => {
                ctx.publish(topic, Outgoing::binary(&answer), None);
            }
            _ => ctx.send(conn, Outgoing::binary(&answer)).unwrap(),
        }
    }
}

impl Application for Expensive {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.topic = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_none() {
            self.calls += 1;
            return Verdict::Respond(Response::text(200, "a".repeat(ANSWER)));
        }
        Verdict::Accept(Acceptance::default().with(|it| it.stream_messages = self.way == Way::Stream))
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if self.way == Way::Publish
            && let Some(topic) = self.topic
        {
            ctx.subscribe(conn, topic).unwrap();
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        if message.payload != b"small" {
            return self.called(ctx, conn);
        }
        self.calls += 1;
        ctx.send(conn, Outgoing::text("small")).unwrap();
    }

    fn on_chunk<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: Chunk<'_>) {
        self.called(ctx, conn);
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, closed: &Closed) {
        self.closed.push((conn, closed.reason.clone()));
    }
}

/// What fills a read: many short messages, or one in many fragments.
fn expensive_input(way: Way, count: usize) -> Vec<u8> {
    if way != Way::Stream {
        return masked(0x82, b"{}").repeat(count);
    }
    let mut input = masked(0x02, b"{}");
    input.extend(masked(0x00, b"{}").repeat(count - 2));
    input.extend(masked(0x80, b"{}"));
    input
}

const SOCKET: usize = 1 << 20;

#[test]
fn am_01_what_waits_for_a_peer_that_does_not_read_is_high_water_and_one_answer() {
    for way in [Way::Send, Way::Publish, Way::Stream] {
        let config = Config::default();
        let high_water = config.high_water;
        let mut few = Few::new(Expensive::new(way), config);
        let conn = few.connect();
        few.read(conn);
        few.send(conn, &expensive_input(way, 400));
        for _ in 0..50 {
            few.tick();
            let queued = few.reactor.stats().queued_bytes;
            // The memory of a batch that grows doubles.
            assert!(queued <= 2 * (high_water + ANSWERED), "{queued} wait");
            assert!(few.reactor.app().most_waiting <= high_water, "called while much waits");
        }
        let in_socket = (SOCKET + high_water) / ANSWERED + 1;
        assert!(few.reactor.app().calls <= in_socket + 1, "{} answers", few.reactor.app().calls);
        // When it reads, it gets every answer, and was closed for nothing.
        let mut got = 0;
        for _ in 0..1000 {
            got += few.wires[&conn].borrow_mut().client_takes(usize::MAX).len();
            few.tick();
        }
        assert_eq!((few.reactor.app().calls, got), (400, 400 * ANSWERED));
        assert!(few.reactor.app().closed.is_empty());
    }
}

#[test]
fn am_01_a_turn_of_a_peer_that_reads_everything_is_bounded_and_a_bystander_has_its_own() {
    for way in [Way::Send, Way::Publish, Way::Stream] {
        let mut few = Few::new(Expensive::new(way), Config::default());
        let (greedy, other) = (few.connect(), few.connect());
        few.wires[&greedy].borrow_mut().capacity = usize::MAX;
        few.wires[&other].borrow_mut().capacity = usize::MAX;
        few.send(greedy, &expensive_input(way, 400));
        few.tick();
        let mut before = few.reactor.app().calls;
        // Each round of input ends with what passes the high-water mark; four of them make a turn.
        assert!(before <= 8, "{before} answers in one turn");
        let mut ticks = 0;
        while before < 400 + ticks {
            if way != Way::Stream {
                few.send(other, &masked(0x81, b"small"));
            }
            few.tick();
            ticks += usize::from(way != Way::Stream);
            let calls = few.reactor.app().calls;
            assert!(calls - before <= 9, "{} answers in one turn", calls - before);
            before = calls;
        }
        if way == Way::Send {
            let answers = few.read(other);
            assert!(answers.matches("small").count() >= 40, "it was served in each of {ticks} ticks");
        }
    }
}

#[test]
fn am_01_pipelined_requests_wait_for_their_answers_to_be_read() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n";
    let config = Config::default();
    let high_water = config.high_water;
    let mut few = Few::new(Expensive::new(Way::Send), config);
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(conn, &GET.repeat(500));
    for _ in 0..50 {
        few.tick();
        assert!(few.reactor.stats().queued_bytes <= 2 * (high_water + ANSWERED));
    }
    assert!(few.reactor.app().calls <= SOCKET / ANSWERED + 3, "{} answers", few.reactor.app().calls);
    for _ in 0..1000 {
        few.read(conn);
        few.tick();
    }
    assert_eq!(few.reactor.app().calls, 500);
}

#[test]
fn am_01_frames_behind_an_upgrade_wait_with_the_requests_before_it() {
    let mut few = Few::new(Expensive::new(Way::Send), Config::default());
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    let mut input = b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n".repeat(11);
    input.extend_from_slice(
        b"GET / HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    input.extend(expensive_input(Way::Send, 100));
    few.send(conn, &input);
    let mut got = 0;
    for _ in 0..600 {
        few.tick();
        assert!(few.reactor.app().most_waiting <= Config::default().high_water);
        got += few.wires[&conn].borrow_mut().client_takes(50_000).len();
    }
    assert_eq!(few.reactor.app().calls, 111);
    assert!(got > 111 * ANSWER);
}

/// Answers a message with as many sends of a tenth of a mebibyte to everyone who is open.
#[derive(Default)]
struct Flooder {
    open: Vec<ConnId>,
    closed: Vec<(ConnId, CloseReason)>,
    topic: Option<TopicId>,
}

impl Application for Flooder {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.topic = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.open.push(conn);
        ctx.subscribe(conn, self.topic.unwrap()).unwrap();
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
        for _ in 0..20 {
            if message.payload == b"publish" {
                ctx.publish(self.topic.unwrap(), Outgoing::binary(&vec![b'b'; ANSWER]), None);
                continue;
            }
            for &conn in &self.open {
                let _ = ctx.send(conn, Outgoing::binary(&vec![b'b'; ANSWER]));
            }
        }
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, closed: &Closed) {
        self.closed.push((conn, closed.reason.clone()));
    }
}

#[test]
fn am_01_what_one_tick_may_queue_is_bounded_and_what_goes_out_is_whole() {
    for command in [&b"send"[..], b"publish"] {
        let config = Config::default().with(|it| {
            it.max_tick_output = 1 << 20;
            it.max_backlog = usize::MAX;
        });
        let mut few = Few::new(Flooder::default(), config);
        let conns = [few.connect(), few.connect(), few.connect()];
        for conn in conns {
            few.read(conn);
            few.wires[&conn].borrow_mut().capacity = usize::MAX;
        }
        few.send(conns[0], &masked(0x82, command));
        few.tick();
        let mut too_much = 0;
        for conn in conns {
            let octets = few.wires[&conn].borrow_mut().client_takes(usize::MAX);
            // Whole frames, and a Close with 1008 behind them where some were left out.
            let mut rest = octets.as_slice();
            while let [0x82, 127, behind @ ..] = rest {
                rest = &behind[8 + ANSWER..];
            }
            if !rest.is_empty() {
                assert_eq!(rest[..4], [0x88, 15, 0x03, 0xF0], "{} octets left", rest.len());
                too_much += 1;
            }
        }
        assert!(too_much >= 1, "{}", String::from_utf8_lossy(command));
    }
}
