//! Findings: the few places that a user should look at first, each with its figure. A place is a line of a
//! [`SiteBook`].
//!
//! Each kind of finding answers one question: which place is large, which keeps growing, which frees blocks soon after
//! their allocation, and where reallocs copy. If no place reaches the threshold of a kind, there is no finding of that
//! kind. The tables of the report also show the figures below the thresholds.

use super::course::{Course, CourseKind, courses};
use super::growth::{Growth, growth};
use super::retained::{Retained, retained};
use super::{SiteBook, SiteOrder};
use heapledger::profile::Profile;

/// Maximum number of findings.
pub const FINDINGS_MAX: usize = 5;
/// Maximum number of findings on places that keep growing.
const GROWING_MAX: usize = 2;
/// Divisor of the sum of a figure over all places. A place with less than 1 / SHARE of the sum is no finding.
const SHARE: u64 = 20;
/// Divisor of the live bytes of the process. A growing place with less than 1 / GROWING_SHARE of these bytes is no
/// finding.
const GROWING_SHARE: u64 = 100;
/// Minimum number of temporary blocks of a finding on temporary blocks.
const TEMPORARY_BLOCKS_MIN: u64 = 1_000;
/// Minimum number of bytes of a finding on copied bytes, or on live bytes at the snapshot.
const COPIED_BYTES_MIN: u64 = 64 << 10;

/// Place that a user should look at, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Place, as an index into [`SiteBook::lines`].
    pub line: usize,
    /// Reason for the finding.
    pub kind: FindingKind,
}

/// Reason for a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// Of all places, this one held the most bytes when the process was at its peak.
    LargestAtPeak {
        /// Bytes of the place at the peak of the process.
        bytes: u64,
        /// Bytes of the whole process at its peak.
        of_bytes: u64,
        /// Course of the place's live bytes; `None` for a place without a curve.
        course: Option<CourseKind>,
    },
    /// Of all places, this one holds the most bytes at the snapshot.
    LargestLive {
        /// Live bytes of the place.
        bytes: u64,
        /// Live bytes of the whole process.
        of_bytes: u64,
    },
    /// The live bytes of the place rose throughout the run, and are still live.
    KeepsGrowing(Course),
    /// The live bytes of the place rose through the run and were freed at its end, as those of a queue that is drained
    /// last.
    GrewUntilTheEnd(Course),
    /// Live blocks of the place were allocated throughout the run. The place has no curve, so their allocation times
    /// are used.
    AllocatedThroughout(Retained),
    /// Of all places, this one allocated the most temporary blocks: those freed soon after their allocation.
    Temporary {
        /// Temporary blocks of the place.
        blocks: u64,
        /// All blocks of the place.
        of_blocks: u64,
        /// Bytes in the temporary blocks.
        bytes: u64,
    },
    /// Of all places, this one has the reallocs that copied the most bytes.
    Capacity(Growth),
}

/// Returns the findings of a profile, the most important kind first, at most [`FINDINGS_MAX`].
pub fn findings(profile: &Profile, book: &SiteBook) -> Vec<Finding> {
    let mut found = Vec::new();
    let first = |order| {
        let ranking = book.ranking(order, 1);
        let line = *ranking.rows.first()?;
        let value = order.value(&book.lines[line].account);
        (value >= ranking.total / SHARE).then_some((line, value, ranking.total))
    };
    let courses = courses(profile, book);
    let largest_at_peak = first(SiteOrder::Peak);
    let growing = growing(profile, book, &courses, largest_at_peak.map(|(line, ..)| line));
    if let Some((line, bytes, of_bytes)) = largest_at_peak {
        let course = courses.iter().find(|course| course.line == line).map(|course| course.kind);
        found.push(Finding { line, kind: FindingKind::LargestAtPeak { bytes, of_bytes, course } });
    }
    let grows = |line| growing.iter().any(|finding| finding.line == line);
    // The place with the most live bytes at the snapshot may be another one than at the peak.
    if let Some((line, bytes, of_bytes)) = first(SiteOrder::Live)
        && Some(line) != largest_at_peak.map(|(line, ..)| line)
        && !grows(line)
        && bytes >= COPIED_BYTES_MIN
    {
        found.push(Finding { line, kind: FindingKind::LargestLive { bytes, of_bytes } });
    }
    found.extend(growing);
    if let Some((line, blocks, _)) = first(SiteOrder::Temporaries)
        && blocks >= TEMPORARY_BLOCKS_MIN
    {
        let account = &book.lines[line].account;
        let (of_blocks, bytes) = (account.total_blocks, account.temporary_bytes);
        found.push(Finding { line, kind: FindingKind::Temporary { blocks, of_blocks, bytes } });
    }
    let dearest = growth(book, 1).into_iter().find(|place| place.copied_bytes >= COPIED_BYTES_MIN);
    found.extend(dearest.map(|place| Finding { line: place.line, kind: FindingKind::Capacity(place) }));
    found.truncate(FINDINGS_MAX);
    found
}

/// Returns findings on the places that keep growing, those with the most live bytes first. Appends at most one place
/// that grew until the end and was then freed, unless it is the `largest` place. A place without a curve is judged by
/// the allocation times of its live blocks.
fn growing(profile: &Profile, book: &SiteBook, courses: &[Course], largest: Option<usize>) -> Vec<Finding> {
    let is_worth_it = |bytes: u64| bytes >= profile.totals.live_bytes / GROWING_SHARE;
    let of_curves = courses.iter().filter(|course| course.kind == CourseKind::KeepsGrowing).map(|course| {
        let kind = FindingKind::KeepsGrowing(course.clone());
        (course.retained_bytes(), Finding { line: course.line, kind })
    });
    let has_curve = |place: &Retained| {
        let course = courses.iter().find(|course| course.line == place.line);
        course.is_some_and(|course| course.retained_bytes() >= place.bytes / 2)
    };
    let of_births =
        retained(profile, book).into_iter().filter(|place| place.keeps_growing() && !has_curve(place));
    let of_births = of_births.map(|place| {
        (place.bytes, Finding { line: place.line, kind: FindingKind::AllocatedThroughout(place) })
    });
    let mut all: Vec<_> = of_curves.chain(of_births).filter(|(bytes, _)| is_worth_it(*bytes)).collect();
    all.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let given_back = courses.iter().filter(|course| {
        course.kind == CourseKind::GivenBack
            && Some(course.line) != largest
            && course.highest_bytes() >= profile.peak.bytes / SHARE
    });
    let given_back = given_back.max_by_key(|course| course.highest_bytes()).map(|course| {
        let kind = FindingKind::GrewUntilTheEnd(course.clone());
        Finding { line: course.line, kind }
    });
    all.into_iter().take(GROWING_MAX).map(|(_, finding)| finding).chain(given_back).collect()
}

#[cfg(test)]
mod tests {
    use super::super::paths::{View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::{LiveBlock, ReallocStats, Site, SiteCurve};

    /// Returns a profile with one place for each kind of finding, and one place without a finding.
    fn profile() -> Profile {
        let mut profile = named(&[
            &[("demo::index", "a.rs", 1)],
            &[("demo::cache", "a.rs", 2)],
            &[("demo::parse", "a.rs", 3)],
            &[("demo::collect", "a.rs", 4)],
            &[("demo::small", "a.rs", 5)],
        ]);
        profile.process.duration_ns = 1_600;
        let site = |stack| Site { stack, total_blocks: 10, total_bytes: 100, ..Site::default() };
        profile.sites = (1..6).map(site).collect();
        (profile.sites[0].at_peak_bytes, profile.sites[4].at_peak_bytes) = (900_000, 100);
        profile.sites[1].total_blocks = 100;
        profile.sites[1].total_bytes = 200_000;
        profile.totals.live_bytes = 200_000;
        (profile.sites[2].temporary_blocks, profile.sites[2].temporary_bytes) = (5_000, 80_000);
        profile.sites[2].total_blocks = 6_000;
        profile.sites[3].reallocs = ReallocStats {
            count: 30,
            moved: 30,
            copied_bytes: 900_000,
            chains: 10,
            chain_links: 30,
            longest_chain: 3,
        };
        profile.sites[3].sizes.add(64, 10);
        let block = |n: u64| LiveBlock { stack: 2, size: 2_000, born_ns: n * 16, ..LiveBlock::default() };
        profile.live = (0..100).map(block).collect();
        profile
    }

    fn found(profile: &Profile) -> Vec<(usize, &'static str)> {
        let book = site_book(profile, &View::default());
        let name = |finding: &Finding| match finding.kind {
            FindingKind::LargestAtPeak { .. } => "peak",
            FindingKind::LargestLive { .. } => "live",
            FindingKind::KeepsGrowing(_) | FindingKind::AllocatedThroughout(_) => "grows",
            FindingKind::GrewUntilTheEnd(_) => "grew",
            FindingKind::Temporary { .. } => "temporary",
            FindingKind::Capacity(_) => "capacity",
        };
        findings(profile, &book).iter().map(|finding| (finding.line, name(finding))).collect()
    }

    #[test]
    fn each_kind_finds_its_place_and_trifles_are_left_out() {
        let mut profile = profile();
        assert_eq!(found(&profile), [(0, "peak"), (1, "grows"), (2, "temporary"), (3, "capacity")]);
        // Allocated all at once, the same bytes are large but do not grow.
        profile.live.iter_mut().for_each(|block| block.born_ns = 3);
        assert_eq!(found(&profile)[..2], [(0, "peak"), (1, "live")]);
        profile.sites[2].temporary_blocks = 999;
        profile.sites[3].reallocs.copied_bytes = 9;
        assert_eq!(found(&profile).len(), 2);
    }

    #[test]
    fn a_queue_that_is_drained_at_the_end_is_found_beside_what_stays() {
        let mut profile = profile();
        profile.peak.bytes = 900_000;
        let curve = |stack, value: &dyn Fn(u64) -> u64| SiteCurve {
            stack,
            interval_ns: 25,
            first_interval: 0,
            live_bytes: (0..64).map(value).collect(),
        };
        let drained = |n| if n < 63 { n * 1_000 } else { 0 };
        profile.curves = vec![curve(5, &drained), curve(1, &|n| 900_000 - n)];
        assert_eq!(found(&profile)[..3], [(0, "peak"), (1, "grows"), (4, "grew")]);
        // 1 / 20 of the peak is too little for a finding.
        profile.peak.bytes = 2_000_000;
        assert_eq!(found(&profile)[2], (2, "temporary"));
    }

    #[test]
    fn a_profile_without_events_has_no_findings() {
        assert_eq!(found(&super::super::sample::empty()), []);
    }
}
