//! Differences between two profiles, as one JSON object.
//!
//! `comparable` is false if an issue forbids the comparison. `doubts` lists all issues, with their amounts in both
//! profiles. `sites` has every site of either profile, with the names of its functions, innermost first.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::SerializeSeq;

use crate::analysis::diff::{Figures, ScopeChange, ScopeFigures};
use crate::analysis::{ComparabilityIssue, Diff, Side, SiteChange};

/// Version of the format.
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format_version: u32,
    comparable: bool,
    doubts: Vec<DoubtPart>,
    before: SidePart<'a>,
    after: SidePart<'a>,
    /// Scopes whose figures differ; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<ScopePart<'a>>,
    sites: Sites<'a>,
}

#[derive(Serialize)]
struct ScopePart<'a> {
    path: &'a str,
    before: &'a ScopeFigures,
    after: &'a ScopeFigures,
}

#[derive(Serialize)]
struct DoubtPart {
    name: &'static str,
    forbids: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

#[derive(Serialize)]
struct SidePart<'a> {
    program: &'a str,
    pid: u32,
    installed: bool,
    attempted: u64,
    recorded: u64,
    lost: u64,
    totals: &'a Figures,
}

#[derive(Serialize)]
struct SitePart<'a> {
    presence: &'static str,
    functions: Vec<&'a str>,
    before: &'a Figures,
    after: &'a Figures,
}

struct Sites<'a>(&'a Diff);

impl Serialize for Sites<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let diff = self.0;
        let mut list = serializer.serialize_seq(Some(diff.sites.len()))?;
        diff.sites.iter().try_for_each(|site| list.serialize_element(&site_part(diff, site)))?;
        list.end()
    }
}

fn site_part<'a>(diff: &'a Diff, site: &'a SiteChange) -> SitePart<'a> {
    SitePart {
        presence: site.presence.name(),
        functions: diff.names(&site.stack).collect(),
        before: &site.before,
        after: &site.after,
    }
}

fn scope_part(scope: &ScopeChange) -> ScopePart<'_> {
    ScopePart { path: &scope.path, before: &scope.before, after: &scope.after }
}

fn side<'a>(side: Side<'a>, totals: &'a Figures) -> SidePart<'a> {
    let (quality, process) = (&side.profile.quality, &side.profile.process);
    SidePart {
        program: &process.program,
        pid: process.pid,
        installed: quality.installed,
        attempted: quality.attempted,
        recorded: quality.recorded,
        lost: quality.lost.total(),
        totals,
    }
}

fn doubt_part(issue: &ComparabilityIssue) -> DoubtPart {
    let amounts = issue.amounts();
    DoubtPart {
        name: issue.name(),
        forbids: issue.forbids(),
        before: amounts.map(|(before, _)| before),
        after: amounts.map(|(_, after)| after),
    }
}

/// Writes the result of [`diff`](crate::analysis::diff::diff) as JSON.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn export_diff(diff: &Diff, before: Side<'_>, after: Side<'_>, out: &mut impl Write) -> io::Result<()> {
    let document = Document {
        format_version: FORMAT_VERSION,
        comparable: diff.is_comparable(),
        doubts: diff.issues.iter().map(doubt_part).collect(),
        before: side(before, &diff.before),
        after: side(after, &diff.after),
        scopes: diff.scopes.iter().map(scope_part).collect(),
        sites: Sites(diff),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Origin, diff, sample};
    use heapledger::profile::LossReason;

    #[test]
    fn the_object_has_the_figures_of_both_and_what_stands_against_comparing_them() {
        let (first, mut second) = (sample::named(), sample::named());
        second.quality.lost.add(LossReason::RingFull, 3);
        second.sites.remove(1);
        let origin = Origin::default();
        let (before, after) =
            (Side { profile: &first, origin: &origin }, Side { profile: &second, origin: &origin });
        let mut out = Vec::new();
        export_diff(&diff(before, after), before, after, &mut out).expect("a vector");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["comparable"], false);
        assert_eq!((&value["doubts"][0]["name"], &value["doubts"][0]["after"]), (&"lost".into(), &3.into()));
        assert_eq!(value["before"]["totals"]["total_bytes"], first.totals.total_bytes);
        let site = &value["sites"][1];
        assert_eq!(site["functions"], serde_json::json!(["Vec<T>::push", "parse", "main"]));
        assert_eq!(
            (&site["before"]["total_bytes"], &site["after"]["total_bytes"]),
            (&1_300.into(), &300.into())
        );
    }
}
