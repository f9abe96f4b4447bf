//! Requests without TLS, sent on to where TLS is spoken.

use crate::app::{Request, Response};
use crate::proto::host_of;

/// The port of `https` that an address does not name.
const HTTPS: u16 = 443;

/// Listeners whose requests are all answered with the same address under `https://` (RFC 9110 15.4.9).
#[derive(Debug, Clone)]
pub struct Redirect {
    /// By listener: its requests are sent on.
    listeners: Vec<bool>,
    /// The port on which TLS is spoken.
    port: u16,
}

impl Redirect {
    /// `listeners` says of each listener, in the order of their numbers, whether its requests are sent on; `port` is where to.
    #[must_use]
    pub fn new(listeners: Vec<bool>, port: u16) -> Self {
        Self { listeners, port }
    }

    /// The answer to a request that came to one of the listeners.
    pub(super) fn answer(&self, request: &Request<'_>) -> Option<Response> {
        if !self.listeners.get(request.entrance.listener).copied().unwrap_or(false) {
            return None;
        }
        let Some(host) = host_of(request.head.authority()) else {
            return Some(Response::text(
                400,
                "the request names no host; use https:// or wss:// in the address",
            ));
        };
        let port = if self.port == HTTPS { String::new() } else { format!(":{}", self.port) };
        let target = request.head.path_and_query();
        let target = if target.starts_with('/') { target } else { "/" };
        let location = format!("https://{host}{port}{target}");
        Some(Response::text(308, format!("this is at {location}")).field("Location", location))
    }
}
