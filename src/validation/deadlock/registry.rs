//! The books of the detector: actors, resources, tokens, and the scan.
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
use super::graph::{ActorNode, Snapshot, WaitNode};
use super::stall::StallWatch;
use super::{
    ActorId, DeadlockClass, DeadlockReport, Hold, ResourceId, StallReport, WaitEdge, WouldDeadlock,
};

/// No wait shorter than this starts a scan.
const PATIENCE_NS: u64 = 25_000_000;
/// Two scans this far apart must agree.
const AGREE_AFTER_NS: u64 = 20_000_000;
/// Time between looks while nothing is suspected, and while something is.
const CALM: Duration = Duration::from_millis(50);
const SUSPICIOUS: Duration = Duration::from_millis(25);
/// Tasks and threads remembered before those that neither wait nor hold are forgotten.
const STRANGERS_MAX: usize = 1024;
/// Waits and holds of one actor that need no allocation.
const USUAL_EDGES: usize = 8;
/// Reports kept.
const REPORTS_MAX: usize = 100;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of the system under test while it drops a guard must not blind the detector.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    id: u64,
    resource: ResourceId,
    units: u32,
    at: &'static Location<'static>,
    since_ns: u64,
    ticket: u64,
    has_deadline: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    id: u64,
    resource: ResourceId,
    units: u32,
    at: &'static Location<'static>,
    since_ns: u64,
}

#[derive(Debug)]
struct Edges {
    epoch: u64,
    waits: Vec<Wait>,
    holds: Vec<Held>,
}

/// A user, a task or a thread.
#[derive(Debug)]
pub(in super::super) struct Actor {
    pub id: ActorId,
    detector: u64,
    pub name: String,
    edges: Mutex<Edges>,
    victim: AtomicBool,
    notify: Notify,
    /// What can be seen of a user's task; strangers have none.
    pub probe: Option<Arc<TaskProbe>>,
    /// When the request under way began, plus one; 0 when there is none.
    pub request_since: AtomicU64,
}

impl Actor {
    /// Resolves when this actor's wait was chosen to fail.
    async fn condemned(&self) {
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
struct Resource {
    name: String,
    capacity: u32,
    next_ticket: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stranger {
    Task(tokio::task::Id),
    Thread(u64),
}

/// Buffers of a scan, kept so that scanning a contended run does not allocate.
#[derive(Debug, Default)]
struct Scratch {
    snapshot: Snapshot,
    actors: Vec<(ActorId, u64)>,
    resources: Vec<ResourceId>,
    spare: Vec<ActorNode>,
    free: Vec<i64>,
    stuck: Vec<usize>,
    /// Suspects of the scan before: actor, epoch, and when it was first suspected.
    suspects: Vec<(ActorId, u64, u64)>,
    next_suspects: Vec<(ActorId, u64, u64)>,
    reported: Vec<(ActorId, u64)>,
}

struct Inner {
    uid: u64,
    timeout: Duration,
    clock: RunClock,
    next_id: AtomicU64,
    actors: RwLock<Vec<Arc<Actor>>>,
    strangers: Mutex<HashMap<Stranger, ActorId>>,
    resources: RwLock<Vec<Arc<Resource>>>,
    waiting: AtomicUsize,
    scratch: Mutex<Scratch>,
    reports: Mutex<Vec<DeadlockReport>>,
    stalls: Mutex<StallWatch>,
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
    inner: Arc<Inner>,
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
        resources.push(Arc::new(Resource { name: name.to_owned(), capacity, next_ticket: AtomicU64::new(0) }));
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
        s.spare.extend((0..users + 16).map(|_| ActorNode { waits: Vec::with_capacity(USUAL_EDGES), holds: edges() }));
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
        HoldToken { actor, id }
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
        WaitToken { detector: Some(self.clone()), actor, id }
    }

    fn next_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Relaxed)
    }

    fn with_resource<R>(&self, id: ResourceId, f: impl FnOnce(&Resource) -> R) -> Option<R> {
        let resources = self.inner.resources.read().unwrap_or_else(PoisonError::into_inner);
        resources.get(id.0 as usize).map(|r| f(r))
    }

    fn resource_name(&self, id: ResourceId) -> String {
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

    fn find(&self, id: ActorId) -> Option<Arc<Actor>> {
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

    /// Scans; findings younger than `agree_after_ns` stay suspects. Gives whether there are any.
    fn scan(&self, agree_after_ns: u64) -> bool {
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

/// A wait under way.
#[derive(Debug)]
#[must_use = "dropping the token says that the wait was given up"]
pub struct WaitToken {
    /// Taken when the wait was answered.
    detector: Option<DeadlockDetector>,
    actor: Arc<Actor>,
    id: u64,
}

impl WaitToken {
    /// Resolves with the error when this wait is chosen to break a deadlock, and never otherwise.
    pub async fn chosen_as_victim(&self) -> WouldDeadlock {
        self.actor.condemned().await;
        WouldDeadlock
    }

    pub(in super::super) fn into_hold(mut self) -> HoldToken {
        let detector = self.detector.take();
        let now_ns = detector.as_ref().map_or(0, DeadlockDetector::now_ns);
        let mut edges = lock(&self.actor.edges);
        if let Some(place) = edges.waits.iter().position(|w| w.id == self.id) {
            let w = edges.waits.remove(place);
            edges.epoch += 1;
            edges.holds.push(Held { id: w.id, resource: w.resource, units: w.units, at: w.at, since_ns: now_ns });
        }
        drop(edges);
        if let Some(d) = detector {
            d.inner.waiting.fetch_sub(1, Relaxed);
        }
        HoldToken { actor: Arc::clone(&self.actor), id: self.id }
    }
}

impl Drop for WaitToken {
    fn drop(&mut self) {
        let Some(detector) = self.detector.take() else { return };
        let mut edges = lock(&self.actor.edges);
        edges.waits.retain(|w| w.id != self.id);
        edges.epoch += 1;
        drop(edges);
        detector.inner.waiting.fetch_sub(1, Relaxed);
    }
}

/// Units held. It may be dropped by another task or thread than the one that acquired them.
#[derive(Debug)]
#[must_use = "dropping the token says that the units were released"]
pub struct HoldToken {
    actor: Arc<Actor>,
    id: u64,
}

impl Drop for HoldToken {
    fn drop(&mut self) {
        let mut edges = lock(&self.actor.edges);
        edges.holds.retain(|h| h.id != self.id);
        edges.epoch += 1;
    }
}
