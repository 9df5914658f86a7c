//! The sections that state facts: totals, peak, temporaries, reallocs.

use std::io;

use super::super::sheet::Sheet;
use super::super::units::{
    NOT_AVAILABLE, byte_rate, bytes, bytes_exact, count, counted, duration, hundredths, rate, share,
};
use super::places::Shown;
use super::subject::{Subject, blocks, certainty, labelled_certainty};
use crate::analysis::{Figure, Growth, SiteBook, growth, reallocs as reallocs_of, summary};
use heapledger::profile::{Estimate, Estimates};

pub(in super::super) fn totals(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let totals = &found.totals;
    let line = |n, size| format!("{}, {}", blocks(n), bytes_exact(size));
    sheet.fact("allocated", &line(totals.total_blocks, totals.total_bytes))?;
    sheet.fact("freed", &line(totals.freed_blocks, totals.freed_bytes))?;
    sheet.fact("live", &line(totals.live_blocks, totals.live_bytes))?;
    sheet.fact("mean size", &found.average_bytes.map_or(NOT_AVAILABLE.into(), bytes_exact))?;
    let speed = format!("{}, {}", rate(found.blocks_per_second), byte_rate(found.bytes_per_second));
    sheet.fact("allocation rate", &speed)?;
    sheet.fact("refused", &counted(totals.failed, "request", "requests"))?;
    let crossed =
        format!("{} by another thread than the one that allocated", blocks(found.cross_thread_frees));
    sheet.fact("freed elsewhere", &crossed)?;
    if let Some(estimates) = &subject.profile.estimates {
        sampled(sheet, estimates)?;
    }
    certainty(sheet, subject, Figure::Totals)?;
    labelled_certainty(sheet, subject, "live blocks", Figure::LiveBlocks)?;
    labelled_certainty(sheet, subject, "live bytes", Figure::LiveBytes)
}

/// What the samples alone say, so that a reader sees how good they are: the lines above are exact all the same.
fn sampled(sheet: &mut Sheet<'_>, estimates: &Estimates) -> io::Result<()> {
    let within = if sheet.layout.unicode { "\u{b1}" } else { "+/-" };
    let [taken, allocated, live] = samples(estimates, within);
    sheet.fact("samples", &format!("{taken}; they say, with one standard error:"))?;
    sheet.fact("  allocated", &allocated)?;
    sheet.fact("  live", &live)
}

/// How many samples there are, and what they alone say was allocated and is live, each with one standard error behind
/// `within`.
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

pub(in super::super) fn peak(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let peak = &found.peak;
    let when = duration(peak.at_ns);
    sheet
        .fact("highest", &format!("{} in {}, after {when}", bytes_exact(peak.bytes), blocks(peak.blocks)))?;
    if peak.uncertainty_bytes > 0 {
        let most = peak.bytes.saturating_add(peak.uncertainty_bytes);
        sheet.fact("at most", &format!("{}, counting what was made but not booked", bytes_exact(most)))?;
    }
    let remaining = share(found.totals.live_bytes, peak.bytes);
    sheet.fact("live at the end", &format!("{remaining} of it"))?;
    certainty(sheet, subject, Figure::Peak)
}

pub(in super::super) fn temporaries(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = summary(subject.profile);
    let part = share(found.temporary_blocks, found.totals.total_blocks);
    let size = bytes(found.temporary_bytes);
    sheet.fact("temporary", &format!("{} ({part} of all), {size}", blocks(found.temporary_blocks)))?;
    let meaning = format!("freed before their thread made {} more allocations", found.temporary_allocs);
    sheet.fact("that is", &meaning)?;
    certainty(sheet, subject, Figure::Temporaries)
}

pub(in super::super) fn reallocs(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = reallocs_of(subject.profile);
    let all = &found.all;
    sheet.fact("reallocs", &counted(all.count, "call", "calls"))?;
    let moved = share(all.moved, all.count);
    sheet.fact("moved", &format!("{} ({moved}), {} in place", count(all.moved), count(found.in_place)))?;
    sheet.fact("copied", &format!("{} to new places", bytes_exact(all.copied_bytes)))?;
    let chains = format!(
        "{} freed after growing; {} reallocs each in the mean, {} at most",
        blocks(all.chains),
        hundredths(found.mean_chain_hundredths),
        count(all.longest_chain),
    );
    sheet.fact("chains", &chains)?;
    if let Some(book) = &subject.book {
        growing(sheet, book)?;
    }
    certainty(sheet, subject, Figure::Reallocs)
}

/// Places whose growth is worth a line.
const GROWING: usize = 5;

/// Where a better first capacity would save reallocs.
fn growing(sheet: &mut Sheet<'_>, book: &SiteBook) -> io::Result<()> {
    for (here, saved) in advice(book, GROWING, sheet.layout.columns()) {
        sheet.fact("advice", &format!("{here}: {saved}"))?;
    }
    Ok(())
}

/// At most `limit` places where a better first capacity would save reallocs, each in at most `width` characters, with what
/// it would save.
pub(in super::super) fn advice(book: &SiteBook, limit: usize, width: usize) -> Vec<(String, String)> {
    let of = |place: Growth| {
        let line = &book.lines[place.line];
        let shown = Shown { functions: &book.functions, path: &line.path, lines: &line.lines };
        (shown.fault_in_words(width), saved(&place))
    };
    growth(book, limit).into_iter().map(of).collect()
}

fn saved(place: &Growth) -> String {
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
