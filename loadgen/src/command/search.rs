//! Searches the highest rate at which conditions hold.

use std::io::{self, Write as _};

use console::style;

use super::cli::SearchArgs;
use super::print::print;
use super::start::{flood, plan, stop_flag};
use crate::input::error::{Failure, PlanError};
use crate::input::plan::{Paced, rate_within};
use crate::output::assertion;
use crate::output::figures::{Time, rate as shown, share};
use crate::output::files::Files;
use crate::output::report::Report;
use crate::scenario::Scenario;

/// The exit status if not even the lowest rate holds.
const NONE_HOLDS: u8 = 3;
/// A run that reached less than this share of its rate did not hold it.
const ACHIEVED: f64 = 0.99;

/// Searches, prints and writes the report of the run that confirmed the result. Returns the exit status.
pub(crate) fn search(mut args: SearchArgs) -> Result<u8, Failure> {
    check(&args)?;
    let files = Files::create(&args.scenario.args().output().report)?;
    let mut confirmed = None;
    let mut bounds = Bounds::new(args.from, args.to, args.precision);
    while let Some(rate) = bounds.next() {
        set_rate(&mut args.scenario, rate)?;
        let (report, is_held) = try_rate(&args, rate)?;
        if stop_flag()?.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(130);
        }
        confirmed = (is_held && bounds.is_confirming()).then_some(report);
        bounds.tried(rate, is_held);
    }
    let Some(report) = confirmed else {
        writeln!(io::stdout(), "result        not even {} msgs/s hold", shown(args.from))?;
        return Ok(NONE_HOLDS);
    };
    writeln!(io::stdout())?;
    print(&report, &args.scenario.args().output().report)?;
    let rate = shown(report.asked.rate.unwrap_or(0.0));
    let more = if bounds.reached_the_top() { ", the highest rate to try: raise --to" } else { "" };
    writeln!(io::stdout(), "result        {rate} msgs/s hold, confirmed by a second run{more}")?;
    files.write(&report)?;
    Ok(report.exit_code(args.scenario.args().output().strict))
}

fn check(args: &SearchArgs) -> Result<(), Failure> {
    if args.until.is_empty() {
        return Err(PlanError("name a condition that must hold: --until 'p99<10ms'".to_owned()).into());
    }
    if args.scenario.args().outline()?.time.start_at.is_some() {
        return Err(PlanError("a search has many runs: it has no --start-at".to_owned()).into());
    }
    rate_within("--from", args.from)?;
    rate_within("--to", args.to)?;
    if args.from > args.to || !(0.001..=0.5).contains(&args.precision) {
        return Err(
            PlanError("--from must not be above --to, and --precision from 0.001 to 0.5".to_owned()).into()
        );
    }
    Ok(())
}

fn set_rate(scenario: &mut Scenario, new: f64) -> Result<(), PlanError> {
    let rate = scenario.args_mut().rate();
    *rate.ok_or_else(|| PlanError("this scenario has no rate that could be searched".to_owned()))? =
        Some(new);
    Ok(())
}

/// Runs the scenario at its rate. Returns the report, and whether the rate holds.
fn try_rate(args: &SearchArgs, rate: f64) -> Result<(Report, bool), Failure> {
    let scenario = args.scenario.args();
    let report = flood(&plan(scenario)?, scenario)?;
    let broken: Vec<String> = args
        .until
        .iter()
        .map(|condition| assertion::check(condition, &report))
        .filter(|assertion| !assertion.holds)
        .map(|assertion| assertion.condition)
        .collect();
    let got = achieved(&report, rate);
    let mut why = broken;
    if !report.is_flawless() {
        why.push("messages were lost or wrong".to_owned());
    }
    if got < ACHIEVED {
        why.push(format!("only {:.1} % of the rate was reached", got * 100.0));
    }
    if report.generator.client_bound {
        why.push("client-bound: the generator is the limit, add --threads".to_owned());
    }
    let p99 = report.primary().map_or(0, |latency| latency.p99);
    let result = if why.is_empty() {
        style("holds".to_owned()).green()
    } else {
        style(format!("broken: {}", why.join(", "))).red()
    };
    writeln!(
        io::stdout(),
        "try           {:>12} msgs/s  p99 {:<9} {result}",
        shown(rate),
        Time(p99).to_string()
    )?;
    Ok((report, why.is_empty()))
}

/// The share of the rate that was reached.
fn achieved(report: &Report, rate: f64) -> f64 {
    let reached = match report.paced {
        Paced::Connections => report.handshakes_per_second,
        Paced::Messages | Paced::Nothing => report.messages_per_second,
    };
    // A fan-out delivers each message many times, so the messages sent in the window count.
    match (report.planned_in_window, report.sent_in_window) {
        (Some(planned), Some(sent)) => share(sent, planned),
        _ => reached / rate,
    }
}

/// The rates to try: doubles until a condition breaks, halves the distance, and confirms the highest rate that held.
#[derive(Debug)]
struct Bounds {
    from: f64,
    to: f64,
    precision: f64,
    /// The highest rate that held.
    good: Option<f64>,
    /// The lowest rate that did not hold.
    bad: Option<f64>,
    is_confirming: bool,
    is_done: bool,
}

impl Bounds {
    fn new(from: f64, to: f64, precision: f64) -> Self {
        Self { from, to, precision, good: None, bad: None, is_confirming: false, is_done: false }
    }

    /// The next rate to try.
    fn next(&mut self) -> Option<f64> {
        if self.is_done {
            return None;
        }
        match (self.good, self.bad) {
            (None, None) => Some(self.from),
            (None, Some(bad)) if bad <= self.from => None,
            (None, Some(bad)) if bad / self.from <= 1.0 + self.precision => Some(self.from),
            (None, Some(bad)) => Some((self.from * bad).sqrt()),
            (Some(good), _) if good >= self.to => {
                self.is_confirming = true;
                Some(good)
            }
            (Some(good), None) => Some((good * 2.0).min(self.to)),
            (Some(good), Some(bad)) if bad / good <= 1.0 + self.precision => {
                self.is_confirming = true;
                Some(good)
            }
            (Some(good), Some(bad)) => Some((good * bad).sqrt()),
        }
    }

    fn is_confirming(&self) -> bool {
        self.is_confirming
    }

    fn tried(&mut self, rate: f64, is_held: bool) {
        match (std::mem::take(&mut self.is_confirming), is_held) {
            (true, true) => self.is_done = true,
            (false, true) => self.good = Some(rate),
            (true, false) => {
                // The rate held by chance, and lower ones may have, too: search below it again.
                (self.good, self.bad) = (None, Some(rate));
            }
            (false, false) => self.bad = Some(rate),
        }
    }

    fn reached_the_top(&self) -> bool {
        self.good.is_some_and(|good| good >= self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against a server that holds every rate up to `limit`. Returns the result and the number of runs.
    fn found(limit: f64, mut holds: impl FnMut(usize, f64) -> bool) -> (Option<f64>, usize) {
        let mut bounds = Bounds::new(100.0, 1_000_000.0, 0.05);
        let (mut confirmed, mut runs) = (None, 0);
        while let Some(rate) = bounds.next() {
            runs += 1;
            assert!(runs < 5000, "the search does not end");
            let is_held = rate <= limit && holds(runs, rate);
            confirmed = (is_held && bounds.is_confirming()).then_some(rate);
            bounds.tried(rate, is_held);
        }
        (confirmed, runs)
    }

    #[test]
    fn the_highest_rate_that_holds_is_found_and_confirmed() {
        for limit in [100.0, 101.0, 1234.5, 77_777.0, 999_999.0] {
            let (rate, runs) = found(limit, |_, _| true);
            let rate = rate.unwrap();
            assert!(rate <= limit && limit / rate <= 1.06, "{rate} for {limit}");
            assert!(runs < 30, "{runs} runs for {limit}");
        }
        let (top, _) = found(f64::INFINITY, |_, _| true);
        assert_eq!(top, Some(1_000_000.0));
        assert_eq!(found(99.0, |_, _| true), (None, 1));
    }

    #[test]
    fn luck_is_not_confirmed() {
        // Rates above 1,000 hold once, and never again.
        let mut seen = Vec::new();
        let (rate, _) = found(5000.0, |_, rate| {
            let is_new = !seen.contains(&rate.to_bits());
            seen.push(rate.to_bits());
            rate <= 1000.0 || is_new
        });
        assert!(rate.is_some_and(|rate| rate <= 1000.0), "{rate:?}");
    }
}
