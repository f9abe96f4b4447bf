//! RX rows: descriptors run out, and system calls fail in every way they may.

use std::time::{Duration, Instant};

use std::net::{Ipv4Addr, TcpListener};

use crate::support::{
    BINARY, CLOSE, Client, FIN, Launch, SOON, Server, assert_below, frame, millis, secs, upgrade_request,
    wait_until,
};

/// A server without a descriptor left, its established clients, and some whom it cannot accept.
struct Full {
    server: Server,
    established: Vec<Client>,
    parked: Vec<Client>,
}

fn fill_up() -> Full {
    let server = Launch::echo().with_descriptors(64).start();
    let mut waiting: Vec<Client> = (0..100).map(|_| Client::connect(server.addr)).collect();
    for client in &mut waiting {
        client.send(upgrade_request("/", "").as_bytes());
    }
    let mut established = Vec::new();
    let mut parked = Vec::new();
    for mut client in waiting {
        let answered = client.try_head(if parked.is_empty() { secs(1) } else { millis(1) }).is_ok();
        if answered { established.push(client) } else { parked.push(client) }
    }
    assert!(established.len() >= 20, "only {} of 64 descriptors serve somebody", established.len());
    assert!(parked.len() >= 36, "more connections than descriptors");
    Full { server, established, parked }
}

#[test]
fn rx_01_a_server_without_descriptors_stays_calm() {
    let Full { mut server, mut established, parked } = fill_up();
    let (cpu, lines) = (server.cpu(), server.log().len());
    let start = Instant::now();
    while start.elapsed() < secs(2) {
        for client in &mut established {
            client.echo("served as ever");
        }
        std::thread::sleep(millis(200));
    }
    assert_below("CPU in 2 s of EMFILE", server.cpu_since(cpu), millis(500));
    assert_below("log lines in 2 s", server.log().len() - lines, 10);
    server.assert_alive();
    drop(parked);
}

#[test]
fn rx_02_parked_connections_are_served_once_descriptors_are_free() {
    let Full { server, mut established, mut parked } = fill_up();
    // No new connection comes: an edge-triggered server hears of nothing, its own timer has to try again.
    std::thread::sleep(millis(500));
    let half = established.len() / 2;
    established.truncate(half);
    let start = Instant::now();
    for client in parked.iter_mut().take(half - 2) {
        client.try_head(secs(4)).expect("a parked connection is accepted");
        client.echo("at last");
    }
    assert_below("time until the parked ones were served", start.elapsed(), secs(4));
    for client in &mut established {
        client.echo("undisturbed");
    }
    drop(established);
    for client in parked.iter_mut().skip(half - 2).take(half) {
        client.try_head(secs(4)).expect("the rest too");
    }
    assert_below("CPU of it all", server.cpu(), secs(2));
}

#[test]
fn rx_03_an_empty_queue_under_emfile_is_no_endless_loop() {
    let Full { server, mut established, parked } = fill_up();
    // The parked ones give up: accept can only say EMFILE or EAGAIN now, and no client is left to wait for.
    for client in parked {
        client.reset();
    }
    std::thread::sleep(millis(300));
    let cpu = server.cpu();
    std::thread::sleep(secs(2));
    assert_below("CPU in 2 s", server.cpu_since(cpu), millis(300));
    established[0].echo("still here");
    drop(established);
    std::thread::sleep(secs(1));
    let mut next = Client::connect(server.addr);
    next.send(upgrade_request("/", "").as_bytes());
    next.try_head(secs(4)).expect("and accepting again");
    next.echo("a new one");
}

#[test]
fn rx_04_no_error_of_accept_stops_the_server() {
    for error in ["ENFILE", "EMFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPERM", "EPROTO"] {
        let fault = format!("accept4:error={error}:when=2+2");
        let mut server = Launch::echo().with_faults(&[&fault]).start();
        let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(server.addr)).collect();
        for client in &mut clients {
            client.send(upgrade_request("/", "").as_bytes());
        }
        for client in &mut clients {
            let head = client.try_head(secs(8)).unwrap_or_else(|end| panic!("{error}: {end:?}"));
            assert_eq!(head.status, 101);
            client.echo(error);
        }
        let cpu = server.cpu();
        std::thread::sleep(millis(500));
        assert_below(&format!("CPU in 0.5 s after {error}"), server.cpu_since(cpu), millis(250));
        server.assert_alive();
    }
}

#[test]
fn rx_05_an_interrupted_call_is_made_again() {
    // `read` is left out: the loader of the program reads with it, and does not try again.
    let reads = "epoll_wait,epoll_pwait,epoll_pwait2,recvfrom,recvmsg,readv,accept4";
    let all = &format!("{reads},sendto,sendmsg,writev");
    for (calls, when) in [(all, "1+2"), (all, "3+7"), (&reads.to_owned(), "2+3")] {
        let fault = format!("{calls}:error=EINTR:when={when}");
        let mut server = Launch::echo().with_faults(&[&fault]).start();
        for _ in 0..5 {
            let mut client = Client::open(server.addr);
            for i in 0..20 {
                client.echo(&format!("message {i}"));
            }
            client.send(&frame(FIN | BINARY, &vec![5; 150_000]));
            client.expect(BINARY, &vec![5; 150_000]);
            client.send(&frame(FIN | 8, &1000_u16.to_be_bytes()));
            client.expect_close(1000);
        }
        server.assert_alive();
        // A signal handler may tell the loop with a send that cannot block, so that EINTR never happens to it.
        if !calls.contains("sendto") {
            server.signal("TERM");
            assert_eq!(server.wait(secs(10)).code(), Some(0));
        }
    }
}

/// Opens connections one after the other until `wanted` of them have echoed; each may die of the injected fault.
fn survivors(server: &Server, wanted: usize, limit: Duration) -> usize {
    let mut dead = 0;
    let mut alive = 0;
    let deadline = Instant::now() + limit;
    while alive < wanted {
        assert!(Instant::now() < deadline, "{alive} of {wanted} connections lived, {dead} died");
        let mut client = Client::connect(server.addr);
        let lived = client.try_send(upgrade_request("/", "").as_bytes()).is_ok()
            && client.try_head(SOON).is_ok()
            && client.try_send(&crate::support::text("are you there")).is_ok()
            && client.try_frame(SOON).is_ok();
        if lived {
            alive += 1;
        } else {
            dead += 1;
        }
    }
    dead
}

#[test]
fn rx_06_a_failing_read_or_write_costs_one_connection() {
    for calls in ["sendto,sendmsg,writev,write", "recvfrom,recvmsg,readv"] {
        for error in ["EPIPE", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"] {
            // A server that reads and writes sockets with other calls would go untouched: then this proves nothing.
            // The step is prime, so that it meets each of the few calls that a connection takes.
            let fault = format!("{calls}:error={error}:when=7+5");
            let mut server = Launch::echo().with_faults(&[&fault]).start();
            let base = server.descriptors();
            let dead = survivors(&server, 12, secs(20));
            assert!(dead >= 1, "{error} never reached a connection through {calls}");
            server.assert_alive();
            wait_until(SOON, "dead connections are freed", || server.descriptors() <= base + 1);
        }
    }
}

#[test]
fn rx_06_writing_to_a_peer_that_is_gone_kills_nobody() {
    let mut server = Launch::fanout().start();
    let mut speaker = Client::open(server.addr);
    for _ in 0..20 {
        let gone: Vec<Client> = (0..5).map(|_| Client::open(server.addr)).collect();
        server.signal("STOP");
        gone.into_iter().for_each(Client::reset);
        for i in 0..5 {
            speaker.send(&crate::support::text(&format!("into the void {i}")));
        }
        server.signal("CONT");
        for i in 0..5 {
            speaker.expect_text(&format!("into the void {i}"));
        }
    }
    server.assert_alive();
}

#[test]
fn rx_08_what_cannot_be_allocated_costs_one_connection() {
    const LEN: usize = 40 << 20;
    let room = Launch::echo().start().address_space_kib();
    let mut server = Launch::echo().with_address_space(room + 64 * 1024).start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let message = frame(FIN | BINARY, &vec![7; LEN]);
    let mut refused = 0;
    let mut peers: Vec<Client> = (0..4).map(|_| Client::open(server.addr)).collect();
    for peer in &mut peers {
        // All but the end of a message: it stays in memory. Some of them do not fit.
        let is_refused = peer.try_send(&message[..message.len() - 1]).is_err();
        // The server may still be reading what the kernel holds; who comes after it is answered when that is done.
        healthy.echo("behind");
        if is_refused || peer.has_ended() {
            refused += 1;
            if let Ok(got) = peer.try_frame(SOON) {
                assert_eq!((got.opcode, got.close_code()), (CLOSE, Some(1013)), "{got:?}");
            }
        }
        healthy.echo("meanwhile");
    }
    assert!(refused >= 1, "160 MiB do not fit into 64");
    server.assert_alive();
    drop(peers);
    let mut next = Client::open(server.addr);
    next.send(&frame(FIN | BINARY, &vec![1; 1 << 20]));
    next.expect(BINARY, &vec![1; 1 << 20]);
}

#[test]
fn rx_10_a_restart_finds_its_port_free() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let launch = || Launch::switchboard(&["echo", "--listen", &address]).start();
    for signal in ["TERM", "KILL"] {
        let mut server = launch();
        // The server ends these first (RFC 6455 7.1.1), so it is its side that waits out the TCP connection.
        for _ in 0..1000 {
            let mut client = Client::open(server.addr);
            client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            client.expect_close(1000);
        }
        let _open: Vec<Client> = (0..100).map(|_| Client::open(server.addr)).collect();
        server.signal(signal);
        server.wait(secs(15));
    }
    Client::open(launch().addr).echo("at once");
}

#[test]
fn lc_09_everybody_comes_back_at_once_after_a_restart() {
    const CLIENTS: usize = 2000;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let launch = || Launch::switchboard(&["fanout", "--listen", &address]).start();
    let mut server = launch();
    let before: Vec<Client> = (0..CLIENTS).map(|_| Client::open(server.addr)).collect();
    server.signal("KILL");
    server.wait(SOON);
    drop(before);
    let mut server = launch();
    let cpu = server.cpu();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.addr)).collect();
    for client in &mut clients {
        client.send(upgrade_request("/", "").as_bytes());
    }
    for client in &mut clients {
        assert_eq!(client.try_head(secs(20)).expect("an answer").status, 101);
    }
    clients[0].send(&crate::support::text("all are here"));
    for client in &mut clients {
        client.expect_text("all are here");
    }
    assert_below("CPU", server.cpu_since(cpu), secs(10));
    server.assert_alive();
}

#[test]
fn rx_11_bad_peers_do_not_flood_the_log() {
    let server = Launch::serve().start();
    let lines = server.log().len();
    for i in 0..10_000 {
        let mut client = Client::connect(server.addr);
        let request = match i % 4 {
            0 => "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
            1 => "\x16\x03\x01 this is no HTTP\r\n\r\n",
            2 => {
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\nConnection: \
                  Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            }
            _ => "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        };
        client.send(request.as_bytes());
        let _ = client.end(SOON);
    }
    for _ in 0..1000 {
        let mut client = Client::upgrade(server.addr, "/ws", "").0;
        client.send(&frame(FIN | 3, b"reserved"));
        client.reset();
    }
    Client::connect(server.addr).reset();
    std::thread::sleep(millis(200));
    assert_below("log lines", server.log().len() - lines, 100);
}

#[test]
fn rx_12_connections_that_come_and_go_leave_no_timers() {
    let mut server = Launch::echo().start();
    let base = server.descriptors();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        // Each arms a timer for its handshake, one for its silence, and one for its end.
        for _ in 0..40 {
            let mut clients: Vec<Client> = (0..50).map(|_| Client::open(server.addr)).collect();
            for client in &mut clients {
                client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            }
            for client in &mut clients {
                client.expect_close(1000);
            }
        }
        server.wait_for_descriptors(base, SOON);
        sizes.push(server.rss_kib());
    }
    assert_below("growth in KiB over 10,000 connections", sizes[5].saturating_sub(sizes[0]), 256);
    server.assert_alive();
}

#[test]
fn rx_07_all_queues_together_have_a_ceiling() {
    const CEILING: usize = 16 << 20;
    let server = Launch::echo().args(&["--max-queued", &CEILING.to_string()]).start();
    let mut healthy = Client::open(server.addr);
    healthy.echo("before");
    let rss = server.rss_kib();
    let message = frame(FIN | BINARY, &vec![7; 60_000]);
    let mut slow: Vec<Client> = Vec::new();
    let mut refused = None;
    for _ in 0..600 {
        let mut client = tiny_window_to(&server);
        client.send(upgrade_request("/", "").as_bytes());
        let head = client.head();
        if head.status != 101 {
            refused = Some(head);
            break;
        }
        // Until the server reads no more from a peer that reads nothing.
        client.stream.set_write_timeout(Some(millis(20))).unwrap();
        while client.try_send(&message).is_ok() {}
        slow.push(client);
        healthy.echo("during");
    }
    let refused = refused.expect("the ceiling is reached");
    assert_eq!(refused.status, 503);
    assert!(refused.field("retry-after").is_some(), "{}", refused.raw);
    healthy.echo("who is there is served");
    assert_below(
        "growth in KiB",
        server.rss_kib().saturating_sub(rss),
        (CEILING / 1024) as u64 * 6 / 5 + 4096,
    );
    drop(slow);
    wait_until(SOON, "new ones are taken again", || {
        let mut client = Client::connect(server.addr);
        client.send(upgrade_request("/", "").as_bytes());
        client.try_head(SOON).is_ok_and(|head| head.status == 101)
    });
}

/// A connection with a receive window so small that little is on its way to it.
fn tiny_window_to(server: &Server) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    Client::over(std::net::TcpStream::from(socket))
}

#[test]
fn rx_09_more_connections_than_the_limit_are_told_to_come_later() {
    const LIMIT: usize = 10;
    let server = Launch::echo().args(&["--max-connections", &LIMIT.to_string()]).start();
    let base = server.descriptors();
    // The count is exact, however often they come and go.
    for round in 0..30 {
        let mut clients: Vec<Client> = (0..LIMIT).map(|_| Client::open(server.addr)).collect();
        for _ in 0..5 {
            let mut over = Client::connect(server.addr);
            over.send(upgrade_request("/", "").as_bytes());
            let (head, _) = over.response();
            assert_eq!(head.status, 503, "{}", head.raw);
            assert!(head.field("retry-after").is_some(), "{}", head.raw);
            over.expect_end(SOON);
        }
        for client in &mut clients {
            client.echo("served");
        }
        let leaving: Vec<Client> = clients.drain(..3).collect();
        for (i, mut client) in leaving.into_iter().enumerate() {
            match (round + i) % 3 {
                0 => client.half_close(),
                1 => client.reset(),
                _ => {
                    client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
                    client.expect_close(1000);
                }
            }
        }
        wait_until(SOON, "three are gone", || server.descriptors() <= base + LIMIT - 3);
        clients.extend((0..3).map(|_| Client::open(server.addr)));
        let mut over = Client::connect(server.addr);
        over.send(upgrade_request("/", "").as_bytes());
        assert_eq!(over.head().status, 503);
        drop(clients);
        drop(over);
        server.wait_for_descriptors(base, SOON);
    }
}
