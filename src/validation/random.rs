//! Reproducible randomness: one generator per simulated user.
//!
//! Every user has a separate stream of ChaCha8, selected by the run's seed and the user's number. The same seed
//! therefore gives the same requests in any schedule. Drawing never allocates. Zipf popularity is sampled by rejection
//! (`rand_distr`). Shuffling without replacement is a keyed permutation (four Feistel rounds with cycle walking), so no
//! order is stored.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal, Zipf};
use serde::{Deserialize, Serialize};

/// The rule by which a user picks its queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Popularity {
    /// Every query is equally likely.
    Uniform,
    /// The query of rank r has weight r^-s. The exponent s must be positive and finite.
    Zipf(f64),
    /// Queries are picked in order. User n starts with query n.
    Sequential,
    /// Each query is picked once per round, in a new order per user and round.
    Shuffle,
}

impl Default for Popularity {
    fn default() -> Self {
        Self::Zipf(1.0)
    }
}

/// A user's pause between an answer and its next request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum ThinkTime {
    /// No pause, for capacity and scalability runs.
    #[default]
    None,
    /// A constant pause.
    Fixed(Duration),
    /// A pause distributed uniformly between two bounds.
    Uniform(Duration, Duration),
    /// A pause distributed exponentially with this mean, as for many independent users.
    Exponential(Duration),
    /// A pause distributed log-normally: a few long pauses among many short ones.
    LogNormal {
        /// Median of the pauses.
        median: Duration,
        /// Standard deviation of the natural logarithm of the pauses; 0 makes all pauses equal.
        sigma: f64,
    },
}

/// A user's stream of random numbers.
///
/// # Examples
/// ```
/// use heapledger::validation::{Popularity, UserRng};
/// let mut one = UserRng::new(7, 0, Popularity::Uniform);
/// let mut same = UserRng::new(7, 0, Popularity::Uniform);
/// assert_eq!(one.next_u64(), same.next_u64());
/// ```
#[derive(Debug, Clone)]
pub struct UserRng {
    generator: ChaCha8Rng,
    popularity: Popularity,
    user: u64,
    /// Key of the permutations of `Popularity::Shuffle`.
    key: u64,
    drawn: u64,
}

impl UserRng {
    /// Creates the stream of `user` under `seed`. [`pick`](Self::pick) follows `popularity`.
    pub fn new(seed: u64, user: usize, popularity: Popularity) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(user as u64);
        let key = generator.next_u64();
        Self { generator, popularity, user: user as u64, key, drawn: 0 }
    }

    /// Returns the next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// Returns a random number from [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.generator.random()
    }

    /// Returns a uniform random number from `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.generator.random_range(0..n) }
    }

    /// Returns an exponential random number with mean 1.
    pub fn exponential(&mut self) -> f64 {
        Exp1.sample(&mut self.generator)
    }

    /// Returns the numbers `0..n` in random order.
    pub(super) fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut self.generator);
        order
    }

    /// Returns the number of the next query out of `n`, picked by the popularity; 0 if `n` is 0.
    pub fn pick(&mut self, n: usize) -> usize {
        if n < 2 {
            return 0;
        }
        let (k, all) = (self.drawn, n as u64);
        self.drawn += 1;
        match self.popularity {
            Popularity::Uniform => self.generator.random_range(0..n),
            Popularity::Zipf(s) => Zipf::new(n as f64, s)
                .map_or(0, |zipf| (zipf.sample(&mut self.generator) as usize).clamp(1, n) - 1),
            Popularity::Sequential => ((self.user + k) % all) as usize,
            Popularity::Shuffle => permute(k % all, all, mix(self.key ^ mix(k / all))) as usize,
        }
    }

    /// Returns the next pause.
    pub fn pause(&mut self, think: ThinkTime) -> Duration {
        match think {
            ThinkTime::None => Duration::ZERO,
            ThinkTime::Fixed(d) => d,
            ThinkTime::Uniform(a, b) => self.generator.random_range(a.min(b)..=a.max(b)),
            ThinkTime::Exponential(mean) => bounded(mean.as_secs_f64() * self.exponential()),
            ThinkTime::LogNormal { median, sigma } => {
                let normal: f64 = StandardNormal.sample(&mut self.generator);
                bounded(median.as_secs_f64() * (sigma * normal).exp())
            }
        }
    }
}

/// Returns SplitMix64's output for `z`: every input bit affects every output bit (Steele, Lea and Flood, 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns the image of `x` under a permutation of `0..n`. A Feistel network permutes the numbers below the next power
/// of four; the network is applied again until the result is below `n`.
fn permute(x: u64, n: u64, key: u64) -> u64 {
    let half = (64 - (n - 1).leading_zeros()).max(2).div_ceil(2);
    let mask = (1u64 << half) - 1;
    let round = |v: u64, r: u64| {
        let (left, right) = (v >> half, v & mask);
        (right << half) | (left ^ (mix(right ^ mix(key ^ r)) & mask))
    };
    let permuted = |v: u64| (0..4).fold(v, round);
    std::iter::successors(Some(permuted(x)), |&v| Some(permuted(v))).find(|&v| v < n).unwrap_or(0)
}

/// Converts seconds to a pause of at most one hour, so that a rare long pause cannot stop a user for the whole test.
fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, 3600.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(p: Popularity, seed: u64, user: usize, n: usize, count: usize) -> Vec<usize> {
        let mut rng = UserRng::new(seed, user, p);
        (0..count).map(|_| rng.pick(n)).collect()
    }

    /// Returns the chi-squared statistic of the draws against Zipf weights.
    fn chi_squared(draws: &[usize], n: usize, s: f64) -> f64 {
        let weight: Vec<f64> = (1..=n).map(|r| (r as f64).powf(-s)).collect();
        let total: f64 = weight.iter().sum();
        let mut seen = vec![0.0; n];
        draws.iter().for_each(|&d| seen[d] += 1.0);
        (0..n)
            .map(|i| {
                let expected = draws.len() as f64 * weight[i] / total;
                (seen[i] - expected).powi(2) / expected
            })
            .sum()
    }

    #[test]
    fn zipf_draws_follow_zipf_and_not_another_exponent() {
        for s in [0.5, 1.0, 1.5] {
            let d = draws(Popularity::Zipf(s), 42, 3, 50, 10_000);
            // 49 degrees of freedom: 85.4 is the 0.999 quantile.
            assert!(chi_squared(&d, 50, s) < 85.4, "s = {s}: {}", chi_squared(&d, 50, s));
            // The same test rejects a wrong distribution.
            assert!(chi_squared(&d, 50, s + 0.3) > 85.4);
        }
    }

    #[test]
    fn same_seed_same_sequence_other_seed_or_user_another() {
        let one = draws(Popularity::Zipf(1.0), 1, 0, 1000, 100);
        assert_eq!(one, draws(Popularity::Zipf(1.0), 1, 0, 1000, 100));
        assert_ne!(one, draws(Popularity::Zipf(1.0), 2, 0, 1000, 100));
        assert_ne!(one, draws(Popularity::Zipf(1.0), 1, 1, 1000, 100));
    }

    #[test]
    fn one_user_asks_more_than_one_query() {
        let d = draws(Popularity::default(), 9, 0, 10, 50);
        assert!(d.iter().any(|&q| q != d[0]));
    }

    #[test]
    fn shuffle_asks_each_query_once_per_round() {
        for n in [2, 3, 7, 64, 100] {
            let d = draws(Popularity::Shuffle, 5, 1, n, 2 * n);
            for round in d.chunks(n) {
                let mut sorted = round.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            }
            assert!(n < 7 || d[..n] != d[n..], "the second round has an order of its own");
        }
    }

    #[test]
    fn sequential_starts_at_the_users_number() {
        assert_eq!(draws(Popularity::Sequential, 0, 2, 4, 5), [2, 3, 0, 1, 2]);
    }

    #[test]
    fn pauses_have_the_stated_mean() {
        let mut rng = UserRng::new(3, 0, Popularity::Uniform);
        let n = 20_000;
        let mean = |think: ThinkTime, rng: &mut UserRng| {
            (0..n).map(|_| rng.pause(think).as_secs_f64()).sum::<f64>() / f64::from(n)
        };
        let ms = Duration::from_millis;
        assert_eq!(mean(ThinkTime::None, &mut rng), 0.0);
        assert!((mean(ThinkTime::Fixed(ms(10)), &mut rng) - 0.010).abs() < 1e-9);
        assert!((mean(ThinkTime::Uniform(ms(10), ms(30)), &mut rng) - 0.020).abs() < 0.0003);
        assert!((mean(ThinkTime::Exponential(ms(10)), &mut rng) - 0.010).abs() < 0.0003);
        // The mean of a log-normal is median * exp(sigma^2 / 2).
        let log_normal = ThinkTime::LogNormal { median: ms(10), sigma: 0.5 };
        assert!((mean(log_normal, &mut rng) - 0.01133).abs() < 0.0003);
    }
}
