//! The scan for deadlocks: it copies all waits and holds, reduces the graph, and reports findings on which two scans
//! agree.

use std::panic::Location;
use std::sync::Arc;

use super::super::sync::lock;
use super::actor::{Actor, ActorId, Edge, Resources, USUAL_EDGES};
use super::graph::{Held, Snapshot, Wait};
use super::report::{DeadlockClass, DeadlockReport, Hold, WaitEdge};

/// Maximum number of reports.
const REPORTS_MAX: usize = 100;
/// Minimum age of the oldest wait, in nanoseconds, for a periodic scan to reduce the graph.
const PATIENCE_NS: u64 = 25_000_000;

/// The number and the epoch of an actor, which identify one state of its waits and holds.
type Version = (ActorId, u64);

/// The findings so far, and the buffers of a scan. The buffers are kept so that scanning a contended run does not
/// allocate.
#[derive(Debug, Default)]
pub(super) struct Scan {
    snapshot: Snapshot,
    actors: Vec<Version>,
    free: Vec<i64>,
    stuck: Vec<usize>,
    /// Actors that the last scan found stuck, each with the time of the first scan that found this, in nanoseconds.
    suspects: Vec<(Version, u64)>,
    next_suspects: Vec<(Version, u64)>,
    /// Actors of the reported deadlocks.
    pub reported: Vec<Version>,
}

impl Scan {
    /// Makes room for the users of a run.
    pub fn reserve(&mut self, users: usize, resources: &Resources) {
        let room = users + 64;
        resources.capacities(&mut self.snapshot.capacities);
        let registered = self.snapshot.capacities.len();
        self.snapshot.capacities.reserve(room);
        self.free.reserve(registered + room);
        self.snapshot.waits.reserve(room * USUAL_EDGES);
        self.snapshot.holds.reserve(room * USUAL_EDGES);
        self.actors.reserve(room);
        self.stuck.reserve(room * USUAL_EDGES);
        self.suspects.reserve(room);
        self.next_suspects.reserve(room);
    }

    pub fn clear(&mut self) {
        self.reported.clear();
        self.suspects.clear();
    }

    /// Scans once. An actor found stuck for less than `agree_after_ns` stays a suspect. Returns whether there are
    /// suspects.
    pub fn run(
        &mut self,
        actors: &[Arc<Actor>],
        resources: &Resources,
        (now_ns, agree_after_ns): (u64, u64),
        reports: &mut Vec<DeadlockReport>,
    ) -> bool {
        let longest_ns = self.take_snapshot(actors, resources, now_ns);
        if agree_after_ns > 0 && longest_ns < PATIENCE_NS {
            return false;
        }
        self.snapshot.reduce(&mut self.free, &mut self.stuck);
        self.next_suspects.clear();
        for &i in &self.stuck {
            let version = self.actors[i];
            let since = self.suspects.iter().find(|x| x.0 == version).map_or(now_ns, |x| x.1);
            self.next_suspects.push((version, since));
        }
        std::mem::swap(&mut self.suspects, &mut self.next_suspects);
        let suspects = self.suspects.iter().zip(&self.stuck);
        let agreed: Vec<usize> =
            suspects.filter(|((_, since), _)| now_ns - since >= agree_after_ns).map(|(_, &i)| i).collect();
        for part in self.snapshot.components(&agreed) {
            // Actors that queue behind a known deadlock are no new deadlock.
            let is_known = part.iter().any(|&i| self.reported.contains(&self.actors[i]));
            self.reported.extend(part.iter().map(|&i| self.actors[i]));
            if !is_known && reports.len() < REPORTS_MAX {
                reports.push(self.describe(&part, actors, resources, now_ns));
            }
        }
        agreed.len() < self.suspects.len()
    }

    /// Copies all waits and holds. Returns the age of the oldest wait, in nanoseconds.
    fn take_snapshot(&mut self, actors: &[Arc<Actor>], resources: &Resources, now_ns: u64) -> u64 {
        let Snapshot { capacities, waits, holds } = &mut self.snapshot;
        resources.capacities(capacities);
        waits.clear();
        holds.clear();
        self.actors.clear();
        let mut longest_ns = 0;
        for of_actor in actors {
            let (actor, edges) = (self.actors.len(), lock(&of_actor.edges));
            for e in &edges.waits {
                waits.push(Wait { actor, resource: e.resource.0 as usize, units: e.units, ticket: e.ticket });
                longest_ns = longest_ns.max(now_ns.saturating_sub(e.since_ns));
            }
            let held = |e: &Edge| Held { actor, resource: e.resource.0 as usize, units: e.units };
            holds.extend(edges.holds.iter().map(held));
            self.actors.push((of_actor.id, edges.epoch));
        }
        longest_ns
    }

    fn describe(
        &self,
        part: &[usize],
        actors: &[Arc<Actor>],
        resources: &Resources,
        now_ns: u64,
    ) -> DeadlockReport {
        let age_ms = |since: u64| now_ns.saturating_sub(since) as f64 / 1e6;
        let (mut class, mut youngest_ns) = (DeadlockClass::Permanent, 0);
        let mut edge_of = |&i: &usize| {
            let actor = actors.iter().find(|a| a.id == self.actors[i].0)?;
            let edges = lock(&actor.edges);
            let wait = edges.waits.first()?;
            youngest_ns = youngest_ns.max(wait.since_ns);
            if edges.waits.iter().any(|w| w.has_deadline) {
                class = DeadlockClass::Transient;
            }
            let hold = |h: &Edge| Hold {
                resource: resources.name(h.resource),
                units: h.units,
                at: place(h.at),
                held_ms: age_ms(h.since_ns),
            };
            Some(WaitEdge {
                actor: actor.name.clone(),
                wants: resources.name(wait.resource),
                units: wait.units,
                at: place(wait.at),
                waited_ms: age_ms(wait.since_ns),
                holds: edges.holds.iter().map(hold).collect(),
            })
        };
        let cycle: Vec<String> =
            self.snapshot.cycle(part).iter().filter_map(&mut edge_of).map(|e| in_words(&e)).collect();
        let actors = part.iter().filter_map(edge_of).collect();
        DeadlockReport { actors, class, detected_after_ms: age_ms(youngest_ns), cycle: cycle.join(" → ") }
    }
}

fn place(at: &Location<'_>) -> String {
    format!("{}:{}", at.file(), at.line())
}

fn in_words(edge: &WaitEdge) -> String {
    let holds: Vec<String> = edge.holds.iter().map(|h| format!("{} ({})", h.resource, h.at)).collect();
    let holds = if holds.is_empty() { "nothing".to_owned() } else { holds.join(", ") };
    format!("{} holds {holds} and waits for {} ({})", edge.actor, edge.wants, edge.at)
}
