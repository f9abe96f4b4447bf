//! A fan-out over several loops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::accept;
use crate::app::{
    Application, ConnId, Context, Mailbox, Message, MessageKind, Outgoing, Peers, Request, TopicId,
    TopicOptions, Undelivered, Verdict,
};

/// Bytes of messages after which a batch goes to the other loops without waiting for the end of the tick.
const BATCH_LEN: usize = 64 * 1024;
/// Bytes of messages that a loop has sent to others and that not all of them have published yet; above it the loop takes no more
/// input, until half of them are.
const MAX_UNDER_WAY: usize = 4 * 1024 * 1024;
/// Milliseconds until a loop looks again whether the others have come further.
const RETRY_MS: u64 = 1;

/// As [`Fanout`](super::Fanout), for one of several loops: every message goes to every connection of all of them. A receiver gets the
/// messages of a sender in their order, and on one loop all receivers get the same order.
///
/// Loops send each other what came in a tick. A loop that does not keep up slows down those that send to it: they pause their
/// input, and nothing is lost.
#[derive(Debug)]
pub struct SharedFanout {
    everyone: Option<TopicId>,
    peers: Vec<Peer>,
    /// What came in this tick and is not sent yet.
    batch: Batch,
    /// Bytes of all batches that are not published everywhere.
    under_way: Arc<AtomicUsize>,
    /// Something was sent since the loop looked whether the others keep up.
    has_sent: bool,
    is_paused: bool,
    /// A timer runs until the next look.
    is_timed: bool,
}

/// Another loop, and what its mailbox had no room for.
#[derive(Debug)]
struct Peer {
    mailbox: Mailbox<Arc<Batch>>,
    waiting: VecDeque<Arc<Batch>>,
}

/// Messages on their way from one loop to the others.
#[derive(Debug, Default)]
pub struct Batch {
    payloads: Vec<u8>,
    /// For each message: its kind, and where its payload ends.
    messages: Vec<(MessageKind, usize)>,
    /// What its bytes count among, once it is under way.
    counted: Option<Arc<AtomicUsize>>,
}

impl SharedFanout {
    /// The fan-out of the loop of the number `own`.
    #[must_use]
    pub fn new(own: usize, peers: &Peers<Arc<Batch>>) -> Self {
        let peer =
            |(_, mailbox): (usize, &Mailbox<_>)| Peer { mailbox: mailbox.clone(), waiting: VecDeque::new() };
        Self {
            everyone: None,
            peers: peers.others(own).map(peer).collect(),
            batch: Batch::default(),
            under_way: Arc::default(),
            has_sent: false,
            is_paused: false,
            is_timed: false,
        }
    }

    /// Sends what has come to all other loops.
    fn pass_on(&mut self) {
        self.has_sent = true;
        let mut batch = std::mem::take(&mut self.batch);
        self.under_way.fetch_add(batch.payloads.len(), Ordering::Relaxed);
        batch.counted = Some(Arc::clone(&self.under_way));
        let batch = Arc::new(batch);
        for peer in &mut self.peers {
            peer.waiting.push_back(Arc::clone(&batch));
            peer.deliver();
        }
    }

    /// Pauses the input while the other loops do not keep up.
    fn keep_pace<C: Context>(&mut self, ctx: &mut C) {
        let under_way = self.under_way.load(Ordering::Relaxed);
        let is_full = self.peers.iter().any(|peer| !peer.waiting.is_empty());
        let limit = if self.is_paused { MAX_UNDER_WAY / 2 } else { MAX_UNDER_WAY };
        let is_behind = is_full || under_way > limit;
        self.has_sent = false;
        if is_behind && !self.is_timed {
            self.is_timed = true;
            ctx.set_timer(ctx.now().monotonic_ms + RETRY_MS, 0);
        }
        if is_behind && !self.is_paused {
            ctx.pause_input();
        } else if !is_behind && self.is_paused {
            ctx.resume_input();
        }
        self.is_paused = is_behind;
    }
}

impl Peer {
    /// Sends what waits for the loop, as far as its mailbox has room.
    fn deliver(&mut self) {
        while let Some(batch) = self.waiting.pop_front() {
            match self.mailbox.try_send(batch) {
                Ok(()) => {}
                Err(Undelivered::Full(batch)) => return self.waiting.push_front(batch),
                // The server stops.
                Err(Undelivered::Ended(_)) => self.waiting.clear(),
            }
        }
    }
}

impl Batch {
    fn push(&mut self, message: &Message<'_>) {
        self.payloads.extend_from_slice(message.payload);
        self.messages.push((message.kind, self.payloads.len()));
    }

    fn messages(&self) -> impl Iterator<Item = Outgoing<'_>> {
        let mut start = 0;
        self.messages.iter().map(move |&(kind, end)| {
            let payload = &self.payloads[std::mem::replace(&mut start, end)..end];
            Outgoing::new(kind, payload, true)
        })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(counted) = &self.counted {
            counted.fetch_sub(self.payloads.len(), Ordering::Relaxed);
        }
    }
}

impl Application for SharedFanout {
    type Mail = Arc<Batch>;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.everyone = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        accept()
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(everyone) = self.everyone {
            // Cannot fail: the connection has just been opened.
            let _ = ctx.subscribe(conn, everyone);
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _conn: ConnId, message: Message<'_>) {
        if let Some(everyone) = self.everyone {
            self.batch.push(&message);
            ctx.publish(everyone, message.as_outgoing(), None);
        }
        if self.batch.payloads.len() >= BATCH_LEN {
            self.pass_on();
        }
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, batch: Arc<Batch>) {
        if let Some(everyone) = self.everyone {
            for message in batch.messages() {
                ctx.publish(everyone, message, None);
            }
        }
    }

    fn on_timer<C: Context>(&mut self, _: &mut C, _: u64) {
        self.is_timed = false;
        // The end of the tick, which comes next, looks whether that was enough.
        for peer in &mut self.peers {
            peer.deliver();
        }
    }

    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        if !self.batch.messages.is_empty() {
            self.pass_on();
        }
        if self.has_sent || self.is_paused {
            self.keep_pace(ctx);
        }
    }
}
