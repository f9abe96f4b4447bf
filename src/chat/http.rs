//! Requests: the page, and upgrades to either subprotocol.

use super::identity::Claims;
use super::session::{Address, Dialect};
use super::{Chat, JSON, V1};
use crate::app::{Acceptance, ConnId, Now, Request, RequestHead, Response, Verdict};

/// An upgrade that was accepted, until its connection is open.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) conn: ConnId,
    pub(super) dialect: Dialect,
    pub(super) address: Address,
    pub(super) claims: Option<Box<Claims>>,
}

impl Chat {
    pub(super) fn answer_request(&mut self, request: &Request<'_>, now: Now) -> Verdict {
        let head = request.head;
        if !self.is_known_host(head.authority()) {
            return Verdict::Respond(Response::text(421, "this server does not answer for that host"));
        }
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
        let is_read = matches!(head.method, "GET" | "HEAD");
        match self.assets.find(head.path()) {
            Some(asset) if is_read => asset.response(&head.fields),
            Some(_) => Response::text(405, "only GET and HEAD are allowed here").field("Allow", "GET, HEAD"),
            None => Response::text(404, "not found"),
        }
    }

    fn upgrade_request(&mut self, request: &Request<'_>, now: Now) -> Verdict {
        let head = request.head;
        if !matches!(head.path(), "/" | "/ws") {
            return Verdict::Respond(Response::text(404, "not found"));
        }
        if !self.options.origins.admits(head.fields.first("origin"), head.authority()) {
            let hint = "this origin may not connect; the server's --allow-origin adds one";
            return Verdict::Respond(Response::text(403, hint));
        }
        let Some(upgrade) = request.upgrade else { return Verdict::Accept(Acceptance::default()) };
        let subprotocol = upgrade.choose_subprotocol(&[V1, JSON]);
        if subprotocol.is_none() && self.options.strict_subprotocol && upgrade.subprotocols().next().is_some()
        {
            return Verdict::Respond(Response::text(400, "none of the offered subprotocols is known here"));
        }
        let claims = match token(head.target).map(|token| self.check_token(token, now)).transpose() {
            Ok(claims) => claims.map(Box::new),
            Err(why) => {
                return Verdict::Respond(Response::text(401, why).field("WWW-Authenticate", "Bearer"));
            }
        };
        let dialect = if subprotocol == Some(JSON) { Dialect::Tutorial } else { Dialect::V1 };
        if dialect == Dialect::Tutorial
            && let Some(refusal) = self.refuse_tutorial(claims.as_deref(), now)
        {
            // There is no other way for a client of `json` to say who it is.
            return Verdict::Respond(match claims {
                Some(_) => Response::text(403, refusal.message),
                None => Response::text(401, refusal.message).field("WWW-Authenticate", "Bearer"),
            });
        }
        let address = Address::of(request.peer.ip());
        self.arriving = Some(Arriving { conn: request.conn, dialect, address, claims });
        Verdict::Accept(Acceptance { subprotocol, ..Acceptance::default() })
    }

    fn is_known_host(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => authority,
        };
        self.options.hosts.is_empty()
            || self.options.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
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
