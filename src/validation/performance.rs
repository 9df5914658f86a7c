//! The concurrent benchmark: one load, or a scalability test over rising loads.
//!
//! A [`ConcurrentBenchmark`] contains a workload and a configuration. The functions `run_*` are synchronous and start
//! separate threads, so that a workload that blocks its threads cannot block the caller. The functions `drive_*` do the
//! same in the caller's runtime and on its clock. A scalability test repeats every level, in an order shuffled by the
//! seed. In a fixed order, a machine that warms up or drifts would look like an effect of the number of users (Zhang
//! and others, *Treadmill*, 2016).

use std::sync::Arc;
use std::time::Duration;

use super::completeness::{Overhead, OverheadPair, TrackerProbe, interleaved};
use super::config::BenchmarkConfig;
use super::deadlock::DeadlockDetector;
use super::error::BenchError;
use super::executor::{Handles, Run, StopHandle, run_apart, run_here};
use super::live::LiveStatus;
use super::plan::{Levels, LoadModel};
use super::random::{Popularity, UserRng};
use super::result::ConcurrentTestResult;
use super::scalability::analyse;
use super::series::ScalabilityReport;
use super::workload::Workload;

/// A benchmark that drives concurrent load through a workload.
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
    handles: Handles,
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
    /// Creates a benchmark of `workload`.
    ///
    /// # Errors
    /// Returns a [`BenchError`] if the configuration is invalid.
    pub fn new(workload: W, config: BenchmarkConfig) -> Result<Self, BenchError> {
        config.check()?;
        let detector = DeadlockDetector::new(config.deadlock_timeout);
        let (stop, live) = (StopHandle::default(), LiveStatus::default());
        let handles = Handles { detector, probe: None, stop, live };
        Ok(Self { workload: Arc::new(workload), config, handles })
    }

    /// Sets the probe of the tracker to measure.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn TrackerProbe>) -> Self {
        self.handles.probe = Some(probe);
        self
    }

    /// Sets the deadlock detector. The locks and pools of the workload must use the same detector.
    #[must_use]
    pub fn with_detector(mut self, detector: DeadlockDetector) -> Self {
        self.handles.detector = detector;
        self
    }

    /// Sets the handle that ends the measured window early.
    #[must_use]
    pub fn with_stop(mut self, stop: StopHandle) -> Self {
        self.handles.stop = stop;
        self
    }

    /// Returns a handle that ends the measured window early, for an interrupt handler.
    pub fn stop_handle(&self) -> StopHandle {
        self.handles.stop.clone()
    }

    /// Returns the progress of the current run, for a status line.
    pub fn live(&self) -> LiveStatus {
        self.handles.live.clone()
    }

    /// Returns the workload.
    pub fn workload(&self) -> &W {
        &self.workload
    }

    /// Returns the configuration.
    pub const fn config(&self) -> &BenchmarkConfig {
        &self.config
    }

    /// Runs one load on separate threads. Returns at most three seconds after ramp, warm-up, window and graceful stop,
    /// even if the workload blocks.
    ///
    /// # Errors
    /// Returns a [`BenchError`] if the load is invalid or cannot be started. Failed requests are not an error.
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
        let config = BenchmarkConfig { seed, ..self.config.clone() };
        let run = self.prepare(&load, test_duration, config.clone())?;
        Ok(ConcurrentTestResult::of(run_apart(run)?, &load, &config))
    }

    /// Runs one load in the caller's tokio runtime and on its clock, which a test may pause. A workload that blocks its
    /// thread blocks the caller.
    ///
    /// # Errors
    /// Returns the same errors as [`run_concurrent_test`](Self::run_concurrent_test).
    pub async fn drive_concurrent_test(
        &self,
        load: LoadModel,
        test_duration: Duration,
    ) -> Result<ConcurrentTestResult, BenchError> {
        self.drive_with_seed(load, test_duration, self.config.seed).await
    }

    async fn drive_with_seed(
        &self,
        load: LoadModel,
        test_duration: Duration,
        seed: u64,
    ) -> Result<ConcurrentTestResult, BenchError> {
        let config = BenchmarkConfig { seed, ..self.config.clone() };
        let run = self.prepare(&load, test_duration, config.clone())?;
        Ok(ConcurrentTestResult::of(run_here(run).await?, &load, &config))
    }

    /// Runs a closed load at every level, each `repetitions` times, in shuffled order.
    ///
    /// # Errors
    /// Returns a [`BenchError`] if a run cannot be made, and [`BenchError::Aborted`] if a threshold with `abort:` was
    /// breached.
    pub fn run_scalability_test(
        &self,
        levels: Levels,
        test_duration_per_step: Duration,
    ) -> Result<ScalabilityReport, BenchError> {
        let order = self.order(&levels)?;
        let mut results = Vec::with_capacity(order.len());
        for (&users, seed) in order.iter().zip(self.config.seed..).take_while(|_| !self.is_stopped()) {
            if !results.is_empty() {
                std::thread::sleep(self.config.recovery);
            }
            let result = self.run_with_seed(LoadModel::closed(users), test_duration_per_step, seed)?;
            results.push(self.checked(result)?);
        }
        Ok(analyse(results, order, &self.config))
    }

    /// Runs [`run_scalability_test`](Self::run_scalability_test) in the caller's runtime and on its clock.
    ///
    /// # Errors
    /// Returns the same errors as [`run_scalability_test`](Self::run_scalability_test).
    pub async fn drive_scalability_test(
        &self,
        levels: Levels,
        test_duration_per_step: Duration,
    ) -> Result<ScalabilityReport, BenchError> {
        let order = self.order(&levels)?;
        let mut results = Vec::with_capacity(order.len());
        for (&users, seed) in order.iter().zip(self.config.seed..).take_while(|_| !self.is_stopped()) {
            if !results.is_empty() {
                tokio::time::sleep(self.config.recovery).await;
            }
            let result = self.drive_with_seed(LoadModel::closed(users), test_duration_per_step, seed).await?;
            results.push(self.checked(result)?);
        }
        Ok(analyse(results, order, &self.config))
    }

    /// Measures the cost of the tracker at one load, by `pairs` runs with the tracker on and as many with it off,
    /// interleaved. Returns `None` without a probe, or if the tracker cannot be switched off.
    ///
    /// # Errors
    /// Returns the same errors as [`run_concurrent_test`](Self::run_concurrent_test).
    pub fn measure_overhead(
        &self,
        load: &LoadModel,
        test_duration: Duration,
        pairs: usize,
    ) -> Result<Option<Overhead>, BenchError> {
        let Some(probe) = self.handles.probe.as_ref().filter(|p| p.set_enabled(true)) else {
            return Ok(None);
        };
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

    fn is_stopped(&self) -> bool {
        self.handles.stop.is_stopped()
    }

    fn prepare(
        &self,
        load: &LoadModel,
        duration: Duration,
        config: BenchmarkConfig,
    ) -> Result<Arc<Run<W>>, BenchError> {
        Run::new(&self.workload, config, load, duration, self.handles.clone()).map(Arc::new)
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

    /// Returns the levels in order of execution: each level once per repetition, in a new order each time.
    fn order(&self, levels: &Levels) -> Result<Vec<usize>, BenchError> {
        let (counts, max) = (levels.counts()?, self.config.max_concurrent_users);
        if let Some(&requested) = counts.iter().find(|n| **n > max) {
            return Err(BenchError::UsersExceedMax { requested, max });
        }
        let mut rng = UserRng::new(self.config.seed, 0, Popularity::Shuffle);
        let rounds = (0..self.config.repetitions.max(1)).flat_map(|_| rng.shuffled(counts.len()));
        Ok(rounds.map(|i| counts[i]).collect())
    }
}
