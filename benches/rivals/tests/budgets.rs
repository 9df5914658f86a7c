//! The same work under several tools: where two tools count the same figure, they agree to the block and the byte.

use std::process::Command;

use rivals::budget::Figures;

fn figures(program: &str) -> Figures {
    let output = Command::new(program).env_remove("HEAPLEDGER").output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = Figures::parse(&text).unwrap_or_else(|| panic!("{program}: {output:?}"));
    println!("{figures:?} of {program}");
    figures
}

#[test]
fn tools_that_count_the_same_agree() {
    let ours = figures(env!("CARGO_BIN_EXE_budget_heapledger"));
    let dhat = figures(env!("CARGO_BIN_EXE_budget_dhat"));
    let tracker = figures(env!("CARGO_BIN_EXE_budget_alloc_tracker"));
    assert!(ours.blocks.is_some_and(|blocks| blocks > 500), "{ours:?}");
    assert_eq!(ours.differences(&dhat), [""; 0], "{ours:?} {dhat:?}");
    assert_eq!(ours.differences(&tracker), [""; 0], "{ours:?} {tracker:?}");
    let planted = Figures { bytes: ours.bytes.map(|bytes| bytes + 1), ..ours };
    assert_eq!(planted.differences(&dhat), ["bytes"]);
}
