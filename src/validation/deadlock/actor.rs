//! Actors (users, tasks and threads) with their waits and holds, and the resources that they share.
//!
//! Each actor stores its waits and holds under a separate lock, for which only a scan of the detector contends. A
//! resource only issues tickets, the places in its queue. So watching adds no lock that users share.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::super::clock::RunClock;
use super::super::probe::TaskProbe;
use super::super::sync::lock;

/// Number of waits, and of holds, up to which an actor never allocates.
pub(super) const USUAL_EDGES: usize = 8;

/// The number of an actor within its detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId(pub u64);

/// The number of a resource within its detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceId(pub u64);

/// A wait of an actor for units of a resource, or a hold of units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub id: u64,
    pub resource: ResourceId,
    pub units: u32,
    pub at: &'static Location<'static>,
    pub since_ns: u64,
    /// Place in the queue of the resource.
    pub ticket: u64,
    pub has_deadline: bool,
}

#[derive(Debug)]
pub(super) struct Edges {
    /// Number of changes of the waits and holds so far.
    pub epoch: u64,
    pub waits: Vec<Edge>,
    pub holds: Vec<Edge>,
}

impl Edges {
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.holds.is_empty()
    }
}

/// The state that a detector shares with its actors.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub clock: RunClock,
    /// Number of waits in progress.
    pub waiting: AtomicUsize,
}

/// An actor: a user, a task or a thread.
#[derive(Debug)]
pub(in super::super) struct Actor {
    pub id: ActorId,
    pub name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) edges: Mutex<Edges>,
    victim: AtomicBool,
    notify: Notify,
    /// State of a user's task; `None` for other actors.
    pub probe: Option<Arc<TaskProbe>>,
    /// Start of the current request in nanoseconds, at least 1; 0 without a request.
    pub request_since: AtomicU64,
}

impl Actor {
    pub(super) fn new(
        id: ActorId,
        name: String,
        shared: &Arc<Shared>,
        probe: Option<Arc<TaskProbe>>,
    ) -> Arc<Self> {
        let room = || Vec::with_capacity(USUAL_EDGES);
        Arc::new(Self {
            id,
            name,
            shared: Arc::clone(shared),
            edges: Mutex::new(Edges { epoch: 0, waits: room(), holds: room() }),
            victim: AtomicBool::new(false),
            notify: Notify::new(),
            probe,
            request_since: AtomicU64::new(0),
        })
    }

    /// Changes the waits and holds, and increments the epoch.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Edges) -> R) -> R {
        let mut edges = lock(&self.edges);
        edges.epoch += 1;
        change(&mut edges)
    }

    pub(super) fn begin_wait(&self, wait: Edge) {
        self.victim.store(false, Relaxed);
        self.change(|edges| edges.waits.push(wait));
        self.shared.waiting.fetch_add(1, Relaxed);
    }

    /// Makes the current wait fail, to break a deadlock.
    pub(super) fn fail(&self) {
        self.victim.store(true, Relaxed);
        self.notify.notify_one();
    }

    /// Resolves when the wait of this actor was chosen to fail.
    pub(super) async fn failed(&self) {
        while !self.victim.swap(false, Relaxed) {
            self.notify.notified().await;
        }
    }

    pub fn waits_for(&self) -> Option<ResourceId> {
        lock(&self.edges).waits.first().map(|w| w.resource)
    }

    pub(super) fn is_idle(&self) -> bool {
        lock(&self.edges).is_empty()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Actor>>> = const { RefCell::new(None) };
}

/// A guard that makes an actor the current actor of this thread until the guard is dropped.
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

/// Returns the user whose request runs on this thread.
pub(in super::super) fn entered() -> Option<Arc<Actor>> {
    CURRENT.try_with(|c| c.borrow().clone()).ok().flatten()
}

#[derive(Debug)]
struct Resource {
    name: String,
    capacity: u32,
    next_ticket: AtomicU64,
}

/// The registered resources of a detector.
#[derive(Debug, Default)]
pub(super) struct Resources(RwLock<Vec<Resource>>);

impl Resources {
    pub fn register(&self, name: &str, capacity: u32) -> ResourceId {
        let mut resources = self.0.write().unwrap_or_else(PoisonError::into_inner);
        resources.push(Resource { name: name.to_owned(), capacity, next_ticket: AtomicU64::new(0) });
        ResourceId(resources.len() as u64 - 1)
    }

    fn with<R>(&self, id: ResourceId, read: impl FnOnce(&Resource) -> R) -> Option<R> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id.0 as usize).map(read)
    }

    /// Issues the next place in the queue of a resource.
    pub fn ticket(&self, id: ResourceId) -> u64 {
        self.with(id, |r| r.next_ticket.fetch_add(1, Relaxed)).unwrap_or(0)
    }

    /// Replaces the contents of `into` with the capacity of each resource, in the order of their numbers.
    pub fn capacities(&self, into: &mut Vec<u32>) {
        into.clear();
        into.extend(self.0.read().unwrap_or_else(PoisonError::into_inner).iter().map(|r| r.capacity));
    }

    pub fn name(&self, id: ResourceId) -> String {
        self.with(id, |r| r.name.clone()).unwrap_or_else(|| format!("resource {}", id.0))
    }
}
