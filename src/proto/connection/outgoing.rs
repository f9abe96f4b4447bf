//! What is sent: messages, fragments, control frames.

use super::{Connection, ReadyState, SendError};
use crate::proto::close::CloseFrame;
use crate::proto::frame::{Opcode, write_frame, write_header};
use crate::proto::timer::Millis;
use crate::proto::{CloseCode, MessageKind, Outgoing, OwnedMessage, ProtocolError};

impl Connection {
    /// Appends a message to `out` as one frame.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] once a Close was sent or received (RFC 6455 5.5.1); nothing is appended.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "plain messages go straight into the buffer")]
    pub fn encode(&mut self, message: Outgoing<'_>, out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.sends_plain() {
            message.write_plain(out);
            return Ok(());
        }
        self.encode_any(message.kind(), message.payload(), message.may_compress(), out)
    }

    /// Appends the header of a message's only frame to `out`, so that its payload can be written from where it lies. `false`:
    /// messages do not go out as they are (they are masked, compressed, or may not be sent), and nothing was appended.
    pub fn encode_header(&mut self, message: &OwnedMessage, out: &mut Vec<u8>) -> bool {
        let message = message.as_outgoing();
        let is_plain = self.sends_plain();
        if is_plain {
            write_header(out, message.kind().opcode(), message.payload().len());
        }
        is_plain
    }

    /// Takes the message in parts: as a whole it would be written to memory for the fast path too.
    #[inline(never)]
    fn encode_any(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        may_compress: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if self.state != ReadyState::Open {
            return Err(SendError::NotOpen);
        }
        if self.sending.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        if let Some(deflate) = &mut self.deflate {
            let key = self.masking_keys.as_mut().map(|keys| keys.next_key());
            deflate.write_message(Outgoing::new(kind, payload, may_compress), key, out);
        } else {
            self.write(kind.opcode(), payload, out);
        }
        Ok(())
    }

    /// Appends one fragment of a message to `out`, uncompressed; the first and those after it are of one kind. Control
    /// frames may go out between fragments, other messages may not.
    ///
    /// # Errors
    /// [`SendError::MessageUnfinished`] when the fragment is of another kind than those before it; nothing is appended.
    pub fn encode_fragment(
        &mut self,
        fragment: Outgoing<'_>,
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if self.state != ReadyState::Open {
            return Err(SendError::NotOpen);
        }
        let opcode = match (self.sending, fragment.kind()) {
            (None, MessageKind::Text) => Opcode::Text,
            (None, MessageKind::Binary) => Opcode::Binary,
            (Some(kind), same) if kind == same => Opcode::Continuation,
            (Some(_), _) => return Err(SendError::MessageUnfinished),
        };
        let key = self.masking_keys.as_mut().map(|keys| keys.next_key());
        write_frame(out, is_last, opcode, fragment.payload(), key);
        self.sending = (!is_last).then_some(fragment.kind());
        self.note_state();
        Ok(())
    }

    /// Whether a message that [`Self::encode_fragment`] began is unfinished.
    #[must_use]
    pub fn is_sending_fragments(&self) -> bool {
        self.sending.is_some()
    }

    /// Appends a Ping to `out`; a payload above 125 bytes is cut (RFC 6455 5.5.2).
    ///
    /// # Errors
    /// [`SendError::NotOpen`] once a Close was sent or received; nothing is appended.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.state != ReadyState::Open {
            return Err(SendError::NotOpen);
        }
        self.write(Opcode::Ping, &payload[..payload.len().min(125)], out);
        Ok(())
    }

    /// Begins the closing handshake (RFC 6455 7.1.2): appends a Close, once. A reason above 123 bytes is cut; a code
    /// that must not be sent goes out as 1011.
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Millis, out: &mut Vec<u8>) {
        if self.state == ReadyState::Open {
            self.send_close(code, reason, out);
            self.state = ReadyState::Closing;
            self.timer.closing(now);
            self.note_state();
        }
    }

    /// Fails the connection (RFC 6455 7.1.7): appends a Close that names the rule, unless one was sent before, and
    /// discards whatever arrives from now on.
    pub fn fail(&mut self, error: ProtocolError, now: Millis, out: &mut Vec<u8>) {
        self.close(error.close_code(), error.reason(), now, out);
        self.end();
    }

    pub(super) fn write(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let key = self.masking_keys.as_mut().map(|keys| keys.next_key());
        write_frame(out, true, opcode, payload, key);
    }

    pub(super) fn send_close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        let code =
            if code.is_sendable() || code == CloseCode::NO_STATUS { code } else { CloseCode::INTERNAL_ERROR };
        let (payload, len) = CloseFrame::payload(code, reason);
        self.write(Opcode::Close, &payload[..len], out);
    }
}
