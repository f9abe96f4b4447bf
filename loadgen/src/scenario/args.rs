//! The options of a scenario, and the way from them to a run.

use std::fmt;

use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs};
use crate::input::plan::Outline;
use crate::output::report::Outcome;
use crate::run::Launch;

/// The options of one scenario.
pub(crate) trait ScenarioArgs: fmt::Debug {
    fn connect(&self) -> &ConnectArgs;

    fn output(&self) -> &OutputArgs;

    /// The `--rate` of a scenario that has one.
    fn rate(&mut self) -> Option<&mut Option<f64>> {
        None
    }

    /// Checks the options that only this scenario has, and describes the scenario for the plan.
    fn outline(&self) -> Result<Outline, PlanError>;

    /// Runs the plan with the scenario's workload.
    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure>;
}
