//! Runs a plan: one event loop per thread, and the observers beside them.

pub(crate) mod arrivals;
pub(crate) mod fleet;
pub(crate) mod metrics;
pub(crate) mod pace;
pub(crate) mod payload;
pub(crate) mod progress;
pub(crate) mod schedule;
mod screen;
pub(crate) mod shared;
pub(crate) mod workload;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

use mio::Poll;
use switchboard::proto::DeflateConfig;
use switchboard::proto::client::ClientRequest;

use self::fleet::tls::TlsSettings;
use self::fleet::{Fleet, LoopContext, Route};
use self::metrics::Metrics;
use self::progress::View;
use self::schedule::Phase;
use self::screen::Screen;
use self::shared::{Shared, Snapshot};
use self::workload::Workload;
use crate::clock::{Nanos, nanos, time_of_day};
use crate::input::destination::Destination;
use crate::input::error::Failure;
use crate::input::options::OutputArgs;
use crate::input::plan::{MAX_DURATION, Plan};
use crate::output::figures::Time;
use crate::output::frequency::Frequencies;
use crate::output::process::{Process, ProcessReport};
use crate::output::record::{LATE, Record};
use crate::output::report::{Machine, Outcome};
use crate::output::steal::Steal;

/// Interval at which the observers take a sample.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Somebody who watches a run and decides when messages begin: a lead that runs several agents.
pub(crate) trait Supervisor: fmt::Debug {
    /// Called at every sample. `is_ready`: no connection is left to open. Returns the instant of the first message when it
    /// is known; it counts once.
    fn sampled(&mut self, snapshot: &Snapshot, is_ready: bool) -> Option<SystemTime>;

    /// The time of day by the clock of that instant.
    fn time_of_day(&self) -> SystemTime;
}

/// A plan that is ready to run.
#[derive(Debug)]
pub(crate) struct Launch<'p> {
    pub(crate) plan: &'p Plan,
    /// The observers: `--pid`, `--metrics`, `--tui`.
    pub(crate) output: &'p OutputArgs,
    /// Ends the run; a signal sets it.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) supervisor: Option<Box<dyn Supervisor>>,
}

impl Launch<'_> {
    /// Runs the plan to its end, or until `stop` is set. `prepare` makes the state that threads share, and returns a
    /// function that makes the workload of a thread.
    pub(crate) fn run<W, M>(self, prepare: impl FnOnce(&Arc<Shared>) -> M) -> Result<Outcome, Failure>
    where
        W: Workload,
        M: Fn(u32) -> W + Sync,
    {
        let Self { plan, output, stop, supervisor } = self;
        let polls = (0..plan.threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let started_at = supervisor.as_ref().map_or_else(time_of_day, |supervisor| supervisor.time_of_day());
        let is_shown = output.tui && io::stderr().is_terminal();
        let earliest = plan.start_at.map_or(Ok(0), |start_at| wait_for(start_at, started_at))?;
        let shared = Shared::new(Arc::clone(&stop), &polls)?.not_before(earliest);
        let shared = Arc::new(shared.supervised(supervisor.is_some()).shown(is_shown));
        let process = output.pid.map(Process::watch).transpose()?;
        let metrics = match output.metrics {
            Some(address) => Some(Metrics::serve(address, plan.name)?),
            None => None,
        };
        let view = if is_shown {
            View::screen(Screen::open(plan, output.pid, Arc::clone(&stop))?)
        } else {
            View::new()
        };
        let fields: Vec<_> =
            plan.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let subprotocols: Vec<_> = plan.subprotocols.iter().map(String::as_str).collect();
        let deflate = plan.deflate.then(DeflateConfig::default);
        let request = ClientRequest {
            host: "",
            target: "",
            origin: plan.origin.as_deref(),
            subprotocols: &subprotocols,
            deflate: deflate.as_ref(),
            fields: &fields,
        };
        let routes = routes(plan, request)?;
        let make = prepare(&shared);
        let (sender, finished) = mpsc::channel();
        let (mut record, process, machine) = thread::scope(|scope| {
            for (thread, poll) in (0_u32..).zip(polls) {
                let shared = Arc::clone(&shared);
                let context = LoopContext { plan, thread, routes: &routes, shared, poll };
                let (make, sender) = (&make, sender.clone());
                scope.spawn(move || {
                    let done = run_loop(context, make(thread)).map_err(|error| error.to_string());
                    // Cannot fail: the receiver waits for all threads.
                    let _ = sender.send(done);
                });
            }
            drop(sender);
            let (steal, frequencies) = (Steal::default(), Frequencies::default());
            let observers = Observers {
                plan,
                shared: &shared,
                metrics: metrics.as_ref(),
                view,
                process,
                steal,
                frequencies,
                supervisor,
            };
            observers.until_all_finished(&finished)
        })?;
        let is_interrupted = stop.load(Ordering::Relaxed);
        let start = shared.start_at();
        if let Some(late) = start.and_then(|start| start.checked_sub(earliest)).filter(|_| earliest > 0)
            && late > LATE
        {
            record.note(&format!(
                "the first message left {} after --start-at: connecting took longer",
                Time(late)
            ));
        }
        note_steering(plan, &mut record);
        let begun_at = start.map(|start| started_at + Duration::from_nanos(start));
        Ok(Outcome { record, process, machine, is_interrupted, started_at, begun_at })
    }
}

/// A run that somebody steered is not the one that was planned.
fn note_steering(plan: &Plan, record: &mut Record) {
    let steering = &plan.pacing.steering;
    if steering.changes() > 0 {
        let paused = Time(steering.paused(record.window.end));
        let times = steering.changes();
        record.note(&format!("the rate was changed by hand, {times} times; the run was paused for {paused}"));
    }
}

/// What a connection to each server begins with. `request`: what the requests have in common.
fn routes<'r>(plan: &'r Plan, request: ClientRequest<'r>) -> Result<Vec<Route<'r>>, Failure> {
    let is_tls = plan.destinations.iter().any(|destination| destination.target.is_tls);
    let settings = if is_tls { Some(TlsSettings::new(plan.tls_insecure)?) } else { None };
    let route = |Destination { target, .. }: &'r Destination| {
        let settings = settings.as_ref().filter(|_| target.is_tls);
        let tls = settings.map(|settings| settings.for_host(&target.host)).transpose()?;
        let (host, target) = (&target.authority, &target.path_and_query);
        Ok(Route { request: ClientRequest { host, target, ..request }, tls })
    };
    plan.destinations.iter().map(route).collect()
}

/// The time from now until an instant that the options name.
fn wait_for(start_at: SystemTime, now: SystemTime) -> Result<Nanos, Failure> {
    match start_at.duration_since(now) {
        Ok(wait) if wait <= MAX_DURATION => Ok(nanos(wait)),
        Ok(_) => Err("--start-at is more than 24 hours ahead".into()),
        Err(_) => Err("--start-at is in the past".into()),
    }
}

fn run_loop<W: Workload>(context: LoopContext<'_>, workload: W) -> Result<Record, Failure> {
    let plan = context.plan;
    let record = Record::new(plan.primary())?.for_servers(plan.destinations.len());
    Ok(Fleet::new(context, workload, record)?.run()?)
}

/// Samples a running flood, and waits for its threads.
struct Observers<'w> {
    plan: &'w Plan,
    shared: &'w Shared,
    metrics: Option<&'w Metrics>,
    view: View,
    process: Option<Process>,
    steal: Steal,
    frequencies: Frequencies,
    supervisor: Option<Box<dyn Supervisor>>,
}

impl Observers<'_> {
    fn until_all_finished(
        mut self,
        finished: &mpsc::Receiver<Result<Record, String>>,
    ) -> Result<(Record, Option<ProcessReport>, Machine), Failure> {
        let mut all: Option<Record> = None;
        let mut left = self.plan.threads;
        while left > 0 {
            match finished.recv_timeout(SAMPLE_INTERVAL) {
                Ok(Ok(record)) => {
                    left -= 1;
                    match &mut all {
                        None => all = Some(record),
                        Some(all) => all.merge(&record),
                    }
                }
                Ok(Err(error)) => {
                    self.shared.stop.store(true, Ordering::Relaxed);
                    self.shared.wake_all();
                    return Err(error.into());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("a thread of the generator died".into()),
            }
            self.sample();
        }
        self.view.clear();
        let record = all.ok_or("no thread of the generator ran")?;
        let machine = Machine { steal: self.steal.share(), frequency: self.frequencies.seen() };
        Ok((record, self.process.map(Process::report), machine))
    }

    fn sample(&mut self) {
        let now = self.shared.clock.now();
        let snapshot = self.shared.snapshot();
        if self.view.obey(now) {
            self.shared.wake_all();
        }
        self.view.show(now, &snapshot);
        if let Some(supervisor) = &mut self.supervisor
            && let Some(at) = supervisor.sampled(&snapshot, self.shared.is_connected())
        {
            let wait = at.duration_since(supervisor.time_of_day()).unwrap_or_default();
            self.shared.begin_at(self.shared.clock.now() + nanos(wait));
        }
        if let Some(metrics) = self.metrics {
            metrics.set(&snapshot);
        }
        if snapshot.phase == Phase::Measuring {
            self.steal.sample();
            self.frequencies.sample();
        }
        if let Some(process) = &mut self.process {
            process.sample(now, snapshot.phase == Phase::Measuring);
        }
    }
}
