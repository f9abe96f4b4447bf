//! Two small applications, for conformance and benchmarks: any path, any origin.

use std::convert::Infallible;

use crate::app::{
    Acceptance, Application, ConnId, Context, Message, OwnedMessage, Request, TopicId, TopicOptions, Verdict,
};

/// Sends every message back to its sender.
#[derive(Debug, Default)]
pub struct Echo {
    subprotocol: Option<String>,
}

impl Echo {
    /// Agrees to `subprotocol` where a client offers it; when it is `None`, to the first that a client offers.
    #[must_use]
    pub fn new(subprotocol: Option<String>) -> Self {
        Self { subprotocol }
    }
}

impl Application for Echo {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        accept(request, self.subprotocol.as_deref())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the loop around it is compiled for this application")]
    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        // A connection that began to close has no use for the echo.
        let _ = ctx.send(conn, message.as_outgoing());
    }

    fn on_owned<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: OwnedMessage) {
        let _ = ctx.forward(conn, message);
    }
}

/// Sends every message to every connection, its sender too.
#[derive(Debug, Default)]
pub struct Fanout {
    everyone: Option<TopicId>,
    subprotocol: Option<String>,
}

impl Fanout {
    /// Agrees to `subprotocol` where a client offers it; when it is `None`, to the first that a client offers.
    #[must_use]
    pub fn new(subprotocol: Option<String>) -> Self {
        Self { everyone: None, subprotocol }
    }
}

impl Application for Fanout {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.everyone = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_request<C: Context>(&mut self, _: &mut C, request: &Request<'_>) -> Verdict {
        accept(request, self.subprotocol.as_deref())
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(everyone) = self.everyone {
            // Cannot fail: the connection has just been opened.
            let _ = ctx.subscribe(conn, everyone);
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _conn: ConnId, message: Message<'_>) {
        if let Some(everyone) = self.everyone {
            ctx.publish(everyone, message.as_outgoing(), None);
        }
    }
}

/// Browsers fail a connection whose offer of subprotocols gets no answer.
fn accept(request: &Request<'_>, subprotocol: Option<&str>) -> Verdict {
    let mut offered = request.upgrade.iter().flat_map(|upgrade| upgrade.subprotocols());
    let agreed = match subprotocol {
        Some(name) => offered.find(|offered| *offered == name.as_bytes()),
        None => offered.next(),
    };
    let agreed = agreed.and_then(|name| std::str::from_utf8(name).ok());
    Verdict::Accept(Acceptance {
        subprotocol: agreed.map(|name| name.to_owned().into()),
        ..Acceptance::default()
    })
}
