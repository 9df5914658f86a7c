//! Constructors and checks of [`HeapLedger`].

use std::alloc::System;

use super::background::checked_interval_ns;
use super::{at_exit, dump_thread, dumps};
use crate::aggregator::{self, worker};
use crate::profile;
use crate::quality::InvalidSetting;
use crate::recorder::allocator::HeapLedger;
use crate::recorder::options::{Hooks, Options};

const HOOKS: Hooks = Hooks {
    write_metadata: dumps::write_metadata,
    at_exit: at_exit::dump_at_exit,
    aggregator: worker::run,
    in_child: reset_after_fork,
    dumps: dump_thread::run,
    #[cfg(feature = "serve")]
    serve: Some(super::endpoint::run),
    #[cfg(not(feature = "serve"))]
    serve: None,
};

/// Resets the aggregator, the dump thread and the endpoint in a forked child.
fn reset_after_fork() {
    aggregator::reset_after_fork();
    dump_thread::reset_after_fork();
    #[cfg(feature = "serve")]
    super::endpoint::reset_after_fork();
}

impl HeapLedger<System> {
    /// Returns a recorder around the allocator of the system.
    pub const fn system() -> Self {
        let options = Options { is_system_allocator: true, ..Options::DEFAULT };
        HeapLedger { inner: System, options, hooks: HOOKS }
    }
}

impl<A> HeapLedger<A> {
    /// Returns a recorder around any other global allocator.
    pub const fn new(inner: A) -> Self {
        HeapLedger { inner, options: Options::DEFAULT, hooks: HOOKS }
    }
}

impl<A> HeapLedger<A> {
    /// Checks that every setting of the builder can be used.
    ///
    /// The initialiser of a `static` cannot return an error. So the recorder replaces an invalid setting by its
    /// default, and reports this on standard error at its first event. A test that calls this function detects an
    /// invalid setting earlier.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] for the first setting that cannot be used. Its message names the allowed values.
    ///
    /// ```
    /// use heapledger::{ConcurrencyConfig, HeapLedger};
    ///
    /// static HEAP: HeapLedger = HeapLedger::system()
    ///     .concurrency(ConcurrencyConfig { target_completeness: 95.0, ..ConcurrencyConfig::DEFAULT });
    /// let refusal = HEAP.validate().unwrap_err();
    /// assert_eq!(refusal.to_string(), "target_completeness is 95: it takes a share from 0 to 1, such as 0.95");
    /// ```
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let nonzero =
            |setting, value| if value == 0 { Err(InvalidSetting::Zero { setting }) } else { Ok(()) };
        self.options.concurrency.validate()?;
        checked_interval_ns(self.options.interval_ns)?;
        nonzero("memory_limit", self.options.memory_limit_bytes)?;
        nonzero("sampling_bytes", self.options.sampling_bytes)?;
        nonzero("triggers keep", u64::from(self.options.triggers.keep))?;
        if let profile::Stacks::Sampled { bytes } = self.options.stacks {
            nonzero("Stacks::Sampled bytes", bytes)?;
        }
        self.options.auto_tune.map_or(Ok(()), |goal| goal.validate())
    }
}
