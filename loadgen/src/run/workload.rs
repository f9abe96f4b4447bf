//! The seam between the event loop and what connections say.

use std::ops::Range;

use switchboard::proto::{Connection, Message};

use super::schedule::Timeline;
use crate::clock::{Nanos, SECOND};
use crate::output::record::Record;

/// One write holds frames of at most this many bytes, or one longer frame.
pub(crate) const MAX_WRITE: usize = 256 * 1024;

/// Limit on the time from the opening handshake until a connection is ready for messages.
pub(crate) const READY_LIMIT: Nanos = 10 * SECOND;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a complete closing handshake that the generator began.
    Clean,
    /// With a failure of this name.
    Failed(String),
    /// The generator dropped the connection without a closing handshake.
    Dropped,
    /// The run was interrupted.
    CutOff,
}

impl End {
    /// Counts the messages without an answer, those that the connection still had to send, and the failure.
    pub(crate) fn count(&self, unanswered: u64, owed: u64, record: &mut Record) {
        if *self == Self::CutOff {
            record.count.cut_off += unanswered;
        } else {
            record.count.lost += unanswered;
            record.count.unsent += owed;
        }
        if let Self::Failed(name) = self {
            record.failure(name);
        }
    }
}

/// What the loop does with a connection after [`Workload::compose`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Waits for an event.
    Rest,
    /// Composes again: one write does not hold all that is due.
    More,
    /// Begins the closing handshake.
    Close,
}

/// What the loop does with all connections after [`Workload::tick`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    /// Drops all connections, and dials them again as [`Workload::end`] says.
    DropAll,
}

/// The circumstances of one call of [`Workload::compose`].
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Nanos,
    /// Messages may go out: the run is in its warm-up or its window.
    pub(crate) sends: bool,
    /// The socket was full since the last turn, so due messages had to wait.
    pub(crate) was_blocked: bool,
    pub(crate) record: &'a mut Record,
    /// Frames are appended here.
    pub(crate) out: &'a mut Vec<u8>,
}

/// What connections send, and how they check what they receive. A workload knows neither sockets nor clocks.
///
/// Lanes are numbered over all threads. The loop passes a lane only while its connection is open, except to
/// [`Self::end`].
pub(crate) trait Workload {
    /// The state of one connection; it survives when the connection is dialled again.
    type Lane;

    /// Makes the lane of a connection.
    fn lane(&mut self, number: u32) -> Self::Lane;

    /// Limit on the bytes per second that the connection reads.
    fn read_rate(&self, _number: u32) -> Option<u64> {
        None
    }

    /// Messages go out from `start` until the window ends. Returns the instants at which connections are dialled from
    /// then on, for workloads that dial again.
    fn begin(&mut self, _start: Nanos, _window: &Range<Nanos>) -> Option<Timeline> {
        None
    }

    /// Whether connections are dialled before messages begin.
    fn dials_first(&self) -> bool {
        true
    }

    /// The opening handshake is complete.
    ///
    /// # Errors
    /// The name of a failure.
    fn opened(
        &mut self,
        _lane: &mut Self::Lane,
        _subprotocol: Option<&str>,
        _now: Nanos,
        _record: &mut Record,
    ) -> Result<(), String> {
        Ok(())
    }

    /// Open connections that are not ready for messages yet.
    fn unready(&self) -> u32 {
        0
    }

    /// The name of a failure that ends an open connection which has not become ready in time.
    fn overdue(&self, _lane: &Self::Lane, _now: Nanos) -> Option<String> {
        None
    }

    /// A message arrived.
    fn receive(&mut self, lane: &mut Self::Lane, message: &Message<'_>, now: Nanos, record: &mut Record);

    /// All messages of one read were received.
    fn read_ended(&mut self, _lane: &mut Self::Lane, _now: Nanos, _record: &mut Record) {}

    /// Appends the frames that are due.
    fn compose(&mut self, lane: &mut Self::Lane, connection: &mut Connection, turn: &mut Turn<'_>) -> Step;

    /// A lane of this thread, by its place, that has a message due at `now`. Each call returns another lane.
    fn next_due(&mut self, _now: Nanos) -> Option<u32> {
        None
    }

    /// The instant of the next message that is not due yet.
    fn next_at(&self) -> Option<Nanos> {
        None
    }

    /// A lane, by its place, that asked to be composed at an instant before `now`, in every phase.
    fn woken(&mut self, _now: Nanos) -> Option<u32> {
        None
    }

    /// The earliest of these instants.
    fn wakes_at(&self) -> Option<Nanos> {
        None
    }

    /// Called in every tick.
    fn tick(&mut self, _now: Nanos, _record: &mut Record) -> Order {
        Order::Nothing
    }

    /// Number of answers for which the run waits.
    fn unanswered(&self) -> u64 {
        0
    }

    /// Whether every connection has sent its number of messages.
    fn all_sent(&self) -> bool {
        false
    }

    /// The connection ended, or was never made. Counts a failure. Returns whether the loop dials the connection again.
    fn end(&mut self, lane: &mut Self::Lane, end: &End, now: Nanos, record: &mut Record) -> bool;

    /// The connection will not be dialled again although [`Self::end`] asked for it: the run comes to its end.
    fn stranded(&mut self, _lane: &mut Self::Lane, _now: Nanos, _record: &mut Record) {}

    /// The run is over: records figures that are known only now.
    fn finish(&mut self, _record: &mut Record) {}
}
