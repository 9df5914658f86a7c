//! The writer of the trace: takes the chunks of words that folds have filled, and appends them to the file as frames.
//!
//! From time to time the writer books every ring (a *barrier*). Then all earlier events are in the chunks, and the
//! frame states the time of the barrier. With these times, a reader can order the records of several threads without
//! reading the whole file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::trace_file::TraceFile;
use super::{diagnostic, naming};
use crate::dump::{NUMBERED_NAMES_MAX, with_suffix};
use crate::ledger::Ledger;
use crate::ledger::trace_buffer::{WINDOW_HEAD, WindowHead};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::sys::sync::Ordering;
use crate::trace::{Counts, FileHead, Window, is_trace, writer::Writer};

/// Minimum time between two barriers, at which every ring is booked, in nanoseconds.
const BARRIER_NS: u64 = 16_000_000;
/// Maximum time from the start to the end of a frame, in nanoseconds. If the process is killed, the records of about
/// this time can be lost.
const FRAME_NS: u64 = 250_000_000;
/// Maximum number of chunks that are written in one step, while the latch of the writer is held.
pub(super) const CHUNKS_PER_STEP: u32 = 32;

/// The writer of the trace.
pub(super) struct TraceWriter {
    path: PathBuf,
    /// The open file, or `None` once writing has failed or the trace is finished.
    writer: Option<Writer<TraceFile>>,
    /// Time at which every ring was last booked, in nanoseconds.
    barrier_ns: u64,
    /// Barriers, at which every ring was booked. An entry has the number of chunks that were filled before the barrier,
    /// and the time of the barrier in nanoseconds. The entry is removed when all these chunks are written.
    barriers: VecDeque<(u64, u64)>,
    /// Number of chunks written so far.
    chunks: u64,
    /// Time at which a frame was last ended because of its age, in nanoseconds.
    frame_ns: u64,
}

impl TraceWriter {
    /// Opens the file and writes its head. If the file cannot be opened or written, the trace ends, with a line on
    /// standard error. Returns `None` if the settings ask for no trace.
    pub(super) fn open(ledger: &Ledger) -> Option<TraceWriter> {
        let path = naming::expand(state::options().trace_pattern()?);
        // relaxed, both: written before the ledger was published.
        let head = FileHead {
            process_id: ledger.facts.process_id.load(Ordering::Relaxed),
            started_unix_ns: ledger.facts.started_unix_ns.load(Ordering::Relaxed),
        };
        let barriers = VecDeque::new();
        let mut trace = TraceWriter { path, writer: None, barrier_ns: 0, barriers, chunks: 0, frame_ns: 0 };
        let writer = create(&trace.path).and_then(|(file, path)| {
            if path != trace.path {
                let (asked, actual) = (trace.path.display(), path.display());
                diagnostic::print(format_args!(
                    "{asked} is the trace of another process, this one is {actual}"
                ));
                trace.path = path;
            }
            Writer::begin(TraceFile::new(file), head)
        });
        match writer {
            Ok(writer) => trace.writer = Some(writer),
            Err(error) => trace.fail(ledger, &error),
        }
        Some(trace)
    }

    /// Ends the trace at its current length, because of `error`.
    fn fail(&mut self, ledger: &Ledger, error: &io::Error) {
        self.writer = None;
        ledger.trace_buffer.give_up();
        match naming::lost_directory(&self.path) {
            Some(lost) => diagnostic::print(format_args!("no trace: {lost}")),
            None => {
                let path = self.path.display();
                diagnostic::print(format_args!("cannot write the trace {path}: {error}; it ends here"));
            }
        }
    }

    /// Writes up to [`CHUNKS_PER_STEP`] chunks, and returns their number.
    pub(super) fn step(&mut self, ledger: &Ledger, scope: &InternalScope) -> u32 {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.barrier_ns) >= BARRIER_NS {
            {
                let _paused = RecordingPaused::enter(scope);
                book_all(ledger);
                ledger.trace_buffer.push_out(&ledger.pages);
            }
            self.barrier_ns = now_ns;
            self.barriers.push_back((self.chunks + u64::from(ledger.trace_buffer.full_count()), now_ns));
        }
        let chunks = self.write_chunks(ledger);
        if now_ns.saturating_sub(self.frame_ns) >= FRAME_NS {
            self.end_frame(ledger);
            self.frame_ns = now_ns;
        }
        chunks
    }

    fn write_chunks(&mut self, ledger: &Ledger) -> u32 {
        let mut chunks = 0;
        loop {
            while let Some((_, barrier_ns)) = self.barriers.pop_front_if(|(chunks, _)| *chunks <= self.chunks)
            {
                if let Some(writer) = &mut self.writer {
                    writer.passed(barrier_ns);
                }
            }
            if chunks == CHUNKS_PER_STEP {
                return chunks;
            }
            let Some(chunk) = ledger.trace_buffer.take_full(&ledger.pages) else { return chunks };
            self.write_windows(ledger, chunk.words(&ledger.pages));
            ledger.trace_buffer.give_back(&ledger.pages, chunk);
            self.chunks += 1;
            chunks += 1;
        }
    }

    fn write_windows(&mut self, ledger: &Ledger, mut rest: &[u64]) {
        while let Some((head, behind)) = rest.split_first_chunk::<WINDOW_HEAD>() {
            let WindowHead { row, words, first_ns, step } = WindowHead::read(*head);
            let Some((words, after)) = behind.split_at_checked(words as usize) else { return };
            rest = after;
            let Some(writer) = &mut self.writer else { return };
            writer.window(Window { row, first_ns, step }, words);
            if writer.is_frame_full() {
                self.end_frame(ledger);
            }
        }
    }

    fn end_frame(&mut self, ledger: &Ledger) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.end_frame(ledger.trace_buffer.lost()) {
            self.fail(ledger, &error);
        }
    }

    /// Writes the remaining chunks, followed by the dump.
    pub(super) fn finish(&mut self, ledger: &Ledger, dump: &[u8]) {
        while self.write_chunks(ledger) > 0 {}
        let (waits, waited_ns) = ledger.trace_buffer.waits();
        let Some(writer) = &mut self.writer else { return };
        writer.passed(u64::MAX);
        let counts = Counts { lost: ledger.trace_buffer.lost(), waits, waited_ns, ..Counts::default() };
        match writer.finish(dump, counts) {
            Err(error) => self.fail(ledger, &error),
            Ok(_) if !self.path.exists() => {
                diagnostic::print(format_args!("the trace {} was removed meanwhile", self.path.display()));
            }
            Ok(_) => {}
        }
        self.writer = None;
    }
}

/// Books every ring that has waiting words.
fn book_all(ledger: &Ledger) {
    if ledger.is_ordered() {
        ledger.fold_in_order();
        return;
    }
    for lane in ledger.lanes() {
        if lane.head().observe() != lane.folder.tail.observe() {
            ledger.fold(lane);
        }
    }
}

/// Opens the file of a trace, which is a new file or a pipe, and returns the file with its path. If another trace has
/// the name, the new trace gets the first free name with a number, as a dump does. Any other file at the path is an
/// error.
fn create(path: &Path) -> io::Result<(File, PathBuf)> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, why.to_owned()));
    for number in 1..=NUMBERED_NAMES_MAX {
        let target = if number == 1 { path.to_owned() } else { with_suffix(path, &format!("-{number}")) };
        let opened = match fs::symlink_metadata(&target) {
            Ok(metadata) if is_fifo(&metadata) => open_new(&target, false),
            Ok(metadata) if metadata.is_file() => {
                let mut start = Vec::new();
                File::open(&target)?.take(8).read_to_end(&mut start)?;
                if number == 1 && !is_trace(&start) {
                    return refused("there is a file that is not a trace; it was left alone");
                }
                continue;
            }
            Ok(_) if number > 1 => continue,
            Ok(_) => return refused("there is something that is no file; it was left alone"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => open_new(&target, true),
            Err(error) => Err(error),
        };
        match opened {
            // Another process has just made the file, so the next name is tried.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (file, target)),
        }
    }
    refused("too many other traces have its name and numbers")
}

/// Makes a file, which must not exist yet, or opens a pipe.
fn open_new(path: &Path, is_file: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(is_file);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path)
}

#[cfg(unix)]
fn is_fifo(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_fifo(_metadata: &fs::Metadata) -> bool {
    false
}
