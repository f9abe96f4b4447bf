//! The mailbox of a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TrySendError, sync_channel};

use mio::{Poll, Token, Waker};

use super::siblings::Accepted;
use crate::app::{Deliver, Undelivered};

/// Mails that may be under way from other threads to the loop; above it [`Handle::send`] refuses.
pub(super) const MAILBOX_LEN: usize = 4096;
/// Connections that loop 0 has handed over to another loop which has not taken them yet; above it they go elsewhere.
const MAX_HANDED_OVER: usize = 256;

/// What other threads send into a loop.
pub(super) enum Command<M> {
    Mail(M),
    /// Loop 0 has accepted a connection for this one.
    Connection(Box<Accepted>),
}

/// What a loop was told to do, the strongest of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// To stop gracefully.
    Drain,
    /// To stop at once: another loop has failed.
    Abort,
}

const DRAIN: u8 = 1;
const ABORT: u8 = 2;

/// Speaks to a running loop from another thread.
///
/// ```
/// use switchboard::app::{Application, ConnId, Context, Message};
/// use switchboard::net::{Options, Server};
///
/// struct Stopped;
///
/// impl Application for Stopped {
///     type Mail = &'static str;
///
///     fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}
///
///     fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: &'static str) {
///         assert_eq!(mail, "stop");
///         ctx.drain();
///     }
/// }
///
/// let server = Server::bind(Options::listen(([127, 0, 0, 1], 0).into()), Stopped)?;
/// let handle = server.handle();
/// std::thread::spawn(move || handle.send_blocking("stop"));
/// server.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Handle<M> {
    sender: SyncSender<Command<M>>,
    bell: Arc<Bell>,
}

/// What senders and the loop share besides the mails. It wakes the loop once for all mails that come before it looks.
#[derive(Debug)]
struct Bell {
    waker: Waker,
    /// The loop was woken and has not looked since.
    has_rung: AtomicBool,
    /// Mails that the loop has not seen, those included whose senders wait.
    waiting: AtomicUsize,
    /// Connections that were handed over and not taken.
    handed_over: AtomicUsize,
    order: AtomicU8,
    has_ended: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        // The loop clears the mark before it looks, so what was sent before is seen.
        if !self.has_rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "the loop could not be woken");
        }
    }
}

impl<M> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<M> Handle<M> {
    /// Sends something to the application; it arrives in [`Application::on_mail`](crate::app::Application::on_mail).
    ///
    /// # Errors
    /// Returns the mail when the mailbox is full or the loop has ended.
    pub fn send(&self, mail: M) -> Result<(), M> {
        self.post(mail).map_err(Undelivered::into_mail)
    }

    fn post(&self, mail: M) -> Result<(), Undelivered<M>> {
        self.bell.waiting.fetch_add(1, Ordering::Relaxed);
        match self.sender.try_send(Command::Mail(mail)) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(error) => {
                self.bell.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(match error {
                    TrySendError::Full(command) => Undelivered::Full(mail_of(command)),
                    TrySendError::Disconnected(command) => Undelivered::Ended(mail_of(command)),
                })
            }
        }
    }

    /// Sends something to the application as [`Handle::send`] does, and waits for as long as the mailbox is full. Never to be
    /// called on the thread of a loop.
    ///
    /// # Errors
    /// Returns the mail when the loop has ended.
    pub fn send_blocking(&self, mail: M) -> Result<(), M> {
        self.bell.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(Command::Mail(mail)).map_err(|SendError(command)| {
            self.bell.waiting.fetch_sub(1, Ordering::Relaxed);
            mail_of(command)
        })?;
        self.bell.ring();
        Ok(())
    }

    /// Begins a graceful shutdown of all loops of the server: no new connections, a Close to every open one, then
    /// [`Server::run`](super::Server::run) returns. Mail that was sent before still arrives. `false` when the loop has ended.
    #[must_use]
    pub fn shutdown(&self) -> bool {
        // Asked before: a loop that has nobody to wait for ends at once.
        let has_ended = self.has_ended();
        self.order(DRAIN);
        !has_ended
    }

    /// Stops the loop without more ado.
    pub(super) fn abort(&self) {
        self.order(ABORT);
    }

    fn order(&self, order: u8) {
        if self.bell.order.fetch_max(order, Ordering::AcqRel) < order {
            self.bell.ring();
        }
    }

    /// Has the loop look at what there is.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Whether the loop has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.bell.has_ended.load(Ordering::Acquire)
    }

    /// Hands a connection over that was accepted for the loop.
    ///
    /// # Errors
    /// Returns the connection when the loop has enough of them to do, or has ended.
    pub(super) fn hand_over(&self, accepted: Box<Accepted>) -> Result<(), Box<Accepted>> {
        if self.bell.handed_over.fetch_add(1, Ordering::Relaxed) < MAX_HANDED_OVER {
            match self.sender.try_send(Command::Connection(accepted)) {
                Ok(()) => {
                    self.bell.ring();
                    return Ok(());
                }
                Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                    self.bell.handed_over.fetch_sub(1, Ordering::Relaxed);
                    match command {
                        Command::Connection(accepted) => return Err(accepted),
                        Command::Mail(_) => unreachable!("a connection was sent"),
                    }
                }
            }
        }
        self.bell.handed_over.fetch_sub(1, Ordering::Relaxed);
        Err(accepted)
    }
}

fn mail_of<M>(command: Command<M>) -> M {
    match command {
        Command::Mail(mail) => mail,
        Command::Connection(_) => unreachable!("a mail was sent"),
    }
}

impl<M: Send> Deliver<M> for Handle<M> {
    fn try_send(&self, mail: M) -> Result<(), Undelivered<M>> {
        self.post(mail)
    }

    fn send_blocking(&self, mail: M) -> Result<(), M> {
        Handle::send_blocking(self, mail)
    }

    fn waiting(&self) -> usize {
        self.bell.waiting.load(Ordering::Relaxed)
    }
}

/// The loop's end of its mailbox.
pub(super) struct Inbox<M> {
    commands: Receiver<Command<M>>,
    bell: Arc<Bell>,
}

impl<M> std::fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

impl<M> Inbox<M> {
    /// A mailbox of a loop, whose events of this token say that there is something in it; and the way into it.
    pub(super) fn new(poll: &Poll, token: Token) -> std::io::Result<(Handle<M>, Self)> {
        let bell = Arc::new(Bell {
            waker: Waker::new(poll.registry(), token)?,
            has_rung: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            handed_over: AtomicUsize::new(0),
            order: AtomicU8::new(0),
            has_ended: AtomicBool::new(false),
        });
        let (sender, commands) = sync_channel(MAILBOX_LEN);
        Ok((Handle { sender, bell: Arc::clone(&bell) }, Self { commands, bell }))
    }

    /// The loop looks: what comes in from now on wakes it again. What was sent before an order is in the mailbox.
    pub(super) fn open(&self) -> Option<Order> {
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        match self.bell.order.load(Ordering::Acquire) {
            DRAIN => Some(Order::Drain),
            ABORT => Some(Order::Abort),
            _ => None,
        }
    }

    /// What is in the mailbox, one after the other.
    pub(super) fn next(&self) -> Option<Command<M>> {
        let command = self.commands.try_recv().ok()?;
        if matches!(command, Command::Mail(_)) {
            self.bell.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Some(command)
    }

    /// So many of the connections that were handed over are taken.
    pub(super) fn taken(&self, connections: usize) {
        self.bell.handed_over.fetch_sub(connections, Ordering::Relaxed);
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.bell.has_ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_bounded_and_rings_once_for_all_that_is_in_it() {
        let poll = Poll::new().unwrap();
        let (handle, inbox) = Inbox::new(&poll, Token(0)).unwrap();
        for at in 0..MAILBOX_LEN {
            assert_eq!(handle.send(at), Ok(()));
        }
        assert_eq!(handle.post(MAILBOX_LEN), Err(Undelivered::Full(MAILBOX_LEN)));
        assert_eq!(Deliver::waiting(&handle), MAILBOX_LEN);
        assert!(handle.bell.has_rung.load(Ordering::Relaxed));
        assert!(handle.shutdown(), "an order finds its way when mail does not");
        assert_eq!(inbox.open(), Some(Order::Drain));
        assert!(!handle.bell.has_rung.load(Ordering::Relaxed));
        let seen: Vec<usize> = std::iter::from_fn(|| inbox.next()).map(mail_of).collect();
        assert_eq!(seen, (0..MAILBOX_LEN).collect::<Vec<_>>());
        assert_eq!(Deliver::waiting(&handle), 0);
        handle.abort();
        assert!(handle.shutdown());
        assert_eq!(inbox.open(), Some(Order::Abort), "the stronger order stays");
        drop(inbox);
        assert_eq!((handle.post(7), handle.send_blocking(8)), (Err(Undelivered::Ended(7)), Err(8)));
        assert!(!handle.shutdown());
    }
}
