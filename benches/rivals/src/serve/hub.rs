//! Who hears what is published, for the servers on tokio: a channel per connection.

use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// All connections; one thread, so the lock is never waited for.
#[derive(Debug)]
pub(super) struct Hub<M>(Arc<Mutex<Slab<UnboundedSender<M>>>>);

impl<M> Clone for Hub<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Clone> Hub<M> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Slab::new())))
    }

    /// A connection that hears everything from now on until its seat is dropped.
    pub(super) fn join(&self) -> (Seat<M>, UnboundedReceiver<M>) {
        let (sender, receiver) = unbounded_channel();
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sender);
        (Seat { hub: self.clone(), at }, receiver)
    }
}

/// A place in the hub.
pub(super) struct Seat<M: Clone> {
    hub: Hub<M>,
    at: usize,
}

impl<M: Clone> Seat<M> {
    pub(super) fn publish(&self, message: &M) {
        for (_, sender) in self.hub.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A receiver that is gone leaves by its seat.
            let _ = sender.send(message.clone());
        }
    }
}

impl<M: Clone> Drop for Seat<M> {
    fn drop(&mut self) {
        self.hub.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.at);
    }
}
