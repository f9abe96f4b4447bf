//! The scenario `idle`: connections are held, and Pings answered by the protocol itself.

use std::ops::Range;

use switchboard::proto::{Connection, Message};

use crate::clock::Nanos;
use crate::fleet::{End, Scenario, Step, Turn};
use crate::record::Record;

/// It keeps nothing.
#[derive(Debug)]
pub(crate) struct Idle;

impl Scenario for Idle {
    type Lane = ();

    fn lane(&mut self, _number: u32) {}

    fn begin(&mut self, _start: Nanos, _window: &Range<Nanos>) -> Option<f64> {
        None
    }

    fn receive(&mut self, (): &mut (), _message: &Message<'_>, now: Nanos, record: &mut Record) {
        record.count.answered += 1;
        record.count.answered_in_window += u64::from(record.window.contains(&now));
    }

    fn compose(
        &mut self,
        (): &mut (),
        _connection: &mut Connection,
        _turn: Turn,
        _record: &mut Record,
        _out: &mut Vec<u8>,
    ) -> Step {
        Step::Rest
    }

    fn unanswered(&self) -> u64 {
        0
    }

    fn end(&mut self, (): &mut (), end: &End, _now: Nanos, record: &mut Record) -> bool {
        if let End::Failed(name) = end {
            record.failure(name);
        }
        false
    }
}
