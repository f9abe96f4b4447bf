//! Raw DEFLATE (RFC 1951) over flate2, whole messages at a time, with bounds.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::MAX_WINDOW_BITS;
use crate::proto::ProtocolError;

/// RFC 7692 7.2.1: what a sync flush ends in. The sender takes it off, the receiver puts it back.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// A message may hold a block with BFINAL set for every N octets, and [`FREE_FINAL_BLOCKS`] besides: each costs
/// the receiver as much as a window of data does.
const OCTETS_PER_FINAL_BLOCK: u64 = 32;
const FREE_FINAL_BLOCKS: u64 = 16;

/// The sending side.
#[derive(Debug)]
pub(super) struct Compressor {
    inner: Compress,
}

impl Compressor {
    pub(super) fn new(level: u8, window_bits: u8) -> Self {
        let level = Compression::new(u32::from(level.clamp(1, 9)));
        Self { inner: Compress::new_with_window_bits(level, false, window_bits) }
    }

    /// Forgets the messages so far.
    pub(super) fn reset(&mut self) {
        self.inner.reset();
    }

    /// Writes the compressed message over `out` (RFC 7692 7.2.1). `false`: it failed, and neither `out` nor the
    /// compressor is of any use.
    pub(super) fn message(&mut self, mut payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        out.reserve(payload.len() / 2 + 64);
        loop {
            let before = self.inner.total_in();
            if self.inner.compress_vec(payload, out, FlushCompress::Sync).is_err() {
                return false;
            }
            payload = &payload[(self.inner.total_in() - before) as usize..];
            if payload.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len().max(64));
        }
        let is_flushed = out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        is_flushed
    }
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Inflater {
    inner: Decompress,
    window_bits: u8,
    /// No octet was taken since the beginning of the stream or the last final block.
    is_fresh: bool,
    final_blocks: u64,
    /// The octets behind which back references may point, kept from message to message once a peer has used a final
    /// block: zlib forgets them there.
    history: Option<Vec<u8>>,
}

impl Inflater {
    pub(super) fn new(window_bits: u8) -> Self {
        Self {
            inner: Decompress::new_with_window_bits(false, window_bits),
            window_bits,
            is_fresh: true,
            final_blocks: 0,
            history: None,
        }
    }

    /// Forgets the messages so far. The memory is used again; the state of zlib has 15 window bits.
    pub(super) fn reset(&mut self) {
        debug_assert_eq!(self.window_bits, MAX_WINDOW_BITS);
        self.inner.reset(false);
        self.is_fresh = true;
        self.final_blocks = 0;
        self.history = None;
    }

    /// Final blocks in the message so far.
    pub(super) fn final_blocks(&self) -> u64 {
        self.final_blocks
    }

    /// Appends what `input` inflates to, until `data` is longer than `limit`. `arrived`: the octets of the message so
    /// far, these included.
    pub(super) fn inflate(
        &mut self,
        mut input: &[u8],
        data: &mut Vec<u8>,
        limit: usize,
        arrived: u64,
    ) -> Result<(), ProtocolError> {
        if input.is_empty() {
            return Ok(());
        }
        reserve(data, input.len().saturating_mul(3), limit);
        loop {
            let (before_in, before_len) = (self.inner.total_in(), data.len());
            let status = self.inner.decompress_vec(input, data, FlushDecompress::Sync);
            // What came before the fault counts, so that the error is the same wherever the octets were cut.
            if data.len() > limit {
                return Err(ProtocolError::MessageTooLarge);
            }
            let status = status.map_err(|_| ProtocolError::InvalidDeflate)?;
            let taken = (self.inner.total_in() - before_in) as usize;
            self.is_fresh &= taken == 0;
            input = &input[taken..];
            if status == Status::StreamEnd {
                self.final_blocks += 1;
                if self.final_blocks > FREE_FINAL_BLOCKS + arrived / OCTETS_PER_FINAL_BLOCK {
                    return Err(ProtocolError::InvalidDeflate);
                }
                self.restart(data)?;
            } else if data.len() < data.capacity()
                && taken == 0
                && data.len() == before_len
                && !input.is_empty()
            {
                return Err(ProtocolError::InvalidDeflate);
            }
            if data.len() == data.capacity() {
                reserve(data, data.len().max(64), limit);
            } else if input.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the message (RFC 7692 7.2.2): behind the tail, which carries no data, is one empty block more. A message
    /// that stopped somewhere inside takes them for data of its own, and is found out: always where the block can be a
    /// final one; with context takeover it may pass when it stops inside the header of a block.
    pub(super) fn finish_message(&mut self, data: &[u8], keeps_context: bool) -> Result<(), ProtocolError> {
        self.final_blocks = 0;
        if let Some(history) = &mut self.history {
            keep_window(history, data, self.window_bits);
        }
        // RFC 7692 7.2.3.5: a message whose last block is final; nothing follows it that could be cut.
        if self.is_fresh && !data.is_empty() {
            return Ok(());
        }
        let mut end = [0, 0, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF];
        end[4] = u8::from(!keeps_context);
        let expected = if keeps_context { Status::Ok } else { Status::StreamEnd };
        let before = (self.inner.total_in(), self.inner.total_out());
        let status = self
            .inner
            .decompress(&end, &mut [0; 16], FlushDecompress::Sync)
            .map_err(|_| ProtocolError::InvalidDeflate)?;
        let is_whole = status == expected
            && (self.inner.total_in(), self.inner.total_out()) == (before.0 + end.len() as u64, before.1);
        if is_whole { Ok(()) } else { Err(ProtocolError::InvalidDeflate) }
    }

    /// Goes on behind a block with BFINAL set. To zlib that is the end of the stream; to RFC 7692 it is a block like any
    /// other, and the window stays.
    ///
    /// What messages before the first final block held is not known any more: a peer that flushes with final blocks does
    /// so from its first message on.
    fn restart(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        let mut window = self.history.get_or_insert_default().clone();
        keep_window(&mut window, data, self.window_bits);
        if self.window_bits == MAX_WINDOW_BITS {
            self.inner.reset(false);
        } else {
            self.inner = Decompress::new_with_window_bits(false, self.window_bits);
        }
        self.is_fresh = true;
        let kept = self.inner.set_dictionary(&window);
        kept.map(|_| ()).map_err(|_| ProtocolError::InvalidDeflate)
    }
}

/// Appends to a window and cuts it to its size.
fn keep_window(window: &mut Vec<u8>, data: &[u8], window_bits: u8) {
    let size = 1 << window_bits;
    window.extend_from_slice(&data[data.len().saturating_sub(size)..]);
    window.drain(..window.len().saturating_sub(size));
}

/// Room for `more` bytes, at least one, up to one byte above the limit: that one shows that it is passed.
fn reserve(data: &mut Vec<u8>, more: usize, limit: usize) {
    let target = data.len().saturating_add(more.max(64)).min(limit.saturating_add(1));
    data.reserve_exact(target.saturating_sub(data.len()));
}
