//! The fast path: whole, unfragmented, uncompressed messages with nothing else under way, which most of a server's
//! time goes into. Everything else goes through `incoming` and `outgoing`.
#![expect(clippy::inline_always, reason = "melted into its caller, an event never goes through memory")]

use super::{Awaits, Connection, Event, ReadyState};
use crate::proto::frame::LEN_16;
use crate::proto::{Input, Message, MessageKind, ProtocolError};
use crate::simd::{self, Utf8Validator};

/// The longest payload that is taken on the fast path, in bytes: what 16 bits of length can tell.
const MAX_PAYLOAD: u64 = 0xFFFF;

const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;

/// What a connection's state lets a message skip, on its way in and on its way out. It is a function of the state,
/// [`Self::of`], and kept beside it; debug builds compare the two at every use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FastPath {
    /// Messages shorter than this need no look at limits and state: 65,536 at most, 0 while anything is under way.
    below: u32,
    /// Messages go out as they are: open, unmasked, uncompressed, nothing unfinished.
    sends: bool,
}

impl FastPath {
    /// What the state of a connection lets a message skip.
    pub(super) fn of(connection: &Connection) -> Self {
        let is_open = connection.state == ReadyState::Open;
        let is_clean = is_open
            && connection.awaits == Awaits::Header
            && connection.partial.is_none()
            && !connection.has_invalid_text
            // `incoming` ends the count.
            && connection.deflate.as_ref().is_none_or(|deflate| !deflate.is_counting());
        let limits = &connection.config.limits;
        let longest = limits.max_frame.min(limits.max_message).min(MAX_PAYLOAD) as u32;
        Self {
            below: if is_clean { longest + 1 } else { 0 },
            sends: is_open
                && connection.masking_keys.is_none()
                && connection.deflate.is_none()
                && connection.sending.is_none(),
        }
    }
}

impl Connection {
    /// Whether nothing is under way that an octet could belong to: no part of a message, frame or header is kept.
    #[inline]
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.fast_path().below > 0
    }

    /// Whether messages go out as they are: open, unmasked, uncompressed, nothing unfinished.
    #[inline]
    pub(crate) fn sends_plain(&self) -> bool {
        self.fast_path().sends
    }

    #[inline(always)]
    fn fast_path(&self) -> FastPath {
        debug_assert_eq!(self.fast, FastPath::of(self), "the state has changed and nobody noted it");
        self.fast
    }

    /// The next event in `input`; `None` once the input is eaten (or [`Self::pause_after_inflating`] says so). Answers the
    /// protocol owes are appended to `out`.
    ///
    /// # Errors
    /// The rule that the peer broke. The rest of the input is discarded, as is everything after it; call
    /// [`Self::fail`] with the error.
    #[inline(always)]
    pub fn next_event<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, ProtocolError> {
        match self.fast_message(input.take_rest()) {
            Ok((message, rest)) => {
                input.put_rest(rest);
                Ok(Some(Event::Message(message)))
            }
            Err(rest) => {
                input.put_rest(rest);
                self.any_event(input, out)
            }
        }
    }

    /// The message at the front of `octets`, and what is behind it. `Err`: there is none for the fast path;
    /// [`Self::any_event`] tells what is next in what is left.
    #[inline(always)]
    pub(crate) fn fast_message<'b>(
        &mut self,
        octets: &'b mut [u8],
    ) -> Result<(Message<'b>, &'b mut [u8]), &'b mut [u8]> {
        let Some(&[first, second, high, low, ..]) = octets.first_chunk::<6>() else { return Err(octets) };
        let kind = match first {
            FIN_BINARY => MessageKind::Binary,
            FIN_TEXT => MessageKind::Text,
            _ => return Err(octets),
        };
        let short_len = second ^ self.peer_mask_bit;
        if short_len < LEN_16 {
            return self.fast_payload::<2>(octets, kind, short_len.into());
        }
        let len = u16::from_be_bytes([high, low]);
        if short_len > LEN_16 || len < 126 {
            return Err(octets);
        }
        self.fast_payload::<4>(octets, kind, len.into())
    }

    /// The same, with the payload behind `AT` octets and the masking-key, when it is whole and within limits.
    #[inline(always)]
    fn fast_payload<'b, const AT: usize>(
        &mut self,
        octets: &'b mut [u8],
        kind: MessageKind,
        len: u32,
    ) -> Result<(Message<'b>, &'b mut [u8]), &'b mut [u8]> {
        if len >= self.fast_path().below {
            return Err(octets);
        }
        if self.peer_mask_bit == 0 {
            return self.fast_unmasked(octets, kind, AT, len as usize);
        }
        let frame_len = AT + 4 + len as usize;
        if frame_len > octets.len() {
            return Err(octets);
        }
        let (frame, rest) = octets.split_at_mut(frame_len);
        let (header, payload) = frame.split_at_mut(AT + 4);
        let Some(&key) = header.last_chunk::<4>() else { return Err(rest) };
        match kind {
            MessageKind::Binary => simd::xor_mask(payload, key, 0),
            MessageKind::Text if !unmask_text(payload, key) => {
                self.text_was_invalid();
                return Err(rest);
            }
            MessageKind::Text => {}
        }
        Ok((Message { kind, payload }, rest))
    }

    /// The same for a client, whose peer does not mask.
    #[inline]
    fn fast_unmasked<'b>(
        &mut self,
        octets: &'b mut [u8],
        kind: MessageKind,
        at: usize,
        len: usize,
    ) -> Result<(Message<'b>, &'b mut [u8]), &'b mut [u8]> {
        if at + len > octets.len() {
            return Err(octets);
        }
        let (frame, rest) = octets.split_at_mut(at + len);
        let payload = &mut frame[at..];
        // A key of zeros leaves the payload as it is.
        if kind == MessageKind::Text && !unmask_text(payload, [0; 4]) {
            self.text_was_invalid();
            return Err(rest);
        }
        Ok((Message { kind, payload }, rest))
    }

    /// What is behind it must not be taken before that is reported.
    #[cold]
    fn text_was_invalid(&mut self) {
        self.has_invalid_text = true;
        self.note_state();
    }
}

/// `false`: the payload of a whole message, unmasked, is not UTF-8.
#[inline(always)]
fn unmask_text(payload: &mut [u8], key: [u8; 4]) -> bool {
    let mut utf8 = Utf8Validator::default();
    utf8.unmask_and_validate(payload, key, 0).and_then(|()| utf8.finish()).is_ok()
}
