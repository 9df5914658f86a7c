//! Cost of recording: processor time as a ratio to the bare allocator.
//!
//! `cargo bench --bench hot_path` first lets criterion look for regressions of a few single figures. Then it prints the
//! main table: bare System, stats_alloc and heapledger do the same work one after the other, and the table has the
//! median of the ratios with the budget. `--quick` takes fewer rounds; a word filters the rows.
//!
//! Each measured time of heapledger ends with a flush, so it includes the booking of everything recorded. The
//! background thread also runs while the other allocators are measured; its processor time is subtracted from theirs.
#![allow(unsafe_code, reason = "calls allocators directly, and switches between them")]

mod common;
#[path = "hot_path/measure.rs"]
mod measure;
#[path = "hot_path/switch.rs"]
mod switch;
#[path = "hot_path/table.rs"]
mod table;

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use common::effort::Effort;
use common::{raw, texts};
use criterion::{BenchmarkId, Criterion, Throughput};
use heapledger::Scope;
use measure::ProcessCpu;
use switch::{Chosen, SWITCH};

const PAIRS: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut criterion = Criterion::default()
        .with_measurement(ProcessCpu)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    watch_regressions(&mut criterion);
    criterion.final_summary();
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).map(String::as_str);
    table::print(Effort::of_arguments(), filter.unwrap_or(""));
}

/// Measures single figures, which criterion compares with those of the last run.
fn watch_regressions(criterion: &mut Criterion<ProcessCpu>) {
    let mut group = criterion.benchmark_group("pair of 64 bytes");
    group.throughput(Throughput::Elements(PAIRS));
    group.bench_function(BenchmarkId::from_parameter("bare"), |bencher| {
        bencher.iter(|| raw::tight_pairs(&System, PAIRS));
    });
    group.bench_function(BenchmarkId::from_parameter("heapledger"), |bencher| {
        bencher.iter(|| raw::tight_pairs(&SWITCH.heapledger, PAIRS));
    });
    group.finish();
    let document = texts::json_document(100);
    let mut group = criterion.benchmark_group("JSON of 100 records");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function(BenchmarkId::from_parameter("heapledger"), |bencher| {
        bencher.iter(|| {
            switch::while_global(Chosen::Heapledger, || texts::parse_and_print(black_box(&document)))
        });
    });
    group.finish();
    // Scopes exist from the first event on.
    raw::tight_pairs(&SWITCH.heapledger, 1);
    let scope = Scope::named("measured");
    let mut group = criterion.benchmark_group("scope");
    group.throughput(Throughput::Elements(PAIRS));
    group.bench_function(BenchmarkId::from_parameter("enter and leave"), |bencher| {
        bencher.iter(|| (0..PAIRS).for_each(|_| drop(black_box(&scope).enter())));
    });
    group.finish();
}
