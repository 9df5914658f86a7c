//! The shortest use: one attribute line. Run the example, then read its dump.

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();

fn main() {
    let words: Vec<String> = (0..1000).map(|n| format!("word {n}")).collect();
    let longest = words.iter().map(String::len).max();
    println!("{longest:?}");
    println!("{}", heapledger::quality());
    println!("{:?}", heapledger::stats());
}
