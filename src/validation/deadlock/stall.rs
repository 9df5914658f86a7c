//! Classification of stalled requests.
//!
//! A stalled user is observed twice, at an interval of 100 ms. The kernel's figures for the thread that polls the user
//! show whether the stall is a livelock. In a livelock the thread wants the processor (time used plus time in the run
//! queue). The run queue counts, because on a busy machine a spinning thread may get only half a core.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::probe::{Schedstat, TaskState, read_schedstat};
use super::actor::{Actor, ActorId, ResourceId};
use super::report::{StallClass, StallReport, ThreadEvidence};

const BETWEEN_NS: u64 = 100_000_000;
/// A thread counts as spinning if it wants the processor for at least this share of the time between two observations.
const SPINNING_SHARE: f64 = 0.8;
/// A task counts as spinning if it is polled at least this often between two observations.
const BUSY_POLLS: u64 = 1000;
/// Maximum number of reported stalls.
const STALLS_MAX: usize = 1000;

#[derive(Debug)]
struct FirstObservation {
    actor: ActorId,
    request: u64,
    at_ns: u64,
    state: TaskState,
    thread: Option<Schedstat>,
}

/// The stalls of one run.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    first: Vec<FirstObservation>,
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

    /// Observes every user once, and reports the users that were stalled at two observations.
    pub fn observe(
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
            let state = actor.probe.as_ref().map(|p| p.state()).unwrap_or_default();
            let place = self.first.iter().position(|f| f.actor == actor.id && f.request == request);
            match place {
                None => {
                    self.first.retain(|f| f.actor != actor.id);
                    let thread = thread_times(state.thread);
                    self.first.push(FirstObservation {
                        actor: actor.id,
                        request,
                        at_ns: now_ns,
                        state,
                        thread,
                    });
                }
                Some(i) if now_ns - self.first[i].at_ns >= BETWEEN_NS => {
                    let first = self.first.swap_remove(i);
                    let report = classify(actor, &first, state, now_ns, &name_of);
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
    first: &FirstObservation,
    state: TaskState,
    now_ns: u64,
    name_of: &impl Fn(ResourceId) -> String,
) -> StallReport {
    let between = (now_ns - first.at_ns) as f64;
    let same_poll = state.polled_since != 0 && state.polls == first.state.polls;
    let wanted_cpu = thread_times(state.thread).zip(first.thread).map(|(now, then)| {
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
    } else if state.polls - first.state.polls >= BUSY_POLLS {
        StallClass::Spinning
    } else if waiting_on.is_some() {
        StallClass::Blocked
    } else if state.woken_at != 0 && state.woken_at == first.state.woken_at {
        StallClass::Starved
    } else {
        StallClass::Unknown
    };
    let kernel = same_poll.then(|| evidence(state.thread, wanted_cpu.map(|(cpu, _)| cpu)));
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
        // The name of the thread may hold spaces and brackets; the state follows the last closing bracket.
        state: read("stat").and_then(|s| s.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())),
        wchan: read("wchan"),
        syscall: read("syscall"),
        cpu_delta_ms: cpu_ns.map(|ns| ns as f64 / 1e6),
    }
}
