//! Where the figures come from: a number without its machine cannot be compared with another.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine and the build that measured. `None` where the system does not tell.
///
/// # Examples
/// ```
/// use heapledger::validation::MachineInfo;
/// assert!(MachineInfo::read().cores >= 1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Cores that this process may use.
    pub cores: usize,
    /// Processor time that the control group allows, in cores.
    pub quota_cores: Option<f64>,
    /// The processor's name.
    pub cpu: Option<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Kernel release.
    pub kernel: Option<String>,
    /// The frequency governor of the first core.
    pub governor: Option<String>,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
    /// Mean number of runnable threads over the last minute, of the whole machine.
    pub load_average: Option<f64>,
    /// Whether this build is optimised.
    pub optimised: bool,
    /// The program's version.
    pub version: String,
}

impl MachineInfo {
    /// Reads what the system tells.
    pub fn read() -> Self {
        let line =
            |path: &str| fs::read_to_string(path).ok().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty());
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let name = text.lines().find(|l| l.starts_with("model name"))?;
            Some(name.split_once(':')?.1.trim().to_owned())
        });
        let quota_cores = line("/sys/fs/cgroup/cpu.max").and_then(|text| {
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
        Self {
            cores: cores(),
            quota_cores,
            cpu,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: line("/proc/sys/kernel/osrelease"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load_average: line("/proc/loadavg").and_then(|l| l.split(' ').next()?.parse().ok()),
            optimised: !cfg!(debug_assertions),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Cores that this process may use; 1 when unknown.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Busy time of all cores since boot, in nanoseconds, from `/proc/stat` (user to steal, without idle and iowait).
pub(super) fn busy_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let mut fields = text.lines().next()?.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let mut field = || fields.next()?.ok();
    let (user, nice, system) = (field()?, field()?, field()?);
    let (_idle, _iowait) = (field()?, field()?);
    let (irq, softirq, steal) = (field()?, field()?, field()?);
    // A tick of this file is a hundredth of a second on every Linux.
    Some((user + nice + system + irq + softirq + steal) * 10_000_000)
}
