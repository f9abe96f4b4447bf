//! Layer 5: the chat. Commands in, notices out; it sees requests and messages, never frames.

mod assets;
mod history;
pub mod identity;
mod json;

use std::convert::Infallible;

use self::assets::Assets;
use self::history::History;
use crate::app::{
    Acceptance, Application, CloseCode, CloseReason, ConnId, Context, HandshakeError, Message, OriginPolicy,
    Outgoing, Request, RequestHead, Response, TopicId, TopicOptions, Verdict,
};

/// The subprotocol of the tutorial chat; also spoken with clients that offer none.
const JSON: &str = "json";

/// What the chat is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Hosts that requests may be for; empty: any (against DNS rebinding).
    pub hosts: Vec<String>,
    /// Refuse an upgrade that offers subprotocols none of which is ours.
    pub strict_subprotocol: bool,
    /// Messages that a room remembers.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { origins: OriginPolicy::default(), hosts: Vec::new(), strict_subprotocol: false, history: 50 }
    }
}

/// The chat server: one room, `general`.
#[derive(Debug)]
pub struct Chat {
    options: Options,
    assets: Assets,
    history: History,
    general: Option<TopicId>,
}

impl Chat {
    /// A chat without messages.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { history: History::new(options.history), assets: Assets::new(), options, general: None }
    }

    fn plain_request(&self, head: &RequestHead<'_>) -> Response {
        let is_read = matches!(head.method, "GET" | "HEAD");
        match self.assets.find(head.path()) {
            Some(asset) if is_read => asset.response(&head.fields),
            Some(_) => Response::text(405, "only GET and HEAD are allowed here").field("Allow", "GET, HEAD"),
            None => Response::text(404, "not found"),
        }
    }

    fn upgrade_request(&self, request: &Request<'_>) -> Verdict {
        let head = request.head;
        if !matches!(head.path(), "/" | "/ws") {
            return Verdict::Respond(Response::text(404, "not found"));
        }
        if !self.options.origins.admits(head.fields.first("origin"), head.authority()) {
            let hint = "this origin may not connect; the server's --allow-origin adds one";
            return Verdict::Respond(Response::text(403, hint));
        }
        let Some(upgrade) = request.upgrade else { return Verdict::Accept(Acceptance::default()) };
        let subprotocol = upgrade.choose_subprotocol(&[JSON]);
        if subprotocol.is_none() && self.options.strict_subprotocol && upgrade.subprotocols().next().is_some()
        {
            return Verdict::Respond(Response::text(400, "none of the offered subprotocols is known here"));
        }
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

impl Application for Chat {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.general = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        let head = request.head;
        if !self.is_known_host(head.authority()) {
            return Verdict::Respond(Response::text(421, "this server does not answer for that host"));
        }
        if request.upgrade.is_some() {
            log_upgrade(request);
            return self.upgrade_request(request);
        }
        if head.path() == "/ws" && head.method == "GET" {
            return Verdict::Accept(Acceptance::default());
        }
        if head.path() == "/ws" {
            return Verdict::Respond(Response::text(405, "only GET is allowed here").field("Allow", "GET"));
        }
        Verdict::Respond(self.plain_request(head))
    }

    fn on_refused(&mut self, head: &RequestHead<'_>, peer: std::net::SocketAddr, error: HandshakeError) {
        tracing::debug!(%peer, path = ?head.path(), %error, "upgrade refused");
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(general) = self.general {
            // Neither can fail: the connection has just been opened.
            let _ = ctx.send(conn, Outgoing::text(&self.history.snapshot()));
            let _ = ctx.subscribe(conn, general);
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        let Some(text) = message.text() else {
            return ctx.close(conn, CloseCode::UNSUPPORTED_DATA, "the chat speaks text");
        };
        match json::parse_post(text) {
            Ok(post) => {
                self.history.push(&post, ctx.now().unix_ms);
                if let Some(general) = self.general {
                    ctx.publish(general, Outgoing::text(&self.history.snapshot()), None);
                }
            }
            // A connection that began to close has no use for the error.
            Err(error) => {
                let _ = ctx.send(conn, Outgoing::text(&json::error(&error)));
            }
        }
    }

    fn on_close<C: Context>(&mut self, _ctx: &mut C, conn: ConnId, reason: &CloseReason) {
        tracing::debug!(conn = conn.index, code = reason.code().0, %reason, "closed");
    }
}

/// S2. What the peer wrote is logged with its control characters escaped.
fn log_upgrade(request: &Request<'_>) {
    let origin = request.head.fields.text("origin");
    tracing::debug!(peer = %request.peer, path = ?request.head.path(), ?origin, "upgrade");
}
