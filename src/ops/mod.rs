//! Layer 6: what an operator needs around any application: `/metrics`, `/healthz`, `/readyz`, and a log that says
//! why each connection ended and that bad peers cannot flood.

mod hosts;
mod limit;
pub(crate) mod metrics;
mod redirect;
mod tls;

use std::net::{IpAddr, SocketAddr};

use prometheus_client::encoding::DescriptorEncoder;

pub use self::hosts::Hosts;
use self::limit::{Cause, LogLimit};
use self::metrics::{Format, Snapshot};
pub use self::redirect::Redirect;
use crate::app::{
    Application, Body, Closed, ConnId, Context, Escaped, Layer, Refused, Rejection, Request, RequestHead,
    Response, Verdict,
};
use crate::proto::Millis;
use crate::tls::Tls;

/// What an application may tell its operator.
pub trait Watched: Application {
    /// What it counts, as of now; encoded away from the loop's own state.
    type Figures: Figures;

    /// Reads its counters.
    fn figures(&self) -> Self::Figures;

    /// Who speaks on a connection.
    fn user(&self, conn: ConnId) -> Option<&str> {
        let _ = conn;
        None
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// What is amiss.
    fn readiness(&self) -> Result<(), NotReady> {
        Ok(())
    }
}

/// Why an application cannot do its work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// The server shuts down.
    Draining,
    /// The history cannot be committed to.
    HistoryUnavailable,
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Draining => "draining: the server is shutting down",
            Self::HistoryUnavailable => {
                "the store is unavailable: posts are refused until it can commit again"
            }
        })
    }
}

impl std::error::Error for NotReady {}

/// Counters of an application.
pub trait Figures: std::fmt::Debug + Send + Sync + 'static {
    /// Writes them; `docs/metrics.md` names all.
    ///
    /// # Errors
    /// Those of the encoder.
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result;
}

impl Figures for () {
    fn encode(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// An application with what its operator needs.
#[derive(Debug)]
pub struct Ops<A> {
    app: A,
    /// There are listeners for the operator alone, and these paths are on no other.
    has_internal: bool,
    /// Which hosts requests may be for; any when `None`.
    hosts: Option<Hosts>,
    /// Listeners whose requests are sent on to TLS.
    redirect: Option<Redirect>,
    /// The certificates, for the metrics.
    tls: Option<Tls>,
    /// Lines that the log could not take.
    lost_lines: fn() -> u64,
    limit: LogLimit,
    /// The log has said that somebody seems to be a proxy who is not trusted.
    has_hinted: bool,
    /// The time of the last tick, for the log.
    now: Millis,
}

impl<A: Watched> Ops<A> {
    /// `has_internal`: only internal listeners answer the operator, and nobody else. `lost_lines` tells how many lines the
    /// log has lost.
    pub fn new(app: A, has_internal: bool, lost_lines: fn() -> u64) -> Self {
        Self {
            app,
            has_internal,
            hosts: None,
            redirect: None,
            tls: None,
            lost_lines,
            limit: LogLimit::default(),
            has_hinted: false,
            now: 0,
        }
    }

    /// Answers only requests for these hosts, whatever their path.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Sends the requests of some listeners on to where TLS is spoken.
    #[must_use]
    pub fn with_redirect(mut self, redirect: Redirect) -> Self {
        self.redirect = Some(redirect);
        self
    }

    /// Shows handshakes and certificates in the metrics.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Answers what is for the operator; `None`: it is for the application.
    fn answer<C: Context>(&self, ctx: &C, request: &Request<'_>) -> Option<Response> {
        if let Some(response) = self.redirect.as_ref().and_then(|redirect| redirect.answer(request)) {
            return Some(response);
        }
        let is_here = !self.has_internal || request.entrance.is_internal;
        let response = match request.head.path() {
            "/metrics" if is_here => self.metrics(ctx, request.head),
            "/healthz" if is_here => Response::text(200, "ok"),
            "/readyz" if is_here => self.readiness(ctx),
            _ if request.entrance.is_internal => {
                Response::text(404, "only /metrics, /healthz and /readyz are here")
            }
            _ => return None,
        };
        if !matches!(request.head.method, "GET" | "HEAD") && response.status != 404 {
            return Some(
                Response::text(405, "only GET and HEAD are allowed here").field("Allow", "GET, HEAD"),
            );
        }
        Some(response.field("Cache-Control", "no-store"))
    }

    fn readiness<C: Context>(&self, ctx: &C) -> Response {
        let ready = if ctx.is_draining() { Err(NotReady::Draining) } else { self.app.readiness() };
        match ready {
            Err(why) => Response::text(503, why.to_string()),
            Ok(()) => Response::text(200, "ready"),
        }
    }

    fn metrics<C: Context>(&self, ctx: &C, head: &RequestHead<'_>) -> Response {
        let accept = head.fields.all("accept").filter_map(|value| std::str::from_utf8(value).ok());
        let format = Format::preferred(accept);
        let snapshot = Snapshot {
            stats: ctx.stats(),
            is_draining: ctx.is_draining(),
            lost_lines: (self.lost_lines)(),
            suppressed_lines: self.limit.suppressed(),
            tls: self.tls.clone(),
            figures: self.app.figures(),
        };
        match snapshot.text(format) {
            Ok(text) => Response { status: 200, fields: Vec::new(), body: Body::Owned(text.into_bytes()) }
                .field("Content-Type", format.content_type())
                .field("Vary", "Accept"),
            Err(error) => Response::text(500, error.to_string()),
        }
    }

    /// Says once that a neighbour forwards requests of others and is not believed: all of them are one address then, for every limit.
    fn hint_at_proxy(&mut self, request: &Request<'_>) {
        let ip = request.peer.ip();
        let is_neighbour = match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        let fields = request.head.fields;
        if is_neighbour
            && ["x-forwarded-for", "forwarded"].into_iter().any(|name| fields.first(name).is_some())
        {
            self.has_hinted = true;
            tracing::warn!(
                "{ip} forwards requests of others and is not believed, so all of them are one address; if it is your proxy, start the \
                 server with --trusted-proxy {ip}"
            );
        }
    }

    /// Writes a line about a request that is turned away.
    fn log_refusal(&mut self, request: &Request<'_>, reason: Refused) {
        let (peer, reason) = (request.peer, reason.name());
        let path = Escaped(request.head.path());
        let host = Escaped(request.authority());
        let origin = request.head.fields.first("origin").map(String::from_utf8_lossy);
        let origin = origin.as_deref().map(|origin| tracing::field::display(Escaped(origin)));
        if let Some(suppressed) = self.limit.admits(Cause::TurnedAway, self.now) {
            tracing::info!(%peer, reason, %path, %host, origin, suppressed, "turned away");
        } else {
            tracing::debug!(%peer, reason, %path, %host, origin, "turned away");
        }
    }

    /// Writes a line about a request that is turned away when its path, host and origin are no longer there.
    fn log_late_refusal(&mut self, peer: SocketAddr, reason: Refused) {
        let reason = reason.name();
        if let Some(suppressed) = self.limit.admits(Cause::TurnedAway, self.now) {
            tracing::info!(%peer, reason, suppressed, "turned away");
        } else {
            tracing::debug!(%peer, reason, "turned away");
        }
    }

    /// Writes a line about a peer that is turned away before the application sees a request.
    fn log_rejection(&mut self, rejection: &Rejection<'_>) {
        let Rejection { peer, status, reason, upgrade } = *rejection;
        let reason = Escaped(reason);
        if let Some(request) = upgrade {
            let path = Escaped(request.path());
            if let Some(suppressed) = self.limit.admits(Cause::Refused, self.now) {
                tracing::info!(%peer, %path, error = %reason, suppressed, "upgrade refused");
            } else {
                tracing::debug!(%peer, %path, error = %reason, "upgrade refused");
            }
        } else if let Some(suppressed) = self.limit.admits(Cause::Rejected, self.now) {
            tracing::info!(%peer, status, %reason, suppressed, "rejected");
        } else {
            tracing::debug!(%peer, status, %reason, "rejected");
        }
    }

    /// Writes a line about the end of a connection, at level `info` as far as its cause has lines left, else `debug`.
    fn log_end(&mut self, conn: ConnId, closed: &Closed) {
        let Closed { reason, peer, silent_ms, queued } = closed;
        let user = self.app.user(conn).map(|user| tracing::field::display(Escaped(user)));
        let (code, why) = (reason.code().0, reason.to_string());
        let reason = Escaped(&why);
        if let Some(suppressed) = self.limit.admits(Cause::Closed(closed.reason.kind()), self.now) {
            tracing::info!(%peer, user, code, %reason, silent_ms, queued, suppressed, "closed");
        } else {
            tracing::debug!(%peer, user, code, %reason, silent_ms, queued, "closed");
        }
    }
}

impl<A: Watched> Layer for Ops<A> {
    type Inner = A;
    type Mail = A::Mail;

    fn inner(&mut self) -> &mut A {
        &mut self.app
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        self.app.on_mail(ctx, mail);
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        if !self.has_hinted && request.forwarded.is_none() {
            self.hint_at_proxy(request);
        }
        let refusal = self.hosts.as_ref().and_then(|hosts| hosts.refusal(request));
        let verdict = match refusal {
            Some(response) => Verdict::Refuse(Refused::Host, response),
            None => match self.answer(ctx, request) {
                Some(response) => Verdict::Respond(response),
                None => self.app.on_request(ctx, request),
            },
        };
        match &verdict {
            Verdict::Refuse(reason, _) => self.log_refusal(request, *reason),
            Verdict::Accept(_) if request.upgrade.is_some() => {
                let path = Escaped(request.head.path());
                tracing::debug!(peer = %request.peer, %path, "connected");
            }
            _ => {}
        }
        verdict
    }

    fn on_refused_late(&mut self, peer: SocketAddr, reason: Refused) {
        self.log_late_refusal(peer, reason);
        self.app.on_refused_late(peer, reason);
    }

    fn on_turned_away(&mut self, rejection: &Rejection<'_>) {
        self.log_rejection(rejection);
        self.app.on_turned_away(rejection);
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, closed: &Closed) {
        self.log_end(conn, closed);
        self.app.on_close(ctx, conn, closed);
    }

    #[inline]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.now = ctx.now().monotonic_ms;
        self.app.on_tick_end(ctx);
    }
}
