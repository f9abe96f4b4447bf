//! What one connection and one turn may make the loop do: answers of some length wait until there is room for them.
//!
//! An answer is bounded ([`Limits::max_answer`]). A connection for which more than [`Limits::answer_queue`] octets wait is given
//! no further one, and when a turn has written or looked through its share, what is left goes on in the next. What waits is
//! done in the order in which it came; commands about rooms wait behind it, so that answers keep their order.
//!
//! [`Limits::max_answer`]: super::Limits::max_answer
//! [`Limits::answer_queue`]: super::Limits::answer_queue

use std::collections::VecDeque;

use crate::app::{ConnId, Context, Millis};
use crate::chat::commands::read_back::{Scan, octets_of};
use crate::chat::pending::queries::PendingQuery;
use crate::chat::people::actor::Actor;
use crate::chat::people::session::Waiting;
use crate::chat::wire::command::Command;
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, Refusal, timer};
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
    /// Connections for which something waits.
    queue: VecDeque<ConnId>,
    pub(in crate::chat) is_timed: bool,
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
        let Some(session) = self.people.look(conn.index) else { return false };
        let (turn, octets) = session.answered;
        let given = if turn == self.turn.number { octets as usize } else { 0 };
        ctx.backlog(conn) + given > self.options.limits.answer_queue
    }

    /// Whether a command has to wait for its turn.
    pub(in crate::chat) fn must_pace<C: Context>(
        &self,
        ctx: &C,
        reply_to: &ReplyTo,
        command: &Command<'_>,
    ) -> bool {
        let ReplyTo::Connection(conn, _) = reply_to else { return false };
        let is_behind = self.people.look(conn.index).is_some_and(|session| session.paced.is_some());
        is_behind && command.room().is_some()
            || command.reads() && (self.is_spent(1) || self.is_full(ctx, *conn))
    }

    /// Whether a long answer to somebody has to wait.
    pub(in crate::chat) fn must_hold<C: Context>(&self, ctx: &C, reply_to: &ReplyTo) -> bool {
        let ReplyTo::Connection(conn, _) = reply_to else { return false };
        let is_behind = self.people.look(conn.index).is_some_and(|session| session.paced.is_some());
        is_behind || self.is_spent(1) || self.is_full(ctx, *conn)
    }

    /// Lets something wait.
    pub(in crate::chat) fn pace(&mut self, conn: ConnId, paced: Paced) {
        let Some(session) = self.people.session(conn) else { return };
        let is_first = session.paced.is_none();
        session.paced.get_or_insert_default().push_back(paced);
        if is_first {
            self.turn.queue.push_back(conn);
        }
    }

    /// Lets something that has begun wait, before all that came later.
    pub(in crate::chat) fn pace_first(&mut self, conn: ConnId, paced: Paced) {
        self.pace(conn, paced);
        if let Some(queue) = self.people.session(conn).and_then(|session| session.paced.as_mut()) {
            queue.rotate_right(1);
        }
    }

    /// Lets a command wait for its turn.
    pub(in crate::chat) fn pace_command(
        &mut self,
        reply_to: &ReplyTo,
        actor: &Actor,
        command: Command<'_>,
    ) -> Result<(), Refusal> {
        let Some(conn) = reply_to.conn() else { return Ok(()) };
        self.count_waiting(actor)?;
        let waiting =
            Waiting { reply_to: reply_to.clone(), actor: actor.clone(), command: command.into_owned() };
        self.pace(conn, Paced::Command(waiting));
        Ok(())
    }

    /// One more command waits.
    pub(in crate::chat) fn count_waiting(&mut self, actor: &Actor) -> Result<(), Refusal> {
        let limits = &self.options.limits;
        if self.waiting >= limits.max_pending {
            return Err(Refusal::unavailable());
        }
        if let Some(session) = actor.session.and_then(|index| self.people.at(index)) {
            if usize::from(session.waiting) >= limits.max_waiting {
                let message = "too many commands wait for their answers";
                return Err(Refusal::later(Code::RateLimited, 100, message));
            }
            session.waiting += 1;
        }
        self.waiting += 1;
        Ok(())
    }

    /// Takes note of an answer.
    pub(in crate::chat) fn note_answer(&mut self, reply_to: &ReplyTo, octets: usize) {
        self.answer_octets += octets as u64;
        if octets > SHORT {
            self.turn.answered += octets;
        }
        let number = self.turn.number;
        if let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) {
            let (turn, given) = &mut session.answered;
            *given = if *turn == number { *given } else { 0 }.saturating_add(octets as u32);
            *turn = number;
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
            let Some(session) = self.people.session(conn) else { return false };
            let Some(queue) = &mut session.paced else { return false };
            if queue.is_empty() {
                session.paced = None;
                return false;
            }
            if is_over {
                return true;
            }
            match queue.pop_front() {
                Some(Paced::Command(Waiting { reply_to, actor, command })) => {
                    self.no_longer_waits(&reply_to);
                    self.execute_now(ctx, &reply_to, &actor, command);
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
                self.turn.held -=
                    self.pending.joins.get(&join).map_or(0, |pending| octets_of(&pending.older));
                self.end_join(ctx, join, Ok(()));
            }
            Paced::Command(_) | Paced::Scan(_) => {}
        }
    }

    /// Lets go of what waited for a connection that is gone.
    pub(in crate::chat) fn drop_paced<C: Context>(&mut self, ctx: &mut C, paced: VecDeque<Paced>) {
        for paced in paced {
            match paced {
                Paced::Command(_) => self.waiting -= 1,
                paced @ (Paced::Answer(..) | Paced::Join(_)) => self.tell_held(ctx, paced),
                Paced::Scan(scan) => self.end_scan(ctx, scan.room),
            }
        }
    }
}
