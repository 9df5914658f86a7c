//! Tokens for a wait under way and for units held. Dropping one is what ends the wait or the hold.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::WouldDeadlock;
use super::registry::{Actor, DeadlockDetector, Held, lock};

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
    pub(super) const fn new(detector: DeadlockDetector, actor: Arc<Actor>, id: u64) -> Self {
        Self { detector: Some(detector), actor, id }
    }

    /// Resolves with the error when this wait is chosen to break a deadlock, and never otherwise.
    pub async fn chosen_as_victim(&self) -> WouldDeadlock {
        self.actor.condemned().await;
        WouldDeadlock
    }

    pub(super) fn into_hold(mut self) -> HoldToken {
        let detector = self.detector.take();
        let now_ns = detector.as_ref().map_or(0, DeadlockDetector::now_ns);
        let mut edges = lock(&self.actor.edges);
        if let Some(place) = edges.waits.iter().position(|w| w.id == self.id) {
            let w = edges.waits.remove(place);
            edges.epoch += 1;
            edges.holds.push(Held {
                id: w.id,
                resource: w.resource,
                units: w.units,
                at: w.at,
                since_ns: now_ns,
            });
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

impl HoldToken {
    pub(super) const fn new(actor: Arc<Actor>, id: u64) -> Self {
        Self { actor, id }
    }
}

impl Drop for HoldToken {
    fn drop(&mut self) {
        let mut edges = lock(&self.actor.edges);
        edges.holds.retain(|h| h.id != self.id);
        edges.epoch += 1;
    }
}
