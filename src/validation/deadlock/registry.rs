//! The books of the detector: actors and resources.
//!
//! A wait or a hold is written into its actor's own slot, under a lock that nobody else takes but a scan; resources
//! only hand out tickets. So watching costs the watched no shared lock, and the graph is built only when somebody has
//! been waiting for a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::clock::RunClock;
use super::super::meter::{TaskProbe, thread_id};
use super::graph::ActorNode;
use super::scan::Scratch;
use super::stall::StallWatch;
use super::token::{HoldToken, WaitToken};
use super::{ActorId, DeadlockClass, DeadlockReport, ResourceId, StallReport};

/// No wait shorter than this starts a scan.
pub(super) const PATIENCE_NS: u64 = 25_000_000;
/// Two scans this far apart must agree.
const AGREE_AFTER_NS: u64 = 20_000_000;
/// Time between looks while nothing is suspected, and while something is.
const CALM: Duration = Duration::from_millis(50);
const SUSPICIOUS: Duration = Duration::from_millis(25);
/// Tasks and threads remembered before those that neither wait nor hold are forgotten.
const STRANGERS_MAX: usize = 1024;
/// Waits and holds of one actor that need no allocation.
const USUAL_EDGES: usize = 8;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of the system under test while it drops a guard must not blind the detector.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub id: u64,
    pub resource: ResourceId,
    pub units: u32,
    pub at: &'static Location<'static>,
    pub since_ns: u64,
    pub ticket: u64,
    pub has_deadline: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub id: u64,
    pub resource: ResourceId,
    pub units: u32,
    pub at: &'static Location<'static>,
    pub since_ns: u64,
}

#[derive(Debug)]
pub(super) struct Edges {
    pub epoch: u64,
    pub waits: Vec<Wait>,
    pub holds: Vec<Held>,
}

/// A user, a task or a thread.
#[derive(Debug)]
pub(in super::super) struct Actor {
    pub id: ActorId,
    detector: u64,
    pub name: String,
    pub(super) edges: Mutex<Edges>,
    victim: AtomicBool,
    notify: Notify,
    /// What can be seen of a user's task; strangers have none.
    pub probe: Option<Arc<TaskProbe>>,
    /// When the request under way began, plus one; 0 when there is none.
    pub request_since: AtomicU64,
}

impl Actor {
    /// Resolves when this actor's wait was chosen to fail.
    pub(super) async fn condemned(&self) {
        loop {
            if self.victim.swap(false, Relaxed) {
                return;
            }
            self.notify.notified().await;
        }
    }

    pub fn waits_for(&self) -> Option<ResourceId> {
        lock(&self.edges).waits.first().map(|w| w.resource)
    }

    fn is_idle(&self) -> bool {
        let edges = lock(&self.edges);
        edges.waits.is_empty() && edges.holds.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Resource {
    pub name: String,
    pub capacity: u32,
    pub next_ticket: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stranger {
    Task(tokio::task::Id),
    Thread(u64),
}

pub(super) struct Inner {
    pub uid: u64,
    pub timeout: Duration,
    pub clock: RunClock,
    pub next_id: AtomicU64,
    pub actors: RwLock<Vec<Arc<Actor>>>,
    strangers: Mutex<HashMap<Stranger, ActorId>>,
    pub resources: RwLock<Vec<Arc<Resource>>>,
    pub waiting: AtomicUsize,
    pub scratch: Mutex<Scratch>,
    pub reports: Mutex<Vec<DeadlockReport>>,
    pub stalls: Mutex<StallWatch>,
}

/// Watches who waits for whom. Clones share one set of books.
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
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for DeadlockDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlockDetector")
            .field("timeout", &self.inner.timeout)
            .field("waiting", &self.inner.waiting.load(Relaxed))
            .finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Actor>>> = const { RefCell::new(None) };
}

/// Says who acts on this thread until it is dropped.
pub(in super::super) struct Entered(Option<Arc<Actor>>);

pub(in super::super) fn enter(actor: &Arc<Actor>) -> Entered {
    let before = CURRENT.try_with(|c| c.replace(Some(Arc::clone(actor)))).ok().flatten();
    Entered(before)
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|c| c.replace(self.0.take()));
    }
}

impl DeadlockDetector {
    /// A detector that calls a request stalled after `deadlock_timeout` without progress.
    pub fn new(deadlock_timeout: Duration) -> Self {
        static UIDS: AtomicU64 = AtomicU64::new(1);
        let clock = RunClock::new();
        clock.start();
        Self {
            inner: Arc::new(Inner {
                uid: UIDS.fetch_add(1, Relaxed),
                timeout: deadlock_timeout,
                clock,
                next_id: AtomicU64::new(1),
                actors: RwLock::default(),
                strangers: Mutex::default(),
                resources: RwLock::default(),
                waiting: AtomicUsize::new(0),
                scratch: Mutex::default(),
                reports: Mutex::default(),
                stalls: Mutex::new(StallWatch::default()),
            }),
        }
    }

    /// After how long without progress a request is called stalled.
    pub fn timeout_duration(&self) -> Duration {
        self.inner.timeout
    }

    /// Whether a permanent deadlock was proved.
    pub fn deadlock_detected(&self) -> bool {
        lock(&self.inner.reports).iter().any(|r| r.class == DeadlockClass::Permanent)
    }

    /// All deadlocks found so far, at most 100.
    pub fn reports(&self) -> Vec<DeadlockReport> {
        lock(&self.inner.reports).clone()
    }

    /// All stalls found so far.
    pub fn stalls(&self) -> Vec<StallReport> {
        lock(&self.inner.stalls).reports()
    }

    /// Registers a resource: 1 unit for a mutex, the size for a pool or semaphore, `u32::MAX` for a readers-writer
    /// lock whose writers take all units. Waiters are taken to be served in order.
    pub fn resource(&self, name: &str, capacity: u32) -> ResourceId {
        let mut resources = self.inner.resources.write().unwrap_or_else(PoisonError::into_inner);
        resources.push(Arc::new(Resource {
            name: name.to_owned(),
            capacity,
            next_ticket: AtomicU64::new(0),
        }));
        ResourceId(resources.len() as u64 - 1)
    }

    /// Who is asking: the user whose request runs here, else this task, else this thread.
    pub fn current_actor(&self) -> ActorId {
        self.current().id
    }

    /// Notes that `actor` waits for `units` of `resource`, until `deadline` at most. Dropping the token says that it
    /// gave up; [`acquired`](Self::acquired) that it got them.
    #[track_caller]
    pub fn waiting(
        &self,
        actor: ActorId,
        resource: ResourceId,
        units: u32,
        deadline: Option<Instant>,
    ) -> WaitToken {
        let actor = self.find(actor).unwrap_or_else(|| self.current());
        self.wait_of(actor, resource, units, deadline.is_some(), Location::caller())
    }

    /// Notes that the wait has been answered. Dropping the token it gives says that the units were released.
    pub fn acquired(&self, token: WaitToken) -> HoldToken {
        token.into_hold()
    }

    /// Notes that a request of `actor` was answered.
    pub fn progress(&self, actor: ActorId) {
        if let Some(actor) = self.find(actor) {
            actor.request_since.store(0, Relaxed);
        }
    }

    /// Looks now, without waiting for a second scan, and gives what is new.
    pub fn scan_now(&self) -> Vec<DeadlockReport> {
        let known = lock(&self.inner.reports).len();
        self.scan(0);
        lock(&self.inner.reports)[known..].to_vec()
    }

    pub(in super::super) fn register_user(&self, user: usize, probe: Arc<TaskProbe>) -> Arc<Actor> {
        self.register(format!("user {user}"), Some(probe))
    }

    /// Forgets the users of a run that is over. One that still waits or holds is abandoned, and stays in the books.
    pub(in super::super) fn retire(&self, users: &[Arc<Actor>]) {
        let mut actors = self.inner.actors.write().unwrap_or_else(PoisonError::into_inner);
        actors.retain(|a| !a.is_idle() || !users.iter().any(|u| u.id == a.id));
    }

    /// Makes room for a run, so that scans inside its window need not allocate.
    pub(in super::super) fn reserve(&self, users: usize) {
        let mut s = lock(&self.inner.scratch);
        let edges = || Vec::with_capacity(USUAL_EDGES);
        s.spare.extend(
            (0..users + 16).map(|_| ActorNode { waits: Vec::with_capacity(USUAL_EDGES), holds: edges() }),
        );
        let room = users + 64;
        s.snapshot.actors.reserve(room);
        s.snapshot.capacities.reserve(room);
        s.actors.reserve(room);
        s.resources.reserve(room);
        s.free.reserve(room);
        s.stuck.reserve(room);
        s.suspects.reserve(room);
        s.next_suspects.reserve(room);
    }

    /// One look of the watchdog. Gives the time until the next one and how many deadlocks are known.
    pub(in super::super) fn tick(&self, users: &[Arc<Actor>]) -> (Duration, usize) {
        let suspicious = self.inner.waiting.load(Relaxed) > 0 && self.scan(AGREE_AFTER_NS);
        let now_ns = self.now_ns();
        lock(&self.inner.stalls).look(users, now_ns, self.inner.timeout, |id| self.resource_name(id));
        let known = lock(&self.inner.reports).iter().filter(|r| r.class == DeadlockClass::Permanent).count();
        (if suspicious { SUSPICIOUS } else { CALM }, known)
    }

    /// Forgets the reports of earlier runs.
    pub(in super::super) fn clear_reports(&self) {
        let mut s = lock(&self.inner.scratch);
        s.reported.clear();
        s.suspects.clear();
        drop(s);
        lock(&self.inner.reports).clear();
        lock(&self.inner.stalls).clear();
    }

    pub(in super::super) fn now_ns(&self) -> u64 {
        self.inner.clock.now_ns()
    }

    /// Fails the youngest wait of the deadlocks that are known and still there.
    pub(in super::super) fn fail_victims(&self) {
        let s = lock(&self.inner.scratch);
        let mut waits: Vec<(u64, Arc<Actor>)> = Vec::new();
        for &(id, epoch) in &s.reported {
            let Some(actor) = self.find(id) else { continue };
            let edges = lock(&actor.edges);
            let since = edges.waits.iter().map(|w| w.since_ns).max();
            let current = edges.epoch == epoch;
            drop(edges);
            if let (true, Some(since)) = (current, since) {
                waits.push((since, actor));
            }
        }
        if let Some((_, actor)) = waits.into_iter().max_by_key(|(since, actor)| (*since, actor.id)) {
            actor.victim.store(true, Relaxed);
            actor.notify.notify_one();
        }
    }

    #[track_caller]
    pub(in super::super) fn hold_now(&self, resource: ResourceId, units: u32) -> HoldToken {
        self.hold_at(resource, units, Location::caller())
    }

    pub(in super::super) fn hold_at(
        &self,
        resource: ResourceId,
        units: u32,
        at: &'static Location<'static>,
    ) -> HoldToken {
        let actor = self.current();
        let id = self.next_id();
        let mut edges = lock(&actor.edges);
        edges.epoch += 1;
        edges.holds.push(Held { id, resource, units, at, since_ns: self.now_ns() });
        drop(edges);
        HoldToken::new(actor, id)
    }

    pub(in super::super) fn wait_here(
        &self,
        resource: ResourceId,
        units: u32,
        has_deadline: bool,
        at: &'static Location<'static>,
    ) -> WaitToken {
        self.wait_of(self.current(), resource, units, has_deadline, at)
    }

    fn wait_of(
        &self,
        actor: Arc<Actor>,
        resource: ResourceId,
        units: u32,
        has_deadline: bool,
        at: &'static Location<'static>,
    ) -> WaitToken {
        let id = self.next_id();
        let ticket = self.with_resource(resource, |r| r.next_ticket.fetch_add(1, Relaxed)).unwrap_or(id);
        actor.victim.store(false, Relaxed);
        let mut edges = lock(&actor.edges);
        edges.epoch += 1;
        edges.waits.push(Wait { id, resource, units, at, since_ns: self.now_ns(), ticket, has_deadline });
        drop(edges);
        self.inner.waiting.fetch_add(1, Relaxed);
        WaitToken::new(self.clone(), actor, id)
    }

    fn next_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Relaxed)
    }

    pub(super) fn with_resource<R>(&self, id: ResourceId, f: impl FnOnce(&Resource) -> R) -> Option<R> {
        let resources = self.inner.resources.read().unwrap_or_else(PoisonError::into_inner);
        resources.get(id.0 as usize).map(|r| f(r))
    }

    pub(super) fn resource_name(&self, id: ResourceId) -> String {
        self.with_resource(id, |r| r.name.clone()).unwrap_or_else(|| format!("resource {}", id.0))
    }

    fn register(&self, name: String, probe: Option<Arc<TaskProbe>>) -> Arc<Actor> {
        let mut actors = self.inner.actors.write().unwrap_or_else(PoisonError::into_inner);
        let actor = Arc::new(Actor {
            id: ActorId(self.next_id()),
            detector: self.inner.uid,
            name,
            edges: Mutex::new(Edges {
                epoch: 0,
                waits: Vec::with_capacity(USUAL_EDGES),
                holds: Vec::with_capacity(USUAL_EDGES),
            }),
            victim: AtomicBool::new(false),
            notify: Notify::new(),
            probe,
            request_since: AtomicU64::new(0),
        });
        // Numbers are drawn under the write lock, so the list stays sorted.
        actors.push(Arc::clone(&actor));
        actor
    }

    pub(super) fn find(&self, id: ActorId) -> Option<Arc<Actor>> {
        let actors = self.inner.actors.read().unwrap_or_else(PoisonError::into_inner);
        actors.binary_search_by_key(&id, |a| a.id).ok().map(|i| Arc::clone(&actors[i]))
    }

    fn current(&self) -> Arc<Actor> {
        let user = CURRENT.try_with(|c| c.borrow().clone()).ok().flatten();
        match user {
            Some(actor) if actor.detector == self.inner.uid => actor,
            _ => self.stranger(),
        }
    }

    fn stranger(&self) -> Arc<Actor> {
        let (key, name) = match tokio::task::try_id() {
            Some(id) => (Stranger::Task(id), format!("task {id}")),
            None => {
                let id = thread_id();
                (Stranger::Thread(id), format!("thread {id}"))
            }
        };
        let mut strangers = lock(&self.inner.strangers);
        if let Some(actor) = strangers.get(&key).and_then(|&id| self.find(id)) {
            return actor;
        }
        if strangers.len() >= STRANGERS_MAX {
            let mut actors = self.inner.actors.write().unwrap_or_else(PoisonError::into_inner);
            actors.retain(|a| a.probe.is_some() || !a.is_idle());
            strangers.retain(|_, id| actors.binary_search_by_key(id, |a| a.id).is_ok());
        }
        let actor = self.register(name, None);
        strangers.insert(key, actor.id);
        actor
    }
}
