//! The parent process of paired runs: it starts children, sends orders, and collects results.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::super::error::BenchError;
use super::super::executor::StopHandle;
use super::super::live::Live;
use super::super::plan::LoadModel;
use super::super::random::{Popularity, UserRng};
use super::super::result::ConcurrentTestResult;
use super::plan::{PairedPlan, Recorded};
use super::protocol::{Answer, OF_COMMANDS, Order, PREFIX};
use super::runs::PairedRuns;

/// Interval at which the parent checks for a request to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// Maximum time for a child to set up its workload. Building an index takes minutes without optimization.
const SET_UP_WITHIN: Duration = Duration::from_secs(1800);
/// Time without a message during a run after which a child is killed. A child reports progress five times per second.
const SILENT_WITHIN: Duration = Duration::from_secs(90);
/// Maximum time for a child to exit after the end of its input.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A step in the progress of [`run_paired`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A child sets up its workload.
    SettingUp {
        /// Whether the tracker of the child is on.
        tracker: bool,
    },
    /// A run starts.
    Began {
        /// Number of the run, from 1.
        run: usize,
        /// Total number of runs.
        of: usize,
        /// Whether the tracker is on.
        tracker: bool,
        /// The load.
        load: &'a LoadModel,
    },
    /// A run is in progress.
    Live(Live),
    /// A run is finished.
    Finished {
        /// Whether the tracker was on.
        tracker: bool,
        /// Result of the run.
        result: &'a ConcurrentTestResult,
    },
}

/// The reason why runs in pairs could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairedError {
    /// The plan is invalid.
    #[error(transparent)]
    Plan(BenchError),
    /// A child could not be started, or its input could not be written.
    #[error("no process to measure in: {0}")]
    Child(#[source] io::Error),
    /// A child ended or sent an unexpected message.
    #[error("the measured process {0}; its last lines say why")]
    Unexpected(String),
    /// A child could not execute an order; the text is its reason.
    #[error("the measured process could not go on: {0}")]
    Failed(String),
    /// A child was silent for this time, and was killed.
    #[error("the measured process was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// A request to stop came while a child was setting up. [`run_paired`] handles this error and returns the results
    /// so far.
    #[error("stopped while the workload was set up")]
    Stopped,
}

/// Runs the plan in child processes started by `child`. The started program is this program, or another program that
/// calls [`serve`](super::serve). A call of `stop.stop()` ends the current window; the results so far are returned.
///
/// # Errors
/// Returns a [`PairedError`] if the plan is invalid or a child fails. A bad result is not an error.
pub fn run_paired(
    plan: &PairedPlan,
    mut child: impl FnMut() -> io::Result<Command>,
    stop: &StopHandle,
    mut watch: impl FnMut(&Progress<'_>),
) -> Result<PairedRuns, PairedError> {
    plan.check().map_err(PairedError::Plan)?;
    let mut runs = PairedRuns::new(plan);
    let mut rng = UserRng::new(plan.config.seed, 0, Popularity::Shuffle);
    let mut number = 0;
    for round in 0..plan.rounds {
        if stop.is_stopped() {
            break;
        }
        let mut start = |tracker| -> Result<Party, PairedError> {
            watch(&Progress::SettingUp { tracker });
            Party::start(child().map_err(PairedError::Child)?, tracker, plan, stop)
        };
        // The child that is idle in the first run is set up first.
        let off = if plan.compares { start(false).map(Some) } else { Ok(None) };
        let (mut off, mut on) = match off.and_then(|off| Ok((off, start(true)?))) {
            Ok(both) => both,
            // Building an index can take minutes, and a request to stop must not wait for the end.
            Err(PairedError::Stopped) => break,
            Err(error) => return Err(error),
        };
        runs.set_names(&on.workload, on.tracker.as_deref());
        for index in rng.shuffled(plan.loads.len()) {
            let load = &plan.loads[index];
            let with_first = (round + index).is_multiple_of(2);
            for tracker in [with_first, !with_first] {
                let party = if tracker { Some(&mut on) } else { off.as_mut() };
                let Some(party) = party.filter(|_| !stop.is_stopped()) else { continue };
                number += 1;
                watch(&Progress::Began { run: number, of: plan.runs(), tracker, load });
                let seed = plan.config.seed + (round * plan.loads.len() + index) as u64;
                let order = Order::Run { load: load.clone(), duration: plan.duration, seed };
                let result = party.run(&order, stop, &mut watch)?;
                watch(&Progress::Finished { tracker, result: &result });
                runs.add(index, round, tracker, result);
                std::thread::sleep(plan.config.recovery);
            }
        }
        on.dismiss();
        off.into_iter().for_each(Party::dismiss);
    }
    Ok(runs)
}

/// One child process. Dropping the value kills the process; `dismiss` first waits for the process to exit.
struct Party {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Result<Answer, String>>,
    workload: String,
    tracker: Option<String>,
}

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Party {
    fn start(
        mut command: Command,
        tracker: bool,
        plan: &PairedPlan,
        stop: &StopHandle,
    ) -> Result<Self, PairedError> {
        let setting = if tracker { "always" } else { "off" };
        let of_child = if plan.recorded == Recorded::Child { setting } else { "off" };
        command.env("HEAPLEDGER", of_child);
        if plan.recorded == Recorded::Commands {
            command.env(OF_COMMANDS, setting);
        }
        let mut process = command.spawn().map_err(PairedError::Child)?;
        let input = process.stdin.take();
        let output = process.stdout.take().map(BufReader::new);
        let (sender, answers) = sync_channel(64);
        let mut party = Self { process, input, answers, workload: String::new(), tracker: None };
        let read = move || {
            for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                let Some(answer) = line.strip_prefix(PREFIX) else {
                    // Output of the workload must not mix with a report on standard output.
                    eprintln!("{line}");
                    continue;
                };
                let answer = serde_json::from_str(answer).map_err(|e| format!("sent no answer: {e}"));
                if sender.send(answer).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("child".to_owned()).spawn(read).map_err(PairedError::Child)?;
        party.send(&Order::SetUp(Box::new(plan.config.clone())))?;
        match party.answer(SET_UP_WITHIN, stop, None)? {
            Answer::Ready { workload, tracker } => (party.workload, party.tracker) = (workload, tracker),
            _ => return Err(PairedError::Unexpected("sent another answer than `Ready`".to_owned())),
        }
        if tracker && party.tracker.is_none() && plan.recorded == Recorded::Child {
            let why = "has no HeapLedger as its global allocator".to_owned();
            return Err(PairedError::Unexpected(why));
        }
        Ok(party)
    }

    fn run(
        &mut self,
        order: &Order,
        stop: &StopHandle,
        watch: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<ConcurrentTestResult, PairedError> {
        self.send(order)?;
        match self.answer(SILENT_WITHIN, stop, Some(watch))? {
            Answer::Done(result) => Ok(*result),
            _ => Err(PairedError::Unexpected("sent another answer than `Done`".to_owned())),
        }
    }

    fn send(&mut self, order: &Order) -> Result<(), PairedError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let line = serde_json::to_string(order).map_err(|e| PairedError::Unexpected(e.to_string()))?;
        input.write_all(format!("{line}\n").as_bytes()).map_err(PairedError::Child)
    }

    /// Waits for the answer to an order. With `watch`, a run is in progress: progress goes to `watch`, and a request to
    /// stop is sent to the child. Without `watch`, the child is setting up, and a request to stop ends the wait.
    fn answer(
        &mut self,
        limit: Duration,
        stop: &StopHandle,
        mut watch: Option<&mut dyn FnMut(&Progress<'_>)>,
    ) -> Result<Answer, PairedError> {
        let (mut heard, mut told) = (Instant::now(), false);
        loop {
            if stop.is_stopped() && watch.is_none() {
                return Err(PairedError::Stopped);
            }
            if stop.is_stopped() && !std::mem::replace(&mut told, true) {
                // If the child has ended, the next answer reports it.
                let _ = self.send(&Order::Stop);
            }
            let answer = match self.answers.recv_timeout(STOP_CHECK) {
                Ok(answer) => answer.map_err(PairedError::Unexpected)?,
                Err(RecvTimeoutError::Timeout) if heard.elapsed() < limit => continue,
                Err(RecvTimeoutError::Timeout) => return Err(PairedError::Silent(limit)),
                Err(RecvTimeoutError::Disconnected) => {
                    let how = self.process.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                    return Err(PairedError::Unexpected(format!("ended with {how}")));
                }
            };
            heard = Instant::now();
            match (answer, &mut watch) {
                (Answer::Live(live), Some(watch)) => watch(&Progress::Live(live)),
                (Answer::Live(_), None) => {}
                (Answer::Failed(why), _) => return Err(PairedError::Failed(why)),
                (answer, _) => return Ok(answer),
            }
        }
    }

    /// Closes the child's input, and waits for the child to exit, at most [`GONE_WITHIN`].
    fn dismiss(mut self) {
        self.input = None;
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
