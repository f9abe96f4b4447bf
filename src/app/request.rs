//! Requests before the upgrade, and their answers.

use std::net::SocketAddr;

use super::{ConnId, RequestHead, Response, Upgrade};
use crate::proto::Forwarded;

/// A request as [`Application::on_request`](super::Application::on_request) sees it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Request line and header section.
    pub head: &'a RequestHead<'a>,
    /// The checked upgrade; `None` for a plain request.
    pub upgrade: Option<Upgrade<'a>>,
    /// The body, whole; empty when there is none or [`Application::wants_body`](super::Application::wants_body) said no.
    pub body: &'a [u8],
    /// Who asks: the client, also where a trusted proxy speaks for it.
    pub peer: SocketAddr,
    /// What a trusted proxy says of the request; `None` where none did.
    pub forwarded: Option<Forwarded<'a>>,
    /// The connection that it came on; open only after the upgrade was accepted.
    pub conn: ConnId,
    /// Where it came in.
    pub entrance: Entrance,
    /// What TLS says about the connection; `None` without TLS.
    pub security: Option<Security>,
}

impl<'a> Request<'a> {
    /// Host and port that the client asked for: what a trusted proxy says, else what the request says.
    #[must_use]
    pub fn authority(&self) -> &'a str {
        self.forwarded.and_then(|forwarded| forwarded.host).unwrap_or_else(|| self.head.authority())
    }

    /// Whether the client is known to have come over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.forwarded.and_then(|forwarded| forwarded.is_secure).unwrap_or(self.security.is_some())
    }
}

/// What TLS says about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Security {
    /// The version of the protocol: `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its name in the registry of IANA.
    pub cipher_suite: &'static str,
    /// The host name that the client asked for, in lower case (SNI, RFC 6066 3).
    pub server_name: Option<Box<str>>,
    /// The client's certificate, which was checked, where clients are asked for one.
    pub client: Option<ClientCertificate>,
}

/// The certificate that a client has shown, issued by an authority of the server's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// Its subject (RFC 4514), such as `CN=backend, O=Example`.
    pub subject: String,
    /// The certificate itself.
    pub der: Vec<u8>,
}

/// The listener that a connection came by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Its number, in the order in which they were given.
    pub listener: usize,
    /// It is one for the operator alone: not limited per address, and open until the server has ended.
    pub is_internal: bool,
    /// Who connects here counts as a trusted proxy: it is a Unix socket, and the mode of its file says who may connect.
    pub is_trusted: bool,
    /// Who connects here says for whom, with the PROXY protocol.
    pub is_introduced: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Complete the opening handshake. For a plain request it means 426.
    Accept(Acceptance),
    /// Answer with HTTP.
    Respond(Response),
    /// Turn the request away with HTTP, for a reason that is counted and logged.
    Refuse(Refused, Response),
    /// The answer comes later: to an upgrade with [`Context::accept`](super::Context::accept) or
    /// [`Context::refuse`](super::Context::refuse), to another request with [`Context::respond`](super::Context::respond). Until
    /// then the connection is not read. After [`Config::max_answer_ms`](crate::reactor::Config::max_answer_ms) the answer is 504;
    /// above [`Config::max_late`](crate::reactor::Config::max_late) of them it is 503 at once. Where the application's own answer is
    /// not to come any more, [`Application::on_abandoned`](super::Application::on_abandoned) says so.
    Later,
}

/// Why an application turns a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It comes from a page of an origin that may not connect.
    Origin,
    /// It is for a host that is not this server's.
    Host,
    /// No WebSocket is spoken at that path.
    Path,
    /// What it brings to say who asks is not valid.
    Token,
    /// None of the subprotocols that it offers is spoken.
    Subprotocol,
}

impl Refused {
    /// All reasons, in order.
    pub const ALL: [Self; 5] = [Self::Origin, Self::Host, Self::Path, Self::Token, Self::Subprotocol];

    /// The reason in one word, as metrics and the log have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Path => "path",
            Self::Token => "token",
            Self::Subprotocol => "subprotocol",
        }
    }
}

/// What the 101 says besides what the protocol demands.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Acceptance {
    /// One of the subprotocols that were offered.
    pub subprotocol: Option<&'static str>,
    /// Where `subprotocol` is `None`: agree to the first one that is offered, whatever it is. Browsers fail a connection whose
    /// offer gets no answer.
    pub any_subprotocol: bool,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    /// Messages that do not come whole in one read go to [`Application::on_chunk`](super::Application::on_chunk) piece by piece, in bounded memory.
    pub stream_messages: bool,
}

changeable!(Acceptance);
