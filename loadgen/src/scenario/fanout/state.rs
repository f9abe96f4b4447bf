//! What the threads of a fanout share: the publishes, and how far each has come.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::input::error::PlanError;
use crate::input::options::{ConnectArgs, TrafficArgs};
use crate::input::plan::{MAX_SIZE, Plan, within};
use crate::input::values::Share;
use crate::run::shared::Shared;

/// Limit on the publishes in flight, over all publishers; each takes 16 bytes.
const MAX_PUBLISHES: u64 = 1 << 21;
/// Limit on publishers times subscribers: each pair has a sequence of 8 bytes.
const MAX_PAIRS: u64 = 1 << 25;
/// Which connections publish, and whether they receive their own messages.
#[derive(Debug, Clone, Copy)]
pub(in crate::scenario) struct Publishing {
    /// Number of the first connections that publish.
    pub(in crate::scenario) publishers: u32,
    /// A publisher does not receive its own messages.
    pub(in crate::scenario) excludes_self: bool,
    /// The connections of this process among those of all.
    pub(in crate::scenario) share: Share,
}

impl Publishing {
    /// Checks the memory of the sequences, and that a payload has room for the numbers of publisher and message.
    pub(in crate::scenario) fn check(
        self,
        connect: &ConnectArgs,
        traffic: &TrafficArgs,
    ) -> Result<(), PlanError> {
        let pairs = u64::from(self.publishers) * u64::from(connect.connections);
        within("publishers x connections", pairs, 1, MAX_PAIRS)?;
        let least = if traffic.text { 16 } else { 8 };
        within("--size of a published message", traffic.size.min as u64, least, MAX_SIZE as u64)
    }
}

/// State that the threads share: the publishes, and how far each has come.
#[derive(Debug)]
pub(in crate::scenario) struct FanoutState {
    pub(super) publishing: Publishing,
    /// Those of this process; the others have no entries.
    pub(super) publishers: Vec<Publisher>,
    /// Entries of each publisher.
    pub(super) slots: usize,
    /// Publishes that have not reached every receiver.
    pub(super) outstanding: AtomicU64,
    /// Messages that the publishers still have to send, if each has a number of them.
    pub(super) owed: AtomicU64,
    /// For each thread those of its publishers that may send again.
    pub(super) woken: Vec<Mutex<Vec<u32>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) sent: AtomicU64,
    pub(super) completed: AtomicU64,
    /// The publishes in flight. A message has the entry of its number modulo their count, a power of two.
    pub(super) in_flight: Vec<InFlight>,
}

#[derive(Debug, Default)]
pub(super) struct InFlight {
    pub(super) sent_at: AtomicU64,
    /// Threads with receivers that have not received the message; 0: the entry is free.
    pub(super) threads_left: AtomicU32,
    /// The run does not wait for one of the deliveries any more: there is no last one.
    pub(super) is_incomplete: AtomicBool,
}

impl FanoutState {
    pub(in crate::scenario) fn new(plan: &Plan, publishing: Publishing, shared: &Arc<Shared>) -> Arc<Self> {
        let publishers = publishing.publishers;
        // A power of two, so that a delivery needs no division.
        let most = 1 << (MAX_PUBLISHES / u64::from(publishers)).max(1).ilog2();
        let slots = plan.pacing.pipeline.next_power_of_two().min(most) as usize;
        let own = publishing.share.count(publishers);
        let publisher = || Publisher {
            sent: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            in_flight: (0..slots).map(|_| InFlight::default()).collect(),
        };
        Arc::new(Self {
            publishing,
            publishers: (0..own).map(|_| publisher()).collect(),
            slots,
            outstanding: AtomicU64::new(0),
            owed: AtomicU64::new(plan.messages.unwrap_or(0) * u64::from(own)),
            woken: (0..plan.threads).map(|_| Mutex::default()).collect(),
            shared: Arc::clone(shared),
        })
    }

    /// A publisher of this process by its number among all.
    #[inline]
    pub(super) fn publisher(&self, publisher: u32) -> &Publisher {
        &self.publishers[self.publishing.share.own(publisher) as usize]
    }

    pub(super) fn no_longer_owed(&self, count: u64) {
        let less = |owed: u64| Some(owed.saturating_sub(count));
        // Cannot fail: the function always returns a value.
        let _ = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// A message of `publisher` has reached its last receiver.
    pub(super) fn complete(&self, publisher: u32, thread: u32) {
        self.publisher(publisher).completed.fetch_add(1, Ordering::AcqRel);
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        let threads = self.woken.len() as u32;
        let lane = self.publishing.share.own(publisher);
        let home = lane % threads;
        let mut woken = self.woken[home as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if woken.last() != Some(&(lane / threads)) {
            woken.push(lane / threads);
        }
        if home != thread {
            self.shared.wake(home);
        }
    }
}
