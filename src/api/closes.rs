//! The last ends of connections.

use std::collections::VecDeque;

use serde::Serialize;

use crate::app::{AddressPrefix, Closed};

/// The end of a connection, as an operator is told.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Close {
    /// They grow by 1.
    pub(super) number: u64,
    /// Milliseconds since 1970.
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    address: String,
    code: u16,
    kind: &'static str,
    reason: String,
    /// Milliseconds since the last sign of life of the client.
    silent_ms: u64,
    /// Octets that the client had not read.
    queued: usize,
}

/// The last of them, in order.
#[derive(Debug, Default)]
pub(super) struct Closes {
    ring: VecDeque<Close>,
    last: u64,
}

impl Closes {
    pub(super) fn add(
        &mut self,
        closed: &Closed,
        (user, why): (Option<&str>, Option<&str>),
        unix_ms: u64,
        max: usize,
    ) {
        self.last += 1;
        while self.ring.len() >= max.max(1) {
            self.ring.pop_front();
        }
        self.ring.push_back(Close {
            number: self.last,
            time: unix_ms,
            user: user.map(Into::into),
            address: AddressPrefix::from(closed.peer.ip()).to_string(),
            code: closed.reason.code().0,
            kind: closed.reason.kind().name(),
            // What the client was told says more than that the application closed.
            reason: why.map_or_else(|| closed.reason.to_string(), str::to_owned),
            silent_ms: closed.silent_ms,
            queued: closed.queued,
        });
    }

    /// At most `limit` that came after a number, the oldest first. Without a number: the newest.
    pub(super) fn after(&self, number: Option<u64>, limit: usize) -> Vec<Close> {
        let from = match number {
            Some(number) => self.ring.partition_point(|close| close.number <= number),
            None => self.ring.len().saturating_sub(limit),
        };
        self.ring.iter().skip(from).take(limit).cloned().collect()
    }

    /// The number of the newest; 0: there was none.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::CloseReason;

    #[test]
    fn the_last_ones_are_told_and_those_before_are_forgotten() {
        let mut closes = Closes::default();
        let peer = "127.0.0.1:1".parse().unwrap();
        let end = Closed { reason: CloseReason::PongTimeout, peer, silent_ms: 7, queued: 9 };
        for nth in 1..=5 {
            closes.add(&end, (Some("Ada"), Some("enough")), nth, 3);
        }
        let numbers =
            |after, limit| closes.after(after, limit).iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(numbers(None, 2), [4, 5]);
        assert_eq!(numbers(Some(0), 10), [3, 4, 5]);
        assert_eq!(numbers(Some(3), 1), [4]);
        assert_eq!((numbers(Some(5), 10), closes.last()), (vec![], 5));
        let newest = &closes.after(None, 1)[0];
        assert_eq!((newest.kind, &*newest.reason), ("ping_timeout", "enough"));
        closes.add(&end, (None, None), 6, 3);
        assert_eq!(closes.after(None, 1)[0].reason, "ping timeout");
    }
}
