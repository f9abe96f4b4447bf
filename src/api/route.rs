//! Which request is which.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    OpenApi,
    Rooms,
    Post,
    History,
    Members,
    Broadcast,
    Disconnect,
    Bans,
    Ban,
    SetBan,
    Lift,
    Drain,
}

/// A request's target, taken apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) route: Route,
    /// The name of the room or user.
    pub(super) name: Option<Cow<'a, str>>,
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
            let (name, value) = (decode(name)?, decode(value)?);
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

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_| Problem::new(400, "a name in the target is no UTF-8"))
}

/// The route of a target behind `/api/v1`.
pub(super) fn find<'a>(path: &'a str, query: &'a str, method: &str) -> Result<Target<'a>, Problem> {
    let segments: Vec<&str> = path.split('/').collect();
    let (routes, name): (&[(&str, Route)], _) = match segments[..] {
        ["openapi.json"] => (&[("GET", Route::OpenApi)], None),
        ["rooms"] => (&[("GET", Route::Rooms)], None),
        ["rooms", room, "posts"] => (&[("POST", Route::Post)], Some(room)),
        ["rooms", room, "history"] => (&[("GET", Route::History)], Some(room)),
        ["rooms", room, "members"] => (&[("GET", Route::Members)], Some(room)),
        ["broadcast"] => (&[("POST", Route::Broadcast)], None),
        ["disconnect"] => (&[("POST", Route::Disconnect)], None),
        ["bans"] => (&[("GET", Route::Bans)], None),
        ["bans", user] => {
            (&[("GET", Route::Ban), ("PUT", Route::SetBan), ("DELETE", Route::Lift)], Some(user))
        }
        ["drain"] => (&[("POST", Route::Drain)], None),
        _ => {
            return Err(Problem::new(404, "there is nothing here; /api/v1/openapi.json tells what there is"));
        }
    };
    let method = if method == "HEAD" { "GET" } else { method };
    let Some((_, route)) = routes.iter().find(|(known, _)| *known == method) else {
        return Err(Problem::not_allowed(routes.iter().map(|(known, _)| *known)));
    };
    let name = name.map(decode).transpose()?;
    Ok(Target { route: *route, name, query: Query::of(query)? })
}
