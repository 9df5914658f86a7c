//! The stacks of a snapshot, the figures of their recording, and the loaded objects.

use crate::ledger::Ledger;
use crate::ledger::scopes::SCOPE_DEPTH_MAX;
#[cfg(feature = "serve")]
use crate::profile::CodeRange;
use crate::profile::{Change, Module, Profile, Stack, StackFigures};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{objects, stacks as recording};
use crate::stack::intern::Store;
use crate::stack::state::Gone;
use crate::stack::{STACK_FRAMES_MAX, modules, unwind};
use crate::sys::sync::{AtomicU64, Ordering};

/// The stacks that had a number when [`Stacks::count`] was called, read one by one.
#[derive(Clone, Copy)]
pub(super) struct Stacks<'a> {
    ledger: &'static Ledger,
    scope: &'a InternalScope,
    count: u32,
}

impl<'a> Stacks<'a> {
    /// Counts the stacks. All rows that refer to a stack must have been copied before, so that the count includes their
    /// stacks.
    pub(super) fn count(ledger: &'static Ledger, scope: &'a InternalScope) -> Stacks<'a> {
        let store = ledger.facts.stacks().map(|(page, _)| Store::at(&ledger.pages, page));
        Stacks { ledger, scope, count: store.map_or(0, |store| store.counts().0) }
    }

    /// Returns all stacks. The first is the empty stack.
    pub(super) fn iter(&self) -> impl Iterator<Item = Stack> + use<'a> {
        let Stacks { ledger, scope, count } = *self;
        let mut frames = vec![0; if count == 0 { 0 } else { STACK_FRAMES_MAX + SCOPE_DEPTH_MAX }];
        let stacks = (1..=count).filter_map(move |number| {
            let (page, _) = ledger.facts.stacks()?;
            let (length, truncated) = {
                let _paused = RecordingPaused::enter(scope);
                Store::at(&ledger.pages, page).frames(&ledger.pages, number, &mut frames)
            };
            Some(Stack { frames: frames[..length].to_vec(), truncated })
        });
        std::iter::once(Stack::default()).chain(stacks)
    }
}

/// Adds the figures of the stacks and the loaded objects to the profile.
pub(super) fn describe(stacks: &Stacks<'_>, profile: &mut Profile) {
    profile.stack_figures = figures(stacks.ledger);
    if stacks.ledger.facts.stacks().is_none() {
        return;
    }
    objects::rescan_objects(stacks.ledger);
    profile.modules = modules();
    list_uncertain(stacks, profile);
    list_gone(profile);
}

/// Returns the objects as of the last scan: first the loaded objects, then the unloaded objects, through which older
/// stacks may lead. An object that was loaded after the start of the process has a number, which is added to its
/// addresses in stacks. Such an object is listed at the addresses with its number. It is also listed at its plain
/// addresses, unless another object was found there before.
pub(super) fn modules() -> Vec<Module> {
    let (loaded, gone) = (unwind::modules(), unwind::gone());
    let row = |(module, number): (&modules::Module, u64)| {
        let at = |address: u64| address.wrapping_add(number);
        let (start, end, bias) = (at(module.start), at(module.end), at(module.bias));
        Module { path: path(module), build_id: module.build_id.clone(), start, end, bias }
    };
    listed(&loaded, &gone).into_iter().map(row).collect()
}

/// Returns the ranges of code of the objects that [`modules`] returns, at the same addresses.
#[cfg(feature = "serve")]
pub(crate) fn code() -> Vec<CodeRange> {
    let (loaded, gone) = (unwind::modules(), unwind::gone());
    let ranges = |(module, number): (&modules::Module, u64)| {
        let (path, build_id) = (path(module), module.build_id.clone());
        let range = move |code: modules::Code| CodeRange {
            start: code.start.wrapping_add(number),
            end: code.end.wrapping_add(number),
            file_offset: code.file_offset,
            path: path.clone(),
            build_id: build_id.clone(),
        };
        module.code.clone().into_iter().map(range)
    };
    listed(&loaded, &gone).into_iter().flat_map(ranges).collect()
}

/// Returns the rows of the list of objects: each object, and what is added to its addresses.
fn listed<'a>(loaded: &'a [modules::Module], gone: &'a [Gone]) -> Vec<(&'a modules::Module, u64)> {
    let all = || loaded.iter().chain(gone.iter().map(|gone| &gone.module));
    let numbered = |module: &'a modules::Module| (module, u64::from(module.number) << unwind::NUMBER_SHIFT);
    let mut listed: Vec<_> = all().map(numbered).collect();
    let mut late: Vec<&modules::Module> = all().filter(|module| module.number != 0).collect();
    late.sort_by_key(|module| module.number);
    for module in late {
        if !listed.iter().any(|(other, number)| *number == 0 && other.overlaps(module)) {
            listed.push((module, 0));
        }
    }
    listed
}

/// Returns the path of an object for readers. If the object's file was replaced, a reader finds the right file by the
/// build id. Without a build id, the path says that the recorded file is gone.
fn path(module: &modules::Module) -> String {
    let is_lost = module.is_deleted && module.build_id.is_empty();
    if is_lost { format!("{}{}", module.path, modules::DELETED) } else { module.path.clone() }
}

/// Adds an entry to the changes for each object that was found after the start, if recorded stacks lead through its
/// plain addresses. These stacks were taken before the object was found, so they may belong to another, unknown object.
fn list_uncertain(stacks: &Stacks<'_>, profile: &mut Profile) {
    for module in unwind::modules().iter().filter(|module| module.number != 0) {
        let is_here = |address: &u64| (module.start..module.end).contains(&address.wrapping_sub(1));
        let count = stacks.iter().filter(|stack| stack.frames.iter().any(is_here)).count();
        if count > 0 {
            let what = format!(
                "{} was first found here; {count} stacks through its addresses are older, and can be of a library that \
                 was there before",
                module.path
            );
            profile.changes.push(Change { at_ns: module.since_ns, what });
        }
    }
}

/// Adds the end of each unloaded object to the changes. If another object was loaded at the same addresses, stacks that
/// were taken before the change was found are attributed to the unloaded object. The entry then says so.
fn list_gone(profile: &mut Profile) {
    let loaded = unwind::modules();
    for gone in unwind::gone().iter().rev() {
        let module = &gone.module;
        let what = match loaded.iter().find(|other| other.overlaps(module)) {
            None => format!("{} was found unloaded", module.path),
            Some(other) if gone.seen_ns == gone.at_ns => {
                format!("{} was found unloaded, and {} at its addresses", module.path, other.path)
            }
            Some(other) => format!(
                "{} was found unloaded, and {} at its addresses; stacks that were taken through the latter in the {} ms \
                 before are named after the former",
                module.path,
                other.path,
                gone.at_ns.saturating_sub(gone.seen_ns).div_ceil(1_000_000)
            ),
        };
        profile.changes.push(Change { at_ns: gone.at_ns, what });
    }
    profile.changes.sort_by_key(|change| change.at_ns);
}

pub(super) fn figures(ledger: &Ledger) -> StackFigures {
    let (walker, why, checked, check_failed) = recording::way();
    let mut figures = StackFigures {
        walker: walker.to_owned(),
        why: why.to_owned(),
        checked,
        check_failed,
        ..StackFigures::default()
    };
    // relaxed: statistics, which need no ordering.
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    for lane in ledger.lanes() {
        let walker = &lane.cold.walker;
        figures.taken += read(&walker.taken);
        figures.truncated += read(&walker.truncated);
        figures.failed += read(&walker.failed);
        figures.table_full += read(&walker.full);
        figures.left_out += read(&walker.sampled_out);
    }
    figures
}
