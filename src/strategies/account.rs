//! The counters of a collector, and the laws they must satisfy.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::Losses;

/// The counters of a collector. Unit: events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Attempted by producers.
    pub attempted: u64,
    /// Booked.
    pub recorded: u64,
    /// Lost, by cause.
    pub lost: Losses,
    /// Accepted and not booked yet.
    pub in_flight: u64,
    /// Booked and still in the bounded history.
    pub retained: u64,
    /// Booked and evicted from the history by newer events.
    pub evicted: u64,
    /// Booked after a later event of the same producer.
    pub out_of_order: u64,
}

/// A broken law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// `attempted` is not `recorded + lost + in_flight`.
    Conservation {
        /// The left side.
        attempted: u64,
        /// The right side.
        accounted: u64,
    },
    /// `recorded` is not `retained + evicted`.
    History {
        /// The left side.
        recorded: u64,
        /// The right side.
        accounted: u64,
    },
    /// Events of a producer were reordered.
    Order {
        /// Events booked after a later one.
        events: u64,
    },
}

impl Account {
    /// Verifies the laws. Exact while no producer records.
    ///
    /// # Errors
    ///
    /// The first broken law, with both of its sides.
    pub fn check(&self) -> Result<(), Broken> {
        let accounted = self.recorded + self.lost.total() + self.in_flight;
        if self.attempted != accounted {
            return Err(Broken::Conservation { attempted: self.attempted, accounted });
        }
        let accounted = self.retained + self.evicted;
        if self.recorded != accounted {
            return Err(Broken::History { recorded: self.recorded, accounted });
        }
        if self.out_of_order > 0 {
            return Err(Broken::Order { events: self.out_of_order });
        }
        Ok(())
    }

    /// Completeness in thousandths of a percent, rounded down: 100,000 only without a loss.
    pub fn completeness_floor(&self) -> u64 {
        if self.attempted == 0 {
            return 100_000;
        }
        (u128::from(self.recorded) * 100_000 / u128::from(self.attempted)) as u64
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Conservation { attempted, accounted } => {
                write!(f, "{attempted} events were attempted and {accounted} are accounted for")
            }
            Broken::History { recorded, accounted } => {
                write!(f, "{recorded} events were booked and {accounted} are retained or evicted")
            }
            Broken::Order { events } => write!(f, "{events} events were booked after a later one"),
        }
    }
}

impl std::error::Error for Broken {}
