//! Sampling without bias: the choice of recorded blocks, the weight of each recorded block, and the error of the
//! estimate.
//!
//! Bytes are sampled by a Poisson process: a distance is drawn from an exponential distribution with mean *R*, the
//! sizes of the blocks are subtracted from the distance, and the block in which the distance ends is recorded. So a
//! block of size *s* is recorded with probability *p* = 1 − e^(−s/R), independently of all blocks before it. (tcmalloc
//! and jemalloc use the same scheme; "Poisson sampling" in Särndal, Swensson, Wretman, *Model Assisted Survey
//! Sampling*, section 3.5.)
//!
//! A recorded block represents 1/*p* blocks and *s*/*p* bytes. The sums of these weights are unbiased (the
//! Horvitz–Thompson estimator). The sum of s²(1−p)/p² over the recorded blocks is an unbiased estimate of the variance
//! of the bytes, and the sum of (1−p)/p² is an unbiased estimate of the variance of the number of blocks. Each block is
//! weighted before it is added to a sum.

use crate::profile::Estimate;
use crate::sys::sync::{AtomicU64, Ordering};

/// Exponent offset of the rates 1 to 15: rate *n* has a mean distance of 2ⁿ⁺⁹ bytes.
const RATE_SHIFT: u64 = 9;
/// The coarsest rate: 16 MiB between two samples.
pub(crate) const RATE_MAX: u64 = 15;
/// The default rate: 512 KiB between two samples, as in jemalloc and Go.
pub(crate) const RATE_DEFAULT: u64 = 10;

/// Returns the mean distance between two samples at a rate, in bytes.
pub(crate) const fn mean_bytes(rate: u64) -> u64 {
    let known = if rate < 1 {
        1
    } else if rate > RATE_MAX {
        RATE_MAX
    } else {
        rate
    };
    1 << (known + RATE_SHIFT)
}

/// Returns the finest rate whose mean distance is `bytes` or more.
pub(crate) fn rate_of(bytes: u64) -> u64 {
    (1..RATE_MAX).find(|rate| mean_bytes(*rate) >= bytes).unwrap_or(RATE_MAX)
}

/// Returns the probability with which a block of this size is recorded.
fn probability(size: u64, rate: u64) -> f64 {
    -(-(size as f64) / mean_bytes(rate) as f64).exp_m1()
}

/// The state of a thread's sampler, which a lane stores in three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampler {
    /// Bytes until the next sample; 0 before the first distance is drawn.
    pub(crate) distance: u64,
    /// State of the random generator; 0 before the first distance is drawn.
    pub(crate) random: u64,
    /// The rate for which the distance was drawn.
    pub(crate) rate: u64,
}

impl Sampler {
    /// Whether a block of this size is recorded; also advances the sampler. Calls `seed` at the first call only.
    #[inline]
    pub(crate) fn takes(&mut self, size: u64, rate: u64, seed: impl FnOnce() -> u64) -> bool {
        if self.random == 0 {
            // The seed is mixed, because unmixed seeds near each other would give almost the same sequence of numbers.
            self.random = mixed(seed()) | 1;
            self.draw(rate);
        }
        if self.rate != rate {
            // The rest of a distance has the same distribution as a whole distance, so a new distance may replace it.
            // With the old distance, the next blocks would be sampled at the old rate, but weighted at the new rate.
            self.draw(rate);
        }
        if let Some(rest) = Sampler::rest_behind(size, self.distance) {
            self.distance = rest;
            return false;
        }
        // The next distance does not depend on the place in this block where the last distance ended.
        self.draw(rate);
        true
    }

    /// Returns the rest of a distance after a block of this size, or `None` if the distance ends in the block.
    #[inline(always)]
    pub(crate) fn rest_behind(size: u64, distance: u64) -> Option<u64> {
        (size < distance).then(|| distance - size)
    }

    /// Draws the next distance.
    #[cold]
    fn draw(&mut self, rate: u64) {
        self.rate = rate;
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15).max(1);
        // In (0, 1]: the logarithm is finite.
        let uniform = ((mixed(self.random) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        self.distance = (-uniform.ln() * mean_bytes(rate) as f64) as u64 + 1;
    }
}

/// Returns the mix function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
fn mixed(state: u64) -> u64 {
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Weighted sums of sampled blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct WeightedSums {
    blocks: f64,
    blocks_variance: f64,
    bytes: f64,
    bytes_variance: f64,
    freed: [f64; 4],
    pub(crate) raw_blocks: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) raw_freed_blocks: u64,
    pub(crate) raw_freed_bytes: u64,
}

/// Returns the amounts that one block adds to the sums: blocks, variance of the blocks, bytes, variance of the bytes.
fn shares(size: u64, rate: u64) -> [f64; 4] {
    let p = probability(size, rate);
    let (bytes, rest) = (size as f64, (1.0 - p) / (p * p));
    [1.0 / p, rest, bytes / p, bytes * bytes * rest]
}

impl WeightedSums {
    /// Adds a recorded block.
    pub(crate) fn start(&mut self, size: u64, rate: u64) {
        let [blocks, blocks_variance, bytes, bytes_variance] = shares(size, rate);
        self.blocks += blocks;
        self.blocks_variance += blocks_variance;
        self.bytes += bytes;
        self.bytes_variance += bytes_variance;
        self.raw_blocks += 1;
        self.raw_bytes += size;
    }

    /// Adds the end of a recorded block.
    pub(crate) fn end(&mut self, size: u64, rate: u64) {
        for (sum, share) in self.freed.iter_mut().zip(shares(size, rate)) {
            *sum += share;
        }
        self.raw_freed_blocks += 1;
        self.raw_freed_bytes += size;
    }

    pub(crate) fn merge(&mut self, other: &WeightedSums) {
        self.blocks += other.blocks;
        self.blocks_variance += other.blocks_variance;
        self.bytes += other.bytes;
        self.bytes_variance += other.bytes_variance;
        for (sum, more) in self.freed.iter_mut().zip(other.freed) {
            *sum += more;
        }
        self.raw_blocks += other.raw_blocks;
        self.raw_bytes += other.raw_bytes;
        self.raw_freed_blocks += other.raw_freed_blocks;
        self.raw_freed_bytes += other.raw_freed_bytes;
    }

    /// Returns the estimated number of allocated blocks.
    pub(crate) fn total_blocks(&self) -> Estimate {
        Estimate { value: self.blocks, standard_error: self.blocks_variance.max(0.0).sqrt() }
    }

    pub(crate) fn total_bytes(&self) -> Estimate {
        Estimate { value: self.bytes, standard_error: self.bytes_variance.max(0.0).sqrt() }
    }

    /// Returns the estimated number of live blocks. A block that has ended is subtracted with its share of the
    /// variance.
    pub(crate) fn live_blocks(&self) -> Estimate {
        let variance = self.blocks_variance - self.freed[1];
        Estimate { value: self.blocks - self.freed[0], standard_error: variance.max(0.0).sqrt() }
    }

    pub(crate) fn live_bytes(&self) -> Estimate {
        let variance = self.bytes_variance - self.freed[3];
        Estimate { value: self.bytes - self.freed[2], standard_error: variance.max(0.0).sqrt() }
    }
}

/// Weighted sums among a lane's counters. The holder of the lane's latch writes them, and any thread reads them.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SharedSums {
    floats: [AtomicU64; 8],
    raw: [AtomicU64; 4],
}

impl SharedSums {
    /// Adds the sums of a batch.
    pub(crate) fn add(&self, batch: &WeightedSums) {
        let mut sums = self.read();
        sums.merge(batch);
        let floats = [sums.blocks, sums.blocks_variance, sums.bytes, sums.bytes_variance];
        // relaxed: statistics with one writer at a time, which need no ordering.
        for (cell, value) in self.floats.iter().zip(floats.iter().chain(&sums.freed)) {
            cell.store(value.to_bits(), Ordering::Relaxed);
        }
        let raw = [sums.raw_blocks, sums.raw_bytes, sums.raw_freed_blocks, sums.raw_freed_bytes];
        for (cell, value) in self.raw.iter().zip(raw) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> WeightedSums {
        // relaxed: as in `add`.
        let float = |n: usize| f64::from_bits(self.floats[n].load(Ordering::Relaxed));
        let raw = |n: usize| self.raw[n].load(Ordering::Relaxed);
        WeightedSums {
            blocks: float(0),
            blocks_variance: float(1),
            bytes: float(2),
            bytes_variance: float(3),
            freed: [float(4), float(5), float(6), float(7)],
            raw_blocks: raw(0),
            raw_bytes: raw(1),
            raw_freed_blocks: raw(2),
            raw_freed_bytes: raw(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Sampler = Sampler { distance: 0, random: 0, rate: 0 };

    fn run(seed: u64) -> [(f64, Estimate); 4] {
        run_on(NEW, seed)
    }

    /// Simulates a seeded program, which allocates blocks of mixed sizes and frees three quarters of them. Returns the
    /// true value and the estimate of (total bytes, total blocks, live bytes, live blocks).
    fn run_on(mut sampler: Sampler, seed: u64) -> [(f64, Estimate); 4] {
        let mut sums = WeightedSums::default();
        let mut truth = [0f64; 4];
        let mut state = seed ^ 0x1234_5678;
        for n in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let size = 8 + (state >> 40) % (1 << (4 + n % 10));
            let lives = (state >> 33) & 3 == 0;
            let taken = sampler.takes(size, 5, || seed);
            truth[0] += size as f64;
            truth[1] += 1.0;
            if lives {
                truth[2] += size as f64;
                truth[3] += 1.0;
            }
            if taken {
                sums.start(size, 5);
                if !lives {
                    sums.end(size, 5);
                }
            }
        }
        let estimates = [sums.total_bytes(), sums.total_blocks(), sums.live_bytes(), sums.live_blocks()];
        std::array::from_fn(|n| (truth[n], estimates[n]))
    }

    #[test]
    fn estimates_are_unbiased_and_their_stated_error_is_right() {
        const RUNS: u64 = 1000;
        let mut within = [[0u32; 3]; 4];
        let mut bias = [0f64; 4];
        for seed in 1..=RUNS {
            for (n, (truth, estimate)) in
                run(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into_iter().enumerate()
            {
                bias[n] += (estimate.value - truth) / truth / RUNS as f64;
                for errors in 1..=3u32 {
                    let off = (estimate.value - truth).abs();
                    within[n][errors as usize - 1] +=
                        u32::from(off <= f64::from(errors) * estimate.standard_error);
                }
            }
        }
        // The normal distribution gives 68.3, 95.4 and 99.7 %. Numbers of blocks approach it more slowly than bytes:
        // a block of 8 bytes that is sampled once in 2,048 times represents 2,048 blocks.
        for n in 0..4 {
            let ([one, two, three], is_bytes) = (within[n], n % 2 == 0);
            assert!(
                !is_bytes || (620..=740).contains(&one),
                "figure {n}: {one} of 1000 within one standard error"
            );
            assert!(!is_bytes || (925..=985).contains(&two), "figure {n}: {two} of 1000 within two");
            assert!(three >= if is_bytes { 990 } else { 930 }, "figure {n}: {three} of 1000 within three");
            assert!(bias[n].abs() < 0.015, "figure {n}: bias {}", bias[n]);
        }
    }

    #[test]
    fn a_change_of_rate_leaves_estimates_unbiased() {
        for earlier in [0, 4, 6, RATE_MAX] {
            let mut bias = 0.0;
            for seed in 1..=200u64 {
                let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let mut sampler = NEW;
                sampler.takes(8, earlier, || seed);
                let (truth, estimate) = run_on(sampler, seed)[0];
                bias += (estimate.value - truth) / truth / 200.0;
            }
            assert!(bias.abs() < 0.005, "from rate {earlier}: bias {bias}");
        }
    }

    #[test]
    fn the_coverage_test_can_fail() {
        // An estimate without the weights is far from the true value.
        let (truth, estimate) = run(7)[0];
        let unweighted = estimate.value / 8.0;
        assert!((unweighted - truth).abs() > 3.0 * estimate.standard_error);
    }

    #[test]
    fn rates_round_to_the_next_coarser_one() {
        assert_eq!((mean_bytes(RATE_DEFAULT), rate_of(512 << 10)), (512 << 10, RATE_DEFAULT));
        assert_eq!((rate_of(1), rate_of(1025), rate_of(u64::MAX)), (1, 2, RATE_MAX));
    }
}
