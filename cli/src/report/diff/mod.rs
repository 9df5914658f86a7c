//! Report on the differences between two profiles.
//!
//! The report lists reasons against the comparison, then the totals of both profiles with their change, then the places
//! that changed most. A line is red if its figure grew, and green if it shrank. [`html`] draws the comparison as a
//! flame graph. [`markdown`] writes it for the summary of a pull request.

pub mod html;
pub mod markdown;

use std::io::{self, Write};

use super::escape::escaped;
use super::table::Table;
use super::text_page::{Layout, TextPage, Tone};
use super::units::{bytes, bytes_exact, count, counted, duration, wide_count};
use crate::analysis::diff::{Figures, PlaceChange, change};
use crate::analysis::{ComparabilityIssue, Diff, Presence, Side, SiteOrder};
use heapledger::profile::Profile;
use heapledger::quality::completeness_percent;

/// Headings of the report, in order.
pub const DIFF_SECTIONS: [&str; 3] = ["Profiles", "Totals", "Sites"];

/// Heading of the section between totals and sites. The section is left out unless figures of a scope differ.
const SCOPES: &str = "Scopes";

/// Writes the result of [`diff`](crate::analysis::diff::diff), with the `top` places that changed most by the figure
/// `order`. If `order` is `None`, the figure is [`Diff::most_changed`].
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_diff(
    diff: &Diff,
    before: Side<'_>,
    after: Side<'_>,
    order: Option<SiteOrder>,
    top: usize,
    layout: &Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    let order = order.unwrap_or_else(|| diff.most_changed());
    let page = &mut TextPage::new(out, layout);
    page.line("heapledger diff")?;
    page.heading(DIFF_SECTIONS[0])?;
    for (name, side) in [("before", before), ("after", after)] {
        page.fact(name, &described(side))?;
    }
    if diff.issues.is_empty() {
        page.fact("comparable", "yes")?;
    }
    for issue in &diff.issues {
        let (label, tone) =
            if issue.forbids() { ("NOT COMPARABLE", Tone::Bad) } else { ("keep in mind", Tone::Plain) };
        page.toned(label, &sentence(issue), tone)?;
    }
    page.heading(DIFF_SECTIONS[1])?;
    totals(page, diff, order)?;
    if !diff.scopes.is_empty() {
        page.heading(SCOPES)?;
        scopes(page, diff)?;
    }
    page.heading(DIFF_SECTIONS[2])?;
    sites(page, diff, order, top)
}

/// Writes the section on scopes whose figures differ.
fn scopes(page: &mut TextPage<'_>, diff: &Diff) -> io::Result<()> {
    let mut table = Table::new("live|own peak|allocated|blocks|<scope").shrinking(4);
    let mut tones = Vec::new();
    for scope in diff.scopes.iter().take(page.layout.rows) {
        let (before, after) = (&scope.before, &scope.after);
        table.row([
            signed(scope.live_bytes(), true),
            signed(change(before.peak_bytes, after.peak_bytes), true),
            signed(change(before.total_bytes, after.total_bytes), true),
            signed(change(before.total_blocks, after.total_blocks), false),
            escaped(&scope.path),
        ]);
        tones.push(tone(scope.live_bytes()));
    }
    painted(page, &table, &tones)?;
    let others = diff.scopes.len().saturating_sub(page.layout.rows) as u64;
    if others > 0 {
        page.fact("not shown", &counted(others, "scope", "scopes"))?;
    }
    Ok(())
}

fn described(side: Side<'_>) -> String {
    let Profile { quality, process, .. } = side.profile;
    let share = completeness_percent(quality.recorded, quality.lost.total());
    let complete =
        if quality.installed { format!("completeness {share}") } else { "completeness unknown".into() };
    let program = escaped(&process.program);
    let recorded = duration(process.duration_ns);
    format!("{program}, process {}, recorded for {recorded}, {complete}", process.pid)
}

/// Returns the sentence on a reason against the comparison, with its consequence.
pub fn sentence(issue: &ComparabilityIssue) -> String {
    let text = match issue {
        ComparabilityIssue::NotInstalled => "no HeapLedger was the global allocator of one of them".into(),
        ComparabilityIssue::Damaged(..) => "parts of a file could not be read".into(),
        ComparabilityIssue::Lost(..) => {
            "events were lost, so that a difference can be what is missing".into()
        }
        ComparabilityIssue::SampledOut(..) => {
            "events were left out by sampling, so that only totals are of all of them".into()
        }
        ComparabilityIssue::StacksInOneOnly => "only one of them has call stacks".into(),
        ComparabilityIssue::WithoutStack(..) => {
            "allocations have no stack; they are in the site without one".into()
        }
        ComparabilityIssue::OtherProgram(before, after) => {
            format!(
                "the programs are {} and {}",
                escaped(&format!("{before:?}")),
                escaped(&format!("{after:?}"))
            )
        }
        ComparabilityIssue::Renamed(before, after) => format!(
            "the programs are named {} and {}, but have functions in common",
            escaped(&format!("{before:?}")),
            escaped(&format!("{after:?}"))
        ),
        ComparabilityIssue::OtherBuildWithoutNames(object) => {
            let object = escaped(object);
            format!(
                "functions in {object} have no names, and its builds differ: offsets in it are other places"
            )
        }
        ComparabilityIssue::OtherBuild => {
            "the builds of the program differ; functions are matched by name".into()
        }
        ComparabilityIssue::InFlight(..) => "events were not booked yet".into(),
        ComparabilityIssue::Anomalies(..) => "events do not pair".into(),
    };
    match issue.amounts() {
        Some((before, after)) => format!("{text} ({} before, {} after)", count(before), count(after)),
        None => text,
    }
}

type TotalsRow = (&'static str, fn(&Figures) -> u64, bool);

/// Rows of the totals: the name, the function that returns the figure, and whether the figure is in bytes.
const FIGURES: [TotalsRow; 7] = [
    ("live bytes", |figures| figures.live_bytes, true),
    ("live blocks", |figures| figures.live_blocks, false),
    ("peak bytes", |figures| figures.peak_bytes, true),
    ("allocated bytes", |figures| figures.total_bytes, true),
    ("allocated blocks", |figures| figures.total_blocks, false),
    ("temporary blocks", |figures| figures.temporary_blocks, false),
    ("copied bytes", |figures| figures.copied_bytes, true),
];

fn totals(page: &mut TextPage<'_>, diff: &Diff, order: SiteOrder) -> io::Result<()> {
    let mut table = Table::new("<|before|after|change|");
    let mut tones = Vec::new();
    for (name, figure, is_bytes) in FIGURES {
        let (before, after) = (figure(&diff.before), figure(&diff.after));
        let shown = |value| if is_bytes { bytes_exact(value) } else { count(value) };
        let grown = change(before, after);
        table.row([name.into(), shown(before), shown(after), signed(grown, is_bytes), growth(before, after)]);
        tones.push(tone(if name == total_of(order) { grown } else { 0 }));
    }
    painted(page, &table, &tones)
}

/// Returns the name of the row in [`FIGURES`] with the figure of `order`.
fn total_of(order: SiteOrder) -> &'static str {
    match order {
        SiteOrder::Live => "live bytes",
        SiteOrder::Peak => "peak bytes",
        SiteOrder::Total => "allocated bytes",
        SiteOrder::Count => "allocated blocks",
        SiteOrder::Temporaries => "temporary blocks",
        SiteOrder::Copied => "copied bytes",
    }
}

fn sites(page: &mut TextPage<'_>, diff: &Diff, order: SiteOrder, top: usize) -> io::Result<()> {
    let changed = diff.places(order);
    page.fact("ranked", &format!("by the change in {}", total_of(order)))?;
    also_grew(page, diff, order)?;
    let mut table = Table::new("live|at peak|allocated|blocks|<|<function < its callers").shrinking(5);
    let mut tones = Vec::new();
    for place in changed.iter().take(top) {
        let figures = [SiteOrder::Live, SiteOrder::Peak, SiteOrder::Total, SiteOrder::Count];
        let figures = figures.map(|order| signed(place.change(order), order.is_in_bytes()));
        let presence = if place.presence == Presence::Both { "" } else { place.presence.name() };
        table.row(figures.into_iter().chain([presence.into(), names(diff, place, order)]));
        tones.push(tone(place.change(order)));
    }
    if changed.is_empty() {
        page.note(&format!("none differs in {}", total_of(order)), 2, Tone::Plain)?;
    } else {
        painted(page, &table, &tones)?;
    }
    let others = changed.get(top..).unwrap_or_default();
    if !others.is_empty() {
        let sum: i128 = others.iter().map(|place| place.change(order)).sum();
        let sum = signed(sum, order.is_in_bytes());
        page.fact(
            "not shown",
            &format!("{}, {sum} together", counted(others.len() as u64, "place", "places")),
        )?;
    }
    let of = |presence: Presence| diff.sites.iter().filter(|site| site.presence == presence).count() as u64;
    let text = format!(
        "{} with other {}; of the stacks {} new, {} gone, {} in both",
        counted(changed.len() as u64, "place", "places"),
        total_of(order),
        count(of(Presence::New)),
        count(of(Presence::Gone)),
        count(of(Presence::Both))
    );
    page.fact("in all", &text)
}

/// Writes which figures of the process grew, except the figure of `order`.
fn also_grew(page: &mut TextPage<'_>, diff: &Diff, order: SiteOrder) -> io::Result<()> {
    let others = SiteOrder::ALL.into_iter().filter(|other| *other != order);
    let grown: Vec<String> = others
        .filter(|other| diff.after.of(*other) > diff.before.of(*other))
        .map(|other| {
            let (before, after) = (diff.before.of(other), diff.after.of(other));
            let part = growth(before, after);
            let by = signed(change(before, after), other.is_in_bytes());
            format!("{} by {by}{}{part}", total_of(other), if part.is_empty() { "" } else { ", " })
        })
        .collect();
    if grown.is_empty() {
        return Ok(());
    }
    page.toned("also grew", &grown.join("; "), Tone::Bad)
}

/// Maximum number of functions that the row of a place names.
const NAMED_FRAMES: usize = 4;

/// Returns the names in the row of a place: its function, then the callers on the stack that changed most.
fn names(diff: &Diff, place: &PlaceChange, order: SiteOrder) -> String {
    let Some(site) = diff.sites.get(place.largest(order)) else { return String::new() };
    let at = diff.place_of(site);
    let mut names: Vec<&str> = diff.names(site.stack.get(at..).unwrap_or_default()).collect();
    // A function that calls itself directly is named once.
    names.dedup();
    names.truncate(NAMED_FRAMES);
    if names.is_empty() {
        return "(no stack)".into();
    }
    let more = if place.sites > 1 { format!(" ({} stacks)", count(place.sites)) } else { String::new() };
    format!("{}{more}", escaped(&names.join(" < ")))
}

fn tone(change: i128) -> Tone {
    match change {
        0 => Tone::Plain,
        1.. => Tone::Bad,
        _ => Tone::Good,
    }
}

/// Writes a table in colours: the line of titles, then each row in its tone.
fn painted(page: &mut TextPage<'_>, table: &Table, tones: &[Tone]) -> io::Result<()> {
    let mut plain = Vec::new();
    table.write(&mut plain, page.layout.columns())?;
    let plain = String::from_utf8_lossy(&plain);
    let tones = std::iter::once(&Tone::Faint).chain(tones);
    plain.lines().zip(tones).try_for_each(|(line, tone)| page.toned_line(line, *tone))
}

/// Returns a change with its sign and unit.
fn signed(change: i128, is_bytes: bool) -> String {
    let amount = change.unsigned_abs();
    let sign = match change {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    let narrow = u64::try_from(amount).unwrap_or(u64::MAX);
    if is_bytes { format!("{sign}{}", bytes(narrow)) } else { format!("{sign}{}", wide_count(amount)) }
}

/// Returns the change from `before` to `after` in percent of `before`; empty if nothing changed or `before` is 0.
fn growth(before: u64, after: u64) -> String {
    let grown = change(before, after);
    if grown == 0 || before == 0 {
        return String::new();
    }
    let tenths = grown.saturating_mul(1_000) / i128::from(before);
    let sign = if grown > 0 { "+" } else { "-" };
    let tenths = tenths.unsigned_abs();
    format!("{sign}{}.{} %", wide_count(tenths / 10), tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Origin, diff, sample};
    use heapledger::profile::LossReason;

    fn written(before: &Profile, after: &Profile, layout: &Layout) -> String {
        let origin = Origin::default();
        let (before, after) =
            (Side { profile: before, origin: &origin }, Side { profile: after, origin: &origin });
        let mut out = Vec::new();
        write_diff(&diff(before, after), before, after, Some(SiteOrder::Live), layout.rows, layout, &mut out)
            .expect("a vector");
        String::from_utf8(out).expect("text")
    }

    fn grown() -> Profile {
        let mut after = sample::named();
        after.sites[1].total_bytes += 3_000;
        after.totals.total_bytes += 3_000;
        after.totals.live_bytes += 3_000;
        after
    }

    #[test]
    fn totals_and_sites_show_what_changed() {
        let text = written(&sample::named(), &grown(), &Layout::default());
        assert!(text.contains("  comparable        yes\n"), "{text}");
        assert!(text.contains("1.5 KiB (1,511 B)    4.4 KiB (4,511 B)  +2.9 KiB  +198.5 %\n"), "{text}");
        assert!(
            text.contains("+2.9 KiB      0 B   +2.9 KiB       0    Vec<T>::push < parse < main"),
            "{text}"
        );
        assert!(
            text.contains("1 place with other live bytes; of the stacks 0 new, 0 gone, 5 in both"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn equal_profiles_have_no_rows_and_doubts_come_first() {
        let text = written(&sample::named(), &sample::named(), &Layout::default());
        assert!(text.contains("none differs in live bytes"), "{text}");
        let wide = Layout { width: 200, ..Layout::default() };
        let text = written(&sample::complete(), &sample::with_loss(LossReason::RingFull, 3), &wide);
        assert!(text.contains("NOT COMPARABLE") && text.contains("(0 before, 3 after)"), "{text}");
        assert!(text.find("NOT COMPARABLE") < text.find("Totals"), "{text}");
    }

    #[test]
    fn names_cannot_forge_a_line_and_rows_are_bounded() {
        let mut after = grown();
        after.process.program = "x\nTotals\n".into();
        after.symbols.strings[1] = "\u{1b}[2J\nSites\n".into();
        let layout = Layout { width: 60, rows: 1, ..Layout::default() };
        let text = written(&sample::named(), &after, &layout);
        assert_eq!(text.lines().filter(|line| DIFF_SECTIONS.contains(line)).count(), 3, "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("not shown"), "{text}");
    }

    #[test]
    fn changes_have_their_sign_and_never_a_share_of_nothing() {
        assert_eq!((signed(-2_048, true), signed(5, false)), ("-2.0 KiB".into(), "+5".into()));
        assert_eq!((growth(0, 5), growth(200, 100)), (String::new(), "-50.0 %".into()));
    }
}
