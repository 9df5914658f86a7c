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
    #[cfg(feature = "parquet")]
    tables(ended, records, run);
    let dump = format!("{}.hl", ended.pid);
    let (code, _, told) = run(&["report", "--from", "1s", &dump]);
    assert!(code == Some(2) && told.contains("is no trace"), "{told}");
    assert_eq!(run(&["trace", &dump]).0, Some(3));
}

/// The tables of a trace have every event, and every block with its end.
#[cfg(feature = "parquet")]
fn tables(ended: &Ended, records: &[Dated], run: impl Fn(&[&str]) -> (Option<i32>, String, String)) {
    use super::read_back::{int, tables, text};
    use parquet::record::Field;

    let (code, _, told) = run(&["export", "--format", "parquet", "-o", "heaps", "t.hlt"]);
    assert_eq!(code, Some(0), "{told}");
    let tables = tables(&ended.path("heaps"));
    let totals = ended.dump().totals;
    let is_live = |row: &&super::read_back::Row| row["ended_ns"] == Field::Null;
    let blocks = &tables["block"];
    let bytes = |rows: &mut dyn Iterator<Item = &super::read_back::Row>| {
        rows.map(|row| int(row, "size_bytes")).sum::<i64>() as u64
    };
    assert_eq!(
        (blocks.len() as u64, bytes(&mut blocks.iter())),
        (totals.total_blocks, totals.total_bytes),
        "a realloc starts a block"
    );
    assert_eq!(
        (blocks.iter().filter(is_live).count() as u64, bytes(&mut blocks.iter().filter(is_live))),
        (totals.live_blocks, totals.live_bytes)
    );
    let by_realloc = blocks.iter().filter(|row| row["ended_by"] == Field::Str("realloc".into()));
    assert_eq!(by_realloc.count() as u64, totals.reallocs);
    let events = records.iter().filter(|dated| dated.record.is_event()).count();
    assert_eq!((tables["event"].len(), text(&tables["event"][0], "kind")), (events, "alloc"));
    let own = Field::Bool(false);
    let of_program = tables["event"].iter().filter(|row| row["internal"] == own);
    assert_eq!(bytes(&mut of_program.into_iter()), totals.total_bytes);
    assert_eq!(tables["run"][0]["has_events"], Field::Bool(true));
}
