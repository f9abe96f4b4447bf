//! Applications around another application.

use std::net::SocketAddr;

use super::{
    Application, Chunk, Closed, ConnId, Context, Message, OwnedMessage, Refused, Rejection, Request,
    RequestHead, TopicId, Verdict,
};

/// An application around another one. Every callback goes to [`Self::inner`] unless the layer says otherwise, so a layer
/// writes down what it changes and nothing else. A layer that overrides a callback calls it on [`Self::inner`] itself.
///
/// A layer is an [`Application`]. The callbacks are those of [`Application`], with the same names and meanings.
///
/// ```
/// use switchboard::app::{Application, Context, Layer, Request, Response, Verdict};
/// use switchboard::apps::Echo;
///
/// /// An echo that has a page beside it.
/// struct WithPage(Echo);
///
/// impl Layer for WithPage {
///     type Inner = Echo;
///     type Mail = <Echo as Application>::Mail;
///
///     fn inner(&mut self) -> &mut Echo {
///         &mut self.0
///     }
///
///     fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
///         self.0.on_mail(ctx, mail);
///     }
///
///     fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
///         match request.upgrade {
///             None => Verdict::Respond(Response::text(200, "an echo")),
///             Some(_) => self.0.on_request(ctx, request),
///         }
///     }
/// }
/// ```
#[expect(missing_docs, reason = "each callback is that of Application")]
#[expect(clippy::inline_always, reason = "a layer adds nothing to the callbacks of a message")]
pub trait Layer {
    /// The application inside.
    type Inner: Application;
    /// What other threads may send into the loop.
    type Mail: Send + 'static;

    /// The application inside.
    fn inner(&mut self) -> &mut Self::Inner;

    /// Another thread sent something: mail for the application inside goes to its `on_mail`.
    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail);

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.inner().on_start(ctx);
    }

    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        self.inner().wants_body(head)
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        self.inner().on_request(ctx, request)
    }

    fn on_abandoned<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.inner().on_abandoned(ctx, conn);
    }

    fn on_refused_late(&mut self, peer: SocketAddr, reason: Refused) {
        self.inner().on_refused_late(peer, reason);
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        self.inner().on_turned_away(rejection);
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        self.inner().on_open(ctx, conn);
    }

    #[inline(always)]
    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        self.inner().on_message(ctx, conn, message);
    }

    fn on_owned<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: OwnedMessage) {
        self.inner().on_owned(ctx, conn, message);
    }

    fn on_chunk<C: Context>(&mut self, ctx: &mut C, conn: ConnId, chunk: Chunk<'_>) {
        self.inner().on_chunk(ctx, conn, chunk);
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        self.inner().on_close(ctx, conn, closed);
    }

    fn on_lag<C: Context>(&mut self, ctx: &mut C, conn: ConnId, topic: TopicId, dropped: u64) {
        self.inner().on_lag(ctx, conn, topic, dropped);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        self.inner().on_timer(ctx, token);
    }

    #[inline(always)]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.inner().on_tick_end(ctx);
    }

    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        self.inner().on_drain(ctx);
    }
}

#[warn(clippy::missing_trait_methods, reason = "a new callback must be forwarded")]
#[expect(clippy::inline_always, reason = "as in the trait")]
impl<L: Layer> Application for L {
    type Mail = L::Mail;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        Layer::on_start(self, ctx);
    }

    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        Layer::wants_body(self, head)
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        Layer::on_request(self, ctx, request)
    }

    fn on_abandoned<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        Layer::on_abandoned(self, ctx, conn);
    }

    fn on_refused_late(&mut self, peer: SocketAddr, reason: Refused) {
        Layer::on_refused_late(self, peer, reason);
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        Layer::on_turned_away(self, rejection);
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        Layer::on_open(self, ctx, conn);
    }

    #[inline(always)]
    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        Layer::on_message(self, ctx, conn, message);
    }

    fn on_owned<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: OwnedMessage) {
        Layer::on_owned(self, ctx, conn, message);
    }

    fn on_chunk<C: Context>(&mut self, ctx: &mut C, conn: ConnId, chunk: Chunk<'_>) {
        Layer::on_chunk(self, ctx, conn, chunk);
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        Layer::on_close(self, ctx, conn, closed);
    }

    fn on_lag<C: Context>(&mut self, ctx: &mut C, conn: ConnId, topic: TopicId, dropped: u64) {
        Layer::on_lag(self, ctx, conn, topic, dropped);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        Layer::on_timer(self, ctx, token);
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        Layer::on_mail(self, ctx, mail);
    }

    #[inline(always)]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        Layer::on_tick_end(self, ctx);
    }

    fn on_drain<C: Context>(&mut self, ctx: &mut C) {
        Layer::on_drain(self, ctx);
    }
}
