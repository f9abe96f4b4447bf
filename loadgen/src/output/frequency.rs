//! The clock frequency of this machine's processors during a run, as far as the kernel tells it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A clock that falls below this share of its highest frequency may distort the figures.
const MUCH: f64 = 0.9;
/// One of this many samples is taken: to ask for the frequency may interrupt the processor.
const EACH: u32 = 10;

/// The lowest and the highest frequency of any processor in the window, in megahertz.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frequency {
    pub(crate) min_mhz: f64,
    pub(crate) max_mhz: f64,
}

impl Frequency {
    /// Of both.
    pub(crate) fn merge(self, other: Self) -> Self {
        Self { min_mhz: self.min_mhz.min(other.min_mhz), max_mhz: self.max_mhz.max(other.max_mhz) }
    }

    /// Whether it changed so much that it may distort the figures.
    pub(crate) fn is_unsteady(self) -> bool {
        self.min_mhz < self.max_mhz * MUCH
    }

    fn of(mhz: f64) -> Option<Self> {
        (mhz.is_finite() && mhz > 0.0).then_some(Self { min_mhz: mhz, max_mhz: mhz })
    }
}

/// Takes samples in the window. Each but the first does without allocations.
#[derive(Debug)]
pub(crate) struct Frequencies {
    /// `/sys/devices/system/cpu/cpuN/cpufreq/scaling_cur_freq`, as far as they are there
    scaling: Vec<PathBuf>,
    /// `/proc/cpuinfo`
    cpuinfo: PathBuf,
    text: String,
    samples: u32,
    seen: Option<Frequency>,
}

impl Default for Frequencies {
    fn default() -> Self {
        Self::from(Path::new("/sys/devices/system/cpu"), Path::new("/proc/cpuinfo"))
    }
}

impl Frequencies {
    fn from(cpus: &Path, cpuinfo: &Path) -> Self {
        let cpus = fs::read_dir(cpus).into_iter().flatten().flatten();
        let scaling =
            cpus.map(|cpu| cpu.path().join("cpufreq/scaling_cur_freq")).filter(|path| path.exists());
        let (scaling, cpuinfo) = (scaling.collect(), cpuinfo.to_owned());
        Self { scaling, cpuinfo, text: String::new(), samples: 0, seen: None }
    }

    /// Takes a sample within the window, or leaves it to a later one.
    pub(crate) fn sample(&mut self) {
        if self.samples.is_multiple_of(EACH)
            && let Some(now) = self.scaling().or_else(|| self.described())
        {
            self.seen = Some(self.seen.map_or(now, |seen| seen.merge(now)));
        }
        self.samples += 1;
    }

    /// What was seen; `None`: the kernel does not tell.
    pub(crate) fn seen(&self) -> Option<Frequency> {
        self.seen
    }

    /// In kilohertz.
    fn scaling(&mut self) -> Option<Frequency> {
        let Self { scaling, text, .. } = self;
        let frequencies = scaling.iter().filter_map(|path| {
            read(path, text)?;
            Frequency::of(text.trim().parse::<f64>().ok()? / 1e3)
        });
        frequencies.reduce(Frequency::merge)
    }

    /// The lines `cpu MHz`.
    fn described(&mut self) -> Option<Frequency> {
        read(&self.cpuinfo, &mut self.text)?;
        let frequencies = self.text.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.trim() == "cpu MHz" { Frequency::of(value.trim().parse().ok()?) } else { None }
        });
        frequencies.reduce(Frequency::merge)
    }
}

fn read(path: &Path, text: &mut String) -> Option<()> {
    text.clear();
    File::open(path).ok()?.read_to_string(text).ok().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn scaling(cpus: &Path, cpu: &str, khz: &str) {
        fs::create_dir_all(cpus.join(cpu).join("cpufreq")).unwrap();
        fs::write(cpus.join(cpu).join("cpufreq/scaling_cur_freq"), khz).unwrap();
    }

    /// Takes as many samples as one that counts needs.
    fn sampled(frequencies: &mut Frequencies) -> Option<Frequency> {
        (0..EACH).for_each(|_| frequencies.sample());
        frequencies.seen()
    }

    #[test]
    fn the_frequency_is_the_one_of_the_kernel_and_its_bounds_are_those_of_the_run() {
        let directory = scratch("cpufreq");
        let (cpus, cpuinfo) = (directory.join("cpu"), directory.join("cpuinfo"));
        let mut frequencies = Frequencies::from(&cpus, &cpuinfo);
        assert_eq!(sampled(&mut frequencies), None, "nothing tells it");
        fs::write(&cpuinfo, "processor\t: 0\nmodel name\t: x\nprocessor\t: 1\n").unwrap();
        assert_eq!(sampled(&mut frequencies), None, "as on many machines for ARM");
        fs::write(&cpuinfo, "cpu MHz\t\t: 2100.250\ncpu MHz\t\t: 2600.000\nbogomips\t: 5\n").unwrap();
        let described = Frequency { min_mhz: 2100.25, max_mhz: 2600.0 };
        assert_eq!(sampled(&mut frequencies), Some(described));
        assert!(described.is_unsteady() && !Frequency { min_mhz: 2400.0, ..described }.is_unsteady());
        // What scales the frequency knows it better.
        scaling(&cpus, "cpu0", "3000000\n");
        scaling(&cpus, "cpu1", "2900000\n");
        scaling(&cpus, "cpufreq", "<unknown>\n");
        let mut frequencies = Frequencies::from(&cpus, &cpuinfo);
        assert_eq!(sampled(&mut frequencies), Some(Frequency { min_mhz: 2900.0, max_mhz: 3000.0 }));
        scaling(&cpus, "cpu1", "800000\n");
        assert_eq!(sampled(&mut frequencies), Some(Frequency { min_mhz: 800.0, max_mhz: 3000.0 }));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn numbers_that_are_no_frequency_are_left_out() {
        let directory = scratch("mhz");
        let cpuinfo = directory.join("cpuinfo");
        for text in ["cpu MHz : 0.000", "cpu MHz : nan", "cpu MHz : -5", "cpu MHz : x", "cpu MHz 5"] {
            fs::write(&cpuinfo, text).unwrap();
            let mut frequencies = Frequencies::from(&directory, &cpuinfo);
            assert_eq!(sampled(&mut frequencies), None, "{text}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
