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

/// What stands behind the `?`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl Query<'_> {
    /// A number, if it is there.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back();
        value
            .map(|value| value.parse().map_err(|_| Problem::field(name, &format!("`{name}` is no number"))))
            .transpose()
    }
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
    let decode = |name: &'a str| percent_decode_str(name).decode_utf8();
    let name =
        name.map(decode).transpose().map_err(|_| Problem::new(400, "a name in the path is no UTF-8"))?;
    Ok(Target { route: *route, name, query: Query(query) })
}
