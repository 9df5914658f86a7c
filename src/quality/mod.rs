//! Completeness as people meet it.
//!
//! The counters and the [`QualityIndicator`](crate::QualityIndicator) that is made of them are plain data in
//! `profile`. This room says what they mean: [`display`] puts an indicator into words.

pub mod display;

pub use display::{WithEmoji, completeness_percent};
