//! Layer 6: what an operator needs around any application: `/metrics`, `/healthz`, `/readyz`, and a log that says
//! why each connection ended and that bad peers cannot flood.

mod gather;
mod health;
mod hosts;
mod limit;
mod lives;
pub(crate) mod metrics;
mod redirect;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use self::gather::{Answered, LoopState, Others, Question, Report, STUCK_MS, Word};
pub use self::gather::{OpsMail, PeerMail};
use self::health::{Form, Reason};
pub use self::hosts::Hosts;
use self::limit::{Cause, LogLimit};
use self::lives::{Lives, name_of};
use self::metrics::{Format, Snapshot};
pub use self::redirect::Redirect;
use crate::app::{
    Application, Body, Closed, ConnId, Context, Escaped, Layer, Peers, Refused, Rejection, Request,
    RequestHead, Response, Verdict,
};
use crate::proto::Millis;
use crate::tls::Tls;

/// The timer of rounds among loops; no application has it.
const GATHER: u64 = u64::from_be_bytes(*b"figures\n");

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

    /// The name of a connection where its operator sees it, such as in a list of connections.
    fn client(&self, conn: ConnId) -> Option<&str> {
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

    /// Adds those of the same application on another loop of the process.
    fn add(&mut self, other: &Self);
}

impl Figures for () {
    fn encode(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }

    fn add(&mut self, (): &Self) {}
}

/// An application with what its operator needs. On several loops there is one on each ([`Self::with_peers`]), and whichever is
/// asked answers for all of them.
#[derive(Debug)]
pub struct Ops<A: Watched> {
    app: A,
    /// The loops of the process, if there is more to say of them than of this one.
    others: Option<Others<A::Mail, A::Figures>>,
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
    /// `Some`: the log has a line for the life of each connection.
    lives: Option<Lives>,
    /// The log has said, on whatever loop, that somebody seems to be a proxy who is not trusted.
    has_hinted: Arc<AtomicBool>,
    /// The time of the last tick, for the log.
    now: Millis,
}

impl<A: Watched> Ops<A> {
    /// `has_internal`: only internal listeners answer the operator, and nobody else. `lost_lines` tells how many lines the
    /// log has lost.
    pub fn new(app: A, has_internal: bool, lost_lines: fn() -> u64) -> Self {
        Self {
            app,
            others: None,
            has_internal,
            hosts: None,
            redirect: None,
            tls: None,
            lost_lines,
            limit: LogLimit::default(),
            lives: None,
            has_hinted: Arc::default(),
            now: 0,
        }
    }

    /// Answers only requests for these hosts, whatever their path.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Writes a line about the life of each connection when it ends, at level `info`, however many there are.
    #[must_use]
    pub fn with_lives_in_log(mut self) -> Self {
        self.lives = Some(Lives::default());
        self
    }

    /// The same; what the log says once is said once by all applications that share this.
    #[must_use]
    pub fn with_hint_of_all(mut self, has_hinted: Arc<AtomicBool>) -> Self {
        self.has_hinted = has_hinted;
        self
    }

    /// Answers for all loops of a process; this one has the number `own`.
    #[must_use]
    pub fn with_peers(mut self, own: usize, peers: Peers<OpsMail<A::Mail, A::Figures>>) -> Self {
        self.limit = LogLimit::of_each(peers.len());
        self.others = Some(Others::new(own, peers));
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
    fn answer<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Option<Verdict> {
        if let Some(response) = self.redirect.as_ref().and_then(|redirect| redirect.answer(request)) {
            return Some(Verdict::Respond(response));
        }
        let is_here = !self.has_internal || request.entrance.is_internal;
        let question = match request.head.path() {
            "/metrics" if is_here => Question::Metrics(Format::preferred(accept_of(request.head))),
            "/healthz" if is_here => Question::Health(Form::preferred(accept_of(request.head))),
            "/readyz" if is_here => Question::Readiness(Form::preferred(accept_of(request.head))),
            _ if request.entrance.is_internal => {
                let response = Response::text(404, "only /metrics, /healthz and /readyz are here");
                return Some(Verdict::Respond(response.field("Cache-Control", "no-store")));
            }
            _ => return None,
        };
        if !matches!(request.head.method, "GET" | "HEAD") {
            return Some(Verdict::Respond(
                Response::text(405, "only GET and HEAD are allowed here").field("Allow", "GET, HEAD"),
            ));
        }
        Some(self.respond(ctx, request.conn, question))
    }

    fn respond<C: Context>(&mut self, ctx: &mut C, conn: ConnId, question: Question) -> Verdict {
        // What is amiss here is amiss in the process.
        let is_known = matches!(question, Question::Readiness(_)) && self.readiness(ctx).is_err();
        if let Some(others) = self.others.as_mut().filter(|others| !is_known && !others.is_alone()) {
            if let Some(at) = others.ask(ctx, conn, question) {
                ctx.set_timer(at, GATHER);
            }
            // There may be nobody left to wait for.
            self.look(ctx);
            return Verdict::Later;
        }
        let own = self.report(ctx);
        let (report, loops) = match &self.others {
            Some(others) => others.sum(own),
            None => (own, Vec::new()),
        };
        Verdict::Respond(self.response(ctx, Answered { conn, question, report, loops }))
    }

    fn readiness<C: Context>(&self, ctx: &C) -> Result<(), NotReady> {
        if ctx.is_draining() { Err(NotReady::Draining) } else { self.app.readiness() }
    }

    /// How this loop is.
    fn report<C: Context>(&self, ctx: &C) -> Report<A::Figures> {
        let (stats, suppressed_lines) = (ctx.stats(), self.limit.suppressed());
        Report { stats, readiness: self.readiness(ctx), suppressed_lines, figures: self.app.figures() }
    }

    /// Answers those for whom enough loops have answered.
    fn look<C: Context>(&mut self, ctx: &mut C) {
        let Some(mut others) = self.others.take() else { return };
        let (answered, again_at) = others.look(ctx.now().monotonic_ms, || self.report(ctx));
        self.others = Some(others);
        for answered in answered {
            let conn = answered.conn;
            ctx.respond(conn, self.response(ctx, answered));
        }
        if let Some(at) = again_at {
            ctx.set_timer(at, GATHER);
        }
    }

    fn on_word<C: Context>(&mut self, ctx: &mut C, word: Word<A::Figures>) {
        match word {
            Word::Ask { from, round } => {
                let report = self.report(ctx);
                if let Some(others) = &self.others {
                    others.answer(from, round, report);
                }
            }
            Word::Answer { from, round, report } => {
                if let Some(others) = &mut self.others {
                    others.answered(from, round, report);
                }
                self.look(ctx);
            }
        }
    }

    fn response<C: Context>(&self, ctx: &C, answered: Answered<A::Figures>) -> Response {
        let Answered { question, report, loops, .. } = answered;
        let silent = loops.iter().position(|it| it.is_silent);
        let stuck = silent.map(|at| Reason::Stuck { at, for_ms: STUCK_MS });
        let response = match question {
            Question::Metrics(format) => self.metrics(ctx, format, report, loops),
            Question::Health(form) => form.answer("ok", stuck.as_slice()),
            Question::Readiness(form) => {
                let not_ready = report.readiness.err().map(Reason::NotReady);
                let reasons: Vec<Reason> = not_ready.into_iter().chain(stuck).collect();
                form.answer("ready", &reasons)
            }
        };
        response.field("Cache-Control", "no-store")
    }

    fn metrics<C: Context>(
        &self,
        ctx: &C,
        format: Format,
        report: Report<A::Figures>,
        loops: Vec<LoopState>,
    ) -> Response {
        let snapshot = Snapshot {
            stats: report.stats,
            loops,
            is_draining: ctx.is_draining(),
            lost_lines: (self.lost_lines)(),
            suppressed_lines: report.suppressed_lines,
            tls: self.tls.clone(),
            figures: report.figures,
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
            self.has_hinted.store(true, Ordering::Relaxed);
            tracing::warn!(
                "{ip} forwards requests of others and is not believed, so all of them are one address; if it is your proxy, start the \
                 server with --trusted-proxy {ip}"
            );
        }
    }

    /// Writes a line about a request that is turned away.
    fn log_refusal(&mut self, request: &Request<'_>, reason: Refused, id: &str) {
        let (peer, reason) = (request.peer, reason.name());
        let path = Escaped(request.head.path());
        let host = Escaped(request.authority());
        let origin = request.head.fields.first("origin").map(String::from_utf8_lossy);
        let origin = origin.as_deref().map(|origin| tracing::field::display(Escaped(origin)));
        if let Some(suppressed) = self.limit.admits(Cause::TurnedAway, self.now) {
            tracing::info!(%peer, reason, %path, %host, origin, request = id, suppressed, "turned away");
        } else {
            tracing::debug!(%peer, reason, %path, %host, origin, request = id, "turned away");
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

    /// Writes a line about the end of a connection, at level `info` as far as its cause has lines left, else `debug`. Where the
    /// log has the lives of connections, each has its line.
    fn log_end(&mut self, conn: ConnId, closed: &Closed, now: Millis) {
        let Closed { reason, peer, silent_ms, queued } = closed;
        let user = self.app.user(conn).map(|user| tracing::field::display(Escaped(user)));
        let (code, why) = (reason.code().0, reason.to_string());
        let reason = Escaped(&why);
        if let Some(life) = self.lives.as_mut().and_then(|lives| lives.end(conn)) {
            let (path, request, client) = (Escaped(&life.path), life.request, self.app.client(conn));
            let duration_ms = now.saturating_sub(life.since);
            tracing::info!(
                %peer, user, client, %path, request, code, %reason, duration_ms, silent_ms, queued, "closed"
            );
            return;
        }
        if let Some(suppressed) = self.limit.admits(Cause::Closed(closed.reason.kind()), self.now) {
            tracing::info!(%peer, user, code, %reason, silent_ms, queued, suppressed, "closed");
        } else {
            tracing::debug!(%peer, user, code, %reason, silent_ms, queued, "closed");
        }
    }
}

/// In which formats a client wants an answer.
fn accept_of<'a>(head: &RequestHead<'a>) -> impl Iterator<Item = &'a str> {
    head.fields.all("accept").filter_map(|value| std::str::from_utf8(value).ok())
}

impl<A: Watched> Layer for Ops<A> {
    type Inner = A;
    type Mail = OpsMail<A::Mail, A::Figures>;

    fn inner(&mut self) -> &mut A {
        &mut self.app
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        match mail {
            OpsMail::App(mail) => self.app.on_mail(ctx, mail),
            OpsMail::Peer(PeerMail(word)) => self.on_word(ctx, word),
        }
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        if token == GATHER {
            self.look(ctx);
        } else {
            self.app.on_timer(ctx, token);
        }
    }

    fn on_abandoned<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if !self.others.as_mut().is_some_and(|others| others.forget(conn)) {
            self.app.on_abandoned(ctx, conn);
        }
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        if !self.has_hinted.load(Ordering::Relaxed) && request.forwarded.is_none() {
            self.hint_at_proxy(request);
        }
        let refusal = self.hosts.as_ref().and_then(|hosts| hosts.refusal(request));
        let verdict = match refusal {
            Some(response) => Verdict::Refuse(Refused::Host, response),
            None => match self.answer(ctx, request) {
                Some(verdict) => verdict,
                None => self.app.on_request(ctx, request),
            },
        };
        if let Verdict::Refuse(reason, response) = verdict {
            // Who asks why they were turned away can name the line.
            let id = name_of(request, ctx.random());
            self.log_refusal(request, reason, &id);
            return Verdict::Refuse(reason, response.field("X-Request-Id", id));
        }
        let is_upgrade = request.upgrade.is_some() && matches!(verdict, Verdict::Accept(_) | Verdict::Later);
        if is_upgrade && (self.lives.is_some() || tracing::enabled!(tracing::Level::DEBUG)) {
            let id = name_of(request, ctx.random());
            if matches!(verdict, Verdict::Accept(_)) {
                let path = Escaped(request.head.path());
                tracing::debug!(peer = %request.peer, %path, request = id, "connected");
            }
            if let Some(lives) = &mut self.lives {
                lives.begin(ctx.now().monotonic_ms, request, id);
            }
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
        self.log_end(conn, closed, ctx.now().monotonic_ms);
        self.app.on_close(ctx, conn, closed);
    }

    #[inline]
    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        self.now = ctx.now().monotonic_ms;
        self.app.on_tick_end(ctx);
    }
}
