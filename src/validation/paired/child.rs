//! The child: sets up the workload, then runs what it is told.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::super::config::{BenchError, BenchmarkConfig};
use super::super::executor::StopHandle;
use super::super::ledger_probe::LedgerProbe;
use super::super::live::LiveStatus;
use super::super::performance::ConcurrentBenchmark;
use super::super::workload::Workload;
use super::protocol::{self, DONE, FAILED, MARK, Order, READY, RUN, Ready, SETUP, STOP};

/// The variable by which a child knows what it is.
pub(super) const VARIABLE: &str = "HEAPLEDGER_VALIDATION";
/// How often a child tells what it is doing.
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// Room for a line before it is read, so that reading `stop` allocates nothing.
const LINE_BYTES: usize = 4096;

/// Whether this process is a child of [`run_paired`](super::run_paired), and is to call [`serve`].
pub fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "serve")
}

/// The child's side of [`run_paired`](super::run_paired): makes the workload and runs what the parent asks for.
pub fn serve<W: Workload>(make: impl FnOnce(&BenchmarkConfig) -> Result<W, BenchError>) -> ExitCode {
    let stop = StopHandle::default();
    match serve_until_the_end(make, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell(FAILED, &why);
            ExitCode::FAILURE
        }
    }
}

fn serve_until_the_end<W: Workload>(
    make: impl FnOnce(&BenchmarkConfig) -> Result<W, BenchError>,
    stop: &StopHandle,
) -> Result<(), String> {
    let lines = listen(stop.clone()).map_err(|e| format!("no thread to listen: {e}"))?;
    let Ok(first) = lines.recv() else { return Ok(()) };
    let config: BenchmarkConfig = match protocol::split(&first) {
        (SETUP, rest) => protocol::value(rest)?,
        _ => return Err("the first line is no set-up".to_owned()),
    };
    let workload = make(&config).map_err(|e| e.to_string())?;
    let mut benchmark = ConcurrentBenchmark::new(workload, config.clone()).map_err(|e| e.to_string())?;
    let probe = LedgerProbe::installed();
    if let Some(probe) = probe {
        benchmark = benchmark.with_probe(Arc::new(probe));
    }
    let benchmark = benchmark.with_stop(stop.clone());
    let running = Arc::new(AtomicBool::new(false));
    tell_what_is_done(benchmark.live(), Arc::clone(&running))
        .map_err(|e| format!("no thread to tell: {e}"))?;
    let workload = benchmark.workload().name().to_owned();
    tell(READY, &Ready { workload, tracker: probe.map(|probe| probe.settings()) });
    for line in lines {
        let (RUN, rest) = protocol::split(&line) else { return Err(format!("{line:?} is no order")) };
        let order: Order = protocol::value(rest)?;
        running.store(true, Relaxed);
        let result = benchmark.run_with_seed(order.load, order.duration, order.seed);
        running.store(false, Relaxed);
        match result {
            Ok(result) => tell(DONE, &result),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// The parent's lines but `stop`, which takes effect at once, as does the end of the input.
fn listen(stop: StopHandle) -> io::Result<Receiver<String>> {
    let (says, listens) = sync_channel(1);
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        let mut input = io::stdin().lock();
        let mut line = Vec::with_capacity(LINE_BYTES);
        while input.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            if line.trim_ascii() == STOP.as_bytes() {
                stop.stop();
            } else if says.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
        stop.stop();
    })?;
    Ok(listens)
}

/// Tells from a thread of its own what the benchmark is doing, while it does something.
fn tell_what_is_done(live: LiveStatus, running: Arc<AtomicBool>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("live".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(LIVE_EVERY);
                let mut buffer = [0; 256];
                if running.load(Relaxed)
                    && let Some(line) = protocol::live_line(&live.read(), &mut buffer)
                    && io::stdout().lock().write_all(line).is_err()
                {
                    return;
                }
            }
        })
        .map(drop)
}

/// One line to the parent. If it is gone, the end of the input will say so.
fn tell(word: &str, value: &impl serde::Serialize) {
    if let Ok(line) = protocol::line(word, value) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(format!("{MARK}{line}\n").as_bytes());
        let _ = out.flush();
    }
}
