//! Octets out: what this tick queued, what is published, what waits for slow peers.

mod backlog;
mod budget;
mod buffer_pool;
mod flush;
pub(super) mod outbound;
mod outbox;
mod publish;
mod topics;

use std::collections::BTreeMap;
use std::ops::Range;

use self::budget::Budget;
use self::buffer_pool::BufferPool;
pub(super) use self::flush::{Flush, Scratch};
use self::outbound::Outbound;
use self::outbox::Outbox;
pub(super) use self::publish::Publication;
use self::topics::Topics;
use super::Config;
use super::slot::Slot;
use super::socket::Socket;
use super::table::{Entry, Table};
use crate::app::{ConnId, Dropped, Durations, Outgoing, Stats};
use crate::proto::{Buffer, DeflatePool, Millis, OwnedMessage};

/// A payload from this length on, in bytes, is not copied where `Context::forward` can help it.
const LONG_LEN: usize = 64 * 1024;

/// What was counted on the way out.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    messages: u64,
    bytes: u64,
    dropped: Dropped,
    backlog_waits: Durations,
}

/// Owns everything between a callback that queues and the socket: the tick's buffer, topics and their batches, the budget of
/// all backlogs, and the pool of long buffers. Callbacks queue ([`Self::append`], [`Self::publish`]), and once a tick
/// [`Flush`] writes what was queued or makes it a backlog.
///
/// The fast path: the connection whose turn it is appends its messages to the end of the buffer, and nothing else is
/// looked at. [`Self::enter_fast_path`] is called with a connection of which all of this holds: it is open, its messages
/// go out as they are, and nothing waits to be written. None of it can change unnoticed. A connection's way of sending
/// changes within [`Self::append`] or after [`Self::leave_fast_path`], and a backlog comes from a flush: each of them takes
/// the connection off the fast path. Debug builds look at every message that takes it.
#[derive(Debug)]
pub(super) struct Output {
    outbox: Outbox,
    topics: Topics,
    /// Connections to be flushed for which there may be no segment.
    special: Vec<Slot>,
    /// Connections that are to be closed because more would wait for them than may.
    overflowed: Vec<Slot>,
    /// Connections for which a message that was published is too much.
    too_much: Vec<ConnId>,
    /// The memory of all backlogs.
    budget: Budget,
    pool: BufferPool,
    /// What connections that compress without context takeover share.
    deflate: DeflatePool,
    /// Length of the outbox, in bytes, from which on it is written before more input is taken: [`Config::high_water`], and 0
    /// once the tick has queued as much elsewhere.
    input_until: usize,
    /// Counts flushes: ticks, and pieces of long ones.
    tick: u32,
    /// Something was published since the caller asked to be told.
    has_published: bool,
    counts: Counts,
    high_water: usize,
    /// [`Config::max_tick_output`].
    tick_limit: usize,
    max_backlog: usize,
}

impl Output {
    pub(super) fn new(config: &Config) -> Self {
        let high_water = config.high_water.max(1);
        Self {
            outbox: Outbox::new(),
            topics: Topics::default(),
            special: Vec::new(),
            overflowed: Vec::new(),
            too_much: Vec::new(),
            budget: Budget::default(),
            pool: BufferPool::default(),
            deflate: DeflatePool::new(&config.proto),
            input_until: high_water,
            tick: 0,
            has_published: false,
            counts: Counts::default(),
            high_water,
            tick_limit: config.max_tick_output,
            max_backlog: config.max_backlog,
        }
    }

    /// The tick's buffer, for the place of the read buffers.
    pub(super) fn bytes(&self) -> &[u8] {
        self.outbox.bytes()
    }

    /// What connections that compress without context takeover share.
    pub(super) fn deflate(&self) -> &DeflatePool {
        &self.deflate
    }

    /// A turn of a connection begins that has had none in this tick: the run of the one before it ends.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one comparison, as a rule")]
    pub(super) fn begin_turn(&mut self, table: &mut Table) {
        if self.outbox.has_run() && !self.outbox.keep_run() {
            self.gather(table);
        }
    }

    /// Before input of a connection for which `waiting` octets wait: both together are at most `high_water` and one answer.
    pub(super) fn limit_input(&mut self, waiting: usize) {
        if waiting > 0 {
            let room = self.high_water.saturating_sub(waiting).max(1);
            self.input_until = self.input_until.min(room);
        }
    }

    /// Makes all runs segments of their connections' chains, so that all that is queued is in chains.
    pub(super) fn gather(&mut self, table: &mut Table) {
        self.outbox.end_runs();
        if self.outbox.has_runs() {
            self.attach_runs(table);
        }
    }

    #[inline(never)]
    fn attach_runs(&mut self, table: &mut Table) {
        let mut at = 0;
        while let Some((slot, octets)) = self.outbox.run_at(at) {
            self.attach(&mut table[slot].outbound, slot, octets);
            at += 1;
        }
        self.outbox.clear_runs();
    }

    /// Puts a connection on the fast path, in the turn that began; or none, where its messages do not go out as they are.
    /// See [`Output`].
    #[inline]
    pub(super) fn enter_fast_path(&mut self, conn: ConnId, sends_fast: bool) {
        self.outbox.enter_fast_path(sends_fast.then_some(conn));
    }

    /// Nobody is on the fast path.
    #[inline]
    pub(super) fn leave_fast_path(&mut self, table: &mut Table) {
        self.gather(table);
        self.outbox.leave_fast_path();
    }

    #[inline]
    pub(super) fn is_on_fast_path(&self, conn: ConnId) -> bool {
        self.outbox.is_on_fast_path(conn)
    }

    /// Queues a message for the connection on the fast path.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "an echo is one straight line from the frame to the outbox")]
    pub(super) fn append_fast(&mut self, message: Outgoing<'_>) {
        message.write_plain(self.outbox.bytes_mut());
        self.counts.messages += 1;
    }

    /// Queues what `write` appends for the connection in a slot. The one way into the outbox but for the fast path, which
    /// the connection leaves.
    pub(super) fn append<R>(
        &mut self,
        table: &mut Table,
        slot: Slot,
        write: impl FnOnce(&mut Entry, &mut Vec<u8>) -> R,
    ) -> R {
        self.gather(table);
        let entry = &mut table[slot];
        if self.outbox.is_on_fast_path(slot.conn(entry.generation())) {
            self.outbox.leave_fast_path();
        }
        let start = self.outbox.len();
        let result = write(entry, self.outbox.bytes_mut());
        self.attach_from(&mut entry.outbound, slot, start);
        result
    }

    /// As [`Self::append`], for messages: `count` of them.
    pub(super) fn count_messages(&mut self, count: u64) {
        self.counts.messages += count;
    }

    /// Queues a message for an open connection without a copy of its payload. The message comes back when it is too short
    /// for that, or does not go out as it is.
    pub(super) fn forward(
        &mut self,
        table: &mut Table,
        slot: Slot,
        message: OwnedMessage,
    ) -> Option<OwnedMessage> {
        if message.as_outgoing().payload().len() < LONG_LEN {
            return Some(message);
        }
        self.gather(table);
        let entry = &mut table[slot];
        let start = self.outbox.len();
        let is_begun = entry
            .connection_mut()
            .is_some_and(|connection| connection.encode_header(&message, self.outbox.bytes_mut()));
        if !is_begun {
            return Some(message);
        }
        self.attach_from(&mut entry.outbound, slot, start);
        self.outbox.attach_long(&mut entry.outbound.chain, slot, message.into_payload());
        self.input_until = 0;
        self.counts.messages += 1;
        None
    }

    /// Adds the octets from `start` on to a connection's chain.
    fn attach_from(&mut self, outbound: &mut Outbound, slot: Slot, start: usize) {
        self.attach(outbound, slot, start..self.outbox.len());
        self.outbox.appended();
    }

    /// Adds octets of the outbox to a connection's chain.
    fn attach(&mut self, outbound: &mut Outbound, slot: Slot, octets: Range<usize>) {
        if octets.is_empty() {
            return;
        }
        // Offsets have 32 bits. What goes to nobody any more is whole messages.
        if octets.start > self.tick_limit || u32::try_from(octets.end).is_err() {
            self.overflowed.push(slot);
        } else {
            self.outbox.attach(&mut outbound.chain, slot, octets);
        }
    }

    /// Bytes that wait for a connection, those of this tick included.
    pub(super) fn queued_len(&mut self, table: &mut Table, slot: Slot) -> usize {
        self.gather(table);
        let outbound = &table[slot].outbound;
        let queued: u32 =
            self.outbox.segments(outbound.chain).map(|segment| segment.end - segment.start).sum();
        outbound.backlog_len() + queued as usize
    }

    /// Flushes a connection by itself: there is something for it that its topics' batches do not tell.
    fn note_special(&mut self, outbound: &mut Outbound, slot: Slot) {
        if outbound.set_special() {
            self.special.push(slot);
        }
    }

    /// Whether so much is queued that it must be written before more input is taken.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.outbox.len() >= self.input_until
    }

    /// Whether so much is queued that it should not wait for the end of the tick.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.outbox.is_large()
    }

    /// As [`Self::is_large`], where topics may have published.
    pub(super) fn is_to_be_flushed(&self) -> bool {
        self.outbox.is_large() || self.input_until == 0
    }

    /// The slot of the connection on the fast path, if all that was queued is for it.
    #[inline]
    pub(super) fn sole_run(&self) -> Option<Slot> {
        self.outbox.sole_run()
    }

    /// Writes what was queued where it is a sole run, to the socket of its connection. `Err`: the octets that the socket took are
    /// not all; `None`: it took none, for whatever reason.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a tick of one connection ends right here")]
    pub(super) fn write_sole_run(&mut self, socket: &mut impl Socket) -> Result<(), Option<usize>> {
        let bytes = self.outbox.bytes();
        let count = socket.write(bytes).map_err(|_| None)?;
        if count < bytes.len() {
            return Err(Some(count));
        }
        self.counts.bytes += count as u64;
        self.outbox.clear_sole_run();
        self.tick = self.tick.wrapping_add(1);
        Ok(())
    }

    /// Takes the connections that are to be closed because more would wait for them than may.
    pub(super) fn take_overflowed(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.overflowed)
    }

    /// Takes the connections for which a message that was published is too much. They are to be closed before anything else
    /// is queued, or a message would be missing among those that they get.
    pub(super) fn take_too_much(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.too_much)
    }

    #[inline]
    pub(super) fn has_too_much(&self) -> bool {
        !self.too_much.is_empty()
    }

    /// Bytes that wait in all backlogs; what several connections wait for is counted once.
    pub(super) fn queued_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Counts flushes.
    #[inline]
    pub(super) fn tick(&self) -> u32 {
        self.tick
    }

    /// Keeps a buffer that has become free for a while. Returns when to call [`Self::expire_buffers`], if nobody was told.
    pub(super) fn recycle(&mut self, buffer: Buffer, now: Millis) -> Option<Millis> {
        self.pool.put(buffer, now)
    }

    /// A buffer for at least `len` bytes that is kept, if there is one.
    pub(super) fn spare_buffer(&mut self, len: usize, now: Millis) -> Option<Buffer> {
        self.pool.take(len, now)
    }

    /// Frees buffers that have not been used for a while. Returns when to look again.
    pub(super) fn expire_buffers(&mut self, now: Millis) -> Option<Millis> {
        self.pool.expire(now)
    }

    /// Whether something was published since [`Self::forget_published`].
    pub(super) fn has_published(&self) -> bool {
        self.has_published
    }

    pub(super) fn forget_published(&mut self) {
        self.has_published = false;
    }

    /// Adds what was counted to `stats`.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        stats.messages_out = self.counts.messages;
        stats.bytes_out = self.counts.bytes;
        stats.dropped = self.counts.dropped;
        stats.publish_backlog = self.counts.backlog_waits;
        stats.queued_bytes = self.budget.used();
    }

    /// Whether nothing is left of the tick, and counters agree with what they count.
    pub(super) fn check(&self, table: &Table) {
        self.outbox.check();
        self.pool.check();
        assert!(self.special.is_empty() && self.overflowed.is_empty(), "connections that are not flushed");
        assert!(self.too_much.is_empty(), "connections that are not closed");
        let mut charged = BTreeMap::new();
        self.topics.check(table, |kept| {
            let (key, bytes) = kept.charge_for_check();
            charged.insert(key, bytes);
        });
        for (slot, entry) in table.iter() {
            let outbound = &entry.outbound;
            assert!(!outbound.is_dirty(), "{slot:?} has octets that nobody flushes");
            assert!(!outbound.is_paused() || outbound.has_backlog() || entry.is_ending(), "{slot:?} pauses");
            if let Some(backlog) = &outbound.backlog {
                assert!(backlog.len() > 0, "{slot:?} keeps an empty backlog");
                backlog.check(&mut charged);
            }
        }
        assert_eq!(self.budget.used(), charged.values().sum::<usize>(), "bytes of all backlogs");
    }
}
