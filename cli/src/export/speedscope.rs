//! Format of [speedscope](https://www.speedscope.app): one file with a profile for each figure.
//!
//! The schema is `https://www.speedscope.app/file-format-schema.json`. The profiles share frames (name, file, line),
//! and each profile is a list of samples. Each path becomes one sample, with the figure of the path as its weight.
//! speedscope first opens the profile of live bytes, or if nothing is live at the end, the first one that has samples.
//! Of a sequence of functions that repeats without a gap, only one copy is written, unless the options keep every frame
//! of a recursion. The name of the file, which speedscope shows at the top, contains the completeness of the data. All
//! quality figures are under the key `heapledger`, which speedscope ignores.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;

use serde::Serialize;

use super::names::NO_STACK;
use super::options::ExportOptions;
use super::quality;
use crate::analysis::{Groups, Origin, SiteOrder, group_by, without_repetition};
use heapledger::profile::Profile;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    name: String,
    exporter: String,
    #[serde(rename = "activeProfileIndex")]
    active_profile_index: usize,
    heapledger: Vec<String>,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
struct Frame<'a> {
    name: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    line: u32,
}

fn is_zero(line: &u32) -> bool {
    *line == 0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<&'a [u32]>,
    weights: Vec<u64>,
}

/// Sum of the sites whose stacks are the same list of frames.
struct Path {
    /// Frames of the stacks, outermost first, as indices into the table of frames.
    frames: Rc<[u32]>,
    /// Sum of each figure, in the order of [`SiteOrder::ALL`].
    weights: [u64; SiteOrder::ALL.len()],
}

pub(super) fn write(
    profile: &Profile,
    origin: &Origin,
    options: &ExportOptions,
    out: &mut impl Write,
) -> io::Result<()> {
    let (frames, paths) = paths(profile, options);
    let profiles: Vec<Sampled<'_>> =
        SiteOrder::ALL.iter().zip(0..).map(|(order, at)| sampled(&paths, *order, at)).collect();
    let file = File {
        schema: SCHEMA,
        version: "0.0.1",
        name: format!("{}: {}", profile.process.program, quality::sentence(profile, origin)),
        exporter: format!("heapledger {}", env!("CARGO_PKG_VERSION")),
        active_profile_index: profiles.iter().position(|one| !one.samples.is_empty()).unwrap_or(0),
        heapledger: quality::lines(profile, origin),
        shared: Shared { frames },
        profiles,
    };
    serde_json::to_writer(&mut *out, &file)?;
    writeln!(out)
}

/// Returns the table of frames, and the paths in the order of their first sites.
fn paths<'a>(profile: &'a Profile, options: &ExportOptions) -> (Vec<Frame<'a>>, Vec<Path>) {
    let Groups { keys: mut frames, groups } =
        group_by(profile, |frame| Frame { name: frame.display_name(), file: frame.file, line: frame.line });
    // Frames of the same function can have different lines, so repetitions are recognized by function.
    let mut functions = HashMap::new();
    let functions: Vec<usize> = frames
        .iter()
        .map(|frame| {
            let next = functions.len();
            *functions.entry((&frame.name, frame.file)).or_insert(next)
        })
        .collect();
    let no_stack = frames.len() as u32;
    let mut paths: Vec<Path> = Vec::new();
    let mut known: HashMap<Rc<[u32]>, usize> = HashMap::new();
    for group in &groups {
        let outer_first = group.frames.iter().rev().copied();
        let path: Rc<[u32]> = match (group.frames.is_empty(), options.unfolded) {
            (true, _) => Rc::new([no_stack]),
            (false, true) => outer_first.collect(),
            (false, false) => {
                without_repetition(outer_first, |a, b| functions[a as usize] == functions[b as usize]).into()
            }
        };
        let at = *known.entry(Rc::clone(&path)).or_insert_with(|| {
            paths.push(Path { frames: path, weights: [0; SiteOrder::ALL.len()] });
            paths.len() - 1
        });
        for (weight, order) in paths[at].weights.iter_mut().zip(SiteOrder::ALL) {
            *weight = weight.saturating_add(group.sum(profile, |site| order.value(site)));
        }
    }
    if groups.iter().any(|group| group.frames.is_empty()) {
        frames.push(Frame { name: NO_STACK.into(), file: "", line: 0 });
    }
    (frames, paths)
}

fn sampled(paths: &[Path], order: SiteOrder, at: usize) -> Sampled<'_> {
    let weighed = paths.iter().filter(|path| path.weights[at] > 0);
    let (samples, weights): (Vec<&[u32]>, Vec<u64>) =
        weighed.map(|path| (&*path.frames, path.weights[at])).unzip();
    let name = match order {
        SiteOrder::Live => "live bytes",
        SiteOrder::Peak => "bytes at the peak",
        SiteOrder::Total => "allocated bytes",
        SiteOrder::Count => "allocated blocks",
        SiteOrder::Temporaries => "temporary blocks",
        SiteOrder::Copied => "bytes copied by reallocs",
    };
    let end_value = weights.iter().fold(0u64, |sum, weight| sum.saturating_add(*weight));
    let unit = if order.is_in_bytes() { "bytes" } else { "none" };
    Sampled { kind: "sampled", name, unit, start_value: 0, end_value, samples, weights }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn json(profile: &Profile, origin: &Origin) -> Value {
        let mut out = Vec::new();
        write(profile, origin, &ExportOptions::default(), &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn weights_of_each_profile_add_up_and_samples_name_frames_that_exist() {
        let profile = sample::named();
        let value = json(&profile, &Origin::default());
        assert_eq!(value["$schema"], SCHEMA);
        let frames = value["shared"]["frames"].as_array().expect("frames").len() as u64;
        let totals = profile.totals;
        let expected = [totals.live_bytes, totals.peak_bytes, totals.total_bytes, totals.total_blocks, 5, 0];
        for (profile, expected) in value["profiles"].as_array().expect("profiles").iter().zip(expected) {
            let weights: Vec<u64> = profile["weights"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|weight| weight.as_u64().expect("a number"))
                .collect();
            assert_eq!(weights.iter().sum::<u64>(), expected, "{}", profile["name"]);
            assert_eq!(profile["endValue"], expected);
            let samples = profile["samples"].as_array().expect("a list");
            assert_eq!(samples.len(), weights.len());
            let numbers = samples.iter().flat_map(|sample| sample.as_array().expect("a list"));
            assert!(numbers.into_iter().all(|number| number.as_u64().expect("a number") < frames));
        }
        let name =
            |number: &Value| &value["shared"]["frames"][number.as_u64().expect("a number") as usize]["name"];
        assert_eq!(value["activeProfileIndex"], 0);
        let sample = &value["profiles"][2]["samples"][1];
        assert_eq!((name(&sample[0]), name(&sample[2])), (&"main".into(), &"Vec<T>::push".into()));
    }

    #[test]
    fn quality_is_in_the_name_and_in_full_beside_it() {
        let value = json(&sample::with_loss(LossReason::RingFull, 3), &Origin::default());
        assert!(value["name"].as_str().expect("text").contains("3 lost (ring_full)"));
        assert!(value["heapledger"].as_array().expect("a list").contains(&"lost_ring_full 3".into()));
    }

    #[test]
    fn a_profile_with_weight_is_shown_first_and_recursion_is_written_on_request() {
        let mut profile = sample::named();
        for site in &mut profile.sites {
            (site.freed_bytes, site.freed_blocks, site.at_peak_bytes) =
                (site.total_bytes, site.total_blocks, 0);
        }
        let value = json(&profile, &Origin::default());
        let active = value["activeProfileIndex"].as_u64().expect("a number") as usize;
        assert_eq!((active, &value["profiles"][active]["name"]), (2, &"allocated bytes".into()));
        let longest = |value: &Value| {
            let samples = value["profiles"][2]["samples"].as_array().expect("a list");
            samples.iter().map(|sample| sample.as_array().expect("a list").len()).max()
        };
        let options = ExportOptions { unfolded: true, ..ExportOptions::default() };
        let mut whole = Vec::new();
        write(&profile, &Origin::default(), &options, &mut whole).expect("a vector takes everything");
        let whole = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!((longest(&value), longest(&whole)), (Some(3), Some(5)));
    }

    #[test]
    fn an_empty_profile_is_a_valid_file_and_names_come_back_as_they_were() {
        let value = json(&sample::empty(), &Origin::default());
        assert_eq!(value["profiles"].as_array().expect("a list").len(), 6);
        let mut profile = sample::named();
        let hostile = "\u{1b}\"</script>\n\u{0}".repeat(100_000);
        profile.symbols.strings[5].clone_from(&hostile);
        let value = json(&profile, &Origin::default());
        let frames = value["shared"]["frames"].as_array().expect("frames");
        assert!(frames.iter().any(|frame| frame["name"] == hostile.as_str()));
    }
}
