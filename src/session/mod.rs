//! The public functions, and the work at the end of the process.
//!
//! The functions of this module may allocate. They run in an *internal scope*: their events are recorded as events of
//! heapledger, and no total of the program counts these events.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `builder` | constructors and checks of [`HeapLedger`](crate::HeapLedger) |
//! | `background` | the background thread: its start, interval, tuner and callback while the program runs |
//! | `queries` | figures of the running process, and its settings that can change |
//! | `dumps` | dumps into files, and the metadata of a black box |
//! | `dump_thread` | dumps on signals and triggers |
//! | `endpoint` | the endpoint of this process, feature `serve` |
//! | `at_exit` | the end of the process |
//! | `access` | access to the ledger, for all of these |

mod access;
mod at_exit;
mod background;
mod builder;
mod dump_thread;
mod dumps;
#[cfg(feature = "serve")]
mod endpoint;
mod queries;

pub use background::{BackgroundAggregator, on_quality, set_auto_tune, set_interval};
pub use dumps::{DumpError, dump};
#[cfg(feature = "serve")]
pub use endpoint::respond;
pub use queries::{
    estimates, flush, history, is_installed, name_thread, quality, set_degradation, set_mode,
    set_sampling_bytes, snapshot, stats, tracked, tuner_log,
};
