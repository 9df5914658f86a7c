//! Tokens for a wait in progress and for units held. Dropping a token ends the wait or the hold.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::actor::{Actor, Edge};
use super::report::WouldDeadlock;

/// The token of a wait in progress.
#[derive(Debug)]
#[must_use = "dropping the token abandons the wait"]
pub struct WaitToken {
    actor: Arc<Actor>,
    /// Number of the wait; `None` once the wait has become a hold.
    id: Option<u64>,
}

impl WaitToken {
    pub(super) fn new(actor: Arc<Actor>, wait: Edge) -> Self {
        actor.begin_wait(wait);
        Self { actor, id: Some(wait.id) }
    }

    /// Resolves with the error if this wait is chosen to break a deadlock; never resolves otherwise.
    pub async fn chosen_as_victim(&self) -> WouldDeadlock {
        self.actor.failed().await;
        WouldDeadlock
    }

    pub(in super::super) fn into_hold(mut self) -> HoldToken {
        let (actor, id) = (Arc::clone(&self.actor), self.id.take().unwrap_or_default());
        let since_ns = actor.shared.clock.now_ns();
        actor.change(|edges| {
            if let Some(place) = edges.waits.iter().position(|w| w.id == id) {
                let wait = edges.waits.remove(place);
                edges.holds.push(Edge { since_ns, ..wait });
            }
        });
        actor.shared.waiting.fetch_sub(1, Relaxed);
        HoldToken { actor, id }
    }
}

impl Drop for WaitToken {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.actor.change(|edges| edges.waits.retain(|w| w.id != id));
            self.actor.shared.waiting.fetch_sub(1, Relaxed);
        }
    }
}

/// The token of units held. Any task or thread may drop the token.
#[derive(Debug)]
#[must_use = "dropping the token releases the units"]
pub struct HoldToken {
    actor: Arc<Actor>,
    id: u64,
}

impl HoldToken {
    pub(super) fn new(actor: Arc<Actor>, hold: Edge) -> Self {
        actor.change(|edges| edges.holds.push(hold));
        Self { actor, id: hold.id }
    }
}

impl Drop for HoldToken {
    fn drop(&mut self) {
        self.actor.change(|edges| edges.holds.retain(|h| h.id != self.id));
    }
}
