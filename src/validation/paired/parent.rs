//! The parent: starts children, gives orders, collects results.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::super::config::BenchError;
use super::super::executor::StopHandle;
use super::super::live::Live;
use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;
use super::super::workload::{Popularity, UserRng};
use super::protocol::{self, DONE, FAILED, LIVE, MARK, Order, READY, RUN, Ready, SETUP, STOP};
use super::{PairedPlan, PairedRuns};

/// How often the parent looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How long a child may set up its workload. Building an index takes minutes in a build that is not optimised.
const SETUP_WITHIN: Duration = Duration::from_secs(1800);
/// How long a child may be silent while a load runs: it tells something five times a second.
const SILENT_WITHIN: Duration = Duration::from_secs(90);
/// How long a child gets to exit once its input has ended.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What happens, for whoever watches.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A child sets up its workload.
    SettingUp {
        /// Whether its tracker is on.
        tracker: bool,
    },
    /// A run begins.
    Began {
        /// Its number, from 1.
        run: usize,
        /// Of how many.
        of: usize,
        /// Whether the tracker is on.
        tracker: bool,
        /// The load.
        load: &'a LoadModel,
    },
    /// A run is under way.
    Live(Live),
    /// A run is over.
    Finished {
        /// Whether the tracker was on.
        tracker: bool,
        /// Its result.
        result: &'a ConcurrentTestResult,
    },
}

/// Why runs in pairs could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum PairedError {
    /// The plan makes no sense.
    Plan(BenchError),
    /// A child could not be started, or not be written to.
    Child(std::io::Error),
    /// A child ended or said something else than was asked.
    Unexpected(String),
    /// A child could not do what it was told; its own words.
    Failed(String),
    /// A child was silent for this long, and was ended.
    Silent(Duration),
    /// A child was still setting up when all was to stop. [`run_paired`] returns what it has instead.
    Stopped,
}

impl fmt::Display for PairedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Child(error) => write!(f, "no process to measure in: {error}"),
            Self::Unexpected(what) => write!(f, "the measured process {what}; its last lines say why"),
            Self::Failed(why) => write!(f, "the measured process could not go on: {why}"),
            Self::Stopped => f.write_str("stopped while the workload was set up"),
            Self::Silent(time) => write!(f, "the measured process was silent for {} s", time.as_secs()),
        }
    }
}

impl std::error::Error for PairedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Plan(error) => Some(error),
            Self::Child(error) => Some(error),
            _ => None,
        }
    }
}

/// Runs the plan in children made by `child`, which are this program or another that calls [`serve`](super::serve).
/// `stop` ends the window under way; what is known by then is what is returned.
///
/// # Errors
/// [`PairedError`]. Bad results are no error.
pub fn run_paired(
    plan: &PairedPlan,
    mut child: impl FnMut() -> std::io::Result<Command>,
    stop: &StopHandle,
    mut watch: impl FnMut(&Progress<'_>),
) -> Result<PairedRuns, PairedError> {
    check(plan)?;
    let mut runs = PairedRuns::new(plan);
    let mut order = UserRng::new(plan.config.seed, 0, Popularity::Shuffle);
    let mut number = 0;
    for round in 0..plan.rounds {
        if stop.is_stopped() {
            break;
        }
        let mut start = |tracker| -> Result<Party, PairedError> {
            watch(&Progress::SettingUp { tracker });
            Party::start(child().map_err(PairedError::Child)?, tracker, plan, stop)
        };
        // The one that will rest first is set up first.
        let off = if plan.compares { start(false).map(Some) } else { Ok(None) };
        let (mut off, mut on) = match off.and_then(|off| Ok((off, start(true)?))) {
            Ok(both) => both,
            // Nobody waits minutes for an index that nobody will search.
            Err(PairedError::Stopped) => break,
            Err(error) => return Err(error),
        };
        runs.introduce(&on.ready);
        for _ in 0..plan.loads.len() {
            let index = order.pick(plan.loads.len());
            let load = &plan.loads[index];
            let with_first = (round + index).is_multiple_of(2);
            for tracker in [with_first, !with_first] {
                let party = if tracker { Some(&mut on) } else { off.as_mut() };
                let Some(party) = party.filter(|_| !stop.is_stopped()) else { continue };
                number += 1;
                watch(&Progress::Began { run: number, of: plan.runs(), tracker, load });
                let seed = plan.config.seed + (round * plan.loads.len() + index) as u64;
                let order = Order { load: load.clone(), duration: plan.duration, seed };
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

fn check(plan: &PairedPlan) -> Result<(), PairedError> {
    let check = || {
        plan.config.check()?;
        let max = plan.config.max_concurrent_users;
        for load in &plan.loads {
            load.check()?;
            if load.workers() > max {
                return Err(BenchError::UsersExceedMax { requested: load.workers(), max });
            }
        }
        if plan.loads.is_empty() || plan.rounds == 0 {
            return Err(BenchError::ZeroUsers);
        }
        if plan.duration.is_zero() { Err(BenchError::ZeroDuration) } else { Ok(()) }
    };
    check().map_err(PairedError::Plan)
}

/// One child. It is killed when it is dropped before it was dismissed.
struct Party {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    ready: Ready,
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
        command.env("HEAPLEDGER", if tracker { "always" } else { "off" });
        let mut process = command.spawn().map_err(PairedError::Child)?;
        let input = process.stdin.take();
        let output = process.stdout.take().map(BufReader::new);
        let (says, lines) = sync_channel(64);
        let mut party =
            Self { process, input, lines, ready: Ready { workload: String::new(), tracker: None } };
        let read = move || {
            for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                match line.strip_prefix(MARK) {
                    Some(line) if says.send(line.to_owned()).is_err() => return,
                    Some(_) => {}
                    // The workload's own words are passed on, where they disturb no report.
                    None => eprintln!("{line}"),
                }
            }
        };
        std::thread::Builder::new().name("child".to_owned()).spawn(read).map_err(PairedError::Child)?;
        party.send(SETUP, &plan.config)?;
        let ready = party.answer(READY, SETUP_WITHIN, stop, &mut |_| {})?;
        party.ready = protocol::value(&ready).map_err(PairedError::Unexpected)?;
        if tracker && party.ready.tracker.is_none() {
            let why = "has no HeapLedger as its global allocator".to_owned();
            return Err(PairedError::Unexpected(why));
        }
        Ok(party)
    }

    fn run(
        &mut self,
        order: &Order,
        stop: &StopHandle,
        watch: &mut impl FnMut(&Progress<'_>),
    ) -> Result<ConcurrentTestResult, PairedError> {
        self.send(RUN, order)?;
        let result = self.answer(DONE, SILENT_WITHIN, stop, watch)?;
        protocol::value(&result).map_err(PairedError::Unexpected)
    }

    fn send(&mut self, word: &str, value: &impl serde::Serialize) -> Result<(), PairedError> {
        let line = protocol::line(word, value).map_err(|e| PairedError::Unexpected(e.to_string()))?;
        self.write(&line)
    }

    fn write(&mut self, line: &str) -> Result<(), PairedError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        input.write_all(format!("{line}\n").as_bytes()).map_err(PairedError::Child)
    }

    /// Waits for the line that begins with `word` and gives the rest of it. While it waits it passes on what the child
    /// is doing, and a wish to stop.
    fn answer(
        &mut self,
        word: &str,
        limit: Duration,
        stop: &StopHandle,
        watch: &mut impl FnMut(&Progress<'_>),
    ) -> Result<String, PairedError> {
        let (mut heard, mut told) = (Instant::now(), false);
        loop {
            if stop.is_stopped() && word == READY {
                return Err(PairedError::Stopped);
            }
            if stop.is_stopped() && !std::mem::replace(&mut told, true) {
                // If it has gone, the next line says so.
                let _ = self.write(STOP);
            }
            let line = match self.lines.recv_timeout(LOOK) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if heard.elapsed() < limit => continue,
                Err(RecvTimeoutError::Timeout) => return Err(PairedError::Silent(limit)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            };
            heard = Instant::now();
            match protocol::split(&line) {
                (found, rest) if found == word => return Ok(rest.to_owned()),
                (LIVE, rest) => {
                    watch(&Progress::Live(protocol::live_value(rest).map_err(PairedError::Unexpected)?));
                }
                (FAILED, rest) => {
                    return Err(PairedError::Failed(
                        protocol::value(rest).unwrap_or_else(|_| rest.to_owned()),
                    ));
                }
                (other, _) => return Err(PairedError::Unexpected(format!("said {other} instead of {word}"))),
            }
        }
    }

    fn ended(&mut self) -> PairedError {
        let how = self.process.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        PairedError::Unexpected(format!("ended with {how}"))
    }

    /// Lets the child end by itself, for a while.
    fn dismiss(mut self) {
        self.input = None;
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
