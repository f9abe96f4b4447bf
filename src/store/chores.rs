//! What is done while no commit waits: the index of words, and retention.

use std::time::Duration;

use super::archive::Options;
use super::retention::{Sweep, Table};
use super::row::is_damage;
use super::search::{self, INDEX_LAG};
use super::session::{Error, Result, Session};

/// Nothing was handed over for so long: time for a step.
const PAUSE: Duration = Duration::from_millis(2);
/// How often one looks whether messages are past their time.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Chores {
    posts: Sweep,
    changes: Sweep,
    /// How often damage was found. The index is made anew once; after the second time nothing is done any more.
    flaws: u32,
}

impl Chores {
    pub(super) fn load(session: &Session<'_>) -> Result<Self> {
        Ok(Self {
            posts: Sweep::load(Table::Posts, session)?,
            changes: Sweep::load(Table::Changes, session)?,
            flaws: 0,
        })
    }

    /// After what pause the next step is due; `None`: only after something was committed.
    pub(super) fn pause(&self, session: &Session<'_>, options: &Options) -> Option<Duration> {
        if self.flaws > 1 {
            return None;
        }
        let lag = search::lag(session);
        if lag >= INDEX_LAG {
            return Some(Duration::ZERO);
        }
        if lag > 0 || self.posts.is_due(session, options) || self.changes.is_due(session, options) {
            return Some(PAUSE);
        }
        (options.keep_ms > 0).then_some(LOOK)
    }

    /// One step of what is due. It need not be on the disk when it is done: the next commit brings it there, and what a
    /// crash takes away is done again.
    pub(super) fn step(&mut self, session: &mut Session<'_>, options: &Options) -> Result<()> {
        session.conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        let done = self.step_unsynced(session, options);
        match done {
            Err(Error::Sqlite(error)) if is_damage(&error) => {
                session.conn.execute_batch("ROLLBACK")?;
                self.flaws += 1;
                session.reload();
                tracing::error!(%error, "the index of words or the history is damaged");
                if self.flaws == 1 {
                    tracing::info!("the index of words is made anew");
                    search::rebuild(session.conn)?;
                    session.indexed = 0;
                    session.has_stale = false;
                }
            }
            done => done?,
        }
        Ok(session.conn.execute_batch("PRAGMA synchronous = FULL")?)
    }

    fn step_unsynced(&mut self, session: &mut Session<'_>, options: &Options) -> Result<()> {
        if search::lag(session) > 0 {
            session.transact(search::index_step)?;
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
