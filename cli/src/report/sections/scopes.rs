//! Section on scopes: the blocks allocated in each scope, and the blocks allocated outside all scopes.

use std::io;

use super::super::escape::escaped;
use super::super::table::Table;
use super::super::text_page::TextPage;
use super::super::units::{bytes, count, counted};
use super::subject::{Subject, certainty};
use crate::analysis::{FigureGroup, scopes as scopes_of};

/// Heading of the section. The section is left out if the program has no named scopes.
pub(in super::super) const HEADING: &str = "Scopes";

pub(in super::super) fn scopes(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = scopes_of(subject.profile, page.layout.rows.max(subject.detail.top));
    let mut table = Table::new("<scope|blocks|bytes|live blocks|live bytes|peak|threads").shrinking(0);
    for line in &found.lines {
        let scope = &line.scope;
        let indent = "  ".repeat(line.depth);
        let within = if scope.peak_uncertainty_bytes == 0 { "" } else { "≥ " };
        let within = if page.layout.unicode { within } else { within.trim_end_matches("≥ ") };
        table.row([
            format!("{indent}{}", escaped(&scope.name)),
            count(scope.total_blocks),
            bytes(scope.total_bytes),
            count(scope.live_blocks()),
            bytes(scope.live_bytes()),
            format!("{within}{}", bytes(scope.peak_bytes)),
            count(scope.threads.into()),
        ]);
    }
    table.row([
        "(outside scopes)".to_owned(),
        count(found.outside_blocks),
        bytes(found.outside_bytes),
        String::new(),
        bytes(found.outside_live_bytes),
    ]);
    page.table(&table)?;
    if found.others > 0 {
        page.fact("not listed", &counted(found.others, "scope", "scopes"))?;
    }
    let counts = subject.profile.scope_counts;
    for (number, what) in [
        (counts.without_room, "found no room and counted in the scope around them, or in (others)"),
        (counts.out_of_order, "left out of order, as guards held across an await can be"),
        (counts.late_tokens, "tokens used after the end of their measurement: without effect"),
    ] {
        if number > 0 {
            page.fact("scopes", &format!("{} {what}", count(number)))?;
        }
    }
    page.fact("that is", "figures include nested scopes; a block belongs to the scope that allocated it")?;
    certainty(page, subject, FigureGroup::Breakdown)
}
