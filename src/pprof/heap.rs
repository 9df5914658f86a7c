//! Makes a message from a profile, in the recorded process. The message has addresses without names.

use std::collections::HashMap;

use super::message::{
    Function, Label, Line, Location, Mapping, Message, NO_OBJECT, NO_STACK, Sample, signed,
};
use super::texts::Texts;
use crate::profile::{CodeRange, Profile, Site, scope_of_address};

/// The type of values that readers show first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that are live.
    Live,
    /// Bytes that were allocated.
    Allocated,
}

impl Kind {
    /// Returns the name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Live => "inuse_space",
            Kind::Allocated => "alloc_space",
        }
    }
}

/// Returns the sites of a profile as a message, with `comments`. Each range of `code` becomes a mapping. Readers find
/// names by the offset of a location in its file, so a mapping must have the right offset. Each sample has four values:
/// `alloc_objects`, `alloc_space`, `inuse_objects`, `inuse_space`. If `before` is an earlier profile of the same process, the values are
/// the changes since `before`, so live figures can be negative.
pub fn of(
    profile: &Profile,
    code: &[CodeRange],
    before: Option<&Profile>,
    kind: Kind,
    comments: &[String],
) -> Message {
    let mut builder = Builder::new(profile, code);
    let sample_type = [
        builder.texts.value_type("alloc_objects", "count"),
        builder.texts.value_type("alloc_space", "bytes"),
        builder.texts.value_type("inuse_objects", "count"),
        builder.texts.value_type("inuse_space", "bytes"),
    ];
    let earlier: HashMap<u32, &Site> =
        before.iter().flat_map(|before| &before.sites).map(|site| (site.stack, site)).collect();
    let sites = profile.sites.iter().map(|site| (site, values(site, earlier.get(&site.stack).copied())));
    let changed = sites.filter(|(_, values)| before.is_none() || values.iter().any(|value| *value != 0));
    let sample = changed.map(|(site, value)| builder.sample(site, value)).collect();
    let since_ns = before.map_or(0, |before| before.process.duration_ns);
    let period_type = builder.texts.value_type("space", "bytes");
    let comment = comments.iter().map(|line| builder.texts.number(line)).collect();
    let default_sample_type = builder.texts.number(kind.name());
    Message {
        sample_type: sample_type.into(),
        sample,
        mapping: builder.mappings,
        location: builder.locations,
        function: builder.functions,
        time_nanos: signed(profile.process.started_unix_ns.saturating_add(since_ns)),
        duration_nanos: signed(profile.process.duration_ns.saturating_sub(since_ns)),
        period_type,
        period: 1,
        comment,
        default_sample_type,
        string_table: builder.texts.into_table(),
    }
}

fn values(site: &Site, before: Option<&Site>) -> Vec<i64> {
    let of = |site: &Site| {
        [site.total_blocks, site.total_bytes, site.live_blocks(), site.live_bytes()].map(signed)
    };
    let before = before.map_or([0; 4], of);
    of(site).iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect()
}

/// The tables of a message under construction.
struct Builder<'a> {
    profile: &'a Profile,
    texts: Texts,
    mappings: Vec<Mapping>,
    locations: Vec<Location>,
    functions: Vec<Function>,
    /// Maps each return address to the id of its location. A missing stack has the address 0.
    ids: HashMap<u64, u64>,
    /// Ranges of code in ascending order: start, end (exclusive) and id of the mapping.
    objects: Vec<(u64, u64, u64)>,
}

impl<'a> Builder<'a> {
    fn new(profile: &'a Profile, code: &[CodeRange]) -> Builder<'a> {
        let mut texts = Texts::new();
        let object = |(id, range): (u64, &CodeRange)| Mapping {
            id,
            memory_start: range.start,
            memory_limit: range.end,
            file_offset: range.file_offset,
            filename: texts.number(&range.path),
            build_id: texts.number(&range.build_id),
            ..Mapping::default()
        };
        let mut mappings: Vec<Mapping> = (1..).zip(code).map(object).collect();
        let mut objects: Vec<_> =
            mappings.iter().map(|mapping| (mapping.memory_start, mapping.memory_limit, mapping.id)).collect();
        objects.sort_unstable();
        let id = mappings.len() as u64 + 1;
        mappings.push(Mapping {
            id,
            filename: texts.number(NO_OBJECT),
            has_functions: true,
            ..Mapping::default()
        });
        Builder {
            profile,
            texts,
            mappings,
            locations: Vec::new(),
            functions: Vec::new(),
            ids: HashMap::new(),
            objects,
        }
    }

    fn sample(&mut self, site: &Site, value: Vec<i64>) -> Sample {
        let frames = self.profile.stacks.get(site.stack as usize).map_or(&[][..], |stack| &stack.frames);
        let frames = if frames.is_empty() { &[0][..] } else { frames };
        let location_id = frames.iter().map(|frame| self.location(*frame)).collect();
        let scope = self.profile.scope(self.profile.scope_of_stack(site.stack));
        let key = self.texts.number("scope");
        let label = scope.map(|scope| Label { key, str: self.texts.number(&scope.name) });
        Sample { location_id, value, label: label.into_iter().collect() }
    }

    /// Returns the id of the location of a return address.
    fn location(&mut self, frame: u64) -> u64 {
        if let Some(id) = self.ids.get(&frame) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let call = frame.saturating_sub(1);
        let name = match scope_of_address(frame).map(|number| self.profile.scope(number)) {
            Some(scope) => Some(format!("[scope {}]", scope.map_or("?", |scope| &scope.name))),
            None if frame == 0 => Some(NO_STACK.to_owned()),
            None => None,
        };
        let after = self.objects.partition_point(|(start, ..)| *start <= call);
        let object = self.objects[..after].last().filter(|(_, end, _)| call < *end && name.is_none());
        let mapping_id = object.map_or(self.mappings.len() as u64, |(.., id)| *id);
        // A location outside all objects is named by its address, because readers look up no name for it.
        let name = name.or_else(|| object.is_none().then(|| format!("{call:#x}")));
        let line = name.map(|name| Line { function_id: self.function(&name), line: 0 });
        let address = if scope_of_address(frame).is_some() { 0 } else { call };
        self.locations.push(Location { id, mapping_id, address, line: line.into_iter().collect() });
        self.ids.insert(frame, id);
        id
    }

    fn function(&mut self, name: &str) -> u64 {
        let id = self.functions.len() as u64 + 1;
        self.functions.push(Function { id, name: self.texts.number(name), ..Function::default() });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Scope, Stack, scope_address};

    fn code() -> Vec<CodeRange> {
        let range = |path: &str, start: u64| CodeRange {
            start,
            end: start + 0x100,
            file_offset: start / 2,
            path: path.to_owned(),
            build_id: "ab01".to_owned(),
        };
        vec![range("/app", 0x1000), range("/lib", 0x2000)]
    }

    fn profile() -> Profile {
        let stack = |frames: &[u64]| Stack { frames: frames.to_vec(), truncated: false };
        let site = |stack, blocks, freed| Site {
            stack,
            total_blocks: blocks,
            total_bytes: 10 * blocks,
            freed_blocks: freed,
            freed_bytes: 10 * freed,
            ..Site::default()
        };
        Profile {
            scopes: vec![Scope { name: "GET".to_owned(), ..Scope::default() }],
            stacks: vec![
                Stack::default(),
                stack(&[0x1010, 0x2020, scope_address(1)]),
                stack(&[0x1010, 0x9000]),
            ],
            sites: vec![site(0, 1, 0), site(1, 5, 2), site(2, 3, 3)],
            ..Profile::default()
        }
    }

    #[test]
    fn every_location_has_a_mapping_and_values_add_up() {
        let message = of(&profile(), &code(), None, Kind::Live, &["quality".to_owned()]);
        let sum = |at: usize| message.sample.iter().map(|sample| sample.value[at]).sum::<i64>();
        assert_eq!([sum(0), sum(1), sum(2), sum(3)], [9, 90, 4, 40]);
        let text = |number: i64| message.string_table[number as usize].as_str();
        let object = |location: &Location| text(message.mapping[location.mapping_id as usize - 1].filename);
        let objects: Vec<&str> = message.location.iter().map(object).collect();
        assert_eq!(objects, [NO_OBJECT, "/app", "/lib", NO_OBJECT, NO_OBJECT]);
        let names: Vec<&str> = message.function.iter().map(|function| text(function.name)).collect();
        assert_eq!(names, [NO_STACK, "[scope GET]", "0x8fff"]);
        assert_eq!(text(message.sample[1].label[0].str), "GET");
        assert_eq!((text(message.comment[0]), text(message.default_sample_type)), ("quality", "inuse_space"));
        let mappings: Vec<_> =
            message.mapping.iter().map(|mapping| (mapping.id, mapping.file_offset)).collect();
        assert_eq!(mappings, [(1, 0x800), (2, 0x1000), (3, 0)]);
    }

    #[test]
    fn a_difference_has_what_changed_and_live_figures_can_be_negative() {
        let (before, mut after) = (profile(), profile());
        after.sites[1].freed_blocks += 1;
        after.sites[1].freed_bytes += 10;
        let message = of(&after, &code(), Some(&before), Kind::Live, &[]);
        assert_eq!(message.sample.len(), 1);
        assert_eq!(message.sample[0].value, [0, 0, -1, -10]);
    }
}
