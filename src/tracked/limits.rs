//! The sizes of the table of tracked pointers, and what counts as a clone storm.

/// Pointers in the list; of further ones, only the events are counted.
pub const POINTERS_LISTED: usize = 4096;
/// Pairs of a pointer and a place where holders of it were made.
pub const PLACES_LISTED: usize = 8192;
/// Newest events that are kept.
pub const EVENTS_KEPT: usize = 1024;
/// Length of the window for clone storms, in events of all listed pointers.
pub const STORM_WINDOW_EVENTS: u64 = 1024;
/// Clones of one pointer within one window that make a storm.
pub const STORM_CLONES: u64 = 256;
