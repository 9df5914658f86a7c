//! Detection of deadlocks by graph reduction, for resources of one or several units.
//!
//! A cycle in the wait-for graph proves a deadlock only if every resource has one unit: with a pool of three, a third
//! holder outside the cycle may break it. Reduction is exact for counted resources (Holt, *Some deadlock properties of
//! computer systems*, 1972). It assumes that every actor that does not wait will finish and release its units. It then
//! finishes any waiting actor whose request fits into the free units, and repeats. The actors that can never finish are
//! deadlocked in every order of releases.
//!
//! One rule is added: fair locks and semaphores serve in order, so a request also waits for every request queued before
//! it. The rule covers a reader that reads again behind a queued writer, and a large request at the head of the queue.
//!
//! An actor with several concurrent waits (a `select`) finishes as soon as one of them can be served. This rule can
//! miss a deadlock, but never reports a false one.

/// A wait in a snapshot, with the indices of actor and resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub actor: usize,
    pub resource: usize,
    pub units: u32,
    pub ticket: u64,
}

/// A hold in a snapshot, with the indices of actor and resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub actor: usize,
    pub resource: usize,
    pub units: u32,
}

/// All waits and holds at one moment, with the capacity of each resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub capacities: Vec<u32>,
    pub waits: Vec<Wait>,
    pub holds: Vec<Held>,
}

impl Snapshot {
    /// Returns the actors that no order of releases can free, in ascending order.
    #[cfg(test)]
    pub fn deadlocked(&self) -> Vec<usize> {
        let (mut free, mut stuck) = (Vec::new(), Vec::new());
        self.reduce(&mut free, &mut stuck);
        stuck
    }

    /// Fills `stuck` with the actors that no order of releases can free, in ascending order. The caller keeps both
    /// vectors, so that a scan of a run under load does not allocate.
    pub fn reduce(&self, free: &mut Vec<i64>, stuck: &mut Vec<usize>) {
        free.clear();
        free.extend(self.capacities.iter().map(|&c| i64::from(c)));
        stuck.clear();
        // The waits of an actor are consecutive.
        stuck.extend(self.waits.iter().map(|w| w.actor));
        stuck.dedup();
        for h in self.holds.iter().filter(|h| stuck.contains(&h.actor)) {
            free[h.resource] -= i64::from(h.units);
        }
        while let Some(place) = stuck.iter().position(|&i| self.can_finish(i, stuck, free)) {
            let actor = stuck.remove(place);
            self.holds_of(actor).for_each(|h| free[h.resource] += i64::from(h.units));
        }
    }

    fn waits_of(&self, actor: usize) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(move |w| w.actor == actor)
    }

    fn holds_of(&self, actor: usize) -> impl Iterator<Item = &Held> {
        self.holds.iter().filter(move |h| h.actor == actor)
    }

    /// Returns the actors queued before a wait.
    fn queued_before<'a>(&'a self, wait: &'a Wait) -> impl Iterator<Item = usize> + 'a {
        let earlier =
            |w: &&Wait| w.resource == wait.resource && w.ticket < wait.ticket && w.actor != wait.actor;
        self.waits.iter().filter(earlier).map(|w| w.actor)
    }

    fn can_finish(&self, actor: usize, stuck: &[usize], free: &[i64]) -> bool {
        self.waits_of(actor).any(|wait| {
            i64::from(wait.units) <= free[wait.resource]
                && !self.queued_before(wait).any(|other| stuck.contains(&other))
        })
    }

    /// Whether `other` holds a resource that `actor` waits for.
    fn holds_for(&self, actor: usize, other: usize) -> bool {
        self.holds_of(other).any(|h| self.waits_of(actor).any(|w| w.resource == h.resource))
    }

    /// Whether `actor` waits for `other`: for a resource that `other` holds, or behind `other` in a queue.
    pub fn waits_for(&self, actor: usize, other: usize) -> bool {
        self.holds_for(actor, other)
            || self.waits_of(actor).any(|wait| self.queued_before(wait).any(|before| before == other))
    }

    /// Splits a set of stuck actors into parts that do not wait for each other.
    pub fn components(&self, stuck: &[usize]) -> Vec<Vec<usize>> {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for &actor in stuck {
            let linked = |part: &mut Vec<usize>| {
                part.iter().any(|&other| self.waits_for(actor, other) || self.waits_for(other, actor))
            };
            let mut part: Vec<usize> = parts.extract_if(.., linked).flatten().collect();
            part.push(actor);
            parts.push(part);
        }
        parts.iter_mut().for_each(|part| part.sort_unstable());
        parts
    }

    /// Returns one cycle within a part of stuck actors, in the order of waiting. Every actor of the part waits for an
    /// actor of the part, perhaps for itself, so a walk from waiter to holder always returns to an actor that it has
    /// visited.
    pub fn cycle(&self, part: &[usize]) -> Vec<usize> {
        let mut walk: Vec<usize> = part.first().copied().into_iter().collect();
        while let Some(&last) = walk.last() {
            let blockers = part.iter().copied().filter(|&other| self.waits_for(last, other));
            // A holder is preferred to an actor that is only earlier in the queue. Any other actor is preferred to the
            // actor itself.
            let Some(next) = blockers.min_by_key(|&b| (b == last, !self.holds_for(last, b))) else { break };
            if let Some(start) = walk.iter().position(|&w| w == next) {
                return walk.split_off(start);
            }
            walk.push(next);
        }
        walk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    /// An actor: the resources it holds as (resource, units), and its waits as (resource, units, ticket).
    type Spec<'a> = (&'a [(usize, u32)], &'a [(usize, u32, u64)]);

    fn stuck(capacities: &[u32], actors: &[Spec<'_>]) -> Vec<usize> {
        snapshot(capacities, actors).deadlocked()
    }

    fn snapshot(capacities: &[u32], actors: &[Spec<'_>]) -> Snapshot {
        let mut snapshot = Snapshot { capacities: capacities.to_vec(), ..Snapshot::default() };
        for (actor, (holds, waits)) in actors.iter().enumerate() {
            let wait = |&(resource, units, ticket)| Wait { actor, resource, units, ticket };
            snapshot.waits.extend(waits.iter().map(wait));
            snapshot.holds.extend(holds.iter().map(|&(resource, units)| Held { actor, resource, units }));
        }
        snapshot
    }

    #[test]
    fn two_locks_taken_crosswise() {
        let actors: &[Spec<'_>] = &[(&[(0, 1)], &[(1, 1, 0)]), (&[(1, 1)], &[(0, 1, 0)]), (&[], &[])];
        assert_eq!(stuck(&[1, 1], actors), [0, 1]);
        // If one of the two actors does not wait, both are slow, and not deadlocked.
        assert!(stuck(&[1, 1], &[(&[(0, 1)], &[(1, 1, 0)]), (&[(1, 1)], &[])]).is_empty());
    }

    #[test]
    fn three_in_a_ring_and_those_behind_them() {
        let actors: &[Spec<'_>] = &[
            (&[(0, 1)], &[(1, 1, 0)]),
            (&[(1, 1)], &[(2, 1, 0)]),
            (&[(2, 1)], &[(0, 1, 0)]),
            (&[], &[(0, 1, 1)]),
        ];
        let s = snapshot(&[1, 1, 1], actors);
        assert_eq!(s.deadlocked(), [0, 1, 2, 3]);
        assert_eq!(s.cycle(&[0, 1, 2, 3]), [0, 1, 2]);
        assert_eq!(s.components(&[0, 1, 2, 3]), [[0, 1, 2, 3]]);
    }

    #[test]
    fn a_cycle_that_a_third_holder_will_break_is_no_deadlock() {
        // Two of three holders of a pool of three want a second unit, and the third does not wait.
        let pool: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 0)]), (&[(0, 1)], &[(0, 1, 1)]), (&[(0, 1)], &[])];
        assert!(stuck(&[3], pool).is_empty());
        // A detector of cycles alone would report a deadlock, because each of the two waits for the other.
        let s = snapshot(&[3], pool);
        assert!(s.waits_for(0, 1) && s.waits_for(1, 0));
        // Without the third holder it is a deadlock.
        assert_eq!(stuck(&[2], &pool[..2]), [0, 1]);
    }

    #[test]
    fn a_reader_that_wants_to_write_and_a_reader_behind_a_writer() {
        assert_eq!(stuck(&[ALL], &[(&[(0, 1)], &[(0, ALL, 0)])]), [0]);
        let behind: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 1)]), (&[], &[(0, ALL, 0)])];
        assert_eq!(stuck(&[ALL], behind), [0, 1]);
        // If the reader comes first, it passes before the writer.
        let first: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 0)]), (&[], &[(0, ALL, 1)])];
        assert!(stuck(&[ALL], first).is_empty());
    }

    #[test]
    fn a_large_request_at_the_head_of_the_line() {
        // One unit is free. The first actor in the queue wants two units. The holder of the other units waits for one,
        // behind it.
        let actors: &[Spec<'_>] = &[(&[], &[(0, 2, 0)]), (&[(0, 2)], &[(0, 1, 1)])];
        assert_eq!(stuck(&[3], actors), [0, 1]);
        // If the holder is first in the queue, it gets the free unit.
        let actors: &[Spec<'_>] = &[(&[], &[(0, 2, 1)]), (&[(0, 2)], &[(0, 1, 0)])];
        assert!(stuck(&[3], actors).is_empty());
    }

    #[test]
    fn independent_deadlocks_are_two() {
        let actors: &[Spec<'_>] = &[
            (&[(0, 1)], &[(1, 1, 0)]),
            (&[(1, 1)], &[(0, 1, 0)]),
            (&[(2, 1)], &[(3, 1, 0)]),
            (&[(3, 1)], &[(2, 1, 0)]),
        ];
        let s = snapshot(&[1; 4], actors);
        assert_eq!(s.components(&s.deadlocked()), [[0, 1], [2, 3]]);
    }

    #[test]
    fn either_of_two_waits_is_enough() {
        let actors: &[Spec<'_>] =
            &[(&[(0, 1)], &[(1, 1, 0), (2, 1, 0)]), (&[(1, 1)], &[(0, 1, 0)]), (&[(2, 1)], &[])];
        assert!(stuck(&[1, 1, 1], actors).is_empty());
    }
}
