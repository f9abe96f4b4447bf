//! The library's server in a thread of the test, with limits of the test's own choice.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use switchboard::app::{Application, CloseReason, ConnId, Context, Message};
use switchboard::net::{Handle, Options, Server};
use switchboard::reactor::Config;

use crate::support::SOON;

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

    fn on_close<C: Context>(&mut self, _: &mut C, _: ConnId, reason: &CloseReason) {
        // The test may have seen enough.
        let _ = self.ends.send(format!("{} {reason}", reason.code().0));
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
