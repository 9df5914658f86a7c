//! The triggers of dumps while the process runs: limits of the heap, and memory pressure in the control group.
//!
//! [`TriggerRules`] take readings, and return one trigger or none. They use no clock and no file. The background thread
//! takes a reading ten times a second. Events of the last few milliseconds may not be booked yet, and are then missing
//! from the reading. Another thread writes the dump, so that booking continues while the dump is written.

use std::fs;

use crate::profile::{DumpTrigger, Triggers};

/// Time over which growth is measured, in nanoseconds.
const GROWTH_NS: u64 = 1_000_000_000;
/// Maximum number of readings kept of the last second. The oldest are dropped first.
const READINGS_MAX: usize = 64;
/// Divisor of the hysteresis. After live bytes have exceeded a limit, they must fall to 7/8 of the limit before they
/// can trigger again. A new peak must exceed the peak that triggered last by 1/8.
const HYSTERESIS_PARTS: u64 = 8;
/// Divisor of the time between two readings. If tasks waited for memory for more than the quotient, there is pressure.
const STALL_SHARE: u64 = 10;
/// Divisor of the limit of a control group. The group has met its limit if no more than the quotient is unused.
const LIMIT_SHARE: u64 = 64;

/// The figures of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) at_ns: u64,
    pub(super) live_bytes: u64,
    pub(super) peak_bytes: u64,
    pub(super) lost: u64,
    pub(super) pressure: Pressure,
}

/// The memory counters of the control group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    /// Number of times that a limit was met.
    events: u64,
    /// Time in which some task waited for memory, in nanoseconds.
    stalled_ns: u64,
}

/// Decides which readings trigger a dump.
#[derive(Debug)]
pub(super) struct TriggerRules {
    wanted: Triggers,
    /// Time at which the last dump was triggered, in nanoseconds, or `None` before the first one.
    last_ns: Option<u64>,
    /// Whether live bytes rose above the limit and have not fallen below it by the hysteresis since.
    is_above: bool,
    /// The peak that triggered the last dump for a new peak, in bytes.
    peak_dumped: u64,
    before: Option<Reading>,
    /// Time and live bytes of each reading of the last second, oldest first.
    recent: Vec<(u64, u64)>,
    /// A trigger that was found too soon after the last dump. It fires at the end of the pause.
    due: Option<DumpTrigger>,
}

impl TriggerRules {
    pub(super) fn new(wanted: Triggers) -> TriggerRules {
        let mut recent = Vec::with_capacity(READINGS_MAX);
        // When the ledger was opened, there were no live bytes and no losses.
        recent.push((0, 0));
        TriggerRules {
            wanted,
            last_ns: None,
            is_above: false,
            peak_dumped: 0,
            before: None,
            recent,
            due: None,
        }
    }

    /// Takes the next reading and returns the trigger that fires. If several triggers apply, the first in the order of
    /// [`DumpTrigger`] fires. If the pause after the last dump is not over, the trigger fires at the end of the pause.
    pub(super) fn check(&mut self, now: Reading) -> Option<DumpTrigger> {
        let found = self.find(now);
        self.due = self.due.or(found);
        let is_time = self.last_ns.is_none_or(|last| now.at_ns.saturating_sub(last) >= self.wanted.pause_ns);
        let fired = self.due.filter(|_| is_time)?;
        self.due = None;
        self.last_ns = Some(now.at_ns);
        if fired == DumpTrigger::NewPeak {
            self.peak_dumped = now.peak_bytes;
        }
        Some(fired)
    }

    fn find(&mut self, now: Reading) -> Option<DumpTrigger> {
        // The counters of the control group may be above 0 at the start of the process.
        let start = Reading { pressure: now.pressure, ..Reading::default() };
        let before = self.before.replace(now).unwrap_or(start);
        let crossed = self.crosses_limit(now.live_bytes);
        let grew = self.grows(now);
        let wanted = &self.wanted;
        let higher = now.peak_bytes > self.peak_dumped.saturating_add(self.peak_dumped / HYSTERESIS_PARTS);
        // A peak is known once the live bytes no longer exceed it. While the live bytes rise, each moment is a new
        // peak.
        let peaked = wanted.new_peak && higher && now.peak_bytes == before.peak_bytes && now.peak_bytes > 0;
        let lost = wanted.loss && now.lost > before.lost;
        let passed_ns = now.at_ns.saturating_sub(before.at_ns);
        let stalled_ns = now.pressure.stalled_ns.saturating_sub(before.pressure.stalled_ns);
        let is_stalled = stalled_ns > passed_ns / STALL_SHARE && passed_ns > 0;
        let pressed = wanted.memory_pressure && (now.pressure.events > before.pressure.events || is_stalled);
        let found = [
            (crossed, DumpTrigger::LiveBytes),
            (grew, DumpTrigger::Growth),
            (peaked, DumpTrigger::NewPeak),
            (lost, DumpTrigger::Loss),
            (pressed, DumpTrigger::MemoryPressure),
        ];
        found.into_iter().find(|(is_so, _)| *is_so).map(|(_, trigger)| trigger)
    }

    fn crosses_limit(&mut self, live_bytes: u64) -> bool {
        let Some(limit) = self.wanted.live_bytes else { return false };
        let was_above = self.is_above;
        if live_bytes > limit {
            self.is_above = true;
        } else if live_bytes <= limit - limit / HYSTERESIS_PARTS {
            self.is_above = false;
        }
        self.is_above && !was_above
    }

    fn grows(&mut self, now: Reading) -> bool {
        let Some(limit) = self.wanted.growth_bytes else { return false };
        self.recent.retain(|(at_ns, _)| now.at_ns.saturating_sub(*at_ns) <= GROWTH_NS);
        if self.recent.len() >= READINGS_MAX {
            self.recent.remove(0);
        }
        self.recent.push((now.at_ns, now.live_bytes));
        let lowest = self.recent.iter().map(|(_, live_bytes)| *live_bytes).min().unwrap_or(now.live_bytes);
        let grew = now.live_bytes - lowest >= limit;
        if grew {
            // The readings are cleared, so that the same growth triggers only once.
            self.recent.clear();
            self.recent.push((now.at_ns, now.live_bytes));
        }
        grew
    }
}

/// The control group of this process.
#[derive(Debug)]
pub(super) struct ControlGroup {
    /// Source of the counts of met limits.
    events: Option<Limits>,
    /// Path of the file with the time for which tasks waited for memory.
    stalls: Option<String>,
}

/// Source of the counts of how often a control group met a limit.
#[derive(Debug)]
enum Limits {
    /// Version 2: path of a file with counts by name.
    Named(String),
    /// Version 1: path of the directory of the group.
    Older(String),
}

impl ControlGroup {
    /// Finds the control group of the process below `root`, the directory of all groups. `membership` is the text of
    /// `/proc/self/cgroup`, which names the group. Returns `None` if no file of the group can be read.
    pub(super) fn find(membership: &str, root: &str) -> Option<ControlGroup> {
        let path_of = |controller: &str| {
            membership.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (controllers, path) = (fields.next()?, fields.next()?);
                controllers.split(',').any(|name| name == controller).then(|| path.trim_end_matches('/'))
            })
        };
        let is_readable = |path: &String| fs::read_to_string(path).is_ok();
        let unified = path_of("").map(|path| [format!("{root}{path}"), root.to_owned()]);
        let in_unified =
            |name: &str| unified.iter().flatten().map(|group| format!("{group}/{name}")).find(is_readable);
        let older = || {
            let path = path_of("memory")?;
            let groups = [format!("{root}/memory{path}"), format!("{root}/memory")];
            groups.into_iter().find(|group| is_readable(&format!("{group}/memory.failcnt")))
        };
        let events = in_unified("memory.events").map(Limits::Named).or_else(|| older().map(Limits::Older));
        let stalls = in_unified("memory.pressure");
        (events.is_some() || stalls.is_some()).then_some(ControlGroup { events, stalls })
    }

    pub(super) fn of_this_process() -> Option<ControlGroup> {
        ControlGroup::find(&fs::read_to_string("/proc/self/cgroup").ok()?, "/sys/fs/cgroup")
    }

    pub(super) fn read(&self) -> Pressure {
        let text = |path: &String| fs::read_to_string(path).unwrap_or_default();
        let events = match &self.events {
            Some(Limits::Named(path)) => times_limited(&text(path)),
            Some(Limits::Older(group)) => times_limited_in(group),
            None => 0,
        };
        let stalled_ns = self.stalls.as_ref().map_or(0, |path| stalled_ns(&text(path)));
        Pressure { events, stalled_ns }
    }
}

/// Returns the number of times that a group of version 1 met a limit, plus one if its highest memory use has reached
/// the limit. The addition is needed because recent kernels do not count the limit if memory and swap together have the
/// same limit.
fn times_limited_in(group: &str) -> u64 {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("{group}/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let counted = ["memory.failcnt", "memory.memsw.failcnt"].into_iter().filter_map(number);
    // The peak may be below the limit, because one allocation may ask for more than the rest of the limit.
    let peak = number("memory.max_usage_in_bytes").zip(number("memory.limit_in_bytes"));
    let is_met = peak.is_some_and(|(peak, limit)| peak >= limit - limit / LIMIT_SHARE);
    counted.fold(u64::from(is_met), u64::saturating_add)
}

/// Returns the number of times that a limit was met, from the text of `memory.events`.
fn times_limited(text: &str) -> u64 {
    let counted = text.lines().filter_map(|line| line.split_once(' '));
    let limits = counted.filter(|(name, _)| matches!(*name, "high" | "max" | "oom"));
    limits.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// Returns the time for which some task waited for memory, in nanoseconds, from the text of `memory.pressure`, which
/// has microseconds.
fn stalled_ns(text: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with("some "));
    let total = line.and_then(|line| line.split(' ').find_map(|field| field.strip_prefix("total=")));
    total.and_then(|total| total.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64, live_bytes: u64) -> Reading {
        let peak_bytes = live_bytes;
        Reading { at_ns: seconds * SECOND, live_bytes, peak_bytes, ..Reading::default() }
    }

    fn rules(wanted: Triggers) -> TriggerRules {
        TriggerRules::new(Triggers { pause_ns: 0, ..wanted })
    }

    #[test]
    fn a_limit_triggers_when_it_is_crossed_and_not_while_it_is_exceeded() {
        let mut rules = rules(Triggers { live_bytes: Some(800), ..Triggers::DEFAULT });
        let said = [800, 801, 900, 790, 801, 700, 801].map(|live| rules.check(at(1, live)).is_some());
        assert_eq!(said, [false, true, false, false, false, false, true]);
    }

    #[test]
    fn growth_within_a_second_triggers_once() {
        let mut rules = rules(Triggers { growth_bytes: Some(100), ..Triggers::DEFAULT });
        let tenths = |tenth: u64, live_bytes| Reading { at_ns: tenth * SECOND / 10, ..at(0, live_bytes) };
        let slow = (0..50).filter(|tenth| rules.check(tenths(*tenth, 9 * tenth)).is_some());
        assert_eq!(slow.count(), 0, "99 bytes in a second at most");
        let fast = (50..60).filter(|tenth| rules.check(tenths(*tenth, 450 + 50 * (tenth - 50))).is_some());
        assert_eq!(fast.collect::<Vec<_>>(), [51, 53, 55, 57, 59]);
    }

    #[test]
    fn a_peak_triggers_when_it_is_over_and_much_above_the_last() {
        let mut rules = rules(Triggers { new_peak: true, ..Triggers::DEFAULT });
        let peaks = [(100, 100), (200, 200), (150, 200), (210, 210), (1, 210), (400, 400), (399, 400)];
        let said = peaks.map(|(live_bytes, peak_bytes)| {
            rules.check(Reading { peak_bytes, ..at(1, live_bytes) }).is_some()
        });
        assert_eq!(said, [false, false, true, false, false, false, true]);
    }

    #[test]
    fn losses_and_pressure_trigger_when_they_grow() {
        let mut rules = rules(Triggers { loss: true, memory_pressure: true, ..Triggers::DEFAULT });
        let reading = |seconds, lost, events, stalled_ns| Reading {
            lost,
            pressure: Pressure { events, stalled_ns },
            ..at(seconds, 0)
        };
        assert_eq!(rules.check(reading(1, 0, 3, SECOND)), None, "the pressure was there before");
        assert_eq!(rules.check(reading(2, 6, 3, SECOND)), Some(DumpTrigger::Loss));
        assert_eq!(rules.check(reading(3, 6, 4, SECOND)), Some(DumpTrigger::MemoryPressure));
        assert_eq!(rules.check(reading(4, 6, 4, SECOND + SECOND / 10)), None);
        assert_eq!(rules.check(reading(5, 6, 4, SECOND + SECOND / 4)), Some(DumpTrigger::MemoryPressure));
        let mut rules = self::rules(Triggers { loss: true, ..Triggers::DEFAULT });
        assert_eq!(rules.check(reading(1, 1, 0, 0)), Some(DumpTrigger::Loss), "before the first reading");
    }

    #[test]
    fn a_trigger_within_the_pause_fires_after_it() {
        let wanted = Triggers { loss: true, live_bytes: Some(10), ..Triggers::DEFAULT };
        let mut rules = TriggerRules::new(Triggers { pause_ns: 10 * SECOND, ..wanted });
        rules.check(at(0, 0));
        assert_eq!(rules.check(at(1, 11)), Some(DumpTrigger::LiveBytes));
        assert_eq!(rules.check(Reading { lost: 1, ..at(2, 11) }), None);
        assert_eq!(rules.check(Reading { lost: 1, ..at(10, 11) }), None);
        assert_eq!(rules.check(Reading { lost: 1, ..at(11, 11) }), Some(DumpTrigger::Loss));
        assert_eq!(rules.check(Reading { lost: 1, ..at(99, 11) }), None);
    }

    #[test]
    fn groups_of_both_kinds_are_found_and_read() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let text = root.path().to_str().unwrap().to_owned();
        let both = "12:cpuset:/\n4:memory:/a/b\n0::/c\n";
        assert!(ControlGroup::find(both, &text).is_none());
        fs::create_dir_all(path("memory/a/b")).unwrap();
        fs::write(path("memory/a/b/memory.failcnt"), "7\n").unwrap();
        assert_eq!(ControlGroup::find(both, &text).unwrap().read(), Pressure { events: 7, stalled_ns: 0 });
        // Now memory and swap together have the same limit as memory.
        fs::write(path("memory/a/b/memory.memsw.failcnt"), "2\n").unwrap();
        fs::write(path("memory/a/b/memory.limit_in_bytes"), "6400\n").unwrap();
        for (peak, events) in [("6299\n", 9), ("6300\n", 10), ("6400\n", 10)] {
            fs::write(path("memory/a/b/memory.max_usage_in_bytes"), peak).unwrap();
            assert_eq!(ControlGroup::find(both, &text).unwrap().read().events, events);
        }
        fs::create_dir_all(path("c")).unwrap();
        fs::write(path("c/memory.events"), "low 9\nhigh 1\nmax 20\noom 300\noom_kill 9\n").unwrap();
        let stalls = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 total=9\n";
        fs::write(path("c/memory.pressure"), stalls).unwrap();
        let read = ControlGroup::find(both, &text).unwrap().read();
        assert_eq!(read, Pressure { events: 321, stalled_ns: 5_000 });
        // A group that is not found at its path is read at the root.
        fs::write(path("memory.events"), "max 2\n").unwrap();
        assert_eq!(ControlGroup::find("0::/elsewhere\n", &text).unwrap().read().events, 2);
    }
}
