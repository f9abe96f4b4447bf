//! What RFC 6455 demands of a sender and of a client, where no other test shows it (see docs/rfc6455.md).

use switchboard::proto::Opcode::{Binary, Close, Continuation, Ping, Text};
use switchboard::proto::client::{ClientHandshake, ClientRequest};
use switchboard::proto::handshake::accept_key;
use switchboard::proto::{
    CloseCode, CloseFrame, FrameHeader, HeadError, Limits, MessageKind, Opcode, Outgoing, ProtoConfig,
    ReadyState, ResponseError,
};

use crate::support::{Role, Seen, connection, frame, receive};

/// The headers of all frames in what an endpoint wrote.
fn headers(mut bytes: &[u8]) -> Vec<FrameHeader> {
    let mut headers = Vec::new();
    while let Some((header, len)) = FrameHeader::parse(bytes).unwrap() {
        bytes = &bytes[len + header.payload_len as usize..];
        headers.push(header);
    }
    assert!(bytes.is_empty());
    headers
}

/// Everything that an endpoint writes: messages of each kind and length form, fragments, Ping, Pong, Close.
fn everything(role: Role) -> Vec<u8> {
    let mut endpoint = connection(role, &ProtoConfig::default());
    let long = "x".repeat(65_536);
    let mut out = Vec::new();
    for text in ["", "short", &long[..125], &long[..126], &long[..65_535], &long] {
        endpoint.encode(Outgoing::text(text), &mut out).unwrap();
        endpoint.encode(Outgoing::binary(text.as_bytes()), &mut out).unwrap();
    }
    endpoint.encode_fragment(Outgoing::text("a"), false, &mut out).unwrap();
    endpoint.ping(b"between fragments", &mut out).unwrap();
    endpoint.encode_fragment(Outgoing::text("b"), true, &mut out).unwrap();
    out.extend(receive(&mut endpoint, &frame(role, true, Ping, b"hello"), &[]).answers);
    endpoint.close(CloseCode::NORMAL, "the end", 0, &mut out);
    assert_eq!(endpoint.ready_state(), ReadyState::Closing);
    out
}

#[test]
fn a_client_masks_every_frame_and_a_server_none() {
    for role in [Role::Client, Role::Server] {
        for header in headers(&everything(role)) {
            assert_eq!(header.masking_key.is_some(), role == Role::Client, "{header:?}");
        }
    }
    let keys: Vec<_> = headers(&everything(Role::Client)).iter().map(|header| header.masking_key).collect();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a fresh key for each frame");
}

#[test]
fn what_is_sent_says_what_it_is() {
    let opcodes: Vec<(Opcode, bool)> =
        headers(&everything(Role::Server)).iter().map(|header| (header.opcode, header.fin)).collect();
    let mut expected = [(Text, true), (Binary, true)].repeat(6);
    expected.extend([(Text, false), (Ping, true), (Continuation, true), (Opcode::Pong, true), (Close, true)]);
    assert_eq!(opcodes, expected);
    // The parser refuses reserved bits, long control frames and lengths that are not minimal: there were none.
}

#[test]
fn a_close_carries_its_code_and_reason_and_1005_is_an_empty_one() {
    for role in [Role::Server, Role::Client] {
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        for (code, reason) in [(CloseCode::NORMAL, "done"), (CloseCode(4000), ""), (CloseCode::NO_STATUS, "")]
        {
            let mut out = Vec::new();
            connection(role, &ProtoConfig::default()).close(code, reason, 0, &mut out);
            let seen = receive(&mut connection(other, &ProtoConfig::default()), &out, &[]).events;
            assert_eq!(seen, [Seen::Close(CloseFrame { code, reason: reason.to_owned() })]);
            assert_eq!(headers(&out)[0].payload_len == 0, code == CloseCode::NO_STATUS);
        }
    }
}

#[test]
fn the_examples_of_rfc_6455_5_7_are_understood() {
    let message = |kind, payload: &[u8]| Seen::Message(kind, payload.to_vec());
    let masked_hello = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let masked_pong = [&[0x8A][..], &masked_hello[1..]].concat();
    let short_binary = [&[0x82, 0x7E, 1, 0][..], &[7; 256]].concat();
    let long_payload = vec![7; 65_536];
    let long_binary = [&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], &long_payload[..]].concat();
    for (role, bytes, expected) in [
        (Role::Client, b"\x81\x05Hello".to_vec(), message(MessageKind::Text, b"Hello")),
        (Role::Server, masked_hello.to_vec(), message(MessageKind::Text, b"Hello")),
        (Role::Client, b"\x01\x03Hel\x80\x02lo".to_vec(), message(MessageKind::Text, b"Hello")),
        (Role::Client, b"\x89\x05Hello".to_vec(), Seen::Ping(b"Hello".to_vec())),
        (Role::Server, masked_pong, Seen::Pong(b"Hello".to_vec())),
        (Role::Client, short_binary, message(MessageKind::Binary, &[7; 256])),
        (Role::Client, long_binary, message(MessageKind::Binary, &long_payload)),
    ] {
        let outcome = receive(&mut connection(role, &ProtoConfig::default()), &bytes, &[]);
        assert_eq!((outcome.error, outcome.events), (None, vec![expected]));
    }
}

#[test]
fn a_client_refuses_every_answer_but_the_101_to_its_request() {
    use ResponseError as E;
    let request =
        ClientRequest { host: "localhost", target: "/", subprotocols: &["json"], ..Default::default() };
    let answer = |response: &str| {
        let mut sent = Vec::new();
        let mut handshake = ClientHandshake::start(&request, [7; 16], &mut sent);
        handshake.receive(response.as_bytes(), &request, &Limits::default()).map(|agreed| agreed.is_some())
    };
    let mut sent = Vec::new();
    ClientHandshake::start(&request, [7; 16], &mut sent);
    let sent = String::from_utf8(sent).unwrap();
    let key = sent.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
    let good = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    assert_eq!(answer(&good), Ok(true));
    assert_eq!(answer(good.strip_suffix("\r\n").unwrap()), Ok(false));
    let with = |field: &str| good.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
    assert_eq!(answer(&with("Sec-WebSocket-Protocol: json")), Ok(true));
    for (response, error) in [
        (good.replace("101", "200"), E::Status(200)),
        (good.replace("101", "301"), E::Status(301)),
        (good.replace("101", "426"), E::Status(426)),
        (good.replace("Upgrade: WebSocket\r\n", ""), E::Upgrade),
        (good.replace("Upgrade: WebSocket", "Upgrade: h2c"), E::Upgrade),
        (good.replace("keep-alive, upgrade", "keep-alive"), E::Connection),
        (good.replace(&accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), E::Accept),
        (good.replace(&accept, &accept.to_lowercase()), E::Accept),
        (with(&format!("Sec-WebSocket-Accept: {accept}")), E::Accept),
        (with("Sec-WebSocket-Protocol: other"), E::Subprotocol),
        (with("Sec-WebSocket-Protocol: json\r\nSec-WebSocket-Protocol: json"), E::Subprotocol),
        (with("Sec-WebSocket-Extensions: permessage-deflate"), E::Extension),
        (good.replace("\r\n", "\n"), E::Head(HeadError::BareLineFeed)),
    ] {
        assert_eq!(answer(&response), Err(error), "{response}");
    }
}

#[test]
fn a_client_passes_over_interim_responses_and_an_empty_subprotocol() {
    let request = ClientRequest { host: "localhost", target: "/", ..Default::default() };
    let start = |sent: &mut Vec<u8>| ClientHandshake::start(&request, [7; 16], sent);
    let mut sent = Vec::new();
    start(&mut sent);
    let sent = String::from_utf8(sent).unwrap();
    let key = sent.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
    let good = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol:\r\n\r\n"
    );
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    for interim in
        [String::new(), "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), early.to_owned(), early.repeat(3)]
    {
        let response = interim + &good + "frames";
        for cut in 0..=response.len() {
            let mut handshake = start(&mut Vec::new());
            let mut receive = |len: usize| {
                handshake.receive(&response.as_bytes()[..len], &request, &Limits::default()).unwrap()
            };
            let agreed = receive(cut).or_else(|| receive(response.len())).unwrap();
            assert_eq!(&response[agreed.head_len..], "frames");
            assert_eq!(agreed.subprotocol, None);
        }
    }
    // A server may not go on with them for ever.
    let mut handshake = start(&mut Vec::new());
    let endless = early.repeat(1_000);
    let outcome = handshake.receive(endless.as_bytes(), &request, &Limits::default());
    assert_eq!(outcome, Err(ResponseError::Head(HeadError::TooLarge)));
    // 1xx is not the last word, whatever comes behind it.
    let mut handshake = start(&mut Vec::new());
    let refused = format!("{early}HTTP/1.1 403 Forbidden\r\n\r\n");
    let outcome = handshake.receive(refused.as_bytes(), &request, &Limits::default());
    assert_eq!(outcome, Err(ResponseError::Status(403)));
}
