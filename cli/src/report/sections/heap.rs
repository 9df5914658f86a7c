//! Sections without tables: totals, peak, temporaries, reallocs.

use std::io;

use super::super::text_page::TextPage;
use super::super::units::{
    NOT_AVAILABLE, byte_rate, bytes, bytes_exact, count, counted, duration, hundredths, rate, share,
};
use super::memory::sentence;
use super::places::ShownPath;
use super::subject::{Subject, blocks, certainty, named_certainty};
use crate::analysis::{FigureGroup, Growth, SiteBook, growth, memory, reallocs as reallocs_of, summary};
use heapledger::profile::{Estimate, Estimates};

pub(in super::super) fn totals(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let totals = &found.totals;
    let line = |n, size| format!("{}, {}", blocks(n), bytes_exact(size));
    page.fact("allocated", &line(totals.total_blocks, totals.total_bytes))?;
    page.fact("freed", &line(totals.freed_blocks, totals.freed_bytes))?;
    page.fact("live", &line(totals.live_blocks, totals.live_bytes))?;
    page.fact("mean size", &found.average_bytes.map_or(NOT_AVAILABLE.into(), bytes_exact))?;
    let speed = format!("{}, {}", rate(found.blocks_per_second), byte_rate(found.bytes_per_second));
    page.fact("allocation rate", &speed)?;
    page.fact("refused", &counted(totals.failed, "request", "requests"))?;
    let crossed =
        format!("{} by another thread than the one that allocated", blocks(found.cross_thread_frees));
    page.fact("freed elsewhere", &crossed)?;
    if let Some(estimates) = &subject.profile.estimates {
        sampled(page, estimates)?;
    }
    certainty(page, subject, FigureGroup::Totals)?;
    named_certainty(page, subject, "live blocks", FigureGroup::LiveBlocks)?;
    named_certainty(page, subject, "live bytes", FigureGroup::LiveBytes)
}

/// Writes the estimates from samples, for comparison with the exact sums of the section.
fn sampled(page: &mut TextPage<'_>, estimates: &Estimates) -> io::Result<()> {
    let within = if page.layout.unicode { "\u{b1}" } else { "+/-" };
    let [taken, allocated, live] = samples(estimates, within);
    page.fact("samples", &format!("{taken}; they say, with one standard error:"))?;
    page.fact("  allocated", &allocated)?;
    page.fact("  live", &live)
}

/// Returns three texts: the number of samples, the estimate of allocated blocks, and the estimate of live blocks. In
/// each estimate, `within` separates the value from one standard error.
pub(in super::super) fn samples(estimates: &Estimates, within: &str) -> [String; 3] {
    let whole = |value: f64| value.round().max(0.0) as u64;
    let line = |blocks: &Estimate, size: &Estimate| {
        format!(
            "{} blocks {within} {}, {} {within} {}",
            count(whole(blocks.value)),
            count(whole(blocks.standard_error)),
            bytes(whole(size.value)),
            bytes(whole(size.standard_error)),
        )
    };
    let distance = match estimates.mean_bytes_between_samples {
        0 => "every block is recorded now".to_owned(),
        mean => format!("one in about {}", bytes(mean)),
    };
    [
        format!("{}, {distance}", counted(estimates.sampled_blocks, "block", "blocks")),
        line(&estimates.total_blocks, &estimates.total_bytes),
        line(&estimates.live_blocks, &estimates.live_bytes),
    ]
}

/// Writes the totals of the process in the short form.
pub(in super::super) fn overview(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let totals = &found.totals;
    let line = |n, size| format!("{}, {}", blocks(n), bytes_exact(size));
    page.fact("allocated", &line(totals.total_blocks, totals.total_bytes))?;
    page.fact("live at the end", &line(totals.live_blocks, totals.live_bytes))?;
    let peak = &found.peak;
    let bound = match subject.profile.peak_bounds() {
        (least, most) if least == most => String::new(),
        (least, most) => format!("; between {} and {}", bytes(least), bytes(most)),
    };
    page.fact("peak", &format!("{}, after {}{bound}", line(peak.blocks, peak.bytes), duration(peak.at_ns)))?;
    if let Some(memory) = memory(subject.profile) {
        page.fact("memory", &sentence(&memory))?;
    }
    let part = share(found.temporary_blocks, totals.total_blocks);
    page.fact("temporary", &format!("{} ({part})", line(found.temporary_blocks, found.temporary_bytes)))?;
    let moved = reallocs_of(subject.profile).all;
    page.fact("reallocs", &format!("{}, {} copied", count(moved.count), bytes(moved.copied_bytes)))?;
    if let Some(estimates) = &subject.profile.estimates {
        sampled(page, estimates)?;
    }
    certainty(page, subject, FigureGroup::Totals)
}

pub(in super::super) fn peak(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let peak = &found.peak;
    let when = duration(peak.at_ns);
    page.fact("highest", &format!("{} in {}, after {when}", bytes_exact(peak.bytes), blocks(peak.blocks)))?;
    let (least, most) = subject.profile.peak_bounds();
    if least < most {
        page.fact("at most", &format!("{}, counting what was made but not booked", bytes_exact(most)))?;
        page.fact("at least", &format!("{}, the most at the end of an interval", bytes_exact(least)))?;
    }
    let remaining = share(found.totals.live_bytes, peak.bytes);
    page.fact("live at the end", &format!("{remaining} of it"))?;
    certainty(page, subject, FigureGroup::Peak)
}

pub(in super::super) fn temporaries(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let part = share(found.temporary_blocks, found.totals.total_blocks);
    let size = bytes(found.temporary_bytes);
    page.fact("temporary", &format!("{} ({part} of all), {size}", blocks(found.temporary_blocks)))?;
    let meaning = format!("freed within {} more allocations of their thread", found.temporary_allocs);
    page.fact("that is", &meaning)?;
    certainty(page, subject, FigureGroup::Temporaries)
}

pub(in super::super) fn reallocs(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = reallocs_of(subject.profile);
    let all = &found.all;
    page.fact("reallocs", &counted(all.count, "call", "calls"))?;
    let moved = share(all.moved, all.count);
    page.fact("moved", &format!("{} ({moved}), {} in place", count(all.moved), count(found.in_place)))?;
    page.fact("copied", &format!("{} to new places", bytes_exact(all.copied_bytes)))?;
    let chains = format!(
        "{} freed after growing; {} reallocs each in the mean, {} at most",
        blocks(all.chains),
        hundredths(found.mean_chain_hundredths),
        count(all.longest_chain),
    );
    page.fact("chains", &chains)?;
    if let Some(book) = &subject.book {
        growing(page, book)?;
    }
    certainty(page, subject, FigureGroup::Reallocs)
}

/// Maximum number of listed places with advice on reallocs.
const GROWING: usize = 5;

/// Writes the places (lines of `book`) where a larger initial capacity would save reallocs.
fn growing(page: &mut TextPage<'_>, book: &SiteBook) -> io::Result<()> {
    for (here, saved) in advice(book, GROWING, page.layout.columns()) {
        page.fact("advice", &format!("{here}: {saved}"))?;
    }
    Ok(())
}

/// Returns up to `limit` places where a larger initial capacity would save reallocs: for each, its name in up to
/// `width` characters, and the savings.
pub(in super::super) fn advice(book: &SiteBook, limit: usize, width: usize) -> Vec<(String, String)> {
    let of = |place: Growth| {
        let line = &book.lines[place.line];
        let shown = ShownPath { functions: &book.functions, path: &line.path, lines: &line.lines, label: "" };
        (shown.place(book.group, width), savings(&place))
    };
    growth(book, limit).into_iter().map(of).collect()
}

/// Returns the sentence on the reallocs at a place and the capacity that would save them.
pub(super) fn savings(place: &Growth) -> String {
    let copied = bytes(place.copied_bytes);
    let reallocs = counted(place.reallocs, "realloc", "reallocs");
    let each = hundredths(Some(place.mean_hundredths));
    if !place.is_uniform {
        return format!(
            "{reallocs} here copied {copied}; blocks grew {each} times in the mean and up to {} times, too unlike for \
             one capacity: reserve where the size is known",
            count(place.longest)
        );
    }
    let (low, high) = place.largest_bytes;
    let room = if high == u64::MAX {
        format!("{} B and more", count(low))
    } else {
        format!("{} to {} B", count(low), count(high))
    };
    format!(
        "a first capacity (`with_capacity`) of the largest size seen here, {room}, saves up to {reallocs} ({each} a \
         block) and {copied} copied, over {}",
        blocks(place.blocks)
    )
}
