//! The commands on the trace of a script whose events are all known.

use heapledger::trace::Dated;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::traces::{follow_a_script, logged};

pub const CASES: &[Case] =
    &[Case::new("the_command_reads_a_trace_whole_and_in_parts", follow_a_script, |ended| {
        commands(ended, &logged(ended));
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "t.hlt")])];

fn commands(ended: &Ended, records: &[Dated]) {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heapledger"));
        let output = command.args(arguments).current_dir(ended.path("")).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = run(&["trace", "t.hlt"]);
    assert!(code == Some(0) && said.contains("not in the trace    nothing"), "{said}");
    let (code, said, _) = run(&["verify", "t.hlt"]);
    assert!(code == Some(0) && said.contains("total_bytes: replay = ledger"), "{said}");
    let (_, listed, _) = run(&["trace", "--events", "t.hlt"]);
    assert_eq!(listed.lines().count(), 1 + records.len());
    // Any half of the script is a profile of its own, and the halves together are the whole.
    let middle = format!("{}ns", records[records.len() / 2].at_ns);
    let total = |span: &[&str]| {
        let (code, json, told) = run(&[&["export", "--format", "json", "t.hlt"], span].concat());
        assert_eq!(code, Some(0), "{told}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["totals"]["total_bytes"].as_u64().unwrap()
    };
    let halves = total(&["--to", &middle]) + total(&["--from", &middle]);
    assert_eq!((halves, halves), (total(&["--from", "0"]), ended.dump().totals.total_bytes));
    let (code, said, told) = run(&["trace", "--at", "peak", "t.hlt"]);
    assert!(code == Some(0) && said.contains("replay"), "{said}{told}");
    let dump = format!("{}.hl", ended.pid);
    let (code, _, told) = run(&["report", "--from", "1s", &dump]);
    assert!(code == Some(2) && told.contains("is no trace"), "{told}");
    assert_eq!(run(&["trace", &dump]).0, Some(3));
}
