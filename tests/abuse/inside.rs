//! The library's server in a thread of the test, with limits of the test's own choice.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use switchboard::app::{Application, Closed, ConnId, Context, Message, Outgoing};
use switchboard::net::{Handle, Options, Server};
use switchboard::reactor::Config;

use crate::support::{Client, SOON, text, wait_until};

/// An echo that tells the test how each connection ended.
struct Teller {
    ends: Sender<String>,
}

impl Application for Teller {
    type Mail = ();

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        // A connection that began to close has no use for the echo.
        let _ = ctx.send(conn, message.as_outgoing());
    }

    fn on_close<C: Context>(&mut self, _: &mut C, _: ConnId, closed: &Closed) {
        // The test may have seen enough.
        let _ = self.ends.send(format!("{} {}", closed.reason.code().0, closed.reason));
    }
}

/// A running server; it ends with the value.
pub(crate) struct Inside {
    pub(crate) addr: SocketAddr,
    handle: Handle<()>,
    thread: Option<JoinHandle<()>>,
    ends: Receiver<String>,
}

impl Inside {
    /// An echo.
    pub(crate) fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let (sender, ends) = channel();
        let mut inside = Self::serve(Teller { ends: sender }, configure);
        inside.ends = ends;
        inside
    }

    pub(crate) fn serve(
        app: impl Application<Mail = ()> + Send + 'static,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut options = Options::listen(([127, 0, 0, 1], 0).into());
        options.drain_ms = 100;
        configure(&mut options.config);
        let server = Server::bind(options, app).unwrap();
        let addr = server.local_addrs().unwrap()[0];
        let handle = server.handle();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { addr, handle, thread: Some(thread), ends: channel().1 }
    }

    /// The code and the reason of the next connection that ends.
    #[track_caller]
    pub(crate) fn end(&self) -> String {
        self.ends.recv_timeout(SOON).expect("a connection ends")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        assert!(self.handle.shutdown(), "the mailbox is empty");
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the loop has panicked");
        }
    }
}

/// Counts its mail, which must come in order.
struct Postbox {
    next: u64,
    gone: Sender<u64>,
}

impl Application for Postbox {
    type Mail = u64;

    fn on_mail<C: Context>(&mut self, _: &mut C, mail: u64) {
        assert_eq!(mail, self.next);
        self.next += 1;
    }

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}
}

impl Drop for Postbox {
    fn drop(&mut self) {
        let _ = self.gone.send(self.next);
    }
}

/// Answers each message a moment later.
#[derive(Default)]
struct Hesitant {
    waiting: std::collections::BTreeMap<u64, ConnId>,
}

impl Application for Hesitant {
    type Mail = ();

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: Message<'_>) {
        let token = self.waiting.len() as u64;
        self.waiting.insert(token, conn);
        ctx.set_timer(ctx.now().monotonic_ms + 50, token);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        ctx.send(self.waiting[&token], Outgoing::text("well")).unwrap();
    }
}

/// Nothing else wakes the loop, and the alarm is set for the pings, which are far away.
#[test]
fn a_timer_that_a_message_sets_wakes_the_loop() {
    let server = Inside::serve(Hesitant::default(), |_| {});
    let mut client = Client::open(server.addr);
    for _ in 0..10 {
        client.send(&text("now?"));
        client.expect_text("well");
    }
}

#[test]
fn mail_that_may_wait_arrives_however_full_the_mailbox_is() {
    let (sender, gone) = channel();
    let mut options = Options::listen(([127, 0, 0, 1], 0).into());
    options.drain_ms = 100;
    let server = Server::bind(options, Postbox { next: 0, gone: sender }).unwrap();
    let handle = server.handle();
    let mut sent = 0;
    while handle.send(sent).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 4096, "the loop does not run yet");
    let theirs = handle.clone();
    let writer = std::thread::spawn(move || {
        (sent..50_000).for_each(|mail| theirs.send_blocking(mail).unwrap());
        theirs
    });
    let server = std::thread::spawn(move || server.run().unwrap());
    let theirs = writer.join().unwrap();
    wait_until(SOON, "there is room in the mailbox", || handle.shutdown());
    assert_eq!(gone.recv_timeout(SOON), Ok(50_000));
    server.join().unwrap();
    assert_eq!(theirs.send_blocking(7), Err(7), "the loop has ended");
}
