//! How complete the data is: the counters, and what follows from them.

use serde::{Deserialize, Serialize};

use super::loss::LossCounts;
use super::settings::DataQualityMode;

/// A figure that was estimated from a sample, with its error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate. Unbiased: over many samples it is right on average.
    pub value: f64,
    /// One standard error, in the unit of the value. The truth lies within three of them in more than 990 of 1,000
    /// samples of bytes; numbers of very small blocks, of which one stands for thousands, are a little worse.
    pub standard_error: f64,
}

impl std::ops::Add for Estimate {
    type Output = Estimate;

    /// The estimate of a sum of two independently sampled figures.
    fn add(self, other: Estimate) -> Estimate {
        let standard_error = self.standard_error.hypot(other.standard_error);
        Estimate { value: self.value + other.value, standard_error }
    }
}

/// What a sample says about all blocks, together with what was recorded exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Blocks allocated so far.
    pub total_blocks: Estimate,
    /// Bytes allocated so far.
    pub total_bytes: Estimate,
    /// Blocks live now.
    pub live_blocks: Estimate,
    /// Bytes live now.
    pub live_bytes: Estimate,
    /// Mean distance between two samples, in bytes; 0 while every block is recorded.
    pub mean_bytes_between_samples: u64,
    /// Blocks that were sampled so far.
    pub sampled_blocks: u64,
}

/// Whether completeness is getting better or worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompletenessTrend {
    /// Higher in the newer window than in the older one, by more than the dead band.
    Improving,
    /// Equal in both windows, within the dead band.
    Stable,
    /// Lower in the newer window.
    Degrading,
    /// Too few events to tell.
    #[default]
    Unknown,
}

/// Pairings that do not add up. Unit: events. All of them are zero for a correct program in the default mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Frees of an address that no recorded allocation accounts for.
    pub unmatched_frees: u64,
    /// Allocations of an address whose earlier block was never seen freed.
    pub double_allocations: u64,
    /// Frees that two blocks of the same address could account for, within what the clock can tell; one was chosen.
    pub ambiguous_pairings: u64,
    /// Frees whose layout gave another size than the allocation's.
    pub layout_mismatches: u64,
}

impl Anomalies {
    /// All anomalies together. It saturates: counts can come from a file.
    pub const fn total(&self) -> u64 {
        self.unmatched_frees
            .saturating_add(self.double_allocations)
            .saturating_add(self.ambiguous_pairings)
            .saturating_add(self.layout_mismatches)
    }
}

/// How complete the data is, why not, and what it cost.
///
/// The law that holds whenever no thread is recording: `attempted = recorded + lost.total() + in_flight`. While
/// threads record, `in_flight` is what makes it hold; it is never negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityIndicator {
    /// Whether a `HeapLedger` is the global allocator of this process. When `false`, every other figure is zero.
    pub installed: bool,
    /// Share of the settled events that were booked, from 0 to 1: recorded ÷ (recorded + lost). 1 when none was.
    pub current_completeness: f64,
    /// The completeness aimed at, from 0 to 1.
    pub target_completeness: f64,
    /// Completeness of the newest window, or `None` when it holds too few events.
    pub windowed_completeness: Option<f64>,
    /// How the newest window compares with the one before it.
    pub trend: CompletenessTrend,
    /// What to do, in one sentence that names a knob and a value; empty when there is nothing to do.
    pub recommendation: String,
    /// The mode in force.
    pub mode: DataQualityMode,
    /// Events that the program made: allocations, frees and reallocs that returned or are under way.
    pub attempted: u64,
    /// Events booked into the ledger.
    pub recorded: u64,
    /// Events in a ring, or in a call that has not returned, not booked yet.
    pub in_flight: u64,
    /// Events lost, by reason.
    pub lost: LossCounts,
    /// Events that sampling left out by choice.
    pub sampled_out: u64,
    /// Booked events that the bounded history still holds.
    pub retained: u64,
    /// Booked events that have left the bounded history: `recorded - retained`.
    pub evicted: u64,
    /// Pairings that do not add up.
    pub anomalies: Anomalies,
    /// Booked events that heapledger made itself, in queries, dumps and its own thread. Part of `recorded`, in no
    /// total of the program.
    pub own_events: u64,
    /// Age of the oldest event not booked yet, in nanoseconds; 0 when none is in flight.
    pub lag_ns: u64,
    /// Highest number of words that waited in one ring.
    pub ring_high_water_words: u64,
    /// Times a thread booked its own ring.
    pub folds_at_home: u64,
    /// Times another thread booked a ring.
    pub folds_away: u64,
    /// Times a thread with a full ring had to wait for its own books.
    pub waits: u64,
    /// Spare segments taken from the overflow pool.
    pub spare_segments: u64,
    /// Memory that heapledger holds outside the program's heap, in bytes.
    pub own_bytes: u64,
    /// Processor time of heapledger's own thread, in nanoseconds. Booking inside the program's threads is not in it.
    pub own_cpu_ns: u64,
}

impl QualityIndicator {
    /// Whether every event is accounted for: `attempted = recorded + lost + in_flight`.
    pub fn is_conserved(&self) -> bool {
        let sides = [self.recorded, self.lost.total(), self.in_flight].map(u128::from);
        u128::from(self.attempted) == sides.iter().sum::<u128>()
    }

    /// Whether nothing was lost and nothing was left out by sampling.
    pub fn is_complete(&self) -> bool {
        self.lost.total() == 0 && self.sampled_out == 0
    }

    /// Recorded ÷ (recorded + lost), from 0 to 1; 1 when both are zero.
    pub fn completeness_of(recorded: u64, lost: u64) -> f64 {
        if recorded == 0 && lost == 0 { 1.0 } else { recorded as f64 / (recorded as f64 + lost as f64) }
    }
}
