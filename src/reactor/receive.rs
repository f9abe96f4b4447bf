//! What arrives on open connections. All but a few events find a connection for which nothing waits and bring whole messages:
//! those go straight from the receive buffer to the application.

use std::io;

use super::core::{Core, NOBODY};
use super::entry::{Ending, Phase};
use super::{Reactor, Readiness, Socket};
use crate::app::{Application, CloseReason, ConnId};
use crate::proto::{Arrived, Chunk, Content, Input, Message, OwnedMessage};

impl<A: Application, S: Socket> Reactor<A, S> {
    /// An event came. One for a connection that is gone is ignored.
    #[inline]
    pub fn ready(&mut self, conn: ConnId, readiness: Readiness) {
        if readiness.readable && !readiness.read_closed {
            self.readable(conn, readiness.writable);
        } else {
            self.ready_any(conn, readiness);
        }
    }

    /// [`Self::ready`] where octets can be read and no FIN is known of.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of what a tick does")]
    pub fn readable(&mut self, conn: ConnId, writable: bool) {
        let Self { app, core, sockets, receive, .. } = self;
        let other = Readiness { readable: true, writable, read_closed: false };
        let entry = core.table.get_mut(conn.index as usize);
        let Some(entry) = entry.filter(|entry| entry.generation == conn.generation && entry.is_flowing())
        else {
            return self.ready_any(conn, other);
        };
        let (Phase::Open(connection), Some(Some(socket))) =
            (&mut entry.phase, sockets.get_mut(conn.index as usize))
        else {
            return self.ready_any(conn, other);
        };
        let receive = receive.as_mut();
        let count = match socket.read(receive) {
            Ok(count) if count > 0 && count < receive.len() => count,
            result => return self.read_else(conn, other, &result),
        };
        core.stats.bytes_in += count as u64;
        connection.heard(core.now.monotonic_ms);
        core.express = if connection.sends_plain() { conn.to_bits() } else { NOBODY };
        match connection.quick_message(&mut receive[..count]) {
            Ok((message, behind)) => {
                core.stats.messages_in += 1;
                app.on_message(core, conn, message);
                if !behind.is_empty() {
                    frames(app, core, conn, behind);
                }
            }
            Err(octets) => frames(app, core, conn, octets),
        }
        core.express = NOBODY;
        if self.core.outbox.is_large() {
            self.flush_all();
        }
    }

    /// A read of [`Self::readable`] was interrupted, gave a FIN or an error, or more may be there than fitted.
    #[cold]
    fn read_else(&mut self, conn: ConnId, readiness: Readiness, result: &io::Result<usize>) {
        match result {
            Ok(count) if *count > 0 => {
                self.core.stats.bytes_in += *count as u64;
                frames(&mut self.app, &mut self.core, conn, &mut self.receive.as_mut()[..*count]);
                self.core.resume_later(conn.index);
                if self.core.outbox.is_large() {
                    self.flush_all();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready_any(conn, readiness),
            result => self.nothing_read(conn.index, result),
        }
    }

    /// [`Self::ready`] for a connection about which there is more to know.
    #[inline(never)]
    fn ready_any(&mut self, conn: ConnId, readiness: Readiness) {
        let Some(entry) = self.core.entry(conn) else { return };
        entry.flags.read_closed |= readiness.read_closed;
        if readiness.writable && entry.backlog.is_some() {
            self.write_backlog(conn.index);
        }
        if readiness.readable || readiness.read_closed {
            self.read_turn(conn);
        }
        if self.core.outbox.is_large() {
            self.flush_all();
        }
    }
}

/// Octets of a connection that may be open. The table is asked for it again after each callback, which may have ended it.
#[inline(never)]
pub(super) fn frames<A: Application>(app: &mut A, core: &mut Core, conn: ConnId, mut octets: &mut [u8]) {
    let now = core.now.monotonic_ms;
    let mut is_plain = true;
    if let Some(Phase::Open(connection)) = core.phase(conn) {
        connection.heard(now);
    }
    while let Some(Phase::Open(connection)) = core.phase(conn) {
        octets = match connection.quick_message(octets) {
            Ok((message, behind)) => {
                core.stats.messages_in += 1;
                app.on_message(core, conn, message);
                if behind.is_empty() && is_plain {
                    return;
                }
                behind
            }
            Err(rest) => {
                is_plain = false;
                match any_event(app, core, conn, rest) {
                    Some(behind) => behind,
                    None => break,
                }
            }
        };
    }
    core.note_unfinished(conn.index);
}

/// One event of any kind; gives what is behind it. `None`: it was the last one.
#[inline(never)]
fn any_event<'b, A: Application>(
    app: &mut A,
    core: &mut Core,
    conn: ConnId,
    octets: &'b mut [u8],
) -> Option<&'b mut [u8]> {
    let start = core.outbox.len();
    let mut input = Input::new(octets);
    let Phase::Open(connection) = &mut core.table[conn.index as usize].phase else { return None };
    match connection.arrived(&mut input, &mut core.outbox.bytes) {
        Ok(Some(Arrived::Message(kind, Content::Borrowed(payload)))) => {
            core.stats.messages_in += 1;
            app.on_message(core, conn, Message { kind, payload });
        }
        Ok(Some(Arrived::Message(kind, Content::Assembled(payload)))) => {
            core.stats.messages_in += 1;
            app.on_owned(core, conn, OwnedMessage::new(kind, payload));
        }
        Ok(Some(Arrived::Chunk(kind, mut payload, is_last))) => {
            core.stats.messages_in += u64::from(is_last);
            app.on_chunk(core, conn, Chunk { kind, payload: payload.as_mut_bytes(), is_last });
        }
        Ok(Some(Arrived::Ping(_) | Arrived::Pong(_))) => core.wrote(conn.index, start),
        Ok(Some(Arrived::Close(frame))) => {
            core.wrote(conn.index, start);
            core.finish(conn.index, CloseReason::Peer(frame), Ending::HalfClose);
            return None;
        }
        Ok(None) => {
            if !input.is_empty() {
                core.hold(conn.index, input.rest());
            }
            return None;
        }
        Err(error) => {
            core.fail(conn.index, error);
            return None;
        }
    }
    Some(input.take_rest())
}
