//! One run: a network, clients with moods, the reactor, and what must hold in the end.

use std::collections::BTreeMap;

use switchboard::app::{CloseReason, ConnId, Entrance, Now};
use switchboard::proto::{Limits, ProtocolError};
use switchboard::reactor::{Config, Reactor, Readiness};

use crate::application::{App, Meant, TOPICS};
use crate::client::{Client, End, random_deflate};
use crate::network::{Random, SimSocket, Wire};

const TICKS: usize = 300;
const MAX_CLIENTS: usize = 14;

/// How often each interesting thing happened: a simulation that never meets it proves nothing about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    pub opened: usize,
    pub delivered: usize,
    pub interrupts: usize,
    pub full_writes: usize,
    pub partial_writes: usize,
    pub stale_events: usize,
    pub spurious_events: usize,
    pub slots_used_again: usize,
    pub resets: usize,
    pub broken_handshakes: usize,
    pub closed_by_peer: usize,
    pub closed_by_application: usize,
    pub closed_for_protocol: usize,
    pub closed_as_slow: usize,
    pub disconnected: usize,
    pub pong_timeouts: usize,
    pub shutdowns_heard: usize,
    pub pings: usize,
    pub timers: usize,
    pub rejoins_in_tick: usize,
    pub exact_closes: usize,
    pub leftovers: usize,
    pub handshake_timeouts: usize,
    pub closes_answered: usize,
    pub chunked: usize,
    pub message_timeouts: usize,
    pub unfinished_over_budget: usize,
    pub fragmented: usize,
    pub compressed_for_all: usize,
    pub compressed_for_one: usize,
    pub forwarded: usize,
    pub dropped_oldest: usize,
    pub dropped_newest: usize,
    pub conflated: usize,
    pub refused: usize,
    pub queued: usize,
    pub demands: usize,
    pub commands_beside_output: usize,
    pub inputs_held: usize,
    pub outputs_owed: usize,
}

impl Coverage {
    fn counters(&mut self) -> [(&'static str, &mut usize); 40] {
        macro_rules! named {
            ($($field:ident),*) => { [$((stringify!($field), &mut self.$field)),*] };
        }
        named!(
            opened,
            delivered,
            interrupts,
            full_writes,
            partial_writes,
            stale_events,
            spurious_events,
            slots_used_again,
            resets,
            broken_handshakes,
            closed_by_peer,
            closed_by_application,
            closed_for_protocol,
            closed_as_slow,
            disconnected,
            pong_timeouts,
            shutdowns_heard,
            pings,
            timers,
            rejoins_in_tick,
            exact_closes,
            leftovers,
            handshake_timeouts,
            closes_answered,
            chunked,
            message_timeouts,
            unfinished_over_budget,
            fragmented,
            compressed_for_all,
            compressed_for_one,
            forwarded,
            dropped_oldest,
            dropped_newest,
            conflated,
            refused,
            queued,
            demands,
            commands_beside_output,
            inputs_held,
            outputs_owed
        )
    }

    pub fn add(&mut self, other: &Self) {
        let mut other = *other;
        for ((_, mine), (_, theirs)) in self.counters().into_iter().zip(other.counters()) {
            *mine += *theirs;
        }
    }

    pub fn assert_complete(&mut self) {
        let missing: Vec<_> =
            self.counters().into_iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

pub struct World {
    random: Random,
    reactor: Reactor<App, SimSocket>,
    clients: Vec<Client>,
    gone: Vec<ConnId>,
    now: Now,
    resets: usize,
    stale: usize,
    spurious: usize,
    leftovers: usize,
    broken_handshakes: usize,
    demands: usize,
    verbose: bool,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> Self {
        let mut random = Random(seed);
        let mut config = Config::default().with(|it| it.receive_buffer = [64, 1000, 65_536][random.below(3)]);
        config.proto.limits = Limits::default().with_max_message(1 << 20);
        config.high_water = [300, 4000, 65_536][random.below(3)];
        // In a quarter of the runs the limit is so low that slow consumers are met.
        // In some runs what may be unfinished is less than a message (the longest command has 11 octets).
        config.max_inflated = [1, 1000, 1 << 20][random.below(3)];
        config.max_unfinished = if seed % 8 == 1 { 5 } else { 1 << 23 };
        config.max_backlog = if seed.is_multiple_of(4) { 3000 } else { 1 << 20 };
        // In some runs all queues together are so limited that there is no room for everyone.
        config.max_queued = if seed % 8 == 3 { 20_000 } else { 1 << 28 };
        config.max_connections = if seed % 8 == 5 { 4 } else { 0 };
        let app = App::new(if seed.is_multiple_of(2) { 1 << 20 } else { 1500 }, config.high_water);
        config.proto.deflate = (!random.one_in(4)).then(|| random_deflate(&mut random));
        let now = Now { monotonic_ms: 1000, unix_ms: 1_700_000_000_000 };
        Self {
            reactor: Reactor::new(config, app, random.next(), now),
            random,
            clients: Vec::new(),
            gone: Vec::new(),
            now,
            resets: 0,
            stale: 0,
            spurious: 0,
            leftovers: 0,
            broken_handshakes: 0,
            demands: 0,
            verbose,
        }
    }

    pub fn run(mut self, coverage: &mut Coverage) {
        for _ in 0..TICKS {
            if self.clients.len() < MAX_CLIENTS && self.random.one_in(8) {
                self.connect();
            }
            for at in 0..self.clients.len() {
                self.act(at);
            }
            self.tick(false);
        }
        self.quiet_phase();
        self.check_open_clients();
        self.reactor.begin_shutdown();
        self.quiet_phase();
        // A client that does not answer is dropped at the close deadline.
        for _ in 0..3 {
            self.advance_time(6_000);
            self.tick(true);
        }
        assert_eq!(self.reactor.connections(), 0, "connections are left over");
        assert!(self.reactor.app().drained);
        self.check_all_clients(coverage);
        self.count(coverage);
    }

    fn connect(&mut self) {
        let capacity = [200, 5_000, 100_000][self.random.below(3)];
        let wire = Wire::new(Random(self.random.next()), capacity);
        wire.borrow_mut().keeps_back = self.random.one_in(3);
        let conn =
            self.reactor.accepted(SimSocket(wire.clone()), ([127, 0, 0, 1], 1).into(), Entrance::default());
        let name = format!("{}-{}", conn.index, conn.generation);
        self.clients.push(Client::new(name, conn, wire, &mut self.random));
    }

    /// Something happens at a client, or not.
    fn act(&mut self, at: usize) {
        let random = &mut self.random;
        let client = &mut self.clients[at];
        if client.is_open() && client.is_greedy && random.one_in(12) {
            client.demand(random);
            client.deliver(random, true);
            self.demands += 1;
        } else if client.is_open() {
            let magnitude = random.below(11);
            let number = random.below(1 << magnitude);
            match random.below(60) {
                0..=7 => client.say(&format!("post {number}")),
                8..=10 => client.say(&format!("others {number}")),
                11..=14 => client.say(&format!("join {number}")),
                15 => client.say(&format!("leave {number}")),
                16..=18 => client.say(&format!("echo {}", number * 10)),
                19 | 20 => client.say(&format!("tell {number}")),
                21 => client.say(&format!("burst {number}")),
                22 => client.say(&format!("rejoin {number}")),
                23 => client.say(&format!("timer {number}")),
                32..=34 => client.say(&format!("enlist {number}")),
                35 | 36 => client.say(&format!("flood {number}")),
                30 | 31 => client.say(&format!("pieces {number}")),
                37 if random.one_in(15) => {
                    let len = 30_000 + random.below(120_000);
                    client.say(&format!("long {}", "y".repeat(len)));
                }
                24 => client.reads_nothing = !client.reads_nothing,
                25 if random.one_in(6) => client.say("close"),
                26 if random.one_in(6) => client.close(),
                27 if random.one_in(12) => client.rave(),
                28 if random.one_in(12) => {
                    // Its last words and its FIN arrive together.
                    client.say("echo 1");
                    client.deliver(random, true);
                    client.break_off(false);
                }
                29 if random.one_in(12) => {
                    client.break_off(true);
                    self.resets += 1;
                }
                _ => {}
            }
        } else if client.end.is_none() && random.one_in(100) {
            client.break_off(random.one_in(2));
            self.broken_handshakes += 1;
        }
        if random.one_in(2) {
            client.deliver(random, false);
        }
        client.read(random, false);
    }

    fn advance_time(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms += ms;
    }

    /// One turn of the event loop, as `net` makes it.
    fn tick(&mut self, is_quiet: bool) -> bool {
        let step = if self.random.one_in(40) && !is_quiet { 9_000 } else { self.random.below(40) as u64 };
        self.advance_time(step);
        self.reactor.begin(self.now);
        self.leftovers += usize::from(self.reactor.has_pending_work());
        self.reactor.resume();
        let mut happened = false;
        let first = self.random.below(self.clients.len().max(1));
        for at in 0..self.clients.len() {
            let client = &self.clients[(first + at) % self.clients.len()];
            let (conn, is_closed) = (client.conn, client.wire.borrow().server_closed);
            let edges = client.wire.borrow_mut().take_edges();
            if let Some(readiness) = edges.filter(|_| !is_closed) {
                self.reactor.ready(conn, readiness);
                happened = true;
            } else if !is_quiet && !is_closed && self.random.one_in(30) {
                self.reactor.ready(conn, Readiness { readable: true, writable: true, read_closed: false });
                self.spurious += 1;
            }
        }
        if !self.gone.is_empty() && self.random.one_in(3) {
            let stale = self.gone[self.random.below(self.gone.len())];
            self.reactor.ready(stale, Readiness { readable: true, writable: true, read_closed: true });
            self.stale += 1;
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
        self.reactor.mail(());
        for client in &self.clients {
            if client.wire.borrow().server_closed && !self.gone.contains(&client.conn) {
                self.gone.push(client.conn);
            }
        }
        happened || self.reactor.has_pending_work()
    }

    /// No new deeds: what is under way must arrive by itself. Checked before anything is poked.
    fn quiet_phase(&mut self) {
        for _ in 0..40_000 {
            let mut happened = false;
            for client in &mut self.clients {
                client.deliver(&mut self.random, true);
                happened |= client.read(&mut self.random, true);
            }
            happened |= self.tick(true);
            // A timer may have spoken in this very tick.
            let waits = |client: &Client| client.end.is_none() && client.wire.borrow().has_output();
            if !happened && !self.clients.iter().any(waits) {
                return;
            }
        }
        panic!("the network never comes to rest");
    }

    fn meant(&self, client: &Client) -> Option<&Meant> {
        self.reactor.app().meant.get(&client.conn)
    }

    fn check_open_clients(&self) {
        for client in &self.clients {
            // Liveness: nothing that a client sent lies about unread, and no FIN or RST goes unnoticed.
            let unread = client.wire.borrow().unread();
            assert!(client.end.is_some() || unread == 0, "{}: {unread} octets unread", client.name);
            // (Of a client that takes nothing nothing is read either; the missing Pong will end it.)
            let is_over = self.meant(client).is_none_or(|meant| meant.closed.is_some())
                || client.wire.borrow().server_waits;
            assert!(client.end != Some(End::Gone) || is_over, "{}: gone unnoticed", client.name);
        }
        for client in self.clients.iter().filter(|client| client.is_open()) {
            let meant = self.meant(client).expect("it is open");
            assert_eq!(meant.closed, None, "{}: closed behind its back", client.name);
            let (end, lost) = check_messages(client, meant);
            assert!(
                meant.messages[end..].iter().all(|expected| expected.loss.is_some()),
                "{}: something is missing",
                client.name
            );
            self.check_lost(client, meant, end, lost);
        }
    }

    fn check_all_clients(&self, coverage: &mut Coverage) {
        for client in &self.clients {
            let Some(meant) = self.meant(client) else {
                assert!(client.messages.is_empty());
                continue;
            };
            let reason = meant.closed.as_ref().expect("on_close came for everyone");
            if self.verbose {
                eprintln!(
                    "{}: {} messages, {reason:?}, {:?}",
                    client.name,
                    client.messages.len(),
                    client.end
                );
            }
            let (end, _) = check_messages(client, meant);
            let has_all = meant.messages[end..].iter().all(|expected| expected.loss.is_some());
            let heard = match &client.end {
                Some(End::Close(frame)) => Some(frame.code.0),
                _ => None,
            };
            match (reason, heard) {
                (CloseReason::Application(_), Some(4000)) | (CloseReason::Shutdown(_), Some(1001)) => {
                    // A client that closed by itself has no use for what comes after.
                    assert!(has_all || client.is_leaving, "{}: lost before our Close", client.name);
                    coverage.exact_closes += 1;
                    coverage.shutdowns_heard += usize::from(heard == Some(1001));
                }
                (_, Some(4000 | 1001)) => panic!("{}: {heard:?} but {reason:?}", client.name),
                // One that reads too slowly meets the close deadline before the answer.
                (CloseReason::Peer(_), Some(1000)) => coverage.closes_answered += 1,
                (CloseReason::Protocol(_), code) => assert!(code.is_none_or(|code| code == reason.code().0)),
                _ => {}
            }
        }
    }

    /// What was dropped for a client that has read everything else: the application was told of each message, and where
    /// nothing but conflation drops, a newer one with the same key came.
    fn check_lost(&self, client: &Client, meant: &Meant, end: usize, mut lost: BTreeMap<usize, u64>) {
        for (topic, _) in meant.messages[end..].iter().filter_map(|expected| expected.loss) {
            *lost.entry(topic).or_default() += 1;
        }
        assert_eq!(lost, meant.lag, "{}: not told of what it lost", client.name);
        if self.reactor.app().max_queue < 1 << 20 {
            return;
        }
        let mut newest = BTreeMap::new();
        for expected in &meant.messages {
            if let Some(place) = expected.loss {
                newest.insert(place, &expected.text);
            }
        }
        for (place, text) in newest {
            assert!(client.messages.contains(text), "{}: the newest of {place:?} is missing", client.name);
        }
    }

    fn count(&self, coverage: &mut Coverage) {
        let app = self.reactor.app();
        for (at, count) in
            [&mut coverage.dropped_oldest, &mut coverage.dropped_newest, &mut coverage.conflated]
                .into_iter()
                .enumerate()
        {
            *count +=
                app.meant.values().filter_map(|meant| meant.lag.get(&(TOPICS + at))).sum::<u64>() as usize;
            coverage.queued += app.totals[at].queued as usize;
        }
        coverage.opened += app.meant.len();
        coverage.timers += app.timers;
        coverage.chunked += app.chunked;
        coverage.fragmented += app.fragmented;
        coverage.forwarded += app.forwarded;
        coverage.rejoins_in_tick += app.rejoins_in_tick;
        coverage.resets += self.resets;
        coverage.stale_events += self.stale;
        coverage.spurious_events += self.spurious;
        coverage.leftovers += self.leftovers;
        coverage.broken_handshakes += self.broken_handshakes;
        coverage.demands += self.demands;
        coverage.commands_beside_output += app.commands_beside_output;
        for meant in app.meant.values() {
            *(match meant.closed.as_ref().expect("closed") {
                CloseReason::Peer(_) => &mut coverage.closed_by_peer,
                CloseReason::Application(_) => &mut coverage.closed_by_application,
                CloseReason::Protocol(ProtocolError::MessageTimeout) => &mut coverage.message_timeouts,
                CloseReason::Protocol(ProtocolError::UnfinishedBudget) => {
                    &mut coverage.unfinished_over_budget
                }
                CloseReason::Protocol(_) => &mut coverage.closed_for_protocol,
                CloseReason::SlowConsumer => &mut coverage.closed_as_slow,
                CloseReason::PongTimeout => &mut coverage.pong_timeouts,
                CloseReason::Disconnected => &mut coverage.disconnected,
                CloseReason::Shutdown(_) => continue,
            }) += 1;
        }
        for (at, client) in self.clients.iter().enumerate() {
            let wire = client.wire.borrow();
            coverage.delivered += client.messages.len();
            coverage.pings += client.pings;
            coverage.compressed_for_all += usize::from(client.server_takeover == Some(false));
            coverage.compressed_for_one += usize::from(client.server_takeover == Some(true));
            coverage.handshake_timeouts += usize::from(client.end == Some(End::TooLate));
            coverage.refused += usize::from(client.end == Some(End::Refused));
            coverage.interrupts += wire.interrupts;
            coverage.inputs_held += wire.inputs_held;
            coverage.outputs_owed += wire.outputs_owed;
            coverage.full_writes += wire.full_writes;
            coverage.partial_writes += wire.partial_writes;
            let earlier = &self.clients[..at];
            coverage.slots_used_again +=
                usize::from(earlier.iter().any(|other| other.conn.index == client.conn.index));
        }
    }
}

/// What a client got is the beginning of what was meant for it, but for what may be dropped. Returns where that beginning
/// ends and how much was dropped in it, by topic.
fn check_messages(client: &Client, meant: &Meant) -> (usize, BTreeMap<usize, u64>) {
    let mut lost = BTreeMap::new();
    let mut expected = meant.messages.iter();
    for (at, got) in client.messages.iter().enumerate() {
        loop {
            let Some(next) = expected.next() else {
                panic!("{}: message {at} is {:?}, more than was meant for it", client.name, head(got));
            };
            match next.loss {
                _ if next.text == *got => break,
                Some((topic, _)) => *lost.entry(topic).or_default() += 1,
                None => {
                    let heads = (head(got), head(&next.text));
                    panic!("{}: message {at} is {:?}, meant was {:?}", client.name, heads.0, heads.1);
                }
            }
        }
    }
    (meant.messages.len() - expected.len(), lost)
}

fn head(text: &str) -> &str {
    &text[..text.len().min(20)]
}
