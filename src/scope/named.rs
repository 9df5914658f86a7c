//! A scope, the guard that keeps a thread in a scope, and the token with which other threads enter a scope.

use std::marker::PhantomData;

use super::usage::{self, SiteUsage, Usage};
use crate::recorder::scopes::{self, Entry, Named};

/// A named part of the program's work. See the [module](crate::scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    named: Named,
}

impl Scope {
    /// Returns the scope with this name; the first call with a name creates the scope. If a name is longer than 120
    /// bytes, reports show its last 120 bytes.
    ///
    /// Without an installed [`HeapLedger`](crate::HeapLedger) the scope has no effect, and its figures are zero. The
    /// same holds for a scope that is created before the first event of the process. With an installed allocator, the
    /// first event happens before `main`.
    pub fn named(name: &str) -> Scope {
        Scope { named: scopes::named(name.as_bytes()) }
    }

    /// Enters the scope: blocks that the thread allocates until the guard is dropped belong to the scope.
    #[inline]
    pub fn enter(&self) -> Entered {
        let entry = match scopes::enter(&self.named) {
            Some(entry) => entry,
            None => scopes::enter_elsewhere(&self.named),
        };
        Entered { entry, token: None, not_send: PhantomData }
    }

    /// Runs `work` in the scope.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        work()
    }

    /// Returns a token for other threads. A thread that enters the token enters this scope, nested in the scope in
    /// which the calling thread is now.
    ///
    /// ```
    /// let scope = heapledger::Scope::named("index");
    /// let token = scope.token();
    /// std::thread::scope(|threads| {
    ///     threads.spawn(move || {
    ///         let _entered = token.enter();
    ///         String::from("belongs to the scope")
    ///     });
    /// });
    /// ```
    pub fn token(&self) -> ScopeToken {
        let _entered = self.enter();
        ScopeToken::current()
    }

    /// Returns the figures of the scope since the start of the process. If the scope was nested in several scopes, the
    /// figures of all of them are combined. They include all events whose call returned before this call.
    ///
    /// The call books the waiting events of all threads and reads the figures of each scope. This takes some
    /// microseconds, and 0.1 µs more for each thread.
    pub fn usage(&self) -> Usage {
        usage::of_name(self.named.name)
    }

    /// Returns the figures of the scope by call stack, in descending order of bytes. The call takes a snapshot of the
    /// whole heap.
    pub fn sites(&self) -> Vec<SiteUsage> {
        usage::sites_of_name(self.named.name)
    }
}

/// A guard that leaves its scope when dropped. It cannot be sent to another thread:
///
/// ```compile_fail
/// fn is_send<T: Send>(_: T) {}
/// is_send(heapledger::Scope::named("here").enter());
/// ```
#[must_use = "the scope is left when the guard is dropped"]
#[derive(Debug)]
pub struct Entered {
    entry: Entry,
    token: Option<ScopeToken>,
    not_send: PhantomData<*const ()>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if !scopes::leave(self.entry) {
            scopes::leave_elsewhere(self.entry);
        }
        if let Some(token) = self.token {
            scopes::leave_by_token(token.scope);
        }
    }
}

/// A permit for other threads to enter a scope. See [`Scope::token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeToken {
    scope: u32,
    uses: u32,
}

impl ScopeToken {
    /// Returns a token of the scope in which the calling thread is, such as the scope of a [`measure`](crate::measure).
    /// If the thread is in no scope, a thread that enters the token is in no scope either.
    pub fn current() -> ScopeToken {
        let (scope, uses) = scopes::current_for_token();
        ScopeToken { scope, uses }
    }

    /// Enters the scope on the calling thread. If the token's [`measure`](crate::measure) has ended, the thread stays
    /// in its current scope instead.
    pub fn enter(&self) -> Entered {
        let entered = scopes::enter_by_token(self.scope, self.uses);
        Entered { entry: entered.unwrap_or_default(), token: entered.map(|_| *self), not_send: PhantomData }
    }
}
