//! Graph reduction over counted resources.
//!
//! A cycle in the wait-for graph proves a deadlock only when every resource has one unit: with a pool of three, a third
//! holder outside the cycle may break it. Reduction is exact for counted resources (Holt, *Some deadlock properties of
//! computer systems*, 1972): assume that every actor that does not wait will finish and release its units; then finish any
//! waiting actor whose request fits into the free units, and repeat. Actors that can never finish are deadlocked in every
//! order of releases.
//!
//! One rule is added. Fair locks and semaphores serve in order, so a request also waits for every request queued before it.
//! This covers a reader that reads again behind a queued writer, and a large request at the head of the queue.
//!
//! An actor with several concurrent waits (a `select`) finishes as soon as one of them can be served: that can miss a
//! deadlock, and never invents one.

/// A wait in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitNode {
    pub resource: usize,
    pub units: u32,
    pub ticket: u64,
}

/// An actor in a snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct ActorNode {
    pub waits: Vec<WaitNode>,
    pub holds: Vec<(usize, u32)>,
}

/// All actors and the capacity of each resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub capacities: Vec<u32>,
    pub actors: Vec<ActorNode>,
}

impl Snapshot {
    /// The actors that no order of releases can free, ascending.
    #[cfg(test)]
    pub fn deadlocked(&self) -> Vec<usize> {
        let (mut free, mut stuck) = (Vec::new(), Vec::new());
        self.reduce(&mut free, &mut stuck);
        stuck
    }

    /// Fills `stuck` with the actors that no order of releases can free, ascending. The caller keeps both vectors, so that
    /// a scan of a run under load does not allocate.
    pub fn reduce(&self, free: &mut Vec<i64>, stuck: &mut Vec<usize>) {
        free.clear();
        stuck.clear();
        free.extend(self.capacities.iter().map(|&c| i64::from(c)));
        for actor in &self.actors {
            actor.holds.iter().for_each(|&(r, units)| free[r] -= i64::from(units));
        }
        for (i, actor) in self.actors.iter().enumerate() {
            if actor.waits.is_empty() { release(actor, free) } else { stuck.push(i) }
        }
        while let Some(place) = stuck.iter().position(|&i| self.can_finish(i, stuck, free)) {
            release(&self.actors[stuck.remove(place)], free);
        }
    }

    fn can_finish(&self, actor: usize, stuck: &[usize], free: &[i64]) -> bool {
        self.actors[actor].waits.iter().any(|wait| {
            i64::from(wait.units) <= free[wait.resource]
                && !stuck.iter().any(|&other| other != actor && self.waits_before(other, wait))
        })
    }

    fn waits_before(&self, other: usize, wait: &WaitNode) -> bool {
        self.actors[other].waits.iter().any(|w| w.resource == wait.resource && w.ticket < wait.ticket)
    }

    /// The actors that `actor` waits for: the holders of its resources and those queued before it.
    pub fn blockers(&self, actor: usize) -> Vec<usize> {
        (0..self.actors.len())
            .filter(|&other| {
                self.actors[actor].waits.iter().any(|wait| {
                    let holds = self.actors[other].holds.iter().any(|&(r, _)| r == wait.resource);
                    holds || (other != actor && self.waits_before(other, wait))
                })
            })
            .collect()
    }

    /// Splits a stuck set into parts that do not wait for each other.
    pub fn components(&self, stuck: &[usize]) -> Vec<Vec<usize>> {
        let mut group: Vec<usize> = (0..stuck.len()).collect();
        for (i, &actor) in stuck.iter().enumerate() {
            for blocker in self.blockers(actor) {
                if let Some(j) = stuck.iter().position(|&s| s == blocker) {
                    let (from, to) = (group[i].max(group[j]), group[i].min(group[j]));
                    group.iter_mut().filter(|l| **l == from).for_each(|l| *l = to);
                }
            }
        }
        (0..stuck.len())
            .map(|part| (0..stuck.len()).filter(|&i| group[i] == part).map(|i| stuck[i]).collect::<Vec<_>>())
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// One cycle within a stuck part, in the order of waiting. Every actor has a blocker in the part, so each walk closes.
    pub fn cycle(&self, part: &[usize]) -> Vec<usize> {
        let mut walk: Vec<usize> = part.first().copied().into_iter().collect();
        while let Some(&last) = walk.last() {
            let holds = |b: usize| {
                let waits = &self.actors[last].waits;
                waits.iter().any(|w| self.actors[b].holds.iter().any(|h| h.0 == w.resource))
            };
            // Prefer a holder to a place in the queue, and another actor to the actor itself.
            let blockers = self.blockers(last).into_iter().filter(|b| part.contains(b));
            let Some(next) = blockers.min_by_key(|&b| (b == last, !holds(b))) else { break };
            if let Some(start) = walk.iter().position(|&w| w == next) {
                return walk.split_off(start);
            }
            walk.push(next);
        }
        walk
    }
}

fn release(actor: &ActorNode, free: &mut [i64]) {
    actor.holds.iter().for_each(|&(r, units)| free[r] += i64::from(units));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    /// Each actor: what it holds as (resource, units), and what it waits for as (resource, units, ticket).
    type Spec<'a> = (&'a [(usize, u32)], &'a [(usize, u32, u64)]);

    fn stuck(capacities: &[u32], actors: &[Spec<'_>]) -> Vec<usize> {
        snapshot(capacities, actors).deadlocked()
    }

    fn snapshot(capacities: &[u32], actors: &[Spec<'_>]) -> Snapshot {
        let actors = actors
            .iter()
            .map(|(holds, waits)| ActorNode {
                holds: holds.to_vec(),
                waits: waits
                    .iter()
                    .map(|&(resource, units, ticket)| WaitNode { resource, units, ticket })
                    .collect(),
            })
            .collect();
        Snapshot { capacities: capacities.to_vec(), actors }
    }

    #[test]
    fn two_locks_taken_crosswise() {
        let actors: &[Spec<'_>] = &[(&[(0, 1)], &[(1, 1, 0)]), (&[(1, 1)], &[(0, 1, 0)]), (&[], &[])];
        assert_eq!(stuck(&[1, 1], actors), [0, 1]);
        // The same with one of them not waiting is slow, not stuck.
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
        // A pool of three: two hold one and want a second, a third holds the last unit and works.
        let pool: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 0)]), (&[(0, 1)], &[(0, 1, 1)]), (&[(0, 1)], &[])];
        assert!(stuck(&[3], pool).is_empty());
        // A detector that only looks for cycles would have reported: each of the two waits for the other.
        let s = snapshot(&[3], pool);
        assert!(s.blockers(0).contains(&1) && s.blockers(1).contains(&0));
        // Without the third it is one.
        assert_eq!(stuck(&[2], &pool[..2]), [0, 1]);
    }

    #[test]
    fn a_reader_that_wants_to_write_and_a_reader_behind_a_writer() {
        assert_eq!(stuck(&[ALL], &[(&[(0, 1)], &[(0, ALL, 0)])]), [0]);
        let behind: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 1)]), (&[], &[(0, ALL, 0)])];
        assert_eq!(stuck(&[ALL], behind), [0, 1]);
        // Unfair order would have let the reader pass.
        let first: &[Spec<'_>] = &[(&[(0, 1)], &[(0, 1, 0)]), (&[], &[(0, ALL, 1)])];
        assert!(stuck(&[ALL], first).is_empty());
    }

    #[test]
    fn a_large_request_at_the_head_of_the_line() {
        // One unit free, the first in line wants two, the holder of the others waits for one behind it.
        let actors: &[Spec<'_>] = &[(&[], &[(0, 2, 0)]), (&[(0, 2)], &[(0, 1, 1)])];
        assert_eq!(stuck(&[3], actors), [0, 1]);
        // Had the holder asked first, the free unit would have been its.
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
