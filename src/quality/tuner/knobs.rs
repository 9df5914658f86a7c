//! The settings of heapledger that the tuner may change (*knobs*), and their bounds.

use serde::{Deserialize, Serialize};

use crate::profile::{DataQualityMode, Degradation};
use crate::quality::error::{InvalidSetting, between, nonzero};
use crate::quality::ring_size::{RING_SEGMENTS_MAX, RING_SEGMENTS_MIN};

/// Base-2 logarithm of the minimum mean number of bytes between sampled blocks.
pub const SAMPLING_SHIFT_MIN: u32 = 10;
/// Base-2 logarithm of the maximum mean number of bytes between sampled blocks.
pub const SAMPLING_SHIFT_MAX: u32 = 24;

/// A set of settings, one for each knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knobs {
    /// Reaction to a full ring.
    pub mode: DataQualityMode,
    /// Detail in which events are recorded.
    pub degradation: Degradation,
    /// Base-2 logarithm of the mean number of bytes between sampled blocks. Applies while blocks are sampled.
    pub sampling_shift: u32,
    /// Number of segments of each ring. A new value applies when a ring is made or grows.
    pub ring_segments: u32,
    /// Minimum pause between two rounds of the background thread, in nanoseconds.
    pub floor_interval_ns: u64,
    /// Number of words that may wait in a ring before the background thread books it. Applies in modes in which threads
    /// do not book their full rings themselves.
    pub drain_threshold_words: u64,
}

impl Knobs {
    /// The settings of a process whose program chooses no setting, for constant contexts.
    pub const DEFAULT: Knobs = Knobs {
        mode: DataQualityMode::PerfectAccuracy,
        degradation: Degradation::Full,
        sampling_shift: 19,
        ring_segments: 6,
        floor_interval_ns: 1_000_000,
        drain_threshold_words: 512,
    };

    /// Whether blocks are sampled, by the mode or by the level of recording.
    pub fn samples(&self) -> bool {
        self.mode == DataQualityMode::HighThroughput || self.degradation == Degradation::Sampled
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The bounds of each knob (inclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnobBounds {
    /// The level of recording with the least detail that the tuner may set.
    pub lowest: Degradation,
    /// Bounds of [`Knobs::sampling_shift`]. Default 10 to 24, the whole range of the knob: 1 KiB to 16 MiB.
    pub sampling_shift: (u32, u32),
    /// Bounds of [`Knobs::ring_segments`]. Default: the whole range of the knob.
    pub ring_segments: (u32, u32),
    /// Bounds of [`Knobs::floor_interval_ns`], in nanoseconds. Default 0.25 ms to 1 s.
    pub floor_interval_ns: (u64, u64),
    /// Bounds of [`Knobs::drain_threshold_words`], in words. Default 128 to 4,096.
    pub drain_threshold_words: (u64, u64),
}

impl KnobBounds {
    /// The default bounds, for constant contexts.
    pub const DEFAULT: KnobBounds = KnobBounds {
        lowest: Degradation::CountersOnly,
        sampling_shift: (SAMPLING_SHIFT_MIN, SAMPLING_SHIFT_MAX),
        ring_segments: (RING_SEGMENTS_MIN, RING_SEGMENTS_MAX),
        floor_interval_ns: (250_000, 1_000_000_000),
        drain_threshold_words: (128, 4_096),
    };

    /// Checks the bounds, and that every knob is within its bounds.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] for invalid bounds, or for the first knob outside its bounds.
    pub fn validate(&self, knobs: &Knobs) -> Result<(), InvalidSetting> {
        let wide = |(least, most): (u32, u32)| (u64::from(least), u64::from(most));
        let rings = (u64::from(RING_SEGMENTS_MIN), u64::from(RING_SEGMENTS_MAX));
        between("least ring_segments", wide(self.ring_segments).0, rings)?;
        between("most ring_segments", wide(self.ring_segments).1, rings)?;
        let shifts = (u64::from(SAMPLING_SHIFT_MIN), u64::from(SAMPLING_SHIFT_MAX));
        between("least sampling_shift", wide(self.sampling_shift).0, shifts)?;
        between("most sampling_shift", wide(self.sampling_shift).1, shifts)?;
        nonzero("least floor_interval_ns", self.floor_interval_ns.0)?;
        nonzero("least drain_threshold_words", self.drain_threshold_words.0)?;
        between("ring_segments", u64::from(knobs.ring_segments), wide(self.ring_segments))?;
        between("sampling_shift", u64::from(knobs.sampling_shift), wide(self.sampling_shift))?;
        between("floor_interval_ns", knobs.floor_interval_ns, self.floor_interval_ns)?;
        between("drain_threshold_words", knobs.drain_threshold_words, self.drain_threshold_words)?;
        let rung = |degradation: Degradation| u64::from(degradation as u8);
        between("degradation", rung(knobs.degradation), (0, rung(self.lowest)))?;
        Ok(())
    }
}

impl Default for KnobBounds {
    fn default() -> Self {
        Self::DEFAULT
    }
}
