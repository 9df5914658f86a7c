//! Randomness that repeats: one small generator per simulated user.
//!
//! A load test that cannot be repeated cannot be debugged, and one whose users draw the same numbers is no load:
//! every user gets its own stream, seeded from the run's seed and the user's number, so the same seed gives the same
//! requests whatever the scheduler does.
//!
//! * The generator is SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014).
//! * Zipf popularity uses rejection-inversion (Hörmann and Derflinger, *Rejection-inversion to generate variates from
//!   monotone discrete distributions*, 1996): exact, constant time, and without a table, so that drawing a query
//!   never allocates inside the measured window.
//! * Shuffling without replacement is a keyed permutation (four Feistel rounds with cycle walking) instead of a
//!   stored order, for the same reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which of `n` queries a user asks next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Popularity {
    /// All alike.
    Uniform,
    /// The query of rank r is drawn with a weight of r^-s. The exponent must be positive and finite.
    Zipf(f64),
    /// In order, starting at the user's own number.
    Sequential,
    /// Each query once per round, in an order of the user's own, anew each round.
    Shuffle,
}

impl Default for Popularity {
    fn default() -> Self {
        Self::Zipf(1.0)
    }
}

/// How long a user pauses between an answer and the next request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum ThinkTime {
    /// Not at all: the setting for capacity and scalability runs.
    #[default]
    None,
    /// Always as long.
    Fixed(Duration),
    /// Evenly between two bounds.
    Uniform(Duration, Duration),
    /// Exponential with this mean: what independent people look like from afar.
    Exponential(Duration),
    /// Log-normal with this median and this sigma of the logarithm: a few long pauses among many short ones.
    LogNormal {
        /// Half of the pauses are shorter.
        median: Duration,
        /// Standard deviation of the natural logarithm; 0 is `Fixed`.
        sigma: f64,
    },
}

/// A user's own stream of random numbers.
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
    state: u64,
    popularity: Popularity,
    user: u64,
    key: u64,
    drawn: u64,
}

impl UserRng {
    /// The stream of `user` under `seed`; `popularity` is what [`pick`](Self::pick) follows.
    pub fn new(seed: u64, user: usize, popularity: Popularity) -> Self {
        // The user's number is scrambled first: seeds 0 and 1 with users 1 and 0 must not share a stream.
        let key = mix(seed ^ mix(user as u64 ^ 0x5851_F42D_4C95_7F2D));
        Self { state: key, popularity, user: user as u64, key, drawn: 0 }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// An even draw from `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // Multiply-shift: the bias is below n / 2^64, far under anything a load test can see.
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// An exponential draw with mean 1.
    pub fn exponential(&mut self) -> f64 {
        // 1 - unit() lies in (0, 1], so the logarithm is finite.
        -(1.0 - self.unit()).ln()
    }

    /// Which of `n` queries comes next, as the popularity says; 0 when `n` is 0.
    pub fn pick(&mut self, n: usize) -> usize {
        if n < 2 {
            return 0;
        }
        let k = self.drawn;
        self.drawn += 1;
        match self.popularity {
            Popularity::Uniform => self.below(n as u64) as usize,
            Popularity::Zipf(s) => self.zipf(n, s),
            Popularity::Sequential => ((self.user + k) % n as u64) as usize,
            Popularity::Shuffle => {
                let (round, place) = (k / n as u64, k % n as u64);
                permute(place, n as u64, mix(self.key ^ mix(round))) as usize
            }
        }
    }

    /// The next pause.
    pub fn pause(&mut self, think: ThinkTime) -> Duration {
        match think {
            ThinkTime::None => Duration::ZERO,
            ThinkTime::Fixed(d) => d,
            ThinkTime::Uniform(a, b) => {
                let (low, high) = (a.min(b), a.max(b));
                low + Duration::from_secs_f64((high - low).as_secs_f64() * self.unit())
            }
            ThinkTime::Exponential(mean) => bounded_secs(mean.as_secs_f64() * self.exponential()),
            ThinkTime::LogNormal { median, sigma } => {
                bounded_secs(median.as_secs_f64() * (sigma * self.normal()).exp())
            }
        }
    }

    /// A standard normal draw (Box and Muller's transform, one of the pair).
    fn normal(&mut self) -> f64 {
        let r = (2.0 * self.exponential()).sqrt();
        r * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn zipf(&mut self, n: usize, s: f64) -> usize {
        let h = |x: f64| h_integral(x, s);
        let (low, high) = (h(1.5) - 1.0, h(n as f64 + 0.5));
        let shortcut = 2.0 - h_inverse(h(2.5) - (-s * 2f64.ln()).exp(), s);
        loop {
            let u = high + self.unit() * (low - high);
            let x = h_inverse(u, s);
            let k = x.round().clamp(1.0, n as f64);
            if k - x <= shortcut || u >= h(k + 0.5) - (-s * k.ln()).exp() {
                return k as usize - 1;
            }
        }
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's output function: every input bit reaches every output bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Antiderivative of x^-s that is 0 at 1, written so that s = 1 needs no case of its own.
fn h_integral(x: f64, s: f64) -> f64 {
    let log = x.ln();
    expm1_over((1.0 - s) * log) * log
}

fn h_inverse(y: f64, s: f64) -> f64 {
    let t = (y * (1.0 - s)).max(-1.0);
    (ln1p_over(t) * y).exp()
}

/// (e^x - 1) / x, 1 at 0.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// ln(1 + x) / x, 1 at 0.
fn ln1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

/// Position `x` of a permutation of `0..n`: a Feistel network over the next even number of bits, walked until the
/// value falls inside.
fn permute(x: u64, n: u64, key: u64) -> u64 {
    let bits = (64 - (n - 1).leading_zeros()).max(2);
    let half = bits.div_ceil(2);
    let mask = (1u64 << half) - 1;
    let mut v = x;
    loop {
        let (mut left, mut right) = (v >> half, v & mask);
        for round in 0..4u64 {
            (left, right) = (right, left ^ (mix(right ^ key ^ round.wrapping_mul(GOLDEN)) & mask));
        }
        v = (left << half) | right;
        if v < n {
            return v;
        }
    }
}

/// A pause of at most one hour: a long tail must not end the test.
fn bounded_secs(s: f64) -> Duration {
    Duration::from_secs_f64(if s.is_finite() { s.clamp(0.0, 3600.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(p: Popularity, seed: u64, user: usize, n: usize, count: usize) -> Vec<usize> {
        let mut rng = UserRng::new(seed, user, p);
        (0..count).map(|_| rng.pick(n)).collect()
    }

    /// Chi-squared of the draws against Zipf weights.
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
            // The checker itself sees a wrong distribution.
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
