//! The concurrent benchmark: one load, or a series of rising loads.
//!
//! A [`ConcurrentBenchmark`] owns a workload and a set-up. `run_*` are plain calls that own their threads, so that a
//! system under test that blocks its executor cannot block the caller; `drive_*` run the same thing in the caller's
//! runtime and on its clock. A scalability test repeats every level, in an order shuffled by the seed, because a
//! machine that warms up or drifts would otherwise look like a law of scaling (Zhang and others, *Treadmill*, 2016).

use std::sync::Arc;
use std::time::Duration;

use super::completeness::{Overhead, OverheadPair, TrackerProbe, interleaved};
use super::config::{BenchError, BenchmarkConfig};
use super::deadlock::DeadlockDetector;
use super::executor::{Run, StopHandle, run_apart, run_here};
use super::live::LiveStatus;
use super::plan::{Levels, LoadModel};
use super::result::ConcurrentTestResult;
use super::scalability::{ScalabilityReport, analyse};
use super::workload::{Popularity, UserRng, Workload};

/// Drives concurrent load through a workload.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use heapledger::validation::{BenchmarkConfig, ConcurrentBenchmark, LoadModel, NullWorkload};
/// let config = BenchmarkConfig { cpu_metering: heapledger::validation::Metering::Off, ..BenchmarkConfig::bare() };
/// let benchmark = ConcurrentBenchmark::new(NullWorkload::pausing(Duration::from_millis(1)), config)?;
/// let result = benchmark.run_concurrent_test(LoadModel::closed(2), Duration::from_millis(100))?;
/// assert!(result.is_conserved() && result.successful_requests > 0);
/// # Ok::<(), heapledger::validation::BenchError>(())
/// ```
pub struct ConcurrentBenchmark<W: Workload> {
    workload: Arc<W>,
    config: BenchmarkConfig,
    detector: DeadlockDetector,
    probe: Option<Arc<dyn TrackerProbe>>,
    stop: StopHandle,
    live: LiveStatus,
}

impl<W: Workload> std::fmt::Debug for ConcurrentBenchmark<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConcurrentBenchmark")
            .field("workload", &self.workload.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<W: Workload> ConcurrentBenchmark<W> {
    /// A benchmark of `workload`.
    ///
    /// # Errors
    /// [`BenchError`] when the set-up makes no sense.
    pub fn new(workload: W, config: BenchmarkConfig) -> Result<Self, BenchError> {
        config.check()?;
        let detector = DeadlockDetector::new(config.deadlock_timeout);
        let (stop, live) = (StopHandle::default(), LiveStatus::default());
        Ok(Self { workload: Arc::new(workload), config, detector, probe: None, stop, live })
    }

    /// Watches the tracker through `probe`.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn TrackerProbe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Uses a detector that the workload's locks and pools were made with.
    #[must_use]
    pub fn with_detector(mut self, detector: DeadlockDetector) -> Self {
        self.detector = detector;
        self
    }

    /// Ends the window early when `stop` is asked to.
    #[must_use]
    pub fn with_stop(mut self, stop: StopHandle) -> Self {
        self.stop = stop;
        self
    }

    /// Ends the window early when asked; for an interrupt handler.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the run under way is doing; for a status line.
    pub fn live(&self) -> LiveStatus {
        self.live.clone()
    }

    /// The workload.
    pub fn workload(&self) -> &W {
        &self.workload
    }

    /// The set-up.
    pub const fn config(&self) -> &BenchmarkConfig {
        &self.config
    }

    /// Runs one load on threads of its own. Returns within ramp, warm-up, window and graceful stop plus three seconds,
    /// whatever the workload does.
    ///
    /// # Errors
    /// [`BenchError`] when the load makes no sense or could not be started. Failures of requests are no error.
    pub fn run_concurrent_test(
        &self,
        load: LoadModel,
        test_duration: Duration,
    ) -> Result<ConcurrentTestResult, BenchError> {
        self.run_with_seed(load, test_duration, self.config.seed)
    }

    pub(super) fn run_with_seed(
        &self,
        load: LoadModel,
        test_duration: Duration,
        seed: u64,
    ) -> Result<ConcurrentTestResult, BenchError> {
        let run = self.prepare(&load, test_duration, seed)?;
        Ok(ConcurrentTestResult::of(
            run_apart(&run)?,
            &load,
            &BenchmarkConfig { seed, ..self.config.clone() },
        ))
    }

    /// Runs one load in the caller's runtime and on its clock, which may be paused. A workload that blocks its thread
    /// blocks the caller.
    ///
    /// # Errors
    /// As [`run_concurrent_test`](Self::run_concurrent_test).
    pub async fn drive_concurrent_test(
        &self,
        load: LoadModel,
        test_duration: Duration,
    ) -> Result<ConcurrentTestResult, BenchError> {
        let run = self.prepare(&load, test_duration, self.config.seed)?;
        Ok(ConcurrentTestResult::of(run_here(run).await?, &load, &self.config))
    }

    /// Runs a closed load at every level, each `repetitions` times, in shuffled order.
    ///
    /// # Errors
    /// [`BenchError`], also [`BenchError::Aborted`] when a threshold marked `abort:` was breached.
    pub fn run_scalability_test(
        &self,
        levels: Levels,
        test_duration_per_step: Duration,
    ) -> Result<ScalabilityReport, BenchError> {
        let order = self.order(&levels)?;
        let mut results = Vec::with_capacity(order.len());
        for (i, &users) in order.iter().enumerate() {
            if self.stop.is_stopped() {
                break;
            }
            if i > 0 {
                std::thread::sleep(self.config.recovery);
            }
            let run =
                self.prepare(&LoadModel::closed(users), test_duration_per_step, self.config.seed + i as u64)?;
            results.push(self.checked(ConcurrentTestResult::of(
                run_apart(&run)?,
                &LoadModel::closed(users),
                &self.config,
            ))?);
        }
        Ok(analyse(results, order, &self.config))
    }

    /// As [`run_scalability_test`](Self::run_scalability_test), in the caller's runtime and on its clock.
    ///
    /// # Errors
    /// As [`run_scalability_test`](Self::run_scalability_test).
    pub async fn drive_scalability_test(
        &self,
        levels: Levels,
        test_duration_per_step: Duration,
    ) -> Result<ScalabilityReport, BenchError> {
        let order = self.order(&levels)?;
        let mut results = Vec::with_capacity(order.len());
        for (i, &users) in order.iter().enumerate() {
            if self.stop.is_stopped() {
                break;
            }
            if i > 0 {
                tokio::time::sleep(self.config.recovery).await;
            }
            let load = LoadModel::closed(users);
            let run = self.prepare(&load, test_duration_per_step, self.config.seed + i as u64)?;
            results.push(self.checked(ConcurrentTestResult::of(
                run_here(run).await?,
                &load,
                &self.config,
            ))?);
        }
        Ok(analyse(results, order, &self.config))
    }

    /// Measures what the tracker costs at one load: `pairs` runs with it on and as many with it off, interleaved.
    /// `None` when there is no probe, or one that cannot turn its tracker off.
    ///
    /// # Errors
    /// As [`run_concurrent_test`](Self::run_concurrent_test).
    pub fn measure_overhead(
        &self,
        load: &LoadModel,
        test_duration: Duration,
        pairs: usize,
    ) -> Result<Option<Overhead>, BenchError> {
        let Some(probe) = self.probe.as_ref().filter(|p| p.set_enabled(true)) else { return Ok(None) };
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for enabled in interleaved(pairs) {
            probe.set_enabled(enabled);
            let result = self.run_concurrent_test(load.clone(), test_duration);
            probe.set_enabled(true);
            if enabled { on.push(result?) } else { off.push(result?) }
        }
        let pairs: Vec<OverheadPair> =
            on.iter().zip(&off).map(|(on, off)| OverheadPair::of(on, off)).collect();
        Ok(Overhead::from_pairs(&pairs))
    }

    fn prepare(&self, load: &LoadModel, duration: Duration, seed: u64) -> Result<Arc<Run<W>>, BenchError> {
        let config = BenchmarkConfig { seed, ..self.config.clone() };
        let run = Run::new(
            &self.workload,
            &config,
            load,
            duration,
            &self.detector,
            self.probe.as_ref(),
            (&self.stop, &self.live),
        )?;
        Ok(Arc::new(run))
    }

    fn checked(&self, result: ConcurrentTestResult) -> Result<ConcurrentTestResult, BenchError> {
        for threshold in self.config.thresholds.iter().filter(|t| t.aborts()) {
            let judged = threshold.judge(&result);
            if let (false, Some(value)) = (judged.passed, judged.value) {
                return Err(BenchError::Aborted { threshold: judged.threshold, value });
            }
        }
        Ok(result)
    }

    /// Each level once per repetition, in an order of its own each time.
    fn order(&self, levels: &Levels) -> Result<Vec<usize>, BenchError> {
        let counts = levels.counts()?;
        if let Some(&requested) = counts.iter().find(|n| **n > self.config.max_concurrent_users) {
            return Err(BenchError::UsersExceedMax { requested, max: self.config.max_concurrent_users });
        }
        let mut rng = UserRng::new(self.config.seed, 0, Popularity::Shuffle);
        let rounds = self.config.repetitions.max(1);
        Ok((0..rounds * counts.len()).map(|_| counts[rng.pick(counts.len())]).collect())
    }
}
