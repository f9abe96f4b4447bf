//! What arrives on open connections. All but a few events find a connection for which nothing waits and bring whole messages:
//! those go straight from the receive buffer to the application, on the fast path.

use std::io;

use crate::app::{Application, CloseReason, ConnId};
use crate::proto::{Arrived, Chunk, Content, Input, Message, OwnedMessage};
use crate::reactor::Reactor;
use crate::reactor::core::Core;
use crate::reactor::socket::{Readiness, Socket};
use crate::reactor::table::{Ending, Entry};

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

    /// [`Self::ready`] where octets can be read and no FIN is known of. To be called once a tick for a connection, or its output
    /// may be written in several parts.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of what a tick does")]
    pub fn readable(&mut self, conn: ConnId, writable: bool) {
        let Self { app, core, sockets, receive, .. } = self;
        let other = Readiness { readable: true, writable, read_closed: false };
        core.output.begin_turn(&mut core.table);
        let (Some(connection), Some(socket)) =
            (core.table.get_mut(conn).and_then(Entry::fast_path), sockets.get_mut(conn.into()))
        else {
            return self.ready_any(conn, other);
        };
        if writable && socket.owes_output() {
            return self.ready_any(conn, other);
        }
        let receive = receive.as_mut();
        let count = match socket.read(receive) {
            Ok(count) if count > 0 && count < receive.len() && !socket.holds_input() => count,
            result => return self.read_else(conn, other, &result),
        };
        core.intake.bytes += count as u64;
        connection.heard(core.now.monotonic_ms);
        core.output.enter_fast_path(conn, connection.sends_fast());
        let left = match connection.fast_message(&mut receive[..count]) {
            Ok((message, behind)) => {
                core.intake.messages += 1;
                app.on_message(core, conn, message);
                if behind.is_empty() { 0 } else { frames(app, core, conn, behind).len() }
            }
            Err(octets) => frames(app, core, conn, octets).len(),
        };
        if left > 0 || self.core.output.is_large() {
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
    /// written, or too much came of this input already, the rest is parked for a later tick.
    pub(crate) fn input(&mut self, conn: ConnId, octets: &mut [u8]) {
        self.core.enter_fast_path(conn);
        self.core.limit_input(conn);
        let left = frames(&mut self.app, &mut self.core, conn, octets);
        if !left.is_empty() {
            self.go_on(conn, left);
        }
    }

    #[cold]
    fn go_on(&mut self, conn: ConnId, mut octets: &mut [u8]) {
        for round in 1.. {
            self.flush_all();
            let high_water = self.core.config.high_water;
            let Some(entry) = self.core.table.get(conn).filter(|entry| entry.is_open()) else { return };
            if round == INPUT_ROUNDS || entry.outbound.backlog_len() > high_water {
                return self.core.park(conn.into(), octets);
            }
            self.core.enter_fast_path(conn);
            self.core.limit_input(conn);
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
                self.core.intake.bytes += *count as u64;
                let mut buffer = std::mem::take(&mut self.receive);
                self.input(conn, &mut buffer.as_mut()[..*count]);
                self.receive = buffer;
                self.core.resume_later(conn.into());
                self.flush_if_much();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready_any(conn, readiness),
            result => self.nothing_read(conn.into(), result),
        }
    }

    /// [`Self::ready`] while the input is paused: an open connection is written to, and what it sent is left in its socket until
    /// the first [`Self::resume`] after the pause.
    pub fn hold(&mut self, conn: ConnId, readiness: Readiness) {
        let Some(entry) = self.core.table.get_mut(conn) else { return };
        if !entry.is_open() {
            // Not `ready`: where a second caller has it, the compiler keeps it a call for each event of the loop.
            return self.ready_any(conn, readiness);
        }
        entry.inbound.note_fin(readiness.read_closed);
        if readiness.readable || readiness.read_closed {
            self.core.resume_later(conn.into());
        }
        self.ready_any(conn, Readiness { writable: readiness.writable, ..Readiness::default() });
    }

    /// [`Self::ready`] for a connection about which there is more to know.
    #[inline(never)]
    fn ready_any(&mut self, conn: ConnId, readiness: Readiness) {
        let Some(entry) = self.core.table.get_mut(conn) else { return };
        entry.inbound.note_fin(readiness.read_closed);
        let has_backlog = entry.outbound.has_backlog();
        let slot = conn.into();
        if readiness.writable && (has_backlog || self.sockets.owes_output(slot)) {
            self.flusher().backlog(slot);
        }
        if readiness.readable || readiness.read_closed {
            self.read_turn(slot);
        }
        self.flush_if_much();
    }
}

/// How often what came of one read is written before the rest of it waits for the next tick.
const INPUT_ROUNDS: u32 = 4;

/// Octets of a connection that may be open. The table is asked for it again after each callback, which may have ended it.
/// Returns the octets that are left when so much is queued that it must be written first; see [`Reactor::input`].
#[inline(never)]
fn frames<'b, A: Application>(
    app: &mut A,
    core: &mut Core,
    conn: ConnId,
    mut octets: &'b mut [u8],
) -> &'b mut [u8] {
    let now = core.now.monotonic_ms;
    let mut is_fast = true;
    if let Some(connection) = core.table.connection_mut(conn) {
        connection.heard(now);
    }
    loop {
        if core.output.is_full() {
            break;
        }
        let Some(connection) = core.table.connection_mut(conn) else { return &mut [] };
        octets = match connection.fast_message(octets) {
            Ok((message, behind)) => {
                core.intake.messages += 1;
                app.on_message(core, conn, message);
                if behind.is_empty() && is_fast {
                    return behind;
                }
                behind
            }
            Err(rest) => {
                is_fast = false;
                let Some(behind) = any_event(app, core, conn, rest) else {
                    octets = &mut [];
                    break;
                };
                behind
            }
        };
    }
    core.note_unfinished(conn.into());
    octets
}

/// One event of any kind; returns what is behind it. `None`: it was the last one.
#[inline(never)]
fn any_event<'b, A: Application>(
    app: &mut A,
    core: &mut Core,
    conn: ConnId,
    octets: &'b mut [u8],
) -> Option<&'b mut [u8]> {
    let slot = conn.into();
    let mut input = Input::new(octets);
    // What the protocol answers is queued.
    let arrived = core.queue(conn, |connection, out| connection.arrived(&mut input, out))?;
    core.enter_fast_path(conn);
    match arrived {
        Ok(Some(Arrived::Message(kind, Content::Borrowed(payload)))) => {
            core.intake.messages += 1;
            app.on_message(core, conn, Message { kind, payload });
        }
        Ok(Some(Arrived::Message(kind, Content::Assembled(payload)))) => {
            core.intake.messages += 1;
            app.on_owned(core, conn, OwnedMessage::new(kind, payload));
        }
        Ok(Some(Arrived::Chunk(kind, mut payload, is_last))) => {
            core.intake.messages += u64::from(is_last);
            app.on_chunk(core, conn, Chunk { kind, payload: payload.as_mut_bytes(), is_last });
        }
        Ok(Some(Arrived::Ping(_))) => {}
        // The next Ping is due earlier than the end of the wait for this Pong.
        Ok(Some(Arrived::Pong(_))) => core.arm(slot),
        Ok(Some(Arrived::Close(frame))) => {
            core.finish(slot, CloseReason::Peer(frame), Ending::HalfClose);
            return None;
        }
        Ok(None) => {
            if !input.is_empty() {
                core.park(slot, input.rest());
            }
            return None;
        }
        Err(error) => {
            core.fail(slot, error);
            return None;
        }
    }
    Some(input.take_rest())
}
