//! Figures of a running process: totals, quality, the largest and the fastest growing sites and scopes, and the last
//! minute.
//!
//! While a black box, `HEAPLEDGER_LIVE` ([`HeapLedger::live`](crate::HeapLedger::live)) or an endpoint is on, a thread
//! of heapledger writes these figures into a page of 64 KiB, the *live page*: four times a second while somebody reads
//! it; otherwise when the figures change, at most once a second. Recording threads do not write it. Any process that
//! may read the page's file can read the figures. A process that may also write to the file counts its readings in the
//! page. The program itself is not affected.
//!
//! ```text
//!  heapledger's thread ──► page ──► black box, or file in /dev/shm ──► live::read ──► Live
//!                          └──────► /heapledger/live.json
//! ```
//!
//! The page is written under a sequence lock, so a reader gets the figures of one write. While the page is written,
//! threads record, and sites and scopes are read one after the other. So their sums can differ from the totals by the
//! events during the write.
//!
//! | file | holds |
//! | --- | --- |
//! | `model` | the figures as plain data |
//! | `page` | the page and its layout |
//! | `decode` | the figures of a page |

pub(crate) mod decode;
mod model;
#[allow(unsafe_code, reason = "the content of a page, as words")]
pub(crate) mod page;

pub use model::{Live, LiveInterval, LiveQuality, LiveScope, LiveSite};
