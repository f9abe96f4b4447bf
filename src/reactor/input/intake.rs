//! Unfinished messages, and parked input: input that waits for a later tick, because the input before it was enough for one
//! turn or the peer does not read the answers.

use std::collections::BTreeMap;

use crate::proto::{Connection, ProtocolError};
use crate::reactor::slot::Slot;
use crate::reactor::table::{Entry, Table};

/// In the middle of a message of at least this length, in bytes, more is read at once.
const BULK_LEN: u64 = 8 * 1024;

/// Owns parked input and counts what is kept of all connections, within one budget.
#[derive(Debug)]
pub(crate) struct Intake {
    /// Octets that sockets gave.
    pub(crate) bytes: u64,
    /// Messages that were handed on.
    pub(crate) messages: u64,
    /// Bytes kept of all unfinished messages, and of parked input.
    kept: usize,
    /// The most that may be kept.
    max_kept: usize,
    parked: BTreeMap<Slot, Vec<u8>>,
}

impl Intake {
    pub(crate) fn new(max_kept: usize) -> Self {
        Self { bytes: 0, messages: 0, kept: 0, max_kept, parked: BTreeMap::new() }
    }

    /// Counts what a connection keeps of an unfinished message. `Ok(true)`: it keeps some or did so before, and its deadline
    /// may be another one.
    ///
    /// # Errors
    /// The budget is used up, and the connection's share has grown.
    #[inline]
    pub(crate) fn count_unfinished(&mut self, entry: &mut Entry) -> Result<bool, ProtocolError> {
        let is_between = entry.connection().is_none_or(Connection::is_between_messages);
        if is_between && entry.inbound.unfinished() == 0 { Ok(false) } else { self.recount(entry) }
    }

    fn recount(&mut self, entry: &mut Entry) -> Result<bool, ProtocolError> {
        let Some(connection) = entry.connection() else { return Ok(false) };
        let is_bulk = connection.unfinished_frame_len() >= BULK_LEN;
        let (before, len) = (entry.inbound.unfinished(), connection.unfinished_len());
        entry.inbound.set_bulk(is_bulk);
        entry.inbound.set_unfinished(len);
        let counted = entry.inbound.unfinished();
        self.kept = self.kept - before + counted;
        if counted > before && self.kept > self.max_kept {
            return Err(ProtocolError::UnfinishedBudget);
        }
        Ok(true)
    }

    /// Keeps the rest of a connection's input, at most one receive buffer, for the next tick.
    ///
    /// # Errors
    /// The budget is used up.
    #[cold]
    pub(crate) fn park(&mut self, slot: Slot, entry: &mut Entry, octets: &[u8]) -> Result<(), ProtocolError> {
        self.kept += octets.len();
        let before = self.parked.insert(slot, octets.to_vec());
        debug_assert!(before.is_none(), "input of {slot:?} was parked before and is lost");
        entry.inbound.set_parked(true);
        if self.kept > self.max_kept { Err(ProtocolError::UnfinishedBudget) } else { Ok(()) }
    }

    /// Takes the parked input of a connection.
    pub(crate) fn unpark(&mut self, slot: Slot, entry: &mut Entry) -> Vec<u8> {
        entry.inbound.set_parked(false);
        let octets = self.parked.remove(&slot).unwrap_or_default();
        self.kept -= octets.len();
        octets
    }

    /// Keeps nothing more of a connection that ends.
    pub(crate) fn forget(&mut self, slot: Slot, entry: &mut Entry) {
        self.kept -= entry.inbound.unfinished();
        entry.inbound.set_unfinished(0);
        if entry.inbound.is_parked() {
            self.unpark(slot, entry);
        }
    }

    /// Whether the count agrees with what is kept.
    pub(crate) fn check(&self, table: &Table) {
        let mut kept = 0;
        for (slot, entry) in table.iter() {
            let parked = self.parked.get(&slot);
            assert_eq!(entry.inbound.is_parked(), parked.is_some(), "parked input of {slot:?}");
            kept += entry.inbound.unfinished() + parked.map_or(0, Vec::len);
            if let Some(connection) = entry.connection() {
                assert_eq!(entry.inbound.unfinished(), connection.unfinished_len(), "unfinished in {slot:?}");
            }
        }
        assert_eq!(self.kept, kept, "bytes kept of unfinished messages");
        let in_use = self.parked.keys().filter(|slot| table.at(**slot).is_some()).count();
        assert_eq!(in_use, self.parked.len(), "parked input of a connection that is gone");
    }
}
