//! The counters of a collector, and the laws that the counters must satisfy.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::Losses;

/// The counters of a collector, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Events that producers attempted to record.
    pub attempted: u64,
    /// Events that were booked.
    pub recorded: u64,
    /// Events that were lost, by cause.
    pub lost: Losses,
    /// Events that were accepted and are not booked yet.
    pub in_flight: u64,
    /// Events that were booked and are still in the bounded history.
    pub retained: u64,
    /// Events that were booked and then evicted from the history by newer events.
    pub evicted: u64,
    /// Events that were booked after a later event of the same producer.
    pub out_of_order: u64,
}

/// A law that the counters break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The counter `attempted` differs from `recorded + lost + in_flight`.
    Conservation {
        /// Value of `attempted`.
        attempted: u64,
        /// Value of `recorded + lost + in_flight`.
        accounted: u64,
    },
    /// The counter `recorded` differs from `retained + evicted`.
    History {
        /// Value of `recorded`.
        recorded: u64,
        /// Value of `retained + evicted`.
        accounted: u64,
    },
    /// The events of a producer were reordered.
    Order {
        /// Number of events that were booked after a later event.
        events: u64,
    },
}

impl Account {
    /// Verifies the laws. The check is exact while no producer records.
    ///
    /// # Errors
    ///
    /// Returns the first broken law, with the values of both of its sides.
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

    /// Returns the completeness in thousandths of a percent, rounded down. So 100,000 means that no event is missing.
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
