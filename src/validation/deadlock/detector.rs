//! The deadlock detector. It registers actors and resources, and runs scans while waits are in progress.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::super::probe::{TaskProbe, thread_id};
use super::super::sync::lock;
use super::actor::{Actor, ActorId, Edge, ResourceId, Resources, Shared, entered};
use super::report::{DeadlockClass, DeadlockReport, StallReport};
use super::scan::Scan;
use super::stall::StallWatch;
use super::token::{HoldToken, WaitToken};

/// Minimum time between the two scans that must agree on a deadlock, in nanoseconds.
const AGREE_AFTER_NS: u64 = 20_000_000;
/// Time between two scans if the last scan found no possible deadlock. `SUSPICIOUS` is the time if it found one.
const CALM: Duration = Duration::from_millis(50);
const SUSPICIOUS: Duration = Duration::from_millis(25);
/// Maximum number of tasks and threads that stay registered although they neither wait nor hold.
const OTHERS_MAX: usize = 1024;

/// An actor that is not a user of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Other {
    Task(tokio::task::Id),
    Thread(u64),
}

struct Inner {
    timeout: Duration,
    shared: Arc<Shared>,
    next_id: AtomicU64,
    actors: RwLock<Vec<Arc<Actor>>>,
    others: Mutex<HashMap<Other, ActorId>>,
    resources: Resources,
    scan: Mutex<Scan>,
    reports: Mutex<Vec<DeadlockReport>>,
    stalls: Mutex<StallWatch>,
}

/// A detector that records waits and holds, and proves deadlocks. All clones share one state.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use heapledger::validation::{DeadlockDetector, TrackedMutex};
/// let detector = DeadlockDetector::new(Duration::from_secs(5));
/// let account = TrackedMutex::new("account", 100, &detector);
/// assert_eq!(account.try_lock().map(|money| *money), Some(100));
/// assert!(!detector.deadlock_detected());
/// ```
#[derive(Clone)]
pub struct DeadlockDetector {
    inner: Arc<Inner>,
}

impl fmt::Debug for DeadlockDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlockDetector")
            .field("timeout", &self.inner.timeout)
            .field("waiting", &self.inner.shared.waiting.load(Relaxed))
            .finish_non_exhaustive()
    }
}

impl DeadlockDetector {
    /// Creates a detector that reports a request as stalled after `deadlock_timeout` without progress.
    pub fn new(deadlock_timeout: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        shared.clock.start();
        Self {
            inner: Arc::new(Inner {
                timeout: deadlock_timeout,
                shared,
                next_id: AtomicU64::new(1),
                actors: RwLock::default(),
                others: Mutex::default(),
                resources: Resources::default(),
                scan: Mutex::default(),
                reports: Mutex::default(),
                stalls: Mutex::default(),
            }),
        }
    }

    /// Returns the time without progress after which a request is reported as stalled.
    pub fn timeout_duration(&self) -> Duration {
        self.inner.timeout
    }

    /// Whether a permanent deadlock was proved.
    pub fn deadlock_detected(&self) -> bool {
        self.permanent() > 0
    }

    fn permanent(&self) -> usize {
        lock(&self.inner.reports).iter().filter(|r| r.class == DeadlockClass::Permanent).count()
    }

    /// Returns the deadlocks found in the current run, at most 100.
    pub fn reports(&self) -> Vec<DeadlockReport> {
        lock(&self.inner.reports).clone()
    }

    /// Returns the stalled requests of the current run so far.
    pub fn stalls(&self) -> Vec<StallReport> {
        lock(&self.inner.stalls).reports()
    }

    /// Registers a resource of `capacity` units: 1 for a mutex, the number of permits for a pool or semaphore,
    /// `u32::MAX` for a readers-writer lock, whose writers take all units. The resource must serve its waiters in
    /// order.
    pub fn resource(&self, name: &str, capacity: u32) -> ResourceId {
        self.inner.resources.register(name, capacity)
    }

    /// Returns the current actor: the user whose request runs on this thread, else this task, else this thread.
    pub fn current_actor(&self) -> ActorId {
        self.current().id
    }

    /// Records that `actor` waits for `units` of `resource`, until `deadline` if there is one. Dropping the token
    /// abandons the wait; [`acquired`](Self::acquired) ends the wait with success.
    #[track_caller]
    pub fn waiting(
        &self,
        actor: ActorId,
        resource: ResourceId,
        units: u32,
        deadline: Option<Instant>,
    ) -> WaitToken {
        let actor = self.find(actor).unwrap_or_else(|| self.current());
        let wait = self.edge(resource, units, deadline.is_some(), Location::caller());
        WaitToken::new(actor, wait)
    }

    /// Converts a wait into a hold. Dropping the returned token releases the units.
    pub fn acquired(&self, token: WaitToken) -> HoldToken {
        token.into_hold()
    }

    /// Records that a request of `actor` was answered.
    pub fn progress(&self, actor: ActorId) {
        if let Some(actor) = self.find(actor) {
            actor.request_since.store(0, Relaxed);
        }
    }

    /// Scans once, without waiting for a second scan to agree, and returns the new deadlocks.
    pub fn scan_now(&self) -> Vec<DeadlockReport> {
        let known = lock(&self.inner.reports).len();
        self.scan(0);
        lock(&self.inner.reports)[known..].to_vec()
    }

    pub(in super::super) fn register_user(&self, user: usize, probe: Arc<TaskProbe>) -> Arc<Actor> {
        self.register(format!("user {user}"), Some(probe))
    }

    /// Removes the users of a finished run. A user that still waits or holds was abandoned, and stays registered.
    pub(in super::super) fn retire(&self, users: &[Arc<Actor>]) {
        self.actors_mut().retain(|a| !a.is_idle() || !users.iter().any(|u| u.id == a.id));
    }

    /// Makes room for a run, so that scans inside its window do not allocate.
    pub(in super::super) fn reserve(&self, users: usize) {
        lock(&self.inner.scan).reserve(users, &self.inner.resources);
    }

    /// Scans for deadlocks and stalls once. Returns the time until the next call and the number of permanent deadlocks.
    pub(in super::super) fn tick(&self, users: &[Arc<Actor>]) -> (Duration, usize) {
        let suspicious = self.inner.shared.waiting.load(Relaxed) > 0 && self.scan(AGREE_AFTER_NS);
        let name_of = |id| self.inner.resources.name(id);
        lock(&self.inner.stalls).observe(users, self.now_ns(), self.inner.timeout, name_of);
        (if suspicious { SUSPICIOUS } else { CALM }, self.permanent())
    }

    /// Removes the reports of earlier runs.
    pub(in super::super) fn clear_reports(&self) {
        lock(&self.inner.scan).clear();
        lock(&self.inner.reports).clear();
        lock(&self.inner.stalls).clear();
    }

    pub(in super::super) fn now_ns(&self) -> u64 {
        self.inner.shared.clock.now_ns()
    }

    /// Makes one wait fail. The wait is the youngest wait of all actors in reported deadlocks whose waits and holds
    /// have not changed since the report.
    pub(in super::super) fn fail_victims(&self) {
        let reported = lock(&self.inner.scan).reported.clone();
        let waits = reported.into_iter().filter_map(|(id, epoch)| {
            let actor = self.find(id)?;
            let edges = lock(&actor.edges);
            let since = edges.waits.iter().map(|w| w.since_ns).max().filter(|_| edges.epoch == epoch)?;
            drop(edges);
            Some((since, id, actor))
        });
        if let Some((.., actor)) = waits.max_by_key(|(since, id, _)| (*since, *id)) {
            actor.fail();
        }
    }

    pub(in super::super) fn hold_at(
        &self,
        resource: ResourceId,
        units: u32,
        at: &'static Location<'static>,
    ) -> HoldToken {
        let (id, since_ns) = (self.next_id(), self.now_ns());
        let hold = Edge { id, resource, units, at, since_ns, ticket: 0, has_deadline: false };
        HoldToken::new(self.current(), hold)
    }

    pub(in super::super) fn wait_at(
        &self,
        resource: ResourceId,
        units: u32,
        has_deadline: bool,
        at: &'static Location<'static>,
    ) -> WaitToken {
        WaitToken::new(self.current(), self.edge(resource, units, has_deadline, at))
    }

    fn edge(
        &self,
        resource: ResourceId,
        units: u32,
        has_deadline: bool,
        at: &'static Location<'static>,
    ) -> Edge {
        let (id, ticket) = (self.next_id(), self.inner.resources.ticket(resource));
        Edge { id, resource, units, at, since_ns: self.now_ns(), ticket, has_deadline }
    }

    fn scan(&self, agree_after_ns: u64) -> bool {
        let mut scan = lock(&self.inner.scan);
        let (actors, times) = (self.actors(), (self.now_ns(), agree_after_ns));
        scan.run(&actors, &self.inner.resources, times, &mut lock(&self.inner.reports))
    }

    fn next_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Relaxed)
    }

    fn actors(&self) -> RwLockReadGuard<'_, Vec<Arc<Actor>>> {
        self.inner.actors.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn actors_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Actor>>> {
        self.inner.actors.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, name: String, probe: Option<Arc<TaskProbe>>) -> Arc<Actor> {
        // The id is drawn under the write lock, so the list stays sorted.
        let mut actors = self.actors_mut();
        let actor = Actor::new(ActorId(self.next_id()), name, &self.inner.shared, probe);
        actors.push(Arc::clone(&actor));
        actor
    }

    fn find(&self, id: ActorId) -> Option<Arc<Actor>> {
        let actors = self.actors();
        actors.binary_search_by_key(&id, |a| a.id).ok().map(|i| Arc::clone(&actors[i]))
    }

    fn current(&self) -> Arc<Actor> {
        let user = entered().filter(|actor| Arc::ptr_eq(&actor.shared, &self.inner.shared));
        user.unwrap_or_else(|| self.other())
    }

    /// Returns the actor of the current task or thread.
    fn other(&self) -> Arc<Actor> {
        let (key, name) = match tokio::task::try_id() {
            Some(id) => (Other::Task(id), format!("task {id}")),
            None => (Other::Thread(thread_id()), format!("thread {}", thread_id())),
        };
        let mut others = lock(&self.inner.others);
        if let Some(actor) = others.get(&key).and_then(|&id| self.find(id)) {
            return actor;
        }
        if others.len() >= OTHERS_MAX {
            let mut actors = self.actors_mut();
            actors.retain(|a| a.probe.is_some() || !a.is_idle());
            others.retain(|_, id| actors.binary_search_by_key(id, |a| a.id).is_ok());
        }
        let actor = self.register(name, None);
        others.insert(key, actor.id);
        actor
    }
}
