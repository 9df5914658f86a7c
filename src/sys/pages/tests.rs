use std::collections::HashSet;

use super::*;

#[test]
fn runs_are_zeroed_distinct_and_come_back() {
    let region = Pages::reserve(8 << 20, size_of::<Pages>()).unwrap();
    // SAFETY: P1, the region lives until the end of the test.
    let pages = unsafe { region.as_ref() };
    let held = pages.held_bytes();
    let (a, b) = (pages.take(3, For::Tables).unwrap(), pages.take(1, For::Tables).unwrap());
    assert!(b >= a + 4, "a run of 3 pages occupies 4");
    // SAFETY: this test has taken the run.
    unsafe {
        assert!((0..4 * PAGE_BYTES).all(|i| pages.at(a).add(i).read() == 0));
        pages.at(a).write_bytes(7, 3 * PAGE_BYTES);
    }
    pages.give_back(a, 3, For::Tables);
    assert_eq!(pages.take(4, For::Tables), Some(a));
    // SAFETY: this test has taken the run again.
    assert!((0..4 * PAGE_BYTES).all(|i| unsafe { pages.at(a).add(i).read() } == 0));
    pages.give_back(a, 4, For::Tables);
    pages.give_back(b, 1, For::Tables);
    assert_eq!(pages.held_bytes(), held + 5 * PAGE_BYTES as u64, "both are kept");
    assert_eq!((pages.take(4, For::Tables), pages.take(1, For::Tables)), (Some(a), Some(b)));
    Pages::release(region);
}

/// Takes `runs` runs of a size, writes to them and gives them back; twice, so that the second time checks that they are
/// filled with zeros.
fn take_and_give_back(pages: &Pages, size: u32, runs: usize) {
    for _ in 0..2 {
        let runs: Vec<u32> = (0..runs).map(|_| pages.take_to_scatter(size, For::Tables).unwrap()).collect();
        assert_eq!(runs.iter().collect::<HashSet<_>>().len(), runs.len());
        for &run in &runs {
            let bytes = size as usize * PAGE_BYTES;
            // SAFETY: this test has taken the run.
            unsafe {
                assert!((0..bytes).all(|i| pages.at(run).add(i).read() == 0), "{size} pages");
                pages.at(run).write_bytes(7, bytes);
            }
        }
        runs.into_iter().for_each(|run| pages.give_back(run, size, For::Tables));
    }
}

#[test]
fn of_each_small_size_some_runs_are_kept_one_large_one_and_none_that_is_huge() {
    let region = Pages::reserve(64 << 20, size_of::<Pages>()).unwrap();
    // SAFETY: P1, the region lives until the end of the test.
    let pages = unsafe { region.as_ref() };
    let held = pages.held_bytes();
    let kept_pages = || (pages.held_bytes() - held) / PAGE_BYTES as u64;
    let mut kept = 0;
    // Of the runs in a list, one page per thousand runs stays resident.
    for (size, runs, is_added, are_trunks, takes_the_place_of) in [
        (1, 2_500, 16, 3, 0),
        (2, 3, 6, 0, 0),
        (4, 6, 16, 1, 0),
        (16, 2, 16, 1, 0),
        (40, 2, 40, 1, 0),
        (WARM_PAGES_MAX, 2, 1024, 1, 40),
        (2 * WARM_PAGES_MAX, 2, 0, 1, 0),
        (100, 2, 100, 1, 1024),
    ] {
        take_and_give_back(pages, size, runs);
        kept = kept + is_added + are_trunks - takes_the_place_of;
        if address_space::discardable(pages.at(0), PAGE_BYTES) > 0 {
            assert_eq!(kept_pages(), kept, "{size} pages");
        }
        #[cfg(target_os = "linux")]
        assert!(resident_bytes(pages) <= pages.held_bytes(), "{size} pages");
    }
    Pages::release(region);
}

/// Returns the number of resident bytes of a region, as the system reports it.
#[cfg(target_os = "linux")]
fn resident_bytes(pages: &Pages) -> u64 {
    // SAFETY: the call only returns a figure.
    let unit = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let bytes = pages.reserved() as usize * PAGE_BYTES;
    let mut lent = vec![0u8; bytes.div_ceil(unit)];
    // SAFETY: the range is the region, and there is a byte for each page of it.
    let failed = unsafe { libc::mincore(pages.at(0).cast(), bytes, lent.as_mut_ptr()) };
    assert_eq!(failed, 0);
    lent.iter().filter(|byte| **byte & 1 != 0).count() as u64 * unit as u64
}

/// Returns the number of page faults of this thread.
#[cfg(target_os = "linux")]
fn faults() -> i64 {
    // SAFETY: all zero bytes are a valid `rusage`, and it is valid for writes.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_minflt
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_taken_to_be_filled_here_and_there_is_lent_already() {
    let region = Pages::reserve(8 << 20, size_of::<Pages>()).unwrap();
    // SAFETY: P1, the region lives until the end of the test.
    let pages = unsafe { region.as_ref() };
    for size in [1, LENT_AT_ONCE_MIN - 1, LENT_AT_ONCE_MIN, 100] {
        let lent = pages.take_to_scatter(size, For::Tables).unwrap();
        let before = faults();
        for page in lent..lent + size {
            // SAFETY: this test has taken the run.
            unsafe { pages.at(page).write_volatile(pages.at(page).read_volatile() + 1) };
        }
        assert_eq!(faults() - before, 0, "{size} pages");
    }
    Pages::release(region);
}

#[test]
fn the_limit_is_a_refusal_not_a_crash() {
    let region = Pages::reserve(1 << 20, size_of::<Pages>()).unwrap();
    // SAFETY: P1, the region lives until the end of the test.
    let pages = unsafe { region.as_ref() };
    assert_eq!(pages.take(1 << 20, For::Tables), None);
    let mut taken = 0;
    while pages.take(16, For::Tables).is_some() {
        taken += 1;
    }
    assert!(taken >= 15, "{taken}");
    assert!(pages.held_bytes() <= 1 << 20);
    Pages::release(region);
}

/// This is the only test with sparse regions, because two that are opened at the same time choose the same addresses.
#[test]
fn a_sparse_run_is_accessible_where_it_was_reached_and_no_memory_elsewhere() {
    let own = Pages::reserve_as(1 << 34, size_of::<Pages>(), true).unwrap();
    // SAFETY: P1, the region lives until the end of the test.
    use_sparse_runs(unsafe { own.as_ref() });
    let child = Pages::reserve_as(64 << 20, size_of::<Pages>(), true).unwrap();
    // SAFETY: P1, the region lives until its release below.
    let pages = unsafe { child.as_ref() };
    use_sparse_runs(pages);
    let ceiling = pages.reserved() - pages.sparse.pages();
    let mut last = 0;
    while let Some(page) = pages.take(16, For::Tables) {
        last = page;
        assert!(page + 16 <= ceiling, "{page} {ceiling}");
    }
    assert!(last > 4_000 && pages.is_reached(last, 16));
    Pages::release(child);
    Pages::release(own);
}

fn use_sparse_runs(pages: &Pages) {
    let is_sparse = address_space::COMMITS;
    let (first, second) = (pages.take_sparse(1_000).unwrap(), pages.take_sparse(300).unwrap());
    assert_eq!(pages.is_reached(first, 1_000), !is_sparse);
    for (run, size) in [(first, 1_000), (second, 300)] {
        for page in [0, 1, size - 1, size / 2] {
            assert!(pages.reach(run + page, 1) && pages.is_reached(run + page, 1));
            // SAFETY: this test has taken the run, and the page was made accessible.
            unsafe {
                assert_eq!(pages.at(run + page).read(), 0);
                pages.at(run + page).write_bytes(7, PAGE_BYTES);
            }
        }
        assert!(pages.reach(run + size / 4 - 1, 2), "two pages, maybe of two steps");
    }
    assert_eq!(pages.is_reached(first, 1_000), !is_sparse);
    #[cfg(all(target_os = "linux", not(heapledger_portable)))]
    assert!(!is_mapped(pages.at(first + 900)) && is_mapped(pages.at(first + 999)));
}

/// Returns whether any memory is mapped at an address.
#[cfg(all(target_os = "linux", not(heapledger_portable)))]
fn is_mapped(page: *mut u8) -> bool {
    let mut lent = 0u8;
    // SAFETY: the call writes only the byte `lent`, and reads no memory.
    unsafe { libc::mincore(page.cast(), 1, &mut lent) == 0 }
}

#[test]
fn a_limit_that_is_too_small_gives_no_region() {
    assert!(Pages::reserve(1000, size_of::<Pages>()).is_none());
}
