//! The example of `docs/HEAP_BUDGETS.md` for divan, which runs each benchmark once under `cargo test`.

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

const TEXT: &str = "a text of six short words";

fn parse(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn main() {
    divan::main();
}

#[divan::bench]
fn parse_text(bencher: divan::Bencher) {
    let ((), usage) = heapledger::measure(|| (0..100).for_each(|_| drop(divan::black_box(parse(TEXT)))));
    eprintln!("{:.1} allocations an iteration", usage.per(100).allocations);
    bencher.bench(|| parse(divan::black_box(TEXT)));
}
