//! LC rows, and the end of the process: connections that come and go in every wrong way.

use std::net::TcpStream;
use std::time::Instant;

use crate::support::{
    BINARY, CLOSE, Client, Dice, End, FIN, Frame, Launch, SOON, Server, TEXT, assert_below, frame, millis,
    secs, text, upgrade_request, wait_until,
};

#[test]
fn lc_01_storms_of_resets_leave_nothing_behind() {
    let mut server = Launch::echo().start();
    Client::open(server.addr).echo("warm");
    wait_until(SOON, "the first one is gone", || server.descriptors() > 0);
    std::thread::sleep(millis(200));
    let (base, rss) = (server.descriptors(), server.rss_kib());
    for round in 0..500 {
        Client::connect(server.addr).reset();
        let mut asked = Client::connect(server.addr);
        asked.send(upgrade_request("/", "").as_bytes());
        asked.reset();
        let mut in_mid_frame = Client::open(server.addr);
        in_mid_frame.send(&frame(FIN | BINARY, &[1; 5000])[..2 + round % 4000]);
        in_mid_frame.reset();
    }
    server.wait_for_descriptors(base, SOON);
    server.assert_alive();
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 8192);
    Client::open(server.addr).echo("still accepting");
}

#[test]
fn lc_01_a_reset_under_unread_answers_is_survived() {
    let mut server = Launch::echo().start();
    let base = server.descriptors();
    for _ in 0..50 {
        let mut client = Client::open(server.addr);
        client.send(&frame(FIN | BINARY, &vec![1; 100_000]));
        client.reset();
    }
    server.wait_for_descriptors(base, SOON);
    server.assert_alive();
}

#[test]
fn lc_02_s18_a_half_closed_connection_is_ended_at_once() {
    let server = Launch::echo().start();
    let base = server.descriptors();
    let request = upgrade_request("/", "");
    let silent = Client::connect(server.addr);
    let mut in_head = Client::connect(server.addr);
    in_head.send(&request.as_bytes()[..40]);
    let open = Client::open(server.addr);
    let mut in_frame = Client::open(server.addr);
    in_frame.send(&text("never whole")[..9]);
    let mut in_message = Client::open(server.addr);
    in_message.send(&frame(TEXT, b"never whole"));
    let mut all = [silent, in_head, open, in_frame, in_message];
    let (cpu, start) = (server.cpu(), Instant::now());
    for client in &mut all {
        client.half_close();
    }
    for (i, client) in all.iter_mut().enumerate() {
        assert_ne!(client.end(secs(4)), End::Timeout, "connection {i} stays");
    }
    assert_below("time until all were ended", start.elapsed(), secs(4));
    server.wait_for_descriptors(base, SOON);
    std::thread::sleep(secs(1));
    assert_below("CPU after the half-closes", server.cpu_since(cpu), millis(300));
}

#[test]
fn lc_02_what_came_before_the_fin_is_answered() {
    let server = Launch::echo().start();
    let mut client = Client::connect(server.addr);
    client.send(upgrade_request("/", "").as_bytes());
    client.send(&text("last words"));
    client.half_close();
    assert_eq!(client.head().status, 101);
    client.expect_text("last words");
    assert_ne!(client.end(secs(4)), End::Timeout);
}

#[test]
fn lc_05_an_unanswered_close_is_ended_at_the_deadline() {
    let server = Launch::echo().start();
    let base = server.descriptors();
    // Each is failed by the server, gives no Close back, and keeps its own side open.
    let mut quiet = Client::open(server.addr);
    let mut talking = Client::open(server.addr);
    let mut deaf = with_a_tiny_window(&server);
    for _ in 0..8 {
        deaf.send(&frame(FIN | BINARY, &vec![0; 60_000]));
    }
    for client in [&mut quiet, &mut talking, &mut deaf] {
        client.send(&frame(FIN | 3, b"a protocol error"));
    }
    let start = Instant::now();
    assert_eq!(quiet.frame().close_code(), Some(1002));
    assert_eq!(talking.frame().close_code(), Some(1002));
    while start.elapsed() < secs(12) && server.descriptors() > base {
        let _ = talking.try_send(&text("and on and on"));
        std::thread::sleep(millis(100));
    }
    assert!(server.descriptors() <= base, "{} descriptors stay", server.descriptors() - base);
    quiet.expect_end(secs(1));
    drop(deaf);
}

/// A client that reads nothing, with a receive window to match.
fn with_a_tiny_window(server: &Server) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket));
    client.send(upgrade_request("/", "").as_bytes());
    assert_eq!(client.head().status, 101);
    client
}

#[test]
fn lc_06_there_is_one_close_each_way() {
    let server = Launch::echo().start();
    let close = frame(FIN | CLOSE, &1000_u16.to_be_bytes());
    // Twice at once; behind a protocol error; crossing the server's own failure.
    let mut double = Client::open(server.addr);
    double.send(&close.repeat(2));
    let mut failed = Client::open(server.addr);
    failed.send(&[frame(FIN | 3, b""), close.clone()].concat());
    let mut answered = Client::open(server.addr);
    answered.send(&[text("first"), close].concat());
    answered.expect_text("first");
    for (client, code) in [(&mut double, 1000), (&mut failed, 1002), (&mut answered, 1000)] {
        let got = client.frame();
        assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(code)));
        client.expect_end(SOON);
    }
}

#[test]
fn lc_06_nothing_queued_goes_out_behind_a_close() {
    let mut server = Launch::fanout().start();
    let mut speaker = Client::open(server.addr);
    for round in 0..30 {
        let mut leaver = Client::open(server.addr);
        let mut bytes: Vec<u8> = (0..50).flat_map(|i| text(&format!("{round} {i}"))).collect();
        bytes.extend(frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
        // Both in one batch for the server, in either order.
        if round % 2 == 0 {
            speaker.send(&text("crossing"));
            leaver.send(&bytes);
        } else {
            leaver.send(&bytes);
            speaker.send(&text("crossing"));
        }
        let mut closes = 0;
        while let Ok(got) = leaver.try_frame(SOON) {
            assert_eq!(closes, 0, "{got:?} behind the Close");
            closes += usize::from(got.opcode == CLOSE);
        }
        assert_eq!(closes, 1);
        let heard: Vec<Frame> = (0..51).map(|_| speaker.message()).collect();
        assert_eq!(heard.iter().filter(|frame| frame.payload == b"crossing").count(), 1);
    }
    server.assert_alive();
}

#[test]
fn lc_07_a_reused_slot_gets_nothing_of_its_predecessor() {
    let mut server = Launch::fanout().start();
    let mut steady = Client::open(server.addr);
    let mut dice = Dice::new(11);
    for round in 0..60 {
        let mut old: Vec<Client> = (0..12).map(|_| Client::open(server.addr)).collect();
        let mut fresh: Vec<Client> = (0..12).map(|_| Client::connect(server.addr)).collect();
        steady.send(&text(&format!("to round {round}")));
        for client in old.drain(..) {
            match dice.below(3) {
                0 => client.reset(),
                1 => drop(client),
                _ => client.stream.shutdown(std::net::Shutdown::Both).unwrap(),
            }
        }
        for client in &mut fresh {
            client.send(upgrade_request("/", "").as_bytes());
        }
        for client in &mut fresh {
            assert_eq!(client.head().status, 101, "round {round}: nothing comes before the handshake");
        }
        let own = format!("from round {round}");
        fresh[0].send(&text(&own));
        for client in &mut fresh {
            let mut got = client.message();
            // The handshake may have been done before the round's first message went out, never a round earlier.
            if got.payload == format!("to round {round}").into_bytes() {
                got = client.message();
            }
            assert_eq!(String::from_utf8_lossy(&got.payload), own);
        }
        steady.expect_text(&format!("to round {round}"));
        steady.expect_text(&own);
    }
    server.assert_alive();
}

#[test]
fn lc_08_two_thousand_handshakes_at_once_are_all_accepted() {
    let server = Launch::echo().start();
    // The server stands still while they come: all of them wait in its backlog.
    server.signal("STOP");
    let mut clients: Vec<Client> = (0..2000).map(|_| Client::connect(server.addr)).collect();
    let request = upgrade_request("/", "");
    for client in &mut clients {
        client.send(request.as_bytes());
    }
    server.signal("CONT");
    for client in &mut clients {
        let head = client.try_head(secs(20)).expect("an answer");
        assert_eq!(head.status, 101);
    }
    for client in clients.iter_mut().step_by(97) {
        client.echo("one of two thousand");
    }
}

#[test]
fn s39_s42_both_signals_send_a_close_to_everybody_and_exit_with_0() {
    // The chat's clients are to come back: 1012. For the others nothing follows: 1001.
    for (launch, signal, code) in
        [(Launch::serve(), "TERM", 1012), (Launch::echo(), "INT", 1001), (Launch::fanout(), "TERM", 1001)]
    {
        let mut server = launch.start();
        let mut clients: Vec<Client> = (0..50).map(|_| Client::open(server.addr)).collect();
        let mut in_message = Client::open(server.addr);
        in_message.send(&frame(TEXT, b"half a mes"));
        clients.push(in_message);
        let mute = Client::connect(server.addr);
        std::thread::sleep(millis(100));
        server.signal(signal);
        for client in &mut clients {
            let mut got = client.frame();
            if got.opcode == TEXT {
                got = client.frame(); // the chat's first message
            }
            assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(code)), "{got:?}");
            client.answer_close(&got.payload);
        }
        drop(mute);
        assert_eq!(server.wait(secs(12)).code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn s39_an_idle_server_exits_at_once() {
    for signal in ["TERM", "INT"] {
        let mut server = Launch::serve().start();
        let start = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait(SOON).code(), Some(0));
        assert_below("time to exit", start.elapsed(), secs(3));
    }
}

/// A server that was told to end while a client holds up the drain by neither reading nor closing.
fn draining() -> (Server, Client) {
    let server = Launch::echo().start();
    let mut deaf = with_a_tiny_window(&server);
    let mut writer = Client::over(deaf.stream.try_clone().unwrap());
    writer.stream.set_write_timeout(Some(secs(1))).unwrap();
    // More than the buffers of the kernel take, until the server itself stops reading.
    while writer.try_send(&frame(FIN | BINARY, &vec![0; 100_000])).is_ok() {}
    deaf.take_unread();
    server.signal("TERM");
    (server, deaf)
}

#[test]
fn s39_a_peer_that_never_reads_cannot_hold_up_the_exit() {
    let (mut server, _deaf) = draining();
    assert_eq!(server.wait(secs(14)).code(), Some(0));
}

#[test]
fn pr_02_s39_a_second_signal_during_the_drain_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let (mut server, _deaf) = draining();
        std::thread::sleep(millis(300));
        server.assert_alive();
        let start = Instant::now();
        server.signal(signal);
        server.wait(SOON);
        assert_below("time to exit", start.elapsed(), secs(2));
    }
}

#[test]
fn s39_a_draining_server_takes_no_new_connection() {
    let (server, _deaf) = draining();
    std::thread::sleep(millis(300));
    if let Ok(stream) = TcpStream::connect(server.addr) {
        let mut late = Client::over(stream);
        let _ = late.try_send(upgrade_request("/", "").as_bytes());
        assert!(late.try_head(secs(1)).is_err(), "a handshake during the drain");
    }
}
