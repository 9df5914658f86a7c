//! The parts of a snapshot that describe the process: its identity, its settings, and its changes of settings in words.

use std::fs;

use super::naming::program_name;
use super::tuning;
use crate::ledger::Ledger;
use crate::ledger::changes::{self, Changed, Subject};
use crate::ledger::estimate::mean_bytes;
use crate::profile::{Change, ClockInfo, DataQualityMode, ProcessInfo, Settings, Stacks};
use crate::recorder::state;
use crate::stack::modules::open_own;
use crate::sys::sync::Ordering;

/// Returns the description of the process, `at_ns` after the start of its ledger, with the reason for the snapshot.
pub(super) fn process(ledger: &Ledger, at_ns: u64, reason: &str) -> ProcessInfo {
    // relaxed: written before the ledger was published.
    let forked_from = ledger.facts.forked_from.load(Ordering::Relaxed);
    let command_line: Vec<String> =
        std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect();
    ProcessInfo {
        pid: ledger.facts.process_id.load(Ordering::Relaxed),
        forked_from: (forked_from != 0).then_some(forked_from),
        program: program_name(),
        command_line,
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        heapledger_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ns: ledger.facts.started_unix_ns.load(Ordering::Relaxed),
        duration_ns: at_ns,
        reason: reason.to_owned(),
        directory: String::from_utf8_lossy(state::start_directory()).into_owned(),
        unread: unread(),
        host: host(),
    }
}

/// Returns the name of the machine or container, or an empty text if the system has no file with it.
fn host() -> String {
    let name = if cfg!(target_os = "linux") { fs::read("/proc/sys/kernel/hostname") } else { Ok(Vec::new()) };
    name.map_or(String::new(), |name| String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// Returns the facts about the process that could not be read, each with the reason.
fn unread() -> Vec<String> {
    let mut unread = Vec::new();
    if state::start_directory().is_empty() {
        unread
            .push("the directory in which the program started: it was removed, or lies too deep".to_owned());
    }
    if cfg!(target_os = "linux") {
        let link = fs::read_link("/proc/thread-self/exe").or_else(|_| fs::read_link("/proc/self/exe"));
        if let Err(error) = link {
            unread.push(format!("the executable file of the process: {error}"));
        }
        let objects = ["maps", "mem"].map(open_own).into_iter().find_map(Result::err);
        if let Some(error) = objects.filter(|_| state::options().stacks != Stacks::Off) {
            unread.push(format!("its loaded objects, without which there are no call stacks: {error}"));
        }
    }
    unread
}

/// Returns the clock that was used, and the longest span between two readings of the clock.
pub(super) fn clock(ledger: &Ledger, longest_span_ns: u64) -> ClockInfo {
    let choice = ledger.clock.choice();
    ClockInfo { source: choice.source().to_owned(), why: choice.why().to_owned(), longest_span_ns }
}

/// Returns the settings in force.
pub(super) fn settings() -> Settings {
    let options = state::options();
    Settings {
        mode: state::mode(),
        stacks: options.stacks,
        clock: options.clock,
        history: options.history,
        concurrency: options.concurrency,
        fork: options.fork,
        memory_limit_bytes: options.memory_limit_bytes,
    }
}

/// Returns the listed changes, in words. If the list had no room for all changes, the first line has the number of
/// missing changes.
pub(crate) fn changes_of(list: &changes::Changes) -> Vec<Change> {
    let mut kept: Vec<Changed> = changes::room();
    list.copy(&mut kept);
    let dropped = list.count().saturating_sub(kept.len() as u64);
    let note =
        (dropped > 0).then(|| Change { at_ns: 0, what: format!("{dropped} earlier changes are not listed") });
    note.into_iter().chain(kept.iter().map(in_words)).collect()
}

/// Returns the mode after the last listed change of the mode, if there was one.
pub(crate) fn last_mode(list: &changes::Changes) -> Option<DataQualityMode> {
    let mut kept: Vec<Changed> = changes::room();
    list.copy(&mut kept);
    let change = kept.iter().rfind(|change| change.subject == Subject::Mode)?;
    DataQualityMode::ALL.get(change.to as usize).copied()
}

fn in_words(change: &Changed) -> Change {
    let mode = |raw: u32| DataQualityMode::ALL.get(raw as usize).map_or("?", |mode| mode.name());
    let level = |raw: u32| {
        ["full", "no stacks", "sampled", "counters only"].get(raw as usize).copied().unwrap_or("?")
    };
    let (from, to) = (change.from, change.to);
    let what = match change.subject {
        Subject::Mode => format!("mode: {} -> {}", mode(from), mode(to)),
        Subject::Level => format!("level: {} -> {}", level(from), level(to)),
        Subject::SamplingBytes => {
            let bytes = |rate: u32| mean_bytes(u64::from(rate));
            format!("bytes between samples: {} -> {}", bytes(from), bytes(to))
        }
        Subject::RingSegments => format!("ring segments: {from} -> {to}"),
        Subject::FloorIntervalNs => format!("floor interval in ns: {from} -> {to}"),
        Subject::DrainThresholdWords => format!("drain threshold in words: {from} -> {to}"),
        Subject::Tuner => tuning::why(from, to),
    };
    Change { at_ns: change.at_ns, what }
}
