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

/// Removes a key that is not the innermost key. The thread stays in its scope. Each key inside the removed key takes
/// over the scope that was stored with the key around it.
#[cold]
fn exit_from_within(entered: &Entered, key: u64) {
    let depth = entered.depth.get();
    let all = entered.before.get(..depth).unwrap_or(&[]);
    let Some(at) = all.iter().rposition(|place| place.get().0 == key) else { return };
    scopes::note_out_of_order();
    let (_, mut before) = all[at].get();
    for place in at..depth - 1 {
        let (key, inner) = all[place + 1].get();
        all[place].set((key, before));
        before = inner;
    }
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
