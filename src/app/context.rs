//! What an application may do from within a callback.

use super::{
    Acceptance, CloseCode, ConnId, Millis, Now, Outgoing, OwnedMessage, Published, Refused, Response,
    SendError, SlowPolicy, Stats, TopicId, TopicOptions,
};
#[cfg(doc)]
use super::{Application, Verdict};

/// What an application may do from within a callback. Nothing is written before the end of the tick, so no call
/// leads to another callback of the same application.
pub trait Context {
    /// The time of this tick.
    fn now(&self) -> Now;

    /// A random number from the loop's seed: for jitter, not for secrets.
    fn random(&mut self) -> u64;

    /// Queues a message for one connection.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] when the connection is not open (any more), [`SendError::MessageUnfinished`] in the middle of
    /// a fragmented message.
    fn send(&mut self, conn: ConnId, message: Outgoing<'_>) -> Result<(), SendError>;

    /// As [`Self::send`], without a copy of a long payload where it goes out as it is.
    ///
    /// # Errors
    /// As [`Self::send`].
    fn forward(&mut self, conn: ConnId, message: OwnedMessage) -> Result<(), SendError>;

    /// Queues one fragment of a message for one connection, which is subscribed to nothing meanwhile: what a topic
    /// publishes could come between the fragments.
    ///
    /// # Errors
    /// [`SendError::NotOpen`], or [`SendError::MessageUnfinished`] when the connection is subscribed to a topic or the
    /// fragment is of another kind than those before it.
    fn send_fragment(&mut self, conn: ConnId, fragment: Outgoing<'_>, is_last: bool)
    -> Result<(), SendError>;

    /// Queues a message for every subscriber of a topic but `except`.
    /// The message is encoded once, and compressed once for all receivers without context takeover that agreed on the
    /// same window; for each receiver with context takeover it is compressed by itself.
    fn publish(&mut self, topic: TopicId, message: Outgoing<'_>, except: Option<ConnId>) -> Published;

    /// As [`Self::publish`], for [`SlowPolicy::Conflate`]: of messages with one key a slow subscriber needs the newest only.
    fn publish_keyed(
        &mut self,
        topic: TopicId,
        key: u64,
        message: Outgoing<'_>,
        except: Option<ConnId>,
    ) -> Published;

    /// Makes a topic without subscribers. Where `options` let messages be dropped, subscribers that agreed on context
    /// takeover get them uncompressed: a compressed message that refers to one that was dropped could not be read.
    fn create_topic(&mut self, options: TopicOptions) -> TopicId;

    /// Ends a topic; what was published before still goes out.
    fn remove_topic(&mut self, topic: TopicId);

    /// Adds a connection to a topic: it gets what is published from now on.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] when the connection is not open (any more), [`SendError::MessageUnfinished`] in the middle of
    /// a fragmented message.
    fn subscribe(&mut self, conn: ConnId, topic: TopicId) -> Result<(), SendError>;

    /// As [`Self::subscribe`], with a policy for this subscriber instead of the topic's.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    fn subscribe_as(&mut self, conn: ConnId, topic: TopicId, policy: SlowPolicy) -> Result<(), SendError>;

    /// Takes a connection out of a topic: it gets what was published until now.
    fn unsubscribe(&mut self, conn: ConnId, topic: TopicId);

    /// Begins the closing handshake. What was queued before goes out first.
    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str);

    /// Answers a request that got [`Verdict::Later`], once. Nothing happens when the connection is gone, or the
    /// request is answered already, with 504 for instance. An upgrade is refused so.
    fn respond(&mut self, conn: ConnId, response: Response);

    /// Accepts an upgrade that got [`Verdict::Later`], once. [`Application::on_open`] comes at the end of the tick, or
    /// [`Application::on_abandoned`] if the connection has ended meanwhile. Nothing happens when it was answered already. For a plain
    /// request it means 426.
    ///
    /// ```
    /// use switchboard::app::{Acceptance, Application, ConnId, Context, Message, Refused, Request, Response, Verdict};
    ///
    /// /// Somebody else knows who may come in, and says so by mail.
    /// struct Asking {
    ///     ask: std::sync::mpsc::Sender<(ConnId, String)>,
    /// }
    ///
    /// impl Application for Asking {
    ///     /// Whether the connection may be opened.
    ///     type Mail = (ConnId, bool);
    ///
    ///     fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
    ///         let cookie = request.head.fields.text("cookie").unwrap_or_default();
    ///         match self.ask.send((request.conn, cookie.to_owned())) {
    ///             Ok(()) => Verdict::Later,
    ///             Err(_) => Verdict::Respond(Response::text(503, "nobody to ask")),
    ///         }
    ///     }
    ///
    ///     fn on_mail<C: Context>(&mut self, ctx: &mut C, (conn, may_enter): (ConnId, bool)) {
    ///         if may_enter {
    ///             ctx.accept(conn, Acceptance::default());
    ///         } else {
    ///             ctx.refuse(conn, Refused::Token, Response::text(401, "sign in first"));
    ///         }
    ///     }
    ///
    ///     fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
    ///         let _ = ctx.send(conn, message.as_outgoing());
    ///     }
    /// }
    /// ```
    fn accept(&mut self, conn: ConnId, acceptance: Acceptance);

    /// As [`Self::respond`], for a reason that is counted.
    fn refuse(&mut self, conn: ConnId, reason: Refused, response: Response);

    /// Takes no more messages of any connection from the next tick on, until [`Self::resume_input`]: for an application that cannot
    /// pass on what comes, such as to a loop whose mailbox is full. TCP slows down who sends. Everything else goes on: mail,
    /// timers, requests, writing. Pongs are messages in that respect, so a pause is to be shorter than
    /// [`Timeouts::pong_ms`](crate::proto::Timeouts::pong_ms).
    fn pause_input(&mut self);

    /// Ends the pause of [`Self::pause_input`].
    fn resume_input(&mut self);

    /// Begins a graceful shutdown at the end of the tick, as SIGTERM does.
    fn drain(&mut self);

    /// Whether a shutdown has begun.
    fn is_draining(&self) -> bool;

    /// What the loop has counted. Looks at every connection: not for every tick.
    fn stats(&self) -> Stats;

    /// Bytes that wait for the peer to read.
    fn backlog(&self, conn: ConnId) -> usize;

    /// Calls [`Application::on_timer`] with `token` once `at` (as [`Now::monotonic_ms`]) has come.
    fn set_timer(&mut self, at: Millis, token: u64);
}
