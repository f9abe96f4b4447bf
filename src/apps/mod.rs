//! Small applications, for conformance and benchmarks: any path, any origin, any subprotocol.

mod shared_fanout;

use std::convert::Infallible;

pub use self::shared_fanout::{Batch, SharedFanout};
use crate::app::{
    Acceptance, Application, ConnId, Context, Message, OwnedMessage, Request, TopicId, TopicOptions, Verdict,
};

/// Accepts every upgrade, with the first subprotocol that it offers.
fn accept() -> Verdict {
    Verdict::Accept(Acceptance { any_subprotocol: true, ..Acceptance::default() })
}

/// Sends every message back to its sender.
#[derive(Debug, Default)]
pub struct Echo;

impl Application for Echo {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        accept()
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

/// Sends every message to every connection, its sender too. [`SharedFanout`] does so on several loops.
#[derive(Debug, Default)]
pub struct Fanout {
    everyone: Option<TopicId>,
}

impl Application for Fanout {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.everyone = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        accept()
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

#[cfg(feature = "ops")]
impl crate::ops::Watched for Echo {
    type Figures = ();

    fn figures(&self) {}
}

#[cfg(feature = "ops")]
impl crate::ops::Watched for Fanout {
    type Figures = ();

    fn figures(&self) {}
}

#[cfg(feature = "ops")]
impl crate::ops::Watched for SharedFanout {
    type Figures = ();

    fn figures(&self) {}
}
