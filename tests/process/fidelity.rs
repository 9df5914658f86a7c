//! P4: the calls of the inner allocator, and the results for the program, are the same as without a ledger.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner::{self, Call, Method, last_call, refuse};
use super::laws::complete;
use super::tools::{block, free, lossless_point, resident_bytes};

pub const CASES: &[Case] = &[
    Case::new("every_method_is_forwarded_with_its_layout_and_its_pointer", forward_all, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("half_a_gibibyte_of_zeros_stays_lazy", lazy_zeros, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        assert!(profile.totals.peak_bytes >= 512 << 20);
    }),
    Case::new("a_large_vector_grows_as_the_inner_allocator_grows_it", large_vector, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("alignments_up_to_two_mebibytes_are_kept_and_recorded", alignments, alignments_are_recorded),
    Case::new("blocks_without_bytes_are_no_events", no_bytes, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("five_gibibytes_are_recorded_to_the_byte", five_gibibytes, five_gibibytes_are_live),
    Case::new("growth_beyond_four_gibibytes_is_recorded_to_the_byte", beyond_four_gibibytes, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("a_refused_allocation_is_counted_and_nothing_else", refused_allocations, refusals_are_counted),
    Case::new("a_refused_realloc_leaves_the_old_block_live", refused_realloc, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        assert_eq!(profile.totals.failed, 3);
    }),
    Case::new("jemalloc_inside_is_recorded", work_and_count, |ended| any_inner(ended, "jemalloc"))
        .heap(Heap::Jemalloc),
    Case::new("mimalloc_inside_is_recorded", work_and_count, |ended| any_inner(ended, "mimalloc"))
        .heap(Heap::Mimalloc),
    Case::new("an_inner_allocator_that_calls_back_is_recorded", call_back, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    })
    .heap(Heap::CallsBack),
];

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn forward_all() {
    let seen = |method, block: *mut u8, (size, align), new_size, returned: *mut u8| {
        let call = Call { method, block: block.addr(), size, align, new_size, returned: returned.addr() };
        assert_eq!(last_call(), Some(call));
    };
    let null = std::ptr::null_mut();
    for (size, align) in [(1, 1), (7, 2), (4096, 8), (100, 64), (1 << 20, 4096), (3, 1 << 16)] {
        // SAFETY: no size is zero; each block is freed or reallocated once, with its own layout.
        unsafe {
            let block = alloc(layout(size, align));
            seen(Method::Alloc, null, (size, align), 0, block);
            block.write_bytes(0x5a, size);
            let moved = realloc(block, layout(size, align), size * 3);
            seen(Method::Realloc, block, (size, align), size * 3, moved);
            assert!((0..size).all(|at| moved.add(at).read() == 0x5a));
            let back = realloc(moved, layout(size * 3, align), size);
            seen(Method::Realloc, moved, (size * 3, align), size, back);
            dealloc(back, layout(size, align));
            seen(Method::Dealloc, back, (size, align), 0, null);
            let zeroed = alloc_zeroed(layout(size, align));
            seen(Method::AllocZeroed, null, (size, align), 0, zeroed);
            assert!((0..size).all(|at| zeroed.add(at).read() == 0));
            dealloc(zeroed, layout(size, align));
            seen(Method::Dealloc, zeroed, (size, align), 0, null);
        }
    }
    lossless_point();
}

fn lazy_zeros() {
    let (before, asked) = (resident_bytes(), inner::served_by(Method::AllocZeroed));
    let zeros = black_box(vec![0u8; 512 << 20]);
    assert_eq!(inner::served_by(Method::AllocZeroed), asked + 1);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes became resident");
    assert_eq!((zeros[0], zeros[300 << 20], zeros[(512 << 20) - 1]), (0, 0, 0));
    drop(zeros);
    lossless_point();
}

fn large_vector() {
    let before = lossless_point();
    let mut words: Vec<u64> = Vec::with_capacity(1 << 20);
    words.extend(0..1 << 20);
    for doubling in 1..=4 {
        let (old, reallocs) = (words.as_ptr(), inner::served_by(Method::Realloc));
        words.reserve_exact(words.len());
        words.extend_from_within(..);
        assert_eq!(inner::served_by(Method::Realloc), reallocs + 1);
        let call = last_call().unwrap();
        assert_eq!(
            (call.method, call.block, call.returned),
            (Method::Realloc, old.addr(), words.as_ptr().addr())
        );
        assert_eq!((call.size, call.new_size), (8 << (19 + doubling), 8 << (20 + doubling)));
    }
    assert!(words.iter().enumerate().all(|(at, word)| at as u64 % (1 << 20) == *word));
    let after = lossless_point();
    assert_eq!(after.reallocs - before.reallocs, 4);
    assert_eq!(after.total_blocks - before.total_blocks, 5);
    assert_eq!(after.total_bytes - before.total_bytes, (8 << 20) * (1 + 2 + 4 + 8 + 16));
    assert_eq!(after.live_bytes - before.live_bytes, 16 * (8 << 20));
}

fn alignments() {
    for log2 in 0..=21 {
        // SAFETY: the size is not zero.
        let block = unsafe { alloc(layout(24, 1 << log2)) };
        assert!(!block.is_null() && block.addr().is_multiple_of(1 << log2));
        println!("block={} {log2}", block.addr());
    }
    lossless_point();
}

fn alignments_are_recorded(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let lines: Vec<_> = ended.stdout.lines().filter_map(|line| line.strip_prefix("block=")).collect();
    assert_eq!(lines.len(), 22);
    for line in lines {
        let (address, log2) = line.split_once(' ').unwrap();
        let block = profile.live.iter().find(|block| block.address.to_string() == address).unwrap();
        assert_eq!((block.size, block.align_log2), (24, log2.parse().unwrap()));
    }
}

fn no_bytes() {
    let before = lossless_point();
    let units: Vec<()> = black_box(vec![(); 1000]);
    let empty: Vec<u64> = black_box(Vec::new());
    let boxed = black_box(Box::new([0u8; 0]));
    drop((units, empty, boxed));
    let after = lossless_point();
    assert_eq!(after, before);
}

fn five_gibibytes() {
    const BYTES: usize = (5 << 30) + 3;
    let before = lossless_point();
    let resident = resident_bytes();
    // SAFETY: the size is not zero.
    let block = black_box(unsafe { alloc_zeroed(layout(BYTES, 8)) });
    assert!(!block.is_null());
    // SAFETY: the last byte is inside the block.
    assert_eq!(unsafe { block.add(BYTES - 1).read() }, 0);
    assert!(resident_bytes().saturating_sub(resident) < 1 << 20);
    let during = lossless_point();
    assert_eq!(during.live_bytes - before.live_bytes, BYTES as u64);
    assert_eq!(during.peak_bytes, during.live_bytes);
    // SAFETY: the block is freed once, with its own layout.
    unsafe { dealloc(block, layout(BYTES, 8)) };
    let after = lossless_point();
    assert_eq!((after.live_bytes, after.freed_bytes - before.freed_bytes), (before.live_bytes, BYTES as u64));
    // SAFETY: as above; this one stays.
    assert!(!black_box(unsafe { alloc_zeroed(layout(BYTES, 8)) }).is_null());
}

fn five_gibibytes_are_live(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.live.iter().filter(|block| block.size == (5 << 30) + 3).count(), 1);
}

/// A block grows from a small size to one of more than 32 bits, shrinks to another such size, and becomes small again.
fn beyond_four_gibibytes() {
    let before = lossless_point();
    let sizes = [100, (5 << 30) + 16, (6 << 30) + 24, (4 << 30) + 8, 200];
    let mut held = block(sizes[0]);
    for pair in sizes.windows(2) {
        // SAFETY: the block is ours and has the layout of the last step.
        held = unsafe { realloc(held, layout(pair[0], 8), pair[1]) };
        assert!(!held.is_null());
        let now = lossless_point();
        assert_eq!(now.live_bytes - before.live_bytes, pair[1] as u64, "after {pair:?}");
    }
    free(held, sizes[4]);
    let after = lossless_point();
    assert_eq!((after.live_bytes, after.reallocs - before.reallocs), (before.live_bytes, 4));
}

fn refused_allocations() {
    let before = lossless_point();
    refuse(Method::Alloc, 2);
    // SAFETY: the size is not zero.
    let blocks = black_box(unsafe { [alloc(layout(64, 8)), alloc(layout(64, 8))] });
    assert!(blocks.iter().all(|block| block.is_null()));
    refuse(Method::AllocZeroed, 1);
    // SAFETY: the size is not zero.
    assert!(black_box(unsafe { alloc_zeroed(layout(64, 8)) }).is_null());
    refuse(Method::Alloc, 1);
    assert!(black_box(Vec::<u8>::new()).try_reserve_exact(64).is_err());
    let after = lossless_point();
    assert_eq!(after.failed - before.failed, 4);
    assert_eq!(heapledger::HeapStats { failed: before.failed, ..after }, before);
}

fn refusals_are_counted(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.totals.failed, 4);
}

fn refused_realloc() {
    let before = lossless_point();
    let mut text = Vec::with_capacity(100);
    text.extend_from_slice(b"still here");
    refuse(Method::Realloc, 2);
    assert!(text.try_reserve_exact(1000).is_err());
    assert!(text.try_reserve_exact(2000).is_err());
    assert_eq!(text, b"still here");
    let held = lossless_point();
    assert_eq!(held.failed - before.failed, 2);
    assert_eq!((held.live_blocks - before.live_blocks, held.live_bytes - before.live_bytes), (1, 100));
    assert_eq!(held.reallocs, before.reallocs);
    text.reserve_exact(500);
    let grown = lossless_point();
    assert_eq!((grown.reallocs - before.reallocs, grown.live_bytes - before.live_bytes), (1, 510));
    refuse(Method::Realloc, 1);
    assert!(text.try_reserve_exact(5000).is_err());
    drop(text);
    let after = lossless_point();
    assert_eq!((after.live_blocks, after.live_bytes), (before.live_blocks, before.live_bytes));
}

/// Works on four threads, and counts for an inner allocator without counters.
fn work_and_count() {
    let workers: Vec<_> = (0..4usize)
        .map(|worker| {
            std::thread::spawn(move || {
                let mut held: Vec<Vec<u8>> = Vec::new();
                for round in 0..20_000 {
                    held.push(vec![worker as u8; 1 + round * 31 % 3000]);
                    if round % 3 > 0 {
                        held.swap_remove(round % held.len());
                    }
                }
                held.iter().map(Vec::len).sum::<usize>()
            })
        })
        .collect();
    let bytes: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert!(bytes > 0);
    let aligned = super::tools::quiet_point();
    assert_eq!(aligned.lost.total(), 0);
}

/// The snapshot has the allocator's figures.
fn any_inner(ended: &Ended, name: &str) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert!(profile.totals.total_blocks > 80_000);
    assert_eq!(profile.memory.allocator, name, "{:?}", profile.memory);
    assert!(profile.memory.blocks_at_least_bytes.is_some(), "{:?}", profile.memory);
}

fn call_back() {
    let before = lossless_point();
    inner::CALLS.store(1, std::sync::atomic::Ordering::SeqCst);
    for round in 0..10_000 {
        free(block(16 + round % 500), 16 + round % 500);
    }
    let mut growing = Vec::new();
    growing.extend(0..5000u32);
    drop(growing);
    inner::CALLS.store(0, std::sync::atomic::Ordering::SeqCst);
    let after = lossless_point();
    let back = inner::CALLED_BACK.load(std::sync::atomic::Ordering::SeqCst);
    assert!(back > 40_000 && after.total_blocks - before.total_blocks >= 10_000 + back / 2, "{back}");
}
