//! The report as data: what is written as JSON, and what the page is made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::compare::{Row, Table};
use crate::contender::home;
use crate::metric::Metric;
use crate::target::{self, Outcome};

/// Everything that was found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The machine, in general words: name and value.
    pub(crate) machine: Vec<(String, String)>,
    /// The rivals' versions.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) cells: Vec<CellReport>,
    /// Targets that are about more than one cell.
    pub(crate) targets: Vec<Outcome>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellReport {
    pub(crate) name: String,
    /// It is about TLS.
    #[serde(default)]
    pub(crate) is_secure: bool,
    /// The first is the one whose ratios count.
    pub(crate) metrics: Vec<MetricReport>,
    pub(crate) servers: Vec<ServerReport>,
    pub(crate) targets: Vec<Outcome>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MetricReport {
    pub(crate) key: String,
    pub(crate) title: String,
}

/// What one server did in one cell; figures by the keys of the metrics.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    pub(crate) name: String,
    pub(crate) rounds: Vec<BTreeMap<String, f64>>,
    pub(crate) failure: Option<String>,
    pub(crate) medians: BTreeMap<String, f64>,
    /// The medians as a person reads them.
    pub(crate) shown: BTreeMap<String, String>,
    /// Median of the ratios of each round, of the first metric.
    pub(crate) to_floor: Option<f64>,
    pub(crate) ours_to_it: Option<f64>,
}

impl Report {
    pub(crate) fn new(tables: &[Table]) -> Self {
        Self {
            machine: machine(),
            versions: versions(),
            cells: tables.iter().map(CellReport::new).collect(),
            targets: target::across(tables),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Adds what another run found; of a cell that both measured, the later run counts.
    pub(crate) fn merge(&mut self, later: Self) {
        for cell in later.cells {
            match self.cells.iter_mut().find(|mine| mine.name == cell.name) {
                Some(mine) => *mine = cell,
                None => self.cells.push(cell),
            }
        }
        for outcome in later.targets {
            match self.targets.iter_mut().find(|mine| mine.target == outcome.target) {
                Some(mine) => *mine = outcome,
                None => self.targets.push(outcome),
            }
        }
    }
}

impl CellReport {
    fn new(table: &Table) -> Self {
        let metrics = table.cell.metrics();
        let server = |row: &Row| ServerReport {
            name: row.name.clone(),
            rounds: row.rounds.iter().flatten().map(|sample| by_key(sample.iter().copied())).collect(),
            failure: row.failure().map(Into::into),
            medians: by_key(metrics.iter().filter_map(|&metric| Some((metric, row.median(metric)?)))),
            shown: metrics
                .iter()
                .filter_map(|&metric| Some((metric.key.into(), metric.show(row.median(metric)?))))
                .collect(),
            to_floor: table.floor().and_then(|floor| row.ratio_to(floor, metrics[0])),
            ours_to_it: table.ours().and_then(|ours| ours.ratio_to(row, metrics[0])),
        };
        Self {
            name: table.cell.name.clone(),
            is_secure: table.cell.is_secure,
            metrics: metrics
                .iter()
                .map(|metric| MetricReport { key: metric.key.into(), title: metric.title.into() })
                .collect(),
            servers: table.rows.iter().map(server).collect(),
            targets: table.cell.targets.iter().map(|target| target.outcome(table)).collect(),
        }
    }
}

/// Figures that are numbers; JSON knows no others.
fn by_key(sample: impl Iterator<Item = (Metric, f64)>) -> BTreeMap<String, f64> {
    sample.filter(|(_, value)| value.is_finite()).map(|(metric, value)| (metric.key.into(), value)).collect()
}

/// What of the machine explains figures; nothing that names it.
fn machine() -> Vec<(String, String)> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib.div_ceil(1 << 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let cores = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = cores.lines().filter(|line| line.starts_with("cpu")).count().saturating_sub(1);
    vec![
        (
            "processor".into(),
            model.map_or_else(|| std::env::consts::ARCH.into(), |model| model.1.trim().into()),
        ),
        ("cores".into(), format!("{cores}, one for the server and one for the generator")),
        ("memory".into(), format!("{gib} GiB")),
        ("kernel".into(), format!("Linux {kernel}, loopback")),
    ]
}

/// What stands in Cargo.lock and package.json.
fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let lock = fs::read_to_string(home().join("Cargo.lock")).unwrap_or_default();
    let lines: Vec<&str> = lock.lines().collect();
    for name in [
        "mio",
        "fastwebsockets",
        "sockudo-ws",
        "tokio-tungstenite",
        "tokio",
        "hyper",
        "rustls",
        "tokio-rustls",
        "aws-lc-rs",
    ] {
        let at = lines.iter().position(|line| *line == format!("name = \"{name}\""));
        let version = at.and_then(|at| lines.get(at + 1)?.split('"').nth(1));
        versions.extend(version.map(|version| (name.to_owned(), version.to_owned())));
    }
    let package = fs::read_to_string(home().join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&package).unwrap_or_default();
    for name in ["bun", "ws"] {
        let version = package["dependencies"][name].as_str();
        versions.extend(version.map(|version| (name.to_owned(), version.to_owned())));
    }
    versions
}
