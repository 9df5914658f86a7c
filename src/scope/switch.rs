//! Scopes that a thread enters and leaves by a key. The hooks of spans and tasks use keys, because the hook that enters
//! a scope cannot pass a guard to the hook that leaves the scope.

use std::cell::Cell;

use crate::recorder::scopes;

/// Maximum number of keys that a thread has entered at the same time. Entering a further key has no effect. The limit
/// exceeds the maximum depth of scopes.
const DEPTH: usize = 32;

/// The keys that the thread has entered, innermost last. With each key is the scope in which the thread was before.
struct Entered {
    depth: Cell<usize>,
    before: [Cell<(u64, u32)>; DEPTH],
}

thread_local! {
    static ENTERED: Entered = const {
        Entered { depth: Cell::new(0), before: [const { Cell::new((0, 0)) }; DEPTH] }
    };
}

/// Moves the thread into `scope`, until [`exit`] with the same key.
#[inline]
pub(super) fn enter(key: u64, scope: u32) {
    ENTERED.with(|entered| {
        let depth = entered.depth.get();
        if let Some(place) = entered.before.get(depth) {
            place.set((key, scopes::replace_current(scope)));
            entered.depth.set(depth + 1);
        }
    });
}

/// Restores the scope in which the thread was before it called [`enter`] with this key. Does nothing if the thread has
/// not entered with this key.
#[inline]
pub(super) fn exit(key: u64) {
    ENTERED.with(|entered| {
        let last = entered.depth.get().wrapping_sub(1);
        match entered.before.get(last).map(Cell::get) {
            Some((innermost, before)) if innermost == key => {
                entered.depth.set(last);
                scopes::replace_current(before);
            }
            _ => exit_from_within(entered, key),
        }
    });
}

/// Removes a key that is not the innermost key. The thread stays in its scope. The next inner key takes over the scope
/// that was stored with the removed key.
#[cold]
fn exit_from_within(entered: &Entered, key: u64) {
    let depth = entered.depth.get();
    let all = entered.before.get(..depth).unwrap_or(&[]);
    let Some(at) = all.iter().rposition(|place| place.get().0 == key) else { return };
    scopes::note_out_of_order();
    let (_, before) = all[at].get();
    for place in at..depth - 1 {
        all[place].set(all[place + 1].get());
    }
    // The removed key was not the innermost key, so a key is in its place.
    let (next, _) = all[at].get();
    all[at].set((next, before));
    entered.depth.set(depth - 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<u64> {
        ENTERED
            .with(|entered| entered.before[..entered.depth.get()].iter().map(|place| place.get().0).collect())
    }

    #[test]
    fn a_key_that_leaves_early_changes_the_way_back_of_the_next_inner_key_only() {
        for (removed, left) in [
            (1, [(2, 10), (3, 12), (4, 13)]),
            (2, [(1, 10), (3, 11), (4, 13)]),
            (3, [(1, 10), (2, 11), (4, 12)]),
        ] {
            (1..=4).for_each(|key| enter(key, 0));
            ENTERED.with(|entered| {
                (1..=4).zip(&entered.before).for_each(|(key, place)| place.set((key, 9 + key as u32)));
                exit(removed);
                let places = &entered.before[..entered.depth.get()];
                assert_eq!(places.iter().map(Cell::get).collect::<Vec<_>>(), left, "{removed}");
            });
            (1..=4).rev().for_each(exit);
        }
    }

    #[test]
    fn keys_leave_in_any_order_and_unknown_ones_change_nothing() {
        (1..=4).for_each(|key| enter(key, 0));
        exit(9);
        exit(2);
        assert_eq!(keys(), [1, 3, 4]);
        exit(4);
        exit(1);
        exit(3);
        exit(3);
        assert_eq!(keys(), [0; 0]);
        (1..=40).for_each(|key| enter(key, 0));
        assert_eq!(keys().len(), DEPTH);
        (1..=40).rev().for_each(exit);
        assert_eq!(keys(), [0; 0]);
    }
}
