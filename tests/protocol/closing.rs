//! The closing handshake and the deadlines (RFC 6455 5.5.1, 7).

use switchboard::proto::Opcode::{Close, Ping, Pong, Text};
use switchboard::proto::{CloseCode, Input, Outgoing, ProtoConfig, ReadyState, SendError, Timeout, Timeouts};

use crate::support::{Role, Seen, close_code, connection, frame, receive};

fn server() -> switchboard::proto::Connection {
    let timeouts = Timeouts::default().with(|it| {
        it.ping_ms = 25_000;
        it.pong_ms = 10_000;
        it.close_ms = 5_000;
    });
    connection(Role::Server, &ProtoConfig::default().with(|it| it.timeouts = timeouts))
}

#[test]
fn a_valid_code_is_echoed_and_an_empty_close_is_answered_empty() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999_u16] {
        let bytes = frame(Role::Server, true, Close, &[&code.to_be_bytes()[..], b"bye"].concat());
        let mut server = server();
        let outcome = receive(&mut server, &bytes, &[]);
        assert_eq!(close_code(&outcome.answers), Some(code));
        assert_eq!(server.ready_state(), ReadyState::Closed);
        assert!(matches!(&outcome.events[..], [Seen::Close(frame)] if frame.reason == "bye"));
    }
    let outcome = receive(&mut server(), &frame(Role::Server, true, Close, b""), &[]);
    assert_eq!(outcome.answers, [0x88, 0]);
}

#[test]
fn fr_15_what_follows_a_close_is_discarded_unparsed() {
    let garbage = [frame(Role::Server, true, Close, b""), vec![0xFF; 100]].concat();
    let outcome = receive(&mut server(), &garbage, &[3, 50]);
    assert_eq!((outcome.events.len(), outcome.error), (1, None));
}

#[test]
fn lc_06_simultaneous_and_double_close_send_one_close_each_way() {
    let (mut server, mut out) = (server(), Vec::new());
    server.close(CloseCode::NORMAL, "", 0, &mut out);
    server.close(CloseCode::GOING_AWAY, "again", 0, &mut out);
    assert_eq!(server.ready_state(), ReadyState::Closing);
    assert_eq!(server.encode(Outgoing::text("late"), &mut out), Err(SendError::NotOpen));
    assert_eq!(server.ping(b"late", &mut out), Err(SendError::NotOpen));
    assert_eq!(out, [0x88, 2, 3, 0xE8]);
    let crossing = [
        frame(Role::Server, true, Text, b"crossed our close"),
        frame(Role::Server, true, Ping, b"no pong after close"),
        frame(Role::Server, true, Close, &1001_u16.to_be_bytes()),
    ];
    let outcome = receive(&mut server, &crossing.concat(), &[]);
    assert!(outcome.answers.is_empty());
    assert!(matches!(&outcome.events[..], [Seen::Ping(_), Seen::Close(_)]), "{:?}", outcome.events);
    assert_eq!(server.ready_state(), ReadyState::Closed);
}

#[test]
fn a_ping_is_answered_with_its_payload_even_in_the_middle_of_a_message() {
    let bytes = [
        frame(Role::Server, false, Text, b"one "),
        frame(Role::Server, true, Ping, b"payload"),
        frame(Role::Server, true, switchboard::proto::Opcode::Continuation, b"two"),
    ]
    .concat();
    for cuts in [vec![], (0..bytes.len()).collect::<Vec<_>>()] {
        let outcome = receive(&mut server(), &bytes, &cuts);
        assert_eq!(outcome.answers, frame(Role::Client, true, Pong, b"payload"));
        assert_eq!(outcome.events.len(), 2);
        assert_eq!(
            outcome.events[1],
            Seen::Message(switchboard::proto::MessageKind::Text, b"one two".to_vec())
        );
    }
}

#[test]
fn lc_03_lc_04_silence_brings_a_ping_then_the_end() {
    let (mut server, mut out) = (server(), Vec::new());
    assert_eq!(server.handle_timeout(24_999, &mut out), Timeout::NotDue);
    assert_eq!(server.next_timeout(), Some(25_000));
    assert_eq!(server.handle_timeout(25_000, &mut out), Timeout::Pinged);
    assert_eq!(out, [0x89, 0]);
    assert_eq!(server.handle_timeout(34_999, &mut out), Timeout::NotDue);
    out.clear();
    assert_eq!(server.handle_timeout(35_000, &mut out), Timeout::PongOverdue);
    assert_eq!(close_code(&out), Some(1011));
    assert_eq!(server.ready_state(), ReadyState::Closed);
}

#[test]
fn ms_04_a_message_that_is_not_finished_in_time_fails_the_connection() {
    let begun: [&[u8]; 3] = [
        &[0x81],                                                   // half a header
        &frame(Role::Server, true, Text, b"cut")[..7],             // half a frame
        &frame(Role::Server, false, Text, b"to be continued")[..], // half a message
    ];
    for bytes in begun {
        let (mut server, mut out) = (server(), Vec::new());
        server.heard(20_000);
        assert_eq!(receive(&mut server, bytes, &[]).error, None);
        assert_eq!(server.handle_timeout(25_000, &mut out), Timeout::Pinged);
        out.clear();
        // More octets do not move the deadline.
        server.heard(34_000);
        assert_eq!(server.handle_timeout(35_000, &mut out), Timeout::Pinged, "no Pong has come");
        out.clear();
        server.heard(44_900);
        assert_eq!(server.handle_timeout(45_000, &mut out), Timeout::Pinged);
        out.clear();
        assert_eq!(server.next_timeout(), Some(50_000));
        assert_eq!(server.handle_timeout(49_999, &mut out), Timeout::NotDue);
        assert_eq!(server.handle_timeout(50_000, &mut out), Timeout::MessageOverdue);
        assert_eq!(close_code(&out), Some(1008));
        assert_eq!((server.ready_state(), server.unfinished_len()), (ReadyState::Closed, 0));
    }
    let (mut server, mut out) = (server(), Vec::new());
    server.stream_messages(true);
    receive(&mut server, begun[2], &[]);
    server.heard(30_000);
    assert_eq!(server.handle_timeout(30_000, &mut out), Timeout::Pinged);
    server.heard(90_000);
    assert_eq!(server.handle_timeout(90_000, &mut out), Timeout::Pinged);
}

#[test]
fn fr_13_control_frames_are_limited_by_the_second() {
    let pongs = |count: usize| frame(Role::Server, true, Pong, b"").repeat(count);
    let mut server = server();
    for second in 1..4 {
        server.heard(second * 1000);
        assert_eq!(receive(&mut server, &pongs(10_000), &[]).error, None);
    }
    let outcome = receive(&mut server, &pongs(1), &[]);
    assert_eq!(outcome.error, Some(switchboard::proto::ProtocolError::TooManyControlFrames));
    assert_eq!(close_code(&outcome.answers), Some(1008));
}

#[test]
fn a_sign_of_life_lets_the_connection_live_but_does_not_move_the_close_deadline() {
    let (mut server, mut out) = (server(), Vec::new());
    server.heard(20_000);
    assert_eq!(server.next_timeout(), Some(25_000), "a peer that talks is pinged all the same");
    assert_eq!(server.handle_timeout(25_000, &mut out), Timeout::Pinged);
    server.heard(30_000);
    receive(&mut server, &frame(Role::Server, true, Pong, b""), &[]);
    assert_eq!(server.next_timeout(), Some(50_000), "the schedule does not wait for the Pong");
    server.close(CloseCode::NORMAL, "", 40_000, &mut out);
    server.heard(44_000);
    let mut bytes = frame(Role::Server, true, Text, b"still talking");
    let mut input = Input::new(&mut bytes);
    assert!(server.next_event(&mut input, &mut out).unwrap().is_none());
    assert_eq!(server.next_timeout(), Some(45_000));
    assert_eq!(server.handle_timeout(45_000, &mut out), Timeout::CloseOverdue);
}

#[test]
fn zero_turns_the_ping_off() {
    let timeouts = Timeouts::default().with(|it| it.ping_ms = 0);
    let server = connection(Role::Server, &ProtoConfig::default().with(|it| it.timeouts = timeouts));
    assert_eq!(server.next_timeout(), None);
}

#[test]
fn a_code_that_must_not_be_sent_goes_out_as_1011() {
    for code in [0, 999, 1004, 1006, 1015, 5000] {
        let (mut server, mut out) = (server(), Vec::new());
        server.close(CloseCode(code), "", 0, &mut out);
        assert_eq!(close_code(&out), Some(1011), "{code}");
    }
}
