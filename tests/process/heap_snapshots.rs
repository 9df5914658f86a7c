//! `assert_heap_snapshot!`: written, kept, broken and tightened, by one process and by several at once.

use std::fs;
use std::path::Path;

use heapledger::assert_heap_snapshot;

use super::budgets::failure_of;
use super::case::Case;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::series("a_snapshot_of_figures_is_written_kept_broken_and_tightened", take_snapshots, |case| {
        let package = tempfile::tempdir().unwrap();
        let play = |more: &[(&str, &str)]| {
            let folder = package.path().to_str().unwrap();
            let ended = case.play_with(&[&[("CARGO_MANIFEST_DIR", folder)], more].concat());
            assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
            (ended.stdout.clone(), ended.stderr.clone())
        };
        assert!(play(&[]).0.contains("`HEAPLEDGER_BLESS=1` writes"), "there is no file");
        let bless = [("HEAPLEDGER_BLESS", "1")];
        assert_eq!(play(&[bless[0], ("NAMES", "2")]), (String::new(), String::new()));
        assert_eq!(
            lines(package.path()),
            [
                "group/name-0 allocations=1 reallocations=0 bytes=100 peak=100 retained=0 retained_bytes=0",
                "group/name-1 allocations=1 reallocations=0 bytes=101 peak=101 retained=0 retained_bytes=0",
            ]
        );
        assert_eq!(play(&[("NAMES", "2"), ("HEAPLEDGER_RATCHET", "1")]).0, "");
        // A name that has no line, then larger figures, then smaller ones.
        assert!(play(&[("NAMES", "3")]).0.contains("has no line for it"));
        let said = play(&[("NAMES", "2"), ("SIZE", "200")]).0;
        assert!(said.starts_with("heap budget broken: tests/process/heap_snapshots.rs:"), "{said}");
        assert!(said.contains("`group/name-0` in tests/heap.snap") && said.contains("(+100 B)"), "{said}");
        let (said, note) = play(&[("NAMES", "1"), ("SIZE", "90")]);
        assert_eq!(said, "");
        assert!(note.contains("can be tightened") && note.contains("bytes 90 B (was 100 B)"), "{note}");
        let said = play(&[("NAMES", "1"), ("SIZE", "90"), ("HEAPLEDGER_RATCHET", "1")]).0;
        assert!(said.contains("can be tightened"), "{said}");
        // Within a tolerance, both ways.
        let file = package.path().join("tests/heap.snap");
        fs::write(&file, "group/name-0 bytes=100~10% allocations=1\n").unwrap();
        for size in ["90", "110"] {
            assert_eq!(play(&[("NAMES", "1"), ("SIZE", size), ("HEAPLEDGER_RATCHET", "1")]).0, "");
        }
        assert!(play(&[("NAMES", "1"), ("SIZE", "111")]).0.contains("allowed <= 110 B"));
        fs::write(&file, "group/name-0 bytes=many\n").unwrap();
        assert!(play(&[("NAMES", "1")]).0.contains("is no figure"));
        let sampled = [("NAMES", "1"), ("HEAPLEDGER_MODE", "throughput"), bless[0]];
        assert!(play(&sampled).0.contains("heap budget inconclusive: "), "and it writes nothing");
        assert_eq!(fs::read_to_string(&file).unwrap(), "group/name-0 bytes=many\n");
    }),
    Case::series("several_processes_write_snapshots_at_once", take_snapshots, |case| {
        let package = tempfile::tempdir().unwrap();
        let folder = package.path().to_str().unwrap();
        fs::create_dir(package.path().join("tests")).unwrap();
        fs::write(package.path().join("tests/heap.snap"), "# ours\nother bytes=5\n").unwrap();
        std::thread::scope(|threads| {
            for group in ["a", "b", "c", "d"] {
                threads.spawn(move || {
                    let more = [("CARGO_MANIFEST_DIR", folder), ("HEAPLEDGER_BLESS", "1"), ("NAMES", "50")];
                    case.play_with(&[&more[..], &[("GROUP", group)]].concat()).quietly();
                });
            }
        });
        let lines = lines(package.path());
        assert_eq!(lines.len(), 4 * 50 + 2, "{lines:#?}");
        assert_eq!(lines[0], "# ours");
        assert!(lines[1..].is_sorted());
    }),
];

fn lines(package: &Path) -> Vec<String> {
    let text = fs::read_to_string(package.join("tests/heap.snap")).unwrap();
    text.lines().filter(|line| !line.starts_with("# Heap")).map(str::to_owned).collect()
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Prints the message of the first assertion that fails.
fn take_snapshots() {
    let (names, size) = (number("NAMES", 1), number("SIZE", 100));
    let group = std::env::var("GROUP").unwrap_or_else(|_| "group".to_owned());
    for n in 0..names {
        let name = format!("{group}/name-{n}");
        let kept = std::panic::catch_unwind(|| {
            assert_heap_snapshot!(&name, warmup = 1, free(block(size + n), size + n));
        });
        if kept.is_err() {
            let said =
                failure_of(|| assert_heap_snapshot!(&name, warmup = 1, free(block(size + n), size + n)));
            println!("{said}");
            return;
        }
    }
}
