//! Several loops in one process: connections are spread over them, limits and figures are those of all, and they stop together.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use switchboard::app::{Application, ConnId, Context, Layer, Message, Peers, Request, Response, Verdict};
use switchboard::apps::{Batch, Echo, SharedFanout};
use switchboard::net::{Handle, Listen, Options, Server};
use switchboard::ops::{Ops, OpsMail};

use crate::ops::{Metrics, get, internal, run_with};
use crate::support::{
    CLOSE, Client, End, FIN, Launch, SOON, Scratch, TEXT, frame, millis, secs, text, upgrade_request,
    wait_until,
};

/// Connects over a Unix socket, whose connections loop 0 hands over in turn: the first is its own.
fn connect_unix(path: &str) -> Client {
    Client::of_unix(UnixStream::connect(path).expect("connect"))
}

fn open_unix(path: &str) -> Client {
    let mut client = connect_unix(path);
    client.send(upgrade_request("/", "").as_bytes());
    assert_eq!(client.head().status, 101);
    client
}

/// The path of a socket in a directory that goes with the file beside it.
fn path_beside(scratch: &Scratch) -> String {
    PathBuf::from(scratch.path()).with_file_name("s.sock").to_str().unwrap().to_owned()
}

/// Connections by loop.
fn by_loop(metrics: &Metrics, loops: usize) -> Vec<u64> {
    (0..loops)
        .map(|at| metrics.value("switchboard_loop_connections", Some(("loop", &at.to_string()))))
        .collect()
}

#[test]
fn connections_are_spread_over_loops() {
    let server = Launch::echo().args(&["--threads", "3", "--internal-listen", "127.0.0.1:0"]).start();
    let operator = internal(&server);
    let mut clients: Vec<Client> = (0..60).map(|_| Client::open(server.addr)).collect();
    for client in &mut clients {
        client.echo("hello");
    }
    let metrics = Metrics::of(operator);
    let spread = by_loop(&metrics, 3);
    assert_eq!(spread.iter().sum::<u64>(), 61, "and that of the question");
    assert!(spread.iter().all(|count| *count > 0), "{spread:?}");
    assert_eq!(metrics.value("switchboard_connections", None), 61);
    assert_eq!(metrics.value("switchboard_open_connections", None), 60);
    assert_eq!(metrics.value("switchboard_messages_total", Some(("direction", "in"))), 60);
}

#[test]
fn loop_0_hands_the_connections_of_a_unix_socket_over_in_turn() {
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let listen = format!("unix:{path}");
    let args = ["--threads", "4", "--listen", &listen, "--internal-listen", "127.0.0.1:0"];
    let server = Launch::echo().args(&args).start_as_it_is();
    let operator = internal(&server);
    let mut clients: Vec<Client> = (0..20).map(|_| open_unix(&path)).collect();
    for client in &mut clients {
        client.send(&text("hello"));
        client.expect_text("hello");
    }
    assert_eq!(by_loop(&Metrics::of(operator), 4), [6, 5, 5, 5], "and that of the question");
    drop(clients);
    wait_until(SOON, "they are gone", || by_loop(&Metrics::of(operator), 4) == [1, 0, 0, 0]);
}

#[test]
fn what_is_published_crosses_loops_in_order() {
    let server = Launch::fanout().args(&["--threads", "4", "--internal-listen", "127.0.0.1:0"]).start();
    let operator = internal(&server);
    let mut clients: Vec<Client> = (0..24).map(|_| Client::open(server.addr)).collect();
    let spread = by_loop(&Metrics::of(operator), 4);
    assert!(spread.iter().filter(|count| **count > 1).count() > 1, "{spread:?}");
    let (publishers, each) = (6, 200);
    for at in 0..each {
        for (publisher, client) in clients.iter_mut().take(publishers).enumerate() {
            client.send(&text(&format!("{publisher} {at}")));
        }
    }
    for client in &mut clients {
        let mut next = vec![0; publishers];
        for _ in 0..publishers * each {
            let payload = String::from_utf8(client.message().payload).unwrap();
            let (publisher, at) = payload.split_once(' ').unwrap();
            let next = &mut next[publisher.parse::<usize>().unwrap()];
            assert_eq!(at.parse::<usize>().unwrap(), *next, "of publisher {publisher}");
            *next += 1;
        }
    }
    // A message of some length, too, and that is all that comes.
    clients[0].send(&frame(FIN | TEXT, &vec![b'x'; 300_000]));
    for client in &mut clients {
        assert_eq!(client.message().payload.len(), 300_000);
    }
    let metrics = Metrics::of(operator);
    let all = (publishers * each + 1) as u64;
    assert_eq!(metrics.value("switchboard_messages_total", Some(("direction", "in"))), all);
    assert_eq!(metrics.value("switchboard_messages_total", Some(("direction", "out"))), 24 * all);
    for at in ["0", "1", "2", "3"] {
        assert_eq!(metrics.value("switchboard_mailbox_length", Some(("loop", at))), 0, "loop {at}");
    }
}

/// Asks for an upgrade; the client, and the status.
fn ask(addr: SocketAddr) -> (Client, u16) {
    let mut client = Client::connect(addr);
    // Who is turned away at once may have been so before the request is out.
    let _ = client.try_send(upgrade_request("/", "").as_bytes());
    let status = client.head().status;
    (client, status)
}

#[test]
fn max_connections_is_that_of_all_loops() {
    let server = Launch::echo().args(&["--threads", "4", "--max-connections", "10"]).start();
    for _ in 0..3 {
        let (mut open, refused): (Vec<_>, Vec<_>) =
            (0..30).map(|_| ask(server.addr)).partition(|(_, status)| *status == 101);
        assert_eq!((open.len(), refused.len()), (10, 20));
        assert!(refused.iter().all(|(_, status)| *status == 503));
        for (client, _) in &mut open {
            client.send(&frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            client.expect_close(1000);
        }
    }
}

#[test]
fn the_limits_of_an_address_are_those_of_all_loops() {
    let flags = ["--threads", "4", "--max-connections-per-address", "7"];
    let server = Launch::echo().args(&flags).start_as_it_is();
    let mut open = Vec::new();
    for at in 0..20 {
        let (client, status) = ask(server.addr);
        assert_eq!(status, if at < 7 { 101 } else { 503 }, "{at}");
        if status == 101 {
            open.push(client);
        }
    }
    drop(open.pop());
    wait_until(SOON, "one may come for the one that left", || ask(server.addr).1 == 101);
    for limit in ["--max-new-per-second-per-address", "--max-new-per-second"] {
        let server = Launch::echo().args(&["--threads", "4", limit, "5"]).start_as_it_is();
        let asked = std::time::Instant::now();
        let admitted = (0..40).filter(|_| ask(server.addr).1 == 101).count();
        // Each loop for itself would admit four times as many.
        let most = 5 + 5 * (asked.elapsed().as_secs() as usize + 1);
        assert!((5..=most).contains(&admitted), "{limit}: {admitted} of at most {most}");
    }
}

/// A server in this process, with several loops, on a Unix socket.
struct Running<M: Send + 'static> {
    scratch: Scratch,
    handle: Handle<M>,
    peers: Peers<M>,
    thread: Option<JoinHandle<std::thread::Result<std::io::Result<()>>>>,
}

impl<M: Send + 'static> Running<M> {
    fn start<A: Application<Mail = M> + Send + 'static>(
        change: impl FnOnce(&mut Options),
        loops: usize,
        make: impl FnMut(usize, &Peers<M>) -> A,
    ) -> Self {
        let scratch = Scratch::new("x", b"");
        let options = Options::listen_on(vec![Listen::unix(path_beside(&scratch))]).with(change);
        let loops = Server::bind_many(options, loops, make).unwrap();
        let (handle, peers) = (loops.handle(), loops.peers());
        let thread = std::thread::spawn(move || catch_unwind(AssertUnwindSafe(|| loops.run())));
        Self { scratch, handle, peers, thread: Some(thread) }
    }

    fn open(&self) -> Client {
        open_unix(&path_beside(&self.scratch))
    }

    fn connect(&self) -> Client {
        connect_unix(&path_beside(&self.scratch))
    }

    /// Waits until all loops have ended; what became of them.
    fn ended(&mut self) -> std::thread::Result<std::io::Result<()>> {
        let thread = self.thread.take().unwrap();
        wait_until(secs(10), "the loops have ended", || thread.is_finished());
        thread.join().unwrap()
    }
}

impl<M: Send + 'static> Drop for Running<M> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.handle.shutdown();
            let ended = self.ended();
            assert!(matches!(ended, Ok(Ok(()))) || std::thread::panicking(), "{ended:?}");
        }
    }
}

/// An echo that says on which loop it is, panics when it is told to, and drains when it is told to.
struct Fragile(usize);

impl Application for Fragile {
    type Mail = ();

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        match message.text() {
            Some("panic") => panic!("torn state on loop {}", self.0),
            Some("drain") => ctx.drain(),
            _ => {
                let own =
                    switchboard::app::Outgoing::binary(std::slice::from_ref(&b"0123"[self.0])).uncompressed();
                let _ = ctx.send(conn, own);
            }
        }
    }
}

/// Clients on loops 0, 1 and 2, who know where they are.
fn three<M: Send + 'static>(server: &Running<M>) -> [Client; 3] {
    let mut clients = [(); 3].map(|()| server.open());
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(&text("where"));
        assert_eq!(client.frame().payload, at.to_string().as_bytes());
    }
    clients
}

#[test]
fn pr_09_a_panic_of_one_loop_ends_all() {
    for bad in 0..3 {
        let mut server = Running::start(|_| {}, 3, |own, _| Fragile(own));
        let mut clients = three(&server);
        clients[bad].send(&text("panic"));
        let panic = server.ended().expect_err("the panic goes on");
        let said = panic.downcast_ref::<String>().unwrap();
        assert_eq!(*said, format!("torn state on loop {bad}"));
        for client in &mut clients {
            // Without a Close: nothing is carried on with.
            assert!(matches!(client.end(SOON), End::Fin | End::Reset));
        }
    }
}

#[test]
fn whichever_loop_is_told_to_drain_all_do() {
    for at in 0..4 {
        let mut server = Running::start(|_| {}, 3, |own, _| Fragile(own));
        let mut clients = three(&server);
        match clients.get_mut(at) {
            Some(client) => client.send(&text("drain")),
            None => assert!(server.handle.shutdown()),
        }
        for client in &mut clients {
            client.expect_close(1001);
        }
        assert!(matches!(server.ended(), Ok(Ok(()))));
    }
}

#[test]
fn the_operator_is_answered_until_the_last_loop_has_drained() {
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let listen = format!("unix:{path}");
    let args = ["--threads", "2", "--listen", &listen, "--internal-listen", "127.0.0.1:0"];
    let mut server = Launch::echo().args(&args).start_as_it_is();
    let operator = internal(&server);
    let (mut first, mut second) = (open_unix(&path), open_unix(&path));
    assert_eq!(get(operator, "/readyz"), (200, "ready\n".into()));
    server.signal("TERM");
    first.expect_close(1001);
    first.answer_close(&1001_u16.to_be_bytes());
    first.expect_end(SOON);
    // Loop 0 has nobody left, and loop 1 waits for a client that has not answered.
    for _ in 0..5 {
        let (status, why) = get(operator, "/readyz");
        assert!(status == 503 && why.contains("draining"), "{status} {why}");
        assert_eq!(get(operator, "/healthz").0, 200);
    }
    second.expect_close(1001);
    second.answer_close(&1001_u16.to_be_bytes());
    assert!(server.wait(SOON).success());
}

/// A gate at which loops wait.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.0.0.lock().unwrap() = is_shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |is_shut| *is_shut).unwrap());
    }
}

/// Opens the gate when a test ends, in whichever way.
struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A fan-out whose loop 1 takes no mail while the gate is shut.
struct Slow {
    fanout: SharedFanout,
    gate: Option<Gate>,
    pauses: Arc<AtomicU64>,
}

impl Layer for Slow {
    type Inner = SharedFanout;
    type Mail = Arc<Batch>;

    fn inner(&mut self) -> &mut SharedFanout {
        &mut self.fanout
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Arc<Batch>) {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.fanout.on_mail(ctx, mail);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        self.pauses.fetch_max(ctx.stats().input_pauses, Ordering::Relaxed);
        Layer::inner(self).on_timer(ctx, token);
    }
}

/// Sends numbered messages of this length for as long as they are taken; how many were.
fn pour(client: &mut Client, len: usize, most: usize) -> usize {
    let message = |at: usize| {
        let mut payload = at.to_string().into_bytes();
        payload.resize(len, b' ');
        frame(FIN | TEXT, &payload)
    };
    client.stream.set_write_timeout(Some(millis(700))).unwrap();
    for at in 0..most {
        let octets = message(at);
        let mut rest = &octets[..];
        while !rest.is_empty() {
            if let Ok(count) = std::io::Write::write(&mut client.stream, rest) {
                rest = &rest[count..];
                continue;
            }
            // Nobody takes the message: its rest follows when somebody does.
            client.stream.set_write_timeout(None).unwrap();
            let rest = rest.to_vec();
            let mut stream = client.stream.try_clone().unwrap();
            std::thread::spawn(move || std::io::Write::write_all(&mut stream, &rest));
            return at + 1;
        }
    }
    most
}

#[test]
fn a_loop_that_does_not_keep_up_slows_down_who_sends_to_it_and_loses_nothing() {
    for (len, most) in [(60_000, 2_000), (100, 200_000)] {
        let (gate, pauses) = (Gate::default(), Arc::new(AtomicU64::new(0)));
        let make = |own, peers: &Peers<Arc<Batch>>| Slow {
            fanout: SharedFanout::new(own, peers),
            gate: (own == 1).then(|| gate.clone()),
            pauses: Arc::clone(&pauses),
        };
        let change = |options: &mut Options| {
            // The sender reads nothing of its own while it sends.
            options.config.max_backlog = 1 << 30;
            options.config.max_queued = 1 << 31;
            options.config.high_water = 1 << 30;
        };
        let server = Running::start(change, 2, make);
        let _opens = Opens(gate.clone());
        let (mut sender, mut receiver) = (server.open(), server.open());
        gate.set(true);
        let sent = pour(&mut sender, len, most);
        assert!(sent < most, "all {sent} messages were taken, and nobody has them");
        // What is under way is bounded in bytes, and in mails.
        assert!(sent * len < 24 << 20, "{sent} messages of {len}");
        assert!(pauses.load(Ordering::Relaxed) > 0);
        assert!(server.peers.get(1).waiting() > 0);
        gate.set(false);
        for client in [&mut receiver, &mut sender] {
            for at in 0..sent {
                let payload = String::from_utf8(client.message().payload).unwrap();
                assert_eq!(payload.trim_end(), at.to_string());
            }
        }
        // And it goes on.
        receiver.send(&text("done"));
        sender.expect_text("done");
        wait_until(SOON, "nothing is under way", || server.peers.iter().all(|it| it.waiting() == 0));
    }
}

/// An echo that stops at the gate when it is told to.
struct Stuck(Gate);

impl Layer for Stuck {
    type Inner = Echo;
    type Mail = std::convert::Infallible;

    fn inner(&mut self) -> &mut Echo {
        unreachable!("all callbacks that matter are here")
    }

    fn on_mail<C: Context>(&mut self, _: &mut C, mail: Self::Mail) {
        match mail {}
    }

    fn on_start<C: Context>(&mut self, _: &mut C) {}

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        Echo.on_request(ctx, request)
    }

    fn on_open<C: Context>(&mut self, _: &mut C, _: ConnId) {}

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        self.0.pass();
        Echo.on_message(ctx, conn, message);
    }

    fn on_close<C: Context>(&mut self, _: &mut C, _: ConnId, _: &switchboard::app::Closed) {}

    fn on_tick_end<C: Context>(&mut self, _: &mut C) {}

    fn on_drain<C: Context>(&mut self, _: &mut C) {}
}

impl switchboard::ops::Watched for Stuck {
    type Figures = ();

    fn figures(&self) {}
}

/// What a request over a connection that stays is answered: status and body.
fn ask_again(client: &mut Client, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let (head, body) = client.response();
    (head.status, String::from_utf8(body).unwrap())
}

#[test]
fn a_loop_that_is_stuck_is_told_of_and_its_last_figures_count() {
    let gate = Gate::default();
    let make = |own, peers: &Peers<OpsMail<std::convert::Infallible, ()>>| {
        Ops::new(Stuck(gate.clone()), false, || 0).with_peers(own, peers.clone())
    };
    let server = Running::start(|_| {}, 2, make);
    let _opens = Opens(gate.clone());
    // In turn: loop 0, loop 1, loop 0.
    let (mut operator, mut client, _other) = (server.connect(), server.open(), server.open());
    assert_eq!(ask_again(&mut operator, "/healthz"), (200, "ok\n".into()));
    let (_, before) = ask_again(&mut operator, "/metrics");
    for line in [
        "switchboard_open_connections 2\n",
        "switchboard_loop_connections{loop=\"0\"} 2\n",
        "switchboard_loop_connections{loop=\"1\"} 1\n",
        "switchboard_loop_silent{loop=\"1\"} 0\n",
    ] {
        assert!(before.contains(line), "{line} {before}");
    }
    gate.set(true);
    client.send(&text("hello"));
    let (status, while_stuck) = loop {
        let (status, text) = ask_again(&mut operator, "/metrics");
        if text.contains("switchboard_loop_silent{loop=\"1\"} 1\n") {
            break (status, text);
        }
    };
    assert_eq!(status, 200);
    assert!(while_stuck.contains("switchboard_open_connections 2\n"), "{while_stuck}");
    for path in ["/healthz", "/readyz"] {
        let (status, why) = ask_again(&mut operator, path);
        assert!(status == 503 && why.contains("loop 1 has not answered"), "{status} {why}");
    }
    gate.set(false);
    client.expect_text("hello");
    assert_eq!(ask_again(&mut operator, "/readyz"), (200, "ready\n".into()));
    let (_, after) = ask_again(&mut operator, "/metrics");
    assert!(after.contains("switchboard_loop_silent{loop=\"1\"} 0\n"), "{after}");
    // Whichever loop is asked says the same.
    let mut operators: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    let opened = operators.iter_mut().map(|operator| {
        let (_, text) = ask_again(operator, "/metrics");
        text.lines().find(|line| line.starts_with("switchboard_open_connections ")).unwrap().to_owned()
    });
    assert_eq!(opened.collect::<Vec<_>>(), ["switchboard_open_connections 2"; 2]);
}

/// Answers no request.
struct Silent;

impl Application for Silent {
    type Mail = ();

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        Verdict::Later
    }

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}
}

#[test]
fn max_late_is_that_of_all_loops() {
    let change = |options: &mut Options| {
        options.config.max_late = 3;
        options.drain_ms = 0;
    };
    let server = Running::start(change, 4, |_, _| Silent);
    let mut clients: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    let mut refused = 0;
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(upgrade_request("/", "").as_bytes());
        if at >= 3 {
            assert_eq!(client.head().status, 503);
            refused += 1;
        } else {
            // One after the other: its turn must come before that of the next.
            assert!(matches!(client.try_head(millis(300)), Err(End::Timeout)));
        }
    }
    assert_eq!(refused, 9);
}

#[test]
fn memory_is_dealt_out_to_the_loops() {
    struct Config;
    impl Application for Config {
        type Mail = ();

        fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}

        fn wants_body(&mut self, _: &switchboard::app::RequestHead<'_>) -> bool {
            true
        }

        fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
            if request.upgrade.is_some() {
                return Verdict::Accept(switchboard::app::Acceptance::default());
            }
            Verdict::Respond(Response::text(200, "here"))
        }
    }
    // A message of 30 KiB in a server of 100 KiB: one loop of four has room for none, the only one has room for three.
    for (loops, room) in [(4, 0), (1, 3)] {
        let change = |options: &mut Options| {
            options.config.max_unfinished = 100 * 1024;
            options.drain_ms = 0;
        };
        let server = Running::start(change, loops, |_, _| Config);
        let mut clients: Vec<Client> = (0..8).map(|_| server.open()).collect();
        let whole = frame(FIN | TEXT, &vec![b'x'; 40_000]);
        let mut kept = 0;
        for client in &mut clients {
            client.send(&whole[..30 * 1024 + 8]);
            match client.try_frame(millis(200)) {
                Err(End::Timeout) => kept += 1,
                Ok(frame) => assert_eq!(frame.close_code(), Some(1013)),
                Err(end) => panic!("{end:?}"),
            }
        }
        assert_eq!(kept, room, "{loops} loops");
    }
}

#[test]
fn the_port_of_several_loops_is_shared_with_no_other_server() {
    let server = Launch::echo().args(&["--threads", "2"]).start_as_it_is();
    let address = server.addr.to_string();
    for loops in ["1", "2"] {
        let (code, _, said) = run_with(&["echo", "--listen", &address, "--threads", loops], &[], "");
        assert!(code == 2 && said.contains("in use") && said.contains(&address), "{code} {said}");
    }
}

#[test]
fn the_number_of_loops_is_checked() {
    for value in ["65", "-1", "many", ""] {
        let (code, _, said) = run_with(&["echo", &format!("--threads={value}")], &[], "");
        assert!(code == 2 && said.contains("--threads") && said.contains("0 to 64"), "{value}: {said}");
    }
    let mut all = Launch::echo().args(&["--threads", "0"]).start_as_it_is();
    Client::open(all.addr).echo("hello");
    let threads = std::fs::read_dir(format!("/proc/{}/task", all.id())).unwrap().count();
    assert_eq!(threads, std::thread::available_parallelism().unwrap().get());
    all.assert_alive();
    let none = Server::bind_many(Options::listen(([127, 0, 0, 1], 0).into()), 0, |_, _| Echo);
    assert!(none.unwrap_err().to_string().contains("1 to 64"));
}
