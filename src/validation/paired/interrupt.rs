//! Handling of Ctrl-C, which ends the window and keeps the report.

use std::io;
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::super::executor::StopHandle;

/// The exit code that a shell expects after an interrupt.
const INTERRUPTED: i32 = 130;

/// Makes the first interrupt stop the run of `stop`, and the second interrupt end the process.
///
/// # Errors
/// Returns an error if no thread or runtime can be started, or the system does not report interrupts.
pub fn stop_on_interrupt(stop: &StopHandle) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = stop.clone();
    let (sender, receiver) = sync_channel(1);
    let wait = async move {
        // The first poll installs the handler, and the caller waits for this poll.
        let mut first = pin!(tokio::signal::ctrl_c());
        let begun = tokio::time::timeout(Duration::ZERO, first.as_mut()).await;
        let _ = sender.send(());
        if begun.is_err() && first.await.is_err() {
            return;
        }
        stop.stop();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || runtime.block_on(wait))?;
    receiver.recv().map_err(io::Error::other)
}
