//! Which hosts requests may be for, before anything else is looked at.

use crate::app::{Escaped, Request, Response};
use crate::proto::{HostPolicy, is_address_authority, is_loopback_authority};

/// Keeps pages of strangers out that reach the server under a name of their own (DNS rebinding).
#[derive(Debug, Clone)]
pub struct Hosts {
    allowed: HostPolicy,
    /// By listener: its address is a loopback address.
    loopback: Vec<bool>,
}

impl Hosts {
    /// `loopback` says of each listener, in the order of their numbers, whether its address is a loopback address. Where `allowed`
    /// lists no host, those answer for loopback names only, and the others for any host.
    #[must_use]
    pub fn new(allowed: HostPolicy, loopback: Vec<bool>) -> Self {
        Self { allowed, loopback }
    }

    /// The answer to a request that is for a host which is not the server's.
    pub(super) fn refusal(&self, request: &Request<'_>) -> Option<Response> {
        if self.admits(request) {
            return None;
        }
        let host = request.authority();
        let text = format!(
            "this server does not answer for the host \"{host}\"; start it with --allow-host {host} if it is to",
            host = Escaped(host)
        );
        Some(Response::text(421, text))
    }

    fn admits(&self, request: &Request<'_>) -> bool {
        let authority = request.authority();
        if request.entrance.is_internal
            && (is_address_authority(authority) || is_loopback_authority(authority))
        {
            return true;
        }
        if !self.allowed.is_empty() {
            return self.allowed.admits(authority);
        }
        // A page that got in by DNS rebinding can forge what a proxy says, but not the Host that the browser sends.
        let authority = request.head.authority();
        let is_loopback = self.loopback.get(request.entrance.listener).copied().unwrap_or(false);
        // Browsers speak HTTP/1.1, which demands Host; health checks of balancers may have none.
        let has_no_host = request.head.fields.first("host").is_none() && authority.is_empty();
        !is_loopback || is_loopback_authority(authority) || has_no_host
    }
}
