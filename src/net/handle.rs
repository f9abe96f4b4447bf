//! The mailbox of a loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, SyncSender, TrySendError, sync_channel};

use mio::Waker;

/// Mails that may be under way from other threads to the loop; above it [`Handle::send`] refuses.
pub(super) const MAILBOX_LEN: usize = 4096;

/// What other threads send into a loop.
pub(super) enum Command<M> {
    Mail(M),
    Shutdown,
}

/// Speaks to a running loop from another thread.
pub struct Handle<M> {
    sender: SyncSender<Command<M>>,
    waker: Arc<Waker>,
}

impl<M> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<M> std::fmt::Debug for Command<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mail(_) => "Mail",
            Self::Shutdown => "Shutdown",
        })
    }
}

impl<M> Handle<M> {
    /// A handle, and where what it sends arrives.
    pub(super) fn new(waker: Arc<Waker>) -> (Self, Receiver<Command<M>>) {
        let (sender, commands) = sync_channel(MAILBOX_LEN);
        (Self { sender, waker }, commands)
    }

    /// Sends something to the application; it arrives in [`Application::on_mail`](crate::app::Application::on_mail).
    ///
    /// # Errors
    /// Returns the mail when the mailbox is full or the loop has ended.
    pub fn send(&self, mail: M) -> Result<(), M> {
        self.command(Command::Mail(mail)).map_err(|command| match command {
            Command::Mail(mail) => mail,
            Command::Shutdown => unreachable!("a mail was sent"),
        })
    }

    /// Sends something to the application as [`Handle::send`] does, and waits for as long as the mailbox is full. Never to be
    /// called on the loop's own thread.
    ///
    /// # Errors
    /// Returns the mail when the loop has ended.
    pub fn send_blocking(&self, mail: M) -> Result<(), M> {
        self.sender.send(Command::Mail(mail)).map_err(|SendError(command)| match command {
            Command::Mail(mail) => mail,
            Command::Shutdown => unreachable!("a mail was sent"),
        })?;
        self.wake();
        Ok(())
    }

    /// Begins a graceful shutdown: no new connections, a Close to every open one, then [`Server::run`](super::Server::run) returns.
    /// `false` when the mailbox is full or the loop has ended.
    #[must_use]
    pub fn shutdown(&self) -> bool {
        self.command(Command::Shutdown).is_ok()
    }

    fn command(&self, command: Command<M>) -> Result<(), Command<M>> {
        self.sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) | TrySendError::Disconnected(command) => command,
        })?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the loop could not be woken");
        }
    }
}
