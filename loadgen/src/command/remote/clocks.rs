//! How far the clock of an agent is ahead of the lead's. Pure.

/// One question for the time: when it was asked and answered by the lead's clock, and what the agent's said meanwhile. In
/// nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) asked: i64,
    pub(super) theirs: i64,
    pub(super) answered: i64,
}

/// The clock of an agent minus that of the lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) ns: i64,
    /// The true offset is at most this much different.
    pub(super) error_ns: u64,
}

/// The offset by the exchange with the shortest round trip: the agent read its clock at some instant within it.
pub(super) fn offset(exchanges: &[Exchange]) -> Option<Offset> {
    let of = |exchange: &Exchange| {
        let Exchange { asked, theirs, answered } = *exchange;
        let round_trip = answered.saturating_sub(asked);
        let middle = asked.saturating_add(round_trip / 2);
        Offset { ns: theirs.saturating_sub(middle), error_ns: round_trip.max(0).unsigned_abs().div_ceil(2) }
    };
    exchanges.iter().map(of).min_by_key(|offset| offset.error_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_offset_is_within_the_error() {
        for skew in [-5_000_000_000, -1, 0, 3, 7_000_000_000_i64] {
            let mut exchanges = Vec::new();
            for (there, back) in [(90, 10), (5, 40), (3, 0), (1000, 1000)] {
                let asked = 1_700_000_000_000_000_000_i64 + there;
                exchanges.push(Exchange {
                    asked,
                    theirs: asked + there + skew,
                    answered: asked + there + back,
                });
                let offset = offset(&exchanges).unwrap();
                assert!(offset.ns.abs_diff(skew) <= offset.error_ns, "{skew} {offset:?}");
            }
            assert_eq!(offset(&exchanges).unwrap().error_ns, 2, "that of the shortest round trip");
        }
        assert_eq!(offset(&[]), None);
        // A clock of the lead that was set back meanwhile.
        let odd = Exchange { asked: 10, theirs: 20, answered: 4 };
        assert_eq!(offset(&[odd]).unwrap().error_ns, 0);
    }
}
