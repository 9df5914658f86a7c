//! Requests without an end, told apart.
//!
//! A stalled user is looked at twice, 100 ms apart. What the kernel says about the thread that polls it in between
//! tells a livelock (it wants the processor: time used plus time in the run queue) from a block (it does neither).
//! Counting the run queue matters on a busy machine, where a spinning thread may get only half a core.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::meter::{Schedstat, TaskSight, read_schedstat};
use super::registry::Actor;
use super::{ActorId, ResourceId, StallClass, StallReport, ThreadEvidence};

const BETWEEN_LOOKS_NS: u64 = 100_000_000;
/// Share of the time between looks that a spinning thread wants the processor.
const SPINNING_SHARE: f64 = 0.8;
/// Polls between looks from which a task counts as polled over and over.
const BUSY_POLLS: u64 = 1000;
/// Stalls reported at most.
const STALLS_MAX: usize = 1000;

#[derive(Debug)]
struct FirstLook {
    actor: ActorId,
    request: u64,
    at_ns: u64,
    sight: TaskSight,
    thread: Option<Schedstat>,
}

/// The stalls of one run.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    first: Vec<FirstLook>,
    found: Vec<(ActorId, u64, StallReport)>,
}

impl StallWatch {
    pub fn clear(&mut self) {
        self.first.clear();
        self.found.clear();
    }

    pub fn reports(&self) -> Vec<StallReport> {
        self.found.iter().map(|(_, _, r)| r.clone()).collect()
    }

    /// Looks at every user once.
    pub fn look(
        &mut self,
        users: &[Arc<Actor>],
        now_ns: u64,
        timeout: Duration,
        name_of: impl Fn(ResourceId) -> String,
    ) {
        let timeout_ns = timeout.as_nanos() as u64;
        for (id, request, report) in &mut self.found {
            if let Some(actor) = users.iter().find(|a| a.id == *id) {
                report.ended |= actor.request_since.load(Relaxed) != *request;
            }
        }
        for actor in users {
            let request = actor.request_since.load(Relaxed);
            let stalled = request != 0 && now_ns.saturating_sub(request) >= timeout_ns;
            if !stalled || self.found.len() >= STALLS_MAX || self.is_known(actor.id, request) {
                continue;
            }
            let sight = actor.probe.as_ref().map(|p| p.look()).unwrap_or_default();
            let place = self.first.iter().position(|f| f.actor == actor.id && f.request == request);
            match place {
                None => {
                    self.first.retain(|f| f.actor != actor.id);
                    let thread = thread_times(sight.thread);
                    self.first.push(FirstLook { actor: actor.id, request, at_ns: now_ns, sight, thread });
                }
                Some(i) if now_ns - self.first[i].at_ns >= BETWEEN_LOOKS_NS => {
                    let first = self.first.swap_remove(i);
                    let report = classify(actor, &first, sight, now_ns, &name_of);
                    self.found.push((actor.id, request, report));
                }
                Some(_) => {}
            }
        }
    }

    fn is_known(&self, actor: ActorId, request: u64) -> bool {
        self.found.iter().any(|(a, r, _)| *a == actor && *r == request)
    }
}

fn classify(
    actor: &Actor,
    first: &FirstLook,
    sight: TaskSight,
    now_ns: u64,
    name_of: &impl Fn(ResourceId) -> String,
) -> StallReport {
    let between = (now_ns - first.at_ns) as f64;
    let same_poll = sight.polled_since != 0 && sight.polls == first.sight.polls;
    let wanted_cpu = thread_times(sight.thread).zip(first.thread).map(|(now, then)| {
        let cpu = now.cpu_ns.saturating_sub(then.cpu_ns);
        (cpu, cpu + now.run_delay_ns.saturating_sub(then.run_delay_ns))
    });
    let waiting_on = actor.waits_for();
    let class = if same_poll {
        match wanted_cpu {
            Some((_, wanted)) if wanted as f64 >= SPINNING_SHARE * between => StallClass::Spinning,
            Some(_) => StallClass::Blocked,
            None => StallClass::Unknown,
        }
    } else if sight.polls - first.sight.polls >= BUSY_POLLS {
        StallClass::Spinning
    } else if waiting_on.is_some() {
        StallClass::Blocked
    } else if sight.woken_at != 0 && sight.woken_at == first.sight.woken_at {
        StallClass::Starved
    } else {
        StallClass::Unknown
    };
    let kernel = same_poll.then(|| evidence(sight.thread, wanted_cpu.map(|(cpu, _)| cpu)));
    StallReport {
        actor: actor.name.clone(),
        since_ms: now_ns.saturating_sub(first.request) as f64 / 1e6,
        class,
        waiting_on: waiting_on.map(name_of),
        kernel,
        ended: false,
    }
}

fn thread_times(thread: u64) -> Option<Schedstat> {
    let file = std::fs::File::open(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    read_schedstat(&file)
}

fn evidence(thread: u64, cpu_ns: Option<u64>) -> ThreadEvidence {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).ok()?;
        let text = text.trim();
        (!text.is_empty() && text != "0").then(|| text.to_owned())
    };
    ThreadEvidence {
        tid: thread,
        // The name may hold spaces and brackets; the state follows the last bracket.
        state: read("stat").and_then(|s| s.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())),
        wchan: read("wchan"),
        syscall: read("syscall"),
        cpu_delta_ms: cpu_ns.map(|ns| ns as f64 / 1e6),
    }
}
