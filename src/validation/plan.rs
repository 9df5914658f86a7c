//! The offered load, and the computation of the times at which its requests start. The times depend only on the load
//! and the seed; no clock and no thread is used.
//!
//! An open load is a *plan* of intended starts, fixed before the first request. Response time counts from the intended
//! start, so a stall of the system cannot hide the requests it delayed (G. Tene's "coordinated omission"). The plan is
//! one piecewise linear curve, the rate over time. The integral A(t) of the rate is the number of arrivals due by time
//! t. Arrival k is due at the time t for which
//!
//! * `A(t) = k` for uniform arrivals. The time is computed from k, never by adding rounded gaps, so no error
//!   accumulates.
//! * `A(t) = E_k`, a running sum of unit exponentials, for Poisson arrivals. The equation converts a Poisson process of
//!   rate 1 into a process of the planned rate, also on a ramp.
//!
//! On a piece whose rate goes from a to b over T seconds, with s = (b−a)/T, `n = a·t + s·t²/2` arrivals are due in the
//! first t seconds. The solution is computed as `t = 2n / (a + sqrt(a² + 2sn))`. This form needs no special case for a
//! constant rate (s = 0) and keeps all digits at small slopes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::BenchError;
use super::random::{Popularity, UserRng};

/// The spacing of the arrivals of an open load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrivals {
    /// Arrivals are evenly spaced.
    Uniform,
    /// Arrivals are independent. The gaps between them are exponentially distributed, so bursts occur.
    #[default]
    Poisson,
}

/// The treatment of arrivals of an open load while all workers are busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overload {
    /// Arrivals wait for a worker, and their response time includes the wait.
    #[default]
    Queue,
    /// Arrivals are dropped and counted in `dropped_arrivals`.
    Drop,
}

/// The change of the load's level during a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageShape {
    /// The level changes in a straight line from the end of the previous stage to the target.
    #[default]
    Linear,
    /// The level equals the target during the whole stage.
    Step,
}

/// The unit of the levels of a staged load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageUnit {
    /// Concurrent users in a closed loop.
    Users,
    /// Arrivals per second in an open loop.
    RatePerSec,
}

/// One stage of a staged load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Length of the stage.
    pub duration: Duration,
    /// Level at the end of the stage, in the unit of the load.
    pub target: f64,
    /// Change of the level during the stage.
    pub shape: StageShape,
}

/// The offered load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LoadModel {
    /// Each user sends its next request after the last answer and a think time.
    Closed {
        /// Number of simulated users.
        users: usize,
    },
    /// Requests start as planned, independently of earlier answers.
    Open {
        /// Arrivals per second.
        rate_per_sec: f64,
        /// Spacing of the arrivals.
        arrivals: Arrivals,
        /// Number of workers: the maximum number of concurrent requests.
        max_in_flight: usize,
        /// Treatment of arrivals while all workers are busy.
        overload: Overload,
    },
    /// The number of users or the rate changes over time in stages, as in the load generator k6. The measured window is
    /// the longest flat stage, or the whole run if no stage is flat.
    Staged {
        /// Level at the start.
        start: f64,
        /// The stages, in order.
        stages: Vec<Stage>,
        /// Unit of the levels.
        unit: StageUnit,
        /// Number of workers of a `RatePerSec` load. A `Users` load ignores it.
        max_in_flight: usize,
    },
    /// Requests start at recorded times.
    Replay {
        /// Intended starts in nanoseconds from the start of the run, ascending.
        offsets_ns: Vec<u64>,
        /// Number of workers.
        max_in_flight: usize,
    },
}

/// The measured window and the end of the load, in nanoseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phases {
    pub measure_start_ns: u64,
    pub measure_end_ns: u64,
    pub load_end_ns: u64,
}

impl LoadModel {
    /// Creates a closed load of `users` users.
    pub const fn closed(users: usize) -> Self {
        Self::Closed { users }
    }

    /// Creates a load of Poisson arrivals at `rate_per_sec` on 1,024 workers; arrivals that find no free worker wait.
    pub const fn open(rate_per_sec: f64) -> Self {
        let (arrivals, overload) = (Arrivals::Poisson, Overload::Queue);
        Self::Open { rate_per_sec, arrivals, max_in_flight: 1024, overload }
    }

    /// Returns the number of users or workers of the load.
    pub fn workers(&self) -> usize {
        match self {
            Self::Closed { users } => *users,
            Self::Staged { start, stages, unit: StageUnit::Users, .. } => {
                highest(*start, stages).ceil() as usize
            }
            Self::Open { max_in_flight, .. }
            | Self::Replay { max_in_flight, .. }
            | Self::Staged { max_in_flight, .. } => *max_in_flight,
        }
    }

    /// Whether response time counts from an intended start.
    pub const fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::Staged { unit: StageUnit::Users, .. })
    }

    /// Returns the load in a few words.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Closed { users } => format!("{users} users"),
            Self::Open { rate_per_sec, max_in_flight, .. } => format!("{rate_per_sec}/s on {max_in_flight}"),
            Self::Staged { stages, .. } => format!("{} stages", stages.len()),
            Self::Replay { offsets_ns, .. } => format!("replay of {}", offsets_ns.len()),
        }
    }

    /// Validates the load.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let rate = |r: f64, what| match r {
            r if !r.is_finite() => Err(BenchError::NonFinite(what)),
            r if r <= 0.0 => Err(BenchError::ZeroRate),
            _ => Ok(()),
        };
        match self {
            Self::Open { rate_per_sec, .. } => rate(*rate_per_sec, "rate_per_sec")?,
            Self::Staged { start, stages, .. } => {
                if !start.is_finite() || stages.iter().any(|s| !s.target.is_finite()) {
                    return Err(BenchError::NonFinite("stage target"));
                }
                rate(highest(*start, stages), "stage target")?;
                if stages.iter().all(|s| s.duration.is_zero()) {
                    return Err(BenchError::ZeroDuration);
                }
            }
            Self::Replay { offsets_ns, .. } if offsets_ns.is_empty() => return Err(BenchError::ZeroRate),
            Self::Closed { .. } | Self::Replay { .. } => {}
        }
        if self.workers() == 0 { Err(BenchError::ZeroUsers) } else { Ok(()) }
    }

    /// Returns the measured window and the end of the load.
    pub(super) fn phases(&self, ramp: Duration, warm_up: Duration, duration: Duration) -> Phases {
        let Self::Staged { start, stages, .. } = self else {
            let measure_start_ns = nanos(ramp) + nanos(warm_up);
            let end = measure_start_ns + nanos(duration);
            return Phases { measure_start_ns, measure_end_ns: end, load_end_ns: end };
        };
        let (mut end_ns, mut longest) = (0, None);
        for (piece, stage) in pieces(*start, stages).zip(stages) {
            let (begin, length) = (end_ns, nanos(stage.duration));
            end_ns += length;
            let is_flat = piece.from == piece.to && piece.to > 0.0;
            if is_flat && longest.is_none_or(|(a, b)| length > b - a) {
                longest = Some((begin, end_ns));
            }
        }
        let (measure_start_ns, measure_end_ns) = longest.unwrap_or((0, end_ns));
        Phases { measure_start_ns, measure_end_ns, load_end_ns: end_ns }
    }

    /// Returns the intended starts in nanoseconds from the start of the run; `None` for a closed load.
    pub(super) fn intended_starts(
        &self,
        ramp: Duration,
        load_end_ns: u64,
        seed: u64,
    ) -> Option<IntendedStarts> {
        let (pieces, source) = match self {
            Self::Open { rate_per_sec, arrivals, .. } => {
                let ramp_s = ramp.as_secs_f64();
                let rising = Piece::default().followed_by(ramp_s, 0.0, *rate_per_sec);
                let flat =
                    rising.followed_by(load_end_ns as f64 / 1e9 - ramp_s, *rate_per_sec, *rate_per_sec);
                let source = match arrivals {
                    Arrivals::Uniform => Source::Uniform,
                    Arrivals::Poisson => Source::Poisson {
                        sum: 0.0,
                        rng: Box::new(UserRng::new(seed, usize::MAX, Popularity::Uniform)),
                    },
                };
                (vec![rising, flat], source)
            }
            Self::Staged { start, stages, unit: StageUnit::RatePerSec, .. } => {
                (pieces(*start, stages).collect(), Source::Uniform)
            }
            Self::Replay { offsets_ns, .. } => (Vec::new(), Source::Recorded(offsets_ns.clone())),
            Self::Closed { .. } | Self::Staged { .. } => return None,
        };
        Some(IntendedStarts { pieces, source, next: 0, piece: 0, end_ns: load_end_ns })
    }

    /// Returns the number of users that are active at `t_ns`. The number changes only in a staged load with the unit
    /// `Users`. Does not allocate.
    pub(super) fn users_at(&self, t_ns: u64) -> usize {
        let Self::Staged { start, stages, unit: StageUnit::Users, .. } = self else { return self.workers() };
        let t_s = t_ns as f64 / 1e9;
        let piece = pieces(*start, stages).find(|p| t_s < p.start_s + p.len_s);
        piece.map_or(0, |p| (p.from + (p.to - p.from) * (t_s - p.start_s) / p.len_s).round() as usize)
    }
}

fn highest(start: f64, stages: &[Stage]) -> f64 {
    stages.iter().map(|s| s.target).fold(start, f64::max)
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// A span of time in which the level changes linearly, with the number of arrivals due before the span.
#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    start_s: f64,
    len_s: f64,
    from: f64,
    to: f64,
    due_before: f64,
}

impl Piece {
    fn due(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.len_s
    }

    fn followed_by(&self, len_s: f64, from: f64, to: f64) -> Self {
        let (start_s, due_before) = (self.start_s + self.len_s, self.due_before + self.due());
        Self { start_s, len_s: len_s.max(0.0), from: from.max(0.0), to: to.max(0.0), due_before }
    }

    /// Returns the time, in seconds, by which `due` arrivals of the whole load are due; `None` if that time is after
    /// this piece.
    fn invert(&self, due: f64) -> Option<f64> {
        let n = due - self.due_before;
        if n >= self.due() {
            return None;
        }
        if n <= 0.0 {
            return Some(self.start_s);
        }
        let slope = (self.to - self.from) / self.len_s;
        let root = (self.from * self.from + 2.0 * slope * n).max(0.0).sqrt();
        Some(self.start_s + (2.0 * n / (self.from + root)).min(self.len_s))
    }
}

fn pieces(start: f64, stages: &[Stage]) -> impl Iterator<Item = Piece> + '_ {
    stages.iter().scan(Piece { to: start, ..Piece::default() }, |last, stage| {
        let from = if stage.shape == StageShape::Step { stage.target } else { last.to };
        *last = last.followed_by(stage.duration.as_secs_f64(), from, stage.target);
        Some(*last)
    })
}

#[derive(Debug, Clone)]
enum Source {
    Uniform,
    Poisson { sum: f64, rng: Box<UserRng> },
    Recorded(Vec<u64>),
}

/// An iterator over the intended starts of an open load. Clones give the same sequence.
#[derive(Debug, Clone)]
pub(super) struct IntendedStarts {
    pieces: Vec<Piece>,
    source: Source,
    next: u64,
    piece: usize,
    end_ns: u64,
}

impl Iterator for IntendedStarts {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let k = self.next;
        self.next += 1;
        let due = match &mut self.source {
            Source::Recorded(offsets) => {
                return offsets.get(usize::try_from(k).ok()?).copied().filter(|&t| t < self.end_ns);
            }
            Source::Uniform => k as f64,
            Source::Poisson { sum, rng } => {
                *sum += rng.exponential();
                *sum
            }
        };
        let start_s = loop {
            match self.pieces.get(self.piece)?.invert(due) {
                Some(start_s) => break start_s,
                None => self.piece += 1,
            }
        };
        let start_ns = (start_s * 1e9).round() as u64;
        (start_ns < self.end_ns).then_some(start_ns)
    }
}

/// The numbers of users of a scalability test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Levels {
    /// The levels `step`, `2·step`, … up to `max`, and 1.
    Arithmetic {
        /// The highest level.
        max: usize,
        /// Difference between consecutive levels.
        step: usize,
    },
    /// The levels 1, 2, 4, … up to `max`.
    Geometric {
        /// The highest level.
        max: usize,
    },
    /// The levels of the list, and 1.
    List(Vec<usize>),
}

impl Levels {
    /// Returns the levels in ascending order without duplicates. The baseline 1 and the highest level are always
    /// included.
    ///
    /// # Errors
    /// Returns [`BenchError::ZeroStep`] for a step of 0, and [`BenchError::ZeroUsers`] if there is no level or a level
    /// is 0.
    ///
    /// # Examples
    /// ```
    /// use heapledger::validation::Levels;
    /// assert_eq!(Levels::Arithmetic { max: 10, step: 4 }.counts().unwrap(), [1, 4, 8, 10]);
    /// assert_eq!(Levels::Geometric { max: 6 }.counts().unwrap(), [1, 2, 4, 6]);
    /// ```
    pub fn counts(&self) -> Result<Vec<usize>, BenchError> {
        let mut counts = vec![1];
        match self {
            Self::Arithmetic { step: 0, .. } => return Err(BenchError::ZeroStep),
            Self::Arithmetic { max, step } => counts.extend((*step..*max).step_by(*step).chain([*max])),
            Self::Geometric { max } => {
                let doubled = std::iter::successors(Some(1usize), |n| n.checked_mul(2));
                counts.extend(doubled.take_while(|n| n < max).chain([*max]));
            }
            Self::List(list) if list.is_empty() => return Err(BenchError::ZeroUsers),
            Self::List(list) => counts.extend(list),
        }
        if counts.contains(&0) {
            return Err(BenchError::ZeroUsers);
        }
        counts.sort_unstable();
        counts.dedup();
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    fn open(rate: f64, arrivals: Arrivals) -> LoadModel {
        LoadModel::Open { rate_per_sec: rate, arrivals, max_in_flight: 1, overload: Overload::Queue }
    }

    fn starts(load: &LoadModel, ramp_s: u64, end_s: u64) -> Vec<u64> {
        load.intended_starts(Duration::from_secs(ramp_s), end_s * SEC, 11).unwrap().collect()
    }

    #[test]
    fn uniform_starts_do_not_drift() {
        let plan = starts(&open(3.0, Arrivals::Uniform), 0, 1000);
        assert_eq!(plan.len(), 3000);
        for (k, &t) in plan.iter().enumerate() {
            assert_eq!(t, (k as f64 / 3.0 * 1e9).round() as u64);
        }
    }

    /// Returns the mean and standard deviation of the gaps in seconds, and their largest distance from the exponential
    /// distribution, multiplied by √n (the Kolmogorov statistic).
    fn gap_statistics(plan: &[u64], rate: f64) -> (f64, f64, f64) {
        let mut gaps: Vec<f64> = plan.windows(2).map(|w| (w[1] - w[0]) as f64 / 1e9).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let sd = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt();
        gaps.sort_by(f64::total_cmp);
        let ks = gaps
            .iter()
            .enumerate()
            .map(|(i, g)| {
                let f = 1.0 - (-rate * g).exp();
                (f - i as f64 / n).abs().max((f - (i + 1) as f64 / n).abs())
            })
            .fold(0.0, f64::max);
        (mean, sd, ks * n.sqrt())
    }

    #[test]
    fn poisson_gaps_are_exponential_and_uniform_gaps_are_not() {
        let plan = starts(&open(100.0, Arrivals::Poisson), 0, 400);
        assert!((plan.len() as f64 / 40_000.0 - 1.0).abs() < 0.01, "{} arrivals", plan.len());
        let (mean, sd, ks) = gap_statistics(&plan, 100.0);
        assert!((mean - 0.01).abs() < 0.0001 && (sd - 0.01).abs() < 0.0003, "mean {mean} sd {sd}");
        // 1.95 is the 0.999 quantile of Kolmogorov's distribution.
        assert!(ks < 1.95, "distance {ks}");
        let (_, sd, ks) = gap_statistics(&starts(&open(100.0, Arrivals::Uniform), 0, 400), 100.0);
        assert!(sd < 1e-6 && ks > 1.95);
    }

    #[test]
    fn a_ramp_offers_its_integral() {
        // A ramp from 0 to 100/s over 10 s has 500 arrivals. Arrival k is due at the time t for which 5 t² = k.
        let plan = starts(&open(100.0, Arrivals::Uniform), 10, 20);
        assert_eq!(plan.len(), 1500);
        for k in [1u64, 50, 125, 499] {
            let due = (k as f64 / 5.0).sqrt() * 1e9;
            assert!((plan[k as usize] as f64 - due).abs() < 2.0);
        }
        assert_eq!(plan[500], 10 * SEC);
        assert_eq!(plan[501] - plan[500], SEC / 100);
    }

    #[test]
    fn stages_ramp_down_too_and_the_window_is_the_flat_one() {
        let stage = |s, target, shape| Stage { duration: Duration::from_secs(s), target, shape };
        let stages = vec![
            stage(10, 50.0, StageShape::Linear),
            stage(20, 50.0, StageShape::Linear),
            stage(10, 0.0, StageShape::Linear),
        ];
        let load = LoadModel::Staged { start: 0.0, stages, unit: StageUnit::RatePerSec, max_in_flight: 4 };
        let phases = load.phases(Duration::ZERO, Duration::ZERO, Duration::from_secs(1));
        assert_eq!(
            phases,
            Phases { measure_start_ns: 10 * SEC, measure_end_ns: 30 * SEC, load_end_ns: 40 * SEC }
        );
        assert_eq!(starts(&load, 0, 40).len(), 250 + 1000 + 250);
    }

    #[test]
    fn staged_users_follow_the_line() {
        let stages = vec![
            Stage { duration: Duration::from_secs(10), target: 10.0, shape: StageShape::Linear },
            Stage { duration: Duration::from_secs(5), target: 4.0, shape: StageShape::Step },
        ];
        let load = LoadModel::Staged { start: 0.0, stages, unit: StageUnit::Users, max_in_flight: 10 };
        assert_eq!(load.workers(), 10);
        assert_eq!([0, 5 * SEC, 11 * SEC, 16 * SEC].map(|t| load.users_at(t)), [0, 5, 4, 0]);
    }

    #[test]
    fn replay_repeats_the_offsets_inside_the_run() {
        let load = LoadModel::Replay { offsets_ns: vec![5, 7, 7, 3 * SEC], max_in_flight: 1 };
        assert_eq!(starts(&load, 0, 1), [5, 7, 7]);
    }

    #[test]
    fn impossible_loads_are_named() {
        assert!(matches!(LoadModel::closed(0).check(), Err(BenchError::ZeroUsers)));
        assert!(matches!(open(0.0, Arrivals::Uniform).check(), Err(BenchError::ZeroRate)));
        assert!(matches!(
            open(f64::NAN, Arrivals::Uniform).check(),
            Err(BenchError::NonFinite("rate_per_sec"))
        ));
        assert!(matches!(Levels::Arithmetic { max: 8, step: 0 }.counts(), Err(BenchError::ZeroStep)));
        assert!(matches!(Levels::Geometric { max: 0 }.counts(), Err(BenchError::ZeroUsers)));
    }

    #[test]
    fn levels_hold_one_and_the_highest() {
        assert_eq!(Levels::Geometric { max: 12 }.counts().unwrap(), [1, 2, 4, 8, 12]);
        assert_eq!(Levels::Arithmetic { max: 3, step: 10 }.counts().unwrap(), [1, 3]);
        assert_eq!(Levels::List(vec![8, 2, 8]).counts().unwrap(), [1, 2, 8]);
    }
}
