//! The scenario `slow`: some connections read slowly while the others exchange messages.

use clap::Args;

use super::args::{ScenarioArgs, divide_common};
use super::echo::Echo;
use super::fanout::{Fanout, FanoutState, Publishing};
use super::slow_readers::SlowReaders;
use crate::input::error::{Failure, PlanError};
use crate::input::options::{ConnectArgs, OutputArgs, TimeArgs, TrafficArgs};
use crate::input::plan::{Outline, within};
use crate::input::values::{Share, Stages};
use crate::output::report::{Outcome, SLOW_CONNECTIONS};
use crate::run::Launch;

/// Why agents cannot share this.
const NOT_DIVIDED: &str = "with --fanout, slow is a run of one process: use --threads";

/// A share of the connections reads slowly while the others exchange messages
#[derive(Debug, Clone, Args)]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Share of the connections that reads slowly
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    slow_share: f64,
    /// Bytes that a slow connection reads per second
    #[arg(long, value_name = "B", default_value_t = 1000)]
    slow_bytes: u64,
    /// For a server that sends every message to every connection: the first K connections publish
    /// [default: an echo server, to which slow connections send like all others]
    #[arg(long, value_name = "K")]
    fanout: Option<u32>,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl SlowArgs {
    /// Number of connections that read slowly.
    #[expect(clippy::cast_sign_loss, reason = "the outline checks that the share is from 0 to 1")]
    fn slow_connections(&self) -> u32 {
        (f64::from(self.connect.connections) * self.slow_share).round() as u32
    }
}

impl ScenarioArgs for SlowArgs {
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

    fn stages(&mut self) -> Option<&mut Stages> {
        self.traffic.shape.stages.as_mut()
    }

    fn divide(&mut self, share: Share) -> Result<(), PlanError> {
        if self.fanout.is_none() {
            return divide_common(self, share);
        }
        Err(PlanError(NOT_DIVIDED.to_owned()))
    }

    fn rate(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.traffic.rate)
    }

    fn outline(&self) -> Result<Outline, PlanError> {
        if !(0.0..=1.0).contains(&self.slow_share) {
            return Err(PlanError("--slow-share must be from 0 to 1".to_owned()));
        }
        within("--slow-bytes", self.slow_bytes, 1, 1 << 30)?;
        let slow = self.slow_connections();
        let outline = Outline::new("slow", &self.time, &self.traffic)
            .with(SLOW_CONNECTIONS, slow.into())
            .with("slow_bytes_per_second", self.slow_bytes);
        let Some(publishers) = self.fanout else { return Ok(Outline { answered: "echoed", ..outline }) };
        within("--fanout", publishers.into(), 1, (self.connect.connections - slow).into())?;
        Publishing { publishers, excludes_self: false, share: Share::default() }
            .check(&self.connect, &self.traffic)?;
        Ok(Outline { answered: "delivered", ..outline.with("publishers", publishers.into()) })
    }

    fn run(&self, launch: Launch<'_>) -> Result<Outcome, Failure> {
        let plan = launch.plan;
        let slow = SlowReaders::last(plan, self.slow_connections(), self.slow_bytes);
        match self.fanout {
            None => launch.run(|_| move |thread| Echo::new(plan, thread, slow)),
            Some(publishers) => launch.run(|shared| {
                let publishing = Publishing { publishers, excludes_self: false, share: Share::default() };
                let state = FanoutState::new(plan, publishing, shared);
                move |thread| Fanout::new(plan, thread, slow, &state)
            }),
        }
    }
}
