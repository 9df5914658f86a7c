//! Assertions that compare the figures of a block of code with figures in a file.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::assertion::Asserting;
use super::failure::{Asserted, failure};
use super::figure::Limit;
use super::measurement::Ended;
use super::snapshot_line::{find, is_name, with_line};
use crate::recorder::internal::InternalScope;

/// Asserts that a block of code allocates no more than its line in the file `tests/heap.snap` allows, and returns the
/// value of the block.
///
/// The file is in the package of the test. It has one line for each name, sorted by name:
///
/// ```text
/// parse/small allocations=12 reallocations=0 bytes=3104~5% peak=9728 retained=1 retained_bytes=64
/// ```
///
/// The assertion fails if a figure is above its value. `~5%` or `~64` after a value allows that difference. A figure
/// that was removed from the line is not checked. With `HEAPLEDGER_BLESS=1`, each assertion that runs writes its
/// figures into its line and keeps the other lines. Several processes may write at once. A figure below its value
/// passes with a note on standard error, or fails if `HEAPLEDGER_RATCHET=1` is set. A name is one word.
///
/// `warmup = N` after the name runs the block `N` times first, without counting.
///
/// ```no_run
/// # fn parse(text: &str) -> Vec<&str> { text.split(' ').collect() }
/// let document = heapledger::assert_heap_snapshot!("parse/small", { parse("a b c") });
/// let document = heapledger::assert_heap_snapshot!("parse/again", warmup = 1, { parse("a b c") });
/// ```
///
/// # Panics
///
/// Panics as [`assert_heap!`](crate::assert_heap) does, and if the file has no line for the name or cannot be read.
#[macro_export]
macro_rules! assert_heap_snapshot {
    ($name:expr, warmup = $rounds:expr, $work:expr) => {{
        for _ in 0..$rounds {
            let _ = $work;
        }
        $crate::assert_heap_snapshot!($name, $work)
    }};
    ($name:expr, $work:expr) => {{
        let name = $name;
        let measurement = $crate::scope::Asserting::begin();
        let value = $work;
        measurement.end_as_in_file(name.as_ref(), ::std::env!("CARGO_MANIFEST_DIR"));
        value
    }};
}

/// Path of the file, relative to the folder of the package.
const FILE: &str = "tests/heap.snap";

impl Asserting {
    /// Ends the measurement, and panics if a figure is above its value in the file.
    #[doc(hidden)]
    #[track_caller]
    pub fn end_as_in_file(self, name: &str, package: &str) {
        let place = self.place();
        let ended = self.end_and_keep();
        let outcome = {
            let _internal = InternalScope::enter();
            let at = format!("{}:{}", place.file(), place.line());
            check(name, &at, &file_of(package), &ended)
        };
        drop(ended);
        match outcome {
            Ok(None) => {}
            Ok(Some(note)) => eprintln!("{note}"),
            Err(message) => panic!("{message}"),
        }
    }
}

/// Returns the path of the file. The package may have been moved since the test was built. So the folder that cargo and
/// nextest pass at run time is used if there is one, otherwise `package`.
fn file_of(package: &str) -> PathBuf {
    let now = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    now.unwrap_or_else(|| PathBuf::from(package)).join(FILE)
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Compares the figures with those in the file. With `HEAPLEDGER_BLESS=1`, writes the figures into the file instead.
/// Returns a note if a value in the file can be lowered. Returns the message as an error if the assertion fails.
fn check(name: &str, at: &str, file: &Path, ended: &Ended) -> Result<Option<String>, String> {
    let broken = |why: &dyn std::fmt::Display| format!("heap snapshot `{name}` at {at}: {why}");
    if !is_name(name) {
        return Err(broken(&"a name is one word that does not begin with `#`"));
    }
    let asserted =
        |limits| Asserted { name: format!("{at}, `{name}` in {FILE}"), is_of_all_threads: false, limits };
    if let Some(message) = ended.inconclusive.and_then(|_| failure(&asserted(&[]), ended)) {
        return Err(message);
    }
    if is_set("HEAPLEDGER_BLESS") {
        bless(file, name, ended).map_err(|why| broken(&why))?;
        return Ok(None);
    }
    let how = "`HEAPLEDGER_BLESS=1` writes the figures of the tests that run";
    let text = read(file).map_err(|error| broken(&format_args!("{}: {error}; {how}", file.display())))?;
    let kept = find(&text, name).map_err(|why| broken(&why))?;
    let kept = kept.ok_or_else(|| broken(&format_args!("{} has no line for it; {how}", file.display())))?;
    let upper: Vec<Limit> = kept.iter().map(|kept| kept.upper()).collect();
    if let Some(message) = failure(&asserted(&upper), ended) {
        return Err(format!("{message}\n  to accept these figures: HEAPLEDGER_BLESS=1"));
    }
    let lower: Vec<Limit> = kept.iter().filter_map(|kept| kept.lower(&ended.usage)).collect();
    let loose = lower.iter().filter(|limit| !limit.is_kept(&ended.usage));
    let loose: Vec<String> = loose.map(|limit| limit.with_figure(&ended.usage)).collect();
    if loose.is_empty() {
        return Ok(None);
    }
    let note = broken(&format_args!("can be tightened by HEAPLEDGER_BLESS=1: {}", loose.join(", ")));
    if is_set("HEAPLEDGER_RATCHET") { Err(note) } else { Ok(Some(note)) }
}

fn read(file: &Path) -> io::Result<String> {
    let mut open = File::open(file)?;
    // The lock keeps writers away. On a file system without locks, the file is read without a lock.
    let _ = open.lock_shared();
    let mut text = String::new();
    open.read_to_string(&mut text).map(|_| text)
}

/// Writes the figures of a name into the file. The file is locked meanwhile, because other processes write to it too.
fn bless(file: &Path, name: &str, ended: &Ended) -> Result<(), String> {
    let in_file = |error: io::Error| format!("{}: {error}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(in_file)?;
    }
    let mut options = File::options();
    let mut open = options.read(true).write(true).create(true).truncate(false).open(file).map_err(in_file)?;
    open.lock().map_err(in_file)?;
    let mut text = String::new();
    open.read_to_string(&mut text).map_err(in_file)?;
    let blessed = with_line(&text, name, &ended.usage)?;
    if blessed != text {
        open.rewind().map_err(in_file)?;
        open.write_all(blessed.as_bytes()).map_err(in_file)?;
        open.set_len(blessed.len() as u64).map_err(in_file)?;
    }
    Ok(())
}
