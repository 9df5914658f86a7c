//! Figures of a running process: totals, quality, the largest and the fastest growing sites and scopes, and the course
//! of the last minute.
//!
//! A thread of heapledger writes these figures into a page of 64 KiB, the *live page*. The thread does so while a black
//! box, `HEAPLEDGER_LIVE` ([`HeapLedger::live`](crate::HeapLedger::live)) or an endpoint is on. It writes the page four
//! times a second while somebody reads the page, and otherwise when the figures change, at most once a second.
//! Recording threads do not write the page. Any process that may read the page's file can read the figures. A process
//! that may also write to the file counts its readings in the page. The program itself is not affected.
//!
//! ```text
//!  heapledger's thread ──► page ──► black box, or file in /dev/shm ──► live::read ──► Live
//!                          └──────► /heapledger/live.json
//! ```
//!
//! The page is written under a sequence lock, so a reader gets the figures of one write. Threads continue to record
//! during a write, and the writer reads the sites and scopes one after the other. So sums over sites or scopes can
//! differ from the totals by the events during the write.
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
