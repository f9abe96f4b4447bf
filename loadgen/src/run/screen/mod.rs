//! `--tui`: the screen of a running flood, and the keys that steer it.
//!
//! It belongs to the thread that waits for the event loops, which it never holds up: they share only what they publish
//! ([`Snapshot`]) and the steering of the schedule.

mod model;
mod terminal;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::model::{Facts, Model};
use self::terminal::Terminal;
use super::shared::Snapshot;
use crate::clock::Nanos;
use crate::clock::steering::Steering;
use crate::input::plan::{Paced, Plan};
use crate::output::process::{Meter, Usage};

/// A press of a key multiplies the rate by this, or divides it.
const STEP: f64 = 1.25;
/// Ctrl-C, which the terminal sends as a key.
const INTERRUPT: u8 = 3;

/// The screen, until it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal,
    model: Model,
    steering: Steering,
    stop: Arc<AtomicBool>,
    generator: Option<Meter>,
    server: Option<Meter>,
}

impl Screen {
    /// `server`: the process of `--pid`. `stop`: ends the run.
    ///
    /// # Errors
    /// The terminal cannot be changed.
    pub(super) fn open(plan: &Plan, server: Option<u32>, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let facts = Facts {
            title: format!("loadgen {}  {}", plan.name, plan.url()),
            length: plan.warmup + plan.duration,
            rate: plan.pacing.rate(),
            is_open: plan.pacing.is_open(),
            counts: if plan.paced == Paced::Connections { "connections" } else { "msgs" },
        };
        Ok(Self {
            terminal: Terminal::open()?,
            model: Model::new(facts),
            steering: plan.pacing.steering.clone(),
            stop,
            // Without /proc, the figures are left out.
            generator: Meter::watch(std::process::id()).ok(),
            server: server.and_then(|pid| Meter::watch(pid).ok()),
        })
    }

    /// Obeys the keys that were pressed. Returns whether there were any.
    pub(super) fn obey(&mut self, now: Nanos) -> bool {
        let keys = self.terminal.keys();
        for key in &keys {
            match key {
                b'p' | b' ' => self.steering.pause_or_resume(now),
                b'+' | b'=' if self.model.facts.is_open => self.steering.multiply(now, STEP),
                b'-' | b'_' if self.model.facts.is_open => self.steering.multiply(now, 1.0 / STEP),
                // The second time nobody waits for the end of the run.
                b'q' | &INTERRUPT if self.stop.swap(true, Ordering::Relaxed) => {
                    self.terminal.close();
                    std::process::exit(130);
                }
                _ => {}
            }
        }
        !keys.is_empty()
    }

    /// Draws the screen.
    pub(super) fn draw(&mut self, now: Nanos, snapshot: &Snapshot) {
        self.model.push(now, snapshot);
        let usage = |meter: &mut Option<Meter>| meter.as_mut().and_then(|meter| meter.read(now));
        let usages: [Option<Usage>; 2] = [usage(&mut self.generator), usage(&mut self.server)];
        let (height, width) = self.terminal.size();
        let lines = self.model.lines(now, &self.steering, usages, (height, width));
        self.terminal.show(&lines, width);
    }
}
