//! `heapledger top`: shows a running process on a terminal.
//!
//! * [`state`] has the data of the screen: the newest figures, the order of the rows, the selected row.
//! * [`screen`] draws the state; a test draws it into memory.
//!
//! The command passes key presses and figures to the state. Without a terminal, the command prints
//! [`write_live`](crate::report::write_live) instead.

pub mod screen;
pub mod state;

pub use screen::draw;
pub use state::{Key, Order, Screen, Table};
