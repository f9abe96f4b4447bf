//! Processor time that the hypervisor gave to other machines while this one wanted it (steal, proc(5)).

use std::fs;

use super::figures::share;

/// More than this share of all processor time may distort the figures.
pub(crate) const MUCH: f64 = 0.01;

/// Counters of `/proc/stat` at one instant, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    steal: u64,
    all: u64,
}

/// The counters at the start and at the end of the window.
#[derive(Debug, Default)]
pub(crate) struct Steal {
    first: Option<Times>,
    last: Option<Times>,
}

impl Steal {
    /// Takes a sample within the window.
    pub(crate) fn sample(&mut self) {
        self.last = fs::read_to_string("/proc/stat").ok().and_then(|stat| parse(&stat));
        self.first = self.first.or(self.last);
    }

    /// The share of all processor time in the window; `None`: the system does not report it.
    pub(crate) fn share(&self) -> Option<f64> {
        let (first, last) = (self.first?, self.last?);
        let (steal, all) = (last.steal.saturating_sub(first.steal), last.all.saturating_sub(first.all));
        (all > 0).then(|| share(steal, all))
    }
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal. Those behind are parts of user and nice.
fn parse(stat: &str) -> Option<Times> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Times { steal: *times.get(7)?, all: times.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_window() {
        let at = |steal: u64| parse(&format!("cpu  10 0 10 {} 0 0 0 {steal} 5 5\ncpu0 1\n", 180 - steal));
        assert_eq!(at(20), Some(Times { steal: 20, all: 200 }));
        let steal = Steal { first: parse("cpu  0 0 0 100 0 0 0 0 0 0"), last: at(20) };
        assert!((steal.share().unwrap() - 0.2).abs() < 1e-9, "{steal:?}");
        assert_eq!(Steal::default().share(), None);
        for other in ["", "cpu0 1 2 3", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
