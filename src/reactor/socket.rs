//! What the loop wants of a socket, and what it relies on.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use super::slot::Slot;
use crate::app::Security;

/// A non-blocking stream socket whose events are edge-triggered.
///
/// The loop relies on four promises:
///
/// 1. **Short reads.** [`Self::read`] that returns fewer octets than the buffer takes has drained the socket: the next
///    octets, or the FIN, come with an event. A socket that still has octets of its own (decrypted ones, say) returns
///    `true` from [`Self::holds_input`] until they are read; then the loop reads again in the next tick, also after a read
///    that was `WouldBlock`.
/// 2. **Full writes.** [`Self::write`] and [`Self::write_vectored`] that return fewer octets than they were given, or
///    `WouldBlock`, are followed by an event once the socket takes octets again. What was reported as written is the
///    socket's business and never given to it again.
/// 3. **Owed output.** A socket that has reported octets as written and could not pass them on (encrypted ones, say), or
///    has octets of its own to send, returns `true` from [`Self::owes_output`], and an event comes once it can go on. Then
///    the loop calls [`Self::write_owed`]. It sends no FIN and does not close the socket in an orderly end before nothing
///    is owed or the deadline has passed.
/// 4. **Ends.** A read of 0 octets is the peer's FIN. An error other than `WouldBlock`, `Interrupted` and `InvalidData` is the
///    end of the connection in both directions. `InvalidData`: the peer broke the protocol of the socket itself, which has
///    told it so; what it sends from now on is read as it comes, to be discarded, until its FIN.
///
/// Sockets of the operating system keep the first two and the last by themselves, and need nothing of the third.
pub trait Socket {
    /// As [`io::Read::read`], with the promises above.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`io::Write::write`], with the promises above.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// As [`io::Write::write_vectored`], with the promises above.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends FIN. Nothing is owed.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether a read would return octets although no event announces them.
    #[inline]
    fn holds_input(&self) -> bool {
        false
    }

    /// Whether octets that were reported as written, or are the socket's own, have not been passed on.
    #[inline]
    fn owes_output(&self) -> bool {
        false
    }

    /// For whom the peer speaks, where it has said so before its first octets of HTTP, as with the PROXY protocol. Asked once, with
    /// these octets.
    #[inline]
    fn introduced(&self) -> Option<SocketAddr> {
        None
    }

    /// How far the handshake of the socket's own protocol is. While it is under way, the next read takes several of the turns
    /// that connections before their upgrade have in one tick.
    fn handshake(&self) -> Handshake {
        Handshake::Done
    }

    /// What TLS says about the connection; `None` without TLS, or before the handshake is complete.
    fn security(&self) -> Option<Security> {
        None
    }

    /// Passes on what is owed, as far as that is possible without blocking.
    ///
    /// # Errors
    /// Those of [`Self::write`], but for `WouldBlock`.
    #[inline]
    fn write_owed(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far a handshake below HTTP is, such as that of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It is yet to come, or the next step of it.
    UnderWay,
    /// It is complete, or there is none.
    Done,
    /// It failed: nothing comes of the connection.
    Failed,
}

/// What an event says about a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Octets, a FIN or an error can be read.
    pub readable: bool,
    /// The socket takes octets again.
    pub writable: bool,
    /// The peer's FIN has arrived, perhaps behind octets.
    pub read_closed: bool,
}

/// The sockets of all connections.
#[derive(Debug)]
pub(super) struct Sockets<S>(Vec<Option<S>>);

impl<S: Socket> Sockets<S> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn insert(&mut self, slot: Slot, socket: S) {
        let at = slot.index();
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        debug_assert!(self.0[at].is_none(), "two sockets for one connection");
        self.0[at] = Some(socket);
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut S> {
        self.0.get_mut(slot.index())?.as_mut()
    }

    /// Closes a socket.
    pub(super) fn close(&mut self, slot: Slot) {
        self.0[slot.index()] = None;
    }

    /// Writes what a socket takes of `bytes`; 0 octets when it is full.
    #[inline]
    pub(super) fn write(&mut self, slot: Slot, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.get_mut(slot).ok_or(io::ErrorKind::NotConnected)?;
        retry(|| socket.write(bytes))
    }

    /// As [`Self::write`], for octets that lie in several places.
    pub(super) fn write_vectored(&mut self, slot: Slot, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.get_mut(slot).ok_or(io::ErrorKind::NotConnected)?;
        retry(|| socket.write_vectored(slices))
    }

    /// Whether a socket has not passed on everything.
    #[inline]
    pub(super) fn owes_output(&mut self, slot: Slot) -> bool {
        self.get_mut(slot).is_some_and(|socket| socket.owes_output())
    }

    /// Whether there is a socket for exactly these connections.
    pub(super) fn check(&self, slots: impl Iterator<Item = Slot>) {
        let mut count = 0;
        for slot in slots {
            assert!(self.0[slot.index()].is_some(), "{slot:?} has no socket");
            count += 1;
        }
        assert_eq!(self.0.iter().flatten().count(), count, "a socket without a connection");
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

/// A full socket takes 0 octets; an interrupted call is made again.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
