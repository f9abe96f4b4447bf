//! What a loop knows of the other loops of its process.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;

use super::handle::Handle;
use super::listen::Speaks;
use crate::app::Entrance;

/// A connection that was accepted and has no loop yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) speaks: Speaks,
    pub(super) entrance: Entrance,
}

/// All loops of a process, as one of them sees them.
#[derive(Debug)]
pub(super) struct Siblings<M> {
    own: usize,
    all: Arc<[Handle<M>]>,
    /// The loop that gets the next connection which is handed over.
    next: usize,
}

impl<M> Siblings<M> {
    pub(super) fn new(own: usize, all: &Arc<[Handle<M>]>) -> Self {
        Self { own, all: Arc::clone(all), next: 0 }
    }

    fn others(&self) -> impl Iterator<Item = &Handle<M>> {
        self.all.iter().enumerate().filter(|(at, _)| *at != self.own).map(|(_, handle)| handle)
    }

    /// Has all other loops drain, too.
    pub(super) fn drain(&self) {
        for handle in self.others() {
            // One that has ended needs no word.
            let _ = handle.shutdown();
        }
    }

    /// Whether this loop may end once it is drained: loop 0 has the listeners of the operator, and ends last.
    pub(super) fn may_end(&self) -> bool {
        self.own != 0 || self.others().all(Handle::has_ended)
    }

    /// Hands a connection over to the loop whose turn it is. Returns one that this loop is to keep.
    pub(super) fn hand_over(&mut self, accepted: Accepted) -> Option<Accepted> {
        let at = self.next;
        self.next = (at + 1) % self.all.len();
        if at == self.own {
            return Some(accepted);
        }
        self.all[at].hand_over(Box::new(accepted)).err().map(|accepted| *accepted)
    }
}
