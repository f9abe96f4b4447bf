//! `loadgen lead`: conducts agents.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::auth::{Side, Token, nonce};
use super::clocks::{Exchange, Offset, offset};
use super::wire::{Answer, Lines, MAX_ANSWER, Order, PROTOCOL, Progress, Sender, split};
use super::{MAX_AGENTS, PATIENCE, SILENCE, WallClock};
use crate::command::cli::LeadArgs;
use crate::command::merge::sum;
use crate::command::print::print;
use crate::command::start::{random_seed, stop_flag};
use crate::input::error::{Failure, PlanError};
use crate::output::agents::AgentReport;
use crate::output::assertion::conclude;
use crate::output::environment::shown_command;
use crate::output::figures::grouped;
use crate::output::files::Files;
use crate::output::report::Report;
use crate::scenario::args::ScenarioArgs;

/// Messages begin this long after the last agent is ready, so that every agent hears of it in time.
const START_AHEAD: Duration = Duration::from_secs(1);
/// Questions for the time of each agent, before the run and after it.
const CLOCK_QUESTIONS: usize = 16;
/// Interval at which an interrupt is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Runs a scenario on all agents, prints and writes the report. Returns the exit status.
pub(crate) fn lead(args: &LeadArgs) -> Result<u8, Failure> {
    let scenario = args.scenario.args();
    check(&args.agent, scenario)?;
    let token = Token::find(args.token.token_file.as_deref())?;
    let output = scenario.output();
    let files = Files::create(&output.report)?;
    let words = with_seed(scenario_words(std::env::args()), scenario);
    let stop = stop_flag()?;
    let job =
        Job { agents: &args.agent, token: &token, words: &words, clock: WallClock::default(), stop: &stop };
    let mut report = job.conduct()?;
    report.command = shown_command(std::env::args());
    report.asked.details = scenario.outline()?.details;
    if let Some(rate) = args.scenario.clone().args_mut().rate().and_then(|rate| *rate) {
        report.asked.rate = Some(rate);
    }
    report.asked.stages = args.scenario.clone().args_mut().stages().map(|stages| stages.to_string());
    conclude(&mut report, &output.report);
    print(&report, &output.report)?;
    files.write(&report)?;
    Ok(report.exit_code(output.strict))
}

fn check(agents: &[String], scenario: &dyn ScenarioArgs) -> Result<(), PlanError> {
    let error = |text: &str| Err(PlanError(text.to_owned()));
    if !(1..=MAX_AGENTS).contains(&agents.len()) {
        return Err(PlanError(format!(
            "name from 1 to {MAX_AGENTS} agents: --agent HOST:PORT before the scenario"
        )));
    }
    if let Some(twin) = agents.iter().enumerate().find(|(at, agent)| agents[..*at].contains(agent)) {
        return Err(PlanError(format!("--agent {} is given twice", twin.1)));
    }
    if scenario.outline()?.time.start_at.is_some() {
        return error("agents begin when their lead says so: it has no --start-at");
    }
    let output = scenario.output();
    if output.pid.is_some() || output.metrics.is_some() || output.tui {
        return error("--pid, --metrics and --tui watch one process: a lead has none of them");
    }
    Ok(())
}

/// The words of the scenario in a command line: those behind the options of the lead.
fn scenario_words(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = words.skip(2).peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if !option.contains('=') {
            words.next();
        }
    }
    words.collect()
}

/// The words with a seed: agents that share a fanout must have the same.
fn with_seed(mut words: Vec<String>, scenario: &dyn ScenarioArgs) -> Vec<String> {
    if scenario.connect().seed.is_none() {
        words.extend(["--seed".to_owned(), random_seed().to_string()]);
    }
    words
}

/// A scenario for several agents.
#[derive(Debug)]
pub(super) struct Job<'j> {
    pub(super) agents: &'j [String],
    pub(super) token: &'j Token,
    /// The words of the scenario.
    pub(super) words: &'j [String],
    pub(super) clock: WallClock,
    pub(super) stop: &'j AtomicBool,
}

/// What the thread of an agent tells the lead.
#[derive(Debug)]
enum Event {
    Linked(Sender, Offset),
    Prepared(u32),
    Ready,
    Progress(Progress),
    /// The report, and the offset of the clock after the run.
    Done(Box<Report>, Option<Offset>),
    /// There will be no report.
    Lost(String),
}

/// What the lead knows of an agent.
#[derive(Debug, Default)]
struct Agent {
    link: Option<(Sender, Offset)>,
    connections: Option<u32>,
    is_ready: bool,
    progress: Progress,
    done: Option<(Report, Option<Offset>)>,
    lost: Option<String>,
}

impl Agent {
    fn is_over(&self) -> bool {
        self.done.is_some() || self.lost.is_some()
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Linked(sender, offset) => self.link = Some((sender, offset)),
            Event::Prepared(connections) => self.connections = Some(connections),
            Event::Ready => self.is_ready = true,
            Event::Progress(progress) => self.progress = progress,
            Event::Done(report, offset) => self.done = Some((*report, offset)),
            Event::Lost(reason) => self.lost = Some(reason),
        }
    }

    /// Sends an order. An agent that does not take it is lost, as its thread notices.
    fn order(&self, order: &Order) {
        if let Some((sender, _)) = self.link.as_ref().filter(|_| !self.is_over()) {
            let _ = sender.send(order);
        }
    }
}

impl Job<'_> {
    /// Runs the scenario, and returns the report of all agents.
    ///
    /// # Errors
    /// An agent did not begin, or no agent is left.
    pub(super) fn conduct(&self) -> Result<Report, Failure> {
        let (sender, events) = mpsc::channel();
        let mut agents: Vec<Agent> = self.agents.iter().map(|_| Agent::default()).collect();
        let start_at = thread::scope(|scope| {
            for (i, name) in self.agents.iter().enumerate() {
                let sender = sender.clone();
                scope.spawn(move || {
                    let tell = |event| drop(sender.send((i, event)));
                    if let Err(reason) = self.follow(name, &tell) {
                        tell(Event::Lost(reason));
                    }
                });
            }
            let result = self.direct(&events, &mut agents);
            // Ends the threads, and what their agents still run.
            agents.iter().filter_map(|agent| agent.link.as_ref()).for_each(|(sender, _)| sender.close());
            result
        })?;
        self.report(agents, start_at)
    }

    /// Leads all agents from step to step. Returns the instant of the first message by the lead's clock.
    fn direct(
        &self,
        events: &mpsc::Receiver<(usize, Event)>,
        agents: &mut [Agent],
    ) -> Result<Option<i64>, Failure> {
        let view = View::new(agents.len());
        let wait_until = |agents: &mut [Agent], is_done: fn(&Agent) -> bool| -> Result<(), Failure> {
            let mut is_stopped = false;
            while !agents.iter().all(is_done) {
                match events.recv_timeout(POLL) {
                    Ok((i, event)) => agents[i].hear(event),
                    Err(RecvTimeoutError::Timeout) => view.show(agents),
                    Err(RecvTimeoutError::Disconnected) => return Err("the threads of the lead died".into()),
                }
                if self.stop.load(Ordering::Relaxed) && !std::mem::replace(&mut is_stopped, true) {
                    for agent in agents.iter() {
                        agent.order(&Order::Stop);
                    }
                }
            }
            Ok(())
        };
        wait_until(agents, |agent| agent.link.is_some() || agent.is_over())?;
        self.none_lost(agents)?;
        for (index, agent) in (0..).zip(&*agents) {
            agent.order(&Order::Prepare { words: self.words.to_vec(), index, of: agents.len() as u32 });
        }
        wait_until(agents, |agent| agent.connections.is_some() || agent.is_over())?;
        self.none_lost(agents)?;
        wait_until(agents, |agent| agent.is_ready || agent.is_over())?;
        let start_at = self.clock.now() + i64::try_from(START_AHEAD.as_nanos())?;
        for agent in &*agents {
            if let Some((_, offset)) = &agent.link {
                agent.order(&Order::Start { at_ns: start_at + offset.ns });
            }
        }
        wait_until(agents, Agent::is_over)?;
        Ok(agents.iter().any(|agent| agent.is_ready).then_some(start_at))
    }

    /// Before the run, an agent that does not take part is an error: the load would be another one.
    fn none_lost(&self, agents: &[Agent]) -> Result<(), Failure> {
        let lost =
            self.agents.iter().zip(agents).filter_map(|(name, agent)| Some((name, agent.lost.as_ref()?)));
        let reasons: Vec<String> = lost.map(|(name, reason)| format!("agent {name}: {reason}")).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ").into()) }
    }

    /// Talks with one agent, and tells what it says.
    fn follow(&self, name: &str, tell: &dyn Fn(Event)) -> Result<(), String> {
        let (mut lines, sender) = split(connect(name)?, MAX_ANSWER).map_err(|error| error.to_string())?;
        self.authenticate(&mut lines, &sender)?;
        let before = self.compare_clocks(&mut lines, &sender)?;
        let before = before.ok_or("it did not tell the time")?;
        tell(Event::Linked(sender.clone(), before));
        // Until all agents are linked, this one has nothing to say.
        let mut silence = PATIENCE * 2 + SILENCE;
        loop {
            match lines.next(Some(silence))? {
                Answer::Prepared { connections } => tell(Event::Prepared(connections)),
                Answer::Ready => tell(Event::Ready),
                Answer::Progress(progress) => tell(Event::Progress(progress)),
                Answer::Report { json } => {
                    let report =
                        Report::parse(&json).map_err(|error| format!("its report is not valid: {error}"))?;
                    // The report is worth more than the drift.
                    let after = self.compare_clocks(&mut lines, &sender).ok().flatten();
                    tell(Event::Done(Box::new(report), after));
                    return Ok(());
                }
                Answer::Refused { reason } => return Err(reason),
                Answer::Challenge { .. } | Answer::Proof { .. } | Answer::Clock { .. } => {
                    return Err("it does not keep to the protocol".to_owned());
                }
            }
            silence = SILENCE;
        }
    }

    fn authenticate(&self, lines: &mut Lines, sender: &Sender) -> Result<(), String> {
        let Answer::Challenge { protocol, nonce: theirs } = lines.next(Some(PATIENCE))? else {
            return Err("it does not keep to the protocol".to_owned());
        };
        if protocol != PROTOCOL {
            return Err(format!("it is {protocol}, and the lead is {PROTOCOL}"));
        }
        let mine = nonce().map_err(|error| error.to_string())?;
        let mac = self.token.prove(Side::Lead, &theirs, &mine);
        sender.send(&Order::Prove { protocol: PROTOCOL.to_owned(), nonce: mine.clone(), mac })?;
        match lines.next(Some(PATIENCE))? {
            Answer::Proof { mac } if self.token.is_proof(&mac, Side::Agent, &theirs, &mine) => Ok(()),
            Answer::Refused { reason } => Err(reason),
            _ => Err("it does not know the token".to_owned()),
        }
    }

    fn compare_clocks(&self, lines: &mut Lines, sender: &Sender) -> Result<Option<Offset>, String> {
        let mut exchanges = Vec::with_capacity(CLOCK_QUESTIONS);
        for _ in 0..CLOCK_QUESTIONS {
            let asked = self.clock.now();
            sender.send(&Order::Clock)?;
            let Answer::Clock { now_ns } = lines.next(Some(PATIENCE))? else {
                return Err("it does not keep to the protocol".to_owned());
            };
            exchanges.push(Exchange { asked, theirs: now_ns, answered: self.clock.now() });
        }
        Ok(offset(&exchanges))
    }

    /// One report of all agents.
    fn report(&self, agents: Vec<Agent>, start_at: Option<i64>) -> Result<Report, Failure> {
        let (mut reports, mut lines) = (Vec::new(), Vec::new());
        for (name, agent) in self.agents.iter().zip(agents) {
            let before = agent.link.as_ref().map(|(_, offset)| *offset);
            let (report, after) = agent.done.unzip();
            let begun_at = report.as_ref().and_then(|report: &Report| nanos_of(report.begun_at.as_ref()?));
            lines.push(AgentReport {
                agent: name.clone(),
                connections: agent.connections.unwrap_or(0),
                clock_offset_ns: before.map_or(0, |offset| offset.ns),
                clock_error_ns: before.map_or(0, |offset| offset.error_ns),
                clock_drift_ns: before.zip(after.flatten()).map(|(before, after)| after.ns - before.ns),
                begun_after_ns: (|| Some(begun_at? - before?.ns - start_at?))(),
                lost: agent.lost,
            });
            reports.extend(report);
        }
        let Some(mut report) = sum(&reports) else {
            let all: Vec<String> = lines.iter().map(ToString::to_string).collect();
            return Err(format!("no agent is left: {}", all.join("; ")).into());
        };
        for AgentReport { agent, lost, .. } in &lines {
            let Some(reason) = lost else { continue };
            *report.failures.entry(format!("agent {agent} was lost: {reason}")).or_default() += 1;
            report.failed += 1;
        }
        let lost = lines.iter().filter(|line| line.lost.is_some()).count();
        if lost > 0 {
            report
                .notes
                .push(format!("the report is incomplete: {lost} of {} agents were lost", lines.len()));
        }
        report.agents = lines;
        report.verdict = report.judged(self.stop.load(Ordering::Relaxed));
        Ok(report)
    }
}

fn connect(name: &str) -> Result<TcpStream, String> {
    let addresses = name.to_socket_addrs().map_err(|error| format!("{error}; write HOST:PORT"))?;
    let mut result = Err("the name has no address".to_owned());
    for address in addresses.collect::<BTreeSet<_>>() {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => result = Err(format!("{}: start `loadgen agent` there", error.kind())),
        }
    }
    result
}

/// Nanoseconds since 1970 of an instant in RFC 3339.
fn nanos_of(instant: &str) -> Option<i64> {
    let instant = humantime::parse_rfc3339(instant).ok()?;
    i64::try_from(instant.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// The line of a running flood on stderr, if stderr is a terminal.
#[derive(Debug)]
struct View(Option<ProgressBar>);

impl View {
    fn new(agents: usize) -> Self {
        Self(io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}");
            bar.set_message(format!("{agents} agents"));
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        }))
    }

    fn show(&self, agents: &[Agent]) {
        let Some(bar) = &self.0 else { return };
        let all = |figure: fn(&Progress) -> u64| {
            grouped(agents.iter().map(|agent| figure(&agent.progress)).fold(0, u64::saturating_add))
        };
        let (open, answered) = (all(|progress| progress.open), all(|progress| progress.answered));
        let wrong = all(|progress| progress.faults.saturating_add(progress.failures));
        let (lost, count) = (agents.iter().filter(|agent| agent.lost.is_some()).count(), agents.len());
        bar.set_message(format!(
            "{count} agents, {lost} lost  {open} connections  {answered} answers  {wrong} wrong"
        ));
        bar.tick();
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
