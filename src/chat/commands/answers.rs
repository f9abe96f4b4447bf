//! What is done with the answers of the history.

use crate::app::Context;
use crate::chat::commands::call::Call;
use crate::chat::commands::pace::Paced;
use crate::chat::ids::RoomId;
use crate::chat::pending::queries::{JoinAnswer, PendingJoin, PendingQuery, Purpose, octets_of};
use crate::chat::rooms::Hold;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{HistoryError, Query, Record};

impl Chat {
    /// Asks the history on behalf of somebody, who waits for a bounded number of answers.
    pub(in crate::chat) fn ask_for(
        &mut self,
        reply_to: &ReplyTo,
        room: Option<RoomId>,
        purpose: Purpose,
        request: impl FnOnce(u64) -> Query,
    ) -> Result<(), Refusal> {
        self.people.may_query(reply_to.conn(), &self.options.limits)?;
        let hold = room.map(|room| self.rooms.hold(room));
        let query = PendingQuery { reply_to: reply_to.clone(), hold, purpose };
        match self.pending.ask(query, request) {
            Ok(()) => {
                self.people.begin_query(reply_to.conn());
                Ok(())
            }
            Err(refused) => {
                let (refusal, query) = *refused;
                // Anyone who does the command lets the room rest.
                query.hold.map(|hold| self.rooms.release(hold));
                Err(refusal)
            }
        }
    }

    /// Somebody needs a room no more.
    pub(in crate::chat) fn release<C: Context>(&mut self, ctx: &mut C, hold: Hold) {
        let room = self.rooms.release(hold);
        self.rest_room(ctx, room);
    }

    /// Messages that were asked for.
    pub(in crate::chat) fn page_came<C: Context>(
        &mut self,
        ctx: &mut C,
        number: u64,
        records: Result<Vec<Record>, HistoryError>,
    ) {
        let Some(query) = self.pending.answered(number) else { return };
        let records = records.map_err(|reason| failed(&reason));
        if matches!(query.purpose, Purpose::History(_) | Purpose::Search { .. })
            && self.must_hold(ctx, &query.reply_to)
            && let Some(conn) = query.reply_to.conn().filter(|conn| self.people.session(*conn).is_some())
        {
            let held = records.as_deref().map_or(0, octets_of);
            return match self.hold_answer(held) {
                Ok(()) => self.pace(conn, Paced::Answer(query, records)),
                Err(refusal) => self.tell_answer(ctx, query, Err(refusal)),
            };
        }
        self.tell_answer(ctx, query, records);
    }

    /// Whether this many octets of an answer may wait for a slow reader; they are counted if they may.
    fn hold_answer(&mut self, octets: usize) -> Result<(), Refusal> {
        if self.turn.held + octets > self.options.limits.max_held_answers {
            return Err(Refusal::later(Code::RateLimited, 1000, "too many answers wait for slow readers"));
        }
        self.turn.held += octets;
        Ok(())
    }

    /// Passes on what the history answered.
    pub(in crate::chat) fn tell_answer<C: Context>(
        &mut self,
        ctx: &mut C,
        query: PendingQuery,
        records: Result<Vec<Record>, Refusal>,
    ) {
        let PendingQuery { reply_to, hold, purpose } = query;
        self.people.end_query(reply_to.conn());
        match purpose {
            Purpose::JoinPage(join) => {
                if let Some(pending) = self.pending.join(join) {
                    // Without them it is not recovered; that is the answer then.
                    pending.add_older(records.unwrap_or_default());
                }
                self.join_goes_on(ctx, join);
            }
            Purpose::JoinRead(join) => self.join_goes_on(ctx, join),
            // Answered by events of their own.
            Purpose::Rooms { .. } | Purpose::Pairs { .. } => {}
            Purpose::History(_) | Purpose::Search { .. } | Purpose::Change { .. } => {
                let Some(hold) = hold else { return };
                if self.is_present(&reply_to) {
                    let told = records.and_then(|records| {
                        self.tell_records(ctx, &reply_to, hold.room(), (purpose, records))
                    });
                    if let Err(refusal) = told {
                        self.responder.refuse(ctx, &reply_to, &refusal);
                    }
                }
                self.release(ctx, hold);
            }
        }
    }

    fn tell_records<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        room: RoomId,
        (purpose, mut records): (Purpose, Vec<Record>),
    ) -> Result<(), Refusal> {
        match purpose {
            Purpose::History(range) => self.tell_history(ctx, reply_to, room, (range, records)),
            Purpose::Search { rev } => {
                self.bring_up_to_date(room, rev, &mut records);
                self.tell_found(ctx, reply_to, room, &records);
            }
            Purpose::Change { actor, command } => {
                let mut call = Call { ctx, reply_to, actor: &actor };
                return self.change_old(&mut call, room, command, &records);
            }
            _ => {}
        }
        Ok(())
    }

    /// How far somebody has read.
    pub(in crate::chat) fn read_came<C: Context>(&mut self, ctx: &mut C, number: u64, seq: u64) {
        let Some(query) = self.pending.answered(number) else { return };
        if let Purpose::JoinRead(join) = query.purpose
            && let Some(pending) = self.pending.join(join)
        {
            let (room, user) = (pending.room(), pending.actor().identity());
            self.keep_read(room, &user, seq);
        }
        self.tell_answer(ctx, query, Ok(Vec::new()));
    }

    fn join_goes_on<C: Context>(&mut self, ctx: &mut C, join: u64) {
        let Some(pending) = self.pending.join(join) else { return };
        if !pending.goes_on() {
            return;
        }
        let (reply_to, held) = (pending.reply_to().clone(), pending.octets());
        if self.must_hold(ctx, &reply_to)
            && let Some(conn) = reply_to.conn().filter(|conn| self.people.session(*conn).is_some())
        {
            return match self.hold_answer(held) {
                Ok(()) => self.pace(conn, Paced::Join(join)),
                Err(refusal) => self.end_join(ctx, join, Err(refusal)),
            };
        }
        self.end_join(ctx, join, Ok(()));
    }

    /// Every answer that a join needs is there, or it is refused.
    pub(in crate::chat) fn end_join<C: Context>(&mut self, ctx: &mut C, join: u64, may: Result<(), Refusal>) {
        let Some(answer) = self.pending.end_join(join).map(PendingJoin::into_answer) else { return };
        let JoinAnswer { reply_to, actor, hold, range, mut older, rev } = answer;
        let room = hold.room();
        if self.is_present(&reply_to) {
            self.bring_up_to_date(room, rev, &mut older);
            let mut call = Call { ctx, reply_to: &reply_to, actor: &actor };
            let done = may.and_then(|()| self.finish_join(&mut call, room, &range, &older));
            if let Err(refusal) = done {
                self.responder.refuse(ctx, &reply_to, &refusal);
            }
            self.joined_or_not(ctx, &reply_to, room);
        }
        self.release(ctx, hold);
    }

    /// What waited behind a join goes on.
    fn joined_or_not<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo, room: RoomId) {
        let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) else { return };
        let (conn, behind) = (session.conn(), session.end_joining(room));
        if self.turn.is_behind(conn) {
            // They came before what waits there.
            for waiting in behind.into_iter().rev() {
                self.pace_first(conn, Paced::Command(waiting));
            }
            return;
        }
        for waiting in &behind {
            self.people.end_waiting(waiting.reply_to.conn());
        }
        for waiting in behind {
            let mut call = Call { ctx, reply_to: &waiting.reply_to, actor: &waiting.actor };
            self.execute(&mut call, waiting.command);
        }
    }

    /// Whether the one who asked is still there to hear the answer.
    pub(in crate::chat) fn is_present(&mut self, reply_to: &ReplyTo) -> bool {
        reply_to.conn().is_none_or(|conn| self.people.session(conn).is_some())
    }
}

fn failed(reason: &HistoryError) -> Refusal {
    tracing::warn!(%reason, "the history could not be read");
    Refusal::unavailable()
}
