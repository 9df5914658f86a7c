//! The endpoint of this process: its thread, and the figures that it serves.

use std::time::Duration;

use super::access::{internally, whole_profile, with_ledger};
use crate::aggregator::{
    background, counters, diagnostic, live_page, monitor, naming, scopes, snapshot, stacks,
};
use crate::dump;
use crate::live::Live;
use crate::profile::{CodeRange, Profile};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{background_thread, state, thread};
use crate::scope;
use crate::serve::Response;
use crate::serve::address::Address;
use crate::serve::answer::{Answer, Answers};
use crate::serve::heap::{Figures, Heap};
use crate::serve::server::Server;
use crate::sys::latch::Latch;
use crate::sys::sockets::{self, Listener};
use crate::sys::sync::{AtomicU64, Ordering};
use crate::sys::{own_threads, path_pattern, platform};

static ENDPOINT: Endpoint = Endpoint { listener: AtomicU64::new(0), answering: Latch::new() };

struct Endpoint {
    /// Descriptor of the listener, plus one; 0 while there is no listener.
    listener: AtomicU64,
    /// Latch that is held while [`respond`] makes an answer, so that answers are made one after the other.
    answering: Latch,
}

/// The heap of this process, as a source of figures for the endpoint.
struct ThisProcess;

impl Heap for ThisProcess {
    fn figures(&self, with_scopes: bool) -> Option<Figures> {
        internally(|ledger, scope| {
            background::flush(ledger, scope);
            let (stats, counters) = {
                let _paused = RecordingPaused::enter(scope);
                (counters::stats(ledger), counters::quality(ledger))
            };
            Figures {
                stats,
                // No counter shows the number of events in the history, so the history is not read.
                quality: monitor::indicator(counters, 0, ledger.clock.now_ns()),
                resident_bytes: platform::resident_bytes(),
                scopes: if with_scopes { scopes::now(ledger, scope) } else { Vec::new() },
            }
        })
    }

    fn sites(&self) -> Option<Profile> {
        internally(|ledger, scope| snapshot::without_blocks(ledger, scope, "request"))
    }

    fn code(&self) -> Vec<CodeRange> {
        internally(|_, _| stacks::code()).unwrap_or_default()
    }

    fn dump(&self) -> Option<Vec<u8>> {
        internally(|ledger, scope| {
            let mut bytes = Vec::new();
            // Writing to a vector cannot fail.
            let _ = dump::write_to(&mut bytes, &whole_profile(ledger, scope, "request"));
            bytes
        })
    }

    fn live(&self) -> Option<Live> {
        internally(|ledger, _| {
            let mut live = live_page::current(ledger)?;
            let metadata = snapshot::metadata(ledger);
            (live.program, live.modules) = (metadata.process.program, metadata.modules);
            Some(live)
        })?
    }

    fn names(&self, addresses: &[u64]) -> Option<Vec<String>> {
        internally(|ledger, _| scope::symbols_at(&snapshot::metadata(ledger).modules, addresses))?
    }

    fn command_line(&self) -> Vec<Vec<u8>> {
        std::env::args_os().map(|argument| argument.as_encoded_bytes().to_vec()).collect()
    }
}

/// Answers a request about the heap of this process, for a program with an HTTP server.
///
/// `method` is `GET`, `HEAD` or `POST`; `target` is the path with its parameters, such as
/// `/debug/pprof/heap?seconds=5`. The paths are those of the endpoint: see `docs/LIVE.md`. The caller decides who may
/// send requests. The answers reveal the allocations of the program, its arguments, and the paths of its files.
///
/// The call takes a snapshot. With `seconds=N` it also waits for *N* seconds, so an async program must call it as
/// blocking work. Calls of several threads are answered one after the other, but their waits overlap. The memory that a
/// call allocates is internal, and counts in no total of the program.
///
/// ```
/// let response = heapledger::http::respond("GET", "/metrics", b"");
/// assert!(response.status == 200 || response.status == 503, "503 without a HeapLedger");
/// ```
pub fn respond(method: &str, target: &str, body: &[u8]) -> Response {
    with_ledger(|_, _| ());
    let mut answers = Answers::new(&ThisProcess);
    let in_turn = |work: &mut dyn FnMut() -> Answer| {
        let _taken = ENDPOINT.answering.take();
        internally(|_, _| work()).unwrap_or_else(|| Answer::Now(Answers::none()))
    };
    match in_turn(&mut || answers.answer(method, target, body)) {
        Answer::Now(response) => response,
        Answer::Later(pending) => {
            std::thread::sleep(Duration::from_secs(pending.seconds));
            match in_turn(&mut || Answer::Now(answers.difference(&pending))) {
                Answer::Now(response) => response,
                Answer::Later(_) => Answers::none(),
            }
        }
    }
}

/// The main function of the endpoint's thread.
pub(super) fn run() {
    own_threads::name(c"heapledger-http");
    if !background_thread::wait_for_ledger() {
        return;
    }
    let scope = InternalScope::enter();
    let (Some(lane), Some(pattern)) = (scope.lane(), state::options().serve_pattern()) else { return };
    thread::mark_background(lane);
    // relaxed: written before the ledger was published.
    let is_child =
        state::ledger().is_some_and(|ledger| ledger.facts.forked_from.load(Ordering::Relaxed) != 0);
    if platform::is_set_user_id() || is_child && !path_pattern::has_process_id(pattern) {
        return;
    }
    let (address, listener) = match listen(pattern) {
        Ok(listening) => listening,
        Err(why) => {
            let shown = String::from_utf8_lossy(pattern);
            return diagnostic::print(format_args!("no endpoint at {shown}: {why}"));
        }
    };
    let place = match (&address, listener.local_address()) {
        (Address::Unix(path), _) => format!("unix:{path}"),
        (_, Some(at)) => format!("http://{at}/"),
        (Address::Tcp { at, .. }, None) => format!("http://{at}/"),
    };
    if state::options().warn || matches!(&address, Address::Tcp { at, .. } if at.port() == 0) {
        diagnostic::print(format_args!("the endpoint is at {place}"));
    }
    // relaxed: a forked child sees the last value that this thread stored, or 0.
    ENDPOINT.listener.store(listener.descriptor() as u64 + 1, Ordering::Relaxed);
    let mut server = Server::new(listener, address, &ThisProcess);
    let goes_on = || state::current().records() && !background_thread::is_program_over();
    if !server.run(goes_on) {
        diagnostic::print("the program has closed the endpoint's socket, the endpoint ends");
    }
    ENDPOINT.listener.store(0, Ordering::Relaxed);
    server.close();
}

fn listen(pattern: &[u8]) -> Result<(Address, Listener), String> {
    let text = String::from_utf8_lossy(pattern).into_owned();
    let mut address = Address::parse(&text).map_err(|error| error.to_string())?;
    let listener = match &mut address {
        Address::Tcp { at, .. } => Listener::tcp(*at),
        Address::Unix(path) => {
            *path = naming::expand(path.as_bytes()).to_string_lossy().into_owned();
            Listener::unix(path)
        }
    };
    Ok((address, listener.map_err(|error| error.to_string())?))
}

/// Removes the socket file of the endpoint at the end of the process.
pub(super) fn end() {
    // relaxed: see `run`.
    let is_open = ENDPOINT.listener.load(Ordering::Relaxed) != 0;
    let pattern = state::options().serve_pattern().filter(|_| is_open);
    if let Some(path) = pattern.and_then(|pattern| pattern.strip_prefix(b"unix:")) {
        sockets::remove_socket(&naming::expand(path).to_string_lossy());
    }
}

/// Closes the copy of the parent's listener in a forked child. An open copy would keep the address in use as long as
/// the child lives.
pub(super) fn reset_after_fork() {
    let Endpoint { listener, answering } = &ENDPOINT;
    answering.open();
    // relaxed, both: there is one thread.
    if let Some(descriptor) = listener.swap(0, Ordering::Relaxed).checked_sub(1) {
        sockets::close_listener(descriptor as i32);
    }
}
