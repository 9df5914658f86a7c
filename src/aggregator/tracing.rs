//! Writing the trace: takes the chunks that folds have filled, and appends them to the file as frames.
//!
//! A thread of its own does it, so that a slow disk does not keep the aggregator from ticking. At the end of the process
//! the thread that writes the dump writes what is left, with the dump behind it. Both work under one latch.
//!
//! Now and then the writer has every ring booked: then all that happened before is in the chunks, and the frame can say
//! so. That is what lets a reader put records of several threads in order without reading the whole file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::naming;
use super::shared::Shared;
use super::trace_file::TraceFile;
use crate::ledger::Ledger;
use crate::ledger::trace_buffer::{WINDOW_HEAD, WindowHead};
use crate::profile::Profile;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{state, thread};
use crate::sys::latch::Taken;
use crate::sys::platform;
use crate::sys::sync::Ordering;
use crate::trace::{Counts, FileHead, Window, is_trace, writer::Writer};

/// Time between two moments at which every ring is booked, in nanoseconds.
const BARRIER_NS: u64 = 16_000_000;
/// Time after which a frame is ended although it could hold more: what a killed process can lose.
const FRAME_NS: u64 = 250_000_000;
/// Chunks that are written before the latch is let go.
const CHUNKS_A_STEP: u32 = 32;
/// Pause while little comes in, and while nothing does, in nanoseconds.
const PAUSE_NS: u64 = 4_000_000;
const PAUSE_NS_IDLE: u64 = 20_000_000;
/// Steps that the end of the process waits for the writer; some seconds.
const FINISH_ROUNDS_MAX: u32 = 100_000;
/// Steps that a snapshot waits for the writer to come to an end of its own.
const PAUSE_ROUNDS_MAX: u32 = 2_000;

static TRACER: Shared<Tracer> = Shared::empty();

/// The trace that is being written.
struct Tracer {
    path: PathBuf,
    /// Gone once writing has failed.
    writer: Option<Writer<TraceFile>>,
    /// When every ring was booked last.
    barrier_ns: u64,
    /// Such moments, with how many chunks there had been until then, that still have chunks to be written.
    barriers: VecDeque<(u64, u64)>,
    /// Chunks written so far.
    chunks: u64,
    frame_ns: u64,
}

/// Bytes of the writer's stack: it encodes and compresses whole frames.
const STACK_BYTES: usize = 512 << 10;

/// Starts the writer's thread, if there is to be a trace. If the thread cannot be had, the end of the process writes.
pub(super) fn start(ledger: &Ledger) {
    if ledger.trace_buffer.is_open() {
        platform::spawn(STACK_BYTES, run);
    }
}

/// Keeps the writer from work for as long as the result lives. `None` if it does not come to an end in time.
pub(super) fn pause() -> Option<Taken<'static>> {
    TRACER.pause(PAUSE_ROUNDS_MAX)
}

/// Forgets the parent's trace, in a forked child: the file is the parent's.
pub(super) fn forget() {
    TRACER.forget();
}

/// The body of the thread.
fn run() {
    platform::name_thread(c"hl-trace");
    let own = InternalScope::enter();
    let (Some(ledger), Some(lane)) = (state::ledger(), own.lane()) else { return };
    thread::mark_background(lane);
    ledger.trace_buffer.set_written(true);
    while state::current().records() && ledger.trace_buffer.is_open() {
        let chunks = TRACER.with(|| Tracer::open(ledger), |tracer| tracer.step(ledger, &own));
        match chunks {
            Some(0) | None => platform::sleep_ns(PAUSE_NS_IDLE),
            Some(few) if few < CHUNKS_A_STEP => platform::sleep_ns(PAUSE_NS),
            Some(_) => {}
        }
    }
    ledger.trace_buffer.set_written(false);
}

/// Whether there is a trace that the end of the process has to finish.
pub(crate) fn is_on(ledger: &Ledger) -> bool {
    ledger.trace_buffer.is_open()
}

/// Writes what is left of the trace, with the dump that was taken where it ends. `profile` closed the tap.
pub(crate) fn finish(ledger: &Ledger, profile: &Profile) {
    let mut dump = Vec::new();
    // Into memory: it cannot fail.
    let _ = crate::dump::write_to(&mut dump, profile);
    let done = TRACER.with_patience(
        FINISH_ROUNDS_MAX,
        || Tracer::open(ledger),
        |tracer| {
            platform::with_failing_writes(|| tracer.finish(ledger, &dump));
        },
    );
    if done.is_none() && state::options().trace_pattern().is_some() {
        complain("the trace was not ended: its writer did not come to an end of its own");
    }
}

fn complain(what: &str) {
    platform::write_stderr(format!("heapledger: {what}\n").as_bytes());
}

impl Tracer {
    /// Opens the file and writes its head. A trace that cannot be opened is given up, with one line on standard error.
    fn open(ledger: &Ledger) -> Option<Tracer> {
        let path = naming::expand(state::options().trace_pattern()?);
        // relaxed, both: written before the ledger was published.
        let head = FileHead {
            process_id: ledger.facts.process_id.load(Ordering::Relaxed),
            started_unix_ns: ledger.facts.started_unix_ns.load(Ordering::Relaxed),
        };
        let writer = create(&path).map(TraceFile::new).and_then(|file| Writer::begin(file, head));
        let mut tracer =
            Tracer { path, writer: None, barrier_ns: 0, barriers: VecDeque::new(), chunks: 0, frame_ns: 0 };
        match writer {
            Ok(writer) => tracer.writer = Some(writer),
            Err(error) => tracer.fail(ledger, &error),
        }
        Some(tracer)
    }

    /// Ends the trace where it stands.
    fn fail(&mut self, ledger: &Ledger, error: &io::Error) {
        self.writer = None;
        ledger.trace_buffer.give_up();
        complain(&format!("cannot write the trace {}: {error}; it ends here", self.path.display()));
    }

    /// Writes some of what is there. Returns how many chunks that was.
    fn step(&mut self, ledger: &Ledger, own: &InternalScope) -> u32 {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.barrier_ns) >= BARRIER_NS {
            {
                let _quiet = RecordingPaused::enter(own);
                book_all(ledger);
                ledger.trace_buffer.push_out(&ledger.pages);
            }
            self.barrier_ns = now_ns;
            self.barriers.push_back((self.chunks + u64::from(ledger.trace_buffer.full_count()), now_ns));
        }
        let chunks = self.write_chunks(ledger, CHUNKS_A_STEP);
        if now_ns.saturating_sub(self.frame_ns) >= FRAME_NS {
            self.end_frame(ledger);
            self.frame_ns = now_ns;
        }
        chunks
    }

    /// Writes at most so many chunks, and returns how many there were.
    fn write_chunks(&mut self, ledger: &Ledger, most: u32) -> u32 {
        let mut chunks = 0;
        loop {
            while let Some((_, barrier_ns)) = self.barriers.pop_front_if(|(chunks, _)| *chunks <= self.chunks)
            {
                if let Some(writer) = &mut self.writer {
                    writer.passed(barrier_ns);
                }
            }
            if chunks == most {
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

    fn finish(&mut self, ledger: &Ledger, dump: &[u8]) {
        while self.write_chunks(ledger, CHUNKS_A_STEP) > 0 {}
        let (waits, waited_ns) = ledger.trace_buffer.waits();
        let Some(writer) = &mut self.writer else { return };
        writer.passed(u64::MAX);
        let counts = Counts { lost: ledger.trace_buffer.lost(), waits, waited_ns, ..Counts::default() };
        if let Err(error) = writer.finish(dump, counts) {
            self.fail(ledger, &error);
        }
        self.writer = None;
    }
}

/// Books every ring that has something to book.
fn book_all(ledger: &Ledger) {
    if ledger.is_ordered() {
        return ledger.fold_in_order();
    }
    for lane in ledger.lanes() {
        if lane.head().observe() != lane.folder.tail.observe() {
            ledger.fold(lane);
        }
    }
}

/// The file of a trace: a new one, or an older trace that is overwritten, or a pipe. Anything else is left alone, and so
/// is a trace that another process is writing.
fn create(path: &Path) -> io::Result<File> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::AlreadyExists, why.to_owned());
    let mut is_pipe = false;
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let mut start = Vec::new();
            File::open(path)?.take(8).read_to_end(&mut start)?;
            if !is_trace(&start) {
                return Err(refused("there is a file that is not a trace; it was left alone"));
            }
        }
        Ok(metadata) if is_fifo(&metadata) => is_pipe = true,
        Ok(_) => return Err(refused("there is something that is no file; it was left alone")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.write(true).create(!is_pipe);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    let mut file = options.open(path)?;
    if !is_pipe {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(refused("another process is writing it")),
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => file.set_len(0)?,
        }
    }
    file.flush()?;
    Ok(file)
}

#[cfg(unix)]
fn is_fifo(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_fifo(_metadata: &fs::Metadata) -> bool {
    false
}
