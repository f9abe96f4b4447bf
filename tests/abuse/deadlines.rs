//! LC-03, LC-04, LC-11, MS-04: what a peer does not do in time.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::inside::Inside;
use crate::support::{
    BINARY, CLOSE, Client, End, FIN, PING, StopOnDrop, TEXT, frame, millis, secs, text, upgrade_request,
};

/// Reads frames, and answers nothing, until one with this opcode comes.
#[track_caller]
fn await_opcode(client: &mut Client, opcode: u8) -> Vec<u8> {
    let deadline = Instant::now() + secs(10);
    let mut is_over = false;
    loop {
        match client.parse_frame() {
            Some(frame) if frame.opcode == opcode => return frame.payload,
            Some(_) => {}
            None => {
                assert!(!is_over && Instant::now() < deadline, "no frame with opcode {opcode}");
                is_over = client.has_ended();
                std::thread::sleep(millis(5));
            }
        }
    }
}

#[test]
fn lc_04_a_peer_that_reads_but_never_pongs_is_cut_and_told_why() {
    let server = Inside::start(|config| {
        config.proto.timeouts.ping_ms = 300;
        config.proto.timeouts.pong_ms = 300;
    });
    let mut dumb = Client::open(server.addr);
    let mut good = Client::open(server.addr);
    await_opcode(&mut dumb, PING);
    // One that answers lives through many of these times.
    for _ in 0..5 {
        assert_eq!(
            good.try_frame(millis(300)),
            Err(End::Timeout),
            "its pings are answered, and nothing else comes"
        );
    }
    let close = await_opcode(&mut dumb, CLOSE);
    assert_eq!(close, [&1011_u16.to_be_bytes()[..], b"ping timeout"].concat());
    assert_ne!(dumb.end(secs(5)), End::Timeout);
    assert_eq!(server.end(), "1011 ping timeout");
    good.echo("still here");
}

/// Connects, shakes hands, and then is gone without a FIN or a reset: the kernel forgets the socket in silence.
const VANISH: &str = "
import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(sys.argv[2].encode())
head = b''
while not head.endswith(b'\\r\\n\\r\\n'):
    head += s.recv(1)
try:
    s.setsockopt(socket.IPPROTO_TCP, 19, 1)
except PermissionError:
    sys.exit(77)
s.close()
";

#[test]
fn lc_03_a_peer_that_vanishes_without_a_fin_is_noticed() {
    let server = Inside::start(|config| {
        config.proto.timeouts.ping_ms = 300;
        config.proto.timeouts.pong_ms = 300;
    });
    let vanished = Command::new("python3")
        .args(["-c", VANISH, &server.addr.port().to_string(), &upgrade_request("/", "")])
        .status()
        .expect("python3 is needed: apt-get install python3");
    if vanished.code() == Some(77) {
        eprintln!(
            "only root can make a socket vanish (TCP_REPAIR): a peer that stands still takes its place"
        );
        let _still = Client::open(server.addr);
        assert_eq!(server.end(), "1011 ping timeout");
        return;
    }
    assert!(vanished.success());
    // Its kernel answers the ping with a reset, which is as good as a missing pong.
    let end = server.end();
    assert!(end.starts_with("1011") || end.starts_with("1006"), "{end}");
}

#[test]
fn lc_11_deadlines_hold_in_the_midst_of_a_flood() {
    let server = Inside::start(|config| {
        config.proto.timeouts.handshake_ms = 400;
        config.proto.timeouts.ping_ms = 300;
        config.proto.timeouts.pong_ms = 300;
    });
    let mut peers: Vec<Client> = (0..2).map(|_| Client::open(server.addr)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for peer in &mut peers {
            let mut sending = Client::over(peer.stream.try_clone().unwrap());
            let bytes = text("flood").repeat(5000);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && sending.try_send(&bytes).is_ok() {}
                sending.half_close();
            });
            scope.spawn(move || while peer.try_frame(secs(20)).is_ok() {});
        }
        // The flood ends with this block, so it is in the midst of it that all of them are cut.
        let _stop = StopOnDrop(&is_over);
        let mut mute = Client::connect(server.addr);
        let mut half = Client::connect(server.addr);
        half.send(&upgrade_request("/", "").as_bytes()[..30]);
        let mut dumb = Client::open(server.addr);
        assert_eq!(mute.end(secs(10)), End::Fin);
        assert_eq!(half.try_head(secs(10)).map(|head| head.status), Ok(408));
        assert_eq!(await_opcode(&mut dumb, CLOSE)[..2], 1011_u16.to_be_bytes());
    });
}

#[test]
fn ms_04_a_message_that_is_never_finished_is_ended_at_the_deadline() {
    let server = Inside::start(|config| config.proto.timeouts.message_ms = 600);
    let mut parked: Vec<Client> = (0..1000).map(|_| Client::open(server.addr)).collect();
    for (i, client) in parked.iter_mut().enumerate() {
        // A message in fragments, and a frame whose payload stops.
        let whole = frame(if i % 2 == 0 { TEXT } else { FIN | BINARY }, &vec![b'x'; 60_000]);
        client.send(&whole[..whole.len() - i % 2]);
    }
    let mut slow = Client::open(server.addr);
    for client in &mut parked {
        let close = await_opcode(client, CLOSE);
        assert_eq!(close, [&1008_u16.to_be_bytes()[..], b"message timeout"].concat());
    }
    for _ in 0..parked.len() {
        assert_eq!(server.end(), "1008 protocol error: message timeout");
    }
    slow.echo("who sends whole messages stays");
}

#[test]
fn ms_04_all_unfinished_messages_together_have_a_budget() {
    const PEERS: usize = 100;
    const LEN: usize = 60_000;
    let server = Inside::start(|config| config.max_unfinished = 2 << 20);
    let mut parked: Vec<Client> = (0..PEERS).map(|_| Client::open(server.addr)).collect();
    for client in &mut parked {
        client.send(&frame(TEXT, &vec![b'x'; LEN]));
    }
    // This many fit, and each of the others is told to come again later.
    for _ in (2 << 20) / LEN..PEERS {
        assert_eq!(server.end(), "1013 protocol error: too many unfinished messages");
    }
    let mut kept = 0;
    for client in &mut parked {
        if !client.has_ended() {
            client.send(&frame(FIN, b""));
            client.expect(TEXT, &vec![b'x'; LEN]);
            kept += 1;
        }
    }
    assert_eq!(kept, (2 << 20) / LEN);
    let mut next = Client::open(server.addr);
    next.send(&frame(TEXT, &vec![b'x'; LEN]));
    next.send(&frame(FIN, b""));
    next.expect(TEXT, &vec![b'x'; LEN]);
}
