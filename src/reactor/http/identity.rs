//! Who asks, where a proxy stands between: the PROXY protocol once for a connection, what is forwarded with each request.
//!
//! A proxy that keeps connections alive sends requests of different people on one of them, so each request has an address of its own;
//! between two requests the connection has the address of the proxy.

use crate::app::{Application, Rejection, RequestHead};
use crate::proto::{Forwarded, ForwardedConflict, ProxyHeaderError};
use crate::reactor::slot::Slot;
use crate::reactor::{Reactor, Socket};

impl<A: Application, S: Socket> Reactor<A, S> {
    /// The first octets of HTTP are there on a connection whose socket may say for whom the peer speaks. Where proxies are named, only
    /// they may say it.
    #[cold]
    pub(super) fn introduce(&mut self, slot: Slot) {
        let introduced = self.sockets.get_mut(slot).and_then(|socket| socket.introduced());
        let peer = self.core.table.address(slot);
        let trusted = &self.core.config.trusted_proxies;
        let Some(http) = self.core.table[slot].http_mut() else { return };
        http.awaits_introduction = false;
        let is_trusted = http.entrance.is_trusted || trusted.contains(peer.ip());
        if !is_trusted && !trusted.is_empty() {
            self.core.counts.proxy_headers.untrusted += 1;
            return self.reject(slot, 403, &"only trusted proxies may connect here");
        }
        self.core.counts.proxy_headers.accepted += 1;
        match introduced {
            Some(client) => {
                // The client may be a proxy in turn.
                http.proxy = trusted.contains(client.ip()).then_some(client);
                self.core.table.set_address(slot, client);
            }
            None => http.proxy = is_trusted.then_some(peer),
        }
    }

    /// What came first is no header of the PROXY protocol: the connection ends without an answer.
    #[cold]
    pub(in crate::reactor) fn bad_introduction(&mut self, slot: Slot, error: ProxyHeaderError) {
        let counts = &mut self.core.counts.proxy_headers;
        *match error {
            ProxyHeaderError::Missing => &mut counts.missing,
            ProxyHeaderError::TooLong | ProxyHeaderError::Malformed => &mut counts.malformed,
        } += 1;
        let (peer, reason) = (self.core.table.address(slot), error.to_string());
        self.app.on_turned_away(&Rejection { peer, status: None, reason: &reason, upgrade: None });
    }

    /// What a trusted proxy says of a request: from now on the connection has the address of the client.
    pub(super) fn identify<'h>(
        &mut self,
        slot: Slot,
        head: &RequestHead<'h>,
    ) -> Result<Option<Forwarded<'h>>, ForwardedConflict> {
        let Some(proxy) = self.core.table[slot].http().and_then(|http| http.proxy) else { return Ok(None) };
        let forwarded = Forwarded::read(head.fields, proxy, &self.core.config.trusted_proxies)?;
        self.core.table.set_address(slot, forwarded.peer);
        Ok(Some(forwarded))
    }
}
