//! The child process of a paired run: it sets up the workload, then executes the parent's orders.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::super::config::BenchmarkConfig;
use super::super::error::BenchError;
use super::super::executor::StopHandle;
use super::super::ledger_probe::LedgerProbe;
use super::super::live::LiveStatus;
use super::super::performance::ConcurrentBenchmark;
use super::super::workload::Workload;
use super::protocol::{Answer, OF_COMMANDS, Order, VARIABLE, tell, tell_progress};

/// Interval of progress messages.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Initial capacity of a line in bytes, so that reading the order to stop does not allocate.
const LINE_BYTES: usize = 4096;

/// Whether this process is a child of [`run_paired`](super::run_paired). A child must call [`serve`].
pub fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "serve")
}

/// Returns the value of `HEAPLEDGER` for the programs that a child starts; `None` if these programs are not recorded.
pub fn recording_of_commands() -> Option<String> {
    std::env::var(OF_COMMANDS).ok()
}

/// Runs the child of [`run_paired`](super::run_paired): creates the workload with `make` and executes the parent's
/// orders.
pub fn serve<W: Workload>(make: impl FnOnce(&BenchmarkConfig) -> Result<W, BenchError>) -> ExitCode {
    match serve_until_the_end(make) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // If the parent has exited, nobody reads the reason.
            let _ = tell(&Answer::Failed(why));
            ExitCode::FAILURE
        }
    }
}

fn serve_until_the_end<W: Workload>(
    make: impl FnOnce(&BenchmarkConfig) -> Result<W, BenchError>,
) -> Result<(), String> {
    let stop = StopHandle::default();
    let orders = listen(stop.clone()).map_err(|e| format!("no thread to listen: {e}"))?;
    let config = match orders.recv() {
        Ok(Ok(Order::SetUp(config))) => config,
        Ok(_) => return Err("the first order is no set-up".to_owned()),
        Err(_) => return Ok(()),
    };
    let workload = make(&config).map_err(|e| e.to_string())?;
    let benchmark = ConcurrentBenchmark::new(workload, *config).map_err(|e| e.to_string())?;
    let mut benchmark = benchmark.with_stop(stop);
    let probe = LedgerProbe::installed();
    if let Some(probe) = probe {
        benchmark = benchmark.with_probe(Arc::new(probe));
    }
    let running = Arc::new(AtomicBool::new(false));
    tell_progress_while(Arc::clone(&running), benchmark.live())
        .map_err(|e| format!("no thread to report progress: {e}"))?;
    let workload = benchmark.workload().name().to_owned();
    let gone = |e: io::Error| format!("the parent does not listen: {e}");
    tell(&Answer::Ready { workload, tracker: probe.map(LedgerProbe::settings) }).map_err(gone)?;
    for order in orders {
        let Order::Run { load, duration, seed } = order? else {
            return Err("an order that is no run".to_owned());
        };
        running.store(true, Relaxed);
        let result = benchmark.run_with_seed(load, duration, seed);
        running.store(false, Relaxed);
        tell(&Answer::Done(Box::new(result.map_err(|e| e.to_string())?))).map_err(gone)?;
    }
    Ok(())
}

/// Returns the receiver of the parent's orders except `Stop`. `Stop` and the end of the input stop the current run at
/// once.
fn listen(stop: StopHandle) -> io::Result<Receiver<Result<Order, String>>> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("orders".to_owned()).spawn(move || {
        let mut input = io::stdin().lock();
        let mut line = Vec::with_capacity(LINE_BYTES);
        while input.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            match serde_json::from_slice(&line).map_err(|e| format!("an order that is none: {e}")) {
                Ok(Order::Stop) => stop.stop(),
                order => {
                    if sender.send(order).is_err() {
                        return;
                    }
                }
            }
            line.clear();
        }
        stop.stop();
    })?;
    Ok(receiver)
}

/// Reports progress from a separate thread while a run is in progress.
fn tell_progress_while(running: Arc<AtomicBool>, live: LiveStatus) -> io::Result<()> {
    let report = move || {
        loop {
            thread::sleep(PROGRESS_EVERY);
            if running.load(Relaxed) && tell_progress(live.read()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("live".to_owned()).spawn(report).map(drop)
}
