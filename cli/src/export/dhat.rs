//! Format of `dh_view.html`, the viewer of Valgrind's DHAT, version 2. The Firefox Profiler also reads it.
//!
//! Each list of frames becomes a program point (DHAT's word for a site). Sites with the same list of frames are merged,
//! because the viewer rejects a file with a repeated list. Frame 0 must be `[root]`.
//!
//! The profile lacks three figures of DHAT, for which the file has *lower bounds*:
//!
//! * `tl`, the sum of all lifetimes. The profile has a histogram of lifetimes by power of two, and each lifetime counts
//!   as the shortest of its row;
//! * `mbk`, the number of blocks at the peak of a site. The number is exact if the bytes at that peak equal the bytes
//!   of the site at the peak of the process, at the end, or in total. Otherwise, the bytes at that peak are divided by
//!   the largest size that a block of the site can have;
//! * `mb`, the bytes at the peak, of a point that was merged from several sites. It is the largest of three figures:
//!   the largest peak of one site, the sum of the sites at the peak of the process, and their sum at the end.
//!
//! The format has no field for the quality of the data. So a sentence on the quality follows the command line, which
//! the viewer shows at the top, and all quality figures are under the key `heapledger`, which the viewer ignores. Times
//! are in nanoseconds.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;

use super::names::{NO_STACK, command};
use super::quality;
use crate::analysis::{Frame, Group, Origin, group_by};
use heapledger::profile::{Histogram, Profile, Site};

/// Lifetime in nanoseconds below which the viewer calls a block short-lived. dhat-rs uses the same limit.
const SHORT_LIVED_NS: u64 = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    dhat_file_version: u32,
    mode: &'static str,
    verb: &'static str,
    bklt: bool,
    bkacc: bool,
    tu: &'static str,
    #[serde(rename = "Mtu")]
    mtu: &'static str,
    tuth: u64,
    cmd: String,
    pid: u32,
    tg: u64,
    te: u64,
    heapledger: Vec<String>,
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// Program point. Keys that end in `b` are in bytes, those that end in `bk` in blocks. The first letter says when: `t`
/// in total, `m` at the peak of the site, `g` at the peak of the process, `e` at the end.
#[derive(Serialize)]
struct Point {
    tb: u64,
    tbk: u64,
    tl: u64,
    mb: u64,
    mbk: u64,
    gb: u64,
    gbk: u64,
    eb: u64,
    ebk: u64,
    fs: Vec<u32>,
}

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    let found = group_by(profile, frame_text);
    let mut ftbl = Vec::with_capacity(found.keys.len() + 2);
    ftbl.push("[root]".to_owned());
    ftbl.extend(found.keys);
    let no_stack = ftbl.len() as u32;
    if found.groups.iter().any(|group| group.frames.is_empty()) {
        ftbl.push(NO_STACK.to_owned());
    }
    let ages = ages_of_live(profile);
    let process = &profile.process;
    let file = File {
        dhat_file_version: 2,
        mode: "heapledger; lifetimes and blocks at a maximum are lower bounds",
        verb: "Allocated",
        bklt: true,
        bkacc: false,
        tu: "ns",
        mtu: "ms",
        tuth: SHORT_LIVED_NS,
        cmd: format!("{} [{}]", command(process), quality::sentence(profile, origin)),
        pid: process.pid,
        tg: profile.peak.at_ns,
        te: process.duration_ns,
        heapledger: quality::lines(profile, origin),
        pps: found.groups.iter().map(|group| point(profile, group, &ages, no_stack)).collect(),
        ftbl,
    };
    serde_json::to_writer(&mut *out, &file)?;
    writeln!(out)
}

/// Returns the text of a frame, `0xADDRESS: function (file:line)`, with an address within the call.
fn frame_text(frame: &Frame<'_>) -> String {
    let (call, name) = (frame.address.saturating_sub(1), frame.display_name());
    match (frame.file, frame.line) {
        ("", _) => format!("{call:#x}: {name}"),
        (file, 0) => format!("{call:#x}: {name} ({file})"),
        (file, line) => format!("{call:#x}: {name} ({file}:{line})"),
    }
}

fn point(profile: &Profile, group: &Group, ages: &HashMap<u32, u64>, no_stack: u32) -> Point {
    let sum = |figure: fn(&Site) -> u64| group.sum(profile, figure);
    let highest = |figure: fn(&Site) -> u64| group.accounts(profile).map(figure).max().unwrap_or(0);
    let lifetimes = group.sum(profile, |site| {
        let alive = ages.get(&site.stack).copied().unwrap_or(0);
        alive.saturating_add(shortest(&site.lifetimes))
    });
    let (gb, gbk) = (sum(|site| site.at_peak_bytes), sum(|site| site.at_peak_blocks));
    let (eb, ebk) = (sum(Site::live_bytes), sum(Site::live_blocks));
    // At one time, the sites that were merged held the sum of their bytes, so this sum is a lower bound of their common
    // peak.
    let mb = highest(|site| site.own_peak_bytes).max(gb).max(eb);
    let at_known = [(gb, gbk), (eb, ebk)].into_iter().filter(|(bytes, _)| *bytes == mb);
    let mbk = at_known.map(|(_, blocks)| blocks).max().unwrap_or_else(|| highest(blocks_at_own_peak));
    Point {
        tb: sum(|site| site.total_bytes),
        tbk: sum(|site| site.total_blocks),
        tl: lifetimes,
        mb,
        mbk,
        gb,
        gbk,
        eb,
        ebk,
        fs: if group.frames.is_empty() {
            vec![no_stack]
        } else {
            group.frames.iter().map(|frame| frame + 1).collect()
        },
    }
}

/// Returns a lower bound of the number of blocks of a site at the peak of the site.
fn blocks_at_own_peak(site: &Site) -> u64 {
    if site.own_peak_bytes == site.total_bytes {
        return site.total_blocks;
    }
    let largest = site.sizes.rows().last().map_or(0, |(_, high, _)| high);
    if largest == 0 { 0 } else { site.own_peak_bytes.div_ceil(largest) }
}

/// Returns a lower bound of the sum of all values: each value counts as the smallest of its row.
fn shortest(histogram: &Histogram) -> u64 {
    histogram.rows().fold(0u64, |sum, (low, _, count)| sum.saturating_add(low.saturating_mul(count)))
}

/// Returns the sum of the ages of the live blocks of each stack, in nanoseconds.
fn ages_of_live(profile: &Profile) -> HashMap<u32, u64> {
    let mut ages: HashMap<u32, u64> = HashMap::new();
    for block in &profile.live {
        let age = ages.entry(block.stack).or_default();
        *age = age.saturating_add(profile.process.duration_ns.saturating_sub(block.born_ns));
    }
    ages
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn json(profile: &Profile) -> Value {
        let mut out = Vec::new();
        write(profile, &Origin::default(), &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn sum(value: &Value, key: &str) -> u64 {
        value["pps"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|point| point[key].as_u64().expect("a number"))
            .sum()
    }

    #[test]
    fn points_add_up_to_the_totals_and_no_location_is_repeated() {
        let mut profile = sample::named();
        // Two stacks with the same frames.
        profile.stacks[2] = profile.stacks[1].clone();
        let value = json(&profile);
        let totals = profile.totals;
        let expected = [
            ("tb", totals.total_bytes),
            ("tbk", totals.total_blocks),
            ("gb", totals.peak_bytes),
            ("gbk", totals.peak_blocks),
            ("eb", totals.live_bytes),
            ("ebk", totals.live_blocks),
        ];
        for (key, total) in expected {
            assert_eq!(sum(&value, key), total, "{key}");
        }
        let points = value["pps"].as_array().expect("a list");
        assert_eq!(points.len(), 5, "six sites, two of them merged");
        let distinct: HashSet<String> = points.iter().map(|point| point["fs"].to_string()).collect();
        assert_eq!(distinct.len(), points.len());
        assert_eq!(value["ftbl"][0], "[root]");
        assert!(
            value["ftbl"].as_array().expect("a list").contains(&"0x100f: parse (src/parse.rs:10)".into())
        );
    }

    #[test]
    fn what_is_not_in_the_books_is_a_lower_bound() {
        let profile = sample::complete();
        let value = json(&profile);
        let first = &value["pps"][0];
        // The peak of 3,400 bytes consists of blocks of at most 2,047 bytes. One freed block lived for at least 524,288
        // ns, and three are live.
        assert_eq!((&first["mb"], &first["mbk"]), (&3_400.into(), &2.into()));
        assert_eq!(first["tl"], 524_288 + 3 * 2_000_000_000u64 - 60);
        assert_eq!((&value["pps"][1]["mb"], &value["pps"][1]["mbk"]), (&200.into(), &2.into()));
    }

    #[test]
    fn quality_stands_behind_the_command_line() {
        let value = json(&sample::with_loss(LossReason::RingFull, 3));
        let command = value["cmd"].as_str().expect("text");
        assert!(
            command.starts_with("./demo --fast [completeness 82.3529 % of 17 events; 3 lost"),
            "{command}"
        );
    }

    #[test]
    fn an_empty_profile_has_no_points() {
        let value = json(&sample::empty());
        assert_eq!((&value["pps"], &value["ftbl"]), (&serde_json::json!([]), &serde_json::json!(["[root]"])));
    }
}
