//! Upgrades that are accepted later: somebody on another thread knows who may come in.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use switchboard::app::{
    Acceptance, Application, ConnId, Context, Layer, Message, Refused, Request, Response, Verdict,
};
use switchboard::net::{Handle, Options, Server};
use switchboard::ops::{Ops, OpsMail, Watched};

use crate::support::{Client, FIN, SOON, TEXT, frame, upgrade_request};

/// Asks for each upgrade; an echo behind that.
struct Asking {
    ask: Sender<Asked>,
}

#[derive(Debug)]
enum Asked {
    /// The cookie of a request.
    Enters(ConnId, String),
    Abandoned(ConnId),
}

impl Application for Asking {
    type Mail = (ConnId, bool);

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        let cookie = request.head.fields.text("cookie").unwrap_or_default().to_owned();
        self.ask.send(Asked::Enters(request.conn, cookie)).unwrap();
        Verdict::Later
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, (conn, may_enter): (ConnId, bool)) {
        if may_enter {
            ctx.accept(conn, Acceptance::default());
        } else {
            ctx.refuse(conn, Refused::Token, Response::text(401, "sign in first"));
        }
    }

    fn on_abandoned<C: Context>(&mut self, _: &mut C, conn: ConnId) {
        self.ask.send(Asked::Abandoned(conn)).unwrap();
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        // A connection that began to close has no use for the echo.
        let _ = ctx.send(conn, message.as_outgoing());
    }
}

/// The server on a thread of its own; the test is the one that is asked.
struct Running {
    addr: SocketAddr,
    asked: Receiver<Asked>,
    handle: Handle<(ConnId, bool)>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let mut options = Options::listen("127.0.0.1:0".parse().unwrap());
        options.drain_ms = 0;
        let (ask, asked) = channel();
        let server = Server::bind(options, Asking { ask }).unwrap();
        let (addr, handle) = (server.local_addrs().unwrap()[0], server.handle());
        let thread = Some(std::thread::spawn(|| server.run().unwrap()));
        Self { addr, asked, handle, thread }
    }

    /// Who asks, and with which cookie.
    #[track_caller]
    fn next(&self) -> (ConnId, String) {
        match self.asked.recv_timeout(SOON).expect("somebody asks") {
            Asked::Enters(conn, cookie) => (conn, cookie),
            abandoned @ Asked::Abandoned(_) => panic!("{abandoned:?}"),
        }
    }

    fn decide(&self, conn: ConnId, may_enter: bool) {
        assert!(self.handle.send((conn, may_enter)).is_ok());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        assert!(self.handle.shutdown());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn asks(server: &Running, cookie: &str, behind: &[u8]) -> Client {
    let mut client = Client::connect(server.addr);
    let request = upgrade_request("/", &format!("Cookie: {cookie}\r\n"));
    client.send(&[request.as_bytes(), behind].concat());
    client
}

#[test]
fn an_upgrade_waits_for_the_answer_of_another_thread() {
    let server = Running::start();
    // Messages behind the request, more than one read brings: they wait in the kernel until the connection is open.
    let behind = frame(FIN | TEXT, &vec![b'x'; 60_000]).repeat(5);
    let mut ada = asks(&server, "session=ada", &[]);
    let (ada_conn, cookie) = server.next();
    assert_eq!(cookie, "session=ada");
    let mut eve = asks(&server, "session=eve", &frame(FIN | TEXT, b"let me in"));
    let (eve_conn, _) = server.next();
    let mut bob = asks(&server, "session=bob", &behind);
    let (bob_conn, _) = server.next();
    server.decide(eve_conn, false);
    assert_eq!(eve.head().status, 401);
    server.decide(bob_conn, true);
    assert_eq!(bob.head().status, 101);
    for _ in 0..5 {
        assert_eq!(bob.frame().payload.len(), 60_000);
    }
    server.decide(ada_conn, true);
    assert_eq!(ada.head().status, 101);
    for client in [&mut ada, &mut bob] {
        client.send(&frame(FIN | TEXT, b"hello"));
        assert_eq!(client.frame().payload, b"hello");
    }
}

/// The same with what the binary puts around an application.
struct Guarded(Asking);

impl Layer for Guarded {
    type Inner = Asking;
    type Mail = (ConnId, bool);

    fn inner(&mut self) -> &mut Asking {
        &mut self.0
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        self.0.on_mail(ctx, mail);
    }
}

impl Watched for Guarded {
    type Figures = ();

    fn figures(&self) {}
}

/// Where the log of a thread goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_late_refusal_is_logged_with_its_reason_and_not_too_often() {
    let mut options = Options::listen("127.0.0.1:0".parse().unwrap());
    options.drain_ms = 0;
    let (ask, asked) = channel();
    let server = Server::bind(options, Ops::new(Guarded(Asking { ask }), false, || 0)).unwrap();
    let (addr, handle, log) = (server.local_addrs().unwrap()[0], server.handle(), Log::default());
    let writer = log.clone();
    let running = std::thread::spawn(move || {
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || server.run().unwrap());
    });
    for _ in 0..20 {
        let mut client = Client::connect(addr);
        client.send(upgrade_request("/", "Cookie: session=eve\r\n").as_bytes());
        let Ok(Asked::Enters(conn, _)) = asked.recv_timeout(SOON) else { panic!("nobody asks") };
        assert!(handle.send(OpsMail::App((conn, false))).is_ok());
        assert_eq!(client.head().status, 401);
    }
    assert!(handle.shutdown());
    running.join().unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("turned away")).collect();
    assert!((1..20).contains(&lines.len()), "{log}");
    assert!(lines.iter().all(|line| line.contains("INFO") && line.contains("peer=127.0.0.1:")), "{log}");
    assert!(lines[0].contains("reason=\"token\""), "{log}");
}

#[test]
fn px_11_who_leaves_before_the_answer_is_told_of() {
    let server = Running::start();
    for is_reset in [false, true] {
        let client = asks(&server, "session=ada", &[]);
        let (conn, _) = server.next();
        if is_reset {
            client.reset();
        } else {
            drop(client);
        }
        match server.asked.recv_timeout(SOON).expect("word of it") {
            Asked::Abandoned(left) => assert_eq!(left, conn),
            other @ Asked::Enters(..) => panic!("{other:?}"),
        }
        // Too late, and nobody else is taken for the one who left.
        server.decide(conn, true);
        let mut next = asks(&server, "session=bob", &[]);
        let (conn, _) = server.next();
        server.decide(conn, true);
        assert_eq!(next.head().status, 101);
    }
}
