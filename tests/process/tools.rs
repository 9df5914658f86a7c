//! Functions that scenarios share: threads that do not allocate, points at which no event is in flight, memory sizes.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::ptr::{null, null_mut, without_provenance_mut};

use heapledger::{HeapStats, LossReason, QualityIndicator};

use super::inner::{self, Method};
use super::laws;

/// The function of a raw thread, which receives the thread's number.
pub type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts `N` threads and waits until all have ended. The threads are started without std, which would allocate for
/// each thread.
pub fn threads<const N: usize>(body: Body) {
    let mut started = [0; N];
    for (number, thread) in started.iter_mut().enumerate() {
        let argument = without_provenance_mut(number);
        // SAFETY: `thread` is valid for writes, default attributes are asked for, and the body takes a number.
        let failed = unsafe { libc::pthread_create(thread, null(), body, argument) };
        assert_eq!(failed, 0, "thread {number} does not start");
    }
    for thread in started {
        // SAFETY: each thread was started, and is waited for once.
        assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0);
    }
}

/// Returns a block of `size` bytes, which the caller frees with [`free`]. The call is hidden from the optimiser, which
/// may remove an unused block together with its free.
pub fn block(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 8).expect("a small size");
    // SAFETY: no size in these tests is zero.
    let block = black_box(unsafe { alloc(layout) });
    assert!(!block.is_null());
    block
}

/// Frees a block of [`block`].
pub fn free(block: *mut u8, size: usize) {
    // SAFETY: the block came from `block` with this size.
    unsafe { dealloc(block, Layout::from_size_align_unchecked(size, 8)) };
}

/// Flushes, while no other thread of the program works, until no event is in flight. Returns the counters, and the
/// number of calls that the inner allocator has served. The served calls are read first, because the query of the
/// counters allocates after it has counted.
fn quiet_point_and_served() -> (QualityIndicator, u64) {
    let mut quality = QualityIndicator::default();
    for _ in 0..1000 {
        heapledger::flush();
        let served = inner::served();
        quality = heapledger::quality();
        laws::counted(&quality).unwrap();
        if quality.in_flight == 0 {
            return (quality, served);
        }
        std::thread::yield_now();
    }
    panic!("events stay in flight: {quality:?}");
}

/// Flushes while no other thread of the program works, and returns the counters. Asserts that no event is in flight,
/// and that allocated = freed + live.
pub fn quiet_point() -> QualityIndicator {
    let (quality, _) = quiet_point_and_served();
    let stats = heapledger::stats();
    assert_eq!(stats.live_blocks, stats.total_blocks - stats.freed_blocks);
    assert_eq!(stats.live_bytes, stats.total_bytes - stats.freed_bytes);
    quality
}

/// Returns the counters when no event is in flight. Asserts that the number of attempted events equals the number of
/// calls that the inner allocator served.
pub fn accounted_point() -> QualityIndicator {
    for _ in 0..1000 {
        let (quality, served) = quiet_point_and_served();
        if quality.attempted == served {
            return quality;
        }
        std::thread::yield_now();
    }
    panic!("{:?} and served", quiet_point_and_served());
}

/// Returns the totals. Asserts the same as [`accounted_point`], and that no event was lost and no pairing is doubtful.
pub fn lossless_point() -> HeapStats {
    let quality = accounted_point();
    assert_eq!(quality.lost.total(), 0, "{quality:?}");
    assert_eq!(quality.recorded, quality.attempted);
    let anomalies = quality.anomalies;
    let mix_ups = anomalies.unmatched_frees + anomalies.double_allocations + anomalies.layout_mismatches;
    assert_eq!(mix_ups, 0, "{anomalies:?}");
    let stats = heapledger::stats();
    assert_eq!(stats.live_blocks, stats.total_blocks - stats.freed_blocks);
    assert_eq!(stats.live_bytes, stats.total_bytes - stats.freed_bytes);
    assert_eq!(stats.coverage.lost_events, 0);
    // The number of recorded events includes heapledger's events, so it may differ between equal heaps.
    HeapStats { coverage: heapledger::Coverage::default(), ..stats }
}

/// Asserts that events were lost for this reason only, and returns the number of lost events.
pub fn lost_only(quality: &QualityIndicator, reason: LossReason) -> u64 {
    for (other, events) in quality.lost.iter() {
        assert!(other == reason || events == 0, "{events} events lost for {}", other.name());
    }
    quality.lost.get(reason)
}

/// Returns the resident memory of this process in bytes, without allocating. The source is the page tables, because the
/// counters in `statm` are kept per processor and may be a megabyte behind.
pub fn resident_bytes() -> u64 {
    status_bytes(c"/proc/self/smaps_rollup", b"Rss:")
}

/// Returns a figure in KiB of a file of the system, in bytes, without allocating.
pub fn status_bytes(path: &CStr, name: &[u8]) -> u64 {
    let mut text = [0u8; 4096];
    // SAFETY: the path is terminated, the buffer is valid for its length, the descriptor is ours to close.
    let length = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY);
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(length).expect("the file can be read")
    };
    let mut lines = text[..length].split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(name)).expect("a line with the figure");
    let digits = line.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')) * 1024
}

/// Returns the counters once everything is booked, and the number of events that the inner allocator served and no
/// counter includes.
pub fn settled_accounts() -> (QualityIndicator, u64) {
    let mut unaccounted = u64::MAX;
    let mut quality = heapledger::quality();
    for _ in 0..10_000 {
        heapledger::flush();
        let served = inner::served();
        quality = heapledger::quality();
        let known = quality.recorded + quality.lost.total() + quality.sampled_out;
        // Where blocks are sampled, a realloc of the program's is a free and an allocation.
        let split = if quality.sampled_out > 0 { inner::served_by(Method::Realloc) } else { 0 };
        unaccounted = known.clamp(served, served + split).abs_diff(known);
        if unaccounted == 0 && quality.in_flight == 0 {
            break;
        }
        std::thread::yield_now();
    }
    (quality, unaccounted)
}
