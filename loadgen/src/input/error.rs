//! Errors that keep a run from starting.

use std::fmt;

/// Any error of a command; it is printed behind `loadgen: `, and the exit status is 2.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Why a run does not start. The text says what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlanError(pub(crate) String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}
