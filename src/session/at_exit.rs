//! The end of the process: the last warning, the dump, and the end of the trace.

use super::access::{internally, whole_snapshot};
use super::dumps::{self, DumpError};
use super::{dump_thread, queries};
use crate::aggregator::{alarm, diagnostic, live_page, trace_thread};
use crate::dump;
use crate::recorder::{black_box, state};
use crate::sys::platform;

/// Writes the dump, and ends the trace. Reports each failure in one line on standard error. The exit code of the
/// program does not change.
pub(super) fn dump_at_exit() {
    // If a dump in progress does not end in time, this is `None`, and both dumps are written at the same time.
    let _no_other = dump_thread::pause();
    if state::options().warn {
        let quality = queries::quality();
        internally(|ledger, _| alarm::warn_at_exit(&quality, ledger.clock.now_ns()));
    }
    internally(|ledger, _| live_page::end(ledger));
    #[cfg(feature = "serve")]
    internally(|_, _| super::endpoint::end());
    internally(|ledger, scope| {
        let (path, is_traced) = (dumps::exit_path(), trace_thread::is_on(ledger));
        if path.is_none() && !is_traced {
            return;
        }
        let snapshot = whole_snapshot(ledger, scope, "exit");
        if let Some(path) = path {
            let write = || dump::write_beside_others(&path, &snapshot.profile, &snapshot);
            match platform::with_failing_writes(write) {
                Ok(written) => {
                    dumps::tell_other_name(&path, &written);
                    black_box::remove();
                }
                Err(error) => diagnostic::print(dumps::explain(&DumpError::Write(error))),
            }
        }
        if is_traced {
            trace_thread::finish(ledger, &snapshot);
        }
    });
}
