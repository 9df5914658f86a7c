//! Numbers and names as text for users. The library's messages and the command's reports use the same rules.
//!
//! [`units`] formats counts, bytes, durations, rates and shares. [`escape`] makes names from a program safe to print.
//! [`STYLES`] are the style sheets that all pages for a browser share.

pub mod escape;
pub mod units;

/// Style sheets of every page that heapledger writes for a browser: one for the frame of the page, one for its parts.
pub const STYLES: [&str; 2] = [include_str!("style/page.css"), include_str!("style/parts.css")];
