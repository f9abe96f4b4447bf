//! Answers for the whole process: the loop that is asked asks the others by mail, and adds up what they answer.

use std::fmt;

use super::health::Form;
use super::metrics::Format;
use super::{Figures, NotReady};
use crate::app::{ConnId, Context, Peers, Stats, Undelivered};
use crate::proto::Millis;

/// Milliseconds that a loop is given to answer. Then its figures are those of its last answer.
pub(super) const GATHER_MS: Millis = 250;
/// Milliseconds without an answer after which a loop counts as stuck: neither healthy nor ready.
pub(super) const STUCK_MS: Millis = 1_000;

/// Mail of an application and of what its operator needs around it.
#[derive(Debug)]
pub enum OpsMail<M, F> {
    /// For the application.
    App(M),
    /// From one loop of the process to another.
    Peer(PeerMail<F>),
}

impl<M, F> OpsMail<M, F> {
    /// Mail for the application, out of [`Self::App`].
    ///
    /// # Panics
    /// It is for somebody else.
    #[must_use]
    pub fn into_app(self) -> M {
        match self {
            Self::App(mail) => mail,
            Self::Peer(_) => unreachable!("mail between loops is no mail of the application"),
        }
    }
}

/// What loops say to each other about their figures.
#[derive(Debug)]
pub struct PeerMail<F>(pub(super) Word<F>);

#[derive(Debug)]
pub(super) enum Word<F> {
    /// A loop wants to know the figures of this one.
    Ask { from: usize, round: u64 },
    /// The figures of a loop.
    Answer { from: usize, round: u64, report: Box<Report<F>> },
}

/// How a loop is.
#[derive(Debug)]
pub(super) struct Report<F> {
    pub(super) stats: Stats,
    pub(super) readiness: Result<(), NotReady>,
    pub(super) suppressed_lines: u64,
    pub(super) figures: F,
}

impl<F: Figures> Report<F> {
    fn add(&mut self, other: &Self) {
        self.stats.add(&other.stats);
        self.readiness = self.readiness.and(other.readiness);
        self.suppressed_lines += other.suppressed_lines;
        self.figures.add(&other.figures);
    }
}

/// What metrics say of a loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoopState {
    pub(super) connections: usize,
    /// Mails that it has not seen.
    pub(super) waiting: usize,
    /// It did not answer in time.
    pub(super) is_silent: bool,
}

/// What is asked of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Metrics(Format),
    Health(Form),
    Readiness(Form),
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
struct Asker {
    conn: ConnId,
    question: Question,
    since: Millis,
}

/// A question to all other loops that is under way.
#[derive(Debug)]
struct Round {
    until: Millis,
    askers: Vec<Asker>,
}

/// The loops of a process, as one of them sees them. There is one round of questions at a time, so a loop has at most one mail of
/// each other one in its mailbox; who asks meanwhile waits for the next round, whose answers are newer than the question.
pub(super) struct Others<M, F> {
    own: usize,
    peers: Peers<OpsMail<M, F>>,
    /// The last report of each loop; of this one there is none.
    reports: Vec<Option<Box<Report<F>>>>,
    /// By loop: it was asked in this round and has not answered.
    missing: Vec<bool>,
    round: Option<Round>,
    /// Counts rounds.
    number: u64,
    next: Vec<Asker>,
}

impl<M, F> fmt::Debug for Others<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others")
            .field("own", &self.own)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

/// An answer that is complete, or as complete as it will be.
#[derive(Debug)]
pub(super) struct Answered<F> {
    pub(super) conn: ConnId,
    pub(super) question: Question,
    pub(super) report: Report<F>,
    pub(super) loops: Vec<LoopState>,
}

impl<M: 'static, F: Figures> Others<M, F> {
    pub(super) fn new(own: usize, peers: Peers<OpsMail<M, F>>) -> Self {
        let loops = peers.len();
        Self {
            own,
            peers,
            reports: (0..loops).map(|_| None).collect(),
            missing: vec![false; loops],
            round: None,
            number: 0,
            next: Vec::new(),
        }
    }

    /// Whether there are others at all.
    pub(super) fn is_alone(&self) -> bool {
        self.peers.len() == 1
    }

    /// Somebody asks for the whole process. `Some`: when to call [`Self::look`].
    pub(super) fn ask<C: Context>(&mut self, ctx: &C, conn: ConnId, question: Question) -> Option<Millis> {
        let since = ctx.now().monotonic_ms;
        self.next.push(Asker { conn, question, since });
        self.begin_round(since)
    }

    /// Asks all others, if somebody wants to know and no round is under way. `Some`: when to call [`Self::look`].
    fn begin_round(&mut self, now: Millis) -> Option<Millis> {
        if self.round.is_some() || self.next.is_empty() {
            return None;
        }
        let until = now + GATHER_MS;
        self.round = Some(Round { until, askers: std::mem::take(&mut self.next) });
        self.number += 1;
        for (at, mailbox) in self.peers.others(self.own) {
            let word = Word::Ask { from: self.own, round: self.number };
            // One that has ended is not waited for.
            self.missing[at] =
                !matches!(mailbox.try_send(OpsMail::Peer(PeerMail(word))), Err(Undelivered::Ended(_)));
        }
        Some(until)
    }

    /// Answers another loop, if that still wants it.
    pub(super) fn answer(&self, to: usize, round: u64, report: Report<F>) {
        let word = Word::Answer { from: self.own, round, report: Box::new(report) };
        // A full mailbox makes this loop a silent one; the next round asks again.
        let _ = self.peers.get(to).try_send(OpsMail::Peer(PeerMail(word)));
    }

    /// Another loop has answered.
    pub(super) fn answered(&mut self, from: usize, round: u64, report: Box<Report<F>>) {
        self.reports[from] = Some(report);
        if round == self.number {
            self.missing[from] = false;
        }
    }

    /// Takes the askers who can be answered now. `own` makes the report of this loop. `Some` time: when to look again.
    pub(super) fn look(
        &mut self,
        now: Millis,
        own: impl Fn() -> Report<F>,
    ) -> (Vec<Answered<F>>, Option<Millis>) {
        let mut answered = Vec::new();
        let is_complete = !self.missing.contains(&true);
        let is_over = |round: &mut Round| is_complete || round.until <= now;
        let Some(round) = self.round.take_if(is_over) else { return (answered, None) };
        for asker in round.askers {
            // A loop may be busy for longer than metrics wait.
            if is_complete || matches!(asker.question, Question::Metrics(_)) || asker.since + STUCK_MS <= now
            {
                let (report, loops) = self.sum(own());
                answered.push(Answered { conn: asker.conn, question: asker.question, report, loops });
            } else {
                self.next.push(asker);
            }
        }
        (answered, self.begin_round(now))
    }

    /// The report of this loop and the last ones of all others, and what there is to say of each loop.
    pub(super) fn sum(&self, own: Report<F>) -> (Report<F>, Vec<LoopState>) {
        let mut sum = own;
        let own_connections = sum.stats.connections;
        let mut loops = Vec::with_capacity(self.peers.len());
        for (at, mailbox) in self.peers.iter().enumerate() {
            let report = self.reports[at].as_deref();
            let other = report.map_or(0, |report| report.stats.connections);
            loops.push(LoopState {
                connections: if at == self.own { own_connections } else { other },
                waiting: mailbox.waiting(),
                is_silent: self.missing[at],
            });
            if let Some(report) = report {
                sum.add(report);
            }
        }
        (sum, loops)
    }

    /// A request is not to be answered any more. `false`: it is none of these.
    pub(super) fn forget(&mut self, conn: ConnId) -> bool {
        let lists = self.round.iter_mut().map(|round| &mut round.askers).chain([&mut self.next]);
        let mut is_found = false;
        for askers in lists {
            let before = askers.len();
            askers.retain(|asker| asker.conn != conn);
            is_found |= askers.len() < before;
        }
        is_found
    }
}
