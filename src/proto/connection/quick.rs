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
        if let Some(message) = self.quick_message(input) {
            return Ok(Some(Event::Message(message)));
        }
        self.any_event(input, out)
    }

    /// The next event, if it is a message that can be taken the quick way; otherwise [`Self::any_event`] tells what is
    /// next.
    #[inline(always)]
    pub(crate) fn quick_message<'b>(&mut self, input: &mut Input<'b>) -> Option<Message<'b>> {
        match *input.peek().first()? {
            FIN_BINARY => {
                let (payload, key) = self.masked_message(input)?;
                simd::xor_mask(payload, key, 0);
                Some(Message { kind: MessageKind::Binary, payload })
            }
            FIN_TEXT => {
                let (payload, key) = self.masked_message(input)?;
                let mut utf8 = Utf8Validator::default();
                if utf8.unmask_and_validate(payload, key, 0).and_then(|()| utf8.finish()).is_err() {
                    self.has_invalid_text = true;
                    return None;
                }
                Some(Message { kind: MessageKind::Text, payload })
            }
            _ => None,
        }
    }

    /// The payload of a frame at the front of the input, still masked: its length in 7 or 16 bits, masked as it must be.
    #[inline(always)]
    fn masked_message<'b>(&self, input: &mut Input<'b>) -> Option<(&'b mut [u8], [u8; 4])> {
        let &[_, second, high, low, ..] = input.peek().first_chunk::<6>()?;
        let short_len = second ^ self.peer_mask_bit;
        if short_len < LEN_16 {
            return self.masked_payload(input, 2, short_len.into());
        }
        let len = u16::from_be_bytes([high, low]);
        if short_len > LEN_16 || len < 126 {
            return None;
        }
        self.masked_payload(input, 4, len.into())
    }

    /// The payload behind `at` octets of header, when it is whole and within limits.
    #[inline(always)]
    fn masked_payload<'b>(
        &self,
        input: &mut Input<'b>,
        at: usize,
        len: u32,
    ) -> Option<(&'b mut [u8], [u8; 4])> {
        if len >= self.quick_below {
            return None;
        }
        // The client's peer does not mask: a key of zeros leaves the payload as it is.
        let (key, at) = if self.peer_mask_bit == 0 {
            ([0; 4], at)
        } else {
            (*input.peek().get(at..)?.first_chunk::<4>()?, at + 4)
        };
        let frame_len = at + len as usize;
        if frame_len > input.len() {
            return None;
        }
        Some((&mut input.take(frame_len)[at..], key))
    }
}
