//! The life cycle of the recorder in a process: opening, exit and fork.
//!
//! ```text
//!              HEAPLEDGER=off, only on request, or another copy records
//!               ┌──────────────────────► Off
//!               │
//!  Unopened ────┴─first event──► Opening ──────────► Running ──exit──► Draining ──dumped──► Stopped
//!      ▲                            │                   │
//!      │                            └─no memory─► Failed│
//!      │                                                │ fork, in the child
//!      └──────────────── policy Fresh ──────────────────┤
//!                                                       └─ policy Off ──► ChildOff
//! ```
//!
//! The first event of the process opens the ledger, before `main`; usually it is the allocation of `at_load`. In
//! `Draining` events are still recorded, because other threads may run while the dump is written. In `Stopped` every
//! event is lost with reason `after_shutdown`.

use super::options::{Background, Hooks, Options};
use super::process::PROCESS;
use super::state::{self, Level, State};
use super::{background_thread, black_box, diagnostic, environment, slot, validate};
use crate::ledger::{Ledger, estimate};
use crate::profile::{DataQualityMode, ForkPolicy};
use crate::ring::lane::Lane;
use crate::sys::sync::Ordering;
use crate::sys::{copies, latch, own_threads, path_pattern, platform, tls};

/// Bytes of stack for threads that write dumps or serve profiles while the process runs.
const DUMPS_STACK_BYTES: usize = 2 << 20;
/// Maximum number of rounds in which a second thread waits for the first thread to open the ledger; more than a second.
const OPENING_ROUNDS_MAX: u32 = 20_000;

/// Opens the ledger if this thread is the first that asks for it; otherwise waits until the ledger is open. Returns the
/// state. `thread_ends` will be called at the end of each thread that has a lane.
pub(super) fn open(options: &Options, hooks: &Hooks, thread_ends: &'static fn()) -> State {
    let opening = State::Opening as u32;
    // Acquire and release: one thread wins, and in a forked child it sees what the fork hook stored.
    if PROCESS
        .control
        .state
        .compare_exchange(State::Unopened as u32, opening, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
    {
        tls::set(slot::OPENING);
        let state = open_alone(options, hooks, thread_ends);
        // The state is set before the slot: an event of a signal handler in between must not wait for this thread.
        state::set(state);
        tls::set(slot::FRESH);
        return state;
    }
    for round in 0..OPENING_ROUNDS_MAX {
        match state::current() {
            State::Opening => latch::wait(round),
            opened => return opened,
        }
    }
    State::Failed
}

/// Starts the threads that the settings ask for: the thread that writes dumps on signals and triggers, the thread of
/// the endpoint, and the background thread. Called once in a process. Must not be called from an event.
pub(super) fn start_threads_asked_for() {
    let options = state::options();
    let Some(hooks) = state::hooks().filter(|_| options.background != Background::Never) else { return };
    let dumps = options.triggers.is_any() || options.signals != 0;
    if dumps && !background_thread::spawn(DUMPS_STACK_BYTES, hooks.dumps) {
        platform::write_stderr(
            b"heapledger: no thread for dumps on signals and triggers, there will be none\n",
        );
    }
    match (options.serve_pattern(), hooks.serve) {
        (None, _) => {}
        (Some(_), Some(serve)) if background_thread::spawn(DUMPS_STACK_BYTES, serve) => {}
        (Some(_), Some(_)) => {
            platform::write_stderr(b"heapledger: no thread for the endpoint, there will be none\n");
        }
        (Some(_), None) => platform::write_stderr(
            b"heapledger: no endpoint: this program was built without heapledger's feature `serve`\n",
        ),
    }
    if options.background == Background::Always || options.mode == DataQualityMode::BestEffort {
        background_thread::start();
    }
}

/// Reads the options and the environment, opens the ledger and installs the hooks. Only one thread runs this function.
fn open_alone(options: &Options, hooks: &Hooks, thread_ends: &'static fn()) -> State {
    platform::remember_stderr();
    // SAFETY: C1, this thread is opening the ledger, so no other thread accesses the options.
    let chosen = unsafe { &mut *PROCESS.chosen.options.get() };
    *chosen = *options;
    // SAFETY: C1, this thread is opening the ledger, so no other thread accesses the hooks.
    unsafe { *PROCESS.chosen.hooks.get() = Some(*hooks) };
    if !environment::apply(chosen) {
        return State::Off;
    }
    if !copies::claim() {
        diagnostic::warn(format_args!(
            "another copy of heapledger records in this process, this one does not"
        ));
        return State::Off;
    }
    validate::replace_invalid(chosen);
    if chosen.background == Background::AsNeeded && chosen.needs_background_thread() {
        chosen.background = Background::Always;
    }
    // relaxed, both: published with the state.
    PROCESS.control.mode.store(chosen.mode as u32, Ordering::Relaxed);
    PROCESS.control.sampling_rate.store(estimate::rate_of(chosen.sampling_bytes) as u32, Ordering::Relaxed);
    if !state::is_forked_child() {
        // SAFETY: C1, this thread is opening the ledger, so no other thread accesses the directory.
        unsafe { &mut *PROCESS.chosen.directory.get() }.set_working_directory();
    }
    let in_file = black_box::open(chosen);
    let Some(ledger) = in_file.or_else(|| Ledger::open(chosen.memory_limit_bytes, chosen.clock)) else {
        platform::write_stderr(b"heapledger: no memory for the ledger, nothing is recorded\n");
        return State::Failed;
    };
    if state::wanted_level() != Level::Full {
        ledger.sampled.open(&ledger.pages);
        ledger.use_sampling(false);
        state::mark_sampled_out_blocks();
    }
    // relaxed: published with the ledger.
    ledger.facts.forked_from.store(PROCESS.forked_from.load(Ordering::Relaxed), Ordering::Relaxed);
    adopt_scopes(ledger);
    if traces(chosen) {
        ledger.trace_buffer.open();
    }
    // Release: pairs with the acquire in `state::ledger`.
    PROCESS.control.ledger.store(std::ptr::from_ref(ledger).cast_mut(), Ordering::Release);
    if PROCESS.are_hooks_set.set(true).is_ok() {
        tls::prepare(thread_ends);
        platform::at_exit(at_exit);
        platform::at_fork(in_forked_child);
    }
    State::Running
}

/// Copies the scopes of the parent into the ledger of a forked child, with the same numbers, because the program's
/// handles and guards contain the numbers.
fn adopt_scopes(ledger: &Ledger) {
    // relaxed: the fork hook wrote it before the child had other threads.
    let parent = PROCESS.ledger_of_parent.load(Ordering::Relaxed);
    // SAFETY: C2, the pointer is null or comes from `Ledger::open`, whose ledgers are never released; the parent's
    // region stays mapped in the child.
    if let Some(parent) = unsafe { parent.as_ref() } {
        ledger.scopes.adopt(&ledger.pages, &parent.scopes, &parent.pages);
    }
}

/// Returns whether the process writes a trace. A forked child writes a trace only if `%p` in the path makes the path
/// differ from its parent's.
fn traces(options: &Options) -> bool {
    // relaxed: the fork hook wrote it before the child had other threads.
    let is_child = PROCESS.forked_from.load(Ordering::Relaxed) != 0;
    options.trace_pattern().is_some_and(|pattern| !is_child || path_pattern::has_process_id(pattern))
}

/// The exit hook: writes the dump and ends the recording.
extern "C" fn at_exit() {
    if !state::current().records() {
        return;
    }
    if tls::get() == slot::GONE {
        // `main` has ended by `pthread_exit`, and this is the program's last thread: the C library calls `exit` in this
        // thread after its lane was retired.
        tls::set(slot::FRESH);
    }
    if let Some(hooks) = state::hooks() {
        state::set(State::Draining);
        (hooks.at_exit)();
    }
    stop();
}

/// Ends the recording: later events are lost with reason `after_shutdown`.
pub(crate) fn stop() {
    state::set(State::Stopped);
    if let Some(ledger) = state::ledger() {
        // relaxed: only a reader of the black box reads it, after the process has ended.
        ledger.facts.ended.store(1, Ordering::Relaxed);
    }
    PROCESS.epoch.tick();
}

/// The fork hook. It runs in the child, which has one thread. The parent's region stays mapped, in case the fork
/// interrupted a record. The child's next event opens a new ledger, unless the fork policy forbids it. This function
/// starts the threads that the settings ask for, because no event may start them; they wait for that ledger.
unsafe extern "C" fn in_forked_child() {
    if let Some(ledger) = state::ledger() {
        // relaxed: there is one thread.
        PROCESS.forked_from.store(ledger.facts.process_id.load(Ordering::Relaxed), Ordering::Relaxed);
        let scope = slot::lane_of_slot(tls::get()).map_or(0, Lane::scope);
        PROCESS.scope_at_fork.store(scope, Ordering::Relaxed);
        PROCESS.ledger_of_parent.store(std::ptr::from_ref(ledger).cast_mut(), Ordering::Relaxed);
        black_box::leave_to_parent(ledger);
    }
    match state::current() {
        State::Off | State::Unopened | State::ChildOff => return,
        _ => {}
    }
    if let Some(hooks) = state::hooks() {
        (hooks.in_child)();
    }
    crate::stack::state::reset_after_fork();
    PROCESS.reset_after_fork();
    tls::set(slot::FRESH);
    if tls::arm() {
        // The calling thread is the child's main thread.
        own_threads::main_thread_lives();
    }
    let records = state::options().fork != ForkPolicy::Off;
    state::set(if records { State::Unopened } else { State::ChildOff });
    PROCESS.epoch.tick();
    if records && state::options().background == Background::Always {
        start_threads_asked_for();
    }
}
