//! Questions to the store, and what is done with the answers.

use crate::app::Context;
use crate::chat::commands::pace::Paced;
use crate::chat::commands::read_back::octets_of;
use crate::chat::people::actor::Actor;
use crate::chat::wire::command::{Command, Since};
use crate::chat::wire::responder::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::{Query, Record};

/// What an answer is for.
#[derive(Debug)]
pub(in crate::chat) enum PendingQuery {
    /// `history`.
    History { reply_to: ReplyTo, room: u32, limit: usize, rev: u64, end: Option<u64> },
    /// `search`.
    Search { reply_to: ReplyTo, room: u32, rev: u64 },
    /// The message that is to be changed.
    Change { reply_to: ReplyTo, actor: Actor, room: u32, command: Command<'static> },
    /// `conversations`.
    Pairs { reply_to: ReplyTo, actor: Actor, limit: usize },
    /// The older part of what a join tells.
    JoinPage(u64),
    /// How far the one who joins has read.
    JoinMark(u64),
    /// The list of rooms, for another part of the server.
    Rooms { request: u64, after: Box<str>, limit: usize },
}

/// A join that waits for answers.
#[derive(Debug)]
pub(in crate::chat) struct PendingJoin {
    pub(in crate::chat) reply_to: ReplyTo,
    pub(in crate::chat) actor: Actor,
    pub(in crate::chat) room: u32,
    pub(in crate::chat) since: Option<Since<'static>>,
    pub(in crate::chat) history: Option<u64>,
    pub(in crate::chat) older: Vec<Record>,
    /// The newest change when it was asked.
    pub(in crate::chat) rev: u64,
    pub(in crate::chat) awaits: u8,
}

impl Chat {
    /// Asks the store on behalf of somebody, who waits for a bounded number of answers.
    pub(in crate::chat) fn ask_for(
        &mut self,
        reply_to: &ReplyTo,
        room: u32,
        ask: PendingQuery,
        request: impl FnOnce(u64) -> Query,
    ) -> Result<(), Refusal> {
        self.check_asks(reply_to)?;
        self.pending.ask(ask, request)?;
        if let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) {
            session.asks += 1;
        }
        self.rooms.wake(room);
        self.rooms[room].asks += 1;
        Ok(())
    }

    /// Whether somebody may ask the store one question more.
    pub(in crate::chat) fn check_asks(&mut self, reply_to: &ReplyTo) -> Result<(), Refusal> {
        let most = self.options.limits.max_asks;
        match reply_to.conn().and_then(|conn| self.people.session(conn)) {
            Some(session) if usize::from(session.asks) >= most => {
                Err(Refusal::later(Code::RateLimited, 100, "wait for the answers to earlier questions"))
            }
            _ => Ok(()),
        }
    }

    /// An answer came.
    fn answered(&mut self, reply_to: &ReplyTo, room: u32) {
        self.rooms[room].asks -= 1;
        if let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) {
            session.asks -= 1;
        }
    }

    /// Messages that were asked for.
    pub(in crate::chat) fn page_came<C: Context>(
        &mut self,
        ctx: &mut C,
        number: u64,
        records: Result<Vec<Record>, String>,
    ) {
        let Some(ask) = self.pending.asks.remove(&number) else { return };
        let records = records.map_err(|reason| failed(&reason));
        if let PendingQuery::History { reply_to, .. } | PendingQuery::Search { reply_to, .. } = &ask
            && self.must_hold(ctx, reply_to)
            && let Some(conn) = reply_to.conn().filter(|conn| self.people.session(*conn).is_some())
        {
            let held = records.as_deref().map_or(0, octets_of);
            return match self.hold_answer(held) {
                Ok(()) => self.pace(conn, Paced::Answer(ask, records)),
                Err(refusal) => self.tell_answer(ctx, ask, Err(refusal)),
            };
        }
        self.tell_answer(ctx, ask, records);
    }

    /// Whether so many octets of an answer may wait for a slow reader; they are counted if they may.
    fn hold_answer(&mut self, octets: usize) -> Result<(), Refusal> {
        if self.turn.held + octets > self.options.limits.max_held_answers {
            return Err(Refusal::later(Code::RateLimited, 1000, "too many answers wait for slow readers"));
        }
        self.turn.held += octets;
        Ok(())
    }

    /// Passes on what the store answered.
    pub(in crate::chat) fn tell_answer<C: Context>(
        &mut self,
        ctx: &mut C,
        ask: PendingQuery,
        records: Result<Vec<Record>, Refusal>,
    ) {
        match ask {
            PendingQuery::History { reply_to, room, limit, rev, end } => {
                self.answered(&reply_to, room);
                match records {
                    _ if !self.is_present(&reply_to) => {}
                    Ok(records) => self.tell_history(ctx, &reply_to, room, records, (limit, rev, end)),
                    Err(refusal) => self.responder.refuse(ctx, &reply_to, &refusal),
                }
                self.rest_room(ctx, room);
            }
            PendingQuery::Search { reply_to, room, rev } => {
                self.answered(&reply_to, room);
                match records {
                    _ if !self.is_present(&reply_to) => {}
                    Ok(mut records) => {
                        self.bring_up_to_date(room, rev, &mut records);
                        self.tell_found(ctx, &reply_to, room, &records);
                    }
                    Err(refusal) => self.responder.refuse(ctx, &reply_to, &refusal),
                }
                self.rest_room(ctx, room);
            }
            PendingQuery::Change { reply_to, actor, room, command } => {
                self.answered(&reply_to, room);
                let is_here = self.is_present(&reply_to);
                let done = match records {
                    Ok(_) if !is_here => Ok(()),
                    Ok(records) => self.change_old(ctx, &reply_to, &actor, room, command, &records),
                    Err(refusal) => Err(refusal),
                };
                if let Err(refusal) = done {
                    self.responder.refuse(ctx, &reply_to, &refusal);
                }
                self.rest_room(ctx, room);
            }
            PendingQuery::JoinPage(join) => {
                if let Some(pending) = self.pending.joins.get_mut(&join) {
                    // Without them it is not recovered; that is the answer then.
                    pending.older = records.unwrap_or_default();
                }
                self.join_goes_on(ctx, join);
            }
            PendingQuery::JoinMark(join) => self.join_goes_on(ctx, join),
            // Answered by events of their own.
            PendingQuery::Rooms { .. } | PendingQuery::Pairs { .. } => {}
        }
    }

    /// How far somebody has read.
    pub(in crate::chat) fn mark_came<C: Context>(&mut self, ctx: &mut C, number: u64, seq: u64) {
        let Some(PendingQuery::JoinMark(join)) = self.pending.asks.remove(&number) else { return };
        if let Some(pending) = self.pending.joins.get(&join) {
            let (room, user) = (pending.room, pending.actor.identity());
            self.keep_read(room, &user, seq);
        }
        self.join_goes_on(ctx, join);
    }

    fn join_goes_on<C: Context>(&mut self, ctx: &mut C, join: u64) {
        let Some(pending) = self.pending.joins.get_mut(&join) else { return };
        pending.awaits -= 1;
        let (reply_to, room, is_last) = (pending.reply_to.clone(), pending.room, pending.awaits == 0);
        self.answered(&reply_to, room);
        if !is_last {
            return;
        }
        // The room lives until the join has ended.
        self.rooms[room].asks += 1;
        if self.must_hold(ctx, &reply_to)
            && let Some(conn) = reply_to.conn().filter(|conn| self.people.session(*conn).is_some())
        {
            let held = self.pending.joins.get(&join).map_or(0, |pending| octets_of(&pending.older));
            return match self.hold_answer(held) {
                Ok(()) => self.pace(conn, Paced::Join(join)),
                Err(refusal) => self.end_join(ctx, join, Err(refusal)),
            };
        }
        self.end_join(ctx, join, Ok(()));
    }

    /// Every answer that a join needs is there, or it is refused.
    pub(in crate::chat) fn end_join<C: Context>(&mut self, ctx: &mut C, join: u64, may: Result<(), Refusal>) {
        let Some(pending) = self.pending.joins.remove(&join) else { return };
        let PendingJoin { reply_to, actor, room, since, history, mut older, rev, .. } = pending;
        if self.is_present(&reply_to) {
            self.bring_up_to_date(room, rev, &mut older);
            let done = may.and_then(|()| {
                self.finish_join(ctx, &reply_to, &actor, room, since.as_ref(), history, &older)
            });
            if let Err(refusal) = done {
                self.responder.refuse(ctx, &reply_to, &refusal);
            }
            self.joined_or_not(ctx, &reply_to, room);
        }
        self.rooms[room].asks -= 1;
        self.rest_room(ctx, room);
    }

    /// What waited behind a join goes on.
    fn joined_or_not<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo, room: u32) {
        let Some(session) = reply_to.conn().and_then(|conn| self.people.session(conn)) else { return };
        let Some(joining) = &mut session.joining else { return };
        let Some(at) = joining.iter().position(|joining| joining.room == room) else { return };
        let behind = joining.swap_remove(at).behind;
        if joining.is_empty() {
            session.joining = None;
        }
        if let Some(paced) = &mut session.paced {
            // They came before what waits there.
            behind.into_iter().rev().for_each(|waiting| paced.push_front(Paced::Command(waiting)));
            return;
        }
        session.waiting -= behind.len() as u16;
        self.waiting -= behind.len();
        for waiting in behind {
            self.execute(ctx, &waiting.reply_to, &waiting.actor, waiting.command);
        }
    }

    /// Whether the one who asked is still there to hear the answer.
    pub(in crate::chat) fn is_present(&mut self, reply_to: &ReplyTo) -> bool {
        reply_to.conn().is_none_or(|conn| self.people.session(conn).is_some())
    }
}

fn failed(reason: &str) -> Refusal {
    tracing::warn!(reason, "the history could not be read");
    Refusal::unavailable()
}
