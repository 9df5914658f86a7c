//! The layers that a layer may use, and the files that may order memory: the tables of `docs/ARCHITECTURE.md`.

use super::source::{Source, words};
use super::{Finding, finding};

/// Every layer with the layers that it may name. A layer may always name itself; everything else is forbidden.
pub const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("profile", &[]),
    ("ring", &["sys", "profile"]),
    ("stack", &["sys", "ring"]),
    ("ledger", &["sys", "ring", "profile"]),
    ("fold", &["sys", "ring", "ledger", "profile"]),
    ("recorder", &["sys", "ring", "stack", "ledger", "fold", "profile"]),
    (
        "aggregator",
        &[
            "sys", "ring", "stack", "ledger", "fold", "recorder", "profile", "quality", "dump", "trace",
            "live",
        ],
    ),
    ("text", &[]),
    ("pprof", &["profile"]),
    ("serve", &["sys", "profile", "live", "pprof", "text"]),
    ("live", &["sys", "profile"]),
    ("quality", &["profile", "text"]),
    ("tracked", &["sys", "recorder", "profile"]),
    // Macros are at the root of the crate. `assert_heap` and `assert_heap_snapshot` belong to this layer.
    (
        "scope",
        &[
            "sys",
            "ring",
            "ledger",
            "recorder",
            "aggregator",
            "profile",
            "text",
            "assert_heap",
            "assert_heap_snapshot",
        ],
    ),
    // The strategies are for comparison only: no layer above uses them.
    ("strategies", &["sys", "profile"]),
    ("dump", &["profile"]),
    ("replay", &["ring", "profile"]),
    (
        "blackbox",
        &["sys", "ring", "stack", "ledger", "recorder", "aggregator", "profile", "dump", "replay", "live"],
    ),
    ("trace", &["ring", "profile", "dump", "replay"]),
    (
        "session",
        &[
            "sys",
            "ring",
            "stack",
            "ledger",
            "recorder",
            "aggregator",
            "profile",
            "quality",
            "scope",
            "tracked",
            "dump",
            "trace",
            "live",
            "serve",
        ],
    ),
    // The validation uses the public interface, like any other program, although it is inside the package.
    ("validation", &["profile", "quality", "dumps", "text"]),
    // The layers of the command's package, `cli`. The compiler lets them see the library's public interface only.
    ("symbols", &[]),
    ("cargo", &[]),
    ("analysis", &[]),
    ("report", &["analysis"]),
    ("export", &["analysis"]),
    ("top", &["analysis", "report"]),
];

/// Layers that may name only some items of another layer, all of them plain data.
const ONLY: &[(&str, &str, &[&str])] =
    &[("ring", "profile", &["LossReason"]), ("replay", "ring", &["event"]), ("trace", "ring", &["event"])];

/// Files with relaxed accesses only: counters, and data that a latch or a cursor orders.
const RELAXED: &[&str] = &[
    "src/aggregator/background.rs",
    "src/aggregator/counters.rs",
    "src/aggregator/live_page.rs",
    "src/live/page.rs",
    "src/aggregator/description.rs",
    "src/aggregator/rows.rs",
    "src/aggregator/shared.rs",
    "src/aggregator/scopes.rs",
    "src/aggregator/stacks.rs",
    "src/blackbox/lanes.rs",
    "src/blackbox/read.rs",
    "src/aggregator/trace_writer.rs",
    "src/aggregator/tuning.rs",
    "src/aggregator/worker.rs",
    "src/sys/sleeper.rs",
    "src/fold/events.rs",
    "src/fold/remote_frees.rs",
    "src/fold/run.rs",
    "src/fold/totals.rs",
    "src/fold/words.rs",
    "src/ledger/fold_state.rs",
    "src/ledger/changes.rs",
    "src/ledger/remote_frees.rs",
    "src/ledger/estimate.rs",
    "src/ledger/live/doubts.rs",
    "src/ledger/history.rs",
    "src/ledger/peak.rs",
    "src/ledger/rows.rs",
    "src/ledger/site_units.rs",
    "src/ledger/sites.rs",
    "src/ledger/trace_buffer.rs",
    "src/ledger/timeline.rs",
    "src/recorder/latency.rs",
    "src/recorder/objects.rs",
    "src/recorder/scopes.rs",
    "src/recorder/segments.rs",
    "src/recorder/slow_path.rs",
    "src/scope/cells.rs",
    "src/recorder/trace_backpressure.rs",
    "src/session/endpoint.rs",
    "src/stack/cache.rs",
    "src/stack/intern.rs",
    "src/stack/state.rs",
    "src/strategies/books.rs",
    "src/sys/signal_safe_counter.rs",
    "src/sys/own_threads.rs",
    "src/sys/pages.rs",
    "src/sys/platform.rs",
    "src/sys/statics.rs",
    "src/tracked/places.rs",
    "src/tracked/recent.rs",
    "src/tracked/sink.rs",
    "src/tracked/statics.rs",
];

/// Files that order threads, each with the ordered data.
const ORDERED: &[(&str, &str)] = &[
    ("src/ring/cursor.rs", "the ring"),
    ("src/ring/registry.rs", "which lanes there are"),
    ("src/sys/latch.rs", "the lock"),
    ("src/sys/seqlock.rs", "the words of a live page are seen with their sequence"),
    ("src/sys/sparse.rs", "committed pages are visible with their mark"),
    ("src/sys/signals.rs", "a request is visible to the thread that wakes"),
    ("src/sys/clock.rs", "the portable clock keeps loads before its reading"),
    ("src/fold/ordered.rs", "a thread's stamp against the folder's look"),
    ("src/ledger/sampled.rs", "the table of sampled addresses is seen whole"),
    ("src/ledger/region.rs", "the store of stacks is seen whole"),
    ("src/ledger/scopes.rs", "a cell is seen whole; a token against the end of its measurement"),
    ("src/ledger/live.rs", "the transition to sampling is seen with the level"),
    ("src/recorder/sampling.rs", "compiler fences, against a change of the level"),
    ("src/ring/lane.rs", "compiler fences, against a change of the level"),
    ("src/ledger/ticks.rs", "a tick is seen with its time"),
    (
        "src/aggregator/joined.rs",
        "work that began after a thread asked, against what the thread recorded before",
    ),
    ("src/aggregator/snapshot.rs", "a frozen ledger against a thread that is about to write"),
    ("src/stack/rules.rs", "a count is seen with the rules gone that it says are gone"),
    ("src/stack/unwind.rs", "a count is seen with the objects that were found"),
    ("src/strategies/queue.rs", "the queue of one producer"),
    ("src/strategies/distributed.rs", "two queues of one producer, seen in one order"),
    ("src/strategies/background.rs", "the end of the background thread"),
    ("src/tracked/counts.rs", "a pointer is seen with its name"),
    ("src/recorder/process.rs", "a child's ledger is gone after the rest was reset"),
    ("src/recorder/background_thread.rs", "the sleep is seen with the new epoch"),
    ("src/recorder/state.rs", "the ledger is seen with its state"),
    ("src/recorder/lifecycle.rs", "the ledger is seen with its state"),
    ("src/recorder/overflow_pool.rs", "the pool is seen whole"),
    ("src/recorder/stacks.rs", "the store of stacks is seen with the way in which they are taken"),
    ("src/recorder/gate.rs", "compiler fences, against handlers of the same thread"),
    ("src/recorder/stamps.rs", "the number of reasons is seen with the new epoch"),
    ("src/recorder/stack_bounds.rs", "compiler fences, against handlers of the same thread"),
    ("src/recorder/pointer_events.rs", "compiler fences, against handlers of the same thread"),
    ("src/sys/compiler_barrier.rs", "a compiler fence, against a kill"),
    ("src/recorder/black_box.rs", "the file of a black box is seen with its path"),
    ("src/recorder/hot_path.rs", "compiler fences, against handlers of the same thread"),
    ("src/recorder/slot.rs", "compiler fences, against handlers of the same thread"),
    ("src/recorder/thread.rs", "compiler fences, against handlers of the same thread"),
    ("src/recorder/window.rs", "compiler fences, against handlers of the same thread"),
];

/// Finds uses of a layer that the table does not allow.
pub fn uses(source: &Source) -> Vec<Finding> {
    let Some(layer) = source.layer() else { return Vec::new() };
    // The command is a separate crate: the compiler lets it see the library's public interface only.
    if matches!(layer, "lib" | "bin") {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![finding("layers", source, 0, format!("{layer} is in no layer"))];
    };
    let wrong = |path: &[String]| {
        let other = path.first()?;
        let is_layer = LAYERS.iter().any(|(name, _)| *name == other.as_str());
        if other == layer || other == "self" {
            return None;
        }
        if !is_layer && layer == "validation" {
            return None;
        }
        if !allowed.contains(&other.as_str()) {
            return Some(format!("{layer} may not use {other}"));
        }
        let item = path.get(1).map_or("*", String::as_str);
        let limited = ONLY.iter().find(|(from, to, _)| *from == layer && *to == other.as_str());
        limited
            .filter(|(.., items)| !items.contains(&item))
            .map(|_| format!("{layer} may not use {other}::{item}"))
    };
    let named = source.paths.iter().filter(|path| !path.is_relative);
    named.filter_map(|path| Some(finding("layers", source, path.at, wrong(&path.names)?))).collect()
}

/// Finds memory orderings outside the listed files; other files have no atomic access at all.
pub fn orderings(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.path.starts_with("src/") {
        return findings;
    }
    let is_ordered = ORDERED.iter().any(|(path, _)| *path == source.path);
    for ordering in ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"] {
        // The validation uses relaxed atomics for counts and flags, and locks for ordered data.
        let may_relax = RELAXED.contains(&source.path.as_str()) || source.path.starts_with("src/validation/");
        let is_fine = is_ordered || ordering == "Relaxed" && may_relax;
        if is_fine {
            continue;
        }
        for at in words(&source.code, ordering) {
            let text = format!("{ordering}: this file is not listed for it");
            findings.push(finding("orderings", source, at, text));
        }
    }
    findings
}

#[cfg(test)]
mod planted {
    use super::*;
    use crate::rules_found;

    fn used(path: &str, text: &str) -> Vec<String> {
        uses(&Source::new(path, text)).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_use_of_a_layer_above_is_found_however_it_is_written() {
        let above = ["ring may not use ledger"];
        for text in [
            "use crate::ledger::Ledger;",
            "use crate::{sys::latch::Latch, ledger};",
            "use crate::{\n    sys::{self, pages},\n    ledger::{Ledger, fold},\n};",
            "fn a() { crate::ledger::fold() }",
            "use super::super::ledger::Ledger;",
            "mod inner { use super::super::super::ledger::Ledger; }",
        ] {
            let found = used("src/ring/lane.rs", text);
            assert!(
                !found.is_empty() && found.iter().all(|text| above.contains(&text.as_str())),
                "{text}: {found:?}"
            );
        }
        assert_eq!(used("src/ring/mod.rs", "use super::ledger::Ledger;"), above);
        assert_eq!(used("src/dump/v1/meta.rs", "use crate::quality;"), ["dump may not use quality"]);
        assert_eq!(used("src/unheard/of.rs", ""), ["unheard is in no layer"]);
    }

    #[test]
    fn uses_that_the_table_allows_are_not_found() {
        for (path, text) in [
            (
                "src/ring/lane.rs",
                "use crate::sys::latch::Latch; use super::cursor::Head; use crate::profile::LossReason;",
            ),
            ("src/ring/lane.rs", "// use crate::ledger::Ledger;\nlet a = \"crate::ledger\";"),
            ("src/ring/lane.rs", "#[cfg(test)]\nmod tests { use crate::ledger::Ledger; }"),
            (
                "src/report/sections/heap.rs",
                "use super::super::plot; use crate::analysis::{Figure, summary};",
            ),
            ("src/validation/load.rs", "use crate::{quality, HeapLedger};"),
            ("src/session.rs", "use crate::aggregator::worker;"),
        ] {
            assert_eq!(used(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn more_than_plain_data_of_the_profile_in_the_ring_is_found() {
        assert_eq!(
            used("src/ring/lane.rs", "use crate::profile::Profile;"),
            ["ring may not use profile::Profile"]
        );
        assert_eq!(used("src/ring/lane.rs", "use crate::profile;"), ["ring may not use profile::*"]);
    }

    #[test]
    fn an_internal_of_the_library_in_the_validation_is_found() {
        assert_eq!(used("src/validation/load.rs", "use crate::ring::lane;"), ["validation may not use ring"]);
    }

    #[test]
    fn an_ordering_in_a_file_that_is_not_listed_is_found() {
        let relaxed = "fn a() { X.load(Ordering::Relaxed); }";
        let acquire = "fn a() { X.load(Ordering::Acquire); }";
        assert_eq!(rules_found("src/report/text.rs", relaxed), ["orderings"]);
        assert_eq!(rules_found("src/ledger/peak.rs", acquire), ["orderings"]);
        assert_eq!(rules_found("src/ledger/peak.rs", relaxed), [""; 0]);
        assert_eq!(rules_found("src/ring/cursor.rs", acquire), [""; 0]);
        assert_eq!(rules_found("src/report/text.rs", "fn a() { b.cmp(c) == Ordering::Less; }"), [""; 0]);
    }
}
