//! The sizes of the table of tracked pointers, and the definition of a clone storm.

/// Maximum number of listed pointers. The events of further pointers are only counted.
pub const POINTERS_LISTED: usize = 4096;
/// Maximum number of listed pairs of a pointer and a place where its holders were made.
pub const PLACES_LISTED: usize = 8192;
/// Number of newest events that are kept.
pub const EVENTS_KEPT: usize = 1024;
/// Length of a window for the detection of clone storms, in events of all listed pointers.
pub const STORM_WINDOW_EVENTS: u64 = 1024;
/// Number of clones of one pointer in one window from which on the window is a clone storm.
pub const STORM_CLONES: u64 = 256;
