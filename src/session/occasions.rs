//! Dumps while the process runs: on a signal, or when a trigger says so.
//!
//! They are written by a thread of heapledger's own, which exists only where they are asked for. It waits at the bell
//! (`sys::signals`), so the thread that a signal interrupts, and the aggregator that finds an occasion, go on at once.
//!
//! ```text
//!  signal handler ──┐
//!                   ├─► bell ─► this thread: dump ─► (a signal that ends) the system's answer
//!  aggregator ──────┘
//! ```
//!
//! A dump for a signal that ends the process takes the name of the dump at exit, which will not be written. The others
//! are numbered: `heapledger.app.77.1.hl`, `heapledger.app.77.2.hl`, …; of these the last few are kept.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{dump_pattern, expand, with_ledger, write_dump};
use crate::profile::Occasion;
use crate::recorder::internal::InternalScope;
use crate::recorder::{state, thread};
use crate::sys::latch::{Latch, Taken, wait};
use crate::sys::{platform, signals, statics};

/// Steps that the end of the process waits for a dump under way; about [`signals::DEADLINE_S`].
const PAUSE_ROUNDS_MAX: u32 = 200_000;

/// Held while a dump is written.
static WORK: Latch = Latch::new();

/// Keeps further dumps from being begun, and waits for one under way.
pub(super) fn pause() -> Option<Taken<'static>> {
    (0..PAUSE_ROUNDS_MAX).find_map(|round| {
        let taken = WORK.try_take();
        if taken.is_none() {
            wait(round);
        }
        taken
    })
}

/// Forgets the thread, in a forked child, where it does not exist.
pub(super) fn forget() {
    WORK.open();
    statics::reset_after_fork();
}

/// The body of the thread.
pub(super) fn run() {
    platform::name_thread(c"heapledger-dump");
    let own = InternalScope::enter();
    let Some(lane) = own.lane() else { return };
    thread::mark_background(lane);
    if !signals::watch(state::options().signals) {
        platform::write_stderr(b"heapledger: signals cannot be watched here, there will be no dump on one\n");
    }
    let mut kept = Kept::default();
    loop {
        let asked = signals::wait();
        if !state::current().records() {
            return;
        }
        for occasion in Occasion::ALL.into_iter().filter(|occasion| asked & occasion.bit() != 0) {
            let working = WORK.take();
            answer(occasion, &mut kept);
            drop(working);
        }
    }
}

fn answer(occasion: Occasion, kept: &mut Kept) {
    let index = match occasion {
        Occasion::Signal(signal) => signal as usize,
        _ => return tell(kept.write(occasion)),
    };
    if signals::set_deadline(index) {
        let path = with_ledger(|_, _| dump_pattern().map(|pattern| expand(&pattern))).flatten();
        tell(path.map_or(Ok(()), |path| write(&path, occasion)));
        signals::end_if_due(index);
    } else {
        tell(kept.write(occasion));
    }
}

fn write(path: &Path, occasion: Occasion) -> Result<(), String> {
    write_dump(path, &occasion.to_string()).map(|_| ()).map_err(|error| error.to_string())
}

fn tell(written: Result<(), String>) {
    if let Err(error) = written {
        platform::write_stderr(format!("heapledger: {error}\n").as_bytes());
    }
}

/// The numbered dumps.
#[derive(Debug, Default)]
struct Kept {
    written: u64,
    paths: VecDeque<PathBuf>,
}

impl Kept {
    fn write(&mut self, occasion: Occasion) -> Result<(), String> {
        let Some(pattern) = dump_pattern() else { return Ok(()) };
        let path = numbered(&expand(&pattern), self.written + 1);
        write(&path, occasion)?;
        self.written += 1;
        self.paths.push_back(path);
        while self.paths.len() > state::options().triggers.keep as usize {
            if let Some(oldest) = self.paths.pop_front() {
                // Someone may have moved it away, which is fine.
                let _ = std::fs::remove_file(oldest);
            }
        }
        Ok(())
    }
}

/// The path with a number in front of its extension.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_front_of_the_extension() {
        let of = |path: &str| numbered(Path::new(path), 7).display().to_string();
        assert_eq!(of("/tmp/heapledger.app.1.hl"), "/tmp/heapledger.app.1.7.hl");
        assert_eq!(of("dump"), "dump.7");
    }
}
