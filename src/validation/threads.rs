//! Processor time and context switches of a run's threads, from `/proc`.

use std::fs::{self, File};

use serde::{Deserialize, Serialize};

use super::probe::{Schedstat, read_schedstat};

/// Figures of one operating-system thread of a run, from the start to the end of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OsThreadStats {
    /// Thread id in the kernel.
    pub tid: u64,
    /// Thread name.
    pub name: String,
    /// Processor time, in milliseconds.
    pub cpu_ms: f64,
    /// Time during which the thread was runnable without a core, in milliseconds.
    pub run_queue_ms: f64,
    /// Number of voluntary context switches.
    pub voluntary_switches: u64,
    /// Number of involuntary context switches.
    pub involuntary_switches: u64,
}

/// The threads whose names begin with a prefix, with their times at the start of the run.
pub(super) struct ThreadTimes(Vec<(u64, String, File, Schedstat, [u64; 2])>);

impl ThreadTimes {
    pub fn begin(prefix: &str) -> Self {
        let mut threads = Vec::new();
        for tid in thread_ids() {
            let Some(name) = name_of(tid).filter(|name| name.starts_with(prefix)) else { continue };
            let Ok(file) = File::open(format!("/proc/self/task/{tid}/schedstat")) else { continue };
            let now = read_schedstat(&file).unwrap_or_default();
            threads.push((tid, name, file, now, switches(tid)));
        }
        threads.sort_by_key(|t| t.0);
        Self(threads)
    }

    pub fn end(self) -> Vec<OsThreadStats> {
        let ended = |(tid, name, file, then, switched): (u64, String, File, Schedstat, [u64; 2])| {
            let now = read_schedstat(&file)?;
            let switches = switches(tid);
            Some(OsThreadStats {
                tid,
                // The name is read again, because a thread that had just started had the name of its parent.
                name: name_of(tid).unwrap_or(name),
                cpu_ms: now.cpu_ns.saturating_sub(then.cpu_ns) as f64 / 1e6,
                run_queue_ms: now.run_delay_ns.saturating_sub(then.run_delay_ns) as f64 / 1e6,
                voluntary_switches: switches[0].saturating_sub(switched[0]),
                involuntary_switches: switches[1].saturating_sub(switched[1]),
            })
        };
        self.0.into_iter().filter_map(ended).collect()
    }
}

/// Returns the number of threads whose names begin with `prefix`.
pub(super) fn running(prefix: &str) -> usize {
    thread_ids().filter_map(name_of).filter(|name| name.starts_with(prefix)).count()
}

fn thread_ids() -> impl Iterator<Item = u64> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn name_of(tid: u64) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?.trim().to_owned())
}

/// Returns the numbers of voluntary and of involuntary context switches.
fn switches(tid: u64) -> [u64; 2] {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap_or_default();
    ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(|name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
    })
}
