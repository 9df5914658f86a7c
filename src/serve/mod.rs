//! The endpoint: answers to HTTP requests, and a server for them.
//!
//! The paths are those of Go's `net/http/pprof`, so that `go tool pprof`, Alloy, Pyroscope and Parca find them, and
//! Prometheus's `/metrics`. All figures come from a [`Heap`](heap::Heap), an interface to the recorded process.
//!
//! ```text
//!  socket ─► server ─► request ─► answer ─► Heap
//!              │                     └────► pprof, metrics, json, listing
//!            limits: connections, bytes, times, processor
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `response`, `request` | the two ends of an exchange, without sockets |
//! | `json`, `metrics`, `listing` | the live page, counters and sites as text |
//! | `heap` | the figures that the endpoint asks for |
//! | `answer` | the paths |
//! | `address`, `connection`, `server` | the address of the endpoint, one exchange on a socket, and all exchanges |

pub(crate) mod address;
pub(crate) mod answer;
mod connection;
pub(crate) mod heap;
mod json;
mod listing;
mod metrics;
mod request;
mod response;
pub(crate) mod server;
#[cfg(test)]
mod tests;

pub use response::Response;
