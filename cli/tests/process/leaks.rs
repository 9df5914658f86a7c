//! Leaks of real programs: the blocks of the standard library are no findings.

use std::process::Command;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::tools::block;

pub const CASES: &[Case] = &[
    Case::new(
        "a_program_that_does_nothing_has_no_leak",
        || (),
        |ended| {
            let (code, said) = report(ended.quietly());
            assert_eq!(code, Some(0), "{said}");
            assert!(
                said.contains("not freed         0 blocks")
                    && said.contains("by leak:^std::rt::init$ (built in)"),
                "{said}"
            );
        },
    )
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("a_block_of_the_programs_own_is_a_leak_still", use_std, |ended| {
        let (code, said) = report(ended);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("not freed         1 block, 4.2 KiB (4,321 B), from 1 place"), "{said}");
        assert!(said.contains("by leak:^std::io::stdio::stdin$ (built in)"), "{said}");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_STACKS", "auto"), ("RUST_BACKTRACE", "1")]),
];

/// Uses those parts of the library that keep something: standard input and output, and backtraces.
fn use_std() {
    block(4321);
    println!("{:?}", std::io::stdin().lines().next());
    assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
}

fn report(ended: &Ended) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    let output =
        command.args(["report", "--fail-on-leak"]).arg(ended.path(&format!("{}.hl", ended.pid))).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}
