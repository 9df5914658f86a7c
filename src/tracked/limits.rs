//! The sizes of the table of tracked pointers, and the definition of a clone storm.

/// Maximum number of listed pointers. For further pointers only the events are counted.
pub const POINTERS_LISTED: usize = 4096;
/// Maximum number of listed pairs of a pointer and a place where its holders were made.
pub const PLACES_LISTED: usize = 8192;
/// Number of newest events that are kept.
pub const EVENTS_KEPT: usize = 1024;
/// Length of the window for clone storms, in events of all listed pointers.
pub const STORM_WINDOW_EVENTS: u64 = 1024;
/// Number of clones of one pointer within one window that make a storm.
pub const STORM_CLONES: u64 = 256;
