//! Input that waits for the next tick, because what came before it inflated to enough for one turn.

use super::core::Core;
use super::{Reactor, Socket, frames};
use crate::app::Application;
use crate::proto::ProtocolError;

impl Core {
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
        frames(&mut self.app, &mut self.core, index, &mut rest);
        // What is in the socket was announced before.
        self.core.resume_later(index);
    }
}
