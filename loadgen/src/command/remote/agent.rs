//! `loadgen agent`: runs scenarios for a lead.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Parser as _;

use super::auth::{Side, Token, nonce};
use super::wire::{Answer, Lines, MAX_ORDER, Order, PROTOCOL, Progress, Sender, split};
use super::{PATIENCE, PROGRESS, WallClock};
use crate::command::cli::{AgentArgs, Cli, Command};
use crate::command::start::plan;
use crate::input::error::Failure;
use crate::input::options::OutputArgs;
use crate::input::values::Share;
use crate::output::report::Report;
use crate::run::shared::Snapshot;
use crate::run::{Launch, SAMPLE_INTERVAL, Supervisor};

/// Limit on the connections of leads at the same time; one of them may run something.
const MAX_SESSIONS: u32 = 8;
/// After an error, the listener rests for this long.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// Listens for leads until the process is ended.
pub(crate) fn agent(args: &AgentArgs) -> Result<u8, Failure> {
    let token = Token::find(args.token.token_file.as_deref())?;
    let listener =
        TcpListener::bind(args.listen).map_err(|error| format!("--listen {}: {error}", args.listen))?;
    writeln!(io::stdout(), "loadgen agent listens on {}", listener.local_addr()?)?;
    serve(&listener, token, WallClock::default());
    Ok(0)
}

/// What the sessions of an agent share.
#[derive(Debug)]
struct Host {
    token: Token,
    clock: WallClock,
    sessions: AtomicU32,
    is_busy: AtomicBool,
}

/// Serves each lead on a thread of its own.
pub(super) fn serve(listener: &TcpListener, token: Token, clock: WallClock) {
    let (sessions, is_busy) = (AtomicU32::new(0), AtomicBool::new(false));
    let host = Arc::new(Host { token, clock, sessions, is_busy });
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Such as a limit of descriptors, which a run has used up.
            thread::park_timeout(ACCEPT_REST);
            continue;
        };
        let host = Arc::clone(&host);
        if host.sessions.fetch_add(1, Ordering::AcqRel) >= MAX_SESSIONS {
            host.sessions.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        thread::spawn(move || {
            if let Err(reason) = session(&host, stream) {
                // If stderr is closed, the lead tells the same.
                let _ = writeln!(io::stderr(), "loadgen agent: {reason}");
            }
            host.sessions.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// A run in progress.
#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    start: mpsc::Sender<i64>,
    thread: thread::JoinHandle<()>,
}

/// Obeys one lead until it closes the connection.
fn session(host: &Arc<Host>, stream: TcpStream) -> Result<(), String> {
    let (mut lines, sender) = split(stream, MAX_ORDER).map_err(|error| error.to_string())?;
    authenticate(host, &mut lines, &sender)?;
    let mut running: Option<Running> = None;
    // The end of the connection ends the run.
    while let Ok(order) = lines.next(None) {
        match order {
            Order::Clock => sender.send(&Answer::Clock { now_ns: host.clock.now() })?,
            Order::Prepare { words, index, of } => {
                let is_free = running.is_none() && !host.is_busy.swap(true, Ordering::AcqRel);
                if is_free {
                    running = Some(prepare(host, words, Share { index, of: of.max(1) }, &sender));
                } else {
                    refuse(&sender, "it is busy with another run")?;
                }
            }
            Order::Start { at_ns } => {
                if let Some(running) = &running {
                    // Fails if the run is over already.
                    let _ = running.start.send(at_ns);
                }
            }
            Order::Stop => {
                if let Some(running) = &running {
                    running.stop.store(true, Ordering::Relaxed);
                }
            }
            Order::Prove { .. } => break,
        }
    }
    if let Some(Running { stop, thread, .. }) = running {
        stop.store(true, Ordering::Relaxed);
        // Its panic has been printed.
        let _ = thread.join();
    }
    Ok(())
}

fn refuse(sender: &Sender, reason: &str) -> Result<(), String> {
    sender.send(&Answer::Refused { reason: reason.to_owned() })
}

fn authenticate(host: &Host, lines: &mut Lines, sender: &Sender) -> Result<(), String> {
    let mine = nonce().map_err(|error| error.to_string())?;
    sender.send(&Answer::Challenge { protocol: PROTOCOL.to_owned(), nonce: mine.clone() })?;
    let Order::Prove { protocol, nonce: theirs, mac } = lines.next(Some(PATIENCE))? else {
        return Err("a lead did not prove that it knows the token".to_owned());
    };
    if protocol != PROTOCOL {
        refuse(sender, &format!("it is {PROTOCOL} and not {protocol}"))?;
        return Err(format!("a lead is {protocol} and not {PROTOCOL}"));
    }
    if !host.token.is_proof(&mac, Side::Lead, &mine, &theirs) {
        refuse(sender, "it has another token")?;
        return Err("a lead has another token".to_owned());
    }
    sender.send(&Answer::Proof { mac: host.token.prove(Side::Agent, &mine, &theirs) })
}

/// Begins a run on a thread of its own. The host is busy until its end.
fn prepare(host: &Arc<Host>, words: Vec<String>, share: Share, sender: &Sender) -> Running {
    let (start, started) = mpsc::channel();
    let stop = Arc::<AtomicBool>::default();
    let (host, sender, stopped) = (Arc::clone(host), sender.clone(), Arc::clone(&stop));
    let thread = thread::spawn(move || {
        let conductor = Conductor {
            sender: sender.clone(),
            clock: host.clock,
            start: started,
            samples: 0,
            is_told: false,
        };
        let answer = match run(&words, share, conductor, stopped) {
            Ok(report) => Answer::Report { json: report.json() },
            Err(error) => Answer::Refused { reason: error.to_string() },
        };
        host.is_busy.store(false, Ordering::Release);
        // The lead may be gone.
        let _ = sender.send(&answer);
    });
    Running { stop, start, thread }
}

/// Runs the agent's share of a scenario. Files and observers are the lead's: an agent writes nothing.
fn run(
    words: &[String],
    share: Share,
    conductor: Conductor,
    stop: Arc<AtomicBool>,
) -> Result<Report, Failure> {
    let words = std::iter::once("loadgen").chain(words.iter().map(String::as_str));
    let Command::Run(mut scenario) = Cli::try_parse_from(words)?.command else {
        return Err("an agent runs scenarios only".into());
    };
    let args = scenario.args_mut();
    *args.output_mut() = OutputArgs::default();
    args.divide(share)?;
    let plan = plan(args)?;
    conductor.sender.send(&Answer::Prepared { connections: plan.connections })?;
    let output = args.output();
    let outcome = args.run(Launch { plan: &plan, output, stop, supervisor: Some(Box::new(conductor)) })?;
    Ok(Report::new(&plan, &outcome))
}

/// Tells the lead of the run, and hears of it when messages begin.
#[derive(Debug)]
struct Conductor {
    sender: Sender,
    clock: WallClock,
    start: Receiver<i64>,
    samples: u32,
    /// The lead knows that all connections are open.
    is_told: bool,
}

impl Supervisor for Conductor {
    fn sampled(&mut self, snapshot: &Snapshot, is_ready: bool) -> Option<SystemTime> {
        // If the lead is gone, the session ends the run.
        if is_ready && !self.is_told {
            self.is_told = true;
            let _ = self.sender.send(&Answer::Ready);
        }
        self.samples += 1;
        if u128::from(self.samples) * SAMPLE_INTERVAL.as_millis() >= PROGRESS.as_millis() {
            self.samples = 0;
            let Snapshot { open, answered, faults, failures, .. } = *snapshot;
            let _ = self.sender.send(&Answer::Progress(Progress { open, answered, faults, failures }));
        }
        // Before all connections are open, the lead does not know when to begin.
        let at = self.start.try_recv().ok().filter(|_| is_ready)?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(at.max(0).unsigned_abs()))
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.clock.now().max(0).unsigned_abs())
    }
}
