//! Counters in the text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use super::heap::Figures;
use crate::profile::LossReason;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all counters in the text format. The counters of scopes are included only with `with_scopes`, because their
/// number grows with the number of scopes.
pub(super) fn metrics(figures: &Figures, with_scopes: bool) -> String {
    let (stats, quality) = (&figures.stats, &figures.quality);
    let mut text = String::new();
    let out = &mut text;
    one(out, "heapledger_live_bytes", "gauge", "Bytes that are live.", stats.live_bytes);
    one(out, "heapledger_live_blocks", "gauge", "Blocks that are live.", stats.live_blocks);
    one(out, "heapledger_peak_bytes", "gauge", "Maximum of the live bytes so far.", stats.peak_bytes);
    one(out, "heapledger_allocated_bytes_total", "counter", "Bytes allocated.", stats.total_bytes);
    one(
        out,
        "heapledger_allocations_total",
        "counter",
        "Blocks allocated, a realloc included.",
        stats.total_blocks,
    );
    one(out, "heapledger_freed_bytes_total", "counter", "Bytes freed.", stats.freed_bytes);
    one(out, "heapledger_frees_total", "counter", "Blocks freed, a realloc included.", stats.freed_blocks);
    one(out, "heapledger_reallocs_total", "counter", "Successful reallocs.", stats.reallocs);
    one(out, "heapledger_failed_total", "counter", "Allocations that the allocator refused.", stats.failed);
    one(out, "heapledger_events_total", "counter", "Events recorded.", quality.recorded);
    head(out, "heapledger_events_lost_total", "counter", "Events that no figure contains, by reason.");
    for reason in LossReason::ALL {
        sample(out, "heapledger_events_lost_total", "reason", reason.name(), quality.lost.get(reason));
    }
    head(out, "heapledger_completeness_ratio", "gauge", "Recorded events by recorded and lost ones.");
    let _ = writeln!(out, "heapledger_completeness_ratio {}", ratio(quality.recorded, quality.lost.total()));
    one(
        out,
        "heapledger_sampled_out_total",
        "counter",
        "Events that only the totals contain.",
        quality.sampled_out,
    );
    one(
        out,
        "heapledger_anomalies_total",
        "counter",
        "Frees and allocations that do not pair.",
        quality.anomalies.total(),
    );
    one(out, "heapledger_own_bytes", "gauge", "Memory of heapledger itself.", quality.own_bytes);
    head(
        out,
        "heapledger_own_cpu_seconds_total",
        "counter",
        "Processor time of heapledger's background thread.",
    );
    let _ = writeln!(out, "heapledger_own_cpu_seconds_total {}", quality.own_cpu_ns as f64 / 1e9);
    if let Some(bytes) = figures.resident_bytes {
        one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.", bytes);
    }
    if with_scopes {
        scopes(out, figures);
    }
    text
}

/// Returns the completeness. It is below 1 if any event was lost, even if the quotient rounds to 1.
fn ratio(recorded: u64, lost: u64) -> f64 {
    let ratio = crate::profile::QualityIndicator::completeness_of(recorded, lost);
    if lost > 0 { ratio.min(1.0f64.next_down()) } else { ratio }
}

fn scopes(out: &mut String, figures: &Figures) {
    type Column = (&'static str, &'static str, &'static str, fn(&crate::profile::Scope) -> u64);
    const COLUMNS: [Column; 3] = [
        ("heapledger_scope_live_bytes", "gauge", "Live bytes of a scope.", |scope| scope.live_bytes()),
        ("heapledger_scope_allocated_bytes_total", "counter", "Bytes allocated in a scope.", |scope| {
            scope.total_bytes
        }),
        ("heapledger_scope_peak_bytes", "gauge", "Maximum of a scope's live bytes.", |scope| {
            scope.peak_bytes
        }),
    ];
    // A metric must have one sample for each label. Scopes of the same name can be nested in different scopes, so a
    // label is the path of a scope.
    let mut names: Vec<String> = Vec::new();
    for number in 1..=figures.scopes.len() {
        names.push(path_of(figures, number));
    }
    for (name, kind, help, figure) in COLUMNS {
        head(out, name, kind, help);
        for (scope, path) in figures.scopes.iter().zip(&names) {
            sample(out, name, "scope", path, figure(scope));
        }
    }
}

/// Returns the names of a scope and of the scopes around it, outermost first. Adds the number of the scope if another
/// scope has the same path.
fn path_of(figures: &Figures, number: usize) -> String {
    let mut path = String::new();
    let mut at = number;
    while let Some(scope) = at.checked_sub(1).and_then(|at| figures.scopes.get(at)) {
        path = if path.is_empty() { scope.name.clone() } else { format!("{}/{path}", scope.name) };
        // The parent of a scope is an older scope. Another number comes from damage, and ends the path.
        at = if (scope.parent as usize) < at { scope.parent as usize } else { 0 };
    }
    let key = |scope: &crate::profile::Scope| (scope.name.clone(), scope.parent);
    let own = figures.scopes.get(number - 1).map(key);
    let earlier = figures.scopes[..number - 1].iter().filter(|scope| Some(key(scope)) == own).count();
    if earlier > 0 { format!("{path}#{}", earlier + 1) } else { path }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

fn sample(out: &mut String, name: &str, label: &str, text: &str, value: u64) {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let _ = writeln!(out, "{name}{{{label}=\"{escaped}\"}} {value}");
}
