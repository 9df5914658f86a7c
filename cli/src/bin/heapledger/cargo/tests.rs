//! Report on `cargo heapledger test`: a table with a row for each test.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use heapledger::text::escape::escaped;
use heapledger::text::units::{bytes, count, counted};
use heapledger_cli::cargo::per_test::{self, TestRow};
use heapledger_cli::report::table::Table;

use super::args::RecordArgs;
use super::shown;
use crate::exit::{Exit, Failure, written};
use crate::page::layout;
use crate::read;

/// Maximum number of listed tests that retain memory. (The list of tests by bytes allocated has `--top` rows.)
const RETAINING_ROWS: usize = 10;

/// Prints the tables of tests. Also reports on one dump, if the flags request a report or no test has a row.
pub(super) fn show(dumps: &[PathBuf], directory: &Path, args: &mut RecordArgs) -> Result<Exit, Failure> {
    let target = directory.join("target");
    let (mut rows, mut programs, mut largest) = (Vec::new(), 0, None);
    for dump in dumps {
        let profile = read::whole(dump)?.profile;
        let program = per_test::test_program(&profile, &target);
        let names = program.as_deref().map(per_test::names);
        // Programs that have tests are preferred for the report, because a test program without tests allocates too.
        let rank = (names.as_ref().is_none_or(|names| !names.is_empty()), profile.totals.total_bytes);
        if largest.as_ref().is_none_or(|(most, _)| rank > *most) {
            largest = Some((rank, dump));
        }
        let found = per_test::rows(&profile, &names.unwrap_or_default());
        programs += usize::from(!found.is_empty());
        rows.extend(found);
    }
    let text =
        text(&rows, programs, args.reported.sites.top, layout(&args.reported.page, &io::stderr()).width);
    written(io::stderr().write_all(text.as_bytes()), "standard error")?;
    let Some((_, dump)) = largest else { return Ok(Exit::Fine) };
    if args.reported.html.is_some() || args.open || args.report || rows.is_empty() {
        return shown::show(&with_first(dumps, dump), directory, args);
    }
    let places = match dumps.len() {
        1 => format!("\nThe dump is {}\n", escaped(&dump.display().to_string())),
        many => format!(
            "\nThe {many} dumps are in {}; the one with most bytes is {}\n",
            escaped(&dump.parent().unwrap_or(Path::new(".")).display().to_string()),
            escaped(&dump.file_name().unwrap_or_default().to_string_lossy())
        ),
    };
    written(io::stderr().write_all(places.as_bytes()), "standard error")?;
    Ok(Exit::Fine)
}

/// Sorts the dumps of benches by bytes allocated, the largest first. `cargo bench` also starts test programs; their
/// dumps come last.
pub(super) fn sort_benches(dumps: &mut [PathBuf], directory: &Path) {
    let target = directory.join("target");
    dumps.sort_by_cached_key(|dump| {
        let profile = heapledger::dumps::read(dump).ok().map(|dump| dump.profile);
        Reverse(
            profile.map(|profile| {
                (per_test::test_program(&profile, &target).is_none(), profile.totals.total_bytes)
            }),
        )
    });
}

/// Returns the dumps with `first` moved to the front.
fn with_first(dumps: &[PathBuf], first: &Path) -> Vec<PathBuf> {
    let others = dumps.iter().filter(|dump| *dump != first).cloned();
    std::iter::once(first.to_owned()).chain(others).collect()
}

/// Returns the tables of tests as text.
fn text(rows: &[TestRow], programs: usize, top: usize, width: usize) -> String {
    if rows.is_empty() {
        return "\nheapledger: no test ran in a thread of its own, so there is no row for each test\n"
            .to_owned();
    }
    let mut text = format!(
        "\nheapledger: {} in {}, by the thread that ran each; threads that a test starts do not count\n",
        counted(rows.len() as u64, "test", "tests"),
        counted(programs as u64, "program", "programs"),
    );
    let lost: u64 = rows.iter().map(|row| row.lost).sum();
    if lost > 0 {
        text.push_str(&format!("{} of these tests were lost: their figures are lower bounds\n", count(lost)));
    }
    let mut by_bytes: Vec<&TestRow> = rows.iter().collect();
    by_bytes.sort_by_key(|row| (Reverse(row.bytes), &row.name));
    text.push_str("\nTests that allocate most\n");
    text.push_str(&table(by_bytes.iter().take(top).copied(), width));
    if rows.len() > top {
        text.push_str(&format!(
            "  {} more; --top {} lists all\n",
            count((rows.len() - top) as u64),
            rows.len()
        ));
    }
    let mut retaining: Vec<&TestRow> = rows.iter().filter(|row| row.retained_bytes > 0).collect();
    retaining.sort_by_key(|row| (Reverse(row.retained_bytes), &row.name));
    text.push_str("\nTests that retain: live when their program ended\n");
    if retaining.is_empty() {
        text.push_str("  none\n");
    } else {
        let more = retaining.len().saturating_sub(RETAINING_ROWS);
        text.push_str(&table(retaining.into_iter().take(RETAINING_ROWS), width));
        if more > 0 {
            text.push_str(&format!("  {} more\n", count(more as u64)));
        }
    }
    text
}

fn table<'a>(rows: impl Iterator<Item = &'a TestRow>, width: usize) -> String {
    let mut table = Table::new("allocated|blocks|retained|<test|<program").shrinking(3);
    for row in rows {
        table.row([
            bytes(row.bytes),
            count(row.blocks),
            bytes(row.retained_bytes),
            escaped(&row.name),
            escaped(&row.program),
        ]);
    }
    let mut text = Vec::new();
    table.write(&mut text, width).expect("memory takes everything");
    String::from_utf8_lossy(&text).into_owned()
}
