//! Which request is which.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use super::tokens::Scope;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    OpenApi,
    Rooms,
    Post,
    History,
    Search,
    Export,
    ExportAll,
    Import,
    Members,
    Kick,
    Message,
    Edit,
    Delete,
    React,
    Unreact,
    Direct,
    Broadcast,
    Disconnect,
    Connections,
    EndConnection,
    Users,
    User,
    UserRooms,
    Bans,
    Ban,
    SetBan,
    Lift,
    Stats,
    Closes,
    Drain,
}

impl Route {
    /// What a token must permit; `None`: any token will do, or what the request says decides.
    pub(super) fn scope(self) -> Option<Scope> {
        Some(match self {
            Self::OpenApi | Self::Edit | Self::Delete => return None,
            Self::Rooms | Self::History | Self::Search | Self::Members | Self::Message | Self::Users => {
                Scope::Read
            }
            Self::Post | Self::React | Self::Unreact | Self::Direct => Scope::Post,
            Self::Kick
            | Self::Disconnect
            | Self::EndConnection
            | Self::User
            | Self::UserRooms
            | Self::Bans
            | Self::Ban
            | Self::SetBan
            | Self::Lift => Scope::Moderate,
            Self::Export
            | Self::ExportAll
            | Self::Import
            | Self::Broadcast
            | Self::Connections
            | Self::Stats
            | Self::Closes
            | Self::Drain => Scope::Operate,
        })
    }

    /// Whether an answer has a tag by which a client asks whether it has changed.
    pub(super) fn is_tagged(self) -> bool {
        matches!(self, Self::OpenApi | Self::History | Self::Message)
    }

    /// Whether the API remembers the answer to a request with an `Idempotency-Key`. The history does so for posts, but not
    /// for what a guest is told.
    pub(super) fn is_remembered(self) -> bool {
        matches!(self, Self::Broadcast | Self::Direct | Self::Disconnect)
    }
}

/// A request's target, taken apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) route: Route,
    /// The parts of the path that are no names of ours: a room, a user, a message, an emoji.
    pub(super) names: Vec<Cow<'a, str>>,
    pub(super) query: Query<'a>,
}

/// The parameters of the query.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads what is behind the `?`. No parameter may occur twice.
    fn of(query: &'a str) -> Result<Self, Problem> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode_pair(name)?, decode_pair(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Problem::twice(&name));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A text, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A number, if it is there.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let number =
            |value: &str| value.parse().map_err(|_| Problem::field(name, &format!("`{name}` is no number")));
        self.text(name).map(number).transpose()
    }
}

/// A part of a query, where forms and programs write `+` for a space.
fn decode_pair(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains('+') {
        return decode(text);
    }
    decode(&text.replace('+', " ")).map(|decoded| Cow::Owned(decoded.into_owned()))
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_| Problem::new(400, "a name in the target is no UTF-8"))
}

/// The route of a target behind `/api/v1`.
pub(super) fn find<'a>(path: &'a str, query: &'a str, method: &str) -> Result<Target<'a>, Problem> {
    let segments: Vec<&str> = path.split('/').collect();
    let (routes, names): (&[(&str, Route)], Vec<&str>) = match segments[..] {
        ["openapi.json"] => (&[("GET", Route::OpenApi)], vec![]),
        ["rooms"] => (&[("GET", Route::Rooms)], vec![]),
        ["rooms", room, "posts"] => (&[("POST", Route::Post)], vec![room]),
        ["rooms", room, "history"] => (&[("GET", Route::History)], vec![room]),
        ["rooms", room, "search"] => (&[("GET", Route::Search)], vec![room]),
        ["rooms", room, "export"] => (&[("GET", Route::Export)], vec![room]),
        ["export"] => (&[("GET", Route::ExportAll)], vec![]),
        ["import"] => (&[("POST", Route::Import)], vec![]),
        ["rooms", room, "members"] => (&[("GET", Route::Members)], vec![room]),
        ["rooms", room, "members", user] => (&[("DELETE", Route::Kick)], vec![room, user]),
        ["rooms", room, "messages", seq] => {
            (&[("GET", Route::Message), ("PATCH", Route::Edit), ("DELETE", Route::Delete)], vec![room, seq])
        }
        ["rooms", room, "messages", seq, "reactions", emoji, user] => {
            (&[("PUT", Route::React), ("DELETE", Route::Unreact)], vec![room, seq, emoji, user])
        }
        ["direct"] => (&[("POST", Route::Direct)], vec![]),
        ["broadcast"] => (&[("POST", Route::Broadcast)], vec![]),
        ["disconnect"] => (&[("POST", Route::Disconnect)], vec![]),
        ["connections"] => (&[("GET", Route::Connections)], vec![]),
        ["connections", client] => (&[("DELETE", Route::EndConnection)], vec![client]),
        ["users"] => (&[("GET", Route::Users)], vec![]),
        ["users", user] => (&[("GET", Route::User)], vec![user]),
        ["users", user, "rooms"] => (&[("GET", Route::UserRooms)], vec![user]),
        ["bans"] => (&[("GET", Route::Bans)], vec![]),
        ["bans", user] => {
            (&[("GET", Route::Ban), ("PUT", Route::SetBan), ("DELETE", Route::Lift)], vec![user])
        }
        ["stats"] => (&[("GET", Route::Stats)], vec![]),
        ["closes"] => (&[("GET", Route::Closes)], vec![]),
        ["drain"] => (&[("POST", Route::Drain)], vec![]),
        _ => {
            return Err(Problem::new(404, "there is nothing here; /api/v1/openapi.json tells what there is"));
        }
    };
    let method = if method == "HEAD" { "GET" } else { method };
    let Some((_, route)) = routes.iter().find(|(known, _)| *known == method) else {
        return Err(Problem::not_allowed(routes.iter().map(|(known, _)| *known)));
    };
    let names = names.into_iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Target { route: *route, names, query: Query::of(query)? })
}
