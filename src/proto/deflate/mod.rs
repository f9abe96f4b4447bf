//! permessage-deflate (RFC 7692), both roles.
//!
//! # Memory
//! A connection that agreed on the extension holds 80 bytes more than one that did not, until it uses it.
//!
//! - Without context takeover a direction has no state between messages: every connection of a [`DeflatePool`] uses the
//!   same compressor, and takes an inflater out of the pool only from the first to the last octet of a message.
//! - With context takeover a direction has a state of its own from its first compressed message on. Ours to compress is
//!   given back when the peer falls silent and is pinged; the inflater stays, since the peer may refer to what it sent
//!   before.
//!
//! | what zlib allocates | window bits 15 | 9 |
//! |---|---|---|
//! | compressor | 375 KiB | 249 KiB |
//! | inflater | 45 KiB | 45 KiB, of which 14 KiB are touched |
//!
//! What inflates is counted while it inflates: a message above [`super::Limits::max_message`] fails the connection with
//! 1009 at the byte that passes the limit, however small it arrived. Until then the message costs what it would have cost
//! uncompressed: a buffer that doubles, up to one byte above the limit.
//!
//! # Secrets
//! The length of what is compressed says something about it (CRIME, BREACH). Send secrets as
//! [`Outgoing::uncompressed`], and do without context takeover where secrets and text of strangers share a connection.

mod codec;
mod negotiation;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::codec::{Compressor, Inflater};
pub use self::negotiation::DeflateAgreement;
use super::ProtocolError;
use super::frame::{Opcode, RSV1, write_frame};
use super::limits::ProtoConfig;
use super::message::Outgoing;

/// RFC 7692 7.1.2 begins at 8, but raw DEFLATE by zlib needs a window of 512 bytes.
const MIN_WINDOW_BITS: u8 = 9;
const MAX_WINDOW_BITS: u8 = 15;

/// What an octet that goes in is counted as, in bytes that come out: the header of a block may cost so much and bring nothing.
const OCTET_COST: usize = 8;
/// What a block with BFINAL set is counted as, in bytes that come out: the inflater starts again behind it, with its window.
const FINAL_BLOCK_COST: usize = 4096;

/// Inflaters that a pool keeps for the next message.
const KEPT_INFLATERS: usize = 8;
/// Capacity that the pool's buffer keeps between messages, in bytes.
const KEPT_CAPACITY: usize = 1 << 20;

/// What a server agrees to, and what a client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// The server compresses each message for itself: less memory, and one compression for all receivers of a broadcast,
    /// against messages that are a little longer.
    pub server_no_context_takeover: bool,
    /// The client compresses each message for itself: the server holds no inflater between messages. A server that sets this asks
    /// it of every client; Safari keeps its window all the same, and its second message fails. What a client offers by itself is
    /// agreed to in any case.
    pub client_no_context_takeover: bool,
    /// The largest LZ77 window of the server, as a power of two; 9 to 15, what lies outside is moved there.
    pub server_max_window_bits: u8,
    /// The largest LZ77 window of the client, as a power of two; 9 to 15, what lies outside is moved there.
    pub client_max_window_bits: u8,
    /// Messages of fewer bytes go uncompressed: there is nothing to gain.
    pub min_len: usize,
    /// 1 (fastest) to 9 (smallest).
    pub level: u8,
}

changeable!(DeflateConfig);

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: MAX_WINDOW_BITS,
            min_len: 128,
            level: 3,
        }
    }
}

/// The window of a compressor that connections share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowBits(u8);

/// How the messages to one peer are encoded. Peers of one value other than [`Encoding::Own`] get the same octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Uncompressed.
    Plain,
    /// Compressed, each message for itself: see [`DeflatePool::write_message`].
    Shared(WindowBits),
    /// Compressed with the context of the connection's earlier messages.
    Own,
}

/// What connections without context takeover share. A clone is the same pool.
///
/// It belongs to one loop: it is locked for the length of one message.
#[derive(Debug, Clone)]
pub struct DeflatePool {
    shared: Arc<Mutex<Shared>>,
    min_len: usize,
    level: u8,
}

/// At most seven compressors, one for each window.
#[derive(Debug, Default)]
struct Shared {
    compressors: [Option<Compressor>; (MAX_WINDOW_BITS - MIN_WINDOW_BITS + 1) as usize],
    inflaters: Vec<Inflater>,
    compressed: Vec<u8>,
}

impl DeflatePool {
    /// A pool that holds nothing yet.
    #[must_use]
    pub fn new(config: &ProtoConfig) -> Self {
        let DeflateConfig { min_len, level, .. } = config.deflate.clone().unwrap_or_default();
        Self { shared: Arc::default(), min_len, level }
    }

    /// Appends a server's frame for all connections of [`Encoding::Shared`] with these window bits.
    pub fn write_message(&self, window_bits: WindowBits, message: Outgoing<'_>, out: &mut Vec<u8>) {
        self.write_shared(window_bits, message, None, out);
    }

    fn write_shared(
        &self,
        WindowBits(bits): WindowBits,
        message: Outgoing<'_>,
        key: Option<[u8; 4]>,
        out: &mut Vec<u8>,
    ) {
        let payload = message.payload();
        if self.is_worth(message) {
            let mut shared = self.lock();
            let Shared { compressors, compressed, .. } = &mut *shared;
            let compressor = &mut compressors[usize::from(bits - MIN_WINDOW_BITS)];
            let inner = compressor.get_or_insert_with(|| Compressor::new(self.level, bits));
            inner.reset();
            if !inner.message(payload, compressed) {
                *compressor = None;
            } else if compressed.len() < payload.len() {
                return write_compressed(message.kind().opcode(), compressed, key, out);
            }
        }
        write_frame(out, true, message.kind().opcode(), payload, key);
    }

    /// RFC 7692 6: each message may be compressed or not. An empty one never is.
    fn is_worth(&self, message: Outgoing<'_>) -> bool {
        message.may_compress() && message.payload().len() >= self.min_len.max(1)
    }

    fn take_inflater(&self) -> Inflater {
        self.lock().inflaters.pop().unwrap_or_else(|| Inflater::new(MAX_WINDOW_BITS))
    }

    fn give_back(&self, mut inflater: Inflater) {
        inflater.reset();
        let mut shared = self.lock();
        if shared.inflaters.len() < KEPT_INFLATERS {
            shared.inflaters.push(inflater);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whoever panicked left nothing half-done that the next message does not reset.
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.compressed.clear();
        shared.compressed.shrink_to(KEPT_CAPACITY);
        shared
    }
}

/// RFC 7692 6.1: the frame of a compressed message has RSV1 set.
fn write_compressed(opcode: Opcode, compressed: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let start = out.len();
    write_frame(out, true, opcode, compressed, key);
    out[start] |= RSV1;
}

/// The longest a compressed frame or message may be that inflates to `len` bytes: fixed Huffman codes have nine bits at
/// most, stored blocks add five bytes each.
pub(super) fn max_compressed_len(len: u64) -> u64 {
    len.saturating_add(len / 8).saturating_add(64)
}

/// The extension on one connection.
///
/// Feed the payload of a compressed message to [`Self::inflate`], then call [`Self::finish_message`]; messages that are
/// not compressed pass it by. After an error it is of no more use.
#[derive(Debug)]
pub(super) struct Deflate {
    pool: DeflatePool,
    out_bits: u8,
    out_takeover: bool,
    in_bits: u8,
    in_takeover: bool,
    compressor: Option<Box<Compressor>>,
    inflater: Option<Box<Inflater>>,
    /// Octets of the message in progress.
    arrived: u64,
    /// What inflating has cost since the last pause, in bytes that come out or would at the same cost, and after how many there is
    /// one.
    inflated: usize,
    pause_after: usize,
}

impl Deflate {
    pub(super) fn new(agreement: DeflateAgreement, is_client: bool, pool: &DeflatePool) -> Self {
        let server = (agreement.server_max_window_bits, !agreement.server_no_context_takeover);
        let client = (agreement.client_max_window_bits, !agreement.client_no_context_takeover);
        let ((out_bits, out_takeover), (in_bits, in_takeover)) =
            if is_client { (client, server) } else { (server, client) };
        Self {
            pool: pool.clone(),
            out_bits,
            out_takeover,
            in_bits: in_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS),
            in_takeover,
            compressor: None,
            inflater: None,
            arrived: 0,
            inflated: 0,
            pause_after: usize::MAX,
        }
    }

    pub(super) fn pause_after(&mut self, bytes: usize) {
        self.pause_after = bytes;
    }

    /// Whether anything was inflated in this turn.
    pub(super) fn is_counting(&self) -> bool {
        self.inflated > 0
    }

    /// Whether it is time for a pause; then the count begins again.
    pub(super) fn is_to_pause(&mut self) -> bool {
        let is_to_pause = self.inflated >= self.pause_after.max(1);
        if is_to_pause {
            self.inflated = 0;
        }
        is_to_pause
    }

    /// The input is eaten: what comes next comes in a turn of its own.
    pub(super) fn end_turn(&mut self) {
        self.inflated = 0;
    }

    pub(super) fn encoding(&self) -> Encoding {
        match self.out_bits {
            // The peer's window is too small for zlib: nothing is compressed, which is always allowed.
            ..MIN_WINDOW_BITS => Encoding::Plain,
            _ if self.out_takeover => Encoding::Own,
            bits => Encoding::Shared(WindowBits(bits)),
        }
    }

    /// Appends a message as one frame, compressed where that is of use.
    pub(super) fn write_message(&mut self, message: Outgoing<'_>, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
        match self.encoding() {
            Encoding::Shared(bits) => return self.pool.write_shared(bits, message, key, out),
            Encoding::Own if self.pool.is_worth(message) => {
                let (level, bits) = (self.pool.level, self.out_bits);
                let mut shared = self.pool.lock();
                let compressor =
                    self.compressor.get_or_insert_with(|| Box::new(Compressor::new(level, bits)));
                if compressor.message(message.payload(), &mut shared.compressed) {
                    // Shorter or not, the message is part of the context now.
                    return write_compressed(message.kind().opcode(), &shared.compressed, key, out);
                }
                self.compressor = None;
            }
            _ => {}
        }
        write_frame(out, true, message.kind().opcode(), message.payload(), key);
    }

    /// Appends what a piece of a compressed message inflates to.
    ///
    /// # Errors
    /// [`ProtocolError::MessageTooLarge`] as soon as `data` is longer than `limit`; [`ProtocolError::InvalidDeflate`].
    pub(super) fn inflate(
        &mut self,
        piece: &[u8],
        data: &mut Vec<u8>,
        limit: u64,
    ) -> Result<(), ProtocolError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.arrived += piece.len() as u64;
        let inflater = self.inflater.get_or_insert_with(|| {
            Box::new(if self.in_takeover { Inflater::new(self.in_bits) } else { self.pool.take_inflater() })
        });
        let (before, blocks_before) = (data.len(), inflater.final_blocks());
        let outcome = inflater.inflate(piece, data, limit, self.arrived);
        let blocks = (inflater.final_blocks() - blocks_before) as usize;
        self.inflated += data.len() - before + piece.len() * OCTET_COST + blocks * FINAL_BLOCK_COST;
        outcome
    }

    /// The last piece of a message was inflated.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidDeflate`] when the message stops inside a block.
    pub(super) fn finish_message(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        self.arrived = 0;
        let Some(inflater) = &mut self.inflater else { return Err(ProtocolError::InvalidDeflate) };
        inflater.finish_message(data, self.in_takeover)?;
        if !self.in_takeover
            && let Some(inflater) = self.inflater.take()
        {
            self.pool.give_back(*inflater);
        }
        Ok(())
    }

    /// Frees what can be rebuilt. The peer never notices: a message need not refer to earlier ones.
    pub(super) fn rest(&mut self) {
        self.compressor = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cp_05_an_idle_connection_holds_what_the_documentation_says() {
        assert!(size_of::<Deflate>() <= 80, "{}", size_of::<Deflate>());
    }

    #[test]
    fn a_pool_keeps_a_few_inflaters_and_one_compressor_for_each_window() {
        let pool = DeflatePool::new(&ProtoConfig::default());
        let inflaters: Vec<_> = (0..100).map(|_| pool.take_inflater()).collect();
        for inflater in inflaters {
            pool.give_back(inflater);
        }
        assert_eq!(pool.lock().inflaters.len(), KEPT_INFLATERS);
        for bits in [9, 15, 15, 9] {
            pool.write_message(WindowBits(bits), Outgoing::text(&"a".repeat(2 << 20)), &mut Vec::new());
        }
        let shared = pool.lock();
        assert_eq!(shared.compressors.iter().flatten().count(), 2);
        assert!(shared.compressed.capacity() <= KEPT_CAPACITY);
    }
}
