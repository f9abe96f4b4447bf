//! Reads, one bounded turn of a connection after the other.

use std::io;

use super::entry::{Ending, Phase};
use super::{Reactor, Socket};
use crate::app::{Application, ConnId};

/// Bytes waiting for all connections together above which more input would only make more of them; three quarters
/// of [`max_queued`](super::Config::max_queued) where that is less.
const CONGESTED_LEN: usize = 16 * 1024 * 1024;

impl<A: Application, S: Socket> Reactor<A, S> {
    /// One turn of a connection: at most one receive buffer, more only to reach a FIN that is known to be there.
    pub(super) fn read_turn(&mut self, conn: ConnId) {
        let index = conn.index;
        if self.core.table[index as usize].flags.holds {
            return self.held_turn(index);
        }
        if matches!(self.core.table[index as usize].phase, Phase::Http(_)) {
            let Some(left) = self.core.http_turns.checked_sub(1) else {
                return self.core.resume_later(index);
            };
            self.core.http_turns = left;
            self.core.attend();
        }
        let is_congested = self.is_congested();
        loop {
            let entry = &mut self.core.table[index as usize];
            let waiting = entry.backlog_len();
            if (waiting > self.core.config.high_water || waiting > 0 && is_congested)
                && !matches!(entry.phase, Phase::Ending { ending: Ending::Linger, .. })
            {
                entry.flags.paused = true;
                break;
            }
            let read_closed = entry.flags.read_closed;
            if !self.deferred_requests(index) || !self.read(index) || !read_closed {
                break;
            }
            if self.core.table[index as usize].flags.holds {
                break;
            }
        }
    }

    /// So much waits for peers that more input would only make more of it: those for whom something waits are not read, and
    /// no read is longer than others.
    fn is_congested(&self) -> bool {
        self.core.queues.used() > CONGESTED_LEN.min(self.core.config.max_queued / 4 * 3)
    }

    /// One read. `true`: the socket is drained, but for a FIN that may wait behind the octets.
    fn read(&mut self, index: u32) -> bool {
        if self.core.table[index as usize].flags.bulk {
            return self.read_bulk(index);
        }
        self.read_octets(index, self.core.config.receive_buffer)
    }

    /// A read of at most `most` bytes.
    fn read_octets(&mut self, index: u32, most: usize) -> bool {
        let is_long = most > self.receive.len();
        let mut buffer = std::mem::take(if is_long { &mut self.bulk } else { &mut self.receive });
        let is_drained = self.read_to(index, &mut buffer.as_mut()[..most]);
        *(if is_long { &mut self.bulk } else { &mut self.receive }) = buffer;
        is_drained
    }

    fn read_to(&mut self, index: u32, buffer: &mut [u8]) -> bool {
        let conn = self.core.conn(index);
        let Some(socket) = &mut self.sockets[index as usize] else { return false };
        match read_some(socket, buffer) {
            Ok(count) if count > 0 => {
                self.core.stats.bytes_in += count as u64;
                match &self.core.table[index as usize].phase {
                    Phase::Open(_) => self.input(conn, &mut buffer[..count]),
                    Phase::Http(_) => self.http_input(index, &mut buffer[..count]),
                    Phase::Ending { .. } => {}
                }
                // A short read has drained the socket (epoll(7)).
                if count == buffer.len() {
                    self.core.resume_later(index);
                }
                count < buffer.len()
            }
            result => {
                self.nothing_read(index, &result);
                false
            }
        }
    }

    /// The read gave a FIN or an error.
    #[cold]
    pub(super) fn nothing_read(&mut self, index: u32, result: &io::Result<usize>) {
        match result {
            Ok(_) => self.core.peer_ended(index),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.core.break_off(index),
        }
    }

    /// A read in the middle of a message that is no small one. It may be longer than others: what is left of a long payload
    /// is read to where it is put together, and where messages of some length follow each other, a short read would end
    /// in the middle of one each time.
    fn read_bulk(&mut self, index: u32) -> bool {
        let most = if self.is_congested() { self.core.config.receive_buffer } else { self.bulk.len() };
        let Self { app, core, sockets, .. } = self;
        let now = core.now.monotonic_ms;
        let entry = &mut core.table[index as usize];
        let conn = ConnId { index, generation: entry.generation };
        let (Phase::Open(connection), Some(socket)) = (&mut entry.phase, &mut sockets[index as usize]) else {
            return self.read_octets(index, most);
        };
        if let Some(len) = connection.wants_buffer()
            && let Some(buffer) = core.spare.take(len, now)
        {
            connection.adopt(buffer);
        }
        let (room, result) = match connection.room(most) {
            Ok(Some(room)) => (room.len(), read_some(socket, room)),
            Ok(None) => return self.read_octets(index, most),
            Err(error) => {
                core.fail(index, error);
                return false;
            }
        };
        let count = result.as_ref().copied().unwrap_or_default();
        core.stats.bytes_in += count as u64;
        if count > 0 {
            connection.heard(now);
        }
        match connection.filled(room, count) {
            Ok(Some(message)) => {
                core.stats.messages_in += 1;
                app.on_owned(core, conn, message);
            }
            Ok(None) => {}
            Err(error) => core.fail(index, error),
        }
        core.note_unfinished(index);
        if count == 0 {
            self.nothing_read(index, &result);
        } else if count == room {
            self.core.resume_later(index);
        }
        (1..room).contains(&count)
    }
}

/// One read; an interrupted one is made again.
#[inline]
pub(super) fn read_some<S: Socket>(socket: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
