//! Format of [speedscope](https://www.speedscope.app): one file with a profile for each figure.
//!
//! The schema is `https://www.speedscope.app/file-format-schema.json`: the profiles share frames (name, file, line),
//! and each profile has a list of samples. The export writes one sample for each path, with the figure of the path as
//! weight. Live bytes are the first profile, which speedscope shows first. A name in the file holds the completeness
//! of the data, which speedscope shows at the top. All quality figures are under the key `heapledger`, which
//! speedscope ignores.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::names::NO_STACK;
use super::quality;
use crate::analysis::{Group, Groups, Origin, SiteOrder, group_by};
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
    samples: Vec<OuterFirst<'a>>,
    weights: Vec<u64>,
}

/// Path from its outermost frame; an empty path has the frame `(no stack)`.
struct OuterFirst<'a>(&'a Group, u32);

impl Serialize for OuterFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OuterFirst(group, no_stack) = self;
        if group.frames.is_empty() {
            [no_stack].serialize(serializer)
        } else {
            serializer.collect_seq(group.frames.iter().rev())
        }
    }
}

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    let Groups { keys: mut frames, groups } =
        group_by(profile, |frame| Frame { name: frame.display_name(), file: frame.file, line: frame.line });
    let no_stack = frames.len() as u32;
    if groups.iter().any(|group| group.frames.is_empty()) {
        frames.push(Frame { name: NO_STACK.into(), file: "", line: 0 });
    }
    let file = File {
        schema: SCHEMA,
        version: "0.0.1",
        name: format!("{}: {}", profile.process.program, quality::sentence(profile, origin)),
        exporter: format!("heapledger {}", env!("CARGO_PKG_VERSION")),
        active_profile_index: 0,
        heapledger: quality::lines(profile, origin),
        shared: Shared { frames },
        profiles: SiteOrder::ALL.map(|order| sampled(profile, &groups, order, no_stack)).into(),
    };
    serde_json::to_writer(&mut *out, &file)?;
    writeln!(out)
}

fn sampled<'a>(profile: &Profile, groups: &'a [Group], order: SiteOrder, no_stack: u32) -> Sampled<'a> {
    let weighed = groups.iter().map(|group| (group, group.sum(profile, |site| order.value(site))));
    let weighed = weighed.filter(|(_, weight)| *weight > 0);
    let (samples, weights): (Vec<_>, Vec<u64>) =
        weighed.map(|(group, weight)| (OuterFirst(group, no_stack), weight)).unzip();
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
        write(profile, origin, &mut out).expect("a vector takes everything");
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
