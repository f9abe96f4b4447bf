//! Compares two reports: ratios of their figures, with confidence intervals.
//!
//! Latencies of one moment are correlated, so the bootstrap does not resample single latencies. It draws whole
//! intervals of the window, in blocks (Künsch, The jackknife and the bootstrap for general stationary observations, 1989).

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use console::style;

use super::cli::CompareArgs;
use crate::input::condition::{RatioCondition, is_time};
use crate::input::error::Failure;
use crate::output::assertion::figure;
use crate::output::buckets::{BUCKETS, quantile};
use crate::output::csv;
use crate::output::figures::{Time, per_second, rate};
use crate::output::html;
use crate::output::plain::Plain;
use crate::output::report::{Report, Verdict};

/// Number of resamplings.
const DRAWS: usize = 2000;
/// Number of intervals in a block.
const BLOCK: usize = 4;
/// The confidence interval contains this share of the draws.
const CONFIDENCE: f64 = 0.95;
/// Fewer intervals are too few for a confidence interval.
const LEAST_INTERVALS: usize = 8;
/// Figures that are always compared.
const FIGURES: [&str; 5] = ["rate", "p50", "p90", "p99", "p99.9"];

/// The exit status if a condition of --fail-if holds.
const FAILED: u8 = 3;
/// The exit status of --strict if a report is client-bound.
const CLIENT_BOUND: u8 = 4;

/// Prints the comparison. Returns the exit status.
pub(crate) fn compare(args: &CompareArgs) -> Result<u8, Failure> {
    let (base, new) = (Report::read(&args.base)?, Report::read(&args.new)?);
    if base.scenario != new.scenario {
        return Err(format!("{} and {} are different scenarios", base.scenario, new.scenario).into());
    }
    let doubts = doubts([&base, &new]);
    if !doubts.is_empty() && !args.anyway {
        let doubts = doubts.join("; ");
        return Err(format!("these reports cannot be compared: {doubts} (--anyway compares them)").into());
    }
    // Before the comparison: its result must not be printed if it cannot be written.
    let page = args.html.as_deref().map(|path| create(path)).transpose()?;
    // Writing to a string does not fail.
    let mut out = String::new();
    for doubt in &doubts {
        let _ = writeln!(out, "{} {doubt}", style("doubtful     ").yellow());
    }
    for (name, report) in [("base", &base), ("new", &new)] {
        if report.generator.client_bound {
            let text = "was client-bound: its figures are the generator's limit, not the server's";
            let _ = writeln!(out, "{} {name} {text}", style("doubtful     ").yellow());
        }
    }
    for (name, report) in [("base", &base), ("new", &new)] {
        for annotation in &report.annotations {
            let _ = writeln!(out, "{name:<13} {}", Plain(annotation));
        }
    }
    let _ = writeln!(out, "{:<12} {:>14} {:>14} {:>8}   95 % confidence", "", "base", "new", "ratio");
    let asked = args.fail_if.iter().map(|condition| condition.figure.as_str());
    let is_supported = |name: &&str| [&base, &new].iter().all(|report| has_samples(report, name));
    let mut figures: Vec<&str> = FIGURES.into_iter().filter(is_supported).collect();
    for name in asked {
        if !figures.contains(&name) {
            figures.push(name);
        }
    }
    let mut draws = Draws::new(&base, &new, args.seed);
    let (mut results, mut rows) = (Vec::new(), Vec::new());
    for name in figures {
        let Some(result) = draws.ratio(name) else { continue };
        let (before, after) = (shown(name, result.base), shown(name, result.new));
        let confidence =
            result.confidence.map_or("not known".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        let factor = format!("{:.3}x", result.factor);
        let _ = writeln!(out, "{name:<12} {before:>14} {after:>14} {factor:>8}   {confidence}");
        rows.push([name.to_owned(), before, after, factor, confidence]);
        results.push((name, result));
    }
    let mut is_failed = false;
    for condition in &args.fail_if {
        let result = results.iter().find(|(name, _)| *name == condition.figure).map(|(_, result)| result);
        let judged = judge(condition, result);
        is_failed |= judged == Judged::Holds || args.strict && judged == Judged::Unsure;
        let text = match judged {
            Judged::Holds => style("holds: failed").red(),
            Judged::Unsure => style("holds by its figure, but not with confidence: measure longer").yellow(),
            Judged::Broken => style("does not hold: fine").green(),
            Judged::Unknown => style("was not measured: failed").red(),
        };
        is_failed |= judged == Judged::Unknown;
        let _ = writeln!(out, "fail-if       {condition} {text}");
    }
    if let Some(mut page) = page {
        io::Write::write_all(&mut page, html::comparison(&base, &new, &out, &rows).as_bytes())?;
    }
    io::Write::write_all(&mut io::stdout(), out.as_bytes())?;
    if args.strict && (base.generator.client_bound || new.generator.client_bound) {
        return Ok(CLIENT_BOUND);
    }
    Ok(if is_failed { FAILED } else { 0 })
}

/// Creates the file of `--html`.
fn create(path: &Path) -> Result<File, Failure> {
    Ok(File::create(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Whether a report has enough samples for a percentile of its primary latency.
fn has_samples(report: &Report, name: &str) -> bool {
    let is_percentile = name.starts_with('p');
    let latency = report.primary();
    !is_percentile || latency.is_some_and(|latency| latency.supported().any(|(known, _)| known == name))
}

/// Why a comparison of the two would be misleading.
fn doubts(reports: [&Report; 2]) -> Vec<String> {
    let [base, new] = reports;
    let mut doubts = Vec::new();
    for (name, report) in [("base", base), ("new", new)] {
        match report.verdict {
            Verdict::Ok => {}
            Verdict::Failed => doubts.push(format!("{name} is of a run that failed")),
            Verdict::Interrupted => doubts.push(format!("{name} is of a run that was interrupted")),
        }
    }
    doubts
        .extend(base.differences(new).into_iter().map(|difference| format!("different plans, {difference}")));
    doubts
}

#[expect(clippy::cast_sign_loss, reason = "times are not negative")]
fn shown(name: &str, value: f64) -> String {
    if is_time(name) { Time(value as u64).to_string() } else { rate(value) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Holds,
    Unsure,
    Broken,
    Unknown,
}

fn judge(condition: &RatioCondition, result: Option<&Ratio>) -> Judged {
    let Some(result) = result else { return Judged::Unknown };
    match result.confidence {
        _ if !condition.holds(result.factor) => Judged::Broken,
        Some((low, high)) if condition.holds(low) && condition.holds(high) => Judged::Holds,
        Some(_) => Judged::Unsure,
        // Counts have no intervals to resample, so the figure alone decides.
        None => Judged::Holds,
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    base: f64,
    new: f64,
    factor: f64,
    confidence: Option<(f64, f64)>,
}

/// One report's intervals.
struct Sample {
    counts: Vec<Vec<u64>>,
    answered: Vec<u64>,
    interval_ns: u64,
}

impl Sample {
    fn of(report: &Report) -> Self {
        Self {
            counts: report.intervals.iter().map(csv::counts).collect(),
            answered: report.intervals.iter().map(|interval| interval.answered).collect(),
            interval_ns: report.interval_ns,
        }
    }

    /// A figure of the drawn intervals.
    fn figure(&self, drawn: &[usize], name: &str) -> Option<f64> {
        if name == "rate" {
            let answered = drawn.iter().map(|i| self.answered[*i]).sum();
            return Some(per_second(answered, self.interval_ns * drawn.len() as u64));
        }
        let q = name.strip_prefix('p')?.parse::<f64>().ok()? / 100.0;
        let mut counts = vec![0; BUCKETS];
        for i in drawn {
            counts.iter_mut().zip(&self.counts[*i]).for_each(|(sum, count)| *sum += count);
        }
        quantile(&counts, q)
    }
}

/// Resamples both reports.
struct Draws<'r> {
    reports: [&'r Report; 2],
    samples: [Sample; 2],
    state: u64,
}

impl<'r> Draws<'r> {
    fn new(base: &'r Report, new: &'r Report, seed: u64) -> Self {
        Self { reports: [base, new], samples: [Sample::of(base), Sample::of(new)], state: seed }
    }

    fn ratio(&mut self, name: &str) -> Option<Ratio> {
        let [base, new] = self.reports.map(|report| figure(report, name));
        let (base, new) = (base?, new?);
        let ratio = new / base;
        if !ratio.is_finite() {
            return None;
        }
        let is_drawn = self.samples.iter().all(|sample| sample.counts.len() >= LEAST_INTERVALS);
        let confidence = if is_drawn { self.confidence(name, ratio) } else { None };
        Some(Ratio { base, new, factor: ratio, confidence })
    }

    /// The confidence interval, shifted to the exact ratio: the buckets of the intervals are coarser.
    fn confidence(&mut self, name: &str, ratio: f64) -> Option<(f64, f64)> {
        let whole = |sample: &Sample| sample.figure(&(0..sample.counts.len()).collect::<Vec<_>>(), name);
        let coarse = whole(&self.samples[1])? / whole(&self.samples[0])?;
        let mut ratios = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            let drawn = [0, 1].map(|i| self.draw(i));
            let [Some(base), Some(new)] = [0, 1].map(|i: usize| self.samples[i].figure(&drawn[i], name))
            else {
                continue;
            };
            ratios.push(new / base * (ratio / coarse));
        }
        ratios.retain(|ratio| ratio.is_finite());
        ratios.sort_by(f64::total_cmp);
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let at = |share: f64| ratios.get(place(share, ratios.len())).copied();
        Some((at(tail)?, at(1.0 - tail)?))
    }

    /// As many intervals as the report has, in blocks that begin anywhere.
    fn draw(&mut self, sample: usize) -> Vec<usize> {
        let len = self.samples[sample].counts.len();
        let mut drawn = Vec::with_capacity(len + BLOCK);
        while drawn.len() < len {
            let first = self.next(len as u64) as usize;
            drawn.extend((0..BLOCK).map(|i| (first + i) % len));
        }
        drawn.truncate(len);
        drawn
    }

    /// A number below `bound` (`SplitMix64`).
    fn next(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a place among few thousands")]
fn place(share: f64, len: usize) -> usize {
    ((len as f64 * share) as usize).min(len.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(ratio: f64, confidence: Option<(f64, f64)>) -> Ratio {
        Ratio { base: 1.0, new: ratio, factor: ratio, confidence }
    }

    #[test]
    fn a_condition_fails_only_with_confidence() {
        let condition: RatioCondition = "p99>1.1x".parse().unwrap();
        for (result, judged) in [
            (Some(ratio(1.05, Some((0.9, 1.3)))), Judged::Broken),
            (Some(ratio(1.2, Some((1.0, 1.4)))), Judged::Unsure),
            (Some(ratio(1.2, Some((1.15, 1.4)))), Judged::Holds),
            (Some(ratio(1.2, None)), Judged::Holds),
            (None, Judged::Unknown),
        ] {
            assert_eq!(judge(&condition, result.as_ref()), judged, "{result:?}");
        }
    }

    fn sample(latency: impl Fn(usize) -> u64) -> Sample {
        let counts = (0..100).map(|i| {
            let mut row = vec![0; BUCKETS];
            row[crate::output::buckets::bucket_of(latency(i))] = 1000;
            row
        });
        Sample { counts: counts.collect(), answered: vec![1000; 100], interval_ns: 100_000_000 }
    }

    #[test]
    fn figures_are_those_of_the_drawn_intervals() {
        let steady = sample(|_| 1_000_000);
        let all: Vec<usize> = (0..100).collect();
        assert!((steady.figure(&all, "rate").unwrap() - 10_000.0).abs() < 1e-6);
        let p99 = steady.figure(&all, "p99").unwrap();
        assert!((p99 / 1e6 - 1.0).abs() < 0.07, "{p99}");
        // Ten slow intervals of a hundred: they are the p99, and not the p50.
        let mixed = sample(|i| if i < 10 { 50_000_000 } else { 1_000_000 });
        assert!(mixed.figure(&all, "p99").unwrap() > 40e6 && mixed.figure(&all, "p50").unwrap() < 2e6);
        assert!(mixed.figure(&all[10..], "p99").unwrap() < 2e6);
        assert_eq!(mixed.figure(&all, "lost"), None);
    }
}
