//! One TLS connection: records in, octets out, and the opposite.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, ProtocolVersion};

use super::config::{Shared, take_server_name};
use super::figures::Failure;
use super::in_place::Opened;
use super::rest::Rest;
use crate::app::{ClientCertificate, Security};
use crate::reactor::{Handshake, Socket};

/// The most that is kept of records that have not arrived whole: one record with its overhead (RFC 8446 5.2, RFC 5246 6.2.3).
const MAX_RECORD: usize = 18_437;
/// The most that is kept of a handshake whose messages have not arrived whole: a chain of certificates may be long.
const MAX_HANDSHAKE: usize = 80 * 1024;
/// Octets that one read of the handshake takes.
const HANDSHAKE_READ: usize = 16 * 1024;
/// Records are decrypted in the reader's buffer where that takes two of them.
const MIN_IN_PLACE: usize = 2 * MAX_RECORD;
/// Octets that are read at once at most where the reader's buffer is shorter than that.
const ASIDE: usize = 64 * 1024;
/// What records add to the octets in a short reader's buffer, at most: more is read at once than fits, by this.
const READ_OVERHEAD: usize = 1024;
/// Octets that are encrypted and sent at once: 64 KiB with their frame header need one system call.
const MAX_SEND: usize = 65 * 1024;
/// What encrypting adds to [`MAX_SEND`] octets at most, in as many records as that are.
const SEND_OVERHEAD: usize = 1024;
/// The first octet of TLS: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;
/// A record of its own: the fatal alert `access_denied` (RFC 8446 6.2).
const TURNED_AWAY: &[u8] = &[21, 3, 3, 0, 2, 2, 49];
/// The answer to a request without TLS.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 60\r\n\
Connection: close\r\n\r\nthis port speaks TLS: use https:// or wss:// in the address\n";

thread_local! {
    /// Where records are put together and taken apart; nothing stays in it.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing has arrived.
    New,
    Handshake,
    Open,
    /// The peer broke the protocol, and was told; what it sends is read and discarded.
    Failed,
}

/// The state of one TLS connection. Between messages it keeps nothing but what rustls keeps.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
pub(super) struct Session {
    tls: UnbufferedServerConnection,
    shared: Arc<Shared>,
    stage: Stage,
    /// The socket may have more than the last read took.
    is_ahead: bool,
    /// `cipher` may begin with a whole record.
    is_unprocessed: bool,
    /// The peer sends no more: `close_notify` or FIN.
    is_ended: bool,
    /// The reader knows of it.
    is_end_told: bool,
    /// The first octet of the next write is encrypted already, in `owed`.
    is_pledged: bool,
    /// FIN follows once nothing is owed.
    is_closing: bool,
    has_sent_fin: bool,
    /// Octets of records that have not arrived whole.
    cipher: Vec<u8>,
    /// Decrypted octets that did not fit into the reader's buffer.
    plain: Vec<u8>,
    /// Encrypted octets that the socket did not take.
    owed: Vec<u8>,
    server_name: Option<Box<str>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stage", &self.stage)
            .field("cipher", &self.cipher.len())
            .field("plain", &self.plain.len())
            .field("owed", &self.owed.len())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(shared.current())?,
            shared: Arc::clone(shared),
            stage: Stage::New,
            is_ahead: false,
            is_unprocessed: false,
            is_ended: false,
            is_end_told: false,
            is_pledged: false,
            is_closing: false,
            has_sent_fin: false,
            cipher: Vec::new(),
            plain: Vec::new(),
            owed: Vec::new(),
            server_name: None,
        })
    }

    pub(super) fn progress(&self) -> Handshake {
        match self.stage {
            Stage::New | Stage::Handshake => Handshake::UnderWay,
            Stage::Open => Handshake::Done,
            Stage::Failed => Handshake::Failed,
        }
    }

    fn is_in_handshake(&self) -> bool {
        self.progress() == Handshake::UnderWay
    }

    pub(super) fn security(&self) -> Option<Security> {
        let client = self.tls.peer_certificates().and_then(|chain| chain.first());
        Some(Security {
            version: match self.tls.protocol_version()? {
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher_suite: self.tls.negotiated_cipher_suite()?.suite().as_str().unwrap_or_default(),
            server_name: self.server_name.clone(),
            client: client
                .map(|der| ClientCertificate { subject: super::names::subject(der), der: der.to_vec() }),
        })
    }

    // ---- in

    pub(super) fn holds_input(&self) -> bool {
        let has_end = self.is_ended && !self.is_end_told;
        self.stage != Stage::Failed
            && (self.is_ahead || self.is_unprocessed || !self.plain.is_empty() || has_end)
    }

    pub(super) fn read<S: Socket>(&mut self, socket: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stage == Stage::Failed {
            return socket.read(buffer);
        }
        let was_in_handshake = self.is_in_handshake();
        if was_in_handshake {
            self.handshake(socket)?;
        }
        if !self.plain.is_empty() {
            return Ok(self.deliver(buffer));
        }
        if self.is_ended {
            return Ok(self.tell_end());
        }
        if was_in_handshake && !self.is_unprocessed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if buffer.len() >= MIN_IN_PLACE.max(self.cipher.len() + MAX_RECORD) {
            return self.read_records(socket, buffer, None);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let most = (buffer.len() + READ_OVERHEAD).clamp(MAX_RECORD, ASIDE) + self.cipher.len();
            if scratch.len() < most {
                scratch.resize(most, 0);
            }
            self.read_records(socket, &mut scratch[..most], Some(buffer))
        })
    }

    /// The end of what the peer sends, as a read shows it.
    fn tell_end(&mut self) -> usize {
        self.is_end_told = true;
        0
    }

    /// Hands over what did not fit before.
    fn deliver(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.plain.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        if count == self.plain.len() {
            self.plain = Vec::new();
        } else {
            self.plain.drain(..count);
        }
        count
    }

    /// One read of the socket, and the records that came of it.
    fn read_records<S: Socket>(
        &mut self,
        socket: &mut S,
        work: &mut [u8],
        target: Option<&mut [u8]>,
    ) -> io::Result<usize> {
        let mut end = self.cipher.len();
        work[..end].copy_from_slice(&self.cipher);
        if !std::mem::take(&mut self.is_unprocessed) {
            let room = work.len() - end;
            let count = socket.read(&mut work[end..]);
            self.is_ahead = count.as_ref().is_ok_and(|count| *count == room) || socket.holds_input();
            match count? {
                0 => {
                    self.is_ended = true;
                    return Ok(self.tell_end());
                }
                count => end += count,
            }
        }
        let Decrypted { at, count, failure } = self.decrypt(&mut work[..end], target);
        self.keep(&work[at..end]);
        if let Some(error) = failure {
            return Err(self.fail(socket, &error));
        }
        if !self.is_unprocessed && self.cipher.len() > MAX_RECORD {
            return Err(self.fail(socket, &rustls::Error::General("a record is too long".into())));
        }
        // An answer to the records themselves, such as new keys.
        self.flush_owed(socket)?;
        match count {
            0 if self.is_ended => Ok(self.tell_end()),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Keeps what has not arrived whole, or what there was no room for.
    fn keep(&mut self, left: &[u8]) {
        self.cipher.clear();
        if left.is_empty() {
            self.cipher = Vec::new();
        } else {
            self.cipher.extend_from_slice(left);
        }
        self.is_unprocessed = !left.is_empty() && !self.plain.is_empty();
    }

    /// Decrypts the records in `work`, to `target` or else to the front of `work`, where plaintext never reaches records that are
    /// not decrypted. What `target` does not take is kept in `plain`, and the records behind it are left.
    fn decrypt(&mut self, work: &mut [u8], mut target: Option<&mut [u8]>) -> Decrypted {
        let (mut at, mut count) = (0, 0);
        loop {
            Opened::forget();
            let rest = &mut work[at..];
            let (base, len) = (rest.as_ptr().addr(), rest.len());
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(rest);
            let mut opened = Ok(None);
            let mut is_last = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    opened = Opened::next(&mut traffic, base, len);
                }
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, &mut self.owed),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => self.is_ended = true,
                Ok(_) => is_last = true,
                Err(error) => opened = Err(error),
            }
            let failure = match opened {
                Ok(Some(opened)) => {
                    count += self.take_in(work, at, count, (opened, target.as_deref_mut()));
                    is_last = !self.plain.is_empty();
                    None
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            at += discard;
            if is_last || failure.is_some() {
                return Decrypted { at, count, failure };
            }
        }
    }

    /// Moves the plaintext of the record at `at` behind the `count` octets that were moved before. Returns how many octets
    /// found room.
    fn take_in(
        &mut self,
        work: &mut [u8],
        at: usize,
        count: usize,
        (opened, target): (Opened, Option<&mut [u8]>),
    ) -> usize {
        match (&opened, target) {
            (Opened::At(range), None) => {
                work.copy_within(at + range.start..at + range.end, count);
                range.len()
            }
            (Opened::Copied(octets), None) => {
                work[count..count + octets.len()].copy_from_slice(octets);
                octets.len()
            }
            (_, Some(target)) => {
                let octets = match &opened {
                    Opened::At(range) => &work[at..][range.clone()],
                    Opened::Copied(octets) => octets,
                };
                let room = &mut target[count..];
                let (fits, more) = octets.split_at(octets.len().min(room.len()));
                room[..fits.len()].copy_from_slice(fits);
                self.plain.extend_from_slice(more);
                fits.len()
            }
        }
    }

    /// A step of the handshake: one read, and what it is answered.
    fn handshake<S: Socket>(&mut self, socket: &mut S) -> io::Result<()> {
        let count = SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(scratch.len().max(HANDSHAKE_READ), 0);
            let count = socket.read(&mut scratch[..HANDSHAKE_READ])?;
            self.is_ahead = count == HANDSHAKE_READ || socket.holds_input();
            self.cipher.extend_from_slice(&scratch[..count]);
            io::Result::Ok(count)
        })?;
        if count == 0 {
            self.is_ended = true;
            self.shared.figures.failed(Failure::Aborted);
            self.stage = Stage::Failed;
            return Ok(());
        }
        if self.stage == Stage::New {
            self.stage = Stage::Handshake;
            if self.cipher[0] != HANDSHAKE_RECORD && self.cipher[0].is_ascii_alphabetic() {
                return Err(self.refuse_plain(socket));
            }
        }
        let mut work = std::mem::take(&mut self.cipher);
        let Decrypted { at, failure, .. } = self.decrypt(&mut work, Some(&mut []));
        if let Some(name) = take_server_name() {
            self.server_name = Some(name);
        }
        self.keep(&work[at..]);
        if let Some(error) = failure {
            return Err(self.fail(socket, &error));
        }
        if self.cipher.len() > MAX_HANDSHAKE {
            return Err(self.fail(socket, &rustls::Error::General("the handshake is too long".into())));
        }
        self.flush_owed(socket)?;
        if !self.tls.is_handshaking() {
            self.stage = Stage::Open;
            self.is_unprocessed = !self.cipher.is_empty();
            let is_resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            self.shared
                .figures
                .completed(self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3), is_resumed);
        }
        Ok(())
    }

    /// Answers a request that came without TLS in kind.
    #[cold]
    fn refuse_plain<S: Socket>(&mut self, socket: &mut S) -> io::Error {
        self.stage = Stage::Failed;
        self.cipher = Vec::new();
        self.shared.figures.failed(Failure::Plain);
        tracing::debug!("a request came without TLS to a port that speaks TLS");
        self.owed.extend_from_slice(NOT_TLS);
        self.flush_owed(socket).err().unwrap_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The peer broke the protocol: it is told by an alert.
    #[cold]
    fn fail<S: Socket>(&mut self, socket: &mut S, error: &rustls::Error) -> io::Error {
        tracing::debug!(%error, "a TLS connection failed");
        if self.is_in_handshake() {
            self.shared.figures.failed(Failure::of(error));
        }
        self.stage = Stage::Failed;
        // rustls has queued an alert, perhaps behind messages of the handshake. To be asked for more it would have to look at the
        // same octets again, and fail again.
        while self.tls.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(data)) =
                self.tls.process_tls_records(&mut self.cipher).state
        {
            append(data, &mut self.owed);
        }
        (self.cipher, self.plain) = (Vec::new(), Vec::new());
        self.flush_owed(socket)
            .err()
            .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidData, error.clone()))
    }

    // ---- out

    pub(super) fn owes_output(&self) -> bool {
        !self.owed.is_empty() || self.is_closing && !self.has_sent_fin
    }

    /// Sends what is owed, as far as the socket takes it; then FIN, where that is to follow.
    pub(super) fn flush_owed<S: Socket>(&mut self, socket: &mut S) -> io::Result<()> {
        if !self.owed.is_empty() {
            match send(socket, &self.owed)? {
                count if count == self.owed.len() => self.owed = Vec::new(),
                count => {
                    self.owed.drain(..count);
                    return Ok(());
                }
            }
        }
        if self.is_closing && !self.has_sent_fin {
            self.has_sent_fin = true;
            socket.shutdown_write()?;
        }
        Ok(())
    }

    /// Encrypts and sends. Where the socket does not take it all, the last octet counts as not written, though it is encrypted:
    /// what waits keeps its age and its place in the queue of the loop, and is written again when the socket takes octets.
    pub(super) fn write<S: Socket>(&mut self, socket: &mut S, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stage {
            Stage::Open => {}
            // The client is turned away before it has said anything. It could read no answer, but it can read why there is none.
            Stage::New => {
                self.stage = Stage::Failed;
                self.owed.extend_from_slice(TURNED_AWAY);
                self.flush_owed(socket)?;
                return Ok(slices.iter().map(|slice| slice.len()).sum());
            }
            // There is nobody yet who could read it.
            Stage::Handshake => return Ok(slices.iter().map(|slice| slice.len()).sum()),
            Stage::Failed => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        self.flush_owed(socket)?;
        if !self.owed.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(scratch.len().max(MAX_SEND + SEND_OVERHEAD), 0);
            self.write_records(socket, slices, scratch)
        })
    }

    fn write_records<S: Socket>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        let mut done = 0;
        let mut rest = Rest::new(slices);
        if std::mem::take(&mut self.is_pledged) {
            done += rest.skip_first();
        }
        while self.owed.is_empty() && !rest.is_empty() {
            let (mut taken, mut len) = (0, 0);
            while taken < MAX_SEND
                && let Some(piece) = rest.next(MAX_SEND - taken)
            {
                taken += piece.len();
                len += self.encrypt(&piece, &mut scratch[len..])?;
            }
            let sent = send(socket, &scratch[..len])?;
            done += taken;
            if sent < len {
                self.owed.extend_from_slice(&scratch[sent..len]);
            }
        }
        if !self.owed.is_empty() {
            self.is_pledged = true;
            done -= 1;
        }
        if done == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(done) }
    }

    /// Encrypts up to [`MAX_SEND`] octets.
    fn encrypt(&mut self, octets: &[u8], target: &mut [u8]) -> io::Result<usize> {
        self.with_writer(target, |traffic, target| traffic.encrypt(octets, target))
    }

    /// Writes to `target` what rustls has to send itself, and behind it what `write` does.
    fn with_writer(
        &mut self,
        target: &mut [u8],
        mut write: impl FnMut(&mut Writer<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let mut at = 0;
        loop {
            Opened::forget();
            let (base, len) = (self.cipher.as_ptr().addr(), self.cipher.len());
            // Always with the octets that are kept: rustls refers to them.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.cipher);
            let (mut written, mut opened) = (None, None);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    written = Some(write(&mut traffic, &mut target[at..]).map_err(io::Error::other)?);
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    at += data.encode(&mut target[at..]).map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.is_ended = true,
                ConnectionState::ReadTraffic(mut traffic) => {
                    opened = Opened::next(&mut traffic, base, len).map_err(io::Error::other)?;
                }
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            match opened {
                Some(Opened::At(range)) => self.plain.extend_from_slice(&self.cipher[range]),
                Some(Opened::Copied(octets)) => self.plain.extend_from_slice(&octets),
                None => {}
            }
            self.cipher.drain(..discard);
            if let Some(count) = written {
                return Ok(at + count);
            }
        }
    }

    /// `close_notify`, and FIN once the socket has taken it (RFC 8446 6.1).
    pub(super) fn shutdown_write<S: Socket>(&mut self, socket: &mut S) -> io::Result<()> {
        self.queue_close_notify();
        self.is_closing = true;
        self.flush_owed(socket)
    }

    fn queue_close_notify(&mut self) {
        if self.stage != Stage::Open || self.is_closing {
            return;
        }
        let mut alert = [0; SEND_OVERHEAD];
        // A connection that cannot be told ends without a word.
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is not general in its lifetime"
        )]
        let written = self.with_writer(&mut alert, |traffic, target| traffic.queue_close_notify(target));
        if let Ok(len) = written {
            self.owed.extend_from_slice(&alert[..len]);
        }
    }

    /// The connection ends at once; the peer is told if the socket takes it.
    pub(super) fn abandon<S: Socket>(&mut self, socket: &mut S) {
        if self.owed.is_empty() && !self.is_closing {
            self.queue_close_notify();
            // It ends, whether the peer hears of it or not.
            let _ = self.flush_owed(socket);
        }
    }
}

/// What came of some records.
struct Decrypted {
    /// Where those begin that are left.
    at: usize,
    /// Octets that were decrypted.
    count: usize,
    failure: Option<rustls::Error>,
}

type Writer<'c> = WriteTraffic<'c, ServerConnectionData>;

/// Appends a message that rustls has to send.
fn append(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        let encoded = data.encode(&mut out[start..]);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
    }
}

/// What a socket takes; a full one takes 0 octets.
fn send<S: Socket>(socket: &mut S, octets: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(octets) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
