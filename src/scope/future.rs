//! A future that is polled in a scope.
//!
//! Invariant **F1**: the future of a pinned `Scoped` is never moved.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::named::Scope;

/// A future that enters a scope at each poll. See [`Scope::wrap`].
#[must_use = "a future does nothing unless it is polled"]
#[derive(Debug)]
pub struct Scoped<F> {
    scope: Scope,
    future: F,
}

impl Scope {
    /// Returns a future that enters the scope before each poll, and leaves the scope after the poll.
    pub fn wrap<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped { scope: *self, future }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let scope = self.scope;
        let _entered = scope.enter();
        // SAFETY: F1, `future` is pinned with `self`: nothing moves out of it, `Scoped` has no `Drop`, and it is
        // `Unpin` only if the future is.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }.poll(context)
    }
}
