//! SC rows: peers that do not read what they are sent.

use std::net::{SocketAddr, TcpStream};

use crate::support::{
    BINARY, CLOSE, Client, End, FIN, Launch, SOON, Server, TEXT, assert_below, frame, millis, secs, text,
    upgrade_request, wait_until,
};

/// The `fanout` server with the smallest queues that its options allow: 1 MiB and two messages for each connection.
const QUEUE_KIB: u64 = 1024 + 2 * 64;

fn busy_room() -> Server {
    Launch::fanout().args(&["--max-message", "65536"]).start()
}

/// The same with queues of some 9 MiB, in which all that is not in the kernel's buffers (about 3 MB) can wait.
fn patient_room(more: &[&str]) -> Server {
    Launch::fanout().args(&["--max-message", "4194304"]).args(more).start()
}

/// Messages that are more than the kernel takes for one sleeper, and less than a patient room keeps.
const WAITING: usize = 300;

/// A client that reads nothing, with a receive window to match.
fn sleeper(server: &Server) -> Client {
    tiny_window(server.addr)
}

pub(crate) fn tiny_window(addr: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&addr.into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket));
    client.send(upgrade_request("/", "").as_bytes());
    assert_eq!(client.head().status, 101);
    client
}

/// A message that says which one it is.
fn numbered(number: usize) -> String {
    format!("{number:08} {}", "x".repeat(16_000))
}

#[test]
fn sc_01_an_echo_that_is_never_read_stops_its_sender_and_loses_nothing() {
    const PEERS: usize = 20;
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let rss = server.rss_kib();
    let mut peers: Vec<(Client, usize)> = (0..PEERS).map(|_| (sleeper(&server), 0)).collect();
    std::thread::scope(|scope| {
        for (peer, sent) in &mut peers {
            scope.spawn(move || {
                // The kernel's buffers take some megabytes; then the server stops reading.
                let mut writer = Client::over(peer.stream.try_clone().unwrap());
                writer.stream.set_write_timeout(Some(secs(1))).unwrap();
                while *sent < 1000
                    && writer.try_send(&frame(FIN | BINARY, &vec![*sent as u8; 65_536])).is_ok()
                {
                    *sent += 1;
                }
            });
        }
    });
    for (_, sent) in &peers {
        assert!(*sent < 1000, "the server takes without end from a peer that reads nothing");
    }
    healthy.echo("meanwhile");
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), PEERS as u64 * 512);
    // What was taken comes back, whole and in order, once it is read.
    let (peer, sent) = &mut peers[0];
    for i in 0..*sent {
        peer.expect(BINARY, &vec![i as u8; 65_536]);
    }
}

#[test]
fn sc_02_sc_05_sleepers_in_a_busy_room_are_closed_and_told_so() {
    const SLEEPERS: usize = 20;
    let mut server = busy_room();
    let base = server.descriptors();
    let mut speaker = Client::open(server.addr);
    let mut awake = Client::open(server.addr);
    speaker.send(&text("a first one"));
    speaker.expect_text("a first one");
    awake.expect_text("a first one");
    let rss = server.rss_kib();
    let mut sleepers: Vec<Client> = (0..SLEEPERS).map(|_| sleeper(&server)).collect();
    let mut highest = 0;
    // Everyone who reads gets everything, in order, however many sleep.
    for number in 0..1000 {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
        awake.expect_text(&numbered(number));
        highest = highest.max(server.rss_kib());
    }
    // What waits for twenty is there once, not twenty times.
    assert_below("growth in KiB", highest.saturating_sub(rss), 4 * QUEUE_KIB);
    for client in &mut sleepers {
        // Nothing is left out in silence: all up to one, and then the reason why no more comes.
        let mut next = 0;
        let close = loop {
            let got = client.try_frame(SOON).expect("a message or a Close");
            if got.opcode == CLOSE {
                break got;
            }
            assert_eq!(String::from_utf8_lossy(&got.payload), numbered(next));
            next += 1;
        };
        assert!(next < 1000, "16 MB fit into no queue");
        assert_eq!(close.close_code(), Some(1008));
        assert_eq!(&close.payload[2..], b"slow consumer");
        client.answer_close(&close.payload);
    }
    wait_until(secs(12), "the sleepers' descriptors are free", || server.descriptors() <= base + 2);
    server.assert_alive();
}

#[test]
fn sc_04_half_of_a_thousand_subscribers_stall() {
    const HALF: usize = 500;
    let server = patient_room(&[]);
    let mut awake: Vec<Client> = (0..HALF).map(|_| Client::open(server.addr)).collect();
    let asleep: Vec<Client> = (0..HALF).map(|_| sleeper(&server)).collect();
    let rss = server.rss_kib();
    let mut highest = 0;
    for number in 0..WAITING {
        awake[number].send(&text(&numbered(number)));
        for client in &mut awake {
            client.expect_text(&numbered(number));
        }
        highest = highest.max(server.rss_kib());
    }
    // About 2 MB wait for each of 500, and all are the same bytes.
    assert_below("growth in KiB", highest.saturating_sub(rss), 32 * 1024);
    for mut client in asleep.into_iter().step_by(50) {
        (0..WAITING).for_each(|number| client.expect_text(&numbered(number)));
    }
}

#[test]
fn sc_06_sleepers_cannot_hold_up_the_exit() {
    let mut server = patient_room(&[]);
    let mut speaker = Client::open(server.addr);
    let sleepers: Vec<Client> = (0..20).map(|_| sleeper(&server)).collect();
    for number in 0..WAITING {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
    }
    server.signal("TERM");
    assert_eq!(speaker.frame().close_code(), Some(1001));
    assert_eq!(server.wait(secs(14)).code(), Some(0));
    drop(sleepers);
}

#[test]
fn sc_07_a_close_that_cannot_be_written_frees_its_connection_at_the_deadline() {
    let server = busy_room();
    let mut speaker = Client::open(server.addr);
    speaker.echo("alone");
    let base = server.descriptors();
    let deaf = sleeper(&server);
    // Its window is 0 and its queue full, so it is closed with 1008, which it will never read.
    for number in 0..2 * WAITING {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
    }
    wait_until(secs(12), "the descriptor is free", || server.descriptors() <= base);
    speaker.echo("the others go on");
    drop(deaf);
}

#[test]
fn sc_07_a_close_that_is_behind_a_full_queue_is_not_waited_for() {
    let server = patient_room(&["--max-queue-age", "1000"]);
    let mut speaker = Client::open(server.addr);
    speaker.echo("alone");
    let base = server.descriptors();
    let mut deaf = sleeper(&server);
    for number in 0..WAITING {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
    }
    // The server does not read from a peer that does not read, so it never sees this.
    deaf.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    wait_until(secs(12), "the descriptor is free", || server.descriptors() <= base);
    speaker.echo("the others go on");
}

#[test]
fn lc_10_a_reader_of_a_few_bytes_at_a_time_gets_every_byte() {
    let server = Launch::echo().start();
    let mut client = sleeper(&server);
    let cpu = server.cpu();
    let message: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 / 5) as u8).collect();
    client.send(&frame(FIN | BINARY, &message));
    // The window is shut for a while: nothing to do for the server but wait.
    std::thread::sleep(secs(2));
    assert_below("CPU while the window is shut", server.cpu_since(cpu), millis(300));
    client.expect(BINARY, &message);
    client.echo("and the next");
}

#[test]
fn lc_10_urgent_data_is_no_special_path() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    let cpu = server.cpu();
    for round in 0..5 {
        socket2::SockRef::from(&client.stream).send_out_of_band(b"!").unwrap();
        client.echo(&format!("after urgent data {round}"));
    }
    std::thread::sleep(secs(1));
    assert_below("CPU after urgent data", server.cpu_since(cpu), millis(300));
    assert_eq!(client.try_frame(millis(50)), Err(End::Timeout));
    let mut text_only = Client::open(server.addr);
    text_only.send(&frame(FIN | TEXT, b"untouched"));
    text_only.expect_text("untouched");
}

#[test]
fn sc_03_a_reader_of_a_trickle_is_cut_when_its_queue_is_too_old() {
    let server = patient_room(&["--max-queue-age", "1000"]);
    let base = server.descriptors();
    let mut speaker = Client::open(server.addr);
    let mut trickle = sleeper(&server);
    trickle.stream.set_read_timeout(Some(millis(50))).unwrap();
    // Its queue is never empty and never full.
    for number in 0..WAITING {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
    }
    let mut some = [0; 100];
    wait_until(secs(15), "the slow one is cut", || {
        let _ = std::io::Read::read(&mut trickle.stream, &mut some);
        server.descriptors() <= base + 1
    });
    // Who reads, slowly but all of it, stays for many of these times.
    let mut reader = Client::open(server.addr);
    for number in 0..8 {
        speaker.send(&text(&numbered(number)));
        speaker.expect_text(&numbered(number));
        std::thread::sleep(millis(300));
        reader.expect_text(&numbered(number));
    }
}
