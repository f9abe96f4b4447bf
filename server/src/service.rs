//! What a service manager such as systemd wants: sockets that it opened, and word of how the server is (`sd_notify`).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use switchboard::app::{Application, Context, Layer};
use switchboard::net::Listen;

/// The timer of the watchdog; no application has it.
const WATCHDOG: u64 = u64::from_be_bytes(*b"watchdog");

/// The sockets that a service manager has opened for this process (`LISTEN_FDS`), each with its name (`LISTEN_FDNAMES`).
///
/// # Errors
/// A descriptor that is no listening socket of TCP or Unix.
pub(crate) fn inherited() -> io::Result<Vec<(String, Listen)>> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = ListenFd::from_env();
    let mut found = Vec::new();
    for at in 0..sockets.len() {
        let listen = match sockets.take_tcp_listener(at) {
            Ok(socket) => socket.map(Listen::existing),
            Err(_) => sockets.take_unix_listener(at)?.map(Listen::existing),
        };
        let name = names.next().unwrap_or_default().to_owned();
        found.extend(listen.map(|listen| (name, listen)));
    }
    Ok(found)
}

/// Tells the service manager what becomes of the application inside. On several loops, loop 0 speaks for all.
#[derive(Debug)]
pub(crate) struct Service<A> {
    app: A,
    manager: Manager,
    /// The number of the loop.
    own: usize,
}

impl<A> Service<A> {
    pub(crate) fn new(app: A, manager: Manager, own: usize) -> Self {
        Self { app, manager, own }
    }
}

/// The service manager, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    /// What it listens on. It never makes the loop wait: a word that does not fit is left out.
    socket: Option<Arc<UnixDatagram>>,
    /// Milliseconds between two signs of life.
    watchdog_ms: Option<u64>,
    /// By loop: it has shown that it turns since the manager was told so.
    turns: Arc<[AtomicBool]>,
}

impl Manager {
    /// The manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub(crate) fn from_environment(loops: usize) -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let connected = connect(&name).map(Arc::new);
            connected
                .inspect_err(|error| tracing::warn!(%error, ?name, "no service manager listens there"))
                .ok()
        });
        let half = |period: Duration| u64::try_from(period.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        Self {
            watchdog_ms: sd_notify::watchdog_enabled().filter(|_| socket.is_some()).map(half),
            socket,
            turns: (0..loops).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// A loop turns, `own` of them. Loop 0 says so for all, if all others do.
    fn note_turn(&self, own: usize) {
        if own > 0 {
            return self.turns[own].store(true, Ordering::Relaxed);
        }
        let others = &self.turns[1..];
        if others.iter().all(|turns| turns.load(Ordering::Relaxed)) {
            for turns in others {
                turns.store(false, Ordering::Relaxed);
            }
            self.say(&NotifyState::Watchdog);
        }
    }

    /// Milliseconds until a loop shows again that it turns. Those for which loop 0 speaks do it more often, so that it finds their
    /// word each time.
    fn every_ms(&self, own: usize) -> Option<u64> {
        self.watchdog_ms.map(|every| if own > 0 { (every / 4).max(1) } else { every })
    }

    /// The server listens.
    pub(crate) fn ready(&self) {
        self.say(&NotifyState::Ready);
    }

    /// The server reads its files again. A manager of `Type=notify-reload` waits from the signal until it is ready again.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say_all(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the service manager cannot be told of a reload"),
        }
    }

    fn say(&self, word: &NotifyState<'_>) {
        self.say_all(std::slice::from_ref(word));
    }

    /// Says several words at once.
    fn say_all(&self, words: &[NotifyState<'_>]) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.join("\n").as_bytes())
        {
            tracing::debug!(%error, "the service manager cannot be told how the server is");
        }
    }
}

/// Connects to the socket of a manager; `@` begins a name in the abstract namespace.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect(name)?,
    }
    Ok(socket)
}

impl<A: Application> Layer for Service<A> {
    type Inner = A;
    type Mail = A::Mail;

    #[inline]
    fn inner(&mut self) -> &mut A {
        &mut self.app
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: A::Mail) {
        self.app.on_mail(ctx, mail);
    }

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        if let Some(every) = self.manager.every_ms(self.own) {
            ctx.set_timer(ctx.now().monotonic_ms + every, WATCHDOG);
        }
        self.app.on_start(ctx);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        match self.manager.every_ms(self.own) {
            // The loops themselves are what must be alive.
            Some(every) if token == WATCHDOG => {
                self.manager.note_turn(self.own);
                ctx.set_timer(ctx.now().monotonic_ms + every, WATCHDOG);
            }
            _ => self.app.on_timer(ctx, token),
        }
    }

    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        if self.own == 0 {
            self.manager.say(&NotifyState::Stopping);
        }
        self.app.on_drain(ctx);
    }
}
