//! Layer 5: the chat. Commands in, notices out; it sees requests and messages, never frames.
//!
//! A pure state machine: time, randomness and what the store says come in as arguments. `docs/chat-protocol.md` is its
//! contract.

mod api;
pub mod archive;
mod assets;
mod commands;
mod connections;
mod deciding;
pub mod decisions;
mod events;
mod exchange;
mod happening;
mod http;
pub mod identity;
mod ids;
mod limits;
mod listing;
mod membership;
mod neighbours;
pub mod nodes;
mod operate;
mod pending;
mod people;
mod rooms;
mod stats;
pub mod strict;
mod tutorial;
mod watch;
mod wire;

use std::sync::Arc;

pub use self::api::{RoomInfo, emoji, stored_room, stored_user};
pub use self::assets::{Page, PageError};
pub use self::connections::{Listing, MAX_CONNECTIONS_LISTED, NoPlace, Place};
pub use self::deciding::{ASK_BUCKETS_MS, Counts as AskCounts};
pub use self::exchange::Exchange;
pub use self::happening::Happening;
pub use self::limits::Limits;
pub use self::listing::MAX_LISTED;
pub use self::neighbours::Signal;
pub use self::stats::{COMMIT_BUCKETS_MS, Stats};
pub use self::wire::command;
pub(crate) use self::wire::command::carried;
pub use self::wire::data::{Json, compact as compact_json};
pub use self::wire::refusal::{Code, Refusal};
pub use self::wire::reply_to::ReplyTo;
pub use self::wire::responder::{Answered, CallId};
pub use crate::app::Rate;

use self::command::Parser;
use self::commands::turn::Turn;
use self::commands::{decide, elsewhere, ending, login, tell};
use self::deciding::Deciding;
use self::decisions::{Answer, AskNumber, ChatEvents, EventOptions};

use self::http::Arriving;
use self::identity::Verify;
use self::neighbours::Neighbours;
use self::nodes::Nodes;
use self::pending::Pending;
use self::people::People;
use self::people::bans::Bans;
use self::people::holders::Holders;
use self::people::permission;
use self::people::session::Dialect;
use self::rooms::{Room, Rooms};
use self::tutorial::Tutorial;
use self::watch::Watch;
use self::wire::notices::{Ending, Farewell, Lagged};
use self::wire::responder::Responder;
use crate::app::{
    Application, CloseCode, Closed, ConnId, Context, Message, MessageKind, OriginPolicy, Peers, Rejection,
    Request, SlowPolicy, TopicId, TopicOptions, Verdict,
};
use crate::history::keys::Keys;
use crate::history::{self, History, Start, Subscriptions};

/// The chat's own subprotocol; also spoken with clients that offer none.
const V1: &str = "chat.v1.json";
/// The subprotocol of the tutorial chat.
const JSON: &str = "json";
/// The room that both subprotocols see.
const GENERAL: &str = "general";

/// What timers are for.
mod timer {
    use super::ids::RoomId;

    const ROOM: u64 = 1 << 56;
    pub(super) const EXPIRY: u64 = 2 << 56;
    pub(super) const RETRY: u64 = 3 << 56;
    pub(super) const PACE: u64 = 4 << 56;
    pub(super) const NEIGHBOURS: u64 = 5 << 56;
    pub(super) const UNREAD: u64 = 6 << 56;
    pub(super) const DECISIONS: u64 = 7 << 56;

    pub(super) fn room(room: RoomId) -> u64 {
        ROOM | u64::from(room.number())
    }

    pub(super) fn room_of(token: u64) -> Option<RoomId> {
        (token & !u64::from(u32::MAX) == ROOM).then_some(RoomId::of_number(token as u32))
    }
}

/// What the chat is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Refuse an upgrade that offers subprotocols none of which is ours.
    pub strict_subprotocol: bool,
    /// Messages that anyone who comes in is given, unless they ask for another number.
    pub history: usize,
    /// Anyone who has no token may speak.
    pub guests: bool,
    /// Milliseconds between two Pings of the server, as clients are told.
    pub heartbeat_ms: u64,
    /// For members of a room that read too slowly, by pattern of the room's name (see [`identity::Grant::pattern`]); the
    /// first that covers it counts. Others: the oldest messages make room, and the member is told (`lagged`).
    pub slow_policies: Vec<(String, SlowPolicy)>,
    /// Bytes that may wait for a member before that policy drops messages; the loop's own limit when `None`.
    pub max_queue: Option<usize>,
    /// Milliseconds after which clients should come back when the server stops, at least and at most.
    pub retry_after_ms: (u64, u64),
    /// Messages of a room that may be shown, and milliseconds for which; 0: all, for ever. As the store is told.
    pub keep_posts: u64,
    /// See [`Self::keep_posts`].
    pub keep_ms: u64,
    /// Tell those who ask (`rooms`) which rooms there are that they may join.
    pub list_rooms: bool,
    /// What anybody may make the chat do or keep.
    pub limits: Limits,
}

changeable!(Options);

impl Options {
    /// How a room treats members that read too slowly.
    fn topic(&self, room: &str) -> TopicOptions {
        let policy = self.slow_policies.iter().find(|(pattern, _)| permission::covers(pattern, room));
        let slow_policy = policy.map_or(SlowPolicy::DropOldest, |(_, policy)| *policy);
        TopicOptions { slow_policy, max_queue: self.max_queue }
    }

    /// The oldest message of a room that may be shown.
    fn visible_from(&self, room: &Room, unix_ms: u64) -> u64 {
        room.recent().visible_from(self.keep_posts, self.keep_ms, unix_ms)
    }

    /// How many messages an answer has where this many are asked for.
    fn page_len(&self, asked: Option<u64>) -> usize {
        asked.unwrap_or(self.history as u64).min(self.limits.max_history as u64) as usize
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origins: OriginPolicy::default(),
            strict_subprotocol: false,
            history: 50,
            guests: true,
            heartbeat_ms: 25_000,
            slow_policies: Vec::new(),
            max_queue: None,
            retry_after_ms: (1000, 6000),
            keep_posts: 0,
            keep_ms: 0,
            list_rooms: true,
            limits: Limits::default(),
        }
    }
}

/// What other threads send into the chat.
#[derive(Debug)]
pub enum Mail {
    /// What the history reports.
    History(history::Event),
    /// What another loop of the process tells.
    Signal(Signal),
    /// The answer to a question of [`ChatEvents::ask`].
    Decision(AskNumber, Answer),
}

/// The chat server.
#[derive(Debug)]
pub struct Chat {
    options: Options,
    page: Arc<Page>,
    verifier: Option<Box<dyn Verify + Send>>,
    parser: Parser,
    responder: Responder,
    people: People,
    rooms: Rooms,
    pending: Pending,
    /// Of what is kept in memory only: all posts where the chat is, else messages to and from guests.
    keys: Keys,
    /// The other loops of the process, if there are any.
    neighbours: Option<Neighbours>,
    /// Who has subscribed to what, where that is kept in memory only.
    subscriptions: Subscriptions,
    /// Who is told how much they have not read.
    watch: Watch,
    /// Who is asked and told, if anybody is.
    deciding: Option<Box<Deciding>>,
    tutorial: Tutorial,
    arriving: Option<Arriving>,
    calls: u64,
    /// The client id of what the server does itself.
    server: Arc<str>,
    is_draining: bool,
    turn: Turn,
    /// What it counts; gauges are read where they are.
    counts: Stats,
}

impl Chat {
    /// A chat that keeps its history in the store, or without one in memory. `start` is what the store knows; in memory
    /// its epoch must be another one each time.
    #[must_use]
    pub fn new(options: Options, history: Option<Box<dyn History + Send>>, start: Start) -> Self {
        let Start { epoch, bans, holders } = start;
        let limits = &options.limits;
        let keys = Keys::new(limits.key_window_ms, limits.max_keys);
        let rooms = Rooms::new(history.is_none().then_some(epoch));
        let people = People::new(limits, Holders::new(holders), Bans::new(bans));
        Self {
            page: Arc::new(Page::built_in()),
            verifier: None,
            parser: Parser::default(),
            responder: Responder::default(),
            people,
            rooms,
            pending: Pending::new(history),
            keys,
            neighbours: None,
            subscriptions: Subscriptions::default(),
            watch: Watch::default(),
            deciding: None,
            tutorial: Tutorial::default(),
            arriving: None,
            calls: 0,
            server: history::SERVER.into(),
            is_draining: false,
            turn: Turn::default(),
            counts: Stats::default(),
            options,
        }
    }

    /// The same, for users whose tokens this checks.
    #[must_use]
    pub fn with_verifier(mut self, verifier: Box<dyn Verify + Send>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The same; this is asked what may happen, and told what has happened, as the options say. On several loops each has one.
    #[must_use]
    pub fn with_events(mut self, events: Box<dyn ChatEvents + Send>, options: EventOptions) -> Self {
        self.deciding = Some(Box::new(Deciding::new(events, options)));
        self
    }

    /// The same, as the loop of the number `own` among those of one process that are one chat. They share the exchange and a
    /// history, each with a client of its own.
    #[must_use]
    pub fn beside(mut self, own: usize, exchange: Exchange, peers: Peers<Mail>) -> Self {
        debug_assert!(self.pending.is_on_disk(), "loops that are one chat share a history");
        if peers.len() > 1 {
            self.neighbours = Some(Neighbours::new(own, exchange, peers, None));
        }
        self
    }

    /// The same, where other servers are the same chat, too: they share what tells of them, and the history.
    #[must_use]
    pub fn among(mut self, own: usize, nodes: &Nodes, peers: Peers<Mail>) -> Self {
        debug_assert!(self.pending.is_shared(), "servers that are one chat share a history");
        let (exchange, outgoing) = nodes.ends();
        self.neighbours = Some(Neighbours::new(own, exchange, peers, Some(outgoing)));
        self
    }

    /// The same, with this page in the place of the one that is built in.
    #[must_use]
    pub fn with_page(mut self, page: Arc<Page>) -> Self {
        self.page = page;
        self
    }

    /// Every counter of every owner counts what it says; asked at the end of each tick where debug assertions are on, of large
    /// chats less often.
    #[cfg(debug_assertions)]
    fn check(&mut self) {
        const SMALL: usize = 64 * 1024;
        if self.rooms.bytes() + self.people.len() * 256 + self.rooms.len() * 256 > SMALL
            && !self.turn.is_checked()
        {
            return;
        }
        self.rooms.check();
        let (paced_holds, paced_commands) = self.turn.check(&self.people, &mut self.pending);
        let opening: usize = self.rooms.iter().map(rooms::Room::waiting).sum();
        let (asked_holds, asked_commands) = self.deciding.as_ref().map_or((0, 0), |it| it.check());
        self.people.check(opening + paced_commands + asked_commands);
        self.keys.check();
        self.watch.check();
        let holds = self.pending.check() + paced_holds + asked_holds;
        assert_eq!(self.rooms.holds(), holds, "rooms are held by what waits, and by nothing else");
        for session in self.people.iter() {
            for membership in session.memberships() {
                let members = self.rooms[membership.room].members();
                let here = members.get(membership.position as usize);
                assert_eq!(here, Some(&session.id()), "a member is where it says");
            }
        }
        for room in self.rooms.iter() {
            for (omit, _) in room.audiences() {
                let sessions = room.members().iter().filter_map(|session| self.people.look(*session));
                let count = sessions.filter(|session| session.omit() == omit).count();
                assert_eq!(room.members_without(omit), count, "a topic has the members who omit its fields");
            }
        }
        let memberships: usize = self.people.iter().map(|session| session.memberships().len()).sum();
        assert_eq!(self.rooms.members(), memberships, "every member is a session");
    }
}

impl Application for Chat {
    type Mail = Mail;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        // Ids of clients are told from those of earlier runs, which the history has.
        let own = self.neighbours.as_ref().map_or(0, Neighbours::own);
        self.people.number_from(own, ctx.random());
        tutorial::open(self, ctx);
        events::open_general(self, ctx);
        if !self.pending.has_others() {
            tell::started(self, ctx.now());
        }
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        self.answer_request(request, ctx.now())
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        if let Some(head) = rejection.upgrade {
            let (peer, error) = (rejection.peer, rejection.reason);
            tracing::debug!(%peer, path = ?head.path(), %error, "upgrade refused");
        }
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let Some(arriving) = self.arriving.take_if(|arriving| arriving.conn == conn) else { return };
        let session = self.people.open(conn, arriving.dialect, (arriving.address, ctx.now().unix_ms));
        session.set_claims(arriving.claims);
        if let (Some(deciding), Some(origin)) = (&mut self.deciding, arriving.origin) {
            deciding.note_origin(conn, origin);
        }
        if arriving.dialect == Dialect::Tutorial {
            tutorial::came(self, ctx, conn);
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        let Some(session) = self.people.session(conn) else { return };
        match (message.kind, session.dialect()) {
            (MessageKind::Binary, _) => ctx.close(conn, CloseCode::UNSUPPORTED_DATA, "the chat speaks text"),
            (MessageKind::Text, Dialect::V1) => commands::came(self, ctx, conn, message.payload),
            (MessageKind::Text, Dialect::Tutorial) => {
                if let Some(text) = message.text() {
                    tutorial::said(self, ctx, conn, text);
                }
            }
        }
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        let reason = &closed.reason;
        tracing::debug!(conn = conn.index, code = reason.code().0, %reason, "closed");
        ending::detach(self, ctx, conn);
        self.people.close(conn, ctx.now().monotonic_ms);
    }

    fn on_lag<C: Context>(&mut self, ctx: &mut C, conn: ConnId, topic: TopicId, dropped: u64) {
        self.counts.lagged += dropped;
        if let Some(room) = self.rooms.of_topic(topic) {
            self.responder.send(ctx, conn, &Lagged { room: self.rooms[room].name(), dropped });
        }
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        match (token, timer::room_of(token)) {
            (_, Some(room)) => events::room_timer(self, ctx, room),
            (timer::EXPIRY, _) => login::expire(self, ctx),
            (timer::PACE, _) => self.turn.timer_fired(),
            (timer::UNREAD, _) => self.watch.timer_fired(),
            (timer::NEIGHBOURS, _) => elsewhere::timer_fired(self, ctx),
            (timer::DECISIONS, _) => decide::timer_fired(self, ctx),
            _ => self.pending.retry_timer_fired(),
        }
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Mail) {
        match mail {
            Mail::History(event) => events::reported(self, ctx, event),
            Mail::Signal(Signal(word)) => elsewhere::heard(self, ctx, word),
            Mail::Decision(number, answer) => decide::answered(self, ctx, number, answer),
        }
    }

    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        events::end_tick(self, ctx);
    }

    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        self.is_draining = true;
        let (least, most) = self.options.retry_after_ms;
        let Self { people, responder, .. } = self;
        for session in people.iter().filter(|session| session.dialect() == Dialect::V1) {
            // Spread, so that they do not all come back at once.
            let retry_after_ms = least + ctx.random() % (most.saturating_sub(least) + 1);
            let reason = Farewell::ShuttingDown;
            let ending = Ending { reason, message: reason.message(), retry_after_ms: Some(retry_after_ms) };
            responder.bye(ctx, session.conn(), &ending);
        }
    }
}
