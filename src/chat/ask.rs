//! Questions to the store, and what is done with the answers.

use super::answers::Asker;
use super::command::{Command, Since};
use super::pace::Paced;
use super::read_back::octets_of;
use super::session::Actor;
use super::{Chat, Code, Refusal};
use crate::app::Context;
use crate::history::{Query, Record};

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Ask {
    /// `history`.
    History { asker: Asker, room: u32, limit: usize, rev: u64, end: Option<u64> },
    /// `search`.
    Search { asker: Asker, room: u32, rev: u64 },
    /// The message that is to be changed.
    Change { asker: Asker, actor: Actor, room: u32, command: Command<'static> },
    /// `conversations`.
    Pairs { asker: Asker, actor: Actor, limit: usize },
    /// The older part of what a join tells.
    JoinPage(u64),
    /// How far the one who joins has read.
    JoinMark(u64),
    /// The list of rooms, for another part of the server.
    Rooms { request: u64, after: Box<str>, limit: usize },
}

/// A join that waits for answers.
#[derive(Debug)]
pub(super) struct PendingJoin {
    pub(super) asker: Asker,
    pub(super) actor: Actor,
    pub(super) room: u32,
    pub(super) since: Option<Since<'static>>,
    pub(super) history: Option<u64>,
    pub(super) older: Vec<Record>,
    /// The newest change when it was asked.
    pub(super) rev: u64,
    pub(super) awaits: u8,
}

impl Chat {
    /// Asks the store on behalf of somebody, who waits for a bounded number of answers.
    pub(super) fn ask_for(
        &mut self,
        asker: &Asker,
        room: u32,
        ask: Ask,
        request: impl FnOnce(u64) -> Query,
    ) -> Result<(), Refusal> {
        self.check_asks(asker)?;
        self.durable.ask(ask, request)?;
        if let Some(session) = asker.conn().and_then(|conn| self.people.session(conn)) {
            session.asks += 1;
        }
        self.rooms.wake(room);
        self.rooms[room].asks += 1;
        Ok(())
    }

    /// Whether somebody may ask the store one question more.
    pub(super) fn check_asks(&mut self, asker: &Asker) -> Result<(), Refusal> {
        let most = self.options.limits.max_asks;
        match asker.conn().and_then(|conn| self.people.session(conn)) {
            Some(session) if usize::from(session.asks) >= most => {
                Err(Refusal::later(Code::RateLimited, 100, "wait for the answers to earlier questions"))
            }
            _ => Ok(()),
        }
    }

    /// An answer came.
    fn answered(&mut self, asker: &Asker, room: u32) {
        self.rooms[room].asks -= 1;
        if let Some(session) = asker.conn().and_then(|conn| self.people.session(conn)) {
            session.asks -= 1;
        }
    }

    /// Messages that were asked for.
    pub(super) fn page_came<C: Context>(
        &mut self,
        ctx: &mut C,
        number: u64,
        records: Result<Vec<Record>, String>,
    ) {
        let Some(ask) = self.durable.asks.remove(&number) else { return };
        let records = records.map_err(|reason| failed(&reason));
        if let Ask::History { asker, .. } | Ask::Search { asker, .. } = &ask
            && self.must_hold(ctx, asker)
            && let Some(conn) = asker.conn().filter(|conn| self.people.session(*conn).is_some())
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
    pub(super) fn tell_answer<C: Context>(
        &mut self,
        ctx: &mut C,
        ask: Ask,
        records: Result<Vec<Record>, Refusal>,
    ) {
        match ask {
            Ask::History { asker, room, limit, rev, end } => {
                self.answered(&asker, room);
                match records {
                    _ if !self.is_present(&asker) => {}
                    Ok(records) => self.tell_history(ctx, &asker, room, records, (limit, rev, end)),
                    Err(refusal) => self.voice.refuse(ctx, &asker, &refusal),
                }
                self.rest_room(ctx, room);
            }
            Ask::Search { asker, room, rev } => {
                self.answered(&asker, room);
                match records {
                    _ if !self.is_present(&asker) => {}
                    Ok(mut records) => {
                        self.bring_up_to_date(room, rev, &mut records);
                        self.tell_found(ctx, &asker, room, &records);
                    }
                    Err(refusal) => self.voice.refuse(ctx, &asker, &refusal),
                }
                self.rest_room(ctx, room);
            }
            Ask::Change { asker, actor, room, command } => {
                self.answered(&asker, room);
                let is_here = self.is_present(&asker);
                let done = match records {
                    Ok(_) if !is_here => Ok(()),
                    Ok(records) => self.change_old(ctx, &asker, &actor, room, command, &records),
                    Err(refusal) => Err(refusal),
                };
                if let Err(refusal) = done {
                    self.voice.refuse(ctx, &asker, &refusal);
                }
                self.rest_room(ctx, room);
            }
            Ask::JoinPage(join) => {
                if let Some(pending) = self.durable.joins.get_mut(&join) {
                    // Without them it is not recovered; that is the answer then.
                    pending.older = records.unwrap_or_default();
                }
                self.join_goes_on(ctx, join);
            }
            Ask::JoinMark(join) => self.join_goes_on(ctx, join),
            // Answered by events of their own.
            Ask::Rooms { .. } | Ask::Pairs { .. } => {}
        }
    }

    /// How far somebody has read.
    pub(super) fn mark_came<C: Context>(&mut self, ctx: &mut C, number: u64, seq: u64) {
        let Some(Ask::JoinMark(join)) = self.durable.asks.remove(&number) else { return };
        if let Some(pending) = self.durable.joins.get(&join) {
            let (room, user) = (pending.room, pending.actor.identity());
            self.keep_read(room, &user, seq);
        }
        self.join_goes_on(ctx, join);
    }

    fn join_goes_on<C: Context>(&mut self, ctx: &mut C, join: u64) {
        let Some(pending) = self.durable.joins.get_mut(&join) else { return };
        pending.awaits -= 1;
        let (asker, room, is_last) = (pending.asker.clone(), pending.room, pending.awaits == 0);
        self.answered(&asker, room);
        if !is_last {
            return;
        }
        // The room lives until the join has ended.
        self.rooms[room].asks += 1;
        if self.must_hold(ctx, &asker)
            && let Some(conn) = asker.conn().filter(|conn| self.people.session(*conn).is_some())
        {
            let held = self.durable.joins.get(&join).map_or(0, |pending| octets_of(&pending.older));
            return match self.hold_answer(held) {
                Ok(()) => self.pace(conn, Paced::Join(join)),
                Err(refusal) => self.end_join(ctx, join, Err(refusal)),
            };
        }
        self.end_join(ctx, join, Ok(()));
    }

    /// Every answer that a join needs is there, or it is refused.
    pub(super) fn end_join<C: Context>(&mut self, ctx: &mut C, join: u64, may: Result<(), Refusal>) {
        let Some(pending) = self.durable.joins.remove(&join) else { return };
        let PendingJoin { asker, actor, room, since, history, mut older, rev, .. } = pending;
        if self.is_present(&asker) {
            self.bring_up_to_date(room, rev, &mut older);
            let done = may
                .and_then(|()| self.finish_join(ctx, &asker, &actor, room, since.as_ref(), history, &older));
            if let Err(refusal) = done {
                self.voice.refuse(ctx, &asker, &refusal);
            }
            self.joined_or_not(ctx, &asker, room);
        }
        self.rooms[room].asks -= 1;
        self.rest_room(ctx, room);
    }

    /// What waited behind a join goes on.
    fn joined_or_not<C: Context>(&mut self, ctx: &mut C, asker: &Asker, room: u32) {
        let Some(session) = asker.conn().and_then(|conn| self.people.session(conn)) else { return };
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
            self.execute(ctx, &waiting.asker, &waiting.actor, waiting.command);
        }
    }

    /// Whether the one who asked is still there to hear the answer.
    pub(super) fn is_present(&mut self, asker: &Asker) -> bool {
        asker.conn().is_none_or(|conn| self.people.session(conn).is_some())
    }
}

fn failed(reason: &str) -> Refusal {
    tracing::warn!(reason, "the history could not be read");
    Refusal::unavailable()
}
