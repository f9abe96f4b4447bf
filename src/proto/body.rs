//! The body of a request as it arrives (RFC 9112 6 and 7.1), up to a limit.

use std::fmt;

use super::head::{BodyLength, MAX_FIELDS};
use super::limits::Limits;

/// A chunk-size line without extensions: at most 16 digits and CRLF.
const MAX_PLAIN_CHUNK_LINE: usize = 18;

/// Why a body is refused. Whatever two recipients could delimit differently is refused: behind it the next request
/// would begin in two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// More than [`Limits::max_body`] octets, or the announcement of them.
    TooLarge,
    /// A line of the chunked coding that ends in a line feed without a carriage return (RFC 9112 2.2).
    BareLineFeed,
    /// A chunk-size that is no hexadecimal number, or extensions that are none (RFC 9112 7.1).
    ChunkSize,
    /// Chunk data that goes on where its CRLF must stand (RFC 9112 7.1).
    ChunkEnd,
    /// A trailer section that is none (RFC 9112 7.1.2).
    Trailers,
    /// Chunk extensions and trailers of more than [`Limits::max_head`] octets together, or too many trailers.
    TooMuchFraming,
}

impl BodyError {
    /// The HTTP status that answers it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::TooMuchFraming => 431,
            Self::BareLineFeed | Self::ChunkSize | Self::ChunkEnd | Self::Trailers => 400,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "body too large",
            Self::BareLineFeed => "bare line feed in a chunked body",
            Self::ChunkSize => "malformed chunk-size",
            Self::ChunkEnd => "chunk data without CRLF behind it",
            Self::Trailers => "malformed trailer section",
            Self::TooMuchFraming => "chunk extensions or trailers too large",
        })
    }
}

impl std::error::Error for BodyError {}

/// What the next octet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// So many octets of the body, or of a chunk of it; at least one.
    Octets(u64),
    /// chunk-size, chunk extensions, CRLF.
    ChunkLine,
    /// The CRLF behind the data of a chunk; of which the CR may be there already.
    ChunkEnd { has_return: bool },
    /// Trailer section and the empty line that ends the body.
    Trailers,
    /// The body is whole.
    Nothing,
}

/// Takes a body out of octets that arrive cut anywhere.
///
/// Give it everything that follows the head, in order, until [`Self::is_whole`]; what it leaves belongs to the next
/// request. It holds what arrived and never what was announced: at most [`Limits::max_body`] octets of body, and
/// [`Limits::max_head`] of an unfinished line. Extensions are ignored and trailers dropped (RFC 9110 6.5.1).
#[derive(Debug)]
pub struct BodyReader {
    awaits: Awaits,
    is_chunked: bool,
    body: Vec<u8>,
    max_body: usize,
    /// The chunk-size line or trailer section in progress.
    held: Vec<u8>,
    /// Octets that extensions and trailers may still have.
    framing_left: usize,
    max_trailers: usize,
}

impl BodyReader {
    /// A reader of the body that a head announces.
    ///
    /// # Errors
    /// The announced length is above the limit.
    pub fn new(length: BodyLength, limits: &Limits) -> Result<Self, BodyError> {
        let awaits = match length {
            BodyLength::None | BodyLength::Bytes(0) => Awaits::Nothing,
            BodyLength::Bytes(length) if length > limits.max_body as u64 => return Err(BodyError::TooLarge),
            BodyLength::Bytes(length) => Awaits::Octets(length),
            BodyLength::Chunked => Awaits::ChunkLine,
        };
        Ok(Self {
            awaits,
            is_chunked: length == BodyLength::Chunked,
            body: Vec::new(),
            max_body: limits.max_body,
            held: Vec::new(),
            framing_left: limits.max_head,
            max_trailers: limits.max_fields.min(MAX_FIELDS),
        })
    }

    /// Whether the body has arrived to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.awaits == Awaits::Nothing
    }

    /// The body as far as it has arrived.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes octets from the front of `bytes` and returns their number: all of them, unless the body ends before.
    ///
    /// # Errors
    /// The rule or limit that the octets break; the reader is of no use after that.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.awaits {
                Awaits::Octets(left) => self.take_octets(&mut rest, left),
                Awaits::ChunkLine => {
                    if self.take_line(&mut rest, MAX_PLAIN_CHUNK_LINE)? {
                        self.begin_chunk()?;
                    }
                }
                Awaits::ChunkEnd { has_return } => {
                    let expected = if has_return { b'\n' } else { b'\r' };
                    if rest[0] != expected {
                        return Err(BodyError::ChunkEnd);
                    }
                    rest = &rest[1..];
                    self.awaits =
                        if has_return { Awaits::ChunkLine } else { Awaits::ChunkEnd { has_return: true } };
                }
                Awaits::Trailers => {
                    if self.take_line(&mut rest, b"\r\n".len())? {
                        self.end_trailers()?;
                    }
                }
                Awaits::Nothing => break,
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn take_octets(&mut self, rest: &mut &[u8], left: u64) {
        let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (octets, behind) = rest.split_at(count);
        self.body.extend_from_slice(octets);
        *rest = behind;
        self.awaits = match left - count as u64 {
            0 if self.is_chunked => Awaits::ChunkEnd { has_return: false },
            0 => Awaits::Nothing,
            left => Awaits::Octets(left),
        };
    }

    /// Holds what there is of a line; tells whether it is complete. `free` octets are not counted as framing.
    fn take_line(&mut self, rest: &mut &[u8], free: usize) -> Result<bool, BodyError> {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (piece, behind) = rest.split_at(end);
        if self.held.len() + piece.len() > free + self.framing_left {
            return Err(BodyError::TooMuchFraming);
        }
        self.held.extend_from_slice(piece);
        *rest = behind;
        if !self.held.ends_with(b"\n") {
            return Ok(false);
        }
        // RFC 9112 7.1 has CRLF here; a bare LF is refused as in heads.
        if self.held.ends_with(b"\r\n") { Ok(true) } else { Err(BodyError::BareLineFeed) }
    }

    /// A chunk-size line is complete.
    fn begin_chunk(&mut self) -> Result<(), BodyError> {
        let size = chunk_size(&self.held)?;
        self.framing_left -= self.held.len().saturating_sub(MAX_PLAIN_CHUNK_LINE);
        self.held.clear();
        if size > (self.max_body - self.body.len()) as u64 {
            return Err(BodyError::TooLarge);
        }
        self.awaits = if size == 0 { Awaits::Trailers } else { Awaits::Octets(size) };
        Ok(())
    }

    /// A line of the trailer section is complete; an empty one ends the section and the body.
    fn end_trailers(&mut self) -> Result<(), BodyError> {
        if self.held != b"\r\n" && !self.held.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(&self.held, &mut fields[..self.max_trailers]) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TooMuchFraming),
            _ => return Err(BodyError::Trailers),
        }
        self.held = Vec::new();
        self.awaits = Awaits::Nothing;
        Ok(())
    }
}

/// RFC 9112 7.1: `chunk-size [ chunk-ext ] CRLF`. The number is read by `httparse`, which takes an empty one for 0 and
/// any octet in an extension.
fn chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    let digits = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
    let extensions = &line[digits..line.len() - 2];
    let is_extension = extensions.trim_ascii_start().starts_with(b";")
        && extensions.iter().all(|&octet| octet == b'\t' || !octet.is_ascii_control());
    if digits == 0 || !(extensions.is_empty() || is_extension) {
        return Err(BodyError::ChunkSize);
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((len, size))) if len == line.len() => Ok(size),
        _ => Err(BodyError::ChunkSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { max_body: 100, max_head: 60, max_fields: 3, ..Limits::default() }
    }

    /// The body and the number of octets that it took, whole and cut everywhere.
    fn read(length: BodyLength, bytes: &[u8]) -> Result<(Vec<u8>, Option<usize>), BodyError> {
        let outcomes = [bytes.len().max(1), 1].map(|step| {
            let mut reader = BodyReader::new(length, &limits())?;
            let mut taken = 0;
            for piece in bytes.chunks(step) {
                taken += reader.receive(piece)?;
            }
            Ok((reader.body().to_vec(), reader.is_whole().then_some(taken)))
        });
        assert_eq!(outcomes[0], outcomes[1], "{:?}", String::from_utf8_lossy(bytes));
        let [whole, _] = outcomes;
        whole
    }

    #[test]
    fn a_length_takes_so_many_octets_and_leaves_the_rest() {
        assert_eq!(read(BodyLength::Bytes(5), b"helloGET /"), Ok((b"hello".to_vec(), Some(5))));
        assert_eq!(read(BodyLength::Bytes(5), b"hell"), Ok((b"hell".to_vec(), None)));
        assert_eq!(read(BodyLength::None, b"GET /"), Ok((Vec::new(), Some(0))));
        assert_eq!(read(BodyLength::Bytes(101), b""), Err(BodyError::TooLarge));
    }

    #[test]
    fn chunks_are_joined_and_extensions_and_trailers_dropped() {
        for (bytes, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5\r\nhello\r\n00006\r\n world\r\n000\r\n\r\n", "hello world"),
            ("A;a=b;c=\"d e\"\r\n0123456789\r\n0 ;x\r\n\r\n", "0123456789"),
            ("a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nExpires: never\r\nX-Sum:\t1\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n"),
        ] {
            let with_next = format!("{bytes}GET / HTTP/1.1\r\n");
            let expected = (body.as_bytes().to_vec(), Some(bytes.len()));
            assert_eq!(read(BodyLength::Chunked, with_next.as_bytes()), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn hs_10_what_two_recipients_could_delimit_differently_is_refused() {
        use BodyError::{BareLineFeed, ChunkEnd, ChunkSize, TooLarge, TooMuchFraming, Trailers};
        let long_extension = format!("1;{}\r\n", "e".repeat(80));
        let many_extensions = format!("1;{}\r\nx\r\n", "e".repeat(40)).repeat(3);
        let long_trailers = format!("0\r\nX: {}\r\n\r\n", "t".repeat(80));
        for (bytes, error) in [
            ("\r\n", ChunkSize),
            (";x\r\n", ChunkSize),
            ("g\r\n", ChunkSize),
            ("-1\r\n", ChunkSize),
            ("+1\r\n", ChunkSize),
            ("0x1\r\n", ChunkSize),
            (" 1\r\n", ChunkSize),
            ("1 \r\n", ChunkSize),
            ("1 2\r\n", ChunkSize),
            ("1\t;\x01\r\n", ChunkSize),
            ("1;\r;x\r\n", ChunkSize),
            ("10000000000000000\r\n", ChunkSize),
            ("FFFFFFFFFFFFFFFF\r\n", TooLarge),
            ("65\r\n", TooLarge),
            ("64\r\nx", ChunkEnd),
            ("1\n", BareLineFeed),
            ("1;a\nx", BareLineFeed),
            ("1\r\nxy", ChunkEnd),
            ("1\r\nx\n", ChunkEnd),
            ("1\r\nx\rx", ChunkEnd),
            ("0\r\nX: y\n\r\n", BareLineFeed),
            ("0\r\n\n", BareLineFeed),
            ("0\r\nX : y\r\n\r\n", Trailers),
            ("0\r\nX(: y\r\n\r\n", Trailers),
            ("0\r\nX: y\r\n folded\r\n\r\n", Trailers),
            ("0\r\nX: y\rz\r\n\r\n", Trailers),
            ("0\r\nno colon\r\n\r\n", Trailers),
            ("0\r\na:b\r\na:b\r\na:b\r\na:b\r\n\r\n", TooMuchFraming),
            (&long_extension, TooMuchFraming),
            (&many_extensions, TooMuchFraming),
            (&long_trailers, TooMuchFraming),
        ] {
            // A full chunk ends where its CRLF must stand.
            let bytes = bytes.replace("64\r\nx", &format!("64\r\n{}", "x".repeat(101)));
            assert_eq!(read(BodyLength::Chunked, bytes.as_bytes()), Err(error), "{bytes:?}");
        }
        let full = format!("64\r\n{}\r\n1\r\n", "x".repeat(100));
        assert_eq!(read(BodyLength::Chunked, full.as_bytes()), Err(TooLarge));
    }
}
