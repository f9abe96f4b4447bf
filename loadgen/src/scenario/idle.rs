//! The scenario `idle`: connections are held, and the protocol core answers Pings.

use std::time::Duration;

use clap::Args;
use switchboard::proto::{Connection, Message};

use super::args::ScenarioArgs;
use crate::clock::Nanos;
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, Paced};
use crate::input::values::duration;
use crate::output::record::Record;
use crate::output::report::Outcome;
use crate::run::Launch;
use crate::run::workload::{End, Step, Turn, Workload};

/// Open connections, hold them, answer pings
#[derive(Debug, Clone, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How long to hold the connections
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    duration: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

impl ScenarioArgs for IdleArgs {
    fn connect(&self) -> &ConnectArgs {
        &self.connect
    }

    fn connect_mut(&mut self) -> &mut ConnectArgs {
        &mut self.connect
    }

    fn output(&self) -> &OutputArgs {
        &self.output
    }

    fn output_mut(&mut self) -> &mut OutputArgs {
        &mut self.output
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        let outline = Outline::new("idle", &TimeArgs::exactly(self.duration), &TrafficArgs::default());
        Ok(Outline { paced: Paced::Nothing, ..outline })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        launch.run(|_| |_| Idle)
    }
}

/// A workload that sends nothing.
#[derive(Debug)]
struct Idle;

impl Workload for Idle {
    type Lane = ();

    fn lane(&mut self, _number: u32) {}

    fn receive(&mut self, (): &mut (), _message: &Message<'_>, now: Nanos, record: &mut Record) {
        record.count.answered += 1;
        record.count.answered_in_window += u64::from(record.window.contains(&now));
    }

    fn compose(&mut self, (): &mut (), _connection: &mut Connection, _turn: &mut Turn<'_>) -> Step {
        Step::Rest
    }

    fn end(&mut self, (): &mut (), end: &End, _now: Nanos, record: &mut Record) -> bool {
        end.count(0, 0, record);
        false
    }
}
