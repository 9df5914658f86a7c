//! What scenarios share: threads that allocate nothing of their own accord, quiet points, sizes in memory.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::{null, null_mut, without_provenance_mut};

use heapledger::{HeapStats, LossReason, QualityIndicator};

use super::inner::{self, Method};
use super::laws;

/// What a raw thread runs; it is given its number.
pub type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts `N` threads without std, which would allocate for each, and waits until all have ended.
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

/// A block of `size` bytes; the caller gives it back with [`free`]. Hidden from the optimiser, which may leave out a
/// block that nobody looks at, together with its free.
pub fn block(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 8).expect("a small size");
    // SAFETY: no size in these tests is zero.
    let block = black_box(unsafe { alloc(layout) });
    assert!(!block.is_null());
    block
}

/// Gives back what [`block`] gave.
pub fn free(block: *mut u8, size: usize) {
    // SAFETY: the block came from `block` with this size.
    unsafe { dealloc(block, Layout::from_size_align_unchecked(size, 8)) };
}

/// Books everything, with no other thread of the program at work: then nothing is in flight. heapledger's own thread
/// may be at an event of its own just then; it is waited out. Also returns the calls that the inner allocator had
/// served before: a query counts first, and makes events of its own afterwards.
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

/// Books everything, with no other thread of the program at work: nothing is in flight, and what was allocated is
/// freed or live.
pub fn quiet_point() -> QualityIndicator {
    let (quality, _) = quiet_point_and_served();
    let stats = heapledger::stats();
    assert_eq!(stats.live_blocks, stats.total_blocks - stats.freed_blocks);
    assert_eq!(stats.live_bytes, stats.total_bytes - stats.freed_bytes);
    quality
}

/// A quiet point at which every call that the inner allocator has served was attempted, and none else.
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

/// As [`accounted_point`], and nothing was lost or mixed up so far. Returns the totals.
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
    stats
}

/// Asserts that events were lost for this reason alone, and how many.
pub fn lost_only(quality: &QualityIndicator, reason: LossReason) -> u64 {
    for (other, events) in quality.lost.iter() {
        assert!(other == reason || events == 0, "{events} events lost for {}", other.name());
    }
    quality.lost.get(reason)
}

/// Resident memory of this process, in bytes; read without allocating. From the page tables themselves: the counters in
/// `statm` are kept per processor and may be a megabyte behind.
pub fn resident_bytes() -> u64 {
    let mut text = [0u8; 1024];
    // SAFETY: the path is terminated, the buffer is valid for its length, the descriptor is ours to close.
    let length = unsafe {
        let file = libc::open(c"/proc/self/smaps_rollup".as_ptr(), libc::O_RDONLY);
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(length).expect("smaps_rollup can be read")
    };
    let mut lines = text[..length].split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Rss:")).expect("a line with the resident memory");
    let digits = line.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')) * 1024
}

/// The counters when all is booked, and how many events the allocator inside served that no counter knows of.
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
