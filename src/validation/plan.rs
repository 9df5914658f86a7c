//! What load to offer, as pure arithmetic: no clock, no thread, no randomness but the seed's.
//!
//! An open load is a *plan* of intended starts, fixed before the first request. Response time counts from the
//! intended start, so a stall of the system cannot hide the requests that it delayed (G. Tene's "coordinated
//! omission"). The plan is one curve: the rate over time, piecewise linear, and its integral A(t), the number of
//! arrivals due by t. Arrival k happens where
//!
//! * `A(t) = k` for uniform arrivals: computed from k each time, never by adding rounded gaps, so no error builds up;
//! * `A(t) = E_k`, a running sum of unit exponentials, for Poisson arrivals: the time change turns a unit Poisson
//!   process into one of any rate, ramps included.
//!
//! On a piece with rate a rising to b over T seconds, `n = a·t + (b−a)·t²/2T`. It is solved in the form
//! `t = 2n / (a + sqrt(a² + 2sn))`, which needs no case for a flat piece and loses no digits when the slope is small.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::BenchError;
use super::workload::{Popularity, UserRng};

/// How the arrivals of an open load are spaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrivals {
    /// Evenly: the steadiest load of its rate.
    Uniform,
    /// As independent strangers arrive: exponential gaps, with bursts.
    #[default]
    Poisson,
}

/// What an open load does when all its workers are busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overload {
    /// Arrivals wait for a worker, and their response time says so.
    #[default]
    Queue,
    /// Arrivals are turned away and counted in `dropped_arrivals`.
    Drop,
}

/// How a stage reaches its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// In a straight line from where the stage before ended.
    #[default]
    Linear,
    /// At once, and stays.
    Step,
}

/// What the numbers of a staged load count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Concurrent users in a closed loop.
    Users,
    /// Arrivals a second in an open loop.
    RatePerSec,
}

/// One stage of a staged load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How long it lasts.
    pub duration: Duration,
    /// The level at its end, in the load's unit.
    pub target: f64,
    /// How it gets there.
    pub shape: Shape,
}

/// The load to offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LoadModel {
    /// Each user sends its next request when the last one is answered and its think time is over.
    Closed {
        /// Simulated users.
        users: usize,
    },
    /// Requests start when the plan says, whatever became of the ones before.
    Open {
        /// Arrivals a second.
        rate_per_sec: f64,
        /// How they are spaced.
        arrivals: Arrivals,
        /// Workers: the most requests under way at once.
        max_in_flight: usize,
        /// What happens to arrivals that find no free worker.
        overload: Overload,
    },
    /// Levels that change over time, as k6's stages. Ramps are left out of the statistics: the measured window is
    /// the longest flat stage, or the whole run when no stage is flat.
    Staged {
        /// The level at the beginning.
        start: f64,
        /// The stages, in order.
        stages: Vec<Stage>,
        /// What the levels count.
        unit: Unit,
        /// Workers of a `RatePerSec` load; the most users of a `Users` load.
        max_in_flight: usize,
    },
    /// Recorded arrivals again.
    Replay {
        /// Intended starts in nanoseconds from the beginning, ascending.
        offsets_ns: Vec<u64>,
        /// Workers.
        max_in_flight: usize,
    },
}

/// The measured window and the run's end, in nanoseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phases {
    pub measure_start_ns: u64,
    pub measure_end_ns: u64,
    pub load_end_ns: u64,
}

impl LoadModel {
    /// A closed load of `users` users.
    pub const fn closed(users: usize) -> Self {
        Self::Closed { users }
    }

    /// Poisson arrivals at `rate_per_sec`, queued when all 1,024 workers are busy.
    pub const fn open(rate_per_sec: f64) -> Self {
        Self::Open {
            rate_per_sec,
            arrivals: Arrivals::Poisson,
            max_in_flight: 1024,
            overload: Overload::Queue,
        }
    }

    /// How many users or workers the load needs.
    pub fn workers(&self) -> usize {
        match self {
            Self::Closed { users } => *users,
            Self::Open { max_in_flight, .. } | Self::Replay { max_in_flight, .. } => *max_in_flight,
            Self::Staged { start, stages, unit: Unit::Users, .. } => {
                stages.iter().map(|s| s.target).fold(*start, f64::max).ceil() as usize
            }
            Self::Staged { max_in_flight, .. } => *max_in_flight,
        }
    }

    /// Whether response time counts from an intended start.
    pub const fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::Staged { unit: Unit::Users, .. })
    }

    /// Checks what no run could make sense of.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let rate = |r: f64, what| {
            if !r.is_finite() {
                Err(BenchError::NonFinite(what))
            } else if r <= 0.0 {
                Err(BenchError::ZeroRate)
            } else {
                Ok(())
            }
        };
        match self {
            Self::Closed { .. } => {}
            Self::Open { rate_per_sec, .. } => rate(*rate_per_sec, "rate_per_sec")?,
            Self::Staged { start, stages, .. } => {
                if !start.is_finite() || stages.iter().any(|s| !s.target.is_finite()) {
                    return Err(BenchError::NonFinite("stage target"));
                }
                rate(stages.iter().map(|s| s.target).fold(*start, f64::max), "stage target")?;
                if stages.iter().all(|s| s.duration.is_zero()) {
                    return Err(BenchError::ZeroDuration);
                }
            }
            Self::Replay { offsets_ns, .. } => {
                if offsets_ns.is_empty() {
                    return Err(BenchError::ZeroRate);
                }
            }
        }
        if self.workers() == 0 { Err(BenchError::ZeroUsers) } else { Ok(()) }
    }

    /// Where the measured window lies.
    pub(super) fn phases(&self, ramp: Duration, warm_up: Duration, duration: Duration) -> Phases {
        let Self::Staged { start, stages, .. } = self else {
            let measure_start_ns = nanos(ramp) + nanos(warm_up);
            let end = measure_start_ns + nanos(duration);
            return Phases { measure_start_ns, measure_end_ns: end, load_end_ns: end };
        };
        let (mut at, mut level) = (0, *start);
        let mut best: Option<(u64, u64)> = None;
        for stage in stages {
            let len = nanos(stage.duration);
            let flat = stage.shape == Shape::Step || stage.target == level;
            if flat && stage.target > 0.0 && best.is_none_or(|(a, b)| len > b - a) {
                best = Some((at, at + len));
            }
            at += len;
            level = stage.target;
        }
        let (measure_start_ns, measure_end_ns) = best.unwrap_or((0, at));
        Phases { measure_start_ns, measure_end_ns, load_end_ns: at }
    }

    /// The intended starts in nanoseconds from the start of the run; `None` for a closed load.
    pub(super) fn intended_starts(
        &self,
        ramp: Duration,
        load_end_ns: u64,
        seed: u64,
    ) -> Option<IntendedStarts> {
        let end_s = load_end_ns as f64 / 1e9;
        let (curve, source) = match self {
            Self::Open { rate_per_sec, arrivals, .. } => {
                let mut curve = RateCurve::default();
                let ramp_s = ramp.as_secs_f64();
                curve.push(ramp_s, 0.0, *rate_per_sec);
                curve.push(end_s - ramp_s, *rate_per_sec, *rate_per_sec);
                (curve, Source::of(*arrivals, seed))
            }
            Self::Staged { start, stages, unit: Unit::RatePerSec, .. } => {
                let mut curve = RateCurve::default();
                let mut level = *start;
                for stage in stages {
                    let from = if stage.shape == Shape::Step { stage.target } else { level };
                    curve.push(stage.duration.as_secs_f64(), from, stage.target);
                    level = stage.target;
                }
                (curve, Source::of(Arrivals::Uniform, seed))
            }
            Self::Replay { offsets_ns, .. } => (RateCurve::default(), Source::Recorded(offsets_ns.clone())),
            Self::Closed { .. } | Self::Staged { .. } => return None,
        };
        Some(IntendedStarts { curve, source, next: 0, segment: 0, end_ns: load_end_ns })
    }

    /// How many users should be active at `t_ns`; all of them except in a `Users` staging.
    pub(super) fn users_at(&self, t_ns: u64) -> usize {
        let Self::Staged { start, stages, unit: Unit::Users, .. } = self else { return self.workers() };
        let (mut at, mut level) = (0u64, *start);
        for stage in stages {
            let len = nanos(stage.duration);
            if t_ns < at + len {
                let share = if stage.shape == Shape::Step { 1.0 } else { (t_ns - at) as f64 / len as f64 };
                return (level + (stage.target - level) * share).round().max(0.0) as usize;
            }
            at += len;
            level = stage.target;
        }
        0
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start_s: f64,
    len_s: f64,
    from: f64,
    to: f64,
    due_before: f64,
}

/// Rate over time, and the arrivals due before each piece.
#[derive(Debug, Clone, Default)]
struct RateCurve {
    pieces: Vec<Piece>,
}

impl RateCurve {
    fn push(&mut self, len_s: f64, from: f64, to: f64) {
        if len_s <= 0.0 {
            return;
        }
        let (start_s, due_before) = self
            .pieces
            .last()
            .map_or((0.0, 0.0), |p| (p.start_s + p.len_s, p.due_before + (p.from + p.to) / 2.0 * p.len_s));
        self.pieces.push(Piece { start_s, len_s, from: from.max(0.0), to: to.max(0.0), due_before });
    }

    /// When `due` arrivals are due, in seconds; `segment` remembers the piece of the call before.
    fn invert(&self, due: f64, segment: &mut usize) -> Option<f64> {
        while let Some(p) = self.pieces.get(*segment) {
            let n = due - p.due_before;
            let total = (p.from + p.to) / 2.0 * p.len_s;
            if n < total {
                if n <= 0.0 {
                    return Some(p.start_s);
                }
                let slope = (p.to - p.from) / p.len_s;
                let root = (p.from * p.from + 2.0 * slope * n).max(0.0).sqrt();
                return Some(p.start_s + (2.0 * n / (p.from + root)).min(p.len_s));
            }
            *segment += 1;
        }
        None
    }
}

#[derive(Debug, Clone)]
enum Source {
    Uniform,
    Poisson { sum: f64, rng: UserRng },
    Recorded(Vec<u64>),
}

impl Source {
    fn of(arrivals: Arrivals, seed: u64) -> Self {
        match arrivals {
            Arrivals::Uniform => Self::Uniform,
            Arrivals::Poisson => {
                Self::Poisson { sum: 0.0, rng: UserRng::new(seed, usize::MAX, Popularity::Uniform) }
            }
        }
    }
}

/// The intended starts of an open load, one after the other. Two copies give the same sequence.
#[derive(Debug, Clone)]
pub(super) struct IntendedStarts {
    curve: RateCurve,
    source: Source,
    next: u64,
    segment: usize,
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
        let t_ns = (self.curve.invert(due, &mut self.segment)? * 1e9).round() as u64;
        (t_ns < self.end_ns).then_some(t_ns)
    }
}

/// The user counts of a scalability run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Levels {
    /// `step`, `2·step`, … up to `max`.
    Arithmetic {
        /// The highest level.
        max: usize,
        /// The distance between two levels.
        step: usize,
    },
    /// 1, 2, 4, … up to `max`.
    Geometric {
        /// The highest level.
        max: usize,
    },
    /// Exactly these, and 1.
    List(Vec<usize>),
}

impl Levels {
    /// The levels in ascending order: 1 is always there (it is the baseline), so is the highest one, and none twice.
    ///
    /// # Errors
    /// [`BenchError::ZeroStep`] for a step of 0 and [`BenchError::ZeroUsers`] when no level, or level 0, is asked for.
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
            Self::Arithmetic { max: 0, .. } | Self::Geometric { max: 0 } => {
                return Err(BenchError::ZeroUsers);
            }
            Self::Arithmetic { max, step } => {
                counts.extend((*step..=*max).step_by(*step));
                counts.push(*max);
            }
            Self::Geometric { max } => {
                counts.extend(
                    std::iter::successors(Some(1usize), |n| n.checked_mul(2)).take_while(|n| n <= max),
                );
                counts.push(*max);
            }
            Self::List(list) if list.is_empty() || list.contains(&0) => return Err(BenchError::ZeroUsers),
            Self::List(list) => counts.extend(list),
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

    /// Mean, standard deviation, and the largest distance from the exponential distribution.
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
        // 0 to 100/s over 10 s are 500 arrivals; arrival k is due where 5 t² = k.
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
            stage(10, 50.0, Shape::Linear),
            stage(20, 50.0, Shape::Linear),
            stage(10, 0.0, Shape::Linear),
        ];
        let load = LoadModel::Staged { start: 0.0, stages, unit: Unit::RatePerSec, max_in_flight: 4 };
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
            Stage { duration: Duration::from_secs(10), target: 10.0, shape: Shape::Linear },
            Stage { duration: Duration::from_secs(5), target: 4.0, shape: Shape::Step },
        ];
        let load = LoadModel::Staged { start: 0.0, stages, unit: Unit::Users, max_in_flight: 10 };
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
