//! Assertions on what a piece of work allocates.

use std::panic::Location;

use super::all_threads::OfAllThreads;
use super::failure::{Asserted, failure};
use super::figure::Limit;
use super::measurement::{Ended, Measurement};
use crate::recorder::internal::InternalScope;

/// Asserts limits on the allocations of a block of code, and returns the value of the block. Allocations of other
/// threads do not change the figures, so other tests may run in the same process.
///
/// | figure | meaning |
/// | --- | --- |
/// | `allocations`, `reallocations` | calls that allocated a block, and successful reallocs |
/// | `bytes` | bytes allocated; a realloc counts with its whole new size |
/// | `peak` | maximum of the live bytes |
/// | `retained`, `retained_bytes` | blocks and bytes of the code that are live at its end, including those of the returned value |
///
/// An operator and a limit follow each figure. Options come before the figures:
///
/// | option | meaning |
/// | --- | --- |
/// | `warmup = N` | runs the code `N` times first, without counting |
/// | `all_threads` | counts what *all* threads of the process do while the code runs, for work whose threads cannot take a [token](crate::scope::ScopeToken). The test then has to be alone in its process. There is no `peak`, and `retained` is the growth of the live blocks |
///
/// ```
/// # #[global_allocator]
/// # static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
/// # fn main() {
/// let text = heapledger::assert_heap!(allocations <= 2, peak <= 64 * 1024, retained == 1; {
///     String::from("parsed")
/// });
/// assert_eq!(text, "parsed");
/// # }
/// ```
///
/// With `all_threads`, a limit on the peak does not compile: the process records only the peak of its whole life.
///
/// ```compile_fail
/// heapledger::assert_heap!(all_threads, peak <= 64; ());
/// ```
///
/// # Panics
///
/// Panics if a figure breaks its limit. The message has a table of the figures, and the five places in the program that
/// contribute most to the broken figure. With the feature `names` the message gives the function, file and line of each
/// place. Also panics if the figures may be wrong. The message then gives the [reason](crate::scope::Inconclusive).
#[macro_export]
macro_rules! assert_heap {
    (warmup = $rounds:expr, all_threads, $($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        for _ in 0..$rounds {
            let _ = $work;
        }
        $crate::assert_heap!(all_threads, $($figure $operator $limit),+; $work)
    }};
    (warmup = $rounds:expr, $($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        for _ in 0..$rounds {
            let _ = $work;
        }
        $crate::assert_heap!($($figure $operator $limit),+; $work)
    }};
    (all_threads, $($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        use $crate::scope::figures_of_all_threads as figures;
        let limits = [$($crate::scope::Limit {
            figure: figures::$figure,
            operator: stringify!($operator),
            limit: ($limit) as u64,
            holds: |figure, limit| figure $operator limit,
        }),+];
        let measurement = $crate::scope::Asserting::begin_on_all_threads();
        let value = $work;
        measurement.end(&limits);
        value
    }};
    ($($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        let limits = [$($crate::scope::Limit {
            figure: $crate::scope::figures::$figure,
            operator: stringify!($operator),
            limit: ($limit) as u64,
            holds: |figure, limit| figure $operator limit,
        }),+];
        let measurement = $crate::scope::Asserting::begin();
        let value = $work;
        measurement.end(&limits);
        value
    }};
}

/// Asserts that a block of code neither allocates nor reallocates, and returns the value of the block. See
/// [`assert_heap!`].
///
/// ```
/// # #[global_allocator]
/// # static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
/// # fn main() {
/// let sum: u64 = heapledger::assert_no_alloc!({ (0..100).sum() });
/// assert_eq!(sum, 4950);
/// # }
/// ```
#[macro_export]
macro_rules! assert_no_alloc {
    ($work:expr) => {
        $crate::assert_heap!(allocations == 0, reallocations == 0; $work)
    };
}

/// The measurement of an assertion.
#[doc(hidden)]
#[derive(Debug)]
pub struct Asserting {
    place: &'static Location<'static>,
    measured: Measured,
}

#[derive(Debug)]
enum Measured {
    Scope(Measurement),
    AllThreads(OfAllThreads),
}

impl Asserting {
    #[doc(hidden)]
    #[track_caller]
    pub fn begin() -> Asserting {
        Asserting { place: Location::caller(), measured: Measured::Scope(Measurement::begin()) }
    }

    #[doc(hidden)]
    #[track_caller]
    pub fn begin_on_all_threads() -> Asserting {
        Asserting { place: Location::caller(), measured: Measured::AllThreads(OfAllThreads::begin()) }
    }

    /// Ends the measurement. Panics if a figure breaks its limit or may be wrong.
    #[doc(hidden)]
    #[track_caller]
    pub fn end(self, limits: &[Limit]) {
        let (place, is_of_all_threads) = (self.place, matches!(self.measured, Measured::AllThreads(_)));
        let ended = self.end_and_keep();
        if let Some(message) = message(place, &ended, limits, is_of_all_threads) {
            drop(ended);
            panic!("{message}");
        }
    }

    pub(super) fn place(&self) -> &'static Location<'static> {
        self.place
    }

    pub(super) fn end_and_keep(self) -> Ended {
        match self.measured {
            Measured::Scope(measurement) => measurement.end_and_keep(),
            Measured::AllThreads(measurement) => measurement.end(),
        }
    }
}

/// Returns the message of an assertion that fails; `None` if the assertion holds. Allocations for the message count as
/// heapledger's, not as the program's.
fn message(place: &Location<'_>, ended: &Ended, limits: &[Limit], is_of_all_threads: bool) -> Option<String> {
    let _internal = InternalScope::enter();
    let name = format!("{}:{}", place.file(), place.line());
    failure(&Asserted { name, is_of_all_threads, limits }, ended)
}
