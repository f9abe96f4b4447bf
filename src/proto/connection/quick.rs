//! The quick way in: whole, unfragmented, uncompressed messages with nothing else under way, which most of a server's
//! time goes into. Everything else takes the long way in `incoming`.
#![expect(clippy::inline_always, reason = "melted into its caller, an event never goes through memory")]

use super::{Connection, Event};
use crate::proto::frame::LEN_16;
use crate::proto::{Input, Message, MessageKind, ProtocolError};
use crate::simd::{self, Utf8Validator};

const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;

impl Connection {
    /// The next event in `input`; `None` once the input is eaten. Answers the protocol owes are appended to `out`.
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
        if let Some((kind, payload, key)) = self.quick_message(input) {
            if kind == MessageKind::Binary {
                simd::xor_mask(payload, key, 0);
                return Ok(Some(Event::Message(Message { kind, payload })));
            }
            let mut utf8 = Utf8Validator::default();
            if utf8.unmask_and_validate(payload, key, 0).and_then(|()| utf8.finish()).is_ok() {
                return Ok(Some(Event::Message(Message { kind, payload })));
            }
            self.discard_from_now_on();
            input.discard();
            return Err(ProtocolError::TextNotUtf8);
        }
        if input.is_empty() {
            return Ok(None);
        }
        self.any_event(input, out)
    }

    /// A whole message at the front of the input, still masked: its length in 7 or 16 bits, masked as it must be.
    #[inline(always)]
    fn quick_message<'b>(&self, input: &mut Input<'b>) -> Option<(MessageKind, &'b mut [u8], [u8; 4])> {
        let &[first, second, a, b, c, d] = input.peek().first_chunk::<6>()?;
        if !matches!(first, FIN_TEXT | FIN_BINARY) {
            return None;
        }
        let kind = if first == FIN_TEXT { MessageKind::Text } else { MessageKind::Binary };
        let short_len = second ^ self.peer_mask_bit;
        let (len, mut header_len, mut key) = match short_len {
            0..LEN_16 => (u16::from(short_len), 2, [a, b, c, d]),
            LEN_16 => (u16::from_be_bytes([a, b]), 4, *input.peek()[4..].first_chunk::<4>()?),
            _ => return None,
        };
        if u32::from(len) >= self.quick_below || len < 126 && header_len == 4 {
            return None;
        }
        if self.peer_mask_bit == 0 {
            // The client's peer does not mask: a key of zeros leaves the payload as it is.
            key = [0; 4];
        } else {
            header_len += 4;
        }
        let frame_len = header_len + usize::from(len);
        if frame_len > input.len() {
            return None;
        }
        Some((kind, &mut input.take(frame_len)[header_len..], key))
    }
}
