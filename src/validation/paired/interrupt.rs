//! Ctrl-C ends the window and not the report.

use std::io;

use super::super::executor::StopHandle;

/// What a shell expects of a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// From now on, the first interrupt stops `stop` and a second one ends the process.
///
/// # Errors
/// When no thread or no runtime can be had, or the system does not tell of interrupts.
pub fn stop_on_interrupt(stop: &StopHandle) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = stop.clone();
    let (says, listens) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
        runtime.block_on(async {
            // The handler stands once the future has been polled; the caller waits for that.
            let first = tokio::signal::ctrl_c();
            let mut first = std::pin::pin!(first);
            let begun = tokio::time::timeout(std::time::Duration::ZERO, first.as_mut()).await;
            let _ = says.send(());
            if begun.is_err() && first.await.is_err() {
                return;
            }
            stop.stop();
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
    })?;
    listens.recv().map_err(io::Error::other)
}
