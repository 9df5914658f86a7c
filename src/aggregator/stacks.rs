//! The stacks of a snapshot, the figures of their recording, and the loaded objects.

use crate::ledger::Ledger;
use crate::profile::{Change, Module, Profile, Stack, StackFigures};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::stacks;
use crate::stack::intern::{Store, frames_of};
use crate::stack::{modules, unwind};
use crate::sys::sync::{AtomicU64, Ordering};

/// Adds stacks and loaded objects to the profile. All rows that refer to a stack must be in the profile already, so
/// that each of their stacks is found.
pub(super) fn fill(ledger: &Ledger, scope: &InternalScope, profile: &mut Profile) {
    profile.stack_figures = figures(ledger);
    let Some((page, _)) = ledger.facts.stacks() else { return };
    let store = Store::at(&ledger.pages, page);
    let (count, node_count) = store.counts();
    let (mut nodes, mut leaves) =
        (Vec::with_capacity(node_count as usize), Vec::with_capacity(count as usize));
    {
        let _paused = RecordingPaused::enter(scope);
        store.copy(&ledger.pages, &mut nodes, &mut leaves);
    }
    profile.stacks.extend(leaves.iter().map(|leaf| {
        let (frames, truncated) = frames_of(&nodes, *leaf);
        Stack { frames, truncated }
    }));
    stacks::rescan_objects(ledger);
    profile.modules = modules();
    list_gone(profile);
}

/// Returns the loaded objects, as of the last search for them.
pub(super) fn modules() -> Vec<Module> {
    unwind::modules().iter().map(listed).collect()
}

/// Returns an object as a row of the list. A replaced file is found by its build id; without one the path says that
/// its file is not the recorded one.
fn listed(module: &modules::Module) -> Module {
    let is_lost = module.is_deleted && module.build_id.is_empty();
    Module {
        path: if is_lost { format!("{}{}", module.path, modules::DELETED) } else { module.path.clone() },
        build_id: module.build_id.clone(),
        start: module.start,
        end: module.end,
        bias: module.bias,
    }
}

/// Adds unloaded objects to the list, because stacks may lead through them, and adds their end to the changes. If
/// another object was loaded in the same place, the addresses are ambiguous: the unloaded object is not listed, and the
/// change says so.
fn list_gone(profile: &mut Profile) {
    for gone in unwind::gone().iter().rev() {
        let module = &gone.module;
        let other = profile.modules.iter().find(|other| other.start < module.end && module.start < other.end);
        let what = match other {
            None => format!("{} was found unloaded", module.path),
            Some(other) => format!(
                "{} was found unloaded; {} took its addresses, so stacks through either are named after the latter",
                module.path, other.path
            ),
        };
        if other.is_none() {
            profile.modules.push(listed(module));
        }
        profile.changes.push(Change { at_ns: gone.at_ns, what });
    }
    profile.changes.sort_by_key(|change| change.at_ns);
}

pub(super) fn figures(ledger: &Ledger) -> StackFigures {
    let (walker, why, checked, check_failed) = stacks::way();
    let mut figures = StackFigures {
        walker: walker.to_owned(),
        why: why.to_owned(),
        checked,
        check_failed,
        ..StackFigures::default()
    };
    // relaxed: counters.
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
