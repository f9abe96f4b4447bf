//! What is kept of messages that are unfinished, and input that waits for a later tick: what came before it inflated to enough for
//! one turn, or its answers are not read.

use super::core::Core;
use super::entry::Phase;
use super::{Reactor, Socket};
use crate::app::Application;
use crate::proto::ProtocolError;

/// In the middle of a message of at least this length, in bytes, more is read at once.
const BULK_LEN: u64 = 8 * 1024;

impl Core {
    /// Counts what a connection keeps of an unfinished message and arms its deadline.
    #[inline]
    pub(super) fn note_unfinished(&mut self, index: u32) {
        let entry = &self.table[index as usize];
        if let Phase::Open(connection) = &entry.phase
            && (!connection.is_between_messages() || entry.unfinished > 0)
            && !self.count_unfinished(index)
        {
            self.fail(index, ProtocolError::UnfinishedBudget);
        }
    }

    /// `false`: the budget is used up.
    fn count_unfinished(&mut self, index: u32) -> bool {
        let entry = &mut self.table[index as usize];
        let Phase::Open(connection) = &entry.phase else { return true };
        let len = u32::try_from(connection.unfinished_len()).unwrap_or(u32::MAX);
        entry.flags.bulk = connection.unfinished_frame_len() >= BULK_LEN;
        let grew = len > entry.unfinished;
        self.unfinished = self.unfinished - entry.unfinished as usize + len as usize;
        entry.unfinished = len;
        self.arm(index);
        !grew || self.unfinished <= self.config.max_unfinished
    }

    /// Takes the input that a connection holds, and out of the count.
    pub(super) fn take_held(&mut self, index: u32) -> Vec<u8> {
        self.table[index as usize].flags.holds = false;
        let held = self.held.remove(&index).unwrap_or_default();
        self.unfinished -= held.len();
        held
    }

    /// Keeps the rest of a connection's input, at most one receive buffer; it counts as unfinished.
    #[cold]
    pub(super) fn hold(&mut self, index: u32, rest: &[u8]) {
        self.unfinished += rest.len();
        self.held.insert(index, rest.to_vec());
        self.table[index as usize].flags.holds = true;
        self.resume_later(index);
        if self.unfinished > self.config.max_unfinished {
            self.fail(index, ProtocolError::UnfinishedBudget);
        }
    }
}

impl<A: Application, S: Socket> Reactor<A, S> {
    /// A turn of a connection that holds input: nothing is read before that is eaten.
    #[cold]
    pub(super) fn held_turn(&mut self, index: u32) {
        let entry = &mut self.core.table[index as usize];
        // It has had its turn in this tick.
        if entry.flags.resumes {
            return;
        }
        if entry.backlog_len() > self.core.config.high_water {
            entry.flags.paused = true;
            return;
        }
        let mut rest = self.core.take_held(index);
        let conn = self.core.conn(index);
        self.input(conn, &mut rest);
        // What is in the socket was announced before.
        self.core.resume_later(index);
    }
}
