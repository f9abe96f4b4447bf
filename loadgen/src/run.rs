//! Runs a plan: a thread for each loop, and what goes on beside them.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use mio::Poll;
use switchboard::proto::DeflateConfig;
use switchboard::proto::client::ClientRequest;

use crate::clock::Nanos;
use crate::fleet::{Fleet, Scenario, Shared, Snapshot, Station, TlsSetup};
use crate::metrics::Metrics;
use crate::plan::{Kind, Plan};
use crate::process::{Process, ProcessReport};
use crate::progress::View;
use crate::record::Record;
use crate::scenario::chat::Chat;
use crate::scenario::churn::Churn;
use crate::scenario::echo::Echo;
use crate::scenario::fanout::{Fanout, Hall};
use crate::scenario::idle::Idle;
use crate::scenario::storm::{Storm, Weather};
use crate::schedule::Phase;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// How often what goes on is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What goes on beside a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside {
    pub(crate) pid: Option<u32>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) tui: bool,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) record: Record,
    pub(crate) process: Option<ProcessReport>,
    pub(crate) is_interrupted: bool,
}

/// Runs a plan to its end, or until `stop` is set.
pub(crate) fn run(plan: &Plan, beside: Beside, stop: &Arc<AtomicBool>) -> Result<Outcome, Failure> {
    let polls = (0..plan.threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let shared = Arc::new(Shared::new(Arc::clone(stop), &polls)?);
    let tls =
        if plan.target.is_tls { Some(TlsSetup::new(&plan.target.host, plan.tls_insecure)?) } else { None };
    let process = beside.pid.map(Process::watch).transpose()?;
    let metrics = match beside.metrics {
        Some(address) => Some(Metrics::serve(address, plan.kind.name())?),
        None => None,
    };
    let view = View::new(beside.tui && io::stderr().is_terminal(), plan);
    let fields: Vec<_> = plan.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let subprotocols: Vec<_> = plan.subprotocols.iter().map(String::as_str).collect();
    let deflate = plan.deflate.then(DeflateConfig::default);
    let request = ClientRequest {
        host: &plan.target.authority,
        target: &plan.target.path_and_query,
        origin: plan.origin.as_deref(),
        subprotocols: &subprotocols,
        deflate: deflate.as_ref(),
        fields: &fields,
    };
    let crew = Crew::new(plan, &shared);
    let (sender, finished) = mpsc::channel();
    let (record, process) = thread::scope(|scope| {
        for (thread, poll) in (0_u32..).zip(polls) {
            let (tls, shared) = (tls.clone(), Arc::clone(&shared));
            let station = Station { plan, thread, request, tls, shared, poll };
            let (crew, sender) = (&crew, sender.clone());
            scope.spawn(move || {
                // The receiver waits for all of them.
                let _ = sender.send(crew.work(station).map_err(|error| error.to_string()));
            });
        }
        drop(sender);
        let watch = Watch { plan, shared: &shared, metrics: metrics.as_ref(), view, process };
        watch.until_all_finished(&finished)
    })?;
    let is_interrupted = stop.load(Ordering::Relaxed);
    Ok(Outcome { record, process, is_interrupted })
}

/// What the threads of a scenario share.
enum Crew {
    Alone,
    Hall(Arc<Hall>),
    Weather(Arc<Weather>),
}

impl Crew {
    fn new(plan: &Plan, shared: &Arc<Shared>) -> Self {
        match plan.kind {
            Kind::Fanout { .. } | Kind::Slow { publishers: Some(_), .. } => {
                Self::Hall(Hall::new(plan, shared))
            }
            Kind::Storm { rounds, pause, .. } => Self::Weather(Weather::new(plan, rounds, pause)),
            _ => Self::Alone,
        }
    }

    fn work(&self, station: Station<'_>) -> Result<Record, Failure> {
        let (plan, thread) = (station.plan, station.thread);
        match (&plan.kind, self) {
            (_, Self::Hall(hall)) => work(station, Fanout::new(plan, thread, Arc::clone(hall))),
            (Kind::Storm { rooms, .. }, Self::Weather(weather)) => {
                work(station, Storm::new(plan, *rooms, Arc::clone(weather)))
            }
            (Kind::Chat { rooms, rejoin_rate }, _) => {
                work(station, Chat::new(plan, thread, *rooms, *rejoin_rate))
            }
            (Kind::Churn { messages }, _) => work(station, Churn::new(plan, thread, *messages)),
            (Kind::Idle, _) => work(station, Idle),
            _ => work(station, Echo::new(plan, thread)),
        }
    }
}

fn work<S: Scenario>(station: Station<'_>, scenario: S) -> Result<Record, Failure> {
    let record = Record::new(station.plan.primary())?;
    Ok(Fleet::new(station, scenario, record)?.run()?)
}

/// Looks at a running flood, and waits for its threads.
struct Watch<'w> {
    plan: &'w Plan,
    shared: &'w Shared,
    metrics: Option<&'w Metrics>,
    view: View,
    process: Option<Process>,
}

impl Watch<'_> {
    fn until_all_finished(
        mut self,
        finished: &mpsc::Receiver<Result<Record, String>>,
    ) -> Result<(Record, Option<ProcessReport>), Failure> {
        let mut all: Option<Record> = None;
        let mut left = self.plan.threads;
        while left > 0 {
            match finished.recv_timeout(LOOK) {
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
            self.look();
        }
        self.view.clear();
        let record = all.ok_or("no thread of the generator ran")?;
        Ok((record, self.process.map(Process::report)))
    }

    fn look(&mut self) {
        let now = self.shared.clock.now();
        let snapshot = self.shared.snapshot();
        self.view.show(now, &snapshot);
        if let Some(metrics) = self.metrics {
            metrics.set(&snapshot);
        }
        if let Some(process) = &mut self.process {
            process.look(now, snapshot.phase == Phase::Measuring);
        }
    }
}

/// A snapshot that two threads share.
#[derive(Debug, Default)]
pub(crate) struct Board(RwLock<Snapshot>);

impl Board {
    pub(crate) fn set(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    pub(crate) fn read(&self) -> Snapshot {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds of a time, for figures.
#[expect(clippy::cast_precision_loss, reason = "figures for people and plots")]
pub(crate) fn micros(nanos: Nanos) -> f64 {
    nanos as f64 / 1e3
}
