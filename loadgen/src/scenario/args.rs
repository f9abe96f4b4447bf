//! The options of a scenario, and the way from them to a run.

use std::fmt;

use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs};
use crate::input::plan::Outline;
use crate::input::values::{Share, Stages};
use crate::output::report::Outcome;
use crate::run::Launch;

/// The options of one scenario.
pub(crate) trait ScenarioArgs: fmt::Debug {
    fn connect(&self) -> &ConnectArgs;

    fn connect_mut(&mut self) -> &mut ConnectArgs;

    fn output(&self) -> &OutputArgs;

    fn output_mut(&mut self) -> &mut OutputArgs;

    /// The `--rate` of a scenario that has one.
    fn rate(&mut self) -> Option<&mut Option<f64>> {
        None
    }

    /// The `--stages` of a scenario that has them.
    fn stages(&mut self) -> Option<&mut Stages> {
        None
    }

    /// Leaves one of several processes its share of the connections and of all rates.
    ///
    /// # Errors
    /// The scenario cannot be divided.
    fn divide(&mut self, share: Share) -> Result<(), PlanError> {
        divide_common(self, share)
    }

    /// Checks the options that only this scenario has, and describes the scenario for the plan.
    fn outline(&self) -> Result<Outline, PlanError>;

    /// Runs the plan with the scenario's workload.
    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure>;
}

/// Leaves one of several processes its share of the connections.
pub(crate) fn divide_connections(connect: &mut ConnectArgs, share: Share) -> Result<(), PlanError> {
    let all = connect.connections;
    connect.connections = share.count(all);
    if connect.connections == 0 {
        return Err(PlanError(format!(
            "--connections is {all}, and {} agents need at least as many",
            share.of
        )));
    }
    connect.connect_rate = connect.connect_rate.map(|rate| share.rate(rate));
    Ok(())
}

/// What [`ScenarioArgs::divide`] does for every scenario.
pub(crate) fn divide_common<A: ScenarioArgs + ?Sized>(args: &mut A, share: Share) -> Result<(), PlanError> {
    let connect = args.connect_mut();
    divide_connections(connect, share)?;
    connect.seed = connect.seed.map(|seed| seed.wrapping_add(share.index.into()));
    if let Some(rate) = args.rate() {
        *rate = rate.map(|rate| share.rate(rate));
    }
    for stage in args.stages().into_iter().flat_map(|stages| &mut stages.0) {
        (stage.from, stage.to) = (share.rate(stage.from), share.rate(stage.to));
    }
    Ok(())
}
