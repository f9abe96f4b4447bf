//! Under which name a room's history goes on, and which names it had before.

use std::sync::Arc;

use crate::history::{Fork, MAX_LINEAGE};

/// The names of a room's history. What a client knows of an earlier one is part of this one up to where they part.
#[derive(Debug, Default)]
pub(in crate::chat) struct Branch {
    epoch: Arc<str>,
    /// Each with the newest message and change that this history has of it; the newest last.
    lineage: Vec<Fork>,
}

impl Branch {
    pub(in crate::chat::rooms) fn new(epoch: Arc<str>, lineage: Vec<Fork>) -> Self {
        Self { epoch, lineage }
    }

    /// Names the one unbroken history.
    pub(in crate::chat) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// The newest message and change that a client can have seen under this name and that are history now. What the client
    /// itself says it has seen is believed of nobody else.
    pub(in crate::chat::rooms) fn known_under(&self, epoch: &str, newest: (u64, u64)) -> Option<(u64, u64)> {
        if *epoch == *self.epoch {
            return Some(newest);
        }
        let at = self.lineage.iter().rposition(|fork| *fork.epoch == *epoch)?;
        // Each branch may have parted from the next one before the one before parted from it.
        let least = |(seq, rev): (u64, u64), fork: &Fork| (seq.min(fork.seq), rev.min(fork.rev));
        Some(self.lineage[at..].iter().fold(newest, least))
    }

    /// The history goes on under the name of the fork.
    pub(in crate::chat::rooms) fn fork(&mut self, fork: &Fork) {
        let Fork { epoch, seq, rev } = fork;
        let before = std::mem::replace(&mut self.epoch, Arc::clone(epoch));
        if self.lineage.len() >= MAX_LINEAGE {
            self.lineage.remove(0);
        }
        self.lineage.push(Fork { epoch: before, seq: *seq, rev: *rev });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_under_an_earlier_name_is_known_up_to_every_fork_since() {
        let mut branch = Branch::new("a".into(), Vec::new());
        for (epoch, seq, rev) in [("b", 100, 3), ("c", 80, 7), ("d", 120, 9)] {
            branch.fork(&Fork { epoch: epoch.into(), seq, rev });
        }
        let known = |epoch| branch.known_under(epoch, (150, 20));
        assert_eq!(
            ["d", "c", "b", "a"].map(known),
            [Some((150, 20)), Some((120, 9)), Some((80, 7)), Some((80, 3))]
        );
        assert_eq!(known("e"), None);
        for nth in 0..MAX_LINEAGE {
            branch.fork(&Fork { epoch: format!("e{nth}").into(), seq: 200, rev: 20 });
        }
        assert_eq!(branch.known_under("a", (300, 30)), None, "so many names are remembered");
        assert_eq!(branch.lineage.len(), MAX_LINEAGE);
    }
}
