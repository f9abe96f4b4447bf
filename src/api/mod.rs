//! Layer 6: the HTTP API of the chat under `/api/v1`, for other servers. `openapi.json` is its contract.
//!
//! A request becomes a call of the chat, and is answered when the chat has answered: what must be durable is on the disk
//! then.

mod access;
mod admin;
mod body;
mod closes;
mod cors;
mod etag;
mod export;
mod figures;
mod idempotency;
mod import;
mod limits;
mod problem;
mod route;
mod serve;
mod tokens;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::json;

pub use self::access::Access;
use self::access::{Caller, Denied};
use self::body::Fields;
use self::etag::Tags;
use self::export::{Export, Next};
use self::idempotency::{Known, Repeatable};
use self::import::Import;
pub use self::limits::Limits;
use self::problem::Problem;
use self::route::{Query, Route, Target};
use self::tokens::Hash;
pub use self::tokens::{NewToken, Scope, TokenFileError};
use crate::app::{
    Application, Body, Closed, ConnId, Context, Layer, MAX_CLOSE_REASON, Request, RequestHead, Response,
    Verdict,
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
    /// What the answer is made of, where it is not that of the chat.
    form: Form,
    reply: Reply,
}

/// What an answer is made of.
#[derive(Debug, Default)]
enum Form {
    /// The chat's answer.
    #[default]
    AsIs,
    /// The message with this number out of a history.
    Message(u64),
    /// Lines of several answers.
    Export(Box<Export>),
    /// What came of several calls.
    Import(Import),
}

/// What becomes of an answer on its way out.
#[derive(Debug, Default)]
struct Reply {
    /// The page of this origin may read it.
    origin: Option<Box<str>>,
    /// It has a tag, and is left out where the client has it already.
    tags: Option<Tags>,
    /// It is remembered for when the request comes again.
    repeatable: Option<Repeatable>,
}

/// A request of somebody whose token is known.
#[derive(Debug)]
struct Incoming<'a> {
    request: &'a Request<'a>,
    caller: Caller,
}

/// The chat with its API.
#[derive(Debug)]
pub struct Api {
    chat: Chat,
    /// `None`: there is no API.
    access: Option<Access>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
}

impl Incoming<'_> {
    fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller.may(scope) { Ok(()) } else { Err(Problem::lacks(scope)) }
    }

    /// The `Idempotency-Key`, if there is one.
    fn repeat_key(&self, most: usize) -> Result<Option<&str>, Problem> {
        const FIELD: &str = "Idempotency-Key";
        match self.request.head.fields.single("idempotency-key") {
            Err(_) => Err(Problem::twice(FIELD)),
            Ok(None) => Ok(None),
            Ok(Some(value)) => match std::str::from_utf8(value).map(str::trim) {
                Ok(key) if key.len() > most => Err(Problem::too_long(FIELD, most)),
                Ok(key) if !key.is_empty() => Ok(Some(key)),
                _ => Err(Problem::field(FIELD, "`Idempotency-Key` is empty or no text")),
            },
        }
    }

    /// The key of a post: the field `key`, or the `Idempotency-Key`.
    fn key(&self, fields: &Fields, most: usize) -> Result<Option<String>, Problem> {
        let (in_head, in_body) = (self.repeat_key(most)?, fields.maybe_said("key", most)?);
        if in_head.is_some() && in_body.is_some() && in_head != in_body {
            return Err(Problem::field("key", "`key` is another one than the `Idempotency-Key`"));
        }
        Ok(in_body.or(in_head).map(str::to_owned))
    }
}

impl Reply {
    fn apply(self, access: &Access, response: Response) -> Response {
        if let Some(repeatable) = &self.repeatable {
            access.end(repeatable, &response);
        }
        let response = match &self.tags {
            Some(tags) if response.status == 200 => tags.apply(response),
            _ => response,
        };
        match &self.origin {
            Some(origin) => cors::admit(response, origin),
            None => response,
        }
    }
}

impl Api {
    /// The chat, with an API for those to whom `access` gives it; without one there is none.
    #[must_use]
    pub fn new(chat: Chat, access: Option<Access>) -> Self {
        Self { chat, access, asked: BTreeMap::new(), next: 0 }
    }

    /// The chat.
    #[must_use]
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Whether a request is for the API.
    fn is_for_us(&self, head: &RequestHead<'_>) -> bool {
        self.access.is_some() && head.path().starts_with(ROOT)
    }

    fn answer<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>, access: &Access) -> Verdict {
        let head = request.head;
        let origin = access.origins().admitted(head);
        if !access.origins().is_empty() && cors::is_preflight(head) {
            return Verdict::Respond(cors::preflight(origin.as_deref()));
        }
        let mut reply = Reply { origin, ..Reply::default() };
        let caller = match access.admit(head, ctx.now()) {
            Ok(caller) => caller,
            Err(Denied::TooFast(wait_ms)) => {
                return Verdict::Respond(reply.apply(access, Problem::too_fast(wait_ms).response()));
            }
            Err(Denied::NoToken) => {
                let problem = Problem::new(401, "the API asks for its bearer token").response();
                let response = problem.field("WWW-Authenticate", "Bearer realm=\"switchboard\"");
                return Verdict::Respond(reply.apply(access, response));
            }
        };
        let call = Incoming { request, caller };
        let done = self.admitted(ctx, &call, access, &mut reply);
        match done.unwrap_or_else(|problem| Verdict::Respond(problem.response())) {
            Verdict::Respond(response) => Verdict::Respond(reply.apply(access, response)),
            later => {
                if let Some(asked) = self.asked.get_mut(&self.next) {
                    asked.reply = reply;
                }
                later
            }
        }
    }

    /// Serves somebody whose token is known, as far as the token goes.
    fn admitted<C: Context>(
        &mut self,
        ctx: &mut C,
        call: &Incoming<'_>,
        access: &Access,
        reply: &mut Reply,
    ) -> Result<Verdict, Problem> {
        let head = call.request.head;
        let query = head.target.split_once('?').map_or("", |(_, query)| query);
        let target = route::find(&head.path()[ROOT.len()..], query, head.method)?;
        if let Some(scope) = target.route.scope() {
            call.require(scope)?;
        }
        if target.route.is_tagged() {
            reply.tags = Some(Tags::of(head));
        }
        if target.route.is_remembered()
            && let Some(key) = call.repeat_key(self.chat.limits().max_key)?
        {
            let repeatable = Repeatable { token: call.caller.token.clone(), key: key.into() };
            let mut print = format!("{} {}\n", head.method, head.target).into_bytes();
            print.extend_from_slice(call.request.body);
            match access.begin(&repeatable, Hash::of(&print), ctx.now().monotonic_ms) {
                Known::Nothing => reply.repeatable = Some(repeatable),
                Known::Answered(answer) => {
                    return Ok(Verdict::Respond(answer.field("Idempotency-Replayed", "true")));
                }
                Known::UnderWay => {
                    return Err(Problem::new(409, "a request with this `Idempotency-Key` is under way"));
                }
                Known::Other => {
                    let why = "another request had this `Idempotency-Key`";
                    return Err(Problem::field("Idempotency-Key", why));
                }
            }
        }
        self.serve(ctx, call, &target)
    }

    fn serve<C: Context>(
        &mut self,
        ctx: &mut C,
        call: &Incoming<'_>,
        target: &Target<'_>,
    ) -> Result<Verdict, Problem> {
        let request = call.request;
        let name = target.names.first().map(|name| &**name).unwrap_or_default();
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
            Route::Members if query.text("after").or(query.text("limit")).is_none() => {
                Done::Call(200, None, Command::Who { room: name.into() })
            }
            Route::History => {
                let room = name.into();
                let (before, after) = (query.number("before")?, query.number("after")?);
                let limit = query.number("limit")?;
                Done::Call(200, None, Command::History { room, before, after, limit })
            }
            Route::Message | Route::Edit | Route::Delete | Route::React | Route::Unreact => {
                self.serve_message(call, target)?
            }
            Route::Export | Route::ExportAll => return self.serve_export(ctx, request.conn, target),
            Route::Import => return self.serve_import(ctx, request),
            Route::Kick => self.serve_kick(target)?,
            Route::Search => self.serve_search(target)?,
            Route::UserRooms => {
                let (page, limit) = (query.text("page").map(Into::into), query.number("limit")?);
                Done::Call(200, Some(name.into()), Command::Mine { page, limit })
            }
            Route::Lift => Done::Call(204, None, Command::Unban { user: name.into() }),
            Route::Drain => {
                ctx.drain();
                Done::json(202, &json!({ "status": "draining" }))
            }
            Route::Post | Route::Direct | Route::Broadcast | Route::Disconnect | Route::SetBan => {
                let fields = Fields::of(request)?;
                return self.serve_body(ctx, call, (*route, name), &fields);
            }
            Route::Members
            | Route::Connections
            | Route::EndConnection
            | Route::Users
            | Route::User
            | Route::Stats
            | Route::Closes => return self.serve_operator(ctx, call, target),
        };
        Ok(self.finish(ctx, request.conn, done))
    }

    /// The same for those that say more in a body.
    fn serve_body<C: Context>(
        &mut self,
        ctx: &mut C,
        call: &Incoming<'_>,
        (route, name): (Route, &str),
        fields: &Fields<'_>,
    ) -> Result<Verdict, Problem> {
        let request = call.request;
        let limits = self.chat.limits();
        let done = match route {
            Route::Post => {
                let (user, text) = (fields.text("user")?, fields.said("text", limits.max_text)?);
                let key = call.key(fields, limits.max_key)?.map(Into::into);
                let (data, reply_to) = (fields.data(limits.max_data)?, fields.maybe_number("reply_to")?);
                let (room, text) = (name.into(), text.into());
                Done::Call(201, Some(user.into()), Command::Post { room, text, key, data, reply_to })
            }
            Route::Direct => self.serve_direct(call, fields)?,
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
        let asked = Asked { conn, status, form: Form::AsIs, reply: Reply::default() };
        self.asked.insert(self.next, asked);
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
                self.chat.call(ctx, number, user.as_deref(), command);
                Verdict::Later
            }
            Done::Message(seq, command) => {
                let number = self.ask(conn, 200);
                if let Some(asked) = self.asked.get_mut(&number) {
                    asked.form = Form::Message(seq);
                }
                self.chat.call(ctx, number, None, command);
                Verdict::Later
            }
        }
    }

    /// The ends of connections after a number.
    fn access_closes(&self, after: Option<u64>, limit: usize) -> (Vec<closes::Close>, u64) {
        self.access.as_ref().map(|access| access.closes(after, limit)).unwrap_or_default()
    }

    /// Passes on what the chat has answered. A part of an export may be answered at once.
    fn deliver<C: Context>(&mut self, ctx: &mut C) {
        loop {
            let answers = self.chat.take_answered();
            if answers.is_empty() {
                return;
            }
            for answered in answers {
                self.deliver_one(ctx, answered);
            }
        }
    }

    fn deliver_one<C: Context>(&mut self, ctx: &mut C, answered: Answered) {
        let number = answered.request;
        let (Some(mut asked), Some(access)) = (self.asked.remove(&number), &self.access) else { return };
        let response = match &mut asked.form {
            Form::Message(seq) if answered.refused.is_none() => respond_message(*seq, &answered),
            Form::AsIs | Form::Message(_) => respond(asked.status, answered),
            Form::Import(import) => match import.note(answered) {
                Some(response) => response,
                None => return drop(self.asked.insert(number, asked)),
            },
            Form::Export(export) => match export.go_on(&answered) {
                Next::Done(response) => response,
                Next::Messages(command) => {
                    self.asked.insert(number, asked);
                    return self.chat.call(ctx, number, None, command);
                }
                Next::Room(behind) => {
                    self.asked.insert(number, asked);
                    return self.chat.list_rooms(ctx, number, &behind, 1);
                }
            },
        };
        ctx.respond(asked.conn, asked.reply.apply(access, response));
    }
}

/// What comes of a request.
enum Done<'a> {
    /// The answer.
    Json(u16, String),
    /// A call of the chat, and the status of its good answer.
    Call(u16, Option<Cow<'a, str>>, Command<'a>),
    /// A call whose answer has the message with this number, which is the answer.
    Message(u64, Command<'a>),
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

/// The one message out of a history, with its room.
fn respond_message(seq: u64, answered: &Answered) -> Response {
    let history: serde_json::Value = serde_json::from_str(&answered.body).unwrap_or_default();
    let mut message = history["messages"][0].clone();
    if message["seq"] != seq {
        return Problem::new(404, "there is no such message").response();
    }
    message["room"] = history["room"].clone();
    json_response(200, "application/json", message.to_string())
}

/// What the chat speaks: it is no secret, and there without a token, too.
fn describe(head: &RequestHead<'_>) -> Response {
    match head.method {
        "GET" | "HEAD" => json_response(200, "application/json", ASYNCAPI.to_owned()),
        _ => Problem::not_allowed(["GET"].into_iter()).response(),
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
        self.is_for_us(head) && self.access.as_ref().is_some_and(|access| access.is_known(head))
            || self.chat.wants_body(head)
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_none() && request.head.path() == ASYNCAPI_PATH {
            return Verdict::Respond(describe(request.head));
        }
        if request.upgrade.is_none()
            && self.is_for_us(request.head)
            && let Some(access) = self.access.clone()
        {
            return self.answer(ctx, request, &access);
        }
        if request.upgrade.is_none()
            && let Some(path) = admin::path(request.head)
            && self.access.as_ref().is_some_and(|access| access.has_operator(ctx.now()))
            && let Some(response) = admin::respond(path, request.head)
        {
            return Verdict::Respond(response);
        }
        self.chat.on_request(ctx, request)
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        if let Some(access) = &self.access {
            let told = (self.chat.user(conn), self.chat.dismissal(conn));
            access.closed(closed, told, ctx.now());
        }
        self.chat.on_close(ctx, conn, closed);
    }

    #[inline]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.chat.on_tick_end(ctx);
        if !self.asked.is_empty() {
            self.deliver(ctx);
        }
    }
}
