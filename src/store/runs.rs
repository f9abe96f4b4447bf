//! The runs of the server on a history: a client that comes back tells during which run it was there.
//!
//! A history that was set back (a snapshot of the disk, an older copy in its place) has lost messages whose numbers are given
//! again. The table of runs, which is set back with it, tells which of a client's numbers are still the ones that the client
//! saw: those from before the run that followed. Nobody has to believe what a client says of other clients.

use rusqlite::{Connection, Result};

use super::archive::{load_meta, store_meta};
use super::row::{Head, Walk, load_change, newest_change, newest_post, rev_of};

/// Runs that are remembered; a client of an older one begins again.
const RUNS_KEPT: usize = 16;
/// Messages, and changes, that are looked through for the beginning of a run. No client that missed more is told all of them.
const RUN_WALK: usize = 1024;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: String,
    /// The first rows of `posts` and `changes` that it may have written.
    first_post: i64,
    first_change: i64,
}

/// Remembers that another run begins; returns the newest runs, this one last.
pub(super) fn begin(conn: &Connection, id: String) -> Result<Vec<Run>> {
    let mut runs = load(conn)?;
    runs.push(Run { id, first_post: newest_post(conn)? + 1, first_change: newest_change(conn)? + 1 });
    runs.drain(..runs.len().saturating_sub(RUNS_KEPT));
    let shown = |run: &Run| format!("{}:{}:{}", run.id, run.first_post, run.first_change);
    let value: Vec<String> = runs.iter().map(shown).collect();
    store_meta(conn, "runs", &value.join(","))?;
    Ok(runs)
}

/// The newest runs, the oldest first.
pub(super) fn load(conn: &Connection) -> Result<Vec<Run>> {
    let value = load_meta(conn, "runs")?.unwrap_or_default();
    let parse = |run: &str| {
        let mut parts = run.split(':');
        let id = parts.next()?.to_owned();
        let [first_post, first_change] = [parts.next()?.parse().ok()?, parts.next()?.parse().ok()?];
        Some(Run { id, first_post, first_change })
    };
    Ok(value.split(',').filter_map(parse).collect())
}

/// For each run the numbers of a room's newest message and newest change when the run began; 0 where more came since than are
/// looked through.
pub(super) fn starts(conn: &Connection, room: i64, head: &Head) -> Result<Vec<(u64, u64)>> {
    let runs = load(conn)?;
    let mut starts = vec![(0, 0); runs.len()];
    let mut left = runs.len();
    let mut walk = Walk::new(conn, room, head, u64::MAX)?;
    let mut newest = Some((head.post, head.seq));
    for _ in 0..=RUN_WALK {
        let Some((row, seq)) = newest else { break };
        while left > 0 && row < runs[left - 1].first_post {
            left -= 1;
            starts[left].0 = seq;
        }
        if left == 0 {
            break;
        }
        newest = walk.next(conn)?.map(|stored| (stored.id, stored.record.post.seq));
    }
    let mut left = runs.len();
    let (mut row, mut rev) = (head.change, head.rev);
    for _ in 0..=RUN_WALK {
        while left > 0 && row < runs[left - 1].first_change {
            left -= 1;
            starts[left].1 = rev;
        }
        if left == 0 {
            break;
        }
        let Some(change) = load_change(conn, row)?.filter(|change| change.room == room) else { break };
        let Some(prev) = rev_of(&change.action).checked_sub(1) else { break };
        (row, rev) = (change.prev, prev);
    }
    Ok(starts)
}
