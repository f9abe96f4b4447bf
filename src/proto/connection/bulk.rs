//! Long payloads: read to where they are put together, rather than copied there.

use super::{Awaits, Connection, ReadyState};
#[cfg(doc)]
use crate::proto::Input;
use crate::proto::{Buffer, OwnedMessage, ProtocolError};

/// A payload of which fewer bytes than this are outstanding is read with everything else.
const BULK_LEN: u64 = 32 * 1024;

impl Connection {
    /// Whether much of a long payload is outstanding: 32 KiB or more, which [`Self::room`] takes better than an [`Input`]
    /// does.
    #[must_use]
    pub fn is_bulky(&self) -> bool {
        self.awaits == Awaits::Payload
            && self.frame.remaining >= BULK_LEN
            && !self.streams
            && self
                .partial
                .as_ref()
                .and_then(|partial| partial.message.as_ref())
                .is_some_and(|message| message.compressed_len.is_none())
            && !self.frame.opcode.is_control()
    }

    /// Bytes that are known of an unfinished frame's payload, those outstanding included; 0 between frames.
    #[must_use]
    pub fn unfinished_frame_len(&self) -> u64 {
        let kept = self.unfinished_len() as u64;
        if self.awaits == Awaits::Payload { kept + self.frame.remaining } else { 0 }
    }

    /// At most `most` bytes for what is outstanding of a long payload, to be read into; [`Self::filled`] takes them.
    ///
    /// # Errors
    /// [`ProtocolError::UnfinishedBudget`] when there is no memory.
    pub fn room(&mut self, most: usize) -> Result<Option<&mut [u8]>, ProtocolError> {
        if !self.is_bulky() {
            return Ok(None);
        }
        let outstanding = self.frame.remaining;
        let message = self.partial.as_mut().and_then(|partial| partial.message.as_mut());
        let most = most.min(usize::try_from(outstanding).unwrap_or(usize::MAX));
        message.map(|message| message.room(most, outstanding)).transpose()
    }

    /// How long a buffer must be to hold all that is known of the unfinished message, when the one that it has is shorter.
    #[must_use]
    pub fn wants_buffer(&self) -> Option<usize> {
        let message = self.partial.as_ref()?.message.as_ref()?;
        let len = message.data.len() + usize::try_from(self.frame.remaining).ok()?;
        (message.data.capacity() < len).then_some(len)
    }

    /// Puts the unfinished message together in this buffer, which is empty and has the room that [`Self::wants_buffer`] asked
    /// for.
    pub fn adopt(&mut self, buffer: Buffer) {
        if let Some(message) = self.partial.as_mut().and_then(|partial| partial.message.as_mut()) {
            message.adopt(buffer);
        }
    }

    /// `count` bytes of `room` were read. Returns the message when it is whole.
    ///
    /// # Errors
    /// The rule that the peer broke; as for [`Self::next_event`].
    pub fn filled(&mut self, room: usize, count: usize) -> Result<Option<OwnedMessage>, ProtocolError> {
        let whole = self.take_filled(room, count).inspect_err(|_| self.discard_from_now_on())?;
        self.note_state();
        Ok(whole)
    }

    fn take_filled(&mut self, room: usize, count: usize) -> Result<Option<OwnedMessage>, ProtocolError> {
        let Some(partial) = &mut self.partial else { return Ok(None) };
        let Some(message) = &mut partial.message else { return Ok(None) };
        message.fill(room, count, self.frame.key)?;
        self.frame.advance(count);
        if self.frame.remaining > 0 {
            return Ok(None);
        }
        self.awaits = Awaits::Header;
        if !self.frame.fin {
            return Ok(None);
        }
        let message = self.partial.take().and_then(|partial| partial.message);
        let Some(message) = message else { return Ok(None) };
        let (kind, data) = message.finish()?;
        // After our Close the peer's data is of no use to the application.
        Ok((self.state == ReadyState::Open).then(|| OwnedMessage::new(kind, data)))
    }
}
