//! A client that sends exactly the bytes it is told to, and reads what comes back without any mercy.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{ACCEPT, CLOSE, FIN, KEY, PING, PONG, RSV1, SOON, TEXT, secs};

/// The head of an HTTP response.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) raw: String,
}

impl Head {
    fn parse(raw: &str) -> Self {
        let mut lines = raw.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "status line {status_line:?}");
        let status = status_line[9..12].parse().unwrap();
        let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("field {line:?}"));
            assert!(!line.contains(['\r', '\n', '\0']), "field {line:?}");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self { status, fields: fields.collect(), raw: raw.to_owned() }
    }

    /// The value of a field that may occur once at most.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice in {}", self.raw);
        value
    }

    /// Whether the field holds this token, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        let mut tokens = self.fields.iter().filter(|(n, _)| n == name).flat_map(|(_, v)| v.split(','));
        tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
    }
}

/// One frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// The message is compressed: only where the extension is agreed.
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self.payload.get(..2)?;
        Some(u16::from_be_bytes(code.try_into().unwrap()))
    }
}

/// Why there is nothing more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
    Timeout,
}

/// A masked frame; `first` is the first byte: FIN, RSV1-3, opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65536 => {
            out.push(0xFE);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xFF);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    masked(out, payload)
}

/// A masking-key and the masked payload behind a header of any kind.
pub(crate) fn masked(mut header: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    header.extend_from_slice(&key);
    header.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    header
}

pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

/// A good upgrade request; `extra` are whole lines with their CRLF.
pub(crate) fn upgrade_request(target: &str, extra: &str) -> String {
    upgrade_with(&format!("GET {target} HTTP/1.1"), &[], extra)
}

/// An upgrade request where some fields are replaced (or dropped, with an empty line) and others added.
pub(crate) fn upgrade_with(request_line: &str, replaced: &[(&str, &str)], extra: &str) -> String {
    let mut request = format!("{request_line}\r\n");
    let version = "Sec-WebSocket-Version: 13";
    let key = format!("Sec-WebSocket-Key: {KEY}");
    for line in ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade", &key, version] {
        let name = line.split(':').next().unwrap();
        let line = replaced.iter().find(|(n, _)| *n == name).map_or(line, |(_, line)| line);
        if !line.is_empty() {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    request + extra + "\r\n"
}

/// Sends the bytes on a connection of their own and returns the head of the answer; None if the server just closed.
#[track_caller]
pub(crate) fn head_of(addr: SocketAddr, request: &[u8]) -> (Client, Option<Head>) {
    let mut client = Client::connect(addr);
    client.send(request);
    let head = client.try_head(SOON).ok();
    (client, head)
}

/// One TCP connection to the server.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    inbox: Vec<u8>,
    /// permessage-deflate is agreed.
    is_compressed: bool,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, secs(10)).expect("connect");
        Self::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(secs(10))).unwrap();
        Self { stream, inbox: Vec::new(), is_compressed: false }
    }

    /// A connection of a Unix socket: the descriptor does as well.
    pub(crate) fn of_unix(stream: std::os::unix::net::UnixStream) -> Self {
        let stream = TcpStream::from(std::os::fd::OwnedFd::from(stream));
        stream.set_write_timeout(Some(secs(10))).unwrap();
        Self { stream, inbox: Vec::new(), is_compressed: false }
    }

    /// A WebSocket connection to `/`.
    #[track_caller]
    pub(crate) fn open(addr: SocketAddr) -> Self {
        Self::upgrade(addr, "/", "").0
    }

    /// A WebSocket connection with some more request fields, and what the server answered.
    #[track_caller]
    pub(crate) fn upgrade(addr: SocketAddr, target: &str, extra: &str) -> (Self, Head) {
        let mut client = Self::connect(addr);
        client.send(upgrade_request(target, extra).as_bytes());
        let head = client.head();
        assert_eq!(head.status, 101, "{}", head.raw);
        assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT), "{}", head.raw);
        client.is_compressed = head.field("sec-websocket-extensions").is_some();
        (client, head)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Sends to a server that may have had enough already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), End> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Timeout);
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut chunk = [0; 16384];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Fin),
                Ok(n) => {
                    self.inbox.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Timeout);
                }
                Err(_) => return Err(End::Reset),
            }
        }
    }

    pub(crate) fn try_head(&mut self, limit: Duration) -> Result<Head, End> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.inbox.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.inbox.drain(..at + 4).collect();
                return Ok(Head::parse(&String::from_utf8_lossy(&head)));
            }
            self.fill(deadline)?;
        }
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        self.try_head(SOON).unwrap_or_else(|end| panic!("no response head: {end:?}"))
    }

    /// A whole response: its head, and the body that Content-Length announces.
    #[track_caller]
    pub(crate) fn response(&mut self) -> (Head, Vec<u8>) {
        let head = self.head();
        let len = head.field("content-length").map_or(0, |len| len.parse().unwrap());
        let deadline = Instant::now() + SOON;
        while self.inbox.len() < len {
            self.fill(deadline).unwrap_or_else(|end| panic!("a body of {len} bytes is cut: {end:?}"));
        }
        (head, self.inbox.drain(..len).collect())
    }

    /// The next frame. A ping that the server sends by itself is answered and passed over.
    pub(crate) fn try_frame(&mut self, limit: Duration) -> Result<Frame, End> {
        let deadline = Instant::now() + limit;
        loop {
            match self.parse_frame() {
                Some(ping) if ping.opcode == PING => {
                    let _ = self.try_send(&frame(FIN | PONG, &ping.payload));
                }
                Some(frame) => return Ok(frame),
                None => self.fill(deadline)?,
            }
        }
    }

    /// A frame that has been read already.
    pub(crate) fn parse_frame(&mut self) -> Option<Frame> {
        let [first, second, rest @ ..] = self.inbox.as_slice() else { return None };
        let allowed = if self.is_compressed { RSV1 } else { 0 };
        assert!(first & 0x70 & !allowed == 0, "RSV set without an extension: {first:#x}");
        assert!(second & 0x80 == 0, "RFC 6455 5.1: a server does not mask");
        let (len, extended) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().unwrap())), 2),
            127 => (u64::from_be_bytes(rest.get(..8)?.try_into().unwrap()) as usize, 8),
            short => (usize::from(short), 0),
        };
        assert!(extended != 2 || len > 125, "RFC 6455 5.2: the minimal length");
        assert!(extended != 8 || len > 65535, "RFC 6455 5.2: the minimal length");
        let payload = rest.get(extended..extended + len)?.to_vec();
        let frame = Frame { fin: first & FIN != 0, rsv1: first & RSV1 != 0, opcode: first & 0x0F, payload };
        assert!(frame.opcode < 8 || (frame.fin && len < 126), "a control frame of {len} bytes");
        self.inbox.drain(..2 + extended + len);
        Some(frame)
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame(SOON).unwrap_or_else(|end| panic!("no frame: {end:?}"))
    }

    /// The next message, put together from its fragments.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Frame {
        let mut message = self.frame();
        while !message.fin {
            let next = self.frame();
            assert_eq!(next.opcode, 0, "a fragment");
            message.payload.extend_from_slice(&next.payload);
            message.fin = next.fin;
        }
        message
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let got = self.message();
        let shown = String::from_utf8_lossy(&got.payload[..got.payload.len().min(200)]).into_owned();
        assert!(got.opcode == opcode && got.payload == payload, "got opcode {} {shown:?}", got.opcode);
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, payload: &str) {
        self.expect(TEXT, payload.as_bytes());
    }

    /// The next frame is a Close with this code, and nothing comes after it.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        self.expect_close_in(&[code]);
    }

    #[track_caller]
    pub(crate) fn expect_close_in(&mut self, codes: &[u16]) {
        let got = self.frame();
        assert_eq!(got.opcode, CLOSE, "a Close, not {got:?}");
        assert!(
            got.close_code().is_some_and(|code| codes.contains(&code)),
            "a Close with {codes:?}: {got:?}"
        );
        self.answer_close(&got.payload);
    }

    /// Returns the server's Close, and sees the connection end.
    #[track_caller]
    pub(crate) fn answer_close(&mut self, payload: &[u8]) {
        let _ = self.try_send(&frame(FIN | CLOSE, payload));
        self.half_close();
        self.expect_end(secs(3));
    }

    /// Nothing more comes, and the server ends the connection within `limit`.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, limit: Duration) {
        let end = self.end(limit);
        assert!(self.inbox.is_empty(), "more bytes: {:?}", String::from_utf8_lossy(&self.inbox));
        assert_ne!(end, End::Timeout, "the server did not end the connection within {limit:?}");
    }

    /// Reads (and keeps) all that comes until the connection ends or `limit` is over.
    pub(crate) fn end(&mut self, limit: Duration) -> End {
        let deadline = Instant::now() + limit;
        loop {
            if let Err(end) = self.fill(deadline) {
                return end;
            }
        }
    }

    /// All bytes that were read and not yet taken.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbox)
    }

    /// One message there and back.
    #[track_caller]
    pub(crate) fn echo(&mut self, payload: &str) {
        self.send(&text(payload));
        self.expect_text(payload);
    }

    /// Whether the server has ended the connection, without waiting; what came is kept.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut chunk = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        ended
    }
}
