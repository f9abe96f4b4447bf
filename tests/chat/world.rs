//! The chat on the loop, and its clients: everything by hand, nothing by itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use switchboard::app::{Application, ConnId, Context, Entrance, Layer, Now, Peers};
use switchboard::chat::command::Command;
use switchboard::chat::decisions::{ChatEvents, EventOptions};
use switchboard::chat::identity::{Claims, Grant, TokenError, Verify};
use switchboard::chat::{Answered, Chat, Exchange, Limits, Listing, Mail, Options, Place};
use switchboard::history::{self, Batch, Change, Query, Start};
use switchboard::proto::{FrameHeader, Opcode, write_frame};
use switchboard::reactor::{Config, Reactor, Readiness, Socket};

use crate::disk::{Asked, Disk, Done, Inbox, TestStore};

const START_UNIX_MS: u64 = 1_700_000_000_000;

/// What other parts of the server do with the chat.
pub(crate) enum Call {
    Command(u64, Option<String>, Command<'static>),
    Broadcast(String),
    DisconnectUser(String),
    DisconnectClient(String),
    List(Listing, Place, usize),
}

pub(crate) enum Letter {
    Chat(Mail),
    Call(Call),
}

/// The chat, and what it answers to calls.
pub(crate) struct House {
    pub(crate) chat: Chat,
    answered: Vec<Answered>,
}

impl Layer for House {
    type Inner = Chat;
    type Mail = Letter;

    fn inner(&mut self) -> &mut Chat {
        &mut self.chat
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Letter) {
        match mail {
            Letter::Chat(mail) => self.chat.on_mail(ctx, mail),
            Letter::Call(Call::Command(request, user, command)) => {
                self.chat.call(ctx, request, user.as_deref(), command);
            }
            Letter::Call(Call::Broadcast(text)) => drop(self.chat.broadcast(ctx, 0, None, &text)),
            Letter::Call(Call::DisconnectUser(user)) => {
                drop(self.chat.disconnect_user(ctx, 0, &user, "disconnected"));
            }
            Letter::Call(Call::DisconnectClient(client)) => {
                drop(self.chat.disconnect_client(ctx, 0, &client, "disconnected"));
            }
            Letter::Call(Call::List(listing, place, limit)) => {
                drop(self.chat.list(ctx, 0, (listing, place), limit));
            }
        }
        self.answered.extend(self.chat.take_answered());
    }

    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.chat.on_tick_end(ctx);
        self.answered.extend(self.chat.take_answered());
    }
}

#[derive(Default)]
struct Pipe {
    to_server: VecDeque<u8>,
    from_server: Vec<u8>,
    /// Octets that the client takes before it is full.
    room: usize,
    is_closed: bool,
}

#[derive(Clone)]
pub(crate) struct Wire(Rc<RefCell<Pipe>>);

impl Wire {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Pipe { room: usize::MAX, ..Pipe::default() })))
    }

    /// The client sends something.
    pub(crate) fn send(&self, octets: &[u8]) {
        self.0.borrow_mut().to_server.extend(octets);
    }

    /// What the client got since the last time.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().from_server)
    }
}

impl Socket for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        if pipe.to_server.is_empty() {
            return if pipe.is_closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = pipe.to_server.len().min(buffer.len());
        for (place, octet) in buffer.iter_mut().zip(pipe.to_server.drain(..count)) {
            *place = octet;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let count = bytes.len().min(pipe.room);
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.room -= count;
        pipe.from_server.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.write(&whole)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client; a copy is the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client(pub(crate) usize);

struct Seat {
    conn: ConnId,
    wire: Wire,
    /// The status of the handshake's answer has been read.
    status: Option<u16>,
    close: Option<u16>,
    is_gone: bool,
}

/// A token is `user`, `subject/user`, or either with `@expiry` or `:pattern` of a moderator; signed by being here.
#[derive(Debug)]
pub(crate) struct Stamp;

impl Verify for Stamp {
    fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        let token = token.strip_prefix("good-").ok_or(TokenError::Signature)?;
        let (token, pattern) = token.split_once(':').map_or((token, None), |(token, p)| (token, Some(p)));
        let (user, expires) = token.split_once('@').unwrap_or((token, "9999999999"));
        let expires_unix_s: u64 = expires.parse().unwrap();
        if expires_unix_s <= now_unix_s {
            return Err(TokenError::Expired);
        }
        let grant = |pattern: &str| {
            let (pattern, rights) = pattern.split_once('=').unwrap_or((pattern, "jpm"));
            let has = |right| rights.contains(right);
            Grant { pattern: pattern.to_owned(), join: has('j'), post: has('p'), moderate: has('m') }
        };
        let rooms = pattern.map(|patterns| patterns.split('+').map(grant).collect()).unwrap_or_default();
        let (subject, user) = user.split_once('/').unwrap_or((user, user));
        Ok(Claims { subject: subject.to_owned(), user: user.to_owned(), expires_unix_s, rooms })
    }
}

pub(crate) struct World {
    pub(crate) reactor: Reactor<House, Wire>,
    seats: Vec<Seat>,
    now: Now,
    mail: VecDeque<Letter>,
    inbox: Option<Arc<Mutex<Inbox>>>,
    pub(crate) disk: Disk,
    landed: Vec<Arc<Change>>,
    options: Options,
}

/// Options without limits of rates.
pub(crate) fn options() -> Options {
    Options::default().with(|it| it.limits = Limits::default().with_posts_per_second(0))
}

impl World {
    /// A chat in memory.
    pub(crate) fn in_memory() -> Self {
        Self::with(options(), None, Config::default())
    }

    pub(crate) fn in_memory_with(limits: Limits) -> Self {
        Self::with(options().with(|it| it.limits = limits), None, Config::default())
    }

    /// A chat with a store; the room `general` is open.
    pub(crate) fn on_disk() -> Self {
        Self::on_disk_with(Disk::new(), options())
    }

    pub(crate) fn on_disk_with(disk: Disk, options: Options) -> Self {
        let mut world = Self::with(options, Some(disk), Config::default());
        world.answer();
        world
    }

    pub(crate) fn with(options: Options, disk: Option<Disk>, config: Config) -> Self {
        Self::with_seed(options, disk, config, 7)
    }

    /// A chat in memory whose randomness is this.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::with_seed(options(), None, Config::default(), seed)
    }

    /// One of several loops, whose requests somebody else takes.
    pub(crate) fn beside((own, exchange, peers): (usize, Exchange, Peers<Mail>), options: Options) -> Self {
        let store = TestStore::default();
        let inbox = Arc::clone(&store.0);
        inbox.lock().unwrap().is_shared = true;
        let disk = Disk::new();
        let chat = Chat::new(options.clone(), Some(Box::new(store)), disk.start())
            .with_verifier(Box::new(Stamp))
            .beside(own, exchange, peers);
        Self::of(chat, (options, Some(inbox), disk), Config::default(), 7 + own as u64)
    }

    /// One of several servers, whose requests somebody else takes.
    pub(crate) fn on_engine() -> Self {
        let world = Self::with(options(), Some(Disk::new()), Config::default());
        if let Some(inbox) = &world.inbox {
            let mut inbox = inbox.lock().unwrap();
            (inbox.is_shared, inbox.is_engine) = (true, true);
        }
        world
    }

    /// A chat that asks and tells somebody, in memory or with a store.
    pub(crate) fn deciding(
        events: impl ChatEvents + Send + 'static,
        asks: EventOptions,
        options: Options,
        disk: Option<Disk>,
    ) -> Self {
        let is_on_disk = disk.is_some();
        let store = disk.as_ref().map(|_| TestStore::default());
        let inbox = store.as_ref().map(|store| Arc::clone(&store.0));
        let disk = disk.unwrap_or_default();
        let start = match &inbox {
            Some(_) => disk.start(),
            None => Start { epoch: "memory".to_owned(), ..Start::default() },
        };
        let store = store.map(|store| Box::new(store) as Box<dyn history::History + Send>);
        let chat = Chat::new(options.clone(), store, start).with_verifier(Box::new(Stamp));
        let chat = chat.with_events(Box::new(events), asks);
        let mut world = Self::of(chat, (options, inbox, disk), Config::default(), 7);
        if is_on_disk {
            world.answer();
        }
        world
    }

    fn of(
        chat: Chat,
        (options, inbox, disk): (Options, Option<Arc<Mutex<Inbox>>>, Disk),
        config: Config,
        seed: u64,
    ) -> Self {
        let now = Now { monotonic_ms: 1000, unix_ms: START_UNIX_MS };
        let house = House { chat, answered: Vec::new() };
        let reactor = Reactor::new(config, house, seed, now);
        let (seats, mail, landed) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { reactor, seats, now, mail, inbox, disk, landed, options }
    }

    /// What the chat asked for.
    pub(crate) fn requests(&mut self) -> Vec<Asked> {
        self.collect(Ok)
    }

    /// Another loop tells something.
    pub(crate) fn receive(&mut self, mail: Mail) {
        self.mail.push_back(Letter::Chat(mail));
        self.tick();
    }

    /// Time goes on, and nothing happens.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms += ms;
    }

    fn with_seed(options: Options, disk: Option<Disk>, config: Config, seed: u64) -> Self {
        let store = disk.as_ref().map(|_| TestStore::default());
        let inbox = store.as_ref().map(|store| Arc::clone(&store.0));
        let disk = disk.unwrap_or_default();
        let start = match &inbox {
            Some(_) => disk.start(),
            None => Start { epoch: "memory".to_owned(), ..Start::default() },
        };
        let store = store.map(|store| Box::new(store) as Box<dyn history::History + Send>);
        let chat = Chat::new(options.clone(), store, start).with_verifier(Box::new(Stamp));
        Self::of(chat, (options, inbox, disk), config, seed)
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.reactor.app().chat
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.inbox.is_some()
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.now.unix_ms
    }

    // ---- clients

    pub(crate) fn open(&mut self, target: &str, subprotocol: &str, address: &str) -> Client {
        let wire = Wire::new();
        let peer: SocketAddr = address.parse().unwrap();
        let conn = self.reactor.accepted(wire.clone(), peer, Entrance::default());
        let offer = if subprotocol.is_empty() {
            String::new()
        } else {
            format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")
        };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
        );
        wire.send(request.as_bytes());
        self.seats.push(Seat { conn, wire, status: None, close: None, is_gone: false });
        Client(self.seats.len() - 1)
    }

    /// A connection of `chat.v1.json`.
    pub(crate) fn connect(&mut self) -> Client {
        let client = self.open("/ws", "chat.v1.json", "127.0.0.1:5000");
        self.tick();
        assert_eq!(self.status(client), Some(101));
        client
    }

    /// Somebody who has said hello.
    pub(crate) fn person(&mut self, user: &str) -> Client {
        let client = self.connect();
        self.send(client, &json!({"type": "hello", "user": user}));
        self.tick();
        assert_eq!(self.next(client)["type"], "welcome");
        client
    }

    /// Somebody whose messages come without these fields.
    pub(crate) fn lean(&mut self, user: &str, omit: &[&str]) -> Client {
        let client = self.connect();
        self.send(client, &json!({"type": "hello", "user": user, "omit": omit}));
        self.tick();
        assert_eq!(self.next(client)["type"], "welcome");
        client
    }

    /// Somebody with a token.
    pub(crate) fn verified(&mut self, token: &str) -> Client {
        let client = self.connect();
        self.send(client, &json!({"type": "hello", "token": format!("good-{token}")}));
        self.tick();
        let welcome = self.next(client);
        assert_eq!((&welcome["type"], &welcome["verified"]), (&json!("welcome"), &json!(true)), "{welcome}");
        client
    }

    /// Somebody in a room; with a store its answers are given.
    pub(crate) fn member(&mut self, user: &str, room: &str) -> Client {
        let client = self.person(user);
        let joined = self.join(client, room);
        assert_eq!(joined["type"], "joined", "{joined}");
        client
    }

    pub(crate) fn join(&mut self, client: Client, room: &str) -> Value {
        self.ask(client, &json!({"type": "join", "room": room}))
    }

    /// Sends a command; returns the answer, which is the next message that is no event; what is proposed is committed.
    pub(crate) fn ask(&mut self, client: Client, command: &Value) -> Value {
        self.send(client, command);
        self.tick();
        self.answer();
        let is_event = |value: &Value| {
            let kind = value["type"].as_str().unwrap_or_default();
            matches!(
                kind,
                "message" | "presence" | "edited" | "deleted" | "reacted" | "typing" | "reads" | "direct"
            )
        };
        let mut got = self.take(client);
        if self.is_on_disk() && got.iter().all(is_event) {
            // What it asks for is proposed.
            self.commit();
            got.extend(self.take(client));
        }
        got.iter().find(|value| !is_event(value)).unwrap_or_else(|| panic!("no answer among {got:?}")).clone()
    }

    pub(crate) fn send(&mut self, client: Client, command: &Value) {
        self.send_text(client, &command.to_string());
    }

    pub(crate) fn send_text(&mut self, client: Client, text: &str) {
        self.send_frame(client, Opcode::Text, text.as_bytes());
    }

    pub(crate) fn send_frame(&mut self, client: Client, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        write_frame(&mut frame, true, opcode, payload, Some([1, 2, 3, 4]));
        self.seats[client.0].wire.0.borrow_mut().to_server.extend(frame);
    }

    pub(crate) fn post(&mut self, client: Client, room: &str, text: &str) {
        self.send(client, &json!({"type": "post", "id": text, "room": room, "text": text}));
    }

    /// The TCP connection ends.
    pub(crate) fn cut(&mut self, client: Client) {
        self.seats[client.0].wire.0.borrow_mut().is_closed = true;
    }

    /// The client reads no more, and again.
    pub(crate) fn stall(&mut self, client: Client, is_stalled: bool) {
        self.seats[client.0].wire.0.borrow_mut().room = if is_stalled { 0 } else { usize::MAX };
    }

    /// The client reads this many octets, and no more.
    pub(crate) fn drip(&mut self, client: Client, octets: usize) {
        self.seats[client.0].wire.0.borrow_mut().room = octets;
    }

    pub(crate) fn status(&mut self, client: Client) -> Option<u16> {
        self.read_head(client);
        self.seats[client.0].status
    }

    /// The code of the Close that came.
    pub(crate) fn close_code(&mut self, client: Client) -> Option<u16> {
        let rest = self.take(client);
        assert!(rest.is_empty(), "{rest:?}");
        self.seats[client.0].close
    }

    /// Lets go of what came, and of the memory that it took.
    pub(crate) fn forget(&mut self, client: Client) {
        self.read_head(client);
        let mut pipe = self.seats[client.0].wire.0.borrow_mut();
        pipe.from_server = Vec::new();
        pipe.to_server = VecDeque::new();
    }

    fn read_head(&mut self, client: Client) {
        let seat = &mut self.seats[client.0];
        let mut pipe = seat.wire.0.borrow_mut();
        if seat.status.is_none()
            && let Some(end) = pipe.from_server.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head: Vec<u8> = pipe.from_server.drain(..end + 4).collect();
            seat.status = Some(String::from_utf8(head).unwrap()[9..12].parse().unwrap());
        }
    }

    /// What came in text messages.
    pub(crate) fn take_texts(&mut self, client: Client) -> Vec<String> {
        self.read_head(client);
        let seat = &mut self.seats[client.0];
        let mut pipe = seat.wire.0.borrow_mut();
        let mut texts = Vec::new();
        while let Ok(Some((header, start))) = FrameHeader::parse(&pipe.from_server) {
            let len = header.payload_len as usize;
            if pipe.from_server.len() < start + len {
                break;
            }
            let frame: Vec<u8> = pipe.from_server.drain(..start + len).collect();
            let payload = &frame[start..];
            match header.opcode {
                Opcode::Text => {
                    let text = String::from_utf8(payload.to_vec()).unwrap();
                    crate::schemas::check(&text);
                    texts.push(text);
                }
                Opcode::Close => seat.close = Some(u16::from_be_bytes([payload[0], payload[1]])),
                _ => {}
            }
        }
        texts
    }

    pub(crate) fn take(&mut self, client: Client) -> Vec<Value> {
        self.take_texts(client).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// What came and is of one type.
    pub(crate) fn take_type(&mut self, client: Client, kind: &str) -> Vec<Value> {
        self.take(client).into_iter().filter(|value| value["type"] == kind).collect()
    }

    /// The one message that came.
    #[track_caller]
    pub(crate) fn next(&mut self, client: Client) -> Value {
        let got = self.take(client);
        assert_eq!(got.len(), 1, "one message was expected: {got:?}");
        got[0].clone()
    }

    // ---- time

    /// One turn in which only these clients are heard.
    pub(crate) fn turn_of(&mut self, clients: &[Client]) {
        self.reactor.begin(self.now);
        let readiness = Readiness { readable: true, writable: false, read_closed: false };
        for client in clients {
            self.reactor.ready(self.seats[client.0].conn, readiness);
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
    }

    /// One turn of the loop.
    pub(crate) fn tick(&mut self) {
        self.reactor.begin(self.now);
        self.reactor.resume();
        for seat in &mut self.seats {
            if seat.is_gone {
                continue;
            }
            let (readable, read_closed, writable) = {
                let pipe = seat.wire.0.borrow();
                (!pipe.to_server.is_empty(), pipe.is_closed, pipe.room > 0)
            };
            if readable || read_closed || writable {
                self.reactor.ready(seat.conn, Readiness { readable, writable, read_closed });
            }
            seat.is_gone |= read_closed;
        }
        while let Some(letter) = self.mail.pop_front() {
            self.reactor.mail(letter);
        }
        self.reactor.serve_requests();
        self.reactor.fire_timers();
        self.reactor.end_tick();
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms += ms;
        self.tick();
    }

    /// The clock of the wall jumps.
    pub(crate) fn jump(&mut self, by_ms: i64) {
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(by_ms);
    }

    pub(crate) fn drain(&mut self) {
        self.reactor.begin_shutdown();
        self.reactor.end_tick();
    }

    // ---- the store

    pub(crate) fn tell(&mut self, event: history::Event) {
        self.mail.push_back(Letter::Chat(Mail::History(event)));
        self.tick();
    }

    pub(crate) fn full(&mut self, is_full: bool) {
        self.inbox.as_ref().unwrap().lock().unwrap().is_full = is_full;
    }

    /// Takes what the chat asked and `wants` takes; the rest is given back by it, and stays.
    fn collect<T>(&mut self, wants: fn(Asked) -> Result<T, Asked>) -> Vec<T> {
        let Some(inbox) = &self.inbox else { return Vec::new() };
        let mut inbox = inbox.lock().unwrap();
        let mut taken = Vec::new();
        for request in std::mem::take(&mut inbox.requests) {
            match wants(request) {
                Ok(wanted) => taken.push(wanted),
                Err(request) => inbox.requests.push_back(request),
            }
        }
        taken
    }

    fn queries(&mut self) -> Vec<Query> {
        self.collect(|request| match request {
            Asked::Query(query) => Ok(query),
            other => Err(other),
        })
    }

    fn batches(&mut self) -> Vec<Batch> {
        let batches = self.collect(|request| match request {
            Asked::Commit(batch) => Ok(batch),
            other => Err(other),
        });
        batches.into_iter().filter(|batch| self.disk.is_of_this_term(batch)).collect()
    }

    /// Answers queries until there are none.
    pub(crate) fn answer(&mut self) {
        loop {
            self.hold();
            let queries = self.queries();
            if queries.is_empty() {
                break;
            }
            for query in queries {
                let event = self.disk.answer(query);
                self.mail.push_back(Letter::Chat(Mail::History(event)));
            }
            self.tick();
        }
    }

    /// Names are kept, and nothing is said of it.
    fn hold(&mut self) {
        let held = self.collect(|request| match request {
            Asked::Hold(holder) => Ok(holder),
            other => Err(other),
        });
        for holder in held {
            self.disk.hold(holder);
        }
    }

    /// What the store answers to the queries so far, on its way.
    pub(crate) fn answer_later(&mut self) -> Vec<history::Event> {
        self.hold();
        self.queries().into_iter().map(|query| self.disk.answer(query)).collect()
    }

    pub(crate) fn deliver(&mut self, events: Vec<history::Event>) {
        for event in events {
            self.tell(event);
        }
    }

    /// Whether the chat waits for a commit.
    pub(crate) fn has_batches(&self) -> bool {
        let inbox = self.inbox.as_ref().unwrap().lock().unwrap();
        inbox.requests.iter().any(|request| matches!(request, Asked::Commit(_)))
    }

    /// Makes everything durable that was handed over.
    pub(crate) fn commit(&mut self) {
        self.hold();
        let mut all = Done::default();
        let batches = self.batches();
        let Some(ticket) = batches.last().map(|batch| batch.ticket) else { return };
        for batch in batches {
            let Done { outcomes, changes, bans } = self.disk.commit(batch);
            all.outcomes.extend(outcomes);
            all.changes.extend(changes);
            all.bans.extend(bans);
        }
        let Done { outcomes, changes, bans } = all;
        self.tell(history::Event::Settled { ticket, outcomes, changes, bans });
    }

    /// Refuses everything that was handed over; some of it may be on the disk nevertheless.
    pub(crate) fn fail(&mut self, landed: usize) {
        let batches = self.batches();
        let Some(ticket) = batches.first().map(|batch| batch.ticket) else { return };
        for batch in batches.into_iter().take(landed) {
            let landed = self.disk.commit(batch).changes;
            self.landed.extend(landed);
        }
        let term = self.disk.failed();
        self.tell(history::Event::Failed {
            term,
            ticket,
            reason: history::HistoryError::storage("the test says so"),
        });
    }

    pub(crate) fn recover(&mut self) {
        let landed = std::mem::take(&mut self.landed);
        self.tell(history::Event::Recovered { landed });
    }

    /// The server is killed and starts again on what is on the disk; clients are gone.
    pub(crate) fn restart(self) -> Self {
        let mut world = Self::on_disk_with(self.disk, self.options);
        world.now.unix_ms = self.now.unix_ms + 1000;
        world
    }

    // ---- the rest of the server

    /// Does something as another part of the server; returns the answers that came with it.
    pub(crate) fn call(&mut self, call: Call) {
        self.mail.push_back(Letter::Call(call));
        self.tick();
    }

    pub(crate) fn answered(&mut self) -> Vec<(u64, Value)> {
        // The answers lie in the application, which the loop owns; they are read, never taken.
        let answered = &self.reactor.app().answered;
        answered.iter().map(|answer| (answer.request, serde_json::from_str(&answer.body).unwrap())).collect()
    }
}

/// Somebody posts these texts in a room, all of which become history.
pub(crate) fn fill<T: AsRef<str>>(world: &mut World, writer: Client, room: &str, texts: &[T]) {
    for text in texts {
        world.send(writer, &json!({"type": "post", "room": room, "text": text.as_ref()}));
    }
    let before = world.chat().stats().posts;
    while world.chat().stats().posts - before < texts.len() as u64 {
        world.tick();
        world.commit();
        world.take(writer);
    }
}

/// The `seq`s of messages.
pub(crate) fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

/// The texts of messages.
pub(crate) fn texts(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

/// The elements of a list in an answer.
pub(crate) fn list(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().unwrap_or_else(|| panic!("no {name} in {answer}")).clone()
}
