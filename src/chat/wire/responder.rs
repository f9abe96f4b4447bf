//! How answers and notices reach those they are for.

use serde::Serialize;

use crate::app::{ConnId, Context, Outgoing, TopicId};
use crate::chat::wire::notices::{self, Bye, Ending};
use crate::chat::wire::refusal::{Code, Refusal};
use crate::chat::wire::reply_to::ReplyTo;

/// The answer to an [`ReplyTo::Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The number of the request; see [`Self::is_for`].
    pub request: u64,
    /// The error, if it is one.
    pub refused: Option<Code>,
    /// The answer of `chat.v1.json`, without `id`.
    pub body: String,
}

impl Answered {
    /// Whether it is the answer to this call.
    #[must_use]
    pub fn is_for(&self, call: CallId) -> bool {
        self.request == call.0
    }
}

/// A call that was begun with [`Chat::start`](crate::chat::Chat::start).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// Those that the chat numbers have the highest bit, so that nobody else's are among them.
    pub(in crate::chat) fn new(number: u64) -> Self {
        Self(number | 1 << 63)
    }

    pub(in crate::chat) fn request(self) -> u64 {
        self.0
    }
}

/// Writes what goes out, into one buffer.
#[derive(Debug, Default)]
pub(in crate::chat) struct Responder {
    buffer: Vec<u8>,
    answered: Vec<Answered>,
    acks: u64,
    refused: [u64; Code::ALL.len()],
}

/// What a client of `json` is told.
#[derive(Serialize)]
struct TutorialError<'a> {
    error: &'a str,
}

impl Responder {
    /// The answers to requests since the last time, in order.
    pub(in crate::chat) fn take_answered(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.answered)
    }

    /// Commands acknowledged.
    pub(in crate::chat) fn acks(&self) -> u64 {
        self.acks
    }

    /// Refused commands, by [`Code::ALL`].
    pub(in crate::chat) fn refused(&self) -> [u64; Code::ALL.len()] {
        self.refused
    }

    /// The JSON of a notice.
    pub(in crate::chat) fn encode(&mut self, notice: &impl Serialize) -> &str {
        self.buffer.clear();
        // Strings and numbers always have a JSON form, and JSON is UTF-8.
        let _ = serde_json::to_writer(&mut self.buffer, notice);
        simdutf8::basic::from_utf8(&self.buffer).unwrap_or_default()
    }

    /// Returns the octets of the notice.
    pub(in crate::chat) fn send<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        notice: &impl Serialize,
    ) -> usize {
        let text = self.encode(notice);
        // A connection that has ended has no use for it.
        let _ = ctx.send(conn, Outgoing::text(text));
        text.len()
    }

    /// Sends the same notice to the members of some topics; encodes nothing where there are none.
    pub(in crate::chat) fn publish<C: Context>(
        &mut self,
        ctx: &mut C,
        topics: impl IntoIterator<Item = TopicId>,
        notice: &impl Serialize,
        except: Option<ConnId>,
    ) {
        let mut topics = topics.into_iter();
        let Some(first) = topics.next() else { return };
        let text = self.encode(notice);
        for topic in std::iter::once(first).chain(topics) {
            ctx.publish(topic, Outgoing::text(text), except);
        }
    }

    /// Answers that it was done; returns the octets of the answer.
    pub(in crate::chat) fn reply<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        answer: &impl Serialize,
    ) -> usize {
        match reply_to {
            ReplyTo::Connection(conn, _) => self.send(ctx, *conn, answer),
            ReplyTo::Request(request) => {
                let body = self.encode(answer).to_owned();
                let octets = body.len();
                self.answered.push(Answered { request: *request, refused: None, body });
                octets
            }
            ReplyTo::Tutorial(_) | ReplyTo::Nobody => 0,
        }
    }

    /// Passes an answer on that has its form already.
    pub(in crate::chat) fn pass_on(&mut self, reply_to: &ReplyTo, body: &str) {
        if let ReplyTo::Request(request) = reply_to {
            self.answered.push(Answered { request: *request, refused: None, body: body.to_owned() });
        }
    }

    /// [`Self::reply`], for what counts.
    pub(in crate::chat) fn acknowledge<C: Context>(
        &mut self,
        ctx: &mut C,
        reply_to: &ReplyTo,
        ack: &notices::Ack<'_>,
    ) {
        self.acks += 1;
        self.reply(ctx, reply_to, ack);
    }

    /// Answers that it was not done.
    pub(in crate::chat) fn refuse<C: Context>(&mut self, ctx: &mut C, reply_to: &ReplyTo, refusal: &Refusal) {
        self.refused[refusal.code as usize] += 1;
        let Refusal { code, field, message, retry_after_ms } = refusal;
        let (code, retry_after_ms) = (*code, *retry_after_ms);
        let error = notices::Error { id: reply_to.id(), code, field: *field, message, retry_after_ms };
        match reply_to {
            ReplyTo::Connection(conn, _) => {
                self.send(ctx, *conn, &error);
            }
            ReplyTo::Tutorial(conn) => {
                self.send(ctx, *conn, &TutorialError { error: message });
            }
            ReplyTo::Request(request) => {
                let body = self.encode(&error).to_owned();
                self.answered.push(Answered { request: *request, refused: Some(code), body });
            }
            ReplyTo::Nobody => {}
        }
    }

    /// Tells a client of `json` why its connection ends.
    pub(in crate::chat) fn farewell<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: &str) {
        self.send(ctx, conn, &TutorialError { error: message });
    }

    pub(in crate::chat) fn bye<C: Context>(&mut self, ctx: &mut C, conn: ConnId, ending: &Ending<'_>) {
        let Ending { reason, message, retry_after_ms } = *ending;
        self.send(ctx, conn, &Bye { reason, message, retry_after_ms });
    }
}
