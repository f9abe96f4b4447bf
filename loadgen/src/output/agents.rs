//! The agents of a run that a lead conducted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figures::{Time, grouped};
use super::plain::Plain;
use crate::clock::Nanos;

/// An agent, and what its clock and its connection to the lead did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentReport {
    /// As the command line of the lead names it.
    pub(crate) agent: String,
    pub(crate) connections: u32,
    /// The clock of the agent minus that of the lead.
    pub(crate) clock_offset_ns: i64,
    /// Half of the shortest round trip: the offset is at most this much different.
    pub(crate) clock_error_ns: Nanos,
    /// The change of the offset until the end of the run.
    pub(crate) clock_drift_ns: Option<i64>,
    /// When messages began, after the common instant and by the clock of the lead; negative: before it.
    pub(crate) begun_after_ns: Option<i64>,
    /// Why there is no report of the agent.
    pub(crate) lost: Option<String>,
}

/// The line of the text report.
impl fmt::Display for AgentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", Plain(&self.agent))?;
        if let Some(lost) = &self.lost {
            return write!(f, "lost, {}", Plain(lost));
        }
        let (connections, error) = (grouped(self.connections.into()), Time(self.clock_error_ns));
        write!(
            f,
            "{connections} connections, clock {} (± {error})",
            Signed(self.clock_offset_ns, "ahead", "behind")
        )?;
        if let Some(drift) = self.clock_drift_ns {
            write!(f, ", drift {}", Signed(drift, "ahead", "behind"))?;
        }
        if let Some(begun) = self.begun_after_ns {
            write!(f, ", began {} the common instant", Signed(begun, "after", "before"))?;
        }
        Ok(())
    }
}

/// A time with a word for its sign.
struct Signed(i64, &'static str, &'static str);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, plus, minus) = *self;
        write!(f, "{} {}", Time(value.unsigned_abs()), if value < 0 { minus } else { plus })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_one_line() {
        let agent = AgentReport {
            agent: "a:1".to_owned(),
            connections: 1000,
            clock_offset_ns: -3_000_000_000,
            clock_error_ns: 40_000,
            clock_drift_ns: Some(5000),
            begun_after_ns: Some(-20_000),
            lost: None,
        };
        let line = "a:1: 1,000 connections, clock 3.00 s behind (± 40.0 us), drift 5.00 us ahead, began 20.0 us before the \
                    common instant";
        assert_eq!(agent.to_string(), line);
        let lost = AgentReport { lost: Some("it closed the connection".to_owned()), ..agent };
        assert_eq!(lost.to_string(), "a:1: lost, it closed the connection");
    }
}
