//! Who is connected.

mod admission;
mod entry;
mod peers;
mod shared;

use std::net::SocketAddr;
use std::ops::{Index, IndexMut};

use slab::Slab;

pub(super) use self::admission::Refusal;
pub(super) use self::entry::{Ending, Entry, LocalReason, Phase};
use self::peers::Peers;
pub use self::shared::SharedLimits;
use super::Config;
use super::http::phase::HttpPhase;
use super::slot::Slot;
use crate::app::{ConnId, Entrance};
use crate::proto::{Connection, Millis};

/// Owns the entry of each connection, from accept until its socket is closed: its generation, its phase, its peer's
/// address, and its share in the limits for addresses. It never reads, writes or calls the application.
#[derive(Debug)]
pub(super) struct Table {
    entries: Slab<Entry>,
    peers: Peers,
    shared: SharedLimits,
    /// [`Config::max_connections`].
    max_connections: usize,
    /// How far the time of this loop is behind that of `shared`.
    lag_ms: Millis,
    /// The generation of the connection that came last.
    generation: u32,
    /// Entries whose phase is `Open`.
    open: usize,
    accepted: u64,
}

impl Table {
    pub(super) fn new(config: &Config, shared: SharedLimits) -> Self {
        Self {
            entries: Slab::new(),
            peers: Peers::default(),
            shared,
            max_connections: config.max_connections,
            lag_ms: 0,
            generation: 0,
            open: 0,
            accepted: 0,
        }
    }

    /// The time of this loop stood still for so long, and that of others did not.
    pub(super) fn add_lag(&mut self, ms: Millis) {
        self.lag_ms += ms;
    }

    /// Makes an entry for a connection that was accepted. With a refusal the caller must turn it away.
    pub(super) fn accept(
        &mut self,
        config: &Config,
        peer: SocketAddr,
        entrance: Entrance,
        now: Millis,
    ) -> (ConnId, Option<Refusal>) {
        self.generation = self.generation.wrapping_add(1);
        self.accepted += 1;
        let is_proxy = entrance.is_trusted || config.trusted_proxies.contains(peer.ip());
        // Who is introduced is not there yet.
        let known = (!is_proxy && !entrance.is_introduced).then_some(peer);
        let refusal = if entrance.is_internal {
            None
        } else {
            self.shared.arrived(config, known, now + self.lag_ms).err()
        };
        let is_counted = !entrance.is_internal
            && refusal.is_none()
            && known.is_some()
            && admission::is_per_address(config);
        let deadline = now + config.proto.timeouts.handshake_ms;
        let proxy = (is_proxy && !entrance.is_introduced).then_some(peer);
        let entry = Entry::new(self.generation, HttpPhase::new(entrance, proxy, deadline));
        let slot = Slot::new(self.entries.insert(entry));
        self.peers.set(slot, peer, is_counted);
        (slot.conn(self.generation), refusal)
    }

    /// It turns out who is at the other end of a connection that is a proxy's.
    pub(super) fn set_address(&mut self, slot: Slot, address: SocketAddr) {
        self.peers.replace(slot, address);
    }

    /// A connection of a proxy becomes a client's: the limits for each address apply to it now. Others were admitted when they came.
    ///
    /// # Errors
    /// Why the client must be turned away.
    pub(super) fn admit(&mut self, config: &Config, slot: Slot, now: Millis) -> Result<(), Refusal> {
        let is_known =
            self[slot].http_mut().is_none_or(|http| http.entrance().is_internal || !http.take_uncounted());
        if is_known || !admission::is_per_address(config) {
            return Ok(());
        }
        self.shared.admit(config, self.address(slot), now + self.lag_ms)?;
        self.peers.count(slot);
        Ok(())
    }

    /// Takes a place for a connection that is about to be upgraded. `false`: there is none in the process.
    pub(super) fn take_place(&self) -> bool {
        self.max_connections == 0 || self.shared.take_place(self.max_connections)
    }

    /// Gives the place of a connection back that is not upgraded (any more).
    pub(super) fn free_place(&self) {
        if self.max_connections > 0 {
            self.shared.free_place();
        }
    }

    /// The opening handshake of a connection that has a place is complete.
    pub(super) fn upgrade(&mut self, slot: Slot, connection: Connection) {
        self.open += 1;
        self[slot].set_open(connection);
    }

    /// No event of the connection reaches the application any more. Returns what was open.
    pub(super) fn end(&mut self, slot: Slot, ending: Ending, until: Millis) -> Option<Connection> {
        let connection = self[slot].set_ending(ending, until);
        if connection.is_some() {
            self.open -= 1;
            self.free_place();
        }
        connection
    }

    /// Forgets a connection whose socket is closed.
    pub(super) fn remove(&mut self, slot: Slot, now: Millis) {
        let entry = self.entries.remove(slot.index());
        debug_assert!(!entry.outbound.is_member(), "{slot:?} is still in a topic");
        if let Some(counted) = self.peers.remove(slot) {
            self.shared.left(counted, now + self.lag_ms);
        }
    }

    /// The entry that a handle names, unless that connection is gone.
    #[inline]
    pub(super) fn get(&self, conn: ConnId) -> Option<&Entry> {
        self.entries.get(conn.index as usize).filter(|entry| entry.generation() == conn.generation)
    }

    /// As [`Self::get`].
    #[inline]
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Entry> {
        self.entries.get_mut(conn.index as usize).filter(|entry| entry.generation() == conn.generation)
    }

    /// The entry in a slot, unless the slot is empty.
    pub(super) fn at(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.index())
    }

    /// As [`Self::get_mut`], unless the connection is not open.
    #[inline]
    pub(super) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.get_mut(conn)?.connection_mut()
    }

    /// The handle of the connection in a slot.
    pub(super) fn conn(&self, slot: Slot) -> ConnId {
        slot.conn(self[slot].generation())
    }

    /// The address of the peer in a slot.
    pub(super) fn address(&self, slot: Slot) -> SocketAddr {
        self.peers.address(slot)
    }

    /// Connections, those that are ending included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Connections after their upgrade and before their end.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Connections that were ever accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.entries.iter().map(|(index, entry)| (Slot::new(index), entry))
    }

    /// Whether counters agree with what they count.
    pub(super) fn check(&self) {
        let open = self.iter().filter(|(_, entry)| entry.is_open()).count();
        assert_eq!(self.open, open, "open connections");
        self.peers.check(self.iter().map(|(slot, _)| slot));
        let counted = self.iter().filter_map(|(slot, _)| self.peers.counted(slot));
        self.shared.check((self.max_connections > 0).then_some(self.open), counted);
    }
}

impl Index<Slot> for Table {
    type Output = Entry;

    #[inline]
    fn index(&self, slot: Slot) -> &Entry {
        &self.entries[slot.index()]
    }
}

impl IndexMut<Slot> for Table {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.index()]
    }
}
