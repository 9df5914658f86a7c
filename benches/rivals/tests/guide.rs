//! The examples of `docs/HEAP_BUDGETS.md`: each is compiled, here or beside the harness that it is for.

struct Document(String);

impl Document {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

fn parse(text: &str) -> Document {
    Document(text.to_owned())
}

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

#[test]
fn parsing_stays_small() {
    let document = heapledger::assert_heap!(allocations <= 12, peak <= 64 * 1024; { parse("a b c") });
    heapledger::assert_no_alloc!({ document.words().count() });
}

fn work() {
    drop(std::hint::black_box(vec![0u8; 1000]));
}

#[test]
fn another_thread_takes_part_by_a_token() {
    let (_, usage) = heapledger::measure(|| {
        let token = heapledger::scope::ScopeToken::current();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                let _entered = token.enter();
                work()
            });
        });
    });
    assert!(usage.bytes >= 1000 && usage.threads == 2, "{usage:?}");
}

fn compress_on_all_cores(input: &[u8]) -> Vec<u8> {
    input.to_vec()
}

#[test]
#[ignore = "it has to be alone in its process"]
fn all_threads_count() {
    let input = vec![0u8; 1000];
    heapledger::assert_heap!(all_threads, allocations <= 200; { compress_on_all_cores(&input) });
}

#[test]
fn figures_of_a_file() {
    let document = heapledger::assert_heap_snapshot!("parse/small", { parse("a b c") });
    drop(document);
}

/// Returns a text with one space between words, because other white space makes no difference to the compiler.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_example_is_compiled() {
    let compiled =
        [include_str!("guide.rs"), include_str!("with_criterion.rs"), include_str!("with_divan.rs")];
    let compiled = compiled.map(words);
    let guide = include_str!("../../../docs/HEAP_BUDGETS.md");
    let examples: Vec<_> =
        guide.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 6);
    let is_compiled = |example: &str| compiled.iter().any(|file| file.contains(&words(example)));
    for example in examples {
        assert!(is_compiled(example), "{example}");
    }
    // The text is joined from two parts, because this file is searched too.
    assert!(!is_compiled(concat!("let nothing", " = 1;")));
}
