//! One connection's turn: what it reads, what it makes of it, what it writes.

use std::io;

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::{CloseCode, Connection, Event, Input, MaskingKeys};

use super::member::{Member, Stage};
use super::scenario::{End, Scenario, Step, Turn};
use super::{Fleet, READS_PER_TICK, millis};
use crate::clock::Nanos;

/// Least bytes worth a read of a connection that reads slowly.
const SLOW_READ: usize = 16;

impl<S: Scenario> Fleet<'_, S> {
    /// Octets of this connection may have come, or room for octets.
    #[inline]
    pub(super) fn serve(&mut self, place: u32, reads: bool, is_ended: bool) {
        let Some(member) = self.seats.get_mut(place as usize).and_then(|seat| seat.member.as_mut()) else {
            return;
        };
        let served = member
            .flush(&mut self.spares)
            .map_err(|error| lost(&error))
            .and_then(|()| if reads { self.read(place, is_ended) } else { Ok(()) })
            .and_then(|()| self.write(place));
        if let Err(end) = served {
            self.end(place, &end);
        }
    }

    fn read(&mut self, place: u32, is_ended: bool) -> Result<(), End> {
        for _ in 0..READS_PER_TICK {
            let Some(member) = &mut self.seats[place as usize].member else { return Ok(()) };
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
            // A short read has emptied the socket; what comes later is an event of its own (epoll(7), question 9).
            if count < self.input.len() && !is_ended {
                return Ok(());
            }
        }
        self.again.push(place);
        Ok(())
    }

    /// Octets of one read, encrypted or not.
    #[inline]
    fn take_in(&mut self, place: u32, octets: &mut [u8]) -> Result<(), End> {
        let now = self.shared.clock.now();
        let Some(member) = &mut self.seats[place as usize].member else { return Ok(()) };
        let Some(tls) = &mut member.tls else { return self.understand(place, octets, now) };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let received = tls.receive(octets, &mut plain).map_err(|error| End::Failed(format!("TLS: {error}")));
        let understood = self.understand(place, &mut plain, now);
        self.plain = plain;
        understood?;
        // An alert that says why is still to be sent.
        received.inspect_err(|_| drop(self.write(place)))
    }

    #[inline]
    fn understand(&mut self, place: u32, octets: &mut [u8], now: Nanos) -> Result<(), End> {
        if let Some(Member { stage: Stage::Open(_), .. }) = &self.seats[place as usize].member {
            return self.digest(place, octets, now);
        }
        match self.answer(place, octets, now)? {
            Some(mut rest) => self.digest(place, &mut rest, now),
            None => Ok(()),
        }
    }

    /// Looks at more of the response to the opening handshake; gives what stands behind it.
    fn answer(&mut self, place: u32, octets: &[u8], now: Nanos) -> Result<Option<Vec<u8>>, End> {
        let seat = &mut self.seats[place as usize];
        let Some(member) = &mut seat.member else { return Ok(None) };
        let Stage::Opening(opening) = &mut member.stage else { return Ok(None) };
        opening.received.extend_from_slice(octets);
        let limits = &self.config.limits;
        let agreement = match opening.handshake.receive(&opening.received, &self.request, limits) {
            Ok(None) => return Ok(None),
            Ok(Some(agreement)) => agreement,
            Err(error) => return Err(End::Failed(format!("opening handshake: {error}"))),
        };
        let rest = opening.received.split_off(agreement.head_len);
        self.record.opened(opening.planned, opening.dialled, now);
        let keys = MaskingKeys::Seeded(self.plan.seed.wrapping_add(u64::from(place) << 32));
        let mut connection = Connection::client(&self.config, keys, millis(now));
        if let Some(deflate) = agreement.deflate {
            connection = connection.with_deflate(deflate, &self.pool);
        }
        member.stage = Stage::Open(connection);
        self.dialer.settled();
        let subprotocol = agreement.subprotocol.as_deref();
        self.scenario.opened(&mut seat.lane, subprotocol, now, &mut self.record).map_err(End::Failed)?;
        Ok(Some(rest))
    }

    /// Gives every message to the scenario.
    #[inline]
    fn digest(&mut self, place: u32, octets: &mut [u8], now: Nanos) -> Result<(), End> {
        let seat = &mut self.seats[place as usize];
        let Some(member) = &mut seat.member else { return Ok(()) };
        let Stage::Open(connection) = &mut member.stage else { return Ok(()) };
        connection.heard(millis(now));
        let mut input = Input::new(octets);
        let digested = loop {
            match connection.next_event(&mut input, &mut self.out) {
                Ok(Some(Event::Message(message))) => {
                    self.scenario.receive(&mut seat.lane, &message, now, &mut self.record);
                }
                // The core has answered it already.
                Ok(Some(Event::Ping(_))) => self.record.count.pings += 1,
                // Nobody asked for messages in chunks.
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
        self.scenario.settle(&mut seat.lane, now, &mut self.record);
        digested
    }

    /// One write, unless the messages that may go out are more than it holds.
    #[inline]
    pub(super) fn write(&mut self, place: u32) -> Result<(), End> {
        let sends = self.sends();
        let seat = &mut self.seats[place as usize];
        let Some(member) = &mut seat.member else { return Ok(()) };
        loop {
            let mut step = Step::Rest;
            if let Stage::Open(connection) = &mut member.stage
                && member.backlog.is_empty()
                && !member.is_closing
            {
                let was_blocked = std::mem::take(&mut member.was_blocked);
                let turn = Turn { now: self.shared.clock.now(), sends, was_blocked };
                let (lane, record) = (&mut seat.lane, &mut self.record);
                step = self.scenario.compose(lane, connection, turn, record, &mut self.out);
                if step == Step::Close {
                    connection.close(CloseCode::NORMAL, "", millis(turn.now), &mut self.out);
                    member.is_closing = true;
                }
            }
            let written = member.send(&mut self.out, &mut self.wire, &mut self.spares);
            self.record.count.octets_out += written.map_err(|error| lost(&error))?;
            if step != Step::More || !member.is_flushed() {
                return Ok(());
            }
        }
    }
}

/// Begins an opening handshake; the request is appended to `out`.
pub(super) fn start_handshake(
    request: &ClientRequest<'_>,
    nonces: &mut MaskingKeys,
    out: &mut Vec<u8>,
) -> ClientHandshake {
    let mut nonce = [0; 16];
    nonce.chunks_exact_mut(4).for_each(|part| part.copy_from_slice(&nonces.next_key()));
    ClientHandshake::start(request, nonce, out)
}

/// The server ended the TCP connection.
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

/// A read failed; while TCP connects, that may only mean that it still does.
fn unreadable(member: &Member, error: &io::Error) -> Result<(), End> {
    match &member.stage {
        Stage::Opening(_) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        Stage::Opening(opening) if opening.received.is_empty() => {
            Err(End::Failed(format!("connect: {}", error.kind())))
        }
        _ if member.is_closed => Err(End::Clean),
        _ => Err(lost(error)),
    }
}

pub(super) fn lost(error: &io::Error) -> End {
    End::Failed(format!("connection lost: {}", error.kind()))
}
