//! Format of `pprof`: a protocol buffer, compressed by gzip, which `go tool pprof`, Pyroscope, Parca, Perfetto and
//! other programs read.
//!
//! Each sample has four values: `alloc_objects`, `alloc_space`, `inuse_objects`, `inuse_space`; the default is
//! `inuse_space`. A location is an address within a call (the return address minus one), with all functions inlined at
//! that address. The name of a location without a function is its object with the offset. A sample in a scope has the
//! label `scope` with the name of the innermost scope. Only the frames of the recorder are dropped.
//!
//! A mapping has the build id of its object. The mapping is marked as symbolized only if all its locations have
//! functions, because other programs look up the symbols of unmarked mappings. A location outside all objects has the
//! synthetic mapping [`NO_OBJECT`], because some programs reject a location without a mapping. The messages and their
//! encoding are in `heapledger::pprof`.
//!
//! Each comment in the file has one figure on the quality of the data; `go tool pprof -comments` prints the comments.
//! Values are signed 64-bit numbers; larger values are clamped.

#[cfg(test)]
mod proto;

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::calls::{Call, call};
use super::names::NO_STACK;
use super::quality;
use crate::analysis::interner::Interner;
use crate::analysis::{Group, Origin, group_by_call};
use heapledger::pprof::{
    Function, Label, Line, Location, Mapping, Message, NO_OBJECT, Sample, Texts, encode, signed,
};
use heapledger::profile::{Profile, Site};

type SiteFigure = fn(&Site) -> u64;

const VALUES: [(&str, &str, SiteFigure); 4] = [
    ("alloc_objects", "count", |site| site.total_blocks),
    ("alloc_space", "bytes", |site| site.total_bytes),
    ("inuse_objects", "count", Site::live_blocks),
    ("inuse_space", "bytes", Site::live_bytes),
];

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    let message = encode(&message(profile, origin));
    // Better compression would take three times as long and save little.
    let mut zip = GzEncoder::new(out, Compression::fast());
    zip.write_all(&message)?;
    zip.finish()?;
    Ok(())
}

fn message(profile: &Profile, origin: &Origin) -> Message {
    let found = group_by_call(profile, call);
    let mut texts = Texts::new();
    let sample_type = VALUES.map(|(kind, unit, _)| texts.value_type(kind, unit)).into();
    let mut functions = Functions(Interner::default());
    let mapping = mappings(profile, &found.keys, &mut texts);
    let ids = MappingIds::of(&mapping);
    let numbered = (1..).zip(&found.keys);
    let mut location: Vec<_> =
        numbered.map(|(id, call)| functions.location(&mut texts, id, call, &ids)).collect();
    let no_stack = location.len() as u64 + 1;
    if found.groups.iter().any(|group| group.frames.is_empty()) {
        let function_id = functions.id(&mut texts, NO_STACK, "");
        let line = vec![Line { function_id, line: 0 }];
        location.push(Location { id: no_stack, mapping_id: ids.none, address: 0, line });
    }
    let label_key = texts.number("scope");
    let sample = found.groups.iter().map(|group| {
        let label = label(profile, group, label_key, &mut texts);
        Sample { label, ..sample(profile, group, no_stack) }
    });
    let sample = sample.collect();
    let comment = quality::lines(profile, origin).iter().map(|line| texts.number(line)).collect();
    Message {
        sample_type,
        sample,
        mapping,
        location,
        function: functions.into_messages(),
        time_nanos: signed(profile.process.started_unix_ns),
        duration_nanos: signed(profile.process.duration_ns),
        period_type: texts.value_type("space", "bytes"),
        period: 1,
        comment,
        default_sample_type: texts.number("inuse_space"),
        string_table: texts.into_table(),
    }
}

fn sample(profile: &Profile, group: &Group, no_stack: u64) -> Sample {
    let frames = group.frames.iter().map(|frame| u64::from(*frame) + 1);
    let location_id = if group.frames.is_empty() { vec![no_stack] } else { frames.collect() };
    let value = VALUES.map(|(_, _, figure)| signed(group.sum(profile, figure))).into();
    Sample { location_id, value, label: Vec::new() }
}

/// Returns the label of a sample with the name of its innermost scope; nothing outside all scopes.
fn label(profile: &Profile, group: &Group, key: i64, texts: &mut Texts) -> Vec<Label> {
    let stack = group.accounts(profile).next().map_or(0, |site| site.stack);
    let scope = profile.scope(profile.scope_of_stack(stack));
    scope.map(|scope| Label { key, str: texts.number(&scope.name) }).into_iter().collect()
}

/// Returns the loaded objects as mappings. The last mapping is for the locations outside all objects.
fn mappings(profile: &Profile, calls: &[Call<'_>], texts: &mut Texts) -> Vec<Mapping> {
    // For the start address of each object: which of four kinds of symbols all its locations have.
    let mut known: HashMap<u64, [bool; 4]> = HashMap::new();
    for call in calls {
        let Some(start) = call.module_start else { continue };
        let every = |has: fn(&super::calls::Function<'_>) -> bool| call.functions.iter().all(has);
        let named = every(|function| function.is_named);
        let has =
            [named, every(|function| !function.file.is_empty()), every(|function| function.line > 0), named];
        let all = known.entry(start).or_insert([true; 4]);
        all.iter_mut().zip(has).for_each(|(all, has)| *all &= has);
    }
    let numbered = (1..).zip(&profile.modules);
    let mapping = numbered.map(|(id, module)| {
        let has = known.get(&module.start).copied().unwrap_or_default();
        Mapping {
            id,
            memory_start: module.start,
            memory_limit: module.end,
            file_offset: 0,
            filename: texts.number(&module.path),
            build_id: texts.number(&module.build_id),
            has_functions: has[0],
            has_filenames: has[1],
            has_line_numbers: has[2],
            has_inline_frames: has[3],
        }
    });
    let mut mapping: Vec<Mapping> = mapping.collect();
    let id = mapping.len() as u64 + 1;
    mapping.push(Mapping {
        id,
        filename: texts.number(NO_OBJECT),
        has_functions: true,
        ..Mapping::default()
    });
    mapping
}

/// Ids of mappings by the lowest address of the object, and the id of the mapping for locations outside all objects.
struct MappingIds {
    by_start: HashMap<u64, u64>,
    none: u64,
}

impl MappingIds {
    fn of(mapping: &[Mapping]) -> Self {
        let objects = mapping.split_last().map_or(&[][..], |(_, objects)| objects);
        // Of two objects with the same start, the first is used.
        let by_start = objects.iter().rev().map(|mapping| (mapping.memory_start, mapping.id)).collect();
        MappingIds { by_start, none: mapping.len() as u64 }
    }

    fn at(&self, start: Option<u64>) -> u64 {
        start.and_then(|start| self.by_start.get(&start)).copied().unwrap_or(self.none)
    }
}

/// Table of functions by name and file. Ids start at 1.
struct Functions(Interner<(i64, i64)>);

impl Functions {
    fn id(&mut self, texts: &mut Texts, name: &str, file: &str) -> u64 {
        u64::from(self.0.number((texts.number(name), texts.number(file)))) + 1
    }

    fn location(&mut self, texts: &mut Texts, id: u64, call: &Call<'_>, mappings: &MappingIds) -> Location {
        let functions = call.functions.iter();
        let line = functions.map(|function| Line {
            function_id: self.id(texts, &function.name, function.file),
            line: i64::from(function.line),
        });
        let line = line.collect();
        let mapping_id = mappings.at(call.module_start);
        Location { id, mapping_id, address: call.address, line }
    }

    /// Returns the functions as messages. The system name is left empty, so that other programs treat `name` as
    /// demangled, and do not remove the parts in `<` and `>`.
    fn into_messages(self) -> Vec<Function> {
        let message = |(id, (name, filename))| Function { id, name, system_name: 0, filename };
        (1..).zip(self.0.into_items()).map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use prost::Message as _;

    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn decoded(profile: &Profile) -> proto::Profile {
        let mut out = Vec::new();
        write(profile, &Origin::new(vec!["cut".into()], Vec::new()), &mut out)
            .expect("a vector takes everything");
        let mut plain = Vec::new();
        GzDecoder::new(&out[..]).read_to_end(&mut plain).expect("gzip");
        proto::Profile::decode(&plain[..]).expect("the messages that were written")
    }

    /// Asserts what other programs check: all indices exist, and each sample has one value for each type.
    fn assert_sound(profile: &proto::Profile) {
        assert_eq!(profile.string_table[0], "");
        let texts = profile.string_table.len() as i64;
        assert!(profile.function.iter().all(|function| function.name < texts && function.filename < texts));
        assert!(profile.comment.iter().all(|comment| (1..texts).contains(comment)));
        let has =
            |ids: Vec<u64>, id: u64| id.checked_sub(1).is_some_and(|at| ids.get(at as usize) == Some(&id));
        for sample in &profile.sample {
            assert_eq!(sample.value.len(), profile.sample_type.len());
            assert!(!sample.location_id.is_empty());
            let ids = || profile.location.iter().map(|location| location.id).collect();
            assert!(sample.location_id.iter().all(|id| has(ids(), *id)));
        }
        for location in &profile.location {
            let ids = || profile.mapping.iter().map(|mapping| mapping.id).collect();
            assert!(has(ids(), location.mapping_id), "each location has a mapping");
            let ids = || profile.function.iter().map(|function| function.id).collect();
            assert!(location.line.iter().all(|line| has(ids(), line.function_id)));
        }
    }

    #[test]
    fn values_add_up_to_the_totals_and_every_number_leads_somewhere() {
        let profile = sample::named();
        let decoded = decoded(&profile);
        assert_sound(&decoded);
        let totals = profile.totals;
        let expected = [totals.total_blocks, totals.total_bytes, totals.live_blocks, totals.live_bytes];
        for (at, total) in expected.into_iter().enumerate() {
            assert_eq!(decoded.sample.iter().map(|sample| sample.value[at]).sum::<i64>(), total as i64);
        }
        let text = |number: i64| decoded.string_table[number as usize].as_str();
        let types: Vec<_> =
            decoded.sample_type.iter().map(|kind| (text(kind.kind), text(kind.unit))).collect();
        assert_eq!(types.last(), Some(&("inuse_space", "bytes")));
        assert_eq!(
            (text(decoded.mapping[0].filename), text(decoded.mapping[0].build_id)),
            ("/opt/demo", "ab01")
        );
        // All locations in the program have names; the location in the library has none.
        assert_eq!(
            decoded.mapping.iter().map(|mapping| mapping.has_functions).collect::<Vec<_>>(),
            [true, false, true]
        );
        let inlined = decoded.location.iter().find(|location| location.address == 0x100f).expect("the call");
        let names: Vec<_> = inlined
            .line
            .iter()
            .map(|line| text(decoded.function[line.function_id as usize - 1].name))
            .collect();
        assert_eq!(names, ["Vec<T>::push", "parse"]);
        assert_eq!(inlined.line[1].line, 10);
    }

    #[test]
    fn the_comments_carry_quality_and_damage() {
        let decoded = decoded(&sample::with_loss(LossReason::RingFull, 3));
        let comments: Vec<&str> =
            decoded.comment.iter().map(|number| decoded.string_table[*number as usize].as_str()).collect();
        for line in ["lost_ring_full 3", "completeness_ppm 823529", "damage \"cut\""] {
            assert!(comments.contains(&line), "{comments:?}");
        }
    }

    #[test]
    fn nothing_and_hostile_names_are_sound() {
        assert_sound(&decoded(&sample::empty()));
        let mut profile = sample::named();
        profile.symbols.strings[5] = "\u{0}<b>\n".repeat(200_000);
        profile.sites[1].total_bytes = u64::MAX;
        profile.modules[1].start = 0x1000;
        let decoded = decoded(&profile);
        assert_sound(&decoded);
        assert!(decoded.string_table.contains(&profile.symbols.strings[5]));
        assert!(decoded.sample.iter().all(|sample| sample.value.iter().all(|value| *value >= 0)));
    }
}
