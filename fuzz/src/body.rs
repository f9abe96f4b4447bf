//! Octets as the body of a request: where they are cut does not matter, a plain decoder finds the same, and what is
//! encoded is decoded.

use switchboard::proto::Limits;
use switchboard::proto::body::{BodyError, BodyReader};
use switchboard::proto::head::{BodyLength, is_token};

use super::source::{Source, pieces};

type Outcome = Result<(Vec<u8>, Option<usize>), BodyError>;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.octet();
    let limits = match choices & 3 {
        0 => Limits::default(),
        1 => Limits::default().with(|it| {
            it.max_body = 40;
            it.max_head = 50;
            it.max_fields = 2;
        }),
        _ => Limits::default().with(|it| it.max_body = usize::MAX),
    };
    let cuts = source.cuts();
    if choices & 4 != 0 {
        return encode_and_decode(source, &cuts);
    }
    let length =
        if choices & 8 != 0 { BodyLength::Bytes(u64::from(source.pair())) } else { BodyLength::Chunked };
    let bytes = source.take_rest();
    let whole = read(length, &limits, bytes, &[]);
    assert_eq!(read(length, &limits, bytes, &cuts), whole, "cut at {cuts:?}");
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(read(length, &limits, bytes, &each), whole, "cut everywhere");
    match (length, whole) {
        (BodyLength::Chunked, Ok((body, Some(taken)))) => {
            assert_eq!(decode(&bytes[..taken]), Some(body));
        }
        // Neither refused nor whole: nobody else finds its end either.
        (BodyLength::Chunked, Ok((_, None))) => assert_eq!(decode(bytes), None),
        (BodyLength::Bytes(length), Ok((body, Some(taken)))) => {
            assert_eq!((taken as u64, &body[..]), (length, &bytes[..taken]));
        }
        (_, Ok((body, None))) => assert_eq!(body, bytes),
        (_, Err(error)) => assert!((400..=431).contains(&error.status())),
        (BodyLength::None, Ok(_)) => {}
    }
}

/// The body so far, and how many octets it took once it is whole.
fn read(length: BodyLength, limits: &Limits, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut reader = BodyReader::new(length, limits)?;
    let mut taken = 0;
    for piece in pieces(bytes.len(), cuts) {
        let count = reader.receive(&bytes[piece.clone()])?;
        assert!(count == piece.len() || reader.is_whole());
        assert!(reader.body().len() <= limits.max_body);
        taken += count;
    }
    Ok((reader.body().to_vec(), reader.is_whole().then_some(taken)))
}

/// RFC 9112 7.1.3, on a body that has arrived whole.
fn decode(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = split_line(bytes)?;
        let size = line.split([';', ' ', '\t']).next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, rest) = split_line(bytes)?;
        bytes = rest;
        if line.is_empty() {
            return bytes.is_empty().then_some(body);
        }
        if !is_token(line.split(':').next()?.as_bytes()) {
            return None;
        }
    }
}

fn split_line(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line: String = bytes[..end].iter().map(|&octet| char::from(octet)).collect();
    (!line.contains(['\r', '\n'])).then_some((line, &bytes[end + 2..]))
}

fn encode_and_decode(mut source: Source<'_>, cuts: &[usize]) {
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    while !source.is_empty() {
        let len = usize::from(source.octet());
        let chunk = source.take(len);
        if chunk.is_empty() {
            continue;
        }
        let line = match source.octet() % 4 {
            0 => format!("{:x}\r\n", chunk.len()),
            1 => format!("{:04X};a\r\n", chunk.len()),
            2 => format!("{:x} ; a = \"b\"\r\n", chunk.len()),
            _ => format!("{:016x}\r\n", chunk.len()),
        };
        bytes.extend([line.as_bytes(), chunk, b"\r\n"].concat());
        body.extend_from_slice(chunk);
    }
    bytes.extend(b"0\r\nX-Sum: 1\r\n\r\n");
    let taken = bytes.len();
    bytes.extend(b"GET / HTTP/1.1\r\n");
    let outcome = read(BodyLength::Chunked, &Limits::default(), &bytes, cuts);
    assert_eq!(outcome, Ok((body, Some(taken))));
}
