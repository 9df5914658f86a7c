//! Black boxes: the file that a killed process leaves, read without any repair.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use heapledger::DataQualityMode;
use heapledger::dumps::{self, Dump};
use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws;
use super::surroundings::{MemoryGroup, Surroundings};
use super::tools::{block, free};

/// Name of the box in the child's directory.
const BOX: &str = "black.box";
const IN_BOX: (&str, &str) = ("HEAPLEDGER_BLACKBOX", BOX);

pub const CASES: &[Case] = &[
    VICTIM,
    Case::series("a_victim_ends_with_the_killed_test_that_started_it", start_a_victim, |case| {
        let directory = tempfile::tempdir().unwrap();
        let mut test = case.command();
        let mut test = test.current_dir(&directory).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(test.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let victim = format!("/proc/{}/stat", line.trim());
        // A zombie has ended; who waits for it is the system's affair.
        let lives = || fs::read_to_string(&victim).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(lives(), "{line}");
        test.kill().unwrap();
        test.wait().unwrap();
        let ends = (0..3_000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !lives()
        });
        assert!(ends, "{victim}");
    }),
    Case::series("a_box_says_what_the_process_would_have_said", shed_and_abort, |case| {
        let ended = case.play_with(&[("HEAPLEDGER_BLACKBOX", BOX)]);
        // Frees of blocks whose allocation was shed match none.
        let profile = dumps::read(ended.with_signal(libc::SIGABRT).path(BOX)).unwrap().profile;
        let quality = &profile.quality;
        assert_eq!((quality.target_completeness, quality.mode), (0.95, DataQualityMode::BestEffort));
        assert_eq!(profile.settings.mode, DataQualityMode::BestEffort);
        assert!(quality.recommendation.starts_with("ring_full lost "), "{}", quality.recommendation);
        assert!(ended.stdout.contains("ring_full lost "), "as the process itself: {}", ended.stdout);
    })
    .heap(Heap::Strict),
    Case::new(
        "a_killed_process_leaves_the_names_that_its_threads_gave_themselves",
        name_and_abort,
        |ended| {
            let profile = read(ended.with_signal(libc::SIGABRT), BOX).profile;
            assert!(profile.threads.iter().any(|row| row.name == "named-late"), "{:?}", profile.threads);
        },
    )
    .heap(Heap::Plain)
    .variables(&[IN_BOX, ("HEAPLEDGER_BLACKBOX_BYTES", "33554432")]),
    Case::here("two_hundred_kills_leave_everything_that_had_returned", kill_at_random),
    Case::series(
        "an_abort_leaves_the_box_with_every_block",
        || live_and(|| std::process::abort()),
        |case| left(case, |ended| ended.with_signal(libc::SIGABRT)),
    )
    .variables(&[IN_BOX]),
    Case::series(
        "a_segmentation_fault_leaves_the_box_with_every_block",
        || live_and(fault),
        |case| left(case, |ended| ended.with_signal(libc::SIGSEGV)),
    )
    .variables(&[IN_BOX]),
    Case::series(
        "an_exit_past_all_handlers_leaves_the_box",
        || live_and(end_at_once),
        |case| left(case, |ended| ended.with_code(3)),
    )
    .variables(&[IN_BOX]),
    Case::new(
        "a_box_without_a_dump_says_that_the_process_ended_by_itself",
        || live_and(|| ()),
        |ended| {
            let profile = read(ended.quietly(), BOX).profile;
            assert_eq!(profile.process.reason, "exit, from a black box");
            blocks_of(&profile);
        },
    )
    .variables(&[IN_BOX, ("HEAPLEDGER_DUMP", "off")]),
    Case::new("the_hog_is_the_top_site_when_memory_runs_out", run_out_of_memory, hog_is_found)
        .variables(&[IN_BOX, ("HEAPLEDGER_BLACKBOX_BYTES", "33554432"), ("HEAPLEDGER_STACKS", "auto")])
        .limits(&[(libc::RLIMIT_AS, 1 << 30)]),
    Case::series(
        "the_hog_is_the_top_site_when_its_control_group_runs_out_of_memory",
        run_out_of_memory,
        run_out_in_a_group,
    )
    .variables(&[IN_BOX, ("HEAPLEDGER_BLACKBOX_BYTES", "33554432"), ("HEAPLEDGER_STACKS", "auto")]),
    Case::new(
        "without_room_on_the_disk_there_is_no_box_and_one_line",
        || live_and(|| ()),
        |ended| {
            let line =
                format!("heapledger: no black box at {}: the disk has no room", ended.path(BOX).display());
            assert!(ended.stderr.starts_with(&line), "{}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(!ended.path(BOX).exists());
            blocks_of(&ended.with_code(0).dump());
        },
    )
    .variables(&[IN_BOX])
    .limits(&[(libc::RLIMIT_FSIZE, 8 << 20)]),
    Case::new(
        "a_file_that_is_no_box_is_left_alone",
        || live_and(|| ()),
        |ended| {
            assert!(ended.stderr.contains("there is a file that is no black box"), "{}", ended.stderr);
            assert_eq!(fs::read(ended.path(BOX)).unwrap(), b"precious");
            blocks_of(&ended.with_code(0).dump());
        },
    )
    .variables(&[IN_BOX])
    .prepare(|directory| fs::write(directory.join(BOX), "precious").unwrap()),
    Case::new("a_full_box_counts_what_it_has_no_room_for", fill_the_box, |ended| {
        let profile = read(ended.with_signal(libc::SIGABRT), BOX).profile;
        assert!(profile.quality.lost.total() > 10_000, "{:?}", profile.quality);
        assert!(profile.quality.is_conserved(), "{:?}", profile.quality);
        assert!(profile.live.len() > 10_000, "{} live, {:?}", profile.live.len(), profile.quality);
    })
    .variables(&[IN_BOX, ("HEAPLEDGER_BLACKBOX_BYTES", "8388608")]),
    Case::new("a_forked_child_does_not_write_into_its_parents_box", fork_and_abort, |ended| {
        let profile = read(ended.with_signal(libc::SIGABRT), BOX).profile;
        assert_eq!(profile.process.pid, ended.pid);
        blocks_of(&profile);
        assert_eq!(ended.names(), [BOX]);
    })
    .variables(&[IN_BOX]),
    Case::new("a_forked_child_has_a_box_of_its_own_where_its_name_differs", fork_and_abort, |ended| {
        let names = ended.with_signal(libc::SIGABRT).names();
        assert_eq!(names.len(), 2, "{names:?}");
        for name in &names {
            let profile = read(ended, name).profile;
            let is_parent = profile.process.pid == ended.pid;
            assert_eq!(profile.process.forked_from, (!is_parent).then_some(ended.pid));
            let of_child = profile.live.iter().filter(|block| block.size == OF_CHILD as u64).count();
            assert_eq!(of_child, if is_parent { 0 } else { 500 });
        }
    })
    .variables(&[("HEAPLEDGER_BLACKBOX", "%p.box")]),
];

/// Lives on, until it is killed or has done its part.
const VICTIM: Case = Case::new("a_process_that_ends_in_good_order_takes_its_box_away", work, |ended| {
    laws::complete(&ended.quietly().dump()).unwrap();
    assert!(!ended.path(BOX).exists());
})
.variables(&[IN_BOX, ("HEAPLEDGER_BLACKBOX_BYTES", "33554432")]);

/// Reads a black box in the child's directory. Asserts that it obeys every law and has no damage.
fn read(ended: &Ended, name: &str) -> Dump {
    let dump = dumps::read(ended.path(name)).unwrap_or_else(|error| panic!("{error}\n{}", ended.stderr));
    sound(&dump);
    dump
}

fn sound(dump: &Dump) {
    assert!(dump.damage.is_empty() && dump.broken_laws.is_empty(), "{:?}", dump.broken_laws);
    laws::obeyed(&dump.profile).unwrap();
    let (quality, anomalies) = (&dump.profile.quality, dump.profile.quality.anomalies);
    // A thread that was killed while it moved a block from one table to another leaves the block in both.
    let moving = if quality.in_flight > 0 { THREADS as u64 } else { 0 };
    assert!(anomalies.unmatched_frees + anomalies.double_allocations <= moving, "{quality:?}");
}

const BLOCKS: usize = 1_000;
const BLOCK_BYTES: usize = 4_321;
const OF_CHILD: usize = 5_432;

fn live_and(then: impl FnOnce()) {
    for _ in 0..BLOCKS {
        block(BLOCK_BYTES);
        free(block(BLOCK_BYTES), BLOCK_BYTES);
    }
    then();
}

fn blocks_of(profile: &Profile) {
    let count = profile.live.iter().filter(|block| block.size == BLOCK_BYTES as u64).count();
    assert_eq!(count, BLOCKS);
    let totals = &profile.totals;
    // What was being booked when the process ended is in the list and not in the sums.
    assert!(totals.live_blocks == profile.live.len() as u64 || profile.quality.in_flight > 0, "{totals:?}");
    assert!(totals.total_bytes >= 2 * (BLOCKS * BLOCK_BYTES) as u64);
}

/// Checks the box of a child that ended in a certain way. If a fold was in progress at that moment, the box says so;
/// otherwise every figure is exact.
fn left(case: &Case, in_its_way: fn(&Ended) -> &Ended) {
    for _ in 0..20 {
        let ended = case.play();
        assert_eq!(in_its_way(&ended).names(), [BOX]);
        let dump = read(&ended, BOX);
        let profile = &dump.profile;
        assert_eq!(profile.process.pid, ended.pid);
        assert_eq!(profile.process.reason, "killed, from a black box");
        assert!(profile.process.program.starts_with("process") && !profile.process.command_line.is_empty());
        let count = profile.live.iter().filter(|block| block.size == BLOCK_BYTES as u64).count();
        assert_eq!(count, BLOCKS);
        if profile.quality.in_flight == 0 {
            laws::complete(profile).unwrap();
            return blocks_of(profile);
        }
    }
    panic!("something was being booked at the end of every child");
}

fn start_a_victim() {
    let mut child = VICTIM.command().env("UNTIL_KILLED", "1").stdout(Stdio::null()).spawn().unwrap();
    println!("{}", child.id());
    child.wait().unwrap();
}

/// Sheds events after a change of mode that the metadata, written at the start, does not have.
fn shed_and_abort() {
    block(100);
    heapledger::set_mode(DataQualityMode::BestEffort);
    while heapledger::quality().lost.total() < 10_000 {
        for _ in 0..100_000 {
            free(block(16), 16);
        }
    }
    println!("{}", heapledger::quality().recommendation);
    std::process::abort();
}

fn name_and_abort() {
    let named = thread::spawn(|| {
        block(100);
        // SAFETY: the name is terminated.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"named-late".as_ptr()) };
        let is_in_box = || {
            let text = fs::read(BOX).unwrap();
            // SAFETY: both ranges are valid for reads.
            unsafe {
                !libc::memmem(text.as_ptr().cast(), text.len(), c"named-late".as_ptr().cast(), 10).is_null()
            }
        };
        while !is_in_box() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    named.join().unwrap();
    std::process::abort();
}

fn fault() {
    // SAFETY: it is meant to fault.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

fn end_at_once() {
    // SAFETY: ends the process.
    unsafe { libc::_exit(3) }
}

/// Returns a block that is never freed. The process aborts if there is no memory, as the containers of std do.
#[inline(never)]
fn hog() -> &'static mut [u8] {
    vec![1u8; 1 << 20].leak()
}

fn run_out_of_memory() {
    loop {
        std::hint::black_box(hog());
    }
}

fn hog_is_found(ended: &Ended) {
    hog_is_top(ended.with_signal(libc::SIGABRT), 100 << 20);
}

/// Memory limit of the group, in bytes. Touched pages of the box and pages of the program's file also count, but the
/// kernel can write these out or drop them.
const GROUP_BYTES: u64 = 96 << 20;

fn run_out_in_a_group(case: &Case) {
    let group = match MemoryGroup::new(GROUP_BYTES) {
        Ok(group) => group,
        Err(why) => return println!("the end by the kernel's killer is left out: {why}"),
    };
    let surroundings = Surroundings { group: Some(&group), ..Surroundings::default() };
    let ended = case.play_in(&std::env::current_exe().unwrap(), &[], &surroundings);
    assert_eq!(group.killed(), 1, "{}", ended.stderr);
    hog_is_top(ended.with_signal(libc::SIGKILL), GROUP_BYTES / 2);
}

/// Asserts that the site with the most live bytes is that of `hog`.
fn hog_is_top(ended: &Ended, bytes_min: u64) {
    let dump = read(ended, BOX);
    let profile = &dump.profile;
    let top = profile.sites.iter().max_by_key(|site| site.total_bytes - site.freed_bytes).unwrap();
    let stack = &profile.stacks[top.stack as usize];
    let module = profile.modules.iter().find(|module| module.path.contains("process-"));
    let module = module
        .unwrap_or_else(|| panic!("no program among {:?}; {:?} {profile:?}", profile.modules, dump.damage));
    println!("{} frames, {} bytes", stack.frames.len(), top.total_bytes);
    assert!(top.total_bytes > bytes_min && top.total_bytes % (1 << 20) == 0, "{top:?}");
    assert!(stack.frames.iter().any(|frame| (module.start..module.end).contains(frame)), "{stack:?}");
}

fn fill_the_box() {
    for _ in 0..300_000 {
        block(16);
    }
    std::process::abort();
}

fn fork_and_abort() {
    live_and(|| ());
    // SAFETY: there is one thread; the child ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for _ in 0..500 {
            block(OF_CHILD);
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, the status valid for writes.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    std::process::abort();
}

const THREADS: usize = 4;
/// Rounds of a victim that is not killed.
const ROUNDS: usize = 2_000;
/// Blocks on their way from one thread to another.
static HANDED: [AtomicPtr<u8>; 64] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 64];
const HANDED_BYTES: usize = 333;

/// Returns the size of the block that a thread keeps in each round. The blocks that it frees have another size.
const fn kept_bytes(thread: usize) -> usize {
    9_001 + 16 * thread
}

const fn freed_bytes(thread: usize) -> usize {
    7_001 + 16 * thread
}

/// Runs four threads. After each round a thread writes its number as one byte to standard output, so that the parent
/// knows which calls have returned.
fn work() {
    let rounds = if std::env::var_os("UNTIL_KILLED").is_some() { usize::MAX } else { ROUNDS };
    let started: Vec<_> =
        (0..THREADS).map(|number| thread::spawn(move || rounds_of(number, rounds))).collect();
    started.into_iter().for_each(|thread| thread.join().unwrap());
    for slot in &HANDED {
        let block = slot.swap(std::ptr::null_mut(), SeqCst);
        if !block.is_null() {
            free(block, HANDED_BYTES);
        }
    }
}

fn rounds_of(thread: usize, rounds: usize) {
    for round in 0..rounds {
        block(kept_bytes(thread));
        free(block(freed_bytes(thread)), freed_bytes(thread));
        let taken = HANDED[(7 * round + thread) % HANDED.len()].swap(block(HANDED_BYTES), SeqCst);
        if !taken.is_null() {
            free(taken, HANDED_BYTES);
        }
        let acknowledged = [b'0' + thread as u8];
        // SAFETY: one byte of ours.
        unsafe { libc::write(1, acknowledged.as_ptr().cast(), 1) };
    }
}

const KILLS: u64 = 200;

fn kill_at_random() {
    let directory = tempfile::tempdir().unwrap();
    let (mut torn, mut in_flight_most, mut acknowledged) = (0, 0, 0);
    for kill in 0..KILLS {
        let mut command = VICTIM.command();
        command.env("UNTIL_KILLED", "1").current_dir(directory.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut told = Vec::new();
            pipe.read_to_end(&mut told).unwrap();
            told
        });
        // Spread over its first moments and the time after, in steps that share no factor with anything in it.
        thread::sleep(Duration::from_micros(3_000 + 271 * (kill * 37 % KILLS)));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        let told = reader.join().unwrap();
        acknowledged += told.len();
        let path = directory.path().join(BOX);
        let Some(dump) = box_of(&path, child.id()) else {
            // Killed before its first event, it has made none.
            assert!(told.is_empty(), "kill {kill}: {} told, and no box", told.len());
            continue;
        };
        sound(&dump);
        let profile = &dump.profile;
        torn += u64::from(profile.quality.in_flight > 0);
        in_flight_most = in_flight_most.max(profile.quality.in_flight);
        for number in 0..THREADS {
            let told = told.iter().filter(|byte| **byte == b'0' + number as u8).count();
            let live = |bytes| profile.live.iter().filter(|block| block.size == bytes as u64).count();
            let (kept, freed) = (live(kept_bytes(number)), live(freed_bytes(number)));
            assert!(
                kept == told || kept == told + 1,
                "kill {kill}, thread {number}: {told} told, {kept} kept"
            );
            assert!(freed <= 1, "kill {kill}, thread {number}: {freed} blocks that were freed");
        }
    }
    println!(
        "{KILLS} kills, {acknowledged} rounds acknowledged; {torn} found something in flight, {in_flight_most} events at most"
    );
    // The test needs kills during records and batches.
    assert!(acknowledged > 1_000);
}

/// Returns the box of process `pid`, if it is there. The box of an earlier process stays until a new one is complete.
fn box_of(path: &Path, pid: u32) -> Option<Dump> {
    if !path.exists() {
        return None;
    }
    let dump = dumps::read(path).unwrap();
    (dump.profile.process.pid == pid).then_some(dump)
}
