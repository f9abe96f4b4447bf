//! Erases struck words from the index. FTS5 only notes which rows are gone and keeps their words until the parts of the index
//! that hold them are merged: here all parts are merged into one, a few pages at a time.
//!
//! A round writes the whole index again, so rounds are as far apart as they are long: erasing never takes more than a small
//! part of the time, and a small index is clean a moment after a deletion.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Result};

/// Pages that are written in one transaction.
const PAGES: i64 = 64;
/// From a deletion to the round that erases it: meanwhile more may be deleted.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after a round, in times of its length.
const REST: u32 = 20;
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// Where a round stands.
#[derive(Debug, Default)]
pub(super) struct Erasure {
    /// A round is under way.
    is_running: bool,
    /// When the next step is due; `None`: nothing was asked for since the last round.
    next: Option<Instant>,
    /// How long the round has worked.
    worked: Duration,
    /// No round begins before this.
    rest_until: Option<Instant>,
}

impl Erasure {
    /// How long to wait for the next step, when something must be erased.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let rest_until = self.rest_until;
        let next =
            *self.next.get_or_insert_with(|| rest_until.map_or(now + PAUSE, |rest| rest.max(now + PAUSE)));
        next.saturating_duration_since(now)
    }

    /// Writes a few pages; `true`: no struck word is left in the tables.
    pub(super) fn step(&mut self, conn: &Connection) -> Result<bool> {
        // Negative: begins to merge all there is. Positive: goes on with what was begun.
        let pages = if self.is_running { PAGES } else { -PAGES };
        let before = conn.total_changes();
        conn.prepare_cached("INSERT INTO found(found, rank) VALUES('merge', ?1)")?.execute([pages])?;
        // One change is the command itself (SQLite: FTS5, 'merge').
        let is_done = conn.total_changes() - before < 2;
        self.is_running = !is_done;
        Ok(is_done)
    }

    /// A step took so long.
    pub(super) fn worked(&mut self, began: Instant, now: Instant, is_done: bool) {
        self.worked += now.saturating_duration_since(began);
        self.next = Some(now);
        if is_done {
            self.rest_until = Some(now + (self.worked * REST).min(MAX_PAUSE));
            (self.worked, self.next) = (Duration::ZERO, None);
        }
    }

    /// A step failed: the next one is not due at once.
    pub(super) fn defer(&mut self, now: Instant) {
        self.next = Some(now + PAUSE);
    }

    /// No round is under way.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_running
    }
}
