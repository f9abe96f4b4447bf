//! The application under simulation. It notes what it means each connection to get: that is the oracle.

use std::collections::{BTreeMap, BTreeSet};

use switchboard::app::{
    Acceptance, Application, Chunk, CloseReason, Closed, ConnId, Context, Deliveries, Message, Outgoing,
    OwnedMessage, Request, SlowPolicy, TopicId, TopicOptions, Verdict,
};
use switchboard::proto::{CloseCode, MAX_FRAME_HEADER_LEN, SendError};

/// Topics that close slow consumers; behind them stands one for each policy that drops.
pub const TOPICS: usize = 3;
pub const DROPPING: [SlowPolicy; 3] = [SlowPolicy::DropOldest, SlowPolicy::DropNewest, SlowPolicy::Conflate];

/// What compression may add to what cannot be compressed.
const DEFLATE_GROWTH: usize = 64;

/// Octets of a Ping, of a Pong and of a Close, which no limit holds back.
const CONTROL_LEN: usize = 3 * (MAX_FRAME_HEADER_LEN + 125);

/// A message that is meant for a connection.
pub struct Expected {
    pub text: String,
    /// The topic that may drop it, and its key.
    pub loss: Option<(usize, u64)>,
}

/// What is meant for one connection.
#[derive(Default)]
pub struct Meant {
    pub messages: Vec<Expected>,
    topics: BTreeSet<usize>,
    /// What `on_lag` told, by topic.
    pub lag: BTreeMap<usize, u64>,
    /// `on_close` was called.
    pub closed: Option<CloseReason>,
    /// The application began to close it.
    is_closing: bool,
}

#[derive(Default)]
pub struct App {
    topics: Vec<TopicId>,
    pub meant: BTreeMap<ConnId, Meant>,
    /// By the name in the request, so that the simulation knows which client is which connection.
    pub names: BTreeMap<String, ConnId>,
    count: usize,
    pub timers: usize,
    pub drained: bool,
    pub rejoins_in_tick: usize,
    /// Messages that arrive in pieces.
    pieces: BTreeMap<ConnId, Vec<u8>>,
    pub chunked: usize,
    pub fragmented: usize,
    pub forwarded: usize,
    /// Octets that the topics that drop let wait.
    pub max_queue: usize,
    /// Octets above which no more of a connection's input is taken.
    high_water: usize,
    /// The connections whose commands came in this tick, and the longest answer of each.
    commanded: BTreeMap<ConnId, usize>,
    /// Whose command is obeyed now, or was last.
    commander: Option<ConnId>,
    /// Octets that others queued for a connection in this tick.
    foreign: BTreeMap<ConnId, usize>,
    /// Commands after which something waited at the end of the tick.
    pub commands_beside_output: usize,
    /// What the topics that drop said last.
    pub totals: [Deliveries; 3],
}

impl App {
    pub fn new(max_queue: usize, high_water: usize) -> Self {
        Self { max_queue, high_water, ..Self::default() }
    }

    /// A command of a connection comes. What waits for it then is at most `high_water`, whatever came in the same read.
    fn commanded<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let waiting = ctx.backlog(conn);
        assert!(waiting <= self.high_water, "{conn:?}: a command came while {waiting} octets waited");
        self.commander = Some(conn);
        self.commanded.entry(conn).or_default();
    }

    /// Notes octets that are queued for a connection: as an answer to a command of its own, or because of somebody else.
    fn queued(&mut self, conn: ConnId, len: usize) {
        let len = len + MAX_FRAME_HEADER_LEN + DEFLATE_GROWTH;
        match self.commanded.get_mut(&conn) {
            Some(longest) if self.commander == Some(conn) => *longest = len.max(*longest),
            _ => *self.foreign.entry(conn).or_default() += len,
        }
    }

    /// AM-01: what waits for a connection after a tick in which it commanded is `high_water` and one answer, besides what
    /// others sent to it.
    fn check_queues<C: Context>(&mut self, ctx: &mut C) {
        let foreign = std::mem::take(&mut self.foreign);
        for (conn, longest) in std::mem::take(&mut self.commanded) {
            let waiting = ctx.backlog(conn);
            let most =
                self.high_water + longest + CONTROL_LEN + foreign.get(&conn).copied().unwrap_or_default();
            assert!(waiting <= most, "{conn:?}: {waiting} octets wait, at most {most} may");
            self.commands_beside_output += usize::from(waiting > 0);
        }
        self.commander = None;
    }

    fn next(&mut self, kind: &str, size: usize) -> String {
        self.count += 1;
        format!("{kind} {} {}", self.count, "x".repeat(size))
    }

    fn send<C: Context>(&mut self, ctx: &mut C, conn: ConnId, text: String) {
        let is_sent = ctx.send(conn, Outgoing::text(&text)).is_ok();
        let Some(meant) = self.meant.get_mut(&conn) else { return assert!(!is_sent) };
        assert!(!is_sent || meant.closed.is_none() && !meant.is_closing, "sent to a closed connection");
        if is_sent {
            let len = text.len();
            meant.messages.push(Expected { text, loss: None });
            self.queued(conn, len);
        }
    }

    fn publish<C: Context>(&mut self, ctx: &mut C, topic: usize, size: usize, except: Option<ConnId>) {
        let text = self.next("published", size);
        let published = match topic.checked_sub(TOPICS) {
            Some(at) => {
                let key = size as u64 % 3;
                let published = ctx.publish_keyed(self.topics[topic], key, Outgoing::text(&text), except);
                self.totals[at] = published.totals;
                published
            }
            None => ctx.publish(self.topics[topic], Outgoing::text(&text), except),
        };
        let loss = (topic >= TOPICS).then_some((topic, size as u64 % 3));
        let mut expected = 0;
        let mut receivers = Vec::new();
        for (conn, meant) in &mut self.meant {
            if meant.topics.contains(&topic) && Some(*conn) != except {
                meant.messages.push(Expected { text: text.clone(), loss });
                expected += 1;
                receivers.push(*conn);
            }
        }
        for conn in receivers {
            *self.foreign.entry(conn).or_default() += text.len() + MAX_FRAME_HEADER_LEN + DEFLATE_GROWTH;
        }
        // A connection that ended in this tick is no receiver any more, though `on_close` is still to come.
        assert!(published.receivers <= expected, "more receivers than members");
    }

    /// Does what a client asks for.
    fn obey<C: Context>(&mut self, ctx: &mut C, conn: ConnId, text: &str) {
        let mut words = text.split(' ');
        let command = words.next().unwrap_or_default();
        let number: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        let topic = number % TOPICS;
        match command {
            "post" => self.publish(ctx, topic, number, None),
            "others" => self.publish(ctx, topic, number, Some(conn)),
            "burst" => {
                for size in 0..5 {
                    self.publish(ctx, (topic + size) % TOPICS, size, None);
                    let text = self.next("between", size);
                    self.send(ctx, conn, text);
                }
            }
            "join" => {
                self.join(ctx, conn, topic);
            }
            "enlist" => self.enlist(ctx, conn, number),
            "flood" => {
                for at in 0..number % 40 {
                    self.publish(ctx, TOPICS + at % DROPPING.len(), at * 7, None);
                }
            }
            "leave" => {
                ctx.unsubscribe(conn, self.topics[topic]);
                self.meant.get_mut(&conn).expect("known").topics.remove(&topic);
            }
            "rejoin" => {
                self.publish(ctx, topic, 1, None);
                ctx.unsubscribe(conn, self.topics[topic]);
                self.meant.get_mut(&conn).expect("known").topics.remove(&topic);
                self.publish(ctx, topic, 2, None);
                self.join(ctx, conn, topic);
                self.publish(ctx, topic, 3, None);
                self.rejoins_in_tick += 1;
            }
            "echo" => {
                let text = self.next("echo", number);
                self.send(ctx, conn, text);
            }
            "long" => self.send(ctx, conn, text.to_owned()),
            "pieces" => {
                let text = self.next("pieces", number);
                let (first, second) = text.split_at(text.len() / 2);
                // A subscriber gets no fragments: what is published could come between them.
                if ctx.send_fragment(conn, Outgoing::text(first), false).is_ok() {
                    assert!(ctx.send(conn, Outgoing::text("between")).is_err());
                    assert!(ctx.subscribe(conn, self.topics[topic]).is_err());
                    ctx.send_fragment(conn, Outgoing::text(second), true).expect("begun");
                    self.queued(conn, text.len() + MAX_FRAME_HEADER_LEN + DEFLATE_GROWTH);
                    self.meant.get_mut(&conn).expect("known").messages.push(Expected { text, loss: None });
                    self.fragmented += 1;
                }
            }
            "tell" => {
                let all: Vec<ConnId> = self.meant.keys().copied().collect();
                let text = self.next("told", number);
                self.send(ctx, all[number % all.len()], text);
            }
            "timer" => ctx.set_timer(ctx.now().monotonic_ms + number as u64, number as u64),
            "close" => {
                ctx.close(conn, CloseCode(4000), "as you wish");
                assert_eq!(ctx.send(conn, Outgoing::text("behind")), Err(SendError::NotOpen));
                self.leave_all(conn);
                self.meant.get_mut(&conn).expect("known").is_closing = true;
            }
            other => panic!("a damaged command came through: {other:?}"),
        }
    }

    fn join<C: Context>(&mut self, ctx: &mut C, conn: ConnId, topic: usize) {
        // A slow consumer is closed by the loop before the application hears of it.
        if ctx.subscribe(conn, self.topics[topic]).is_ok() {
            self.meant.get_mut(&conn).expect("known").topics.insert(topic);
        }
    }

    /// Joins a topic that drops, with its own policy or another.
    fn enlist<C: Context>(&mut self, ctx: &mut C, conn: ConnId, number: usize) {
        let topic = TOPICS + number % DROPPING.len();
        if number.is_multiple_of(2) {
            self.join(ctx, conn, topic);
        } else if ctx.subscribe_as(conn, self.topics[topic], DROPPING[number % 2]).is_ok() {
            self.meant.get_mut(&conn).expect("known").topics.insert(topic);
        }
    }

    fn leave_all(&mut self, conn: ConnId) {
        self.meant.get_mut(&conn).expect("known").topics.clear();
    }
}

impl Application for App {
    type Mail = ();

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.topics = (0..TOPICS).map(|_| ctx.create_topic(TopicOptions::default())).collect();
        for slow_policy in DROPPING {
            let max_queue = Some(self.max_queue);
            self.topics.push(ctx.create_topic(TopicOptions::default().with(|it| {
                it.slow_policy = slow_policy;
                it.max_queue = max_queue;
            })));
        }
    }

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        let name = request.head.path().trim_start_matches('/').to_owned();
        assert!(self.names.insert(name, request.conn).is_none(), "one upgrade per client");
        Verdict::Accept(
            Acceptance::default().with(|it| it.stream_messages = request.conn.index.is_multiple_of(3)),
        )
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        assert!(self.meant.insert(conn, Meant::default()).is_none(), "a handle is never used twice");
        self.send(ctx, conn, "welcome".to_owned());
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        self.commanded(ctx, conn);
        let text = message.text().expect("clients send text").to_owned();
        self.obey(ctx, conn, &text);
    }

    fn on_owned<C: Context>(&mut self, ctx: &mut C, conn: ConnId, mut message: OwnedMessage) {
        self.commanded(ctx, conn);
        let text = message.as_message().text().expect("clients send text").to_owned();
        if !text.starts_with("long ") {
            return self.obey(ctx, conn, &text);
        }
        let is_sent = ctx.forward(conn, message).is_ok();
        let meant = self.meant.get_mut(&conn).expect("known");
        assert!(!is_sent || meant.closed.is_none() && !meant.is_closing, "sent to a closed connection");
        if is_sent {
            self.queued(conn, text.len());
            let meant = self.meant.get_mut(&conn).expect("known");
            meant.messages.push(Expected { text, loss: None });
            self.forwarded += 1;
        }
    }

    fn on_chunk<C: Context>(&mut self, ctx: &mut C, conn: ConnId, chunk: Chunk<'_>) {
        self.commanded(ctx, conn);
        let mut text = self.pieces.remove(&conn).unwrap_or_default();
        text.extend_from_slice(chunk.payload);
        if chunk.is_last {
            self.chunked += 1;
            self.obey(ctx, conn, &String::from_utf8(text).expect("validated"));
        } else {
            self.pieces.insert(conn, text);
        }
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        self.leave_all(conn);
        let meant = self.meant.get_mut(&conn).expect("on_open came first");
        assert!(meant.closed.replace(closed.reason.clone()).is_none(), "on_close comes once");
        self.publish(ctx, 0, 0, None);
    }

    /// The simulation asks, after a tick.
    fn on_mail<C: Context>(&mut self, ctx: &mut C, (): ()) {
        self.check_queues(ctx);
    }

    fn on_lag<C: Context>(&mut self, _ctx: &mut C, conn: ConnId, topic: TopicId, dropped: u64) {
        assert!(dropped > 0);
        let topic = self.topics.iter().position(|other| *other == topic).expect("a topic of ours");
        let meant = self.meant.get_mut(&conn).expect("on_open came first");
        assert!(meant.closed.is_none(), "told of a gap after the end");
        *meant.lag.entry(topic).or_default() += dropped;
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        self.timers += 1;
        self.publish(ctx, token as usize % TOPICS, 3, None);
    }

    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        self.drained = true;
        self.publish(ctx, 1, 1, None);
        for meant in self.meant.values_mut() {
            meant.topics.clear();
            meant.is_closing = true;
        }
    }
}
