//! What was asked and is not answered, and what waits behind it.
//!
//! Of each connection what is about the room in question waits in a lane; all other connections go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::app::{ConnId, Millis};
use crate::chat::decisions::{
    Allowed, Answer, AskKind, AskNumber, ChatEvents, EventOptions, Question, WhenAway,
};
use crate::chat::identity::Claims;
use crate::chat::people::session::Waiting;
use crate::chat::rooms::Hold;
use crate::chat::wire::command::{Command, Id, Omit};
use crate::chat::wire::refusal::{Code, Refusal};

/// Milliseconds between two lines of the log that say what is wrong with an answer.
const LOG_EVERY_MS: Millis = 1000;
/// Milliseconds up to which an answer took, for [`Counts::answered_ms`]; the last class has no bound.
pub const ASK_BUCKETS_MS: [u64; 8] = [1, 2, 5, 10, 50, 100, 500, 1000];

/// What was asked since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions, by [`AskKind::ALL`].
    pub asked: [u64; AskKind::ALL.len()],
    /// Answers that allowed it.
    pub allowed: u64,
    /// Answers that refused it.
    pub refused: u64,
    /// Questions without a good answer in time.
    pub away: u64,
    /// Questions that could not be asked, because too many waited.
    pub busy: u64,
    /// Questions that wait now.
    pub waiting: u64,
    /// Answers by the milliseconds that they took.
    pub answered_ms: [u64; ASK_BUCKETS_MS.len() + 1],
    /// The sum of these milliseconds.
    pub answered_ms_sum: u64,
}

impl Counts {
    /// These and those of another loop.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            asked: std::array::from_fn(|at| self.asked[at] + other.asked[at]),
            allowed: self.allowed + other.allowed,
            refused: self.refused + other.refused,
            away: self.away + other.away,
            busy: self.busy + other.busy,
            waiting: self.waiting + other.waiting,
            answered_ms: std::array::from_fn(|at| self.answered_ms[at] + other.answered_ms[at]),
            answered_ms_sum: self.answered_ms_sum + other.answered_ms_sum,
        }
    }
}

/// Somebody who said who they are, and is not that yet.
#[derive(Debug)]
pub(in crate::chat) struct Arrival {
    /// The `hello`; `None`: they began with another command.
    pub(in crate::chat) hello: Option<Id<'static>>,
    pub(in crate::chat) user: Option<Box<str>>,
    pub(in crate::chat) claims: Option<Box<Claims>>,
    pub(in crate::chat) omit: Omit,
}

/// What a question is about.
#[derive(Debug)]
pub(in crate::chat) enum Subject {
    Arrival(Arrival),
    /// A command, and its room, which stays open meanwhile.
    Command(Box<Waiting>, Option<Hold>),
}

/// A question without an answer.
#[derive(Debug)]
pub(in crate::chat) struct Asked {
    pub(in crate::chat) conn: ConnId,
    pub(in crate::chat) subject: Subject,
    lane: Arc<str>,
    at: Millis,
}

/// Something that waits in a lane.
#[derive(Debug)]
pub(in crate::chat) enum Behind {
    /// What somebody says who is nobody yet.
    Unsaid(Id<'static>, Command<'static>),
    Command(Waiting),
}

/// What waits behind one question.
#[derive(Debug)]
struct Lane {
    /// The room; empty: everything of the connection waits.
    name: Arc<str>,
    behind: VecDeque<Behind>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Deciding {
    events: Box<dyn ChatEvents + Send>,
    pub(in crate::chat) options: EventOptions,
    last: AskNumber,
    asked: BTreeMap<AskNumber, Asked>,
    lanes: BTreeMap<ConnId, Vec<Lane>>,
    /// Of connections that speak for nobody yet.
    origins: BTreeMap<ConnId, Box<str>>,
    /// The command that is being done has been decided already.
    is_decided: bool,
    is_timed: bool,
    logged_at: Option<Millis>,
    counts: Counts,
}

impl Deciding {
    pub(in crate::chat) fn new(events: Box<dyn ChatEvents + Send>, options: EventOptions) -> Self {
        Self {
            events,
            options,
            last: 0,
            asked: BTreeMap::new(),
            lanes: BTreeMap::new(),
            origins: BTreeMap::new(),
            is_decided: false,
            is_timed: false,
            logged_at: None,
            counts: Counts::default(),
        }
    }

    pub(in crate::chat) fn events(&mut self) -> &mut dyn ChatEvents {
        &mut *self.events
    }

    pub(in crate::chat) fn counts(&self) -> (Counts, crate::chat::decisions::TellCounts) {
        (Counts { waiting: self.asked.len() as u64, ..self.counts.clone() }, self.events.counts())
    }

    // ---- questions

    /// Whether this many questions, or more, wait.
    pub(in crate::chat) fn check_place(&mut self, most: usize) -> Result<(), Refusal> {
        if self.asked.len() >= most {
            self.counts.busy += 1;
            let message = "too many wait for the decision of the backend";
            return Err(Refusal::later(Code::Unavailable, 1000, message));
        }
        Ok(())
    }

    /// Asks; an answer that is there already comes back with what it is about.
    pub(in crate::chat) fn ask(&mut self, question: &Question<'_>) -> (AskNumber, Option<Answer>) {
        self.last += 1;
        self.counts.asked[question.kind() as usize] += 1;
        (self.last, self.events.ask(self.last, question))
    }

    /// The answer to a question comes later.
    pub(in crate::chat) fn wait(
        &mut self,
        number: AskNumber,
        (conn, lane): (ConnId, Arc<str>),
        at: Millis,
        subject: Subject,
    ) {
        let lanes = self.lanes.entry(conn).or_default();
        lanes.push(Lane { name: Arc::clone(&lane), behind: VecDeque::new() });
        self.asked.insert(number, Asked { conn, subject, lane, at });
    }

    /// An answer has come; `None`: nobody waits for it any more. What waited behind it comes back as well.
    pub(in crate::chat) fn answered(
        &mut self,
        number: AskNumber,
        now: Millis,
    ) -> Option<(Asked, VecDeque<Behind>)> {
        let asked = self.asked.remove(&number)?;
        let took = now.saturating_sub(asked.at);
        self.counts.answered_ms[ASK_BUCKETS_MS.partition_point(|bound| *bound < took)] += 1;
        self.counts.answered_ms_sum += took;
        let mut behind = VecDeque::new();
        if let Some(lanes) = self.lanes.get_mut(&asked.conn) {
            if let Some(at) = lanes.iter().position(|lane| lane.name == asked.lane) {
                behind = lanes.remove(at).behind;
            }
            if lanes.is_empty() {
                self.lanes.remove(&asked.conn);
            }
        }
        Some((asked, behind))
    }

    /// What comes of an answer: `Err` says why it is refused.
    pub(in crate::chat) fn judge(&mut self, answer: Answer, now: Millis) -> Result<Allowed, Refusal> {
        match answer {
            Answer::Allow(allowed) => {
                self.counts.allowed += 1;
                Ok(allowed)
            }
            Answer::Refuse(reason) => {
                self.counts.refused += 1;
                Err(Refusal::new(Code::Refused, String::from(reason)))
            }
            Answer::Away(why) => {
                self.counts.away += 1;
                if self.logged_at.is_none_or(|at| now.saturating_sub(at) >= LOG_EVERY_MS) {
                    self.logged_at = Some(now);
                    tracing::warn!(%why, "the backend did not decide");
                }
                match self.options.when_away {
                    WhenAway::Allow => Ok(Allowed::default()),
                    WhenAway::Refuse => {
                        Err(Refusal::later(Code::Unavailable, 1000, "the backend does not answer"))
                    }
                }
            }
        }
    }

    /// The oldest question that is overdue.
    pub(in crate::chat) fn overdue(&self, now: Millis) -> Option<AskNumber> {
        let (number, asked) = self.asked.first_key_value()?;
        (asked.at + self.options.deadline_ms <= now).then_some(*number)
    }

    /// The time for which a timer must be set, if one is; it counts as set.
    pub(in crate::chat) fn needs_timer(&mut self) -> Option<Millis> {
        let (_, oldest) = self.asked.first_key_value()?;
        let at = oldest.at + self.options.deadline_ms;
        (!std::mem::replace(&mut self.is_timed, true)).then_some(at)
    }

    pub(in crate::chat) fn timer_fired(&mut self) {
        self.is_timed = false;
    }

    // ---- what is decided

    /// The command that is done from now on has been decided, or has not.
    pub(in crate::chat) fn set_decided(&mut self, is_decided: bool) {
        self.is_decided = is_decided;
    }

    /// Whether the command that is being done has been decided. The next one has not.
    pub(in crate::chat) fn take_decided(&mut self) -> bool {
        std::mem::take(&mut self.is_decided)
    }

    // ---- what waits

    /// Whether anything of a connection is being decided.
    pub(in crate::chat) fn is_busy(&self, conn: ConnId) -> bool {
        self.lanes.contains_key(&conn)
    }

    /// What a command of this room waits behind, if there is anything.
    pub(in crate::chat) fn lane(&mut self, conn: ConnId, name: &str) -> Option<&mut VecDeque<Behind>> {
        let lanes = self.lanes.get_mut(&conn)?;
        lanes.iter_mut().find(|lane| *lane.name == *name).map(|lane| &mut lane.behind)
    }

    // ---- connections

    pub(in crate::chat) fn note_origin(&mut self, conn: ConnId, origin: Box<str>) {
        self.origins.insert(conn, origin);
    }

    pub(in crate::chat) fn origin(&self, conn: ConnId) -> Option<&str> {
        self.origins.get(&conn).map(|origin| &**origin)
    }

    pub(in crate::chat) fn forget_origin(&mut self, conn: ConnId) {
        self.origins.remove(&conn);
    }

    /// A connection is gone. Returns what was asked for it, and how many of its commands waited.
    pub(in crate::chat) fn forget(&mut self, conn: ConnId) -> (Vec<Asked>, usize) {
        self.forget_origin(conn);
        let Some(lanes) = self.lanes.remove(&conn) else { return (Vec::new(), 0) };
        let waiting = lanes.iter().map(|lane| lane.behind.len()).sum();
        let gone: Vec<AskNumber> =
            self.asked.iter().filter(|(_, asked)| asked.conn == conn).map(|(number, _)| *number).collect();
        (gone.into_iter().filter_map(|number| self.asked.remove(&number)).collect(), waiting)
    }

    /// How many rooms are held, and how many commands wait; whether the tables fit.
    #[cfg(debug_assertions)]
    pub(in crate::chat) fn check(&self) -> (usize, usize) {
        let lanes = || self.lanes.values().flatten();
        assert_eq!(self.asked.len(), lanes().count(), "each question has a lane");
        let is_command = |asked: &&Asked| matches!(asked.subject, Subject::Command(..));
        let holds = self.asked.values().filter(|asked| matches!(asked.subject, Subject::Command(_, Some(_))));
        let commands = self.asked.values().filter(is_command).count();
        (holds.count(), commands + lanes().map(|lane| lane.behind.len()).sum::<usize>())
    }
}
