//! The example of `docs/HEAP_BUDGETS.md` for criterion, which runs each benchmark once under `cargo test`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

const TEXT: &str = "a text of six short words";

fn parse(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    group.bench_function("parse", |bencher| {
        bencher.iter_custom(|iterations| {
            let begun = std::time::Instant::now();
            let ((), usage) =
                heapledger::measure(|| (0..iterations).for_each(|_| drop(black_box(parse(TEXT)))));
            let elapsed = begun.elapsed();
            let each = usage.per(iterations);
            eprintln!("{:.1} allocations, {:.0} bytes an iteration", each.allocations, each.bytes);
            elapsed
        })
    });
    group.finish();
}

criterion_group!(benches, parsing);
criterion_main!(benches);
