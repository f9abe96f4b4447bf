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
        let left = match connection.quick_message(&mut receive[..count]) {
            Ok((message, behind)) => {
                core.stats.messages_in += 1;
                app.on_message(core, conn, message);
                if behind.is_empty() { 0 } else { frames(app, core, conn, behind).len() }
            }
            Err(octets) => frames(app, core, conn, octets).len(),
        };
        core.express = NOBODY;
        if left > 0 || self.core.outbox.is_large() {
            self.flush_much(conn, count - left..count);
        }
    }

    /// Writes what is queued, and goes on with the octets that are left in the receive buffer.
    #[inline(never)]
    fn flush_much(&mut self, conn: ConnId, left: std::ops::Range<usize>) {
        if left.is_empty() {
            return self.flush_all();
        }
        let mut buffer = std::mem::take(&mut self.receive);
        self.go_on(conn, &mut buffer.as_mut()[left]);
        self.receive = buffer;
        self.flush_if_much();
    }

    /// Takes the input of a connection that may be open. When much is queued it is written in between; when it cannot be
    /// written, or too much came of this input already, the rest is kept for a later tick.
    pub(super) fn input(&mut self, conn: ConnId, octets: &mut [u8]) {
        self.limit_input(conn);
        let left = frames(&mut self.app, &mut self.core, conn, octets);
        if !left.is_empty() {
            self.go_on(conn, left);
        }
    }

    /// Counts what waits for a connection among what its input may queue: both together are at most `high_water` and one answer.
    fn limit_input(&mut self, conn: ConnId) {
        let waiting = self.core.entry(conn).map_or(0, |entry| entry.backlog_len());
        if waiting > 0 {
            let room = self.core.config.high_water.saturating_sub(waiting).max(1);
            self.core.input_until = self.core.input_until.min(room);
        }
    }

    #[cold]
    fn go_on(&mut self, conn: ConnId, mut octets: &mut [u8]) {
        for round in 1.. {
            self.flush_all();
            let high_water = self.core.config.high_water;
            let Some(entry) = self.core.entry(conn) else { return };
            if !matches!(entry.phase, Phase::Open(_)) {
                return;
            }
            if round == INPUT_ROUNDS || entry.backlog_len() > high_water {
                return self.core.hold(conn.index, octets);
            }
            self.limit_input(conn);
            octets = frames(&mut self.app, &mut self.core, conn, octets);
            if octets.is_empty() {
                return;
            }
        }
    }

    /// A read of [`Self::readable`] was interrupted, gave a FIN or an error, or more may be there than fitted.
    #[cold]
    fn read_else(&mut self, conn: ConnId, readiness: Readiness, result: &io::Result<usize>) {
        match result {
            Ok(count) if *count > 0 => {
                self.core.stats.bytes_in += *count as u64;
                let mut buffer = std::mem::take(&mut self.receive);
                self.input(conn, &mut buffer.as_mut()[..*count]);
                self.receive = buffer;
                self.core.resume_later(conn.index);
                self.flush_if_much();
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
        self.flush_if_much();
    }
}

/// How often what came of one read is written before the rest of it waits for the next tick.
const INPUT_ROUNDS: u32 = 4;

/// Octets of a connection that may be open. The table is asked for it again after each callback, which may have ended it.
/// Returns what is left, because so much is queued that it is to be written first; see [`Reactor::input`].
#[inline(never)]
pub(super) fn frames<'b, A: Application>(
    app: &mut A,
    core: &mut Core,
    conn: ConnId,
    mut octets: &'b mut [u8],
) -> &'b mut [u8] {
    let now = core.now.monotonic_ms;
    let mut is_plain = true;
    if let Some(Phase::Open(connection)) = core.phase(conn) {
        connection.heard(now);
    }
    loop {
        let until = core.input_until;
        if core.outbox.len() >= until {
            break;
        }
        let Some(Phase::Open(connection)) = core.phase(conn) else { return &mut [] };
        octets = match connection.quick_message(octets) {
            Ok((message, behind)) => {
                core.stats.messages_in += 1;
                app.on_message(core, conn, message);
                if behind.is_empty() && is_plain {
                    return behind;
                }
                behind
            }
            Err(rest) => {
                is_plain = false;
                let Some(behind) = any_event(app, core, conn, rest) else {
                    octets = &mut [];
                    break;
                };
                behind
            }
        };
    }
    core.note_unfinished(conn.index);
    octets
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
        Ok(Some(Arrived::Ping(_))) => core.wrote(conn.index, start),
        // The next Ping is due earlier than the end of the wait for this Pong.
        Ok(Some(Arrived::Pong(_))) => core.arm(conn.index),
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
