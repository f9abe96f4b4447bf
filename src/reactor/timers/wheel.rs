//! A timing wheel: arming, moving and cancelling cost O(1), whatever the number of connections
//! (Varghese, Lauck: Hashed and hierarchical timing wheels, 1987).

use crate::proto::Millis;

/// Width of a slot in milliseconds.
const SLOT_MS: Millis = 32;
/// Number of slots. Deadlines beyond the span are looked at once per span and armed again.
const SLOTS: usize = 1024;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;

/// Where an armed index hangs. `slot` counts slots since time 0.
#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    slot: u32,
}

const UNARMED: Link = Link { prev: NONE, next: NONE, slot: NONE };

/// One deadline per index. It fires early at most (for far deadlines), never late by more than a slot; the owner
/// looks at the true deadline and arms again.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; SLOTS]>,
    occupied: [u64; WORDS],
    links: Vec<Link>,
    /// The slot up to which everything has fired.
    current: u32,
    /// When the first occupied slot fires, or one before it; [`NEVER`] when all are empty.
    first_ms: Millis,
}

const NEVER: Millis = Millis::MAX;

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: Box::new([NONE; SLOTS]),
            occupied: [0; WORDS],
            links: Vec::new(),
            current: 0,
            first_ms: NEVER,
        }
    }

    /// Makes sure that `index` fires at `deadline` or before. An earlier arming is kept: it fires, and the owner arms
    /// again. That way a deadline which moves on with each message costs nothing.
    pub(super) fn arm(&mut self, index: u32, deadline: Millis) {
        let at = index as usize;
        if at >= self.links.len() {
            self.links.resize(at + 1, UNARMED);
        }
        let slot = u32::try_from(deadline.div_ceil(SLOT_MS)).unwrap_or(NONE - 1);
        let slot = slot.clamp(self.current + 1, self.current + SLOTS as u32 - 1);
        let armed = self.links[at].slot;
        if armed != NONE {
            if armed <= slot {
                return;
            }
            self.cancel(index);
        }
        let bucket = slot as usize % SLOTS;
        let next = self.heads[bucket];
        self.links[at] = Link { prev: NONE, next, slot };
        if next != NONE {
            self.links[next as usize].prev = index;
        }
        self.heads[bucket] = index;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.first_ms = self.first_ms.min(u64::from(slot) * SLOT_MS);
    }

    /// Takes `index` off the wheel.
    pub(super) fn cancel(&mut self, index: u32) {
        let Some(&Link { prev, next, slot }) = self.links.get(index as usize) else { return };
        if slot == NONE {
            return;
        }
        let bucket = slot as usize % SLOTS;
        match prev {
            NONE => self.heads[bucket] = next,
            prev => self.links[prev as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        if self.heads[bucket] == NONE {
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.links[index as usize] = UNARMED;
    }

    /// Takes off everything armed until `now` and hands it to `fired`.
    pub(super) fn advance(&mut self, now: Millis, mut fired: impl FnMut(u32)) {
        let target = u32::try_from(now / SLOT_MS).unwrap_or(NONE - 1 - SLOTS as u32);
        if target <= self.current || self.first_ms > now {
            return;
        }
        let steps = (target - self.current).min(SLOTS as u32);
        for slot in target - steps + 1..=target {
            let bucket = slot as usize % SLOTS;
            if self.occupied[bucket / 64] & 1 << (bucket % 64) == 0 {
                continue;
            }
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            let mut index = std::mem::replace(&mut self.heads[bucket], NONE);
            while index != NONE {
                fired(index);
                index = std::mem::replace(&mut self.links[index as usize], UNARMED).next;
            }
        }
        self.current = target;
        self.first_ms = self.first_occupied().map_or(NEVER, |slot| u64::from(slot) * SLOT_MS);
    }

    /// Whether `index` is armed for `deadline` or before, as far as the span of the wheel reaches.
    pub(super) fn is_armed(&self, index: u32, deadline: Millis) -> bool {
        let slot = self.links.get(index as usize).map_or(NONE, |link| link.slot);
        slot != NONE && u64::from(slot) <= deadline.div_ceil(SLOT_MS).max(u64::from(self.current) + 1)
    }

    /// Whether the links, the bits and the first deadline agree.
    pub(super) fn check(&self) {
        let mut armed = 0;
        let is_occupied = |bucket: &usize| self.occupied[bucket / 64] & 1 << (bucket % 64) != 0;
        for bucket in (0..SLOTS).filter(is_occupied) {
            let (mut previous, mut index) = (NONE, self.heads[bucket]);
            assert_ne!(index, NONE, "bucket {bucket} is empty");
            while index != NONE {
                let link = self.links[index as usize];
                assert_eq!(
                    (link.prev, link.slot as usize % SLOTS),
                    (previous, bucket),
                    "the link of {index}"
                );
                assert!(link.slot > self.current, "{index} should have fired");
                assert!(
                    self.first_ms <= u64::from(link.slot) * SLOT_MS,
                    "{index} fires before the first one"
                );
                armed += 1;
                (previous, index) = (index, link.next);
            }
        }
        assert_eq!(
            self.links.iter().filter(|link| link.slot != NONE).count(),
            armed,
            "links that hang nowhere"
        );
    }

    /// When the next slot fires, or before: when what was armed first is cancelled. [`Millis::MAX`]: nothing is armed.
    pub(super) fn next_deadline(&self) -> Millis {
        self.first_ms
    }

    fn first_occupied(&self) -> Option<u32> {
        let first = (self.current as usize + 1) % SLOTS;
        // One word more than there are: the first is looked at twice, its high bits first and its low bits last.
        (0..=WORDS).find_map(|step| {
            let word = (first / 64 + step) % WORDS;
            let mask = match step {
                0 => !0 << (first % 64),
                WORDS => !(!0 << (first % 64)),
                _ => !0,
            };
            let bits = self.occupied[word] & mask;
            (bits != 0).then(|| {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                self.current + 1 + ((bucket + SLOTS - first) % SLOTS) as u32
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fired(wheel: &mut Wheel, now: Millis) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(now, |index| fired.push(index));
        fired.sort_unstable();
        fired
    }

    #[test]
    fn fires_within_a_slot_of_the_deadline() {
        let mut wheel = Wheel::new();
        wheel.arm(7, 100);
        assert_eq!(wheel.next_deadline(), 128);
        assert!(fired(&mut wheel, 127).is_empty());
        assert_eq!(fired(&mut wheel, 128), [7]);
        assert_eq!(wheel.next_deadline(), NEVER);
    }

    #[test]
    fn an_earlier_arming_wins_and_a_later_one_is_lazy() {
        let mut wheel = Wheel::new();
        wheel.arm(1, 20_000);
        wheel.arm(1, 1_000);
        wheel.arm(1, 30_000);
        assert_eq!(fired(&mut wheel, 1_024), [1]);
        assert!(fired(&mut wheel, 40_000).is_empty());
    }

    proptest! {
        /// The oracle is a list: an index fires in the first advance at or after its earliest armed deadline, or
        /// early when that lies beyond the span.
        #[test]
        fn agrees_with_a_list(operations in prop::collection::vec((0..4u8, 0..40u32, 0..60_000u64), 1..200)) {
            let mut wheel = Wheel::new();
            let mut oracle: Vec<Option<Millis>> = vec![None; 40];
            let mut now = 0;
            for (kind, index, time) in operations {
                match kind {
                    0 | 1 => {
                        wheel.arm(index, now + time);
                        let slot = &mut oracle[index as usize];
                        *slot = Some(slot.map_or(now + time, |armed| armed.min(now + time)));
                    }
                    2 => {
                        wheel.cancel(index);
                        oracle[index as usize] = None;
                    }
                    _ => {
                        now += time / 10;
                        for index in fired(&mut wheel, now) {
                            let deadline = oracle[index as usize].take();
                            prop_assert!(deadline.is_some(), "{index} fired unarmed");
                        }
                        wheel.check();
                        for deadline in oracle.iter().flatten() {
                            prop_assert!(*deadline + SLOT_MS > now, "{deadline} missed at {now}");
                            prop_assert!(wheel.next_deadline() < deadline + 2 * SLOT_MS);
                        }
                    }
                }
            }
        }
    }
}
