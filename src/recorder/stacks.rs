//! The call stack of an allocation: walked before its record is written, with the lane's gate closed.
//!
//! A thread walks stacks while `Lane::walks` returns true. A call stack that the thread knows costs the walk and one
//! lookup in the thread's cache. A new call stack enters the store of all stacks (`learn`). With `Stacks::Auto`, a new
//! call stack is first compared with the stack that the unwind tables give.
//!
//! An event whose stack cannot be walked is recorded with stack 0, and the failed walk is counted.

use super::gate::while_writing;
use super::internal::InternalScope;
use super::objects::OPENING;
use super::process::PROCESS;
use super::stack_bounds::{bounds_around, find_bounds, has_room, known_bounds};
use super::state::{self, Level};
use super::{black_box, objects};
use crate::ledger::Ledger;
use crate::ledger::estimate::{Sampler, rate_of};
use crate::ledger::scopes::SCOPE_DEPTH_MAX;
use crate::profile::{DataQualityMode, Stacks, scope_address};
use crate::ring::lane::{Lane, Walker, bump};
use crate::stack::cache::Cache;
use crate::stack::intern::Store;
use crate::stack::replay::{Replay, Walked};
use crate::stack::rules::{Rule, Rules, TABLE_PAGES};
use crate::stack::{End, Frames, Hash, STACK_FRAMES_MAX, unwind, walk};
use crate::sys::errno::KeptErrno;
use crate::sys::frame::{self, Bounds, Registers};
use crate::sys::latch::Patience;
use crate::sys::pages::For;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of outer frames that a walk by frame pointers may lack: those of the C library that start a thread.
const OUTER_FRAMES: usize = 4;

/// Factor that makes stacks of different scopes differ in a thread's cache.
const SCOPE_SALT: u64 = 0x9E37_79B9_7F4A_7C15;
/// Number of walks of known stacks per walk that is compared with the unwind tables again.
const CHECKED_AGAIN: u64 = 256;
/// Number of walks of a thread before its last walk is kept for `stack::replay`. Most short-lived threads make fewer.
const WALKS_BEFORE_REPLAY: u64 = 32;

/// Bytes of stack that `learn` may use, mostly for the frames of one or two walks.
const LEARNING_STACK_BYTES: u64 = if cfg!(debug_assertions) { 32 << 10 } else { 8 << 10 };

/// State: stacks are not walked, or not walked yet.
const CLOSED: u32 = 0;
/// Method: by frame pointers; each new stack is compared with the unwind tables.
const CHECKED: u32 = 2;
/// Method: by frame pointers without comparison, as requested by the options.
const FRAME_POINTERS: u32 = 3;
/// Method: by unwind rules, which come from the unwind tables (`stack::rules`).
const RULES: u32 = 4;

/// Removes the stack bounds and the last walk of the lane's previous thread. Called before signal handlers of the new
/// thread can find the lane, because they would walk within the bounds of the old stack.
pub(super) fn forget_stack(lane: &Lane) {
    lane.set_walks(false);
    let walker = &lane.cold.walker;
    // relaxed, all: only the lane's thread uses these words.
    for word in [&walker.low, &walker.high, &walker.floor, &walker.tries] {
        word.store(0, Ordering::Relaxed);
    }
    let replay = walker.replay.load(Ordering::Relaxed);
    if replay != 0 {
        // SAFETY: R1, the lane belongs to this thread from now on.
        unsafe { Replay::at(replay) }.forget();
    }
}

/// Prepares the walking of stacks for the process; only the first thread that claims a lane does this. Every thread
/// looks for its stack when it opens its first window.
pub(super) fn prepare(lane: &'static Lane) {
    if !frame::SUPPORTED || state::options().stacks == Stacks::Off {
        return;
    }
    // relaxed: one of several threads wins the exchange; the others look again at each new window.
    if PROCESS
        .control
        .stack_walk
        .compare_exchange(CLOSED, OPENING, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        open(lane);
        update_walking(lane);
    }
}

/// Prepares the walking of stacks for the process. Allocates, inside an internal scope.
fn open(lane: &'static Lane) {
    let Some(ledger) = state::ledger() else { return };
    let _own = InternalScope::on(lane);
    let store = store(ledger);
    let rules = ledger.pages.take(TABLE_PAGES, For::Stacks);
    let (Some(store), Some(rules)) = (store, rules) else { return };
    objects::list(ledger);
    let way = match state::options().stacks {
        Stacks::Off => CLOSED,
        Stacks::Auto | Stacks::Sampled { .. } => CHECKED,
        Stacks::FramePointers => FRAME_POINTERS,
        Stacks::Dwarf => RULES,
    };
    ledger.facts.publish_stacks(store, rules);
    // Release: pairs with the acquire in `update_walking`; a thread that sees the method sees the pages that it needs.
    PROCESS.control.stack_walk.store(way, Ordering::Release);
    objects::request_scan_until_found();
    // Another thread may have written the metadata during this function, when the list of objects was missing.
    black_box::request_metadata();
}

/// Returns the page of the store of stacks; opens the store if necessary. Scopes need the store even without walks.
fn store(ledger: &Ledger) -> Option<u32> {
    ledger
        .facts
        .store_of_stacks()
        .or_else(|| Store::open(&ledger.pages).map(|made| ledger.facts.offer_store(made)))
}

/// Stores in the lane whether its thread walks stacks at the requested level, and updates cache and stack bounds.
pub(super) fn update_walking(lane: &Lane) {
    // Acquire: pairs with the release in `open`.
    let is_open = PROCESS.control.stack_walk.load(Ordering::Acquire) > OPENING;
    // The requested level decides, because the level in force is the same for `Full` and `NoStacks`.
    let is_given_up = matches!(state::asked_level(), Level::NoStacks | Level::CountersOnly);
    lane.set_walks(is_open && !is_given_up);
    forget_if_reused(lane);
    let walker = &lane.cold.walker;
    // relaxed: only the lane's thread writes it.
    if frame::SUPPORTED && walker.high.load(Ordering::Relaxed) == 0 {
        find_bounds(walker);
    }
}

/// Empties the thread's cache if a newly found object has addresses of earlier stacks. Returns whether it was emptied.
fn forget_if_reused(lane: &Lane) -> bool {
    objects::watch_if_due();
    let (walker, reused) = (&lane.cold.walker, unwind::reused());
    // relaxed, both: only the lane's thread uses the word.
    let has_changed = walker.reused.load(Ordering::Relaxed) != reused;
    if has_changed {
        walker.reused.store(reused, Ordering::Relaxed);
        Cache::of(walker).clear();
    }
    has_changed
}

/// Returns the stack of an allocation that opens a window. `stack` was walked before the window was opened. The stack
/// is walked again if its addresses may mean different code now.
#[cold]
#[inline(never)]
pub(super) fn at_new_window(lane: &Lane, stack: u32) -> u32 {
    // Excludes sampled stacks: a stack is drawn only once, and a stack that was sampled out must not be walked now.
    let is_walked = lane.walks() && !matches!(state::options().stacks, Stacks::Sampled { .. });
    if stack == 0 || !forget_if_reused(lane) || !is_walked {
        return stack;
    }
    state::ledger().map_or(0, |ledger| walked(lane, ledger, lane.scope()))
}

/// Walks the stack of an allocation of `size` bytes in `scope`, and returns the number of the stack. `scope` is 0
/// outside scopes. If the walk gives no stack, returns the number of the stack that has only the scope's frames. The
/// lane's gate is closed during the call. Inlining saves the walk one frame, and saves a caller outside scopes the code
/// for scopes.
#[inline(always)]
pub(super) fn take(lane: &Lane, size: u64, scope: u32) -> u32 {
    let Some(ledger) = state::ledger() else { return 0 };
    let walker = &lane.cold.walker;
    if is_sampled_out(walker, ledger, size) {
        bump(&walker.sampled_out);
        return without_frames(ledger, scope);
    }
    walked(lane, ledger, scope)
}

/// Returns the number of the stack that consists of the frames of a scope; 0 outside scopes.
#[inline(always)]
fn without_frames(ledger: &Ledger, scope: u32) -> u32 {
    if scope == 0 { 0 } else { bare_stack(ledger, scope) }
}

/// Walks the stack of the caller and returns the stack's number, like [`take`] for a stack that is not sampled out.
#[inline(always)]
fn walked(lane: &Lane, ledger: &Ledger, scope: u32) -> u32 {
    let start = frame::registers();
    match known_number(&lane.cold.walker, start, scope) {
        0 => walked_in_full(lane, ledger, scope, &start),
        number => number,
    }
}

/// Returns the number of the stack if the cache has it and the walk needs no full rule and no comparison, otherwise 0.
#[inline(always)]
fn known_number(walker: &Walker, start: Registers, scope: u32) -> u32 {
    let Some(bounds) = known_bounds(walker, start.sp) else { return 0 };
    // relaxed, all: the method changes at most once, and only the lane's thread writes the other words.
    let way = PROCESS.control.stack_walk.load(Ordering::Relaxed);
    let Walked { hash, end } = if way == RULES {
        let replay = walker.replay.load(Ordering::Relaxed);
        if replay == 0 {
            return 0;
        }
        // SAFETY: R1, the lane belongs to this thread, and no signal handler uses the walk while the gate is closed.
        match unsafe { Replay::at(replay) }.walk_near(start) {
            Some(walked) => walked,
            None => return 0,
        }
    } else {
        walk::hash(start, bounds)
    };
    let known = Cache::of(walker).get(salted(hash, scope));
    let walk = walker.taken.load(Ordering::Relaxed) + 1;
    if known == 0 || way == CHECKED && walk.is_multiple_of(CHECKED_AGAIN) {
        return 0;
    }
    bump(&walker.taken);
    if end == End::Truncated {
        bump(&walker.truncated);
    }
    known
}

/// Returns the hash of a stack in a scope: it differs from the hash of the same stack in another scope.
#[inline(always)]
fn salted(hash: u64, scope: u32) -> u64 {
    hash ^ u64::from(scope).wrapping_mul(SCOPE_SALT)
}

/// Walks the stack from the registers of the caller, and returns the stack's number. `start` is a reference, so the
/// call cannot be a tail call, and the caller's frame exists until the return.
#[cold]
#[inline(never)]
fn walked_in_full(lane: &Lane, ledger: &Ledger, scope: u32, start: &Registers) -> u32 {
    let start = *start;
    let Some((store, rules)) = ledger.facts.stacks() else { return 0 };
    let none = || without_frames(ledger, scope);
    let walker = &lane.cold.walker;
    let Some(bounds) = bounds_around(walker, start.sp) else {
        bump(&walker.failed);
        return none();
    };
    let way = PROCESS.control.stack_walk.load(Ordering::Relaxed);
    let look = Look { ledger, start, bounds, rules: Rules::at(&ledger.pages, rules), walker, scope };
    bump(&walker.taken);
    let walked = if way == RULES { look.hash_by_rules() } else { Some(walk::hash(start, bounds)) };
    let Some(Walked { hash, end }) = walked else {
        bump(&walker.failed);
        return none();
    };
    if end == End::Truncated {
        bump(&walker.truncated);
    }
    let hash = salted(hash, scope);
    let known = Cache::of(walker).get(hash);
    let walk = walker.taken.load(Ordering::Relaxed);
    if known != 0 && !(way == CHECKED && walk.is_multiple_of(CHECKED_AGAIN)) {
        return known;
    }
    let Some(number) = look.learn_in_room(Store::at(&ledger.pages, store), way, hash) else {
        return if known == 0 { none() } else { known };
    };
    if known == 0 || number == known {
        return number;
    }
    if forget_if_reused(lane) {
        return number;
    }
    // The same frame pointers gave a different stack before, so blocks may be booked to the wrong stack.
    // relaxed: reporting only.
    PROCESS.counters.stack_checks_failed.fetch_add(1, Ordering::Relaxed);
    give_up_frame_pointers();
    number
}

/// Draws whether the stack is sampled out. Always returns false except with `Stacks::Sampled`.
#[inline(always)]
fn is_sampled_out(walker: &Walker, ledger: &Ledger, size: u64) -> bool {
    let Stacks::Sampled { bytes } = state::options().stacks else { return false };
    // relaxed, all: only the lane's thread writes them.
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    // The rate is constant during the life of the process.
    let rate = rate_of(bytes);
    let mut sampler = Sampler { distance: load(&walker.distance), random: load(&walker.random), rate };
    let taken = sampler.takes(size, rate, || state::seed(ledger));
    walker.distance.store(sampler.distance, Ordering::Relaxed);
    walker.random.store(sampler.random, Ordering::Relaxed);
    !taken
}

/// The arguments of one walk, passed by value. Passed in memory, they would be stored one by one and loaded together,
/// and such a load waits for all the stores.
#[derive(Clone, Copy)]
struct Look<'a> {
    ledger: &'a Ledger,
    start: Registers,
    bounds: Bounds,
    rules: Rules,
    walker: &'a Walker,
    /// The thread's scope; 0 outside scopes.
    scope: u32,
}

impl<'a> Look<'a> {
    #[inline(always)]
    fn hash_by_rules(self) -> Option<Walked> {
        if let Some(replay) = self.replay()
            && let Some(walked) =
                replay.walk(self.rules, self.start, self.bounds, |address| self.discover(address)).ok()?
        {
            return Some(walked);
        }
        let mut hash = Hash::new(1);
        let end = self.by_rules(|address| hash = hash.add(address))?;
        Some(Walked { hash: hash.finish(), end })
    }

    /// Returns the thread's last walk, or `None`. Makes room for it after each [`WALKS_BEFORE_REPLAY`] walks.
    #[inline(always)]
    fn replay(self) -> Option<&'a mut Replay> {
        // relaxed, all: only the lane's thread writes them.
        let replay = self.walker.replay.load(Ordering::Relaxed);
        if replay != 0 {
            // SAFETY: R1, the lane belongs to this thread, and no signal handler walks while the gate is closed.
            return Some(unsafe { Replay::at(replay) });
        }
        if self.walker.taken.load(Ordering::Relaxed).is_multiple_of(WALKS_BEFORE_REPLAY) {
            let _errno = KeptErrno::keep();
            self.walker.replay.store(Replay::open(&self.ledger.pages), Ordering::Relaxed);
        }
        None
    }

    #[inline(always)]
    fn by_rules(self, visit: impl FnMut(u64)) -> Option<End> {
        self.rules.walk(self.start, self.bounds, |address| self.discover(address), visit)
    }

    /// Finds the unwind rule for an address that is not in the table of rules. Returns `None` if the latch was not free
    /// within the wait that the mode allows.
    #[cold]
    #[inline(never)]
    fn discover(self, address: u64) -> Option<Rule> {
        let _errno = KeptErrno::keep();
        let known = unwind::discover(address, patience())?;
        if !known.is_code {
            // relaxed: a hint.
            PROCESS.counters.unknown_code.store(1, Ordering::Relaxed);
        }
        self.rules.put(address, known.rule);
        Some(known.rule)
    }

    /// Interns a stack, as [`Look::learn`] does, unless too little stack memory is free for that.
    #[cold]
    #[inline(never)]
    fn learn_in_room(self, store: &Store, way: u32, hash: u64) -> Option<u32> {
        if !has_room(self.walker, LEARNING_STACK_BYTES) {
            bump(&self.walker.failed);
            return None;
        }
        self.learn(store, way, hash)
    }

    /// Interns a stack that is new to the thread, and returns its number. If the stack gets no number, counts the
    /// reason.
    #[cold]
    #[inline(never)]
    fn learn(self, store: &Store, way: u32, hash: u64) -> Option<u32> {
        let _errno = KeptErrno::keep();
        let mut frames = Frames::new();
        let mut is_kept = true;
        let number = self.frames(way, &mut frames).and_then(|end| {
            let (is_truncated, now_ns) = (end == End::Truncated, || self.ledger.clock.now_ns());
            is_kept = unwind::number_frames(frames.as_mut_slice(), is_truncated, now_ns, patience())?;
            let (scopes, depth) = scope_frames(self.ledger, self.scope);
            store.intern(&self.ledger.pages, frames.as_slice(), &scopes[..depth], is_truncated, patience())
        });
        match number {
            None => bump(&self.walker.failed),
            Some(None) if frames.len == 0 => bump(&self.walker.failed),
            Some(None) => bump(&self.walker.full),
            Some(Some(number)) => {
                if self.scope != 0 {
                    self.ledger.scopes.note_stack(&self.ledger.pages, number, self.scope);
                }
                if is_kept {
                    Cache::of(self.walker).put(&self.ledger.pages, hash, number);
                }
            }
        }
        number?
    }

    /// Collects the frames of the stack for the store.
    fn frames(self, way: u32, frames: &mut Frames) -> Option<End> {
        if way == FRAME_POINTERS {
            let end = walk::walk(self.start, self.bounds, |address| frames.push(address));
            frames.len = unwind::code_frames(frames.as_slice(), patience())?;
            return Some(end);
        }
        let end = self.by_rules(|address| frames.push(address))?;
        if way == CHECKED {
            // relaxed: reporting only.
            PROCESS.counters.stack_checks.fetch_add(1, Ordering::Relaxed);
            if !self.agrees(frames, end)? {
                give_up_frame_pointers();
            }
        }
        Some(end)
    }

    /// Returns whether the frame pointers give the same stack as the unwind tables. Outer frames of the C library's
    /// code that starts a thread may be missing. Returns `None` if a latch was not free in time.
    fn agrees(self, frames: &Frames, end: End) -> Option<bool> {
        let mut chain = Frames::new();
        walk::walk(self.start, self.bounds, |address| chain.push(address));
        chain.len = unwind::code_frames(chain.as_slice(), patience())?;
        let (known, chained) = (frames.as_slice(), chain.as_slice());
        if known.len() == STACK_FRAMES_MAX {
            return Some(known == chained);
        }
        let common = known.iter().zip(chained).take_while(|(one, other)| one == other).count();
        let rest = known.get(common..).unwrap_or(&[]);
        if common < chained.len() || rest.len() > OUTER_FRAMES {
            return Some(false);
        }
        // A truncated stack agrees only if the frame pointers end at the same frame.
        let lacking = rest.get(..rest.len().saturating_sub(1)).unwrap_or(&[]);
        let lacks_ours = !lacking.is_empty() && unwind::any_in_our_object(lacking, patience())?;
        Some(!lacks_ours && (end == End::Outermost || rest.is_empty()))
    }
}

/// Switches to walks by unwind rules.
fn give_up_frame_pointers() {
    // relaxed: each thread reads it at its next walk.
    PROCESS.control.stack_walk.store(RULES, Ordering::Relaxed);
}

/// Returns how long the mode lets a thread wait for a shared latch of the stack tables: not at all in the modes that
/// never wait.
fn patience() -> Patience {
    match state::mode() {
        DataQualityMode::HighThroughput | DataQualityMode::BestEffort => Patience::None,
        DataQualityMode::PerfectAccuracy | DataQualityMode::HighAccuracy => Patience::Bounded,
    }
}

/// Returns the method of the walk, the reason for it, the number of stacks checked, and the number of failed checks.
pub(crate) fn way() -> (&'static str, &'static str, u64, u64) {
    // relaxed: reporting only.
    let asked = state::options().stacks;
    let checks = PROCESS.counters.stack_checks.load(Ordering::Relaxed);
    let (walker, why) = match PROCESS.control.stack_walk.load(Ordering::Relaxed) {
        CHECKED if !unwind::knows_objects() => {
            ("frame pointers", "the list of loaded objects cannot be read, so no stack can be compared")
        }
        CHECKED if checks == 0 => ("frame pointers", "no stack has been compared with the unwind tables yet"),
        CHECKED => ("frame pointers", "they agree with the unwind tables in every stack so far"),
        FRAME_POINTERS => ("frame pointers", "asked for"),
        RULES if asked == Stacks::Dwarf => ("dwarf", "asked for"),
        RULES => ("dwarf", "frame pointers differed from the unwind tables"),
        _ if asked == Stacks::Off => ("off", "asked for"),
        _ if !frame::SUPPORTED => ("off", "stacks are not taken on this platform"),
        _ => ("off", "there was no memory for them"),
    };
    (walker, why, checks, PROCESS.counters.stack_checks_failed.load(Ordering::Relaxed))
}

/// Returns the frames of a scope and of the scopes around it, innermost first, and their number.
fn scope_frames(ledger: &Ledger, scope: u32) -> ([u64; SCOPE_DEPTH_MAX], usize) {
    let chain = ledger.scopes.chain(&ledger.pages, scope);
    let depth = chain.iter().take_while(|number| **number != 0).count();
    (chain.map(scope_address), depth)
}

/// Returns the number of the stack that consists of the frames of a scope alone; interns that stack the first time.
#[inline]
fn bare_stack(ledger: &Ledger, scope: u32) -> u32 {
    let Some(place) = ledger.scopes.stack_of_scope(&ledger.pages, scope) else { return 0 };
    // relaxed: only the number is read, and its scope was noted before any other thread could get the number.
    match place.load(Ordering::Relaxed) {
        0 => intern_bare(ledger, scope, place),
        number => number,
    }
}

#[cold]
#[inline(never)]
fn intern_bare(ledger: &Ledger, scope: u32, place: &AtomicU32) -> u32 {
    let _errno = KeptErrno::keep();
    let (frames, depth) = scope_frames(ledger, scope);
    let number = store(ledger).and_then(|page| {
        Store::at(&ledger.pages, page).intern(&ledger.pages, &[], &frames[..depth], false, patience())?
    });
    let Some(number) = number else {
        // relaxed: a count.
        ledger.scopes.without_cell.fetch_add(1, Ordering::Relaxed);
        return 0;
    };
    ledger.scopes.note_stack(&ledger.pages, number, scope);
    // relaxed: see `bare_stack`.
    place.store(number, Ordering::Relaxed);
    number
}

/// Interns the stack of a scope's frames before an allocation needs it.
pub(super) fn prepare_scope(ledger: &Ledger, scope: u32) {
    bare_stack(ledger, scope);
}

/// Returns the stack of an allocation, for a thread that walks stacks and is in no scope of the program. `limit` is the
/// value that closing the gate returned. An event that finds the gate closed gets stack 0, because the event belongs to
/// a signal handler or is internal.
#[inline(always)]
pub(super) fn stack_outside_scopes(lane: &Lane, limit: u64, size: u64) -> u32 {
    if limit != 0 { take(lane, size, 0) } else { 0 }
}

/// Returns the stack of an allocation, including the frames of the thread's scope. `limit` has the same effect as in
/// [`stack_outside_scopes`].
#[inline(always)]
pub(super) fn stack_in_scope(lane: &Lane, limit: u64, size: u64) -> u32 {
    let scope = lane.scope();
    match state::ledger() {
        _ if limit == 0 => 0,
        _ if lane.walks() => take(lane, size, scope),
        Some(ledger) => bare_stack(ledger, scope),
        None => 0,
    }
}

/// Returns the stack of an allocation on the slow path, like [`stack_in_scope`]. It is not inlined, so that the walk is
/// compiled once for all its callers.
#[inline(never)]
pub(super) fn stack_slow(lane: &Lane, limit: u64, size: u64) -> u32 {
    if limit == 0 { 0 } else { stack_on_sampling_lane(lane, size) }
}

/// Returns the stack of an allocation on a lane whose events may be sampled out. The gate is then closed in any case,
/// so the flag `writing` keeps signal handlers from walking during this walk.
pub(super) fn stack_on_sampling_lane(lane: &Lane, size: u64) -> u32 {
    if lane.stack_needs() == 0 {
        return 0;
    }
    forget_if_reused(lane);
    while_writing(lane, || stack_in_scope(lane, 1, size))
}
