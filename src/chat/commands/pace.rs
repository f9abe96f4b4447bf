//! What one connection and one turn may make the loop do: answers of some length wait until there is room for them.
//!
//! An answer is bounded ([`Limits::max_answer`]). A connection for which more than [`Limits::answer_queue`] octets wait is given
//! no further one, and when a turn has written or looked through its share, what is left goes on in the next. What waits is
//! done in the order in which it came; commands about rooms wait behind it, so that answers keep their order.
//!
//! [`Limits::max_answer`]: super::Limits::max_answer
//! [`Limits::answer_queue`]: super::Limits::answer_queue

use std::collections::{BTreeMap, VecDeque};

use crate::app::{ConnId, Context, Millis};
use crate::chat::commands::call::Call;
use crate::chat::commands::read_back::Scan;
use crate::chat::ids::SessionId;
use crate::chat::pending::queries::{PendingQuery, octets_of};
use crate::chat::people::session::{Session, Waiting};
use crate::chat::wire::command::Command;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal, timer};
use crate::history::Record;

/// Milliseconds until what waits is looked at again: where the turn was too short, and where readers are slow.
const AGAIN_MS: [Millis; 2] = [1, 10];

/// Octets of an answer that counts as none where the share of a turn is counted.
const SHORT: usize = 16 * 1024;

/// Something that waits for its turn.
#[derive(Debug)]
pub(in crate::chat) enum Paced {
    Command(Waiting),
    /// What the store answered.
    Answer(PendingQuery, Result<Vec<Record>, Refusal>),
    /// A join for which every answer is there.
    Join(u64),
    /// A search that is under way.
    Scan(Box<Scan>),
}

/// What was done since the last end of a tick, and who waits.
#[derive(Debug, Default)]
pub(in crate::chat) struct Turn {
    number: u32,
    /// Octets of answers.
    pub(in crate::chat) answered: usize,
    /// Octets of texts that were looked through.
    pub(in crate::chat) scanned: usize,
    /// Octets of messages that the store has answered with and that wait, in whatever turn.
    pub(in crate::chat) held: usize,
    /// Connections for which something waits, in the order of their turns.
    queue: VecDeque<ConnId>,
    /// What waits for each of them.
    paced: BTreeMap<ConnId, VecDeque<Paced>>,
    pub(in crate::chat) is_timed: bool,
}

impl Turn {
    /// Whether something of a connection waits for its turn.
    pub(in crate::chat) fn is_behind(&self, conn: ConnId) -> bool {
        self.paced.contains_key(&conn)
    }

    /// What waits for a connection, which has a turn from now on.
    fn of(&mut self, conn: ConnId) -> &mut VecDeque<Paced> {
        self.paced.entry(conn).or_insert_with(|| {
            self.queue.push_back(conn);
            VecDeque::new()
        })
    }

    /// Whether the counters of a large chat are checked in this turn.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn is_checked(&self) -> bool {
        self.number.is_multiple_of(64)
    }
}

impl Command<'_> {
    /// Whether its answer may be long.
    fn reads(&self) -> bool {
        matches!(self, Self::Join { .. } | Self::History { .. } | Self::Search { .. } | Self::Who { .. })
    }
}

impl Chat {
    /// Whether the turn has done its share of what `part` of it may be.
    fn is_spent(&self, part: usize) -> bool {
        let limits = &self.options.limits;
        self.turn.answered >= limits.turn_answers / part || self.turn.scanned >= limits.turn_scan / part
    }

    /// Whether so much waits for a connection that it is given no further answer.
    fn is_full<C: Context>(&self, ctx: &C, conn: ConnId) -> bool {
        let Some(session) = self.people.look(SessionId::of(conn)) else { return false };
        ctx.backlog(conn) + session.answered_in(self.turn.number) > self.options.limits.answer_queue
    }

    /// Whether a command has to wait for its turn.
    pub(in crate::chat) fn must_pace<C: Context>(&self, call: &Call<'_, C>, command: &Command<'_>) -> bool {
        let ReplyTo::Connection(conn, _) = call.reply_to else { return false };
        let has_to_wait = self.turn.is_behind(*conn) && command.room().is_some()
            || command.reads() && (self.is_spent(1) || self.is_full(call.ctx, *conn));
        // Nothing waits for a session that has ended meanwhile: see [`Chat::admit`].
        has_to_wait && self.people.look(SessionId::of(*conn)).is_some_and(Session::is_live)
    }

    /// Whether a long answer to somebody has to wait.
    pub(in crate::chat) fn must_hold<C: Context>(&self, ctx: &C, reply_to: &ReplyTo) -> bool {
        let ReplyTo::Connection(conn, _) = reply_to else { return false };
        self.turn.is_behind(*conn) || self.is_spent(1) || self.is_full(ctx, *conn)
    }

    /// Lets something wait.
    pub(in crate::chat) fn pace(&mut self, conn: ConnId, paced: Paced) {
        self.turn.of(conn).push_back(paced);
    }

    /// Lets something that has begun wait, before all that came later.
    pub(in crate::chat) fn pace_first(&mut self, conn: ConnId, paced: Paced) {
        self.turn.of(conn).push_front(paced);
    }

    /// Lets a command wait for its turn.
    pub(in crate::chat) fn pace_command<C>(
        &mut self,
        call: &Call<'_, C>,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let Some(conn) = call.reply_to.conn() else { return Ok(()) };
        self.people.begin_waiting(call.actor.session, &self.options.limits)?;
        let (reply_to, actor) = (call.reply_to.clone(), call.actor.clone());
        self.pace(conn, Paced::Command(Waiting { reply_to, actor, command: command.into_owned() }));
        Ok(())
    }

    /// Takes note of an answer.
    pub(in crate::chat) fn note_answer(&mut self, reply_to: &ReplyTo, octets: usize) {
        self.counts.answer_octets += octets as u64;
        if octets > SHORT {
            self.turn.answered += octets;
        }
        if let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) {
            session.note_answer(self.turn.number, octets);
        }
    }

    /// A tick ends: what waits goes on, with half of what the next turn may do.
    pub(in crate::chat) fn resume_paced<C: Context>(&mut self, ctx: &mut C) {
        self.turn.number = self.turn.number.wrapping_add(1);
        (self.turn.answered, self.turn.scanned) = (0, 0);
        let mut tries = self.turn.queue.len();
        while tries > 0
            && !self.is_spent(2)
            && let Some(conn) = self.turn.queue.pop_front()
        {
            tries -= 1;
            if self.resume_one(ctx, conn) {
                self.turn.queue.push_back(conn);
            }
        }
        if !self.turn.queue.is_empty() && !std::mem::replace(&mut self.turn.is_timed, true) {
            let after = AGAIN_MS[usize::from(!self.is_spent(2))];
            ctx.set_timer(ctx.now().monotonic_ms + after, timer::PACE);
        }
    }

    /// `true`: something is left.
    fn resume_one<C: Context>(&mut self, ctx: &mut C, conn: ConnId) -> bool {
        loop {
            let is_over = self.is_spent(2) || self.is_full(ctx, conn);
            let Some(queue) = self.turn.paced.get_mut(&conn) else { return false };
            if queue.is_empty() {
                self.turn.paced.remove(&conn);
                return false;
            }
            if is_over {
                return true;
            }
            match queue.pop_front() {
                Some(Paced::Command(Waiting { reply_to, actor, command })) => {
                    self.people.end_waiting(reply_to.conn());
                    self.execute_now(&mut Call { ctx, reply_to: &reply_to, actor: &actor }, command);
                }
                Some(paced @ (Paced::Answer(..) | Paced::Join(_))) => self.tell_held(ctx, paced),
                Some(Paced::Scan(scan)) => {
                    if let Some(scan) = self.scan(ctx, scan, self.options.limits.turn_scan / 2) {
                        self.pace_first(conn, Paced::Scan(scan));
                    }
                }
                None => {}
            }
        }
    }

    /// An answer of the store waits no longer.
    fn tell_held<C: Context>(&mut self, ctx: &mut C, paced: Paced) {
        match paced {
            Paced::Answer(ask, records) => {
                self.turn.held -= records.as_deref().map_or(0, octets_of);
                self.tell_answer(ctx, ask, records);
            }
            Paced::Join(join) => {
                self.turn.held -= self.pending.join(join).map_or(0, |pending| pending.octets());
                self.end_join(ctx, join, Ok(()));
            }
            Paced::Command(_) | Paced::Scan(_) => {}
        }
    }

    /// Lets go of what waited for a connection that is gone.
    pub(in crate::chat) fn drop_paced<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        for paced in self.turn.paced.remove(&conn).unwrap_or_default() {
            match paced {
                Paced::Command(_) => self.people.end_waiting(None),
                paced @ (Paced::Answer(..) | Paced::Join(_)) => self.tell_held(ctx, paced),
                Paced::Scan(scan) => self.release(ctx, scan.hold),
            }
        }
    }

    /// How many rooms are held by what waits for its turn, and how many commands wait; whether what it counts is right.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check_paced(&mut self) -> (usize, usize) {
        let (mut held, mut holds, mut commands) = (0, 0, 0);
        for (conn, queue) in &self.turn.paced {
            assert!(self.turn.queue.contains(conn), "a connection that waits has a turn");
            let is_live = self.people.look(SessionId::of(*conn)).is_some_and(Session::is_live);
            assert!(is_live, "a connection that waits is open");
            for paced in queue {
                match paced {
                    Paced::Command(_) => commands += 1,
                    Paced::Answer(query, records) => {
                        held += records.as_deref().map_or(0, octets_of);
                        holds += usize::from(query.hold.is_some());
                    }
                    Paced::Join(join) => {
                        held += self.pending.join(*join).map_or(0, |pending| pending.octets());
                    }
                    Paced::Scan(_) => holds += 1,
                }
            }
        }
        assert_eq!(self.turn.held, held, "octets of answers that wait");
        (holds, commands)
    }
}
