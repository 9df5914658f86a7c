//! The part of a snapshot that is about stacks: the stacks themselves, how they were taken, and the loaded objects.

use crate::ledger::Ledger;
use crate::profile::{Module, Profile, Stack, StackFigures};
use crate::recorder::gate::{Own, Quiet};
use crate::recorder::stacks;
use crate::stack::intern::{Store, frames_of};
use crate::stack::unwind;
use crate::sys::sync::{AtomicU64, Ordering};

/// Fills in everything about stacks. What refers to a stack is in the profile already, so each of them is found.
pub(super) fn fill(ledger: &Ledger, own: &Own, profile: &mut Profile) {
    profile.stack_figures = figures(ledger);
    let Some((page, _)) = ledger.facts.stacks() else { return };
    let store = Store::at(&ledger.pages, page);
    let (count, node_count) = store.counts();
    let (mut nodes, mut leaves) =
        (Vec::with_capacity(node_count as usize), Vec::with_capacity(count as usize));
    {
        let _quiet = Quiet::enter(own);
        store.copy(&ledger.pages, &mut nodes, &mut leaves);
    }
    profile.stacks.extend(leaves.iter().map(|leaf| {
        let (frames, truncated) = frames_of(&nodes, *leaf);
        Stack { frames, truncated }
    }));
    stacks::look_again(ledger);
    profile.modules = modules();
}

/// The loaded objects, as they were found when they were last looked for.
pub(super) fn modules() -> Vec<Module> {
    unwind::modules()
        .iter()
        .map(|module| Module {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            start: module.start,
            end: module.end,
            bias: module.bias,
        })
        .collect()
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
        figures.left_out += read(&walker.left_out);
    }
    figures
}
