//! What each server of a run did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Record, ServerCount};
use crate::input::plan::Plan;

/// One of the servers of a run. Counts cover the whole run, the warm-up included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlReport {
    /// Without secrets.
    pub(crate) url: String,
    /// Completed opening handshakes.
    pub(crate) opened: u64,
    /// Completed closing handshakes that the generator began.
    pub(crate) closed: u64,
    /// Correct answers or deliveries.
    pub(crate) answered: u64,
    /// Messages lost, duplicated, reordered or corrupted, as the connections to this server show it.
    pub(crate) faults: u64,
    /// The sum of `failures`.
    pub(crate) failed: u64,
    pub(crate) failures: BTreeMap<String, u64>,
}

impl UrlReport {
    fn new(url: &str, count: &ServerCount) -> Self {
        let ServerCount { opened, closed, answered, faults, ref failures } = *count;
        let (failed, failures) = (failures.values().sum(), failures.clone());
        Self { url: url.to_owned(), opened, closed, answered, faults, failed, failures }
    }

    /// Adds what another process saw of the same server.
    fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.opened, other.opened),
            (&mut self.closed, other.closed),
            (&mut self.answered, other.answered),
            (&mut self.faults, other.faults),
            (&mut self.failed, other.failed),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        for (name, count) in &other.failures {
            *self.failures.entry(name.clone()).or_default() += count;
        }
    }
}

/// The servers of a plan. If there is one, the record of the run is that of the server.
pub(crate) fn urls(plan: &Plan, record: &Record) -> Vec<UrlReport> {
    let urls = plan.destinations.iter().map(|destination| destination.target.url.as_str());
    if record.servers.is_empty() {
        let only = record.total();
        return urls.map(|url| UrlReport::new(url, &only)).collect();
    }
    urls.zip(&record.servers).map(|(url, count)| UrlReport::new(url, count)).collect()
}

/// The servers of several reports, each once.
pub(crate) fn merged<'r>(reports: impl IntoIterator<Item = &'r UrlReport>) -> Vec<UrlReport> {
    let mut all: Vec<UrlReport> = Vec::new();
    for one in reports {
        match all.iter_mut().find(|known| known.url == one.url) {
            Some(known) => known.add(one),
            None => all.push(one.clone()),
        }
    }
    all
}
