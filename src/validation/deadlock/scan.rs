//! The scan: copies all edges, reduces the graph, and reports what two scans agree on.

use std::panic::Location;
use std::sync::PoisonError;

use super::graph::{ActorNode, Snapshot, WaitNode};
use super::registry::{DeadlockDetector, PATIENCE_NS, lock};
use super::{ActorId, DeadlockClass, DeadlockReport, Hold, ResourceId, WaitEdge};

/// Reports kept.
const REPORTS_MAX: usize = 100;

/// Buffers of a scan, kept so that scanning a contended run does not allocate.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub snapshot: Snapshot,
    pub actors: Vec<(ActorId, u64)>,
    pub resources: Vec<ResourceId>,
    pub spare: Vec<ActorNode>,
    pub free: Vec<i64>,
    pub stuck: Vec<usize>,
    /// Suspects of the scan before: actor, epoch, and when it was first suspected.
    pub suspects: Vec<(ActorId, u64, u64)>,
    pub next_suspects: Vec<(ActorId, u64, u64)>,
    pub reported: Vec<(ActorId, u64)>,
}

impl DeadlockDetector {
    /// Scans; findings younger than `agree_after_ns` stay suspects. Gives whether there are any.
    pub(super) fn scan(&self, agree_after_ns: u64) -> bool {
        let mut guard = lock(&self.inner.scratch);
        let s = &mut *guard;
        let now_ns = self.now_ns();
        let longest_ns = self.take_snapshot(s, now_ns);
        if agree_after_ns > 0 && longest_ns < PATIENCE_NS {
            return false;
        }
        s.snapshot.reduce(&mut s.free, &mut s.stuck);
        s.next_suspects.clear();
        for &i in &s.stuck {
            let (id, epoch) = s.actors[i];
            let since = s.suspects.iter().find(|x| (x.0, x.1) == (id, epoch)).map_or(now_ns, |x| x.2);
            s.next_suspects.push((id, epoch, since));
        }
        std::mem::swap(&mut s.suspects, &mut s.next_suspects);
        let agreed: Vec<usize> = s
            .suspects
            .iter()
            .zip(&s.stuck)
            .filter(|((_, _, since), _)| now_ns - since >= agree_after_ns)
            .map(|(_, &i)| i)
            .collect();
        if !agreed.is_empty() {
            self.report_new(s, &agreed, now_ns);
        }
        !s.suspects.is_empty() && agreed.len() < s.suspects.len()
    }

    /// Copies all edges into the scratch space. Gives the age of the oldest wait.
    fn take_snapshot(&self, s: &mut Scratch, now_ns: u64) -> u64 {
        let actors = self.inner.actors.read().unwrap_or_else(PoisonError::into_inner);
        s.spare.append(&mut s.snapshot.actors);
        s.snapshot.capacities.clear();
        s.resources.clear();
        s.actors.clear();
        let mut longest_ns = 0;
        for actor in actors.iter() {
            let edges = lock(&actor.edges);
            if edges.waits.is_empty() && edges.holds.is_empty() {
                continue;
            }
            let mut node = s.spare.pop().unwrap_or_default();
            node.waits.clear();
            node.holds.clear();
            for w in &edges.waits {
                let resource = self.place_of(w.resource, &mut s.resources, &mut s.snapshot.capacities);
                node.waits.push(WaitNode { resource, units: w.units, ticket: w.ticket });
                longest_ns = longest_ns.max(now_ns.saturating_sub(w.since_ns));
            }
            for h in &edges.holds {
                let resource = self.place_of(h.resource, &mut s.resources, &mut s.snapshot.capacities);
                node.holds.push((resource, h.units));
            }
            s.snapshot.actors.push(node);
            s.actors.push((actor.id, edges.epoch));
        }
        longest_ns
    }

    fn place_of(&self, id: ResourceId, known: &mut Vec<ResourceId>, capacities: &mut Vec<u32>) -> usize {
        known.iter().position(|r| *r == id).unwrap_or_else(|| {
            known.push(id);
            capacities.push(self.with_resource(id, |r| r.capacity).unwrap_or(1));
            known.len() - 1
        })
    }

    fn report_new(&self, s: &mut Scratch, agreed: &[usize], now_ns: u64) {
        for part in s.snapshot.components(agreed) {
            // Those who arrive later behind a known deadlock are no new one.
            let known = part.iter().any(|&i| s.reported.contains(&s.actors[i]));
            s.reported.extend(part.iter().map(|&i| s.actors[i]));
            if known {
                continue;
            }
            let cycle = s.snapshot.cycle(&part);
            let report = self.describe(s, &part, &cycle, now_ns);
            let mut reports = lock(&self.inner.reports);
            if reports.len() < REPORTS_MAX {
                reports.push(report);
            }
        }
    }

    fn describe(&self, s: &Scratch, part: &[usize], cycle: &[usize], now_ns: u64) -> DeadlockReport {
        let age_ms = |since: u64| now_ns.saturating_sub(since) as f64 / 1e6;
        let mut class = DeadlockClass::Permanent;
        let mut youngest = 0;
        let mut edge_of = |i: usize| {
            let actor = self.find(s.actors[i].0)?;
            let edges = lock(&actor.edges);
            let wait = edges.waits.first()?;
            youngest = youngest.max(wait.since_ns);
            if edges.waits.iter().any(|w| w.has_deadline) {
                class = DeadlockClass::Transient;
            }
            let holds = edges
                .holds
                .iter()
                .map(|h| Hold {
                    resource: self.resource_name(h.resource),
                    units: h.units,
                    at: place(h.at),
                    held_ms: age_ms(h.since_ns),
                })
                .collect();
            Some(WaitEdge {
                actor: actor.name.clone(),
                wants: self.resource_name(wait.resource),
                units: wait.units,
                at: place(wait.at),
                waited_ms: age_ms(wait.since_ns),
                holds,
            })
        };
        let actors: Vec<WaitEdge> = part.iter().filter_map(|&i| edge_of(i)).collect();
        let circle: Vec<String> = cycle.iter().filter_map(|&i| edge_of(i)).map(|e| in_words(&e)).collect();
        DeadlockReport { actors, class, detected_after_ms: age_ms(youngest), cycle: circle.join(" → ") }
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
