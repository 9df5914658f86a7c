//! Notices when completeness crosses the target: a callback for the program, a line for its user.

use std::alloc::{GlobalAlloc, Layout, alloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use heapledger::QualityIndicator;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws;
use super::tools::{accounted_point, block, threads};

pub const CASES: &[Case] = &[
    Case::new("a_crossing_calls_the_program_and_prints_a_line", lose_until_called, |ended| {
        let lines: Vec<&str> = ended.with_code(0).stderr.lines().collect();
        // The one at exit comes within ten seconds of it, or is one more.
        assert!(lines[0].starts_with("heapledger: data quality fell below 95%: completeness "), "{lines:?}");
        assert!(lines[0].contains("; ring_full lost "), "{lines:?}");
        assert!(lines[1..].iter().all(|line| line.starts_with("heapledger: ")), "{lines:?}");
        own_blocks_stay_apart(ended);
    })
    .heap(Heap::Telling)
    .variables(&[("HEAPLEDGER_WARN", "1")]),
    Case::new("without_the_wish_for_lines_a_crossing_only_calls", lose_until_called, |ended| {
        ended.quietly();
        own_blocks_stay_apart(ended);
    })
    .heap(Heap::Telling),
    Case::new(
        "a_crossing_calls_a_closure_that_the_program_set_at_run_time",
        lose_until_a_closure_is_called,
        |ended| {
            own_blocks_stay_apart(ended.quietly());
        },
    )
    .heap(Heap::Untuned),
    Case::new("a_call_that_panics_is_not_made_again_and_harms_nobody", lose_until_panicked, |ended| {
        assert!(ended.with_code(0).stderr.contains("the program's own mistake"), "{}", ended.stderr);
        assert_eq!(ended.said("calls"), 1);
        ended.dump();
    })
    .heap(Heap::Telling),
    Case::new("a_short_life_below_the_target_is_told_at_its_end", lose_briefly, |ended| {
        let stderr = &ended.with_code(0).stderr;
        let start = "heapledger: over the whole run, data quality fell below 95%: completeness ";
        assert!(stderr.starts_with(start) && stderr.lines().count() == 1, "{stderr}");
    })
    .heap(Heap::Shedding)
    .variables(&[("HEAPLEDGER_WARN", "1")]),
];

/// A size that no other block has.
const OWN_BYTES: usize = 77_777;

static CALLS: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// The callback of the heap `Telling`.
pub fn on_quality(quality: &QualityIndicator) {
    if CALLS.fetch_add(1, SeqCst) == 0 {
        assert!(!PANICS.load(SeqCst), "the program's own mistake");
        let lately = quality.windowed_completeness.expect("it crossed");
        assert!(lately < quality.target_completeness && quality.lost.total() > 0);
        assert!(quality.recommendation.starts_with("ring_full lost "));
        obeys_the_laws_of_a_query(quality);
        // SAFETY: the size is not zero. The block is never freed.
        let block = unsafe { alloc(Layout::from_size_align(OWN_BYTES, 8).unwrap()) };
        assert!(!block.is_null());
    }
}

/// Asserts that the figures of the callback obey the laws, and have the history. `heapledger::quality()` is asked
/// later, maybe much later, because the callback runs at a low priority: by then the events that are in flight may have
/// overwritten the history.
fn obeys_the_laws_of_a_query(told: &QualityIndicator) {
    let asked = heapledger::quality();
    for quality in [told, &asked] {
        laws::counted(quality).unwrap();
    }
    assert!(told.recorded <= asked.recorded && told.attempted <= asked.attempted, "{told:?} {asked:?}");
    assert!(told.installed && told.retained >= asked.retained, "{told:?} {asked:?}");
    assert_eq!(told.retained, 64, "the history is full: {told:?}");
}

extern "C" fn load(_number: *mut c_void) -> *mut c_void {
    let (heap, layout) = (super::heap::telling(), Layout::new::<[u64; 8]>());
    while !STOP.load(SeqCst) {
        for _ in 0..1_000 {
            // SAFETY: the size is not zero, and the block is freed once, with its own layout.
            unsafe { heap.dealloc(black_box(heap.alloc(layout)), layout) };
        }
    }
    null_mut()
}

/// Binds all threads to one processor, and gives the background thread a low priority, so that rings overflow on any
/// machine. At the lowest priority it would not run for seconds.
fn hold_the_aggregator_back() {
    // SAFETY: both calls read what they are given; whether they succeed shows in the losses.
    unsafe {
        let mut first: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut first);
        for task in std::fs::read_dir("/proc/self/task").expect("a list of threads").flatten() {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let number = task.file_name().to_string_lossy().parse().expect("the number of a thread");
            libc::sched_setaffinity(number, size_of_val(&first), &first);
            if name.trim_end() == "heapledger" {
                libc::setpriority(libc::PRIO_PROCESS, number as libc::id_t, 8);
            }
        }
    }
}

/// Makes events until some are lost and the callback was called.
fn lose_until_called() {
    // A raw thread takes no closure, and the threads of std would allocate: the load comes from one thread more.
    let loading = std::thread::spawn(|| threads::<4>(load));
    while CALLS.load(SeqCst) == 0 {
        hold_the_aggregator_back();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
    accounted_point();
}

fn lose_until_a_closure_is_called() {
    let name = String::from("kept by the closure");
    heapledger::on_quality(move |quality| {
        assert_eq!(name, "kept by the closure");
        on_quality(quality);
    });
    lose_until_called();
}

fn lose_until_panicked() {
    PANICS.store(true, SeqCst);
    lose_until_called();
    println!("calls={}", CALLS.load(SeqCst));
}

/// Asserts that the allocations of the callback are heapledger's, and in no total.
fn own_blocks_stay_apart(ended: &Ended) {
    let profile = ended.dump();
    assert!(profile.live.iter().all(|block| block.size != OWN_BYTES as u64), "{:?}", profile.live);
    assert!(profile.quality.own_events > 0);
}

fn lose_briefly() {
    let blocks: Vec<*mut u8> = (0..20_000).map(|_| block(40)).collect();
    let quality = accounted_point();
    assert!(quality.current_completeness < 0.95, "{quality:?}");
    drop(blocks);
}
