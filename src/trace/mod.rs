//! The trace: all events of a process in a file, in compressed frames that can be read separately.
//!
//! A ledger has only figures. A trace also shows how the figures arose: the live blocks at any instant, the exact peak,
//! and a report of any span of time. A thread of heapledger writes the trace while the program runs. It takes the
//! records from the trace buffer, into which booked records are copied. The trace ends with a dump, taken at the last
//! event.
//!
//! | file | holds |
//! | --- | --- |
//! | `window` | runs of records between two readings of the clock |
//! | `columns`, `model` | the columns of a frame; the prediction that makes them short |
//! | `encode`, `decode` | records to columns, and back |
//! | `frame` | heads, checksums, the layout of the file |
//! | `writer`, `reader` | windows to a file; a file to records |
//! | `order` | records of several threads in the order of their times |
//! | `replay`, `span_sums` | the heap and the sums of a span |
//! | `span_profile` | a replay as a profile |
//! | `lives` | the blocks of a trace, each with its start and end |
//! | `check` | the laws between a trace and its dump |
//!
//! A program links the writer only. The reader and the replay are behind the feature `read`, and need no recorder in
//! the process. `docs/TRACE_FORMAT.md` describes the file.

mod columns;
mod encode;
mod frame;
mod model;
mod window;
pub(crate) mod writer;

#[cfg(any(test, feature = "read"))]
mod check;
#[cfg(any(test, feature = "read"))]
mod decode;
#[cfg(any(test, feature = "read"))]
mod lives;
#[cfg(any(test, feature = "read"))]
mod order;
#[cfg(any(test, feature = "read"))]
mod reader;
#[cfg(any(test, feature = "read"))]
mod replay;
#[cfg(any(test, feature = "read"))]
mod span_profile;
#[cfg(any(test, feature = "read"))]
mod span_sums;

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

pub use frame::{Counts, FileHead, FrameHead, FrameKind, is_trace};
pub(crate) use window::Window;

#[cfg(any(test, feature = "read"))]
pub use self::{
    check::laws,
    lives::{BlockEnd, BlockLife, block_lives},
    order::in_order,
    reader::{Frame, Trace, TraceError},
    replay::{Replay, ReplayFigures},
    span_profile::SpanProfile,
    span_sums::Span,
};
pub use crate::replay::{BlockShape, Dated, Record, SizeBits};
