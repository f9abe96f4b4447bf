//! Layer 6: the HTTP API of the chat under `/api/v1`, for other servers. `openapi.json` is its contract.
//!
//! A request becomes a call of the chat, and is answered when the chat has answered: what must be durable is on the disk
//! then.

mod body;
mod figures;
mod problem;
mod route;

use std::collections::BTreeMap;

use serde_json::json;
use subtle::ConstantTimeEq;

use self::body::Fields;
use self::problem::Problem;
use self::route::{Query, Route, Target};
use crate::app::{
    Application, Body, ConnId, Context, Layer, MAX_CLOSE_REASON, Request, RequestHead, Response, Verdict,
};
use crate::chat::command::Command;
use crate::chat::{Answered, Chat, MAX_LISTED, Refusal};
use crate::history::Ban;

/// Where the API is.
const ROOT: &str = "/api/v1/";
/// The contract.
const OPENAPI: &str = include_str!("openapi.json");
/// What `chat.v1.json` speaks; it asks for no token, since clients of the chat have none of the API.
const ASYNCAPI: &str = include_str!("asyncapi.json");
const ASYNCAPI_PATH: &str = "/api/v1/asyncapi.json";

/// A request that the chat has not answered.
#[derive(Debug)]
struct Asked {
    conn: ConnId,
    /// The status of a good answer; 204 comes without a body.
    status: u16,
}

/// The chat with its API.
#[derive(Debug)]
pub struct Api {
    chat: Chat,
    /// `None`: there is no API.
    token: Option<Vec<u8>>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
}

impl Api {
    /// The chat, with an API for anyone who has the token; without one there is none.
    #[must_use]
    pub fn new(chat: Chat, token: Option<Vec<u8>>) -> Self {
        Self { chat, token, asked: BTreeMap::new(), next: 0 }
    }

    /// The chat.
    #[must_use]
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Whether a request is for the API, or for the description of what the chat speaks, which is there without one.
    fn is_for_us(&self, head: &RequestHead<'_>) -> bool {
        self.token.is_some() && head.path().starts_with(ROOT) || head.path() == ASYNCAPI_PATH
    }

    /// RFC 6750 2.1. The comparison takes as long for a wrong token as for the right one; the token's length is no secret.
    fn is_authorized(&self, head: &RequestHead<'_>) -> bool {
        let given = head.fields.single("authorization").ok().flatten().and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
        });
        match (&self.token, given) {
            (Some(token), Some(given)) => token.as_slice().ct_eq(given).into(),
            _ => false,
        }
    }

    fn answer<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        let head = request.head;
        if head.path() == ASYNCAPI_PATH {
            return Verdict::Respond(match head.method {
                "GET" | "HEAD" => json_response(200, "application/json", ASYNCAPI.to_owned()),
                _ => Problem::not_allowed(["GET"].into_iter()).response(),
            });
        }
        if !self.is_authorized(head) {
            let problem = Problem::new(401, "the API asks for its bearer token");
            return Verdict::Respond(
                problem.response().field("WWW-Authenticate", "Bearer realm=\"switchboard\""),
            );
        }
        let query = head.target.split_once('?').map_or("", |(_, query)| query);
        let done = route::find(&head.path()[ROOT.len()..], query, head.method)
            .and_then(|target| self.serve(ctx, request, &target));
        done.unwrap_or_else(|problem| Verdict::Respond(problem.response()))
    }

    fn serve<C: Context>(
        &mut self,
        ctx: &mut C,
        request: &Request<'_>,
        target: &Target<'_>,
    ) -> Result<Verdict, Problem> {
        let name = target.name.as_deref().unwrap_or_default();
        let Target { route, query, .. } = target;
        let done = match route {
            Route::OpenApi => Done::Json(200, OPENAPI.to_owned()),
            Route::Rooms => return self.rooms(ctx, request.conn, query),
            Route::Bans => {
                let (bans, more) =
                    self.chat.bans(ctx, query.text("after").unwrap_or_default(), page_len(query)?);
                let bans: Vec<_> = bans.into_iter().map(show_ban).collect();
                Done::json(200, &json!({ "bans": bans, "more": more }))
            }
            Route::Ban => {
                let ban = self.chat.find_ban(ctx, name).map_err(Problem::from)?;
                Done::json(200, &show_ban(ban.ok_or_else(|| Problem::new(404, "this user is not banned"))?))
            }
            Route::Members => Done::Call(200, None, Command::Who { room: name.into() }),
            Route::History => {
                let room = name.into();
                let (before, after) = (query.number("before")?, query.number("after")?);
                let limit = query.number("limit")?;
                Done::Call(200, None, Command::History { room, before, after, limit })
            }
            Route::Lift => Done::Call(204, None, Command::Unban { user: name.into() }),
            Route::Drain => {
                ctx.drain();
                Done::json(202, &json!({ "status": "draining" }))
            }
            Route::Post | Route::Broadcast | Route::Disconnect | Route::SetBan => {
                let fields = Fields::of(request)?;
                return self.serve_body(ctx, request, (*route, name), &fields);
            }
        };
        Ok(self.finish(ctx, request.conn, done))
    }

    /// The same for those that say more in a body.
    fn serve_body<C: Context>(
        &mut self,
        ctx: &mut C,
        request: &Request<'_>,
        (route, name): (Route, &str),
        fields: &Fields<'_>,
    ) -> Result<Verdict, Problem> {
        let limits = self.chat.limits();
        let done = match route {
            Route::Post => {
                let (user, text) = (fields.text("user")?, fields.said("text", limits.max_text)?);
                let key = fields.maybe_said("key", limits.max_key)?.map(Into::into);
                let (data, reply_to) = (fields.data(limits.max_data)?, fields.maybe_number("reply_to")?);
                let (room, text) = (name.into(), text.into());
                Done::Call(201, Some(user), Command::Post { room, text, key, data, reply_to })
            }
            Route::SetBan => {
                let seconds = fields.maybe_number("seconds")?;
                let reason = fields.maybe_said("reason", limits.max_reason)?;
                Done::Call(
                    204,
                    None,
                    Command::Ban { user: name.into(), seconds, reason: reason.map(Into::into) },
                )
            }
            Route::Broadcast => {
                let text = fields.said("text", limits.max_text)?;
                let rooms = fields.maybe_texts("rooms")?;
                let number = self.ask(request.conn, 200);
                self.chat
                    .broadcast(ctx, number, rooms.as_deref(), text)
                    .map_err(|why| self.unask(number, why))?;
                return Ok(Verdict::Later);
            }
            _ => return self.disconnect(ctx, request.conn, fields),
        };
        Ok(self.finish(ctx, request.conn, done))
    }

    fn disconnect<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        fields: &Fields<'_>,
    ) -> Result<Verdict, Problem> {
        let reason = fields.maybe_said("reason", MAX_CLOSE_REASON)?.unwrap_or("disconnected");
        let (user, client) = (fields.maybe_text("user")?, fields.maybe_text("client")?);
        if user.is_some() == client.is_some() {
            return Err(Problem::field("user", "either `user` or `client` must be there"));
        }
        let number = self.ask(conn, 200);
        let ended = match client {
            Some(client) => self.chat.disconnect_client(ctx, number, client, reason),
            None => self.chat.disconnect_user(ctx, number, user.unwrap_or_default(), reason),
        };
        ended.map_err(|why| self.unask(number, why))?;
        Ok(Verdict::Later)
    }

    /// A request waits for an answer of the chat.
    fn ask(&mut self, conn: ConnId, status: u16) -> u64 {
        self.next += 1;
        self.asked.insert(self.next, Asked { conn, status });
        self.next
    }

    /// There will be no answer.
    fn unask(&mut self, number: u64, why: Refusal) -> Problem {
        self.asked.remove(&number);
        why.into()
    }

    fn rooms<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        query: &Query<'_>,
    ) -> Result<Verdict, Problem> {
        let limit = page_len(query)?;
        let number = self.ask(conn, 200);
        let after = query.text("after").unwrap_or_default();
        self.chat.list_rooms(ctx, number, after, limit);
        Ok(Verdict::Later)
    }

    fn finish<C: Context>(&mut self, ctx: &mut C, conn: ConnId, done: Done<'_>) -> Verdict {
        match done {
            Done::Json(status, body) => Verdict::Respond(json_response(status, "application/json", body)),
            Done::Call(status, user, command) => {
                let number = self.ask(conn, status);
                self.chat.call(ctx, number, user, command);
                Verdict::Later
            }
        }
    }

    /// Passes on what the chat has answered.
    fn deliver<C: Context>(&mut self, ctx: &mut C) {
        for answered in self.chat.take_answered() {
            if let Some(asked) = self.asked.remove(&answered.request) {
                ctx.respond(asked.conn, respond(asked.status, answered));
            }
        }
    }
}

/// What comes of a request.
enum Done<'a> {
    /// The answer.
    Json(u16, String),
    /// A call of the chat, and the status of its good answer.
    Call(u16, Option<&'a str>, Command<'a>),
}

impl Done<'_> {
    fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Json(status, body.to_string())
    }
}

fn respond(status: u16, answered: Answered) -> Response {
    match answered.refused {
        Some(code) => Problem::of_answer(code, &answered.body).response(),
        None if status == 204 => Response { status, ..Response::default() },
        None => {
            // A post that was there already is not created.
            let answer: serde_json::Value = serde_json::from_str(&answered.body).unwrap_or_default();
            let is_known = answer["duplicate"] == true;
            json_response(if is_known { 200 } else { status }, "application/json", answered.body)
        }
    }
}

fn json_response(status: u16, content_type: &str, body: String) -> Response {
    Response { status, fields: Vec::new(), body: Body::Owned(body.into_bytes()) }
        .field("Content-Type", content_type)
        .field("Cache-Control", "no-store")
}

/// How many elements a page of a list has, at most.
fn page_len(query: &Query<'_>) -> Result<usize, Problem> {
    match query.number("limit")? {
        Some(0) => Err(Problem::field("limit", "`limit` is at least 1")),
        limit => Ok(limit.map_or(MAX_LISTED, |limit| limit.min(MAX_LISTED as u64) as usize)),
    }
}

fn show_ban(ban: &Ban) -> serde_json::Value {
    let mut shown = json!({ "user": &*ban.user });
    if let Some(until) = ban.until {
        shown["until"] = until.into();
    }
    if !ban.reason.is_empty() {
        shown["reason"] = (*ban.reason).into();
    }
    shown
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, field, message, retry_after_ms } = refusal;
        Self::refused(code, field, &message, retry_after_ms)
    }
}

impl Layer for Api {
    type Inner = Chat;
    type Mail = <Chat as Application>::Mail;

    fn inner(&mut self) -> &mut Chat {
        &mut self.chat
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        self.chat.on_mail(ctx, mail);
    }

    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        // A client without a token is not listened to.
        self.is_for_us(head) && self.is_authorized(head) || self.chat.wants_body(head)
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_none() && self.is_for_us(request.head) {
            return self.answer(ctx, request);
        }
        self.chat.on_request(ctx, request)
    }

    #[inline]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.chat.on_tick_end(ctx);
        if !self.asked.is_empty() {
            self.deliver(ctx);
        }
    }
}
