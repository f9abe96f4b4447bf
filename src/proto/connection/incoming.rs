//! What arrives: octets to events.

use super::{Awaits, Connection, Event, ReadyState};
use crate::proto::assembly::{Assembly, Frame, unmask};
use crate::proto::buffer::Buffer;
use crate::proto::close::CloseFrame;
use crate::proto::deflate;
use crate::proto::frame::{FrameHeader, Opcode, RSV1};
use crate::proto::input::Content;
use crate::proto::{Chunk, Input, Message, MessageKind, ProtocolError};
use crate::simd::{self, Utf8Validator};

/// An event with its octets.
pub(crate) enum Arrived<'b> {
    Message(MessageKind, Content<'b>),
    Chunk(MessageKind, Content<'b>, bool),
    Ping(Content<'b>),
    Pong(Content<'b>),
    Close(CloseFrame),
}

/// Octets of a compressed message that are inflated at once; deflate makes at most 1,032 of each. A pause
/// ([`Connection::pause_after_inflating`]) can come between two pieces.
const INFLATED_AT_ONCE: usize = 1024;

impl Connection {
    /// [`Self::next_event`] for everything that is not taken on the fast path.
    #[inline(never)]
    pub(super) fn any_event<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, ProtocolError> {
        Ok(self.arrived(input, out)?.map(|arrived| match arrived {
            Arrived::Message(kind, content) => Event::Message(Message { kind, payload: input.lend(content) }),
            Arrived::Chunk(kind, content, is_last) => {
                Event::Chunk(Chunk { kind, payload: input.lend(content), is_last })
            }
            Arrived::Ping(content) => Event::Ping(input.lend(content)),
            Arrived::Pong(content) => Event::Pong(input.lend(content)),
            Arrived::Close(frame) => Event::Close(frame),
        }))
    }

    /// As [`Self::next_event`], with octets that were put together handed over.
    pub(crate) fn arrived<'b>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Arrived<'b>>, ProtocolError> {
        if input.is_empty() && !self.has_invalid_text {
            return Ok(None);
        }
        let arrived = self.advance(input, out).inspect_err(|_| {
            self.discard_from_now_on();
            input.discard();
        })?;
        if let Some(deflate) = &mut self.deflate
            && input.is_empty()
        {
            deflate.end_turn();
        }
        self.note_state();
        Ok(arrived)
    }

    #[inline]
    fn advance<'b>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Arrived<'b>>, ProtocolError> {
        if self.has_invalid_text {
            return Err(ProtocolError::TextNotUtf8);
        }
        loop {
            if let Some(deflate) = &mut self.deflate
                && deflate.is_to_pause()
            {
                return Ok(None);
            }
            let event = match self.awaits {
                Awaits::Header => {
                    let Some(header) = self.read_header(input)? else { return Ok(None) };
                    self.begin_frame(&header)?;
                    let is_whole = header.payload_len <= input.len() as u64;
                    let is_long = header.payload_len > INFLATED_AT_ONCE as u64;
                    if !is_whole || is_long && self.is_inflating() {
                        self.awaits = Awaits::Payload;
                        if input.is_empty() {
                            return Ok(None);
                        }
                        continue;
                    }
                    self.whole_frame(&header, input, out)?
                }
                Awaits::Payload => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    self.piece_of_frame(input, out)?
                }
                Awaits::Nothing => {
                    input.discard();
                    return Ok(None);
                }
            };
            // RFC 6455 5.5.1 and 1.4: after our Close the peer's data is of no use to the application.
            match event {
                Some(Arrived::Message(..) | Arrived::Chunk(..)) if self.state != ReadyState::Open => {}
                Some(event) => return Ok(Some(event)),
                None => {}
            }
        }
    }

    /// Takes a header from the input; one that is cut is held back, octet by octet.
    #[inline]
    fn read_header(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, ProtocolError> {
        if self.partial.as_ref().is_none_or(|partial| partial.held_len == 0)
            && let Some((header, len)) = FrameHeader::parse_extended(input.peek(), self.extended_bits())?
        {
            input.take(len);
            return Ok(Some(header));
        }
        self.read_cut_header(input)
    }

    #[cold]
    fn read_cut_header(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, ProtocolError> {
        let extended = self.extended_bits();
        let partial = self.partial.get_or_insert_default();
        while !input.is_empty() {
            partial.held[usize::from(partial.held_len)] = input.take(1)[0];
            partial.held_len += 1;
            let held = &partial.held[..usize::from(partial.held_len)];
            if let Some((header, _)) = FrameHeader::parse_extended(held, extended)? {
                partial.held_len = 0;
                self.partial.take_if(|partial| partial.message.is_none());
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// The reserved bits that an extension defines (RFC 6455 5.2).
    #[inline]
    fn extended_bits(&self) -> u8 {
        if self.deflate.is_some() { RSV1 } else { 0 }
    }

    /// Checks a header against role, state and limits before any payload is taken.
    #[inline]
    fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        // RFC 6455 5.1: a client MUST mask all frames, a server MUST NOT mask any.
        match (self.masking_keys.is_some(), header.masking_key.is_some()) {
            (false, false) => return Err(ProtocolError::UnmaskedFrame),
            (true, true) => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        if !header.opcode.is_control() {
            let limits = &self.config.limits;
            let message = self.partial.as_mut().and_then(|partial| partial.message.as_mut());
            let (mut max_frame, mut max_message) = (limits.max_frame, limits.max_message);
            if header.rsv1 || message.as_ref().is_some_and(|message| message.compressed_len.is_some()) {
                max_frame = deflate::max_compressed_len(max_frame);
                max_message = deflate::max_compressed_len(max_message);
            }
            if header.payload_len > max_frame {
                return Err(ProtocolError::FrameTooLarge);
            }
            let arrived = match (header.opcode == Opcode::Continuation, message) {
                // RFC 6455 5.4: the frames of one message MUST NOT be interleaved with those of another.
                (true, None) => return Err(ProtocolError::UnexpectedContinuation),
                (false, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
                (true, Some(message)) => {
                    message.count_fragment(limits.max_fragments)?;
                    message.arrived_len()
                }
                (false, None) => 0,
            };
            if header.payload_len > max_message - arrived.min(max_message) {
                return Err(ProtocolError::MessageTooLarge);
            }
        }
        self.frame = Frame {
            remaining: header.payload_len,
            key: header.masking_key,
            opcode: header.opcode,
            fin: header.fin,
            rsv1: header.rsv1,
        };
        Ok(())
    }

    /// The whole payload is in the input: no copy, unless it continues a message or is compressed.
    #[inline]
    fn whole_frame<'b>(
        &mut self,
        header: &FrameHeader,
        input: &mut Input<'b>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Arrived<'b>>, ProtocolError> {
        let payload = input.take(header.payload_len as usize);
        let kind = match header.opcode {
            Opcode::Text if header.fin && !header.rsv1 => MessageKind::Text,
            Opcode::Binary if header.fin && !header.rsv1 => MessageKind::Binary,
            Opcode::Text | Opcode::Binary | Opcode::Continuation => return self.data_piece(payload),
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if let Some(key) = header.masking_key {
                    simd::xor_mask(payload, key, 0);
                }
                return self.control(Content::Borrowed(payload), out).map(Some);
            }
        };
        let mut utf8 = Utf8Validator::default();
        unmask(kind, &mut utf8, payload, header.masking_key)?;
        if kind == MessageKind::Text {
            utf8.finish().map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        Ok(Some(Arrived::Message(kind, Content::Borrowed(payload))))
    }

    /// Whether the payload of the frame that has begun belongs to a compressed message.
    fn is_inflating(&self) -> bool {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        !self.frame.opcode.is_control()
            && message.map_or(self.frame.rsv1, |message| message.compressed_len.is_some())
    }

    /// Part of the payload is in the input: it is copied once, to where the whole is put together.
    fn piece_of_frame<'b>(
        &mut self,
        input: &mut Input<'b>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Arrived<'b>>, ProtocolError> {
        let most = if self.is_inflating() { INFLATED_AT_ONCE } else { usize::MAX };
        let take = input.len().min(usize::try_from(self.frame.remaining).unwrap_or(usize::MAX)).min(most);
        let piece = input.take(take);
        if !self.frame.opcode.is_control() {
            return self.data_piece(piece);
        }
        let partial = self.partial.get_or_insert_default();
        if let Some(key) = self.frame.key {
            simd::xor_mask(piece, key, 0);
        }
        partial.control.extend_from_slice(piece);
        self.frame.advance(take);
        if self.frame.remaining > 0 {
            return Ok(None);
        }
        let payload = std::mem::take(&mut partial.control);
        self.partial.take_if(|partial| partial.message.is_none());
        self.awaits = Awaits::Header;
        self.control(Content::Assembled(payload.into()), out).map(Some)
    }

    /// Appends a piece of a data frame to its message and returns the message when it is whole; or hands the piece on.
    fn data_piece<'b>(&mut self, piece: &'b mut [u8]) -> Result<Option<Arrived<'b>>, ProtocolError> {
        let kind = if self.frame.opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
        let partial = self.partial.get_or_insert_default();
        let message = partial.message.get_or_insert_with(|| Assembly::new(kind, self.frame.rsv1));
        let outstanding = self.frame.remaining - piece.len() as u64;
        let is_last = outstanding == 0 && self.frame.fin;
        let taken = piece.len();
        let content = match &mut self.deflate {
            Some(deflate) if message.compressed_len.is_some() => {
                let limit = self.config.limits.max_message;
                if let Some(key) = self.frame.key {
                    simd::xor_mask(piece, key, 0);
                }
                message.append_compressed(piece, deflate, limit, is_last)?;
                if self.streams { message.take_inflated() } else { Content::Assembled(Buffer::default()) }
            }
            _ if self.streams => {
                message.pass_on(piece, self.frame.key)?;
                Content::Borrowed(piece)
            }
            _ => {
                message.append(piece, self.frame.key, outstanding)?;
                Content::Assembled(Buffer::default())
            }
        };
        let kind = message.kind;
        self.frame.advance(taken);
        if outstanding == 0 {
            self.awaits = Awaits::Header;
        }
        if self.streams && !is_last {
            return Ok((!content.as_bytes().is_empty()).then_some(Arrived::Chunk(kind, content, false)));
        }
        if !is_last {
            return Ok(None);
        }
        let message = self.partial.take().and_then(|partial| partial.message);
        let Some(message) = message else { return Ok(None) };
        let (kind, data) = message.finish()?;
        if self.streams {
            return Ok(Some(Arrived::Chunk(kind, content, true)));
        }
        Ok(Some(Arrived::Message(kind, Content::Assembled(data))))
    }

    fn control<'b>(&mut self, payload: Content<'b>, out: &mut Vec<u8>) -> Result<Arrived<'b>, ProtocolError> {
        self.count_control()?;
        match self.frame.opcode {
            Opcode::Close => self.peer_close(payload.as_bytes(), out).map(Arrived::Close),
            Opcode::Ping => {
                // RFC 6455 5.5.2: a Pong with the same payload, unless a Close was sent before.
                if self.state == ReadyState::Open {
                    self.write(Opcode::Pong, payload.as_bytes(), out);
                }
                Ok(Arrived::Ping(payload))
            }
            _ => {
                self.timer.ponged(self.timer.last_heard(), &self.config.timeouts);
                Ok(Arrived::Pong(payload))
            }
        }
    }

    /// Control frames cost a peer nothing and us an answer, so there is a limit to them.
    fn count_control(&mut self) -> Result<(), ProtocolError> {
        let second = (self.timer.last_heard() / 1000) as u32;
        if second != self.control_second {
            (self.control_second, self.control_count) = (second, 0);
        }
        self.control_count += 1;
        let limit = self.config.limits.max_control_per_second;
        if self.control_count > limit { Err(ProtocolError::TooManyControlFrames) } else { Ok(()) }
    }

    /// RFC 6455 5.5.1: a Close is answered by a Close with the same code; then the connection is closed.
    fn peer_close(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<CloseFrame, ProtocolError> {
        let close = CloseFrame::parse(payload)?;
        if self.state == ReadyState::Open {
            self.send_close(close.code, "", out);
            self.timer.closing_at_last_sign();
        }
        self.end();
        Ok(close)
    }
}
