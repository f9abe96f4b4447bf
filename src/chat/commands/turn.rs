//! What the chat did in this turn of the loop, and what waits for a later one.

use std::collections::{BTreeMap, VecDeque};

use crate::app::{ConnId, Context};
use crate::chat::commands::scan::Scan;
use crate::chat::ids::SessionId;
use crate::chat::limits::Limits;
use crate::chat::pending::Pending;
use crate::chat::pending::queries::{PendingQuery, octets_of};
#[cfg(debug_assertions)]
use crate::chat::people::People;
#[cfg(debug_assertions)]
use crate::chat::people::session::Session;
use crate::chat::people::session::Waiting;
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Code, Refusal};
use crate::history::Record;

/// Octets of an answer that counts as none where the share of a turn is counted.
const SHORT: usize = 16 * 1024;

/// Something that waits for its turn.
#[derive(Debug)]
pub(in crate::chat) enum Paced {
    Command(Waiting),
    /// What the history answered.
    Answer(PendingQuery, Result<Vec<Record>, Refusal>),
    /// A join for which every answer is there.
    Join(u64),
    /// A search that is under way.
    Scan(Box<Scan>),
}

impl Paced {
    /// Octets of messages that it holds.
    fn held(&self, pending: &mut Pending) -> usize {
        match self {
            Self::Answer(_, records) => records.as_deref().map_or(0, octets_of),
            Self::Join(join) => pending.join(*join).map_or(0, |pending| pending.octets()),
            Self::Command(_) | Self::Scan(_) => 0,
        }
    }
}

/// What was done since the last end of a tick, and who waits.
#[derive(Debug, Default)]
pub(in crate::chat) struct Turn {
    number: u32,
    /// Octets of answers.
    answered: usize,
    /// Octets of texts that were looked through.
    scanned: usize,
    /// Octets of messages that the history has answered with and that wait, in whatever turn.
    held: usize,
    /// Connections for which something waits, in the order of their turns.
    queue: VecDeque<ConnId>,
    /// What waits for each of them.
    paced: BTreeMap<ConnId, VecDeque<Paced>>,
    is_timed: bool,
}

impl Turn {
    /// The next turn begins. Returns how many connections wait for theirs.
    pub(in crate::chat) fn begin(&mut self) -> usize {
        self.number = self.number.wrapping_add(1);
        (self.answered, self.scanned) = (0, 0);
        self.queue.len()
    }

    pub(in crate::chat) fn number(&self) -> u32 {
        self.number
    }

    // ---- what was done

    /// Whether the turn has done its share of what `part` of it may be.
    pub(in crate::chat) fn is_spent(&self, limits: &Limits, part: usize) -> bool {
        self.answered >= limits.turn_answers / part || self.is_scanned(limits.turn_scan / part)
    }

    /// An answer of this length was written.
    pub(in crate::chat) fn note_answer(&mut self, octets: usize) {
        if octets > SHORT {
            self.answered += octets;
        }
    }

    /// Whether this many octets were looked through.
    pub(in crate::chat) fn is_scanned(&self, octets: usize) -> bool {
        self.scanned >= octets
    }

    /// This many octets more were looked through.
    pub(in crate::chat) fn note_scan(&mut self, octets: usize) {
        self.scanned += octets;
    }

    // ---- what waits

    /// Whether something of a connection waits for its turn.
    pub(in crate::chat) fn is_behind(&self, conn: ConnId) -> bool {
        self.paced.contains_key(&conn)
    }

    /// Lets something wait.
    pub(in crate::chat) fn wait(&mut self, conn: ConnId, paced: Paced) {
        self.of(conn).push_back(paced);
    }

    /// Lets a command wait, before all that came later.
    pub(in crate::chat) fn wait_first(&mut self, conn: ConnId, waiting: Waiting) {
        self.of(conn).push_front(Paced::Command(waiting));
    }

    /// Lets a search that has begun wait, before all that came later.
    pub(in crate::chat) fn scan_later(&mut self, conn: ConnId, scan: Box<Scan>) {
        self.of(conn).push_front(Paced::Scan(scan));
    }

    /// Lets an answer of the history wait, which is counted until [`Self::let_go`]; refused above this many octets of all.
    pub(in crate::chat) fn hold(
        &mut self,
        conn: ConnId,
        answer: Paced,
        pending: &mut Pending,
        most: usize,
    ) -> Result<(), Box<(Refusal, Paced)>> {
        let octets = answer.held(pending);
        if self.held + octets > most {
            let message = "too many answers wait for slow readers";
            return Err(Box::new((Refusal::later(Code::RateLimited, 1000, message), answer)));
        }
        self.held += octets;
        self.wait(conn, answer);
        Ok(())
    }

    /// An answer waits no longer.
    pub(in crate::chat) fn let_go(&mut self, answer: &Paced, pending: &mut Pending) {
        self.held -= answer.held(pending);
    }

    /// What waits for a connection, which has a turn from now on.
    fn of(&mut self, conn: ConnId) -> &mut VecDeque<Paced> {
        self.paced.entry(conn).or_insert_with(|| {
            self.queue.push_back(conn);
            VecDeque::new()
        })
    }

    // ---- whose turn it is

    /// The connection whose turn it is.
    pub(in crate::chat) fn next_conn(&mut self) -> Option<ConnId> {
        self.queue.pop_front()
    }

    /// A connection has another turn.
    pub(in crate::chat) fn again(&mut self, conn: ConnId) {
        self.queue.push_back(conn);
    }

    /// Whether something is left for the connection whose turn it is. Else nothing of it waits any more.
    pub(in crate::chat) fn has_more(&mut self, conn: ConnId) -> bool {
        let is_left = self.paced.get(&conn).is_some_and(|queue| !queue.is_empty());
        if !is_left {
            self.paced.remove(&conn);
        }
        is_left
    }

    /// What has waited for the longest.
    pub(in crate::chat) fn next_of(&mut self, conn: ConnId) -> Option<Paced> {
        self.paced.get_mut(&conn)?.pop_front()
    }

    /// Returns all that waits for a connection that is gone.
    pub(in crate::chat) fn forget(&mut self, conn: ConnId) -> VecDeque<Paced> {
        self.paced.remove(&conn).unwrap_or_default()
    }

    // ---- the timer

    /// Whether a timer must be set for what waits; one is set from now on.
    pub(in crate::chat) fn needs_timer(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.is_timed, true)
    }

    /// The timer has fired.
    pub(in crate::chat) fn timer_fired(&mut self) {
        self.is_timed = false;
    }

    /// Whether the counters of a large chat are checked in this turn.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn is_checked(&self) -> bool {
        self.number.is_multiple_of(64)
    }

    /// How many rooms are held by what waits for its turn, and how many commands wait; whether what it counts is right.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self, people: &People, pending: &mut Pending) -> (usize, usize) {
        let (mut held, mut holds, mut commands) = (0, 0, 0);
        for (conn, queue) in &self.paced {
            assert!(self.queue.contains(conn), "a connection that waits has a turn");
            let is_live = people.look(SessionId::of(*conn)).is_some_and(Session::is_live);
            assert!(is_live, "a connection that waits is open");
            for paced in queue {
                held += paced.held(pending);
                match paced {
                    Paced::Command(_) => commands += 1,
                    Paced::Answer(query, _) => holds += usize::from(query.hold.is_some()),
                    Paced::Join(_) => {}
                    Paced::Scan(_) => holds += 1,
                }
            }
        }
        assert_eq!(self.held, held, "octets of answers that wait");
        (holds, commands)
    }
}

/// Takes note of an answer.
pub(in crate::chat) fn note_answer(chat: &mut Chat, reply_to: &ReplyTo, octets: usize) {
    chat.counts.answer_octets += octets as u64;
    chat.turn.note_answer(octets);
    if let Some(session) = reply_to.conn().and_then(|conn| chat.people.session(conn)) {
        session.note_answer(chat.turn.number(), octets);
    }
}

/// Whether so much waits for a connection that it is given no further answer.
pub(in crate::chat) fn is_full<C: Context>(chat: &Chat, ctx: &C, conn: ConnId) -> bool {
    let Some(session) = chat.people.look(SessionId::of(conn)) else { return false };
    ctx.backlog(conn) + session.answered_in(chat.turn.number()) > chat.options.limits.answer_queue
}
