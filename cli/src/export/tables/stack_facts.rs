//! Values of the tables that depend only on a stack: its key, its place and its frames. The place is the function that
//! a report names for the stack.
//!
//! The **key** of a stack is the first 64 bits of SHA-256 over the names of the functions on its path, innermost first,
//! each followed by a zero byte. The path is simplified as in reports and in `diff`: a run of library functions becomes
//! one function, and generic arguments and the frames of scopes are left out. The path contains no addresses and no
//! lines. Library functions and unnamed functions at its outer end are left out. So the same call path has the same key
//! in every build, on every host and at every load address.
//!
//! Runs of the same build have the same stacks, so these values are kept for later runs. A kept stack is found by the
//! objects of its frames and the offsets in them, which is possible only for objects with build ids.

use std::collections::HashMap;
use std::rc::Rc;

use parquet::data_type::ByteArray;

use super::column::text;
use super::identity::key;
use crate::analysis::interner::Interner;
use crate::analysis::paths::place_in;
use crate::analysis::{CodeOwner, Frame, Function, PathStep, Paths, StackReader, View};
use heapledger::profile::{Module, Profile, scope_of_address};

/// Maximum number of stacks whose values are kept for later runs. Above this number, all are dropped.
pub const STACKS_REMEMBERED_MAX: usize = 1 << 18;

/// Values of one stack for the tables.
#[derive(Debug)]
pub(super) struct StackFacts {
    pub(super) key: i64,
    /// Name of the function that a report names for the stack. `place_file` and `place_line` are its file and line.
    pub(super) place: ByteArray,
    pub(super) place_file: ByteArray,
    pub(super) place_line: i64,
    /// Whether every function of the path has a name. If not, the key contains offsets in place of names, and is equal
    /// only in runs of the same build.
    pub(super) is_named: bool,
    /// Frames without those of the recorder, innermost first, as numbers of [`FrameFacts`].
    pub(super) frames: Box<[u32]>,
}

impl StackFacts {
    /// Returns the values for an event without a stack.
    pub(super) fn none() -> StackFacts {
        let none = super::super::names::NO_STACK;
        let (key, place, place_file) = (key(std::iter::once(none)), text(none), text(""));
        StackFacts { key, place, place_file, place_line: 0, is_named: false, frames: Box::default() }
    }
}

/// Values of one frame for the tables.
#[derive(Debug)]
pub(super) struct FrameFacts {
    pub(super) function: ByteArray,
    pub(super) file: ByteArray,
    pub(super) line: i64,
    pub(super) is_inlined: bool,
    pub(super) module: ByteArray,
    pub(super) module_build_id: ByteArray,
    /// Offset of the call in the object's file; its address if it is outside all objects.
    pub(super) offset: i64,
}

/// Position of a frame: number of the object, and offset of the call in the object.
type Place = (u32, u64);

/// All properties of a frame: function, file, line, whether it is inlined, module, build id, offset. Equal frames are
/// stored once.
type FrameIdentity = (String, String, u32, bool, String, String, i64);

/// Values of the stacks of all runs so far.
#[derive(Default)]
pub(super) struct StackMemory {
    /// Number of each object with a build id.
    objects: HashMap<String, u32>,
    /// Number of objects so far, including objects without a build id.
    object_count: u32,
    /// Values of known stacks. The key is whether the file already contained names, and the positions of the frames.
    known: HashMap<(bool, Box<[Place]>), Rc<StackFacts>>,
    identities: Interner<FrameIdentity>,
    frames: Vec<FrameFacts>,
}

impl StackMemory {
    /// Returns the values of every stack of `profile`. If a stack is new, calls `names` to look up the names first.
    pub(super) fn facts(
        &mut self,
        profile: &mut Profile,
        names: &mut dyn FnMut(&mut Profile),
    ) -> Vec<Rc<StackFacts>> {
        if self.known.len() > STACKS_REMEMBERED_MAX {
            *self = StackMemory { object_count: self.object_count, ..StackMemory::default() };
        }
        let is_bundled = !profile.symbols.is_empty();
        let places = self.places(profile);
        let keys: Vec<(bool, Box<[Place]>)> = places.into_iter().map(|place| (is_bundled, place)).collect();
        let all: Option<Vec<_>> = keys.iter().map(|key| self.known.get(key).cloned()).collect();
        if let Some(all) = all {
            return all;
        }
        names(profile);
        let view = View::default();
        let (mut paths, reader) = (Paths::new(profile, &view, &[]), StackReader::new(profile));
        let mut facts = Vec::with_capacity(keys.len());
        for (stack, key) in (0u32..).zip(keys) {
            let found = match self.known.get(&key) {
                Some(found) => found.clone(),
                None => {
                    let made = Rc::new(self.read(stack, &mut paths, &reader));
                    self.known.insert(key, made.clone());
                    made
                }
            };
            facts.push(found);
        }
        facts
    }

    pub(super) fn frame(&self, number: u32) -> Option<&FrameFacts> {
        self.frames.get(number as usize)
    }

    /// Returns the positions of the frames of every stack. An object without a build id gets a new number in each run,
    /// so its stacks are never found again.
    fn places(&mut self, profile: &Profile) -> Vec<Box<[Place]>> {
        let mut modules: Vec<(&Module, u32)> = Vec::with_capacity(profile.modules.len());
        for module in &profile.modules {
            let number = match self.objects.get(&module.build_id) {
                Some(number) => *number,
                None => {
                    self.object_count = self.object_count.wrapping_add(1);
                    if !module.build_id.is_empty() {
                        self.objects.insert(module.build_id.clone(), self.object_count);
                    }
                    self.object_count
                }
            };
            modules.push((module, number));
        }
        modules.sort_by_key(|(module, _)| module.start);
        // Addresses outside all objects get a new number too, because they are comparable only within one run.
        self.object_count = self.object_count.wrapping_add(1);
        let outside = self.object_count;
        let mut by_address: HashMap<u64, Place> = HashMap::new();
        let mut place = |address: u64| {
            *by_address.entry(address).or_insert_with(|| {
                let call = address.wrapping_sub(1);
                let after = modules.partition_point(|(module, _)| module.start <= call);
                match modules[..after].last().filter(|(module, _)| call < module.end) {
                    Some((module, number)) => (*number, call.wrapping_sub(module.bias)),
                    None => (outside, address),
                }
            })
        };
        let stacks = profile.stacks.iter().map(|stack| {
            let functions = stack.frames.iter().filter(|address| scope_of_address(**address).is_none());
            functions.map(|address| place(*address)).collect()
        });
        stacks.collect()
    }

    fn read(&mut self, stack: u32, paths: &mut Paths<'_>, reader: &StackReader<'_>) -> StackFacts {
        let reading = paths.read(stack);
        let functions = paths.functions();
        let function = |step: &PathStep| functions.get(step.function as usize);
        let place = place_in(&reading.path, functions);
        let shown = reading.path.get(place).and_then(function);
        let path = key_path(&reading.path, functions);
        let key = if path.is_empty() {
            key(std::iter::once(super::super::names::NO_STACK))
        } else {
            key(path.iter().map(|function| function.name.as_str()))
        };
        let is_named = !path.is_empty() && path.iter().all(|function| !is_unnamed(&function.name));
        let frames = reader.frames(stack).into_iter();
        let frames = frames.filter(|frame| scope_of_address(frame.address).is_none());
        StackFacts {
            key,
            place: text(shown.map_or(super::super::names::NO_STACK, |function| &function.name)),
            place_file: text(shown.map_or("", |function| &function.file)),
            place_line: reading.lines.get(place).map_or(0, |line| i64::from(*line)),
            is_named,
            frames: frames.map(|frame| self.frame_number(&frame)).collect(),
        }
    }

    fn frame_number(&mut self, frame: &Frame<'_>) -> u32 {
        let call = frame.address.wrapping_sub(1);
        let (path, build_id, offset) = match frame.module {
            Some(module) => (&module.path[..], &module.build_id[..], call.wrapping_sub(module.bias)),
            None => ("", "", call),
        };
        let identity = (
            frame.function.to_owned(),
            frame.file.to_owned(),
            frame.line,
            frame.inlined,
            path.to_owned(),
            build_id.to_owned(),
            super::column::address(offset),
        );
        let number = self.identities.number(identity);
        if number as usize == self.frames.len() {
            self.frames.push(FrameFacts {
                function: text(&frame.display_name()),
                file: text(frame.file),
                line: i64::from(frame.line),
                is_inlined: frame.inlined,
                module: text(path),
                module_build_id: text(build_id),
                offset: super::column::address(offset),
            });
        }
        number
    }
}

/// Returns the functions of a path from which its key is made. Scopes are left out, and so are library functions and
/// unnamed functions at the outer end, because these differ between hosts.
fn key_path<'a>(path: &[PathStep], functions: &'a [Function]) -> Vec<&'a Function> {
    let steps = path.iter().filter_map(|step| functions.get(step.function as usize));
    let mut all: Vec<&Function> = steps.filter(|function| !function.name.starts_with("[scope ")).collect();
    let is_outside = |function: &Function| is_unnamed(&function.name) || function.owner == CodeOwner::Library;
    if let Some(last) = all.iter().rposition(|function| !is_outside(function)) {
        all.truncate(last + 1);
    }
    all
}

/// Whether a function has no real name: its name is an object with an offset, or an address.
fn is_unnamed(name: &str) -> bool {
    let digits = name.rsplit_once("+0x").or(name.strip_prefix("0x").map(|digits| ("", digits)));
    digits.is_some_and(|(_, digits)| {
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}
