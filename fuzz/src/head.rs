//! Octets as a head: where they are cut does not matter, and what is accepted can be read in one way only.

use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::handshake::{check_upgrade, wants_upgrade};
use switchboard::proto::head::{BodyLength, HeadScanner, RequestHead, is_token, with_request, with_response};
use switchboard::proto::{Limits, OriginPolicy};

use super::source::{Source, pieces};

/// What was understood of an accepted request.
#[derive(Debug, PartialEq)]
struct Understood {
    len: usize,
    method: String,
    target: String,
    minor_version: u8,
    body: BodyLength,
    is_upgrade: bool,
}

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let limits = match source.octet() % 3 {
        0 => Limits::default(),
        1 => Limits::default().with(|it| {
            it.max_head = 200;
            it.max_fields = 8;
        }),
        _ => Limits::default().with(|it| it.max_fields = 1000),
    };
    let cuts = source.cuts();
    let bytes = source.take_rest();

    let whole = understand(bytes, &[], &limits);
    // A refusal may come early or late; what is accepted is accepted in every cut.
    assert_eq!(understand(bytes, &cuts, &limits), whole, "cut at {cuts:?}");
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(understand(bytes, &each, &limits), whole, "cut everywhere");
    if let Some(understood) = whole {
        check_naively(&bytes[..understood.len], &understood);
    }
    read_response(bytes, &limits);
}

fn understand(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Option<Understood> {
    let mut scanner = HeadScanner::default();
    for piece in pieces(bytes.len(), cuts) {
        match scanner.find_end(&bytes[..piece.end], limits) {
            Err(error) => {
                assert!((400..=599).contains(&error.status()));
                return None;
            }
            Ok(None) => {}
            Ok(Some(len)) => {
                assert!(len <= limits.max_head);
                return with_request(&bytes[..len], limits, |head| Some(understood(&head.ok()?, len)));
            }
        }
    }
    None
}

fn understood(head: &RequestHead<'_>, len: usize) -> Understood {
    let upgrade = wants_upgrade(head).then(|| check_upgrade(head));
    if let Some(Ok(upgrade)) = &upgrade {
        assert_eq!((head.method, head.minor_version, head.body), ("GET", 1, BodyLength::None));
        assert!(upgrade.subprotocols().all(is_token));
        let _ = upgrade.choose_subprotocol(&["json"]);
    }
    let _ = OriginPolicy::default().admits(head.fields.first("origin"), head.authority(), false);
    assert!(!head.path().is_empty());
    let _ = head.keeps_alive();
    Understood {
        len,
        method: head.method.to_owned(),
        target: head.target.to_owned(),
        minor_version: head.minor_version,
        body: head.body,
        is_upgrade: matches!(upgrade, Some(Ok(_))),
    }
}

/// RFC 9112 2.2, 3, 5: splits an accepted head in the plainest way, which must find the same in it.
fn check_naively(head: &[u8], understood: &Understood) {
    let text: String = head.iter().map(|&octet| char::from(octet)).collect();
    let text = text.trim_start_matches("\r\n").strip_suffix("\r\n\r\n").expect("an empty line");
    let mut lines = text.split("\r\n");
    let request_line: Vec<&str> = lines.next().expect("a request line").split(' ').collect();
    let [method, target, version] = request_line[..] else { panic!("request line {request_line:?}") };
    assert!(is_token(method.as_bytes()));
    assert_eq!(method, understood.method);
    assert_eq!(target.bytes().filter(|&octet| octet > b' ').count(), target.len(), "{target:?}");
    assert_eq!(version, format!("HTTP/1.{}", understood.minor_version));

    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), 0);
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let (name, value) = line.split_once(':').expect("a colon");
        assert!(is_token(name.as_bytes()), "field name {name:?}");
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.trim_matches([' ', '\t']).to_owned()),
            "transfer-encoding" => codings += 1,
            _ => {}
        }
    }
    assert!(hosts == 1 || hosts == 0 && understood.minor_version == 0, "{hosts} Host fields");
    let lengths: Vec<u64> = lengths.iter().map(|length| length.parse().expect("a number")).collect();
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]));
    match understood.body {
        BodyLength::Chunked => assert!(codings > 0 && lengths.is_empty() && understood.minor_version == 1),
        BodyLength::Bytes(length) => assert!(codings == 0 && lengths[0] == length && length > 0),
        BodyLength::None => assert!(lengths.first().is_none_or(|length| *length == 0)),
    }
    assert!(!understood.is_upgrade || codings == 0 && lengths.is_empty(), "an upgrade with a body");
}

/// The client's side: any answer is taken or refused, whole or cut.
fn read_response(bytes: &[u8], limits: &Limits) {
    with_response(bytes, limits, |head| head.map(|head| head.status).ok());
    let request =
        ClientRequest { host: "localhost", target: "/", subprotocols: &["json"], ..Default::default() };
    let mut handshake = ClientHandshake::start(&request, [7; 16], &mut Vec::new());
    if let Ok(Some(agreement)) = handshake.receive(bytes, &request, limits) {
        assert!(agreement.head_len <= bytes.len());
        assert!(agreement.subprotocol.is_none_or(|name| name == "json"));
    }
}
