//! One connection's turn: it reads, passes messages to the workload, and writes.

use std::io;

use switchboard::proto::{CloseCode, Connection, Event, Input, MaskingKeys};

use super::errors::{explain_answer, explain_connect, explain_lost};
use super::member::{ANSWERED, Member, Stage};
use super::{Fleet, READS_PER_TICK, millis};
use crate::clock::Nanos;
use crate::output::record::Record;
use crate::run::workload::{End, Step, Turn, Workload};

/// A connection that reads slowly waits until it may read this many bytes.
const SLOW_READ: usize = 16;

impl<W: Workload> Fleet<'_, W> {
    /// Serves a connection that may have something to read, room to write, or messages due.
    #[inline]
    pub(super) fn serve(&mut self, place: u32, reads: bool, is_ended: bool) {
        let Some(member) = self.slots.get_mut(place as usize).and_then(|slot| slot.member.as_mut()) else {
            return;
        };
        let is_flushed = member.is_flushed();
        if self.routes.len() > 1 {
            self.record.serving(member.server.into());
        }
        let flushed = if is_flushed { Ok(()) } else { self.flush(place) };
        let served = flushed
            .and_then(|()| if reads { self.read(place, is_ended) } else { Ok(()) })
            .and_then(|()| self.write(place));
        if let Err(end) = served {
            self.end_served(place, &end);
        }
        if self.routes.len() > 1 {
            self.record.served();
        }
    }

    /// Writes the backlog of a connection.
    #[cold]
    fn flush(&mut self, place: u32) -> Result<(), End> {
        let Some(member) = &mut self.slots[place as usize].member else { return Ok(()) };
        member.flush(&mut self.buffers).map_err(|error| lost(&error))?;
        if member.is_flushed() {
            member.connected(self.shared.clock.now());
        }
        Ok(())
    }

    fn read(&mut self, place: u32, is_ended: bool) -> Result<(), End> {
        for _ in 0..READS_PER_TICK {
            let Some(member) = &mut self.slots[place as usize].member else { return Ok(()) };
            let limit = match &mut member.throttle {
                None => self.input.len(),
                Some(throttle) => throttle.allowance(self.shared.clock.now()).min(self.input.len()),
            };
            if member.throttle.is_some() && limit < SLOW_READ {
                self.slowed.push(place);
                return Ok(());
            }
            let count = match member.read(&mut self.input[..limit]) {
                Ok(Some(0)) => return Err(ended(member)),
                Ok(Some(count)) => count,
                Ok(None) => return Ok(()),
                Err(error) => return unreadable(member, &error),
            };
            self.record.count.octets_in += count as u64;
            let is_slow = match &mut member.throttle {
                None => false,
                Some(throttle) => {
                    throttle.took(count);
                    self.record.count.slow_octets += count as u64;
                    true
                }
            };
            let mut input = std::mem::take(&mut self.input);
            let taken = self.take_in(place, &mut input[..count]);
            self.input = input;
            taken?;
            if is_slow {
                self.slowed.push(place);
                return Ok(());
            }
            // A short read has emptied the socket; later octets cause an event of their own (epoll(7), question 9).
            if count < self.input.len() && !is_ended {
                return Ok(());
            }
        }
        self.again.push(place);
        Ok(())
    }

    /// Takes in the octets of one read, encrypted or not.
    #[inline]
    fn take_in(&mut self, place: u32, octets: &mut [u8]) -> Result<(), End> {
        let now = self.shared.clock.now();
        let Some(member) = &mut self.slots[place as usize].member else { return Ok(()) };
        let Some(tls) = &mut member.tls else { return self.receive(place, octets, now) };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let received = tls.receive(octets, &mut plain).map_err(|error| End::Failed(format!("TLS: {error}")));
        if let Stage::Opening(opening) = &mut member.stage
            && !tls.is_handshaking()
        {
            opening.steps.secured.get_or_insert(now);
        }
        let passed = self.receive(place, &mut plain, now);
        self.plain = plain;
        passed?;
        // Sends the alert that names the reason.
        received.inspect_err(|_| drop(self.write(place)))
    }

    #[inline]
    fn receive(&mut self, place: u32, octets: &mut [u8], now: Nanos) -> Result<(), End> {
        if let Some(Member { stage: Stage::Open(_), .. }) = &self.slots[place as usize].member {
            return self.pass_messages(place, octets, now);
        }
        match self.read_response(place, octets, now)? {
            Some(mut rest) => self.pass_messages(place, &mut rest, now),
            None => Ok(()),
        }
    }

    /// Reads more of the response to the opening handshake. Returns the octets after the response once it is complete.
    fn read_response(&mut self, place: u32, octets: &[u8], now: Nanos) -> Result<Option<Vec<u8>>, End> {
        let slot = &mut self.slots[place as usize];
        let Some(member) = &mut slot.member else { return Ok(None) };
        let Stage::Opening(opening) = &mut member.stage else { return Ok(None) };
        opening.received.extend_from_slice(octets);
        let limits = &self.config.limits;
        let request = &self.routes[member.server as usize].request;
        let agreement = match opening.handshake.receive(&opening.received, request, limits) {
            Ok(None) => return Ok(None),
            Ok(Some(agreement)) => agreement,
            Err(error) => return Err(End::Failed(explain_answer(error))),
        };
        let rest = opening.received.split_off(agreement.head_len);
        self.record.opened(opening.steps, now);
        let keys = MaskingKeys::Seeded(self.plan.seed.wrapping_add(u64::from(place) << 32));
        let mut connection = Connection::client(&self.config, keys, millis(now));
        if let Some(deflate) = agreement.deflate {
            connection = connection.with_deflate(deflate, &self.pool);
        }
        member.stage = Stage::Open(connection);
        self.dialer.handshake_ended();
        let subprotocol = agreement.subprotocol.as_deref();
        self.workload.opened(&mut slot.lane, subprotocol, now, &mut self.record).map_err(End::Failed)?;
        Ok(Some(rest))
    }

    /// Passes every message to the workload.
    #[inline]
    fn pass_messages(&mut self, place: u32, octets: &mut [u8], now: Nanos) -> Result<(), End> {
        let slot = &mut self.slots[place as usize];
        let Some(member) = &mut slot.member else { return Ok(()) };
        let Stage::Open(connection) = &mut member.stage else { return Ok(()) };
        connection.heard(millis(now));
        let mut input = Input::new(octets);
        let passed = loop {
            match connection.next_event(&mut input, &mut self.out) {
                Ok(Some(Event::Message(message))) => {
                    self.workload.receive(&mut slot.lane, &message, now, &mut self.record);
                    if member.first_write != ANSWERED {
                        note_first_answer(&mut member.first_write, now, &mut self.record);
                    }
                }
                // The protocol core has answered the Ping.
                Ok(Some(Event::Ping(_))) => self.record.count.pings += 1,
                // The connection is not configured to deliver chunks.
                Ok(Some(Event::Pong(_) | Event::Chunk(_))) => {}
                Ok(Some(Event::Close(_))) if member.is_closing => {
                    member.is_closed = true;
                    self.record.count.closed += 1;
                }
                Ok(Some(Event::Close(close))) => {
                    break Err(End::Failed(format!("closed early by the server with {}", close.code)));
                }
                Ok(None) => break Ok(()),
                Err(error) => {
                    connection.fail(error, millis(now), &mut self.out);
                    break Err(End::Failed(format!("protocol error of the server: {error}")));
                }
            }
        };
        self.workload.read_ended(&mut slot.lane, now, &mut self.record);
        passed
    }

    /// Composes and writes the messages that are due: one write, or several if one does not hold them.
    #[inline]
    pub(super) fn write(&mut self, place: u32) -> Result<(), End> {
        let sends = self.sends();
        let slot = &mut self.slots[place as usize];
        let Some(member) = &mut slot.member else { return Ok(()) };
        loop {
            let mut step = Step::Rest;
            if let Stage::Open(connection) = &mut member.stage
                && member.backlog.is_none()
                && !member.is_closing
            {
                let was_blocked = std::mem::take(&mut member.was_blocked);
                let now = self.shared.clock.now();
                let (record, out) = (&mut self.record, &mut self.out);
                let mut turn = Turn { now, sends, was_blocked, record, out };
                step = self.workload.compose(&mut slot.lane, connection, &mut turn);
                if member.first_write == 0 && !self.out.is_empty() {
                    member.first_write = now;
                }
                if step == Step::Close {
                    connection.close(CloseCode::NORMAL, "", millis(now), &mut self.out);
                    member.is_closing = true;
                }
            }
            let written = member.send(&mut self.out, &mut self.wire, &mut self.buffers);
            self.record.count.octets_out += written.map_err(|error| lost(&error))?;
            if step != Step::More || !member.is_flushed() {
                return Ok(());
            }
        }
    }
}

/// Records the first answer of a connection that has sent something.
#[cold]
fn note_first_answer(first_write: &mut Nanos, now: Nanos, record: &mut Record) {
    if *first_write != 0 {
        record.first_answer.saturating_record(now.saturating_sub(*first_write));
        *first_write = ANSWERED;
    }
}

/// How a connection ended whose TCP connection the server ended.
fn ended(member: &Member) -> End {
    match member.stage {
        _ if member.is_closed => End::Clean,
        Stage::Opening(_) => End::Failed("opening handshake: connection closed without an answer".to_owned()),
        Stage::Open(_) if member.is_closing => {
            End::Failed("closing handshake: connection closed without a Close".to_owned())
        }
        Stage::Open(_) => End::Failed("closed early by the server without a Close".to_owned()),
    }
}

/// How a connection ended whose read failed. While TCP connects, the error may only mean that it still does.
fn unreadable(member: &Member, error: &io::Error) -> Result<(), End> {
    match &member.stage {
        Stage::Opening(_) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        Stage::Opening(opening) if opening.received.is_empty() => Err(End::Failed(explain_connect(error))),
        _ if member.is_closed => Err(End::Clean),
        _ => Err(lost(error)),
    }
}

fn lost(error: &io::Error) -> End {
    End::Failed(explain_lost(error))
}
