//! P1 and P7: each reason for loss, forced. Only its counter increases, and every report shows it.

use std::alloc::{Layout, alloc};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use heapledger::profile::{LossReason, Profile};
use heapledger::text::units;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::tools::{accounted_point, block, free, lossless_point, lost_only, quiet_point, threads};

pub const CASES: &[Case] = &[
    Case::new("a_full_ring_that_nobody_may_empty_sheds_and_says_so", fill_the_ring, |ended| {
        let profile = ended.quietly().dump();
        shown(&profile, LossReason::RingFull, ended.said("lost"));
        assert_eq!(dated(&profile), profile.quality.lost.total());
    })
    .heap(Heap::Shedding),
    Case::new("rings_of_the_size_that_was_asked_for_hold_as_much", fill_a_wide_ring, |ended| {
        super::laws::complete(&ended.quietly().dump()).unwrap();
    })
    .heap(Heap::WideRings),
    Case::new("events_after_the_last_destructor_are_counted_as_such", outlive_the_lane, |ended| {
        let profile = ended.quietly().dump();
        assert_eq!(lost_only(&profile.quality, LossReason::TlsTeardown), 4 * LATE_EVENTS);
        shown(&profile, LossReason::TlsTeardown, 4 * LATE_EVENTS);
    }),
    Case::new("threads_without_memory_for_a_ring_are_counted_as_such", too_many_rings, |ended| {
        let profile = ended.quietly().dump();
        shown(&profile, LossReason::NoMemory, ended.said("lost"));
        // There is none for the blocks of the dump itself either.
        let lost = profile.quality.lost;
        assert_eq!(lost.total(), lost.get(LossReason::NoMemory) + lost.get(LossReason::TableFull));
    })
    .heap(Heap::Tight),
    Case::new("blocks_beyond_the_memory_limit_are_counted_as_such", fill_the_table, |ended| {
        let profile = ended.quietly().dump();
        let lost = lost_only(&profile.quality, LossReason::TableFull);
        // There was no room for a few blocks of the dump itself either.
        assert!((ended.said("lost")..ended.said("lost") + 100).contains(&lost));
        assert_eq!(dated(&profile), lost);
        shown(&profile, LossReason::TableFull, lost);
    })
    .heap(Heap::Tight),
    Case::new("events_after_the_dump_are_counted_as_such", leave_marks_late, |ended| {
        assert_eq!(ended.quietly().dump().quality.lost.total(), 0);
        let profile = ended.dump_named("late.hl");
        assert_eq!(lost_only(&profile.quality, LossReason::AfterShutdown), 20 * LATE_EVENTS);
        shown(&profile, LossReason::AfterShutdown, 20 * LATE_EVENTS);
    }),
    Case::new(
        "without_memory_for_a_ledger_the_program_runs_and_nothing_is_claimed",
        starve,
        nothing_is_claimed,
    )
    .heap(Heap::Starved),
    Case::new("under_a_limit_of_address_space_all_is_recorded", open_under_a_limit, |ended| {
        super::laws::complete(&ended.quietly().dump()).unwrap();
    })
    .limits(&[(libc::RLIMIT_AS, 512 << 20)]),
    Case::new("under_a_severe_limit_of_address_space_the_program_runs", starve, nothing_is_claimed)
        .limits(&[(libc::RLIMIT_AS, 37 << 20)]),
];

/// Asserts that `events` events were lost for this reason, and that the text of the quality shows it. The tests of the
/// reports check the reports.
pub fn shown(profile: &Profile, reason: LossReason, events: u64) {
    assert_eq!(profile.quality.lost.get(reason), events);
    assert!(events > 0 && profile.quality.current_completeness < 1.0);
    let (said, text) = (format!("{} {}", reason.name(), units::count(events)), profile.quality.to_string());
    assert!(text.contains(&said), "no {said:?} in\n{text}");
}

/// More blocks than a ring of the usual size has room for, and fewer than the largest has.
const BLOCKS: usize = 20_000;

fn fill_a_wide_ring() {
    lossless_point();
    let blocks: Vec<*mut u8> = (0..BLOCKS).map(|_| block(40)).collect();
    lossless_point();
    blocks.into_iter().for_each(|block| free(block, 40));
}

fn fill_the_ring() {
    let before = lossless_point();
    let blocks: Vec<*mut u8> = (0..BLOCKS).map(|_| block(40)).collect();
    let quality = accounted_point();
    let lost = lost_only(&quality, LossReason::RingFull);
    assert!(lost > BLOCKS as u64 / 2 && quality.recorded > 1000, "{quality:?}");
    let held = heapledger::stats();
    assert_eq!(held.total_blocks - before.total_blocks, 1 + BLOCKS as u64 - lost);
    // Books that were emptied in between take new events.
    drop(blocks);
    for _ in 0..100 {
        free(block(40), 40);
    }
    let after = accounted_point();
    assert_eq!(lost_only(&after, LossReason::RingFull), lost);
    println!("lost={lost}");
}

/// Number of events that a thread makes after the end of its lane.
const LATE_EVENTS: u64 = 10;
static LATE_KEY: AtomicU32 = AtomicU32::new(0);

fn late_events() {
    for _ in 0..LATE_EVENTS / 2 {
        free(block(64), 64);
    }
}

/// A destructor of a thread-specific value, called once in each round. In the last round it runs after the end of the
/// thread's lane, because its key was created later.
unsafe extern "C" fn destructor(round: *mut c_void) {
    if round.addr() < 4 {
        set_round(round.addr() + 1);
    } else {
        late_events();
    }
}

fn set_round(round: usize) {
    let value = std::ptr::without_provenance_mut::<c_void>(round);
    // SAFETY: the key was created before any thread that gets here; its value is a number.
    assert_eq!(unsafe { libc::pthread_setspecific(LATE_KEY.load(SeqCst), value) }, 0);
}

extern "C" fn die_slowly(_number: *mut c_void) -> *mut c_void {
    free(block(64), 64);
    set_round(1);
    null_mut()
}

pub fn outlive_the_lane() {
    lossless_point();
    let mut key = 0;
    // SAFETY: the key is valid for writes and its destructor lives as long as the program.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(destructor)) }, 0);
    LATE_KEY.store(key, SeqCst);
    threads::<4>(die_slowly);
    let quality = accounted_point();
    assert_eq!(lost_only(&quality, LossReason::TlsTeardown), 4 * LATE_EVENTS);
    assert_eq!(quality.anomalies.unmatched_frees + quality.anomalies.double_allocations, 0);
}

/// Number of concurrent threads for which 16 MiB have no room, at 16 KiB per thread.
const MANY: usize = 1100;
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn wait_for_all(_number: *mut c_void) -> *mut c_void {
    let held = block(64);
    ARRIVED.fetch_add(1, SeqCst);
    while ARRIVED.load(SeqCst) < MANY {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    free(held, 64);
    null_mut()
}

fn too_many_rings() {
    let before = lossless_point();
    threads::<MANY>(wait_for_all);
    let quality = accounted_point();
    let lost = lost_only(&quality, LossReason::NoMemory);
    assert!(lost > 0 && lost < 2 * MANY as u64, "{quality:?}");
    let after = heapledger::stats();
    // A thread without a ring loses both of its events. One that had but no segment for it can get one before it frees.
    let ended = after.freed_blocks - before.freed_blocks;
    let unmatched = quality.anomalies.unmatched_frees;
    assert_eq!(2 * (MANY as u64 - ended), lost + unmatched, "{quality:?} {after:?}");
    // The query's own blocks may have pushed earlier ones out of the nursery, for which the table has no room.
    let pushed_out = before.live_blocks - after.live_blocks;
    assert!(pushed_out <= heapledger::quality().lost.get(LossReason::TableFull), "{after:?}");
    println!("lost={lost}");
}

/// Returns the number of lost events in the timeline.
fn dated(profile: &Profile) -> u64 {
    profile.timeline.intervals.iter().map(|interval| interval.lost).sum()
}

fn fill_the_table() {
    const BLOCKS: usize = 600_000;
    let before = lossless_point();
    let layout = Layout::array::<*mut u8>(BLOCKS).unwrap();
    // SAFETY: the size is not zero, and the block is used for that many pointers.
    let blocks = unsafe { std::slice::from_raw_parts_mut(alloc(layout).cast::<*mut u8>(), BLOCKS) };
    blocks.fill_with(|| block(16));
    let quality = accounted_point();
    let lost = lost_only(&quality, LossReason::TableFull);
    assert!(lost > 1000 && quality.recorded > 100_000, "{quality:?}");
    let held = heapledger::stats();
    // Between two looks, the queries' own blocks may push others out of the nursery, for which the table has no room; and a
    // few of the lost may be theirs, which are in no total.
    let lost_by_then = heapledger::quality().lost.get(LossReason::TableFull);
    let missing = before.live_blocks + 1 + BLOCKS as u64 - held.live_blocks;
    assert!((lost - 100..=lost_by_then).contains(&missing), "{missing} of {lost} to {lost_by_then}");
    assert!(quality.own_bytes <= 16 << 20, "{quality:?}");
    // What was recorded finds its end; what was not, cannot.
    for block in blocks {
        free(*block, 16);
    }
    let quality = accounted_point();
    let after = heapledger::stats();
    assert_eq!(after.live_blocks - before.live_blocks, 1);
    let lost_now = lost_only(&quality, LossReason::TableFull);
    let unmatched = quality.anomalies.unmatched_frees + lost_now - lost;
    // Each lost block has one free that nothing accounts for; so have a few of the queries' own blocks.
    assert!((lost..lost + 100).contains(&unmatched), "{unmatched} of {lost}");
    println!("lost={lost_now}");
}

/// Name of the case whose exit handler is set before the first allocation, so that it runs after heapledger's.
const LATE_CASE: &std::ffi::CStr = c"events_after_the_dump_are_counted_as_such";

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = register_late_handler;

extern "C" fn register_late_handler() {
    // SAFETY: both names are terminated, and nobody changes the environment before `main`.
    unsafe {
        let case = libc::getenv(c"PROCESS_TEST_CASE".as_ptr());
        if !case.is_null() && libc::strcmp(case, LATE_CASE.as_ptr()) == 0 {
            libc::atexit(late_handler);
        }
    }
}

extern "C" fn late_handler() {
    for _ in 0..20 {
        late_events();
    }
    heapledger::dump("late.hl").unwrap();
}

fn leave_marks_late() {
    block(300);
    lossless_point();
}

fn open_under_a_limit() {
    free(block(100), 100);
    lossless_point();
}

fn starve() {
    for round in 0..1000 {
        free(block(16 + round), 16 + round);
    }
    assert!(!heapledger::is_installed());
    let quality = heapledger::quality();
    assert!(lost_only(&quality, LossReason::NoMemory) >= 2000, "{quality:?}");
    super::laws::counted(&quality).unwrap();
    assert_eq!((quality.recorded, quality.current_completeness), (0, 0.0));
    assert!(heapledger::snapshot().is_none() && heapledger::dump("none.hl").is_err());
    assert_eq!(quiet_point().recorded, 0);
}

fn nothing_is_claimed(ended: &Ended) {
    ended.with_code(0);
    // The allocator of other cases, which is in this program too, may lack memory as well, and says so.
    let said: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("<jemalloc>")).collect();
    assert_eq!(said, ["heapledger: no memory for the ledger, nothing is recorded"]);
    assert_eq!(ended.names(), [""; 0]);
}
