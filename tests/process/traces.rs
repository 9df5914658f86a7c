//! Traces: a trace has exactly the events of the program, the ledger and the replay have the same heap, and the effects
//! of a slow disk and of a kill are known.

use std::alloc::{Layout, realloc};
use std::ffi::c_void;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use heapledger::Profile;
use heapledger::profile::Law;
use heapledger::trace::{Counts, Dated, Record, Replay, Span, Trace, in_order, laws};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{self, block, free};

const TRACE: (&str, &str) = ("HEAPLEDGER_TRACE", "t.hlt");

pub const CASES: &[Case] = &[
    Case::new("a_trace_holds_the_events_of_the_program_in_their_order", follow_a_script, as_logged)
        .heap(Heap::Plain)
        .variables(&[TRACE]),
    Case::new("a_trace_with_a_stamp_on_every_event_holds_the_same", follow_a_script, as_logged)
        .heap(Heap::Plain)
        .variables(&[TRACE, ("HEAPLEDGER_CLOCK", "per-event")]),
    Case::new("a_trace_is_written_without_a_background_thread", follow_a_script, as_logged)
        .heap(Heap::Alone)
        .variables(&[TRACE]),
    Case::new("four_threads_that_free_each_others_blocks_replay_to_the_ledger", hand_over, replays)
        .heap(Heap::Plain)
        .variables(&[TRACE]),
    Case::new("with_a_stamp_on_every_event_the_replay_is_exact", hand_over, |ended| {
        replays(ended);
        let (_, replay, _) = replayed(ended);
        let figures = replay.figures();
        assert_eq!((figures.overlaps, figures.early_frees), (0, 0), "{figures:?}");
    })
    .heap(Heap::Plain)
    .variables(&[TRACE, ("HEAPLEDGER_CLOCK", "per-event")]),
    Case::new("what_a_killed_process_had_written_can_be_read", be_killed, half_is_there)
        .heap(Heap::Plain)
        .variables(&[TRACE]),
    Case::new("a_disk_that_stands_still_costs_a_wait_and_counted_events", overrun, counted)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_TRACE", "pipe")])
        .prepare(read_later),
    Case::new("a_forked_child_leaves_the_trace_of_its_parent_alone", fork_and_go_on, |ended| {
        replays(ended);
        assert_eq!(
            ended.names().iter().filter(|name| name.ends_with(".hlt")).count(),
            1,
            "{:?}",
            ended.names()
        );
    })
    .heap(Heap::Plain)
    .variables(&[TRACE]),
    Case::new("a_file_that_is_no_trace_is_left_alone", follow_a_script, |ended| {
        let line = &ended.stderr;
        assert!(
            line.starts_with("heapledger: cannot write the trace ")
                && line.contains("/log.txt: ")
                && line.lines().count() == 1,
            "{line}"
        );
        complete(&ended.dump()).unwrap();
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "log.txt")])
    .prepare(|directory| fs::write(directory.join("log.txt"), "mine").unwrap()),
    Case::new("off_as_a_name_means_no_trace", follow_a_script, |ended| {
        assert_eq!(ended.names().iter().filter(|name| name.ends_with("hlt")).count(), 0);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "off")]),
];

/// Number of steps of the script.
const STEPS: usize = 60_000;
/// Number of blocks that the script holds at one time.
const HELD: usize = 97;
/// Size of the blocks before and after the script, which no other block has.
const FENCE: usize = 77_773;

fn open(path: &Path) -> Trace<BufReader<File>> {
    Trace::open(BufReader::new(File::open(path).unwrap())).unwrap()
}

/// Allocates, frees and reallocates, and logs kind, address and size of each event.
pub fn follow_a_script() {
    let mut log: Vec<[u64; 3]> = Vec::with_capacity(STEPS);
    let mut held = [(null_mut::<u8>(), 0usize); HELD];
    let fence = block(FENCE);
    for step in 0..STEPS {
        let place = step * 31 % HELD;
        let (old, old_size) = held[place];
        let size = 1 + step * 7919 % 3_000;
        match step % 3 {
            _ if old.is_null() => {
                held[place] = (block(size), size);
                log.push([0, held[place].0.addr() as u64, size as u64]);
            }
            0 => {
                // SAFETY: the block came from `block` with this size, and the new one is not zero.
                let new = unsafe { realloc(old, Layout::from_size_align(old_size, 8).unwrap(), size) };
                held[place] = (new, size);
                log.push([2, new.addr() as u64, size as u64]);
            }
            _ => {
                log.push([1, old.addr() as u64, 0]);
                free(old, old_size);
                held[place] = (null_mut(), 0);
            }
        }
    }
    free(fence, FENCE);
    let bytes: Vec<u8> = log.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    fs::write("script.log", bytes).unwrap();
}

/// Asserts that the events between the fences are those of the log, and that their replay equals the ledger.
fn as_logged(ended: &Ended) {
    logged(ended);
    replays(ended);
}

/// Returns all records of the trace in their order. Asserts that those between the fences are those of the log.
pub fn logged(ended: &Ended) -> Vec<Dated> {
    ended.quietly();
    let bytes = fs::read(ended.path("script.log")).unwrap();
    let words: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let logged: Vec<[u64; 3]> = words.chunks_exact(3).map(|entry| entry.try_into().unwrap()).collect();
    let mut records: Vec<Dated> = Vec::new();
    let mut trace = open(&ended.path("t.hlt"));
    in_order(&mut trace, u64::MAX, |_| (), |dated| records.push(*dated)).unwrap();
    assert!(trace.damage().is_empty(), "{:?}", trace.damage());
    let is_fence =
        |dated: &Dated| matches!(dated.record, Record::Alloc { shape, .. } if shape.size == FENCE as u64);
    let begin = records.iter().position(is_fence).unwrap();
    let Record::Alloc { address: fence, .. } = records[begin].record else { unreachable!() };
    let row = records[begin].row;
    let mut found = Vec::new();
    for dated in records[begin + 1..].iter().filter(|dated| dated.row == row) {
        match dated.record {
            Record::Free { address, .. } if address == fence => break,
            Record::Alloc { address, shape } => found.push([0, address, shape.size]),
            Record::Free { address, .. } => found.push([1, address, 0]),
            Record::ReallocEnds { address, shape, .. } => found.push([2, address, shape.size]),
            _ => {}
        }
    }
    assert_eq!(found.len(), logged.len());
    assert!(found == logged, "the trace differs from the log");
    records
}

/// Returns the replay of a child's trace, and its laws with the dump.
fn replayed(ended: &Ended) -> (Counts, Replay, Vec<Law>) {
    replayed_at(&ended.path("t.hlt"))
}

fn replayed_at(path: &Path) -> (Counts, Replay, Vec<Law>) {
    let mut trace = open(path);
    let counts = trace.counts().expect("the trace was ended");
    let dump = heapledger::dumps::read_bytes(&trace.dump().unwrap().expect("its dump")).unwrap();
    let mut replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
    assert!(trace.damage().is_empty(), "{:?}", trace.damage());
    let laws = laws(&mut replay, counts, &dump.profile);
    (counts, replay, laws)
}

fn obeyed(laws: &[Law]) {
    let broken: Vec<_> = laws.iter().filter(|law| law.applies && law.left != law.right).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Asserts that nothing is missing, that every law holds, and that the profile of the whole trace equals the ledger's.
fn replays(ended: &Ended) {
    ended.quietly();
    let (counts, replay, laws) = replayed(ended);
    assert_eq!(counts.lost, 0);
    assert!(laws.len() > 10 && laws.iter().filter(|law| law.applies).count() > 9, "{laws:#?}");
    obeyed(&laws);
    let dump: Profile = ended.dump();
    let profile = replay.into_profile(Some(&dump)).profile;
    assert_eq!(heapledger::profile::check(&profile), []);
    assert_eq!(profile.totals.total_bytes, dump.totals.total_bytes);
}

/// Number of places where threads leave blocks for each other, with the size of each block.
const PLACES: usize = 256;
static PLACE: [AtomicPtr<u8>; PLACES] = [const { AtomicPtr::new(null_mut()) }; PLACES];
const ROUNDS: usize = 30_000;

extern "C" fn exchange(number: *mut c_void) -> *mut c_void {
    let number = number.addr();
    for round in 0..ROUNDS {
        let place = (round * 17 + number * 61) % PLACES;
        // The size follows from the place, so that the thread that takes the block knows it.
        let old = PLACE[place].swap(block(16 + place * 8), SeqCst);
        if !old.is_null() {
            free(old, 16 + place * 8);
        }
    }
    null_mut()
}

fn hand_over() {
    tools::threads::<4>(exchange);
}

static WRITTEN: AtomicUsize = AtomicUsize::new(0);

fn be_killed() {
    // Until there are some whole frames in the file; the writer needs no help.
    while WRITTEN.load(SeqCst) < 20_000 {
        for size in 1..2_000 {
            free(block(size), size);
        }
        WRITTEN.store(fs::metadata("t.hlt").map_or(0, |file| file.len() as usize), SeqCst);
    }
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

fn half_is_there(ended: &Ended) {
    ended.with_signal(libc::SIGKILL);
    let mut trace = open(&ended.path("t.hlt"));
    assert_eq!((trace.counts(), trace.dump().unwrap()), (None, None));
    let replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
    let figures = replay.figures();
    assert!(figures.events > 1_000 && figures.unmatched_frees == 0, "{figures:?}");
    let said = replay.into_profile(None);
    assert!(said.damage[0].contains("was not ended"), "{:?}", said.damage);
    assert_eq!(heapledger::profile::check(&said.profile), []);
}

/// Number of events that exceeds all chunks together with the buffers of the writer and the pipe.
const TOO_MANY: usize = 3_500_000;

/// Makes more events than the chunks hold, while the output of the writer is not read.
fn overrun() {
    // Sizes without a pattern: those of a pair that repeats are packed so tightly that the pipe alone takes most of them.
    let mut drawn = 1u64;
    for _ in 0..TOO_MANY / 2 {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 1 + (drawn >> 52) as usize;
        free(block(size), size);
    }
    fs::write("go", "").unwrap();
}

/// Opens the pipe but does not read it until the child says so, like a stalled disk.
fn read_later(directory: &Path) {
    let path = directory.join("pipe");
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is terminated.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        let mut pipe = File::open(&path).unwrap();
        while !directory.join("go").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut copy = File::create(directory.join("copy")).unwrap();
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            copy.write_all(&buffer[..length]).unwrap();
        }
        let _ = fs::rename(directory.join("copy"), directory.join("copied"));
    });
}

fn counted(ended: &Ended) {
    ended.quietly();
    let copied = ended.path("copied");
    let began = Instant::now();
    while !copied.exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let (counts, replay, laws) = replayed_at(&copied);
    assert!(counts.lost > 0 && counts.waits > 0 && counts.waited_ns > 900_000_000, "{counts:?}");
    obeyed(&laws);
    assert!(replay.figures().events > 1_000_000, "{:?}", replay.figures());
    // The ledger is complete all the same.
    complete(&ended.dump()).unwrap();
}

fn fork_and_go_on() {
    let work = || (1..5_000).for_each(|size| free(block(size), size));
    work();
    // SAFETY: the child allocates, which glibc sees to, and leaves by `exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    work();
    if pid == 0 {
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
}
