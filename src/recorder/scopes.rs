//! The scope in which a thread is: the number of a *cell*, stored in the thread's lane and written by the thread alone.
//!
//! A cell holds the figures of one scope inside one chain of outer scopes. Entering a scope inside another scope finds
//! the cell of this chain, and makes it the first time. Entering a scope inside itself changes nothing. If there is no
//! room for a cell, the thread stays in its scope, or enters the cell `(others)` if it is in no scope; each such entry
//! is counted.

use super::internal::{InternalScope, RecordingPaused};
use super::{slot, stacks, state, thread};
use crate::ledger::Ledger;
use crate::ledger::scopes::{OTHERS, SCOPE_NAME_BYTES_MAX, ScopeKey};
use crate::ring::lane::Lane;
use crate::sys::sync::{AtomicU32, Ordering};
use crate::sys::tls;

/// A scope as the program's handle holds it: the hash of its name, and its cell inside one parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The scope around `cell`. Only a thread in this scope may enter `cell` directly.
    pub(crate) parent: u32,
    pub(crate) cell: u32,
    /// Hash of the name.
    pub(crate) name: u64,
}

/// Value of [`Named::parent`] that is the number of no scope.
const NO_PARENT: u32 = u32::MAX;

/// The change of a thread's scope that a guard undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) scope: u32,
    pub(crate) before: u32,
}

/// Returns the scope with this name inside the calling thread's scope. Without a ledger, the cell is 0.
pub(crate) fn named(name: &[u8]) -> Named {
    let name_hash = crate::ledger::scopes::hash_of(name);
    let none = Named { parent: NO_PARENT, cell: 0, name: name_hash };
    let (Some(lane), Some(ledger)) = (thread::lane_or_claim(), state::ledger()) else { return none };
    let parent = lane.scope();
    if let Some(around) = in_chain(ledger, parent, name_hash) {
        return Named { cell: around, ..none };
    }
    let key = ScopeKey { parent, name: name_hash, instance: 0 };
    match cell(lane, ledger, key, name) {
        Some(cell) => Named { parent, cell, name: name_hash },
        None => Named { cell: OTHERS, ..none },
    }
}

/// Returns the scope with this name among `scope` and the scopes around it.
fn in_chain(ledger: &Ledger, scope: u32, name: u64) -> Option<u32> {
    let chain = ledger.scopes.chain(&ledger.pages, scope);
    chain.into_iter().find(|number| is_named(ledger, *number, name))
}

/// Returns the cell with this key; makes it if there is none. Returns `None` if there is no room.
pub(crate) fn cell(lane: &'static Lane, ledger: &Ledger, key: ScopeKey, name: &[u8]) -> Option<u32> {
    match ledger.scopes.find(&ledger.pages, key) {
        0 => {}
        number => return Some(number),
    }
    let internal = InternalScope::on(lane);
    let _paused = RecordingPaused::enter(&internal);
    let made = ledger.scopes.find_or_make(&ledger.pages, key, name);
    match made {
        Some(number) => stacks::prepare_scope(ledger, number),
        None => {
            // relaxed: a count.
            ledger.scopes.without_cell.fetch_add(1, Ordering::Relaxed);
        }
    }
    made
}

/// Returns the word that holds the thread's scope: a word of its lane, or a constant that is the number of no scope.
#[inline(always)]
fn word() -> &'static AtomicU32 {
    // SAFETY: the word lies in the thread's lane, and lanes are never released; or it is a constant, which is only
    // read, because it is the number of no scope.
    unsafe { &*tls::scope_word().cast::<AtomicU32>() }
}

/// Sets the thread's scope to `to` if it is `from`. Returns the previous scope, as an error if the scope was not
/// `from`.
#[inline(always)]
fn replace(from: u32, to: u32) -> Result<u32, u32> {
    let word = word();
    // relaxed, both: only the thread accesses its scope.
    let before = word.load(Ordering::Relaxed);
    if before != from {
        return Err(before);
    }
    word.store(to, Ordering::Relaxed);
    Ok(before)
}

/// Enters a scope whose parent is the thread's current scope. Returns `None` if the thread is in a different scope.
#[inline(always)]
pub(crate) fn enter(scope: &Named) -> Option<Entry> {
    let before = replace(scope.parent, scope.cell).ok()?;
    Some(Entry { scope: scope.cell, before })
}

/// Enters a scope for which [`enter`] has returned `None`.
#[cold]
pub(crate) fn enter_elsewhere(scope: &Named) -> Entry {
    let (Some(lane), Some(ledger)) = (thread::lane_or_claim(), state::ledger()) else {
        return Entry::default();
    };
    let before = lane.scope();
    if scope.cell == 0 || in_chain(ledger, before, scope.name).is_some() {
        return Entry { scope: before, before };
    }
    let cell = if scope.parent == before { Some(scope.cell) } else { nested(lane, ledger, before, *scope) };
    let entered = cell.unwrap_or(if before == 0 { OTHERS } else { before });
    lane.set_scope(entered);
    Entry { scope: entered, before }
}

/// Returns the cell inside `parent` that has the name of `scope`.
fn nested(lane: &'static Lane, ledger: &Ledger, parent: u32, scope: Named) -> Option<u32> {
    let (mut name, mut length) = ([0; SCOPE_NAME_BYTES_MAX], 0);
    ledger.scopes.with_name(&ledger.pages, scope.cell, |known| {
        length = known.len();
        name[..length].copy_from_slice(known);
    });
    let is_own = scope.cell != OTHERS;
    let key = ScopeKey { parent, name: scope.name, instance: 0 };
    if is_own { cell(lane, ledger, key, &name[..length]) } else { None }
}

/// Returns the calling thread's scope.
pub(crate) fn current() -> u32 {
    slot::lane_of_slot(tls::get()).map_or(0, Lane::scope)
}

/// Sets the thread's scope to exactly this cell. Returns the previous scope.
#[cfg(any(feature = "tracing", all(feature = "tokio", tokio_unstable)))]
#[inline]
pub(crate) fn replace_current(scope: u32) -> u32 {
    match slot::recording_lane() {
        Ok(lane) => {
            let before = lane.scope();
            lane.set_scope(scope);
            before
        }
        Err(_) => enter_cell(scope).before,
    }
}

/// Returns the cell with this name inside `parent`; `parent` itself if it or a scope around it has this name. Without
/// room for a cell, returns `parent`, or `(others)` outside scopes. Without a ledger, returns 0.
#[cfg(any(feature = "tracing", all(feature = "tokio", tokio_unstable)))]
pub(crate) fn cell_inside(parent: u32, name: &[u8]) -> u32 {
    let (Some(lane), Some(ledger)) = (thread::lane_or_claim(), state::ledger()) else { return 0 };
    let name_hash = crate::ledger::scopes::hash_of(name);
    if parent != 0 && in_chain(ledger, parent, name_hash).is_some() {
        return parent;
    }
    let key = ScopeKey { parent, name: name_hash, instance: 0 };
    cell(lane, ledger, key, name).unwrap_or(if parent == 0 { OTHERS } else { parent })
}

/// Returns the scope around `scope`.
#[cfg(feature = "tracing")]
pub(crate) fn parent_of(scope: u32) -> u32 {
    state::ledger().map_or(0, |ledger| ledger.scopes.parent_of(&ledger.pages, scope))
}

/// Counts a scope that got no cell.
#[cfg(feature = "tracing")]
pub(crate) fn note_without_cell() {
    if let Some(ledger) = state::ledger() {
        // relaxed: a count.
        ledger.scopes.without_cell.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a scope that was not left in the reverse order of entering.
pub(crate) fn note_out_of_order() {
    if let Some(ledger) = state::ledger() {
        // relaxed: a count.
        ledger.scopes.out_of_order.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sets the thread's scope to exactly this cell. Returns the change, which a guard undoes.
pub(crate) fn enter_cell(scope: u32) -> Entry {
    let Some(lane) = thread::lane_or_claim() else { return Entry::default() };
    let before = lane.scope();
    lane.set_scope(scope);
    Entry { scope, before }
}

/// Leaves a scope if it is the thread's current scope. Returns `false` if the thread is in a different scope.
#[inline(always)]
pub(crate) fn leave(entry: Entry) -> bool {
    replace(entry.scope, entry.before).is_ok()
}

/// Leaves a scope for which [`leave`] has returned `false`. If guards were not dropped in the reverse order of their
/// creation, removes the scope from the thread's nested scopes.
#[cold]
pub(crate) fn leave_elsewhere(entry: Entry) {
    let (Some(lane), Some(ledger)) = (slot::lane_of_slot(tls::get()), state::ledger()) else { return };
    let now = lane.scope();
    if now == entry.scope {
        return lane.set_scope(entry.before);
    }
    if entry.scope == entry.before {
        return;
    }
    note_out_of_order();
    let Some(left) = ledger.scopes.key_of(&ledger.pages, entry.scope) else { return };
    let Some(removed) = in_chain(ledger, now, left.name) else { return };
    let mut rest = ledger.scopes.parent_of(&ledger.pages, removed);
    let chain = ledger.scopes.chain(&ledger.pages, now);
    let inside = chain.iter().position(|number| *number == removed).unwrap_or(0);
    // Enters the inner scopes again, outermost first: those that were entered inside the removed scope.
    for inner in chain[..inside].iter().rev().copied() {
        let Some(key) = ledger.scopes.key_of(&ledger.pages, inner) else { continue };
        let named = Named { parent: NO_PARENT, cell: inner, name: key.name };
        rest = nested(lane, ledger, rest, named).unwrap_or(rest);
    }
    lane.set_scope(rest);
}

/// Returns the calling thread's scope and the sum of the uses of its cells, for a token with which other threads may
/// enter the scope.
pub(crate) fn current_for_token() -> (u32, u32) {
    let scope = current();
    let Some(ledger) = state::ledger() else { return (0, 0) };
    (scope, ledger.scopes.note_token(&ledger.pages, scope))
}

/// Enters the scope of a token. Returns `None` if the use of the scope that made the token has ended.
pub(crate) fn enter_by_token(scope: u32, uses: u32) -> Option<Entry> {
    let ledger = state::ledger()?;
    if !ledger.scopes.begin_inside(&ledger.pages, scope, uses) {
        return None;
    }
    Some(enter_cell(scope))
}

/// Notes that a thread has left a scope that it entered by a token.
pub(crate) fn leave_by_token(scope: u32) {
    if let Some(ledger) = state::ledger() {
        ledger.scopes.end_inside(&ledger.pages, scope);
    }
}

/// Returns whether a scope has this name.
pub(crate) fn is_named(ledger: &Ledger, scope: u32, name: u64) -> bool {
    ledger.scopes.key_of(&ledger.pages, scope).is_some_and(|key| key.name == name)
}

/// Returns whether a scope, or a scope around it, has this name.
pub(crate) fn is_inside(ledger: &Ledger, scope: u32, name: u64) -> bool {
    in_chain(ledger, scope, name).is_some()
}
