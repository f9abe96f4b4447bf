//! What is done between commits: retention, what the index of words needs no more, and erasing what was deleted from the log.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::checkpoint::Checkpointer;
use super::clock::{instant, steady_ms};
use super::data_dir::Options;
use super::retention::{Sweep, Table};
use super::rows::is_damage;
use super::search_index::SearchIndex;
use super::transaction::{Error, Result, Transactions};
use crate::wall::LEAP_MS;

/// Nothing was handed over for so long: time for a step.
const PAUSE: Duration = Duration::from_millis(2);
/// Changes that are committed without a pause, after which a step comes between two commits: it looks at five times as many
/// rows, so that what must be removed goes as fast as new rows come.
const STEP_EVERY: usize = 48;
/// How often one looks whether messages are past their time.
const LOOK: Duration = Duration::from_secs(1);

/// From a deletion until the log that still holds the text is emptied, and until the next attempt where another process
/// reads. So often at most commits wait for it.
pub(super) const ERASE_AFTER: Duration = Duration::from_secs(2);
/// The pause after that, in times of how long it took.
const ERASE_REST: u32 = 20;

/// Bytes of a database that is written again while commits wait: a fraction of a second. At the end it may be larger.
const REWRITTEN: i64 = 16 << 20;
pub(super) const REWRITTEN_AT_THE_END: i64 = 64 << 20;

/// Rewrites a database of at most this many bytes; `false`: it is larger, or the disk is full. What is deleted is
/// overwritten where it stood; but where rows were moved to another page before, SQLite leaves what they said in the gap.
pub(super) fn rewrite(conn: &Connection, most: i64) -> Result<bool> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("page_count")? * number("page_size")? > most {
        return Ok(false);
    }
    match conn.execute_batch("VACUUM") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(%error, "there is no room to write the history again without what was deleted");
            Ok(false)
        }
        done => Ok(done.map(|()| true)?),
    }
}

/// Since when the clock has run evenly.
#[derive(Debug)]
struct Evenness {
    /// Wall time less steady time, at the last look.
    offset: u64,
    /// A time of the steady clock.
    since_ms: u64,
}

impl Evenness {
    fn new(now_ms: u64, steady_ms: u64) -> Self {
        Self { offset: now_ms.wrapping_sub(steady_ms), since_ms: steady_ms }
    }

    /// Whether it has done so for this long, by a look at both clocks.
    fn has_lasted(&mut self, settle_ms: u64, now_ms: u64, steady_ms: u64) -> bool {
        let next = Self::new(now_ms, steady_ms);
        if next.offset.wrapping_sub(self.offset).cast_signed().unsigned_abs() > LEAP_MS {
            *self = next;
        }
        steady_ms.saturating_sub(self.since_ms) >= settle_ms
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Maintenance {
    evenness: Evenness,
    /// When the log must be emptied of what was deleted.
    erase_at: Option<Instant>,
    not_before: Instant,
    /// Pages may hold what was deleted where nothing is any more.
    is_moved: bool,
    posts: Sweep,
    changes: Sweep,
    words: Arc<SearchIndex>,
    /// Rows of `reindex` up to this one are gone.
    trimmed: i64,
    /// Changes that were committed since something is due, less those that steps have made up for.
    changed: usize,
    /// The history is damaged where it must be swept: it stays as it is.
    is_damaged: bool,
}

impl Maintenance {
    /// `erase_in`: a log from the last run is there, with what may be deleted by now, and is emptied after this pause. What that
    /// run did not come to erase is erased by this one. `may_rewrite`: the database was not found to be impossible to write again.
    pub(super) fn load(
        session: &Transactions<'_>,
        words: Arc<SearchIndex>,
        options: &Options,
        erase_in: Option<Duration>,
        may_rewrite: bool,
    ) -> Result<Self> {
        let is_moved = may_rewrite && session.is_erasing();
        let erase_in = erase_in.or(is_moved.then_some(ERASE_AFTER));
        Ok(Self {
            evenness: Evenness::new((options.now)(), steady_ms()),
            erase_at: erase_in.map(|pause| instant() + pause),
            not_before: instant(),
            is_moved,
            posts: Sweep::load(Table::Posts, session)?,
            changes: Sweep::load(Table::Changes, session)?,
            words,
            trimmed: 0,
            changed: 0,
            is_damaged: false,
        })
    }

    /// This many changes were committed.
    pub(super) fn note(&mut self, changes: usize) {
        self.changed += changes;
    }

    /// Something was deleted.
    pub(super) fn note_erased(&mut self) {
        let not_before = self.not_before;
        self.erase_at.get_or_insert_with(|| not_before.max(instant() + ERASE_AFTER));
        self.is_moved = true;
    }

    /// The rules of retention that hold now: no message is too old while the clock is not to be trusted.
    fn rules(&mut self, options: &Options) -> Options {
        let mut rules = options.clone();
        let settle_ms = options.settle_ms.min(options.keep_ms);
        if options.keep_ms > 0 && !self.evenness.has_lasted(settle_ms, (options.now)(), steady_ms()) {
            rules.keep_ms = 0;
        }
        rules
    }

    /// After what pause the next step is due; `None`: only after something was committed.
    pub(super) fn pause(&mut self, session: &Transactions<'_>, options: &Options) -> Option<Duration> {
        let erase_in = self.erase_at.map(|at| at.saturating_duration_since(instant()));
        if erase_in == Some(Duration::ZERO) {
            return erase_in;
        }
        if self.is_damaged {
            return erase_in;
        }
        let rules = self.rules(options);
        let look = (options.keep_ms > 0).then_some(LOOK);
        let (options, idle) = (&rules, erase_in.into_iter().chain(look).min());
        let is_due = self.words.reindexed() > self.trimmed
            || self.posts.is_due(session, options)
            || self.changes.is_due(session, options);
        if is_due {
            return Some(if self.changed >= STEP_EVERY { Duration::ZERO } else { PAUSE });
        }
        // What was committed before something is due asks for nothing.
        self.changed = 0;
        idle
    }

    /// Whether the database must be written again.
    pub(super) fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// Empties the log when that is due: nothing of what was deleted is in any file of the history then.
    pub(super) fn erase(
        &mut self,
        checkpointer: &Checkpointer,
        pages: &AtomicI32,
        session: &mut Transactions<'_>,
    ) -> Result<()> {
        let began = instant();
        if self.erase_at.is_none_or(|at| at > began) {
            return Ok(());
        }
        if self.is_moved && rewrite(session.conn, REWRITTEN)? {
            session.end_erasing()?;
            self.is_moved = false;
        }
        let is_done = checkpointer.empty(pages, session.conn)?;
        self.erase_at = (!is_done).then(|| instant() + ERASE_AFTER);
        self.not_before = instant() + (instant() - began) * ERASE_REST;
        Ok(())
    }

    /// One step of what is due. It need not be on the disk when it is done: the next commit brings it there, and what a
    /// crash takes away is done again.
    pub(super) fn step(&mut self, session: &mut Transactions<'_>, options: &Options) -> Result<()> {
        if self.is_damaged {
            return Ok(());
        }
        let options = &self.rules(options);
        self.changed = self.changed.saturating_sub(STEP_EVERY);
        session.conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        let done = self.step_unsynced(session, options);
        match done {
            Err(Error::Sqlite(error)) if is_damage(&error) => {
                session.conn.execute_batch("ROLLBACK")?;
                self.is_damaged = true;
                session.reload();
                tracing::error!(%error, "the history is damaged; nothing is removed from it any more");
            }
            done => done?,
        }
        if session.take_erased() {
            self.note_erased();
        }
        Ok(session.conn.execute_batch("PRAGMA synchronous = FULL")?)
    }

    fn step_unsynced(&mut self, session: &mut Transactions<'_>, options: &Options) -> Result<()> {
        let reindexed = self.words.reindexed();
        if reindexed > self.trimmed {
            session.conn.prepare_cached("DELETE FROM reindex WHERE id <= ?1")?.execute([reindexed])?;
            self.trimmed = reindexed;
        }
        if self.posts.is_due(session, options) {
            session.transact(|session| self.posts.step(session, options))?;
        }
        if self.changes.is_due(session, options) {
            session.transact(|session| self.changes.step(session, options))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_too_old_by_one_reading_of_the_clock() {
        const NOW: u64 = 1_790_000_000_000;
        const LEAP: u64 = 315_576_000_000;
        let mut evenness = Evenness::new(NOW, 5000);
        let mut lasts = |wall_ms: u64, steady_ms: u64| evenness.has_lasted(60_000, wall_ms, steady_ms);
        assert!(!lasts(NOW + 1000, 6000), "not at the start");
        assert!(lasts(NOW + 60_000, 65_000));
        assert!(!lasts(NOW + 61_000 + LEAP, 66_000), "ten years ahead");
        assert!(!lasts(NOW + 120_000 + LEAP, 125_000));
        assert!(!lasts(NOW + 121_000, 126_000), "and back");
        assert!(!lasts(NOW + 180_000, 185_000));
        assert!(lasts(NOW + 181_000, 186_000));
        assert!(lasts(NOW + 181_000 - 9000, 186_000), "small corrections are no leaps");
    }
}
