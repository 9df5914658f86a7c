//! The trace: every event in a file, compressed, in frames that can be read alone.
//!
//! A ledger says what was; a trace says how it came to be: the live blocks of any instant, the exact peak, a report of
//! any span. It is written while the program runs, by heapledger's own thread, from the words that folds leave in the
//! trace buffer (`ledger::trace_buffer`), and ends with the dump that was taken where the last event stands.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `record` | the words of a ring as values, and how they are dated |
//! | `model`, `columns`, `bytes` | records to few bytes, and back |
//! | `frame` | heads, checksums, the file |
//! | `writer`, `reader` | windows to a file; a file to records |
//! | `order` | records of several threads in the order of their times |
//! | `pairing`, `replay`, `account` | records to the heap that they describe |
//! | `span` | a replay as a profile |
//! | `check` | whether a trace and its dump say the same |
//!
//! Nothing here knows a recorder: the reader works in any process. `docs/TRACE_FORMAT.md` describes the file.

mod account;
mod bytes;
mod check;
mod columns;
mod frame;
mod model;
mod order;
mod pairing;
mod reader;
mod record;
mod replay;
mod span;
pub(crate) mod writer;

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

pub use check::laws;
pub use columns::Dated;
pub use frame::{Counts, FileHead, FrameHead, FrameKind};
pub use order::in_order;
pub use reader::{Frame, Trace, TraceError, is_trace};
pub(crate) use record::Window;
pub use record::{Record, Shape, SizeBits};
pub use replay::{Found, Replay, Span};
pub use span::SpanProfile;
