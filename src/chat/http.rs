//! Requests: the page, and upgrades to either subprotocol.

use crate::app::{
    Acceptance, AddressPrefix, ConnId, Escaped, Now, Refused, Request, RequestHead, Response, Verdict,
};
use crate::chat::commands::{decide, login};
use crate::chat::decisions::AskKind;
use crate::chat::identity::Claims;
use crate::chat::people::session::Dialect;
use crate::chat::tutorial;
use crate::chat::{Chat, JSON, V1};

/// An upgrade that was accepted, until its connection is open.
#[derive(Debug)]
pub(in crate::chat) struct Arriving {
    pub(in crate::chat) conn: ConnId,
    pub(in crate::chat) dialect: Dialect,
    pub(in crate::chat) address: AddressPrefix,
    pub(in crate::chat) claims: Option<Box<Claims>>,
    /// Where it is wanted.
    pub(in crate::chat) origin: Option<Box<str>>,
}

impl Chat {
    pub(in crate::chat) fn answer_request(&mut self, request: &Request<'_>, now: Now) -> Verdict {
        let head = request.head;
        if request.upgrade.is_some() {
            log_upgrade(request);
            return self.upgrade_request(request, now);
        }
        if head.path() == "/ws" && head.method == "GET" {
            return Verdict::Accept(Acceptance::default());
        }
        if head.path() == "/ws" {
            return Verdict::Respond(Response::text(405, "only GET is allowed here").field("Allow", "GET"));
        }
        Verdict::Respond(self.plain_request(head))
    }

    fn plain_request(&self, head: &RequestHead<'_>) -> Response {
        self.page.respond(head.path(), head).unwrap_or_else(|| Response::text(404, "not found"))
    }

    fn upgrade_request(&mut self, request: &Request<'_>, now: Now) -> Verdict {
        let head = request.head;
        if !matches!(head.path(), "/" | "/ws") {
            return Verdict::Refuse(
                Refused::Path,
                Response::text(404, "not found; the chat is spoken at /ws"),
            );
        }
        let origin = head.fields.first("origin");
        if !self.options.origins.admits(origin, request.authority(), request.is_secure()) {
            return Verdict::Refuse(Refused::Origin, Response::text(403, origin_hint(request)));
        }
        let Some(upgrade) = request.upgrade else { return Verdict::Accept(Acceptance::default()) };
        let subprotocol = upgrade.choose_subprotocol(&[V1, JSON]);
        if subprotocol.is_none() && self.options.strict_subprotocol && upgrade.subprotocols().next().is_some()
        {
            let hint = format!("none of the offered subprotocols is known here; offer {V1} or {JSON}");
            return Verdict::Refuse(Refused::Subprotocol, Response::text(400, hint));
        }
        let claims = match token(head.target).map(|token| login::check_token(self, token, now)).transpose() {
            Ok(claims) => claims.map(Box::new),
            Err(why) => {
                let response = Response::text(401, why.to_string()).field("WWW-Authenticate", "Bearer");
                return Verdict::Refuse(Refused::Token, response);
            }
        };
        let dialect = if subprotocol == Some(JSON) { Dialect::Tutorial } else { Dialect::V1 };
        if dialect == Dialect::Tutorial
            && let Some(refusal) = tutorial::refuse(self, claims.as_deref(), now)
        {
            // There is no other way for a client of `json` to say who it is.
            return Verdict::Respond(match claims {
                Some(_) => Response::text(403, refusal.message),
                None => Response::text(401, refusal.message).field("WWW-Authenticate", "Bearer"),
            });
        }
        if dialect == Dialect::Tutorial
            && [AskKind::Connect, AskKind::Join].iter().any(|kind| decide::asks(self, *kind))
        {
            // There is no other moment at which a client of `json` could be asked about.
            let why = format!("this server decides who comes in, so {V1} is spoken here and {JSON} is not");
            return Verdict::Respond(Response::text(403, why));
        }
        let address = AddressPrefix::from(request.peer.ip());
        let origin = origin.filter(|_| decide::asks(self, AskKind::Connect));
        let origin = origin.map(|origin| String::from_utf8_lossy(origin).into());
        self.arriving = Some(Arriving { conn: request.conn, dialect, address, claims, origin });
        Verdict::Accept(Acceptance { subprotocol, ..Acceptance::default() })
    }
}

/// What lets a page connect that may not, with the origin and the host that were compared.
fn origin_hint(request: &Request<'_>) -> String {
    let origin = request.head.fields.first("origin").map(String::from_utf8_lossy).unwrap_or_default();
    format!(
        "the origin \"{origin}\" may not connect to \"{}\"; start the server with --allow-origin \"{origin}\" if it is to",
        Escaped(request.authority()),
        origin = Escaped(&origin),
    )
}

/// The parameter `token` of a request target. The alphabet of tokens needs no escapes.
fn token(target: &str) -> Option<&str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|parameter| parameter.strip_prefix("token="))
}

/// S2. What the peer wrote is logged with its control characters escaped; not its query, in which a token may stand.
fn log_upgrade(request: &Request<'_>) {
    let origin = request.head.fields.text("origin");
    tracing::debug!(peer = %request.peer, path = ?request.head.path(), ?origin, "upgrade");
}
