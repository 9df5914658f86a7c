//! The machine and the build of a run. Figures of different machines cannot be compared.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine and the build of a run. A field is `None` if the system does not report it.
///
/// # Examples
/// ```
/// use heapledger::validation::MachineInfo;
/// assert!(MachineInfo::read().cores >= 1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Number of cores available to this process.
    pub cores: usize,
    /// Processor quota of the control group, in cores.
    pub quota_cores: Option<f64>,
    /// Processor model.
    pub cpu: Option<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Clock source of the kernel.
    pub clock_source: Option<String>,
    /// Load average of the machine over the last minute.
    pub load_average: Option<f64>,
    /// Whether the build is optimised.
    pub optimised: bool,
    /// Version of heapledger.
    pub version: String,
}

impl MachineInfo {
    /// Reads the description of this machine.
    pub fn read() -> Self {
        let line =
            |path: &str| fs::read_to_string(path).ok().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty());
        let model = |text: String| {
            let name = text.lines().find(|l| l.starts_with("model name"))?;
            Some(name.split_once(':')?.1.trim().to_owned())
        };
        let quota = |text: String| {
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        };
        Self {
            cores: cores(),
            quota_cores: line("/sys/fs/cgroup/cpu.max").and_then(quota),
            cpu: line("/proc/cpuinfo").and_then(model),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: line("/proc/sys/kernel/osrelease"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load_average: line("/proc/loadavg").and_then(|l| l.split(' ').next()?.parse().ok()),
            optimised: !cfg!(debug_assertions),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns a description in one line, for a report.
    pub(super) fn in_words(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("unknown processor");
        let build = if self.optimised { "optimised" } else { "not optimised" };
        format!("{} cores, {cpu}, {}, {build}", self.cores, self.system)
    }
}

/// Returns the number of cores available to this process; 1 if unknown.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the busy time of all cores since boot in nanoseconds, from `/proc/stat` (user to steal, without idle and
/// iowait).
pub(super) fn busy_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let fields: Vec<u64> = fields.collect::<Result<_, _>>().ok()?;
    let &[user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields.as_slice() else {
        return None;
    };
    // The unit of this file is 10 ms on every Linux.
    Some((user + nice + system + irq + softirq + steal) * 10_000_000)
}
