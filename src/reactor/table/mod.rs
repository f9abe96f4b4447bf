//! Who is connected.

mod admission;
mod entry;
mod peers;

use std::net::SocketAddr;
use std::ops::{Index, IndexMut};

use slab::Slab;

use self::admission::Admission;
pub(super) use self::admission::Refusal;
pub(super) use self::entry::{Ending, Entry, LocalReason, Phase};
use self::peers::Peers;
use super::Config;
use super::http::phase::HttpPhase;
use super::slot::Slot;
use crate::app::{ConnId, Entrance};
use crate::proto::{Connection, Millis};

/// Owns the entry of each connection, from accept until its socket is closed: its generation, its phase, its peer's
/// address, and its share in the limits for addresses. It never reads, writes or calls the application.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Slab<Entry>,
    peers: Peers,
    admission: Admission,
    /// The generation of the connection that came last.
    generation: u32,
    /// Entries whose phase is `Open`.
    open: usize,
    accepted: u64,
}

impl Table {
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
        let refusal =
            if entrance.is_internal { None } else { self.admission.arrived(config, known, now).err() };
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
        self.admission.admit(config, self.address(slot), now)?;
        self.peers.count(slot);
        Ok(())
    }

    /// The opening handshake is complete.
    pub(super) fn upgrade(&mut self, slot: Slot, connection: Connection) {
        self.open += 1;
        self[slot].set_open(connection);
    }

    /// No event of the connection reaches the application any more. Returns what was open.
    pub(super) fn end(&mut self, slot: Slot, ending: Ending, until: Millis) -> Option<Connection> {
        let connection = self[slot].set_ending(ending, until);
        self.open -= usize::from(connection.is_some());
        connection
    }

    /// Forgets a connection whose socket is closed.
    pub(super) fn remove(&mut self, slot: Slot, now: Millis) {
        let entry = self.entries.remove(slot.index());
        debug_assert!(!entry.outbound.is_member(), "{slot:?} is still in a topic");
        if let Some(counted) = self.peers.remove(slot) {
            self.admission.left(counted, now);
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
        self.admission.check(self.iter().filter_map(|(slot, _)| self.peers.counted(slot)));
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
