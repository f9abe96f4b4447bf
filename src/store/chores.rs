//! What is done between commits: retention, and what the index of words needs no more.

use std::sync::Arc;
use std::time::Duration;

use super::archive::Options;
use super::retention::{Sweep, Table};
use super::row::is_damage;
use super::session::{Error, Result, Session};
use super::words::Words;

/// Nothing was handed over for so long: time for a step.
const PAUSE: Duration = Duration::from_millis(2);
/// Changes that are committed without a pause, after which a step comes between two commits: it looks at five times as many
/// rows, so that what is to be removed goes as fast as new rows come.
const STEP_EVERY: usize = 48;
/// How often one looks whether messages are past their time.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Chores {
    posts: Sweep,
    changes: Sweep,
    words: Arc<Words>,
    /// Rows of `reindex` up to this one are gone.
    trimmed: i64,
    /// Changes that were committed since something is due, less those that steps have made up for.
    changed: usize,
    /// The history is damaged where it is to be swept: it stays as it is.
    is_damaged: bool,
}

impl Chores {
    pub(super) fn load(session: &Session<'_>, words: Arc<Words>) -> Result<Self> {
        Ok(Self {
            posts: Sweep::load(Table::Posts, session)?,
            changes: Sweep::load(Table::Changes, session)?,
            words,
            trimmed: 0,
            changed: 0,
            is_damaged: false,
        })
    }

    /// So many changes were committed.
    pub(super) fn note(&mut self, changes: usize) {
        self.changed += changes;
    }

    /// After what pause the next step is due; `None`: only after something was committed.
    pub(super) fn pause(&mut self, session: &Session<'_>, options: &Options) -> Option<Duration> {
        if self.is_damaged {
            return None;
        }
        let is_due = self.words.reindexed() > self.trimmed
            || self.posts.is_due(session, options)
            || self.changes.is_due(session, options);
        if is_due {
            return Some(if self.changed >= STEP_EVERY { Duration::ZERO } else { PAUSE });
        }
        // What was committed before something is due asks for nothing.
        self.changed = 0;
        (options.keep_ms > 0).then_some(LOOK)
    }

    /// One step of what is due. It need not be on the disk when it is done: the next commit brings it there, and what a
    /// crash takes away is done again.
    pub(super) fn step(&mut self, session: &mut Session<'_>, options: &Options) -> Result<()> {
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
        Ok(session.conn.execute_batch("PRAGMA synchronous = FULL")?)
    }

    fn step_unsynced(&mut self, session: &mut Session<'_>, options: &Options) -> Result<()> {
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
