//! FR-12 to FR-14, MS-01 and LC-12: floods of what is small, with a healthy client beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::support::{
    BINARY, CLOSE, Client, FIN, Frame, Launch, PING, PONG, SOON, Server, StopOnDrop, TEXT, assert_below,
    frame, millis, secs, text,
};

/// Echoes once in a while until all of `floods` are over; returns the longest time that took, and the largest RSS seen.
fn serve_meanwhile(
    server: &Server,
    healthy: &mut Client,
    floods: &[ScopedJoinHandle<'_, usize>],
) -> (Duration, u64) {
    let (mut slowest, mut rss) = (Duration::ZERO, server.rss_kib());
    loop {
        let is_last = floods.iter().all(ScopedJoinHandle::is_finished);
        let start = Instant::now();
        healthy.echo("during the flood");
        slowest = slowest.max(start.elapsed());
        rss = rss.max(server.rss_kib());
        if is_last {
            return (slowest, rss);
        }
        std::thread::sleep(millis(5));
    }
}

/// Writes the bytes in pieces of 64 KiB until the server takes no more; returns how many pieces it took.
fn pour(client: &mut Client, bytes: &[u8]) -> usize {
    client.stream.set_write_timeout(Some(millis(500))).unwrap();
    bytes.chunks(65_536).take_while(|piece| client.try_send(piece).is_ok()).count()
}

#[test]
fn fr_12_pings_whose_pongs_nobody_reads_are_not_kept() {
    let mut server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut peers: Vec<Client> = (0..20).map(|_| Client::open(server.addr)).collect();
    let (rss, cpu) = (server.rss_kib(), server.cpu());
    let ping = frame(FIN | PING, &[b'p'; 125]);
    let pings = ping.repeat(10_000_000 / ping.len());
    let (slowest, highest) = std::thread::scope(|scope| {
        let floods: Vec<_> = peers.iter_mut().map(|peer| scope.spawn(|| pour(peer, &pings))).collect();
        serve_meanwhile(&server, &mut healthy, &floods)
    });
    assert_below("growth in KiB", highest.saturating_sub(rss), 8 * 1024);
    assert_below("the slowest echo", slowest, secs(2));
    assert_below("CPU", server.cpu_since(cpu), secs(10));
    server.assert_alive();
    Client::open(server.addr).echo("after");
}

#[test]
fn fr_12_pings_behind_answers_that_nobody_reads_are_not_kept() {
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut peers: Vec<Client> = (0..20).map(|_| Client::open(server.addr)).collect();
    let rss = server.rss_kib();
    // Few enough pings for the limit on control frames, so it is the full output that has to stop them.
    let turn = [frame(FIN | BINARY, &vec![7; 60_000]), frame(FIN | PING, &[b'p'; 125])].concat();
    let bytes = turn.repeat(10_000_000 / turn.len());
    let (slowest, highest) = std::thread::scope(|scope| {
        let floods: Vec<_> = peers.iter_mut().map(|peer| scope.spawn(|| pour(peer, &bytes))).collect();
        serve_meanwhile(&server, &mut healthy, &floods)
    });
    assert_below("growth in KiB", highest.saturating_sub(rss), 20 * 1024);
    assert_below("the slowest echo", slowest, secs(2));
}

#[test]
fn fr_13_a_flood_of_pongs_is_cut() {
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let (rss, cpu) = (server.rss_kib(), server.cpu());
    let mut client = Client::open(server.addr);
    let pongs = frame(FIN | PONG, b"").repeat(100_000);
    let (slowest, highest) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| pour(&mut client, &pongs));
        serve_meanwhile(&server, &mut healthy, &[flood])
    });
    let got = client.frame();
    assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(1008)), "{got:?}");
    assert_eq!(String::from_utf8_lossy(&got.payload[2..]), "too many control frames");
    client.answer_close(&got.payload);
    assert_below("the slowest echo", slowest, secs(1));
    assert_below("growth in KiB", highest.saturating_sub(rss), 4096);
    assert_below("CPU", server.cpu_since(cpu), secs(2));
    healthy.echo("after");
}

#[test]
fn fr_13_some_pongs_that_nobody_asked_for_are_ignored() {
    let server = Launch::echo().start();
    let mut client = Client::open(server.addr);
    client.send(&frame(FIN | PONG, b"unasked").repeat(500));
    client.echo("nothing happened");
    // The limit is on a second and not on a connection.
    for _ in 0..2 {
        std::thread::sleep(millis(1100));
        client.send(&frame(FIN | PONG, &[0; 125]).repeat(500));
        client.echo("nothing happened again");
    }
}

#[test]
fn fr_14_empty_messages_in_masses_are_echoed_and_hold_up_nobody() {
    const COUNT: usize = 100_000;
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut client = Client::open(server.addr);
    let mut sending = Client::over(client.stream.try_clone().unwrap());
    let (rss, cpu) = (server.rss_kib(), server.cpu());
    let empty = Frame { fin: true, rsv1: false, opcode: TEXT, payload: Vec::new() };
    let (slowest, highest) = std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            sending.send(&text("").repeat(COUNT));
            COUNT
        });
        let reader =
            scope.spawn(|| (0..COUNT).take_while(|_| client.try_frame(SOON).as_ref() == Ok(&empty)).count());
        let floods = [sender, reader];
        let seen = serve_meanwhile(&server, &mut healthy, &floods);
        for flood in floods {
            assert_eq!(flood.join().unwrap(), COUNT);
        }
        seen
    });
    client.echo("and the next");
    assert_below("the slowest echo", slowest, secs(1));
    assert_below("growth in KiB", highest.saturating_sub(rss), 4096);
    // 50 µs for each, in a build without optimization.
    assert_below("CPU", server.cpu_since(cpu), secs(5));
}

#[test]
fn fr_14_empty_messages_whose_echo_nobody_reads_are_held_back() {
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut client = Client::open(server.addr);
    let (rss, cpu) = (server.rss_kib(), server.cpu());
    let empty = text("").repeat(8_000_000);
    let (slowest, highest) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| pour(&mut client, &empty));
        serve_meanwhile(&server, &mut healthy, &[flood])
    });
    assert_below("the slowest echo", slowest, secs(1));
    assert_below("growth in KiB", highest.saturating_sub(rss), 8 * 1024);
    assert_below("CPU", server.cpu_since(cpu), secs(10));
}

#[test]
fn ms_01_messages_of_one_byte_fragments_cost_what_their_bytes_cost() {
    const PEERS: usize = 8;
    const FRAGMENTS: usize = 600_000;
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let mut peers: Vec<Client> = (0..PEERS).map(|_| Client::open(server.addr)).collect();
    let (rss, cpu) = (server.rss_kib(), server.cpu());
    let pieces =
        [frame(TEXT, b"x"), frame(0, b"x").repeat(FRAGMENTS - 1), frame(FIN | PING, b"all")].concat();
    std::thread::scope(|scope| {
        let senders = peers.iter_mut().map(|peer| {
            scope.spawn(|| {
                peer.send(&pieces);
                // All of it has been read, and the message is still not whole.
                peer.try_frame(secs(20)).map(|got| (got.opcode, got.payload))
            })
        });
        let senders: Vec<_> = senders.collect();
        for _ in 0..20 {
            healthy.echo("during");
        }
        for sender in senders {
            assert_eq!(sender.join().unwrap(), Ok((PONG, b"all".to_vec())));
        }
    });
    // A buffer that doubles holds at most two bytes for one; nothing is kept per fragment.
    let payload = (PEERS * FRAGMENTS / 1024) as u64;
    assert_below("growth in KiB, unfinished", server.rss_kib().saturating_sub(rss), 2 * payload + 4096);
    let message = "x".repeat(FRAGMENTS);
    for peer in &mut peers {
        peer.send(&frame(FIN, b""));
        peer.expect_text(&message);
        peer.echo("and the next");
    }
    assert_below("growth in KiB", server.rss_kib().saturating_sub(rss), 3 * payload + 4096);
    // 2 µs for a fragment is what a build without optimization may take; a copy for each would take minutes.
    assert_below("CPU", server.cpu_since(cpu), secs(10));
}

#[test]
fn lc_12_two_floods_starve_nobody() {
    // Sent as fast as the server takes them, for as long as the healthy client needs.
    let server = Launch::echo().start();
    let mut healthy = Client::open(server.addr);
    let mut peers: Vec<Client> = (0..2).map(|_| Client::open(server.addr)).collect();
    let is_over = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        for peer in &mut peers {
            let mut sending = Client::over(peer.stream.try_clone().unwrap());
            let bytes = frame(FIN | BINARY, &[7; 20]).repeat(2000);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && sending.try_send(&bytes).is_ok() {}
                sending.half_close();
            });
            // Reads until the server has answered all of it and ends.
            scope.spawn(move || while peer.try_frame(secs(20)).is_ok() {});
        }
        let _stop = StopOnDrop(&is_over);
        let mut slowest = Duration::ZERO;
        for i in 0..300 {
            let start = Instant::now();
            healthy.echo(&format!("message {i} beside two floods"));
            slowest = slowest.max(start.elapsed());
        }
        slowest
    });
    assert_below("the slowest echo", slowest, secs(1));
}
