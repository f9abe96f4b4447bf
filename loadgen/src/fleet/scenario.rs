//! The seam between the loop and what the connections say.

use std::ops::Range;

use switchboard::proto::{Connection, Message};

use crate::clock::Nanos;
use crate::record::Record;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a complete closing handshake that we began.
    Clean,
    /// With the name of a failure.
    Failed(String),
    /// We dropped it without a word.
    Dropped,
    /// The run was interrupted.
    CutOff,
}

/// What is to become of a connection after [`Scenario::compose`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing more for now.
    Rest,
    /// One write does not hold all that may go out.
    More,
    /// The closing handshake.
    Close,
}

/// What is to become of all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    /// All of them are dropped, and dialled again as [`Scenario::end`] says.
    DropAll,
}

/// When frames are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) now: Nanos,
    /// Messages may go out: the run is in its warm-up or its window.
    pub(crate) sends: bool,
    /// What is due had to wait because the socket was full.
    pub(crate) was_blocked: bool,
}

/// What the connections say, and what they make of what they hear. It knows neither sockets nor clocks.
///
/// Lanes are numbered over all threads; the loop calls with a lane only while its connection is open, apart from
/// [`Self::end`].
pub(crate) trait Scenario {
    /// What is kept for one connection, from one dial to the next.
    type Lane;

    /// Makes the lane of a connection.
    fn lane(&mut self, number: u32) -> Self::Lane;

    /// Bytes per second that the connection reads at most.
    fn read_rate(&self, _number: u32) -> Option<u64> {
        None
    }

    /// Messages go out from `start` until the window ends; gives the rate at which everyone is dialled who then is to
    /// be dialled anew, if that is what the scenario is about.
    fn begin(&mut self, start: Nanos, window: &Range<Nanos>) -> Option<f64>;

    /// Whether connections are dialled before the messages begin.
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

    /// Connections that are open and still have to be made ready before messages begin.
    fn unready(&self) -> u32 {
        0
    }

    /// A message came.
    fn receive(&mut self, lane: &mut Self::Lane, message: &Message<'_>, now: Nanos, record: &mut Record);

    /// Everything of one read was received.
    fn settle(&mut self, _lane: &mut Self::Lane, _now: Nanos, _record: &mut Record) {}

    /// Appends the frames that may go out.
    fn compose(
        &mut self,
        lane: &mut Self::Lane,
        connection: &mut Connection,
        turn: Turn,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Step;

    /// A lane of this thread, by its place, that has something to send at `now`; each call gives another one.
    fn next_due(&mut self, _now: Nanos) -> Option<u32> {
        None
    }

    /// When the next message after those is planned.
    fn next_at(&self) -> Option<Nanos> {
        None
    }

    /// Called in every tick.
    fn tick(&mut self, _now: Nanos, _record: &mut Record) -> Order {
        Order::Nothing
    }

    /// What is still awaited.
    fn unanswered(&self) -> u64;

    /// Whether a bounded number of messages has gone out.
    fn all_sent(&self) -> bool {
        false
    }

    /// The connection ended, or was never made; counts a failure. Gives whether it is to be dialled again.
    fn end(&mut self, lane: &mut Self::Lane, end: &End, now: Nanos, record: &mut Record) -> bool;

    /// The run is over: what is known only now is recorded.
    fn finish(&mut self, _record: &mut Record) {}
}
