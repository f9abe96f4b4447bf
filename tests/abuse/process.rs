//! PR rows: what happens to the process as a whole.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::support::{
    CLOSE, Client, End, FIN, Launch, PONG, SOON, Server, StopOnDrop, TEXT, assert_below, frame, millis, secs,
    text, upgrade_request, wait_until,
};

#[test]
fn pr_05_nobody_is_cut_for_the_time_in_which_the_server_stood_still() {
    const CLIENTS: usize = 1500;
    let server = Launch::echo().args(&["--ping-interval", "1000", "--pong-timeout", "3000"]).start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::open(server.addr)).collect();
    // What came, Pings answered.
    let answer = |client: &mut Client| {
        let _ = client.has_ended();
        let mut pings = 0;
        while let Some(ping) = client.parse_frame() {
            assert_ne!(ping.opcode, CLOSE, "somebody was cut: {ping:?}");
            let _ = client.try_send(&frame(FIN | PONG, &ping.payload));
            pings += 1;
        }
        pings
    };
    let answer_all = |clients: &mut Vec<Client>, limit| {
        let start = Instant::now();
        while start.elapsed() < limit {
            for client in clients.iter_mut() {
                answer(client);
            }
        }
    };
    // The server waits for a Pong of everybody, and they all come while it stands still, for longer than it would wait.
    std::thread::sleep(millis(2200));
    server.signal("STOP");
    for client in &mut clients {
        assert_eq!(answer(client), 1, "a Ping is under way");
    }
    std::thread::sleep(secs(4));
    server.signal("CONT");
    answer_all(&mut clients, secs(3));
    let cut = clients.iter_mut().filter_map(|client| client.has_ended().then_some(())).count();
    assert_eq!(cut, 0, "of {CLIENTS} that answered everything");
    server.wait_for_log("stood still");
    // And time goes on: who answers no more is cut, as ever.
    let mut dead = clients.pop().unwrap();
    drop(clients);
    assert_ne!(dead.end(secs(8)), End::Timeout, "nobody is cut any more");
}

#[test]
fn pr_01_many_are_told_when_to_come_back_and_closed_one_after_the_other() {
    const CLIENTS: usize = 400;
    let mut server = Launch::serve().start();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|at| {
            let mut client =
                Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n").0;
            client.send(&text(&format!(r#"{{"type":"hello","user":"user-{at}"}}"#)));
            assert!(client.message().payload.starts_with(br#"{"type":"welcome""#));
            client
        })
        .collect();
    server.signal("TERM");
    let mut retries = Vec::new();
    for client in &mut clients {
        let bye = String::from_utf8(client.message().payload).unwrap();
        assert!(bye.starts_with(r#"{"type":"bye","reason":"shutting_down""#), "{bye}");
        let (_, retry) = bye.split_once(r#""retry_after_ms":"#).expect("when to come back");
        retries.push(retry.trim_end_matches('}').parse::<u64>().unwrap());
    }
    // Everybody has been told; most are open still, and served.
    let mut early = 0;
    clients.retain_mut(|client| match client.try_frame(millis(0)) {
        Ok(close) => {
            assert_eq!(close.close_code(), Some(1012));
            client.answer_close(&close.payload);
            early += 1;
            false
        }
        Err(_) => true,
    });
    assert!(early < CLIENTS / 2, "{early} of {CLIENTS} are closed at once");
    for client in &mut clients {
        client.expect_close(1012);
    }
    retries.sort_unstable();
    assert!(retries[CLIENTS - 1] - retries[0] > 1000, "they would all come back at once: {retries:?}");
    assert_eq!(server.wait(secs(12)).code(), Some(0));
}

#[test]
fn pr_06_two_seconds_of_standstill_under_load_are_caught_up_with() {
    let server = Launch::fanout().start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let mut reader = Client::open(server.addr);
        let mut writer = Client::open(server.addr);
        let stop = &stop;
        let counted = scope.spawn(move || {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                writer.send(&text(&format!("message {sent}")));
                writer.expect_text(&format!("message {sent}"));
                sent += 1;
            }
            sent
        });
        for at in 0..100 {
            reader.expect_text(&format!("message {at}"));
        }
        server.signal("STOP");
        std::thread::sleep(secs(2));
        server.signal("CONT");
        for at in 100..1000 {
            reader.expect_text(&format!("message {at}"));
        }
        stop.store(true, Ordering::Relaxed);
        let sent = counted.join().unwrap();
        for at in 1000..sent {
            reader.expect_text(&format!("message {at}"));
        }
    });
}

/// Breaks the rules so often that a log without a limit would be full of it.
fn chatter(server: &Server, connections: usize) {
    for _ in 0..connections {
        let mut client = Client::open(server.addr);
        client.send(&frame(FIN | CLOSE, &[b"\x03\xe8".as_slice(), &[b'x'; 120]].concat()));
        let _ = client.end(SOON);
    }
}

#[test]
fn pr_08_a_log_that_nobody_reads_holds_up_nobody() {
    // The shell keeps the other end of the pipe open and reads none of it, or closes it at once.
    let program = env!("CARGO_BIN_EXE_switchboard");
    for reader in ["sleep 60", "exec 0<&-; sleep 60"] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!(
            "exec 3>&1; {{ \"$0\" echo --listen 127.0.0.1:{port} 2>&1 >/dev/null & echo $! >&3; }} | {{ {reader}; }}"
        );
        let mut shell = Command::new("sh")
            .args(["-c", &script, program])
            .env("RUST_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group_of_its_own()
            .spawn()
            .unwrap();
        let mut id = String::new();
        let mut out = shell.stdout.take().unwrap();
        while !id.ends_with('\n') {
            let mut octet = [0];
            out.read_exact(&mut octet).unwrap();
            id.push(octet[0] as char);
        }
        let kill = KillOnDrop(vec![id.trim().to_owned(), format!("-{}", shell.id())]);
        let addr = ([127, 0, 0, 1], port).into();
        wait_until(SOON, "it listens", || std::net::TcpStream::connect(addr).is_ok());
        // Some 300 bytes each: the pipe is full after 200 of them, and our own queue after 400.
        for round in 0..1500 {
            let mut client = Client::open(addr);
            client.send(&frame(FIN | CLOSE, &[b"\x03\xe8".as_slice(), &[b'x'; 120]].concat()));
            assert_ne!(client.end(SOON), End::Timeout, "{reader}: round {round}");
        }
        let start = Instant::now();
        Client::open(addr).echo("as ever");
        assert_below("time for an echo", start.elapsed(), secs(2));
        let mut client = Client::connect(addr);
        client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (_, body) = client.response();
        let body = String::from_utf8(body).unwrap();
        let lost =
            body.lines().find_map(|line| line.strip_prefix("switchboard_log_lines_total{cause=\"lost\"} "));
        let lost: u64 = lost.expect("a counter").parse().unwrap();
        assert!(lost > 500, "{reader}: {lost} lines lost");
        drop(kill);
        let _ = shell.wait();
    }
}

/// Ends processes by their ids when it goes.
struct KillOnDrop(Vec<String>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        for id in &self.0 {
            let _ = Command::new("kill").args(["-9", "--", id]).stderr(Stdio::null()).status();
        }
    }
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

#[test]
fn rx_09_one_address_gets_so_many_connections() {
    const LIMIT: usize = 20;
    let server = Launch::echo().args(&["--max-connections-per-address", "20"]).start();
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..LIMIT).map(|_| Client::open(server.addr)).collect();
        for _ in 0..10 {
            let mut late = Client::connect(server.addr);
            let _ = late.try_send(upgrade_request("/", "").as_bytes());
            let head = late.head();
            assert_eq!((head.status, head.field("retry-after")), (503, Some("1")));
            assert_ne!(late.end(SOON), End::Timeout);
        }
        clients[0].echo("one of the first");
        for client in &mut clients {
            client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            client.expect_close(1000);
        }
        // The connections are gone when the server has seen it.
        drop(clients);
        wait_until(SOON, "room", || {
            let mut next = Client::connect(server.addr);
            let _ = next.try_send(upgrade_request("/", "").as_bytes());
            next.head().status == 101
        });
        std::thread::sleep(millis(100));
    }
}

#[test]
fn lc_09_a_storm_is_let_in_at_a_rate_and_told_to_come_back() {
    let server = Launch::echo().args(&["--max-new-per-second", "200"]).start();
    let mut admitted = 0;
    let start = Instant::now();
    let mut refused = 0;
    while start.elapsed() < secs(2) {
        let mut client = Client::connect(server.addr);
        let _ = client.try_send(upgrade_request("/", "").as_bytes());
        let head = client.head();
        if head.status == 101 {
            admitted += 1;
        } else {
            assert_eq!((head.status, head.field("retry-after")), (503, Some("1")));
            refused += 1;
        }
    }
    let most = 200.0 * (start.elapsed().as_secs_f64() + 1.0) + 10.0;
    assert!(f64::from(admitted) <= most, "{admitted} came in, {refused} were sent back");
    assert!(admitted >= 200 && refused > 0, "{admitted} came in, {refused} were sent back");
}

#[test]
fn rx_11_what_the_log_leaves_out_is_counted() {
    let server = Launch::echo().start();
    let lines = server.log().len();
    for _ in 0..1000 {
        let mut client = Client::connect(server.addr);
        client
            .send(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(client.head().status, 426);
    }
    chatter(&server, 1000);
    assert_below("lines", server.log().len() - lines, 60);
    let mut client = Client::connect(server.addr);
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let body = String::from_utf8(client.response().1).unwrap();
    let value = |name: &str| -> usize {
        let line =
            body.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    };
    assert_eq!(value("switchboard_upgrades_total{result=\"invalid\"}"), 1000);
    assert_eq!(value("switchboard_closes_total{reason=\"peer\"}"), 1000);
    let written = server.log()[lines..].iter().filter(|line| line.contains("suppressed=")).count();
    assert_eq!(
        value("switchboard_log_lines_total{cause=\"suppressed\"}") + written,
        2000,
        "written or counted"
    );
}

#[test]
fn pr_07_a_server_short_of_memory_sheds_its_slow_readers_and_lives() {
    let room = Launch::fanout().start().address_space_kib();
    let mut server =
        Launch::fanout().args(&["--max-queued", "16777216"]).with_address_space(room + 128 * 1024).start();
    let mut speaker = Client::open(server.addr);
    let _sleepers: Vec<Client> = (0..60).map(|_| Client::open(server.addr)).collect();
    let payload = "x".repeat(60_000);
    for _ in 0..400 {
        speaker.send(&frame(FIN | TEXT, payload.as_bytes()));
        speaker.expect_text(&payload);
    }
    server.assert_alive();
    speaker.echo("and goes on");
}

#[test]
fn pr_13_a_low_limit_of_descriptors_is_raised_or_told_of() {
    let server = Launch::echo().with_soft_descriptors(256).start();
    let mut clients: Vec<Client> = (0..600).map(|_| Client::open(server.addr)).collect();
    for client in &mut clients {
        client.echo("a descriptor for each");
    }

    let server = Launch::echo().with_descriptors(256).start();
    server.wait_for_log("few descriptors");
    Client::open(server.addr).echo("served nevertheless");
}

/// An embedding process may have left SIGPIPE at its default action, which ends it. `writev` has no flag against that, so the
/// backlog must not go out by it: here the call is deadly.
#[test]
fn rx_06_what_waits_for_a_peer_that_is_gone_is_written_without_sigpipe() {
    let mut server = Launch::echo().with_faults(&["writev:signal=SIGKILL"]).start();
    let long = "x".repeat(900_000);
    let mut slow = Client::open(server.addr);
    for _ in 0..3 {
        slow.send(&text(&long));
    }
    for _ in 0..3 {
        slow.expect_text(&long);
    }
    let mut gone = Client::open(server.addr);
    for _ in 0..3 {
        gone.send(&text(&long));
    }
    gone.half_close();
    std::thread::sleep(millis(300));
    drop(gone);
    std::thread::sleep(millis(300));
    Client::open(server.addr).echo("still here");
    server.assert_alive();
}
