//! What moderators, bots and operators do.

use std::borrow::Cow;

use serde_json::json;

use super::body::Fields;
use super::export::Export;
use super::import::{self, Import};
use super::problem::Problem;
use super::route::{Query, Route, Target};
use super::tokens::Scope;
use super::{Api, Done, Form, Incoming};
use crate::app::{ConnId, Context, MAX_CLOSE_REASON, Request, Verdict};
use crate::chat::command::Command;
use crate::chat::{Listing, MAX_CONNECTIONS_LISTED, Place, emoji};

/// Ends of connections that one answer tells of.
const MAX_CLOSES_LISTED: usize = 200;
/// Connections, users, members and ends of connections of a page where nobody says how many.
const DEFAULT_PAGE: usize = 100;

impl Api {
    /// What is about one message.
    pub(super) fn serve_message(
        &mut self,
        call: &Incoming<'_>,
        target: &Target<'_>,
    ) -> Result<Done<'static>, Problem> {
        let limits = self.chat.limits();
        let Target { route, names, query } = target;
        let (room, seq) = (own(&names[0]), number(&names[1])?);
        let user = || names.get(3).map(|user| user.clone().into_owned());
        Ok(match route {
            Route::Message => {
                let (before, after) = (Some(seq.saturating_add(1)), Some(seq.saturating_sub(1)));
                let command = Command::History { room, before, after, limit: Some(1) };
                Done::Message(seq, command)
            }
            Route::Edit => {
                let fields = Fields::of(call.request)?;
                let text = fields.said("text", limits.max_text)?.to_owned().into();
                let user = fields.maybe_text("user")?.map(str::to_owned);
                call.require(scope_of_change(user.as_deref()))?;
                let data = fields.data(limits.max_data)?;
                Done::Call(200, user.map(Cow::Owned), Command::Edit { room, seq, text, data })
            }
            Route::Delete => {
                let user = query.text("user").map(str::to_owned);
                call.require(scope_of_change(user.as_deref()))?;
                Done::Call(204, user.map(Cow::Owned), Command::Delete { room, seq })
            }
            _ => {
                let emoji = emoji(&names[2])?.into();
                let remove = *route == Route::Unreact;
                Done::Call(204, user().map(Cow::Owned), Command::React { room, seq, emoji, remove })
            }
        })
    }

    /// What an operator asks.
    pub(super) fn serve_operator<C: Context>(
        &mut self,
        ctx: &mut C,
        call: &Incoming<'_>,
        target: &Target<'_>,
    ) -> Result<Verdict, Problem> {
        let Target { route, names, query } = target;
        let conn = call.request.conn;
        let listing = match route {
            Route::Connections => Listing::Connections(query.text("search").map(Into::into)),
            Route::Users => Listing::Users(query.text("prefix").map(Into::into)),
            Route::Members => Listing::Members((&*names[0]).into()),
            Route::EndConnection => {
                let reason = reason_of(query)?;
                let number = self.ask(conn, 200);
                self.chat
                    .disconnect_client(ctx, number, &names[0], reason)
                    .map_err(|why| self.unask(number, why))?;
                return Ok(Verdict::Later);
            }
            Route::User => {
                let number = self.ask(conn, 200);
                self.chat.connections_of(ctx, number, &names[0]).map_err(|why| self.unask(number, why))?;
                return Ok(Verdict::Later);
            }
            Route::Closes => {
                let limit = limit_of(query, MAX_CLOSES_LISTED)?;
                let (closes, last) = self.access_closes(query.number("after")?, limit);
                let done = Done::json(200, &json!({ "closes": closes, "last": last }));
                return Ok(self.finish(ctx, conn, done));
            }
            _ => {
                let number = self.ask(conn, 200);
                self.chat.tell_figures(ctx, number);
                return Ok(Verdict::Later);
            }
        };
        let place = query.text("after").map_or(Ok(Place::default()), str::parse);
        let place = place.map_err(|_| Problem::field("after", "`after` is no `next` of a page"))?;
        let limit = limit_of(query, MAX_CONNECTIONS_LISTED)?;
        let number = self.ask(conn, 200);
        self.chat.list(ctx, number, (listing, place), limit).map_err(|why| self.unask(number, why))?;
        Ok(Verdict::Later)
    }

    /// Writes messages as lines: those of a room, or of all rooms one after the other.
    pub(super) fn serve_export<C: Context>(
        &mut self,
        ctx: &mut C,
        conn: ConnId,
        target: &Target<'_>,
    ) -> Result<Verdict, Problem> {
        let Target { route, names, query } = target;
        let (after, limit) = (query.number("after")?.unwrap_or(0), query.number("limit")?);
        let is_all = *route == Route::ExportAll;
        let room = if is_all { query.text("room") } else { names.first().map(|room| &**room) };
        let export = Export::new(is_all, room.unwrap_or_default(), after, limit);
        let first = room.map(|_| export.messages());
        let number = self.ask(conn, 200);
        if let Some(asked) = self.asked.get_mut(&number) {
            asked.form = Form::Export(Box::new(export));
        }
        match first {
            Some(command) => self.chat.call(ctx, number, None, command),
            None => self.chat.list_rooms(ctx, number, query.text("behind").unwrap_or_default(), 1),
        }
        Ok(Verdict::Later)
    }

    /// Takes messages of an archive in.
    pub(super) fn serve_import<C: Context>(
        &mut self,
        ctx: &mut C,
        request: &Request<'_>,
    ) -> Result<Verdict, Problem> {
        let messages = import::messages(request)?;
        if messages.is_empty() {
            let done = Done::json(200, &json!({ "imported": 0, "known": 0 }));
            return Ok(self.finish(ctx, request.conn, done));
        }
        let number = self.ask(request.conn, 200);
        if let Some(asked) = self.asked.get_mut(&number) {
            asked.form = Form::Import(Import::new(messages.len()));
        }
        for (room, record) in messages {
            let (room, record) = (own(&room), Box::new(record));
            self.chat.call(ctx, number, None, Command::Import { room, record });
        }
        Ok(Verdict::Later)
    }

    /// Looks for messages.
    pub(super) fn serve_search(&self, target: &Target<'_>) -> Result<Done<'static>, Problem> {
        let most = self.chat.limits().max_query;
        let Target { names, query, .. } = target;
        let text = query.text("query").unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Problem::field("query", "`query` is missing or empty"));
        }
        if text.len() > most {
            return Err(Problem::too_long("query", most));
        }
        let limit = query.number("limit")?;
        Ok(Done::Call(200, None, Command::Search { room: own(&names[0]), query: own(text), limit }))
    }

    /// Removes a user from a room.
    pub(super) fn serve_kick(&self, target: &Target<'_>) -> Result<Done<'static>, Problem> {
        let most = self.chat.limits().max_reason;
        let Target { names, query, .. } = target;
        let reason = query.text("reason").filter(|reason| !reason.trim().is_empty());
        if reason.is_some_and(|reason| reason.len() > most) {
            return Err(Problem::too_long("reason", most));
        }
        let (room, user) = (own(&names[0]), own(&names[1]));
        Ok(Done::Call(204, None, Command::Kick { room, user, reason: reason.map(own) }))
    }

    /// A message from one user to another.
    pub(super) fn serve_direct(
        &self,
        call: &Incoming<'_>,
        fields: &Fields<'_>,
    ) -> Result<Done<'static>, Problem> {
        let limits = self.chat.limits();
        let user = Cow::Owned(fields.text("user")?.to_owned());
        let to = Cow::Owned(fields.text("to")?.to_owned());
        let text = Cow::Owned(fields.said("text", limits.max_text)?.to_owned());
        let key = call.key(fields, limits.max_key)?.map(Cow::Owned);
        let (data, reply_to) = (fields.data(limits.max_data)?, fields.maybe_number("reply_to")?);
        Ok(Done::Call(201, Some(user), Command::Direct { to, text, key, data, reply_to }))
    }
}

/// Whoever acts in the name of a user changes what was posted in that name; everything else is a moderator's.
fn scope_of_change(user: Option<&str>) -> Scope {
    if user.is_some() { Scope::Post } else { Scope::Moderate }
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

/// The number of a message in a path.
fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::field("seq", "`seq` is no number"))
}

fn reason_of<'q>(query: &'q Query<'_>) -> Result<&'q str, Problem> {
    match query.text("reason") {
        Some(reason) if reason.len() > MAX_CLOSE_REASON => Err(Problem::too_long("reason", MAX_CLOSE_REASON)),
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty()).unwrap_or("disconnected")),
    }
}

/// How many elements a page has, at most.
fn limit_of(query: &Query<'_>, most: usize) -> Result<usize, Problem> {
    match query.number("limit")? {
        Some(0) => Err(Problem::field("limit", "`limit` is at least 1")),
        limit => Ok(limit.map_or(DEFAULT_PAGE, |limit| limit.min(most as u64) as usize)),
    }
}
