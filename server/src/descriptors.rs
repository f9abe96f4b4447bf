//! How many connections there can be: each takes a descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than these are worth a warning.
const FEW: u64 = 1024;

/// Raises the soft limit to the hard one: what needs the low one, select(2), is not used here.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut limit = current;
    if current != maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => limit = maximum,
            Err(error) => tracing::warn!(%error, "the limit of descriptors could not be raised"),
        }
    }
    if let Some(limit) = limit.filter(|limit| *limit < FEW) {
        tracing::warn!(
            limit,
            "few descriptors, and each connection takes one: raise the limit with `ulimit -n`"
        );
    }
}
