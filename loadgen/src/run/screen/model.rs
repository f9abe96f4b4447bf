//! What the screen shows: figures, curves and a heat map over the whole run, in bounded memory. Pure.

use console::{StyledObject, style};

use crate::clock::steering::Steering;
use crate::clock::{Nanos, SECOND};
use crate::output::bars::curve;
use crate::output::buckets::{OCTAVES, octave_bound};
use crate::output::figures::{Time, grouped, mebibytes, per_second, rate};
use crate::output::process::Usage;
use crate::run::shared::Snapshot;

/// Limit on the columns. When it is reached, each two of them become one.
const MAX_COLUMNS: usize = 120;
/// Characters before a curve or a row of the heat map.
const MARGIN: usize = 14;
/// Lines besides the heat map.
const OTHER_LINES: usize = 11;
/// The share of a cell in its column, from none to all.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// What does not change during the run.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) title: String,
    /// Warm-up and measurement.
    pub(super) length: Nanos,
    /// Planned events per second, if they are constant.
    pub(super) rate: Option<f64>,
    pub(super) is_open: bool,
    /// What the rate counts.
    pub(super) counts: &'static str,
}

/// A part of the run.
#[derive(Debug, Clone, Copy)]
struct Column {
    lasted: Nanos,
    answered: u64,
    /// The highest of its p99.
    p99: Nanos,
    latencies: [u64; OCTAVES],
}

impl Column {
    fn add(&mut self, other: &Self) {
        self.lasted += other.lasted;
        self.answered += other.answered;
        self.p99 = self.p99.max(other.p99);
        self.latencies.iter_mut().zip(&other.latencies).for_each(|(mine, theirs)| *mine += theirs);
    }

    fn rate(&self) -> f64 {
        per_second(self.answered, self.lasted)
    }

    /// The rate without its fraction, for a curve.
    #[expect(clippy::cast_sign_loss, reason = "a rate is not negative")]
    fn whole_rate(&self) -> u64 {
        self.rate() as u64
    }
}

/// The figures of a run so far.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) facts: Facts,
    columns: Vec<Column>,
    /// Snapshots in a column, and in the last one.
    per_column: u32,
    in_last: u32,
    last: (Nanos, Snapshot),
    /// The rate between the last two snapshots.
    rate: f64,
}

impl Model {
    pub(super) fn new(facts: Facts) -> Self {
        let last = (0, Snapshot::default());
        Self { facts, columns: Vec::with_capacity(MAX_COLUMNS), per_column: 1, in_last: 0, last, rate: 0.0 }
    }

    /// Adds a snapshot.
    #[expect(clippy::cast_sign_loss, reason = "latencies are not negative")]
    pub(super) fn push(&mut self, now: Nanos, snapshot: &Snapshot) {
        let (since, before) = &self.last;
        let mut latencies = [0; OCTAVES];
        for (i, difference) in latencies.iter_mut().enumerate() {
            *difference = snapshot.latencies[i].saturating_sub(before.latencies[i]);
        }
        let (answered, p99) = (snapshot.answered.saturating_sub(before.answered), snapshot.p99 as Nanos);
        let column = Column { lasted: now.saturating_sub(*since), answered, p99, latencies };
        self.rate = column.rate();
        self.last = (now, *snapshot);
        if snapshot.phase.sends() {
            self.append(&column);
        }
    }

    fn append(&mut self, column: &Column) {
        match self.columns.last_mut() {
            Some(last) if self.in_last < self.per_column => {
                last.add(column);
                self.in_last += 1;
            }
            _ => {
                if self.columns.len() == MAX_COLUMNS {
                    self.merge_pairs();
                }
                self.columns.push(*column);
                self.in_last = 1;
            }
        }
    }

    fn merge_pairs(&mut self) {
        self.columns = self
            .columns
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0];
                pair[1..].iter().for_each(|other| sum.add(other));
                sum
            })
            .collect();
        self.per_column *= 2;
    }

    /// The lines of the screen. `usages`: of the generator and of the server.
    pub(super) fn lines(
        &self,
        now: Nanos,
        steering: &Steering,
        usages: [Option<Usage>; 2],
        (height, width): (usize, usize),
    ) -> Vec<String> {
        let shown = &self.columns[self.columns.len().saturating_sub(width.saturating_sub(MARGIN))..];
        let mut lines = vec![on_stderr(style(&self.facts.title)).bold().to_string()];
        lines.push(self.phase_line(now, steering));
        lines.extend(self.count_lines());
        lines.push(self.rate_line(steering));
        let rates: Vec<u64> = shown.iter().map(Column::whole_rate).collect();
        lines.push(format!("{:<MARGIN$}{}", "", on_stderr(style(curve(&rates))).cyan()));
        lines.push(self.latency_line());
        let p99s: Vec<u64> = shown.iter().map(|column| column.p99).collect();
        lines.push(format!("{:<MARGIN$}{}", "  p99", on_stderr(style(curve(&p99s))).magenta()));
        lines.push(usage_line(usages));
        let each = shown.iter().map(|column| column.lasted).max().unwrap_or(0);
        lines.push(format!("over time     a column is {}", Time(each)));
        lines.extend(heat(shown, height.saturating_sub(OTHER_LINES)));
        let steers = if self.facts.is_open { "   +/- rate" } else { "" };
        lines.push(on_stderr(style(format!("keys          p pause{steers}   q quit"))).dim().to_string());
        lines
    }

    fn phase_line(&self, now: Nanos, steering: &Steering) -> String {
        let (_, snapshot) = &self.last;
        let (seconds, of) = (now / SECOND, self.facts.length / SECOND);
        let paused = if steering.is_paused() {
            format!("  {}", on_stderr(style("PAUSED")).yellow().bold())
        } else {
            String::new()
        };
        format!("phase         {}, {seconds} s (planned: {of} s of messages){paused}", snapshot.phase.name())
    }

    fn count_lines(&self) -> [String; 2] {
        let (_, Snapshot { open, sent, answered, faults, failures, .. }) = &self.last;
        let wrong = |count: u64| {
            let text = on_stderr(style(grouped(count)));
            if count > 0 { text.red() } else { text.green() }
        };
        let (open, sent, answered) = (grouped(*open), grouped(*sent), grouped(*answered));
        [
            format!("connections   {open} open, {} failed", wrong(*failures)),
            format!("messages      {sent} sent, {answered} answered, {} wrong", wrong(*faults)),
        ]
    }

    fn rate_line(&self, steering: &Steering) -> String {
        let percent = steering.speed() * 100.0;
        let wanted = match self.facts.rate {
            Some(planned) => {
                format!("   wanted {}/s, {percent:.0} % of the plan", rate(planned * steering.speed()))
            }
            None if self.facts.is_open => format!("   {percent:.0} % of the plan"),
            None => String::new(),
        };
        format!("throughput    {} {}/s{wanted}", rate(self.rate), self.facts.counts)
    }

    #[expect(clippy::cast_sign_loss, reason = "latencies are not negative")]
    fn latency_line(&self) -> String {
        let (_, snapshot) = &self.last;
        let values =
            [("p50", snapshot.p50), ("p90", snapshot.p90), ("p99", snapshot.p99), ("p99.9", snapshot.p999)];
        let values = values.map(|(name, value)| format!("{name} {}", Time(value as Nanos)));
        format!("latency now   {}", values.join("  "))
    }
}

/// Processor time and memory.
fn usage_line([generator, server]: [Option<Usage>; 2]) -> String {
    let one = |name: &str, usage: Usage| {
        format!("{name} {:.2} cores, {:.1} MiB", usage.cores, mebibytes(usage.rss_bytes))
    };
    let generator = generator.map(|usage| one("generator", usage));
    let server = server.map(|usage| one("server", usage));
    let both: Vec<String> = generator.into_iter().chain(server).collect();
    format!("processor     {}", both.join("   "))
}

/// A row for each octave of the latency, the longest first, and a column for each part of the run. If there are more octaves
/// than `rows`, the shortest share the last row.
fn heat(columns: &[Column], rows: usize) -> Vec<String> {
    let is_used = |octave: &usize| columns.iter().any(|column| column.latencies[*octave] > 0);
    let (Some(low), Some(high)) = ((0..OCTAVES).find(is_used), (0..OCTAVES).rev().find(is_used)) else {
        return Vec::new();
    };
    let lowest = low.max((high + 1).saturating_sub(rows.max(1)));
    let row = |octave: usize| {
        let cells = columns.iter().map(|column| {
            let most = column.latencies.iter().copied().max().unwrap_or(0).max(1);
            let from = if octave == lowest { low } else { octave };
            let count: u64 = column.latencies[from..=octave].iter().sum();
            // Whatever happened is seen.
            let shade = (u128::from(count) * 4).div_ceil(u128::from(most)).min(4) as usize;
            SHADES[shade]
        });
        let bound = format!("< {}", Time(octave_bound(octave + 1)));
        format!("{bound:<MARGIN$}{}", on_stderr(style(cells.collect::<String>())).yellow())
    };
    (lowest..=high).rev().map(row).collect()
}

/// Colours as stderr has them: the screen is there.
fn on_stderr<D>(text: StyledObject<D>) -> StyledObject<D> {
    text.for_stderr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::schedule::Phase;

    fn facts(rate: Option<f64>) -> Facts {
        let title = "loadgen echo  ws://h/".to_owned();
        Facts { title, length: 10 * SECOND, rate, is_open: rate.is_some(), counts: "msgs" }
    }

    fn snapshot(answered: u64, octave: usize, count: u64) -> Snapshot {
        let mut snapshot = Snapshot { phase: Phase::Measuring, answered, ..Snapshot::default() };
        snapshot.latencies[octave] = count;
        snapshot
    }

    fn plain(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| console::strip_ansi_codes(line).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_screen_has_figures_curves_and_a_heat_map() {
        let mut model = Model::new(facts(Some(1000.0)));
        model.push(0, &Snapshot::default());
        for k in 1..=3 {
            // The latency of the third part is eight times as long.
            let octave = if k == 3 { 16 } else { 13 };
            let mut snapshot = snapshot(k * 100, 13, 100 * k.min(2));
            if k == 3 {
                snapshot.latencies[octave] = 100;
            }
            model.push(k * SECOND / 4, &snapshot);
        }
        let steering = Steering::default();
        let usage = Usage { cores: 0.5, rss_bytes: 3 << 20 };
        let lines = plain(&model.lines(SECOND, &steering, [None, Some(usage)], (24, 80)));
        let expected = [
            "loadgen echo  ws://h/",
            "phase         measuring, 1 s (planned: 10 s of messages)",
            "connections   0 open, 0 failed",
            "messages      0 sent, 300 answered, 0 wrong",
            "throughput    400 msgs/s   wanted 1,000/s, 100 % of the plan",
            "              ███",
            "latency now   p50 0.00 us  p90 0.00 us  p99 0.00 us  p99.9 0.00 us",
            "  p99         ▁▁▁",
            "processor     server 0.50 cores, 3.0 MiB",
            "over time     a column is 250 ms",
            "< 16.8 ms       █",
            "< 8.39 ms",
            "< 4.19 ms",
            "< 2.10 ms     ██",
            "keys          p pause   +/- rate   q quit",
        ];
        assert_eq!(lines, expected);
        steering.pause_or_resume(SECOND);
        let lines = plain(&model.lines(SECOND, &steering, [None; 2], (12, 80)));
        assert!(
            lines[1].ends_with("PAUSED") && lines[4].ends_with("wanted 0/s, 0 % of the plan"),
            "{lines:?}"
        );
        // In a low terminal the short latencies share a row.
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("< ")).collect::<Vec<_>>(),
            ["< 16.8 ms     ███"]
        );
    }

    #[test]
    fn hours_have_no_more_columns_than_seconds() {
        let mut model = Model::new(facts(None));
        for k in 0..10_000 {
            model.push(k * SECOND / 4, &snapshot(k, 10, k));
        }
        assert!(model.columns.len() <= MAX_COLUMNS && model.columns.len() >= MAX_COLUMNS / 2);
        assert_eq!(model.columns.iter().map(|column| column.answered).sum::<u64>(), 9999);
        let lasted: Nanos = model.columns.iter().map(|column| column.lasted).sum();
        assert_eq!(lasted, 9999 * SECOND / 4);
        assert!(!plain(&model.lines(0, &Steering::default(), [None; 2], (24, 80))).concat().contains("rate"));
    }
}
