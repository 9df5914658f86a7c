//! The stack of an allocation: walked before its record is written, with the lane's gate closed.
//!
//! A thread takes stacks when its lane says so (`Lane::walks`); everything else about it is here. The walk of a stack
//! that the thread has had before costs the walk and one look into the thread's cache. A new one goes to the store of
//! all stacks (`learn`), and in `Stacks::Auto` it is first compared with what the unwind tables say.
//!
//! Wherever a stack cannot be had, the event is recorded all the same, at stack 0, and it is counted why.

use super::black_box;
use super::gate::while_writing;
use super::internal::InternalScope;
use super::process::PROCESS;
use super::state::{self, Level};
use crate::ledger::Ledger;
use crate::ledger::estimate::{Sampler, rate_of};
use crate::profile::{DataQualityMode, Stacks};
use crate::ring::lane::{Lane, Walker, bump};
use crate::stack::cache::Cache;
use crate::stack::intern::Store;
use crate::stack::replay::{Replay, Walked};
use crate::stack::rules::{Rule, Rules, TABLE_PAGES};
use crate::stack::{End, Frames, Hash, STACK_FRAMES_MAX, unwind, walk};
use crate::sys::errno::KeptErrno;
use crate::sys::frame::{self, Bounds, Registers};
use crate::sys::latch::Patience;
use crate::sys::sync::{AtomicU64, Ordering};

/// Frames at the outer end that a walk by frame pointers may lack: those of the C library that starts a thread.
const OUTER_FRAMES: usize = 4;

/// Of the stacks that a thread knows, one in so many is checked again.
const CHECKED_AGAIN: u64 = 256;
/// A thread's last walk is kept from this walk on: most threads that come and go do not make so many.
const WALKS_BEFORE_REPLAY: u64 = 32;

/// Stacks are not taken, or not yet.
const CLOSED: u32 = 0;
/// A thread is making ready for them.
const OPENING: u32 = 1;
/// By frame pointers, each new stack checked.
const CHECKED: u32 = 2;
/// By frame pointers, because that was asked for.
const FRAME_POINTERS: u32 = 3;
/// By rules.
const RULES: u32 = 4;

/// Makes ready for the stacks of a thread that has just got its lane; the first one does so for the process.
pub(super) fn thread_starts(lane: &'static Lane) {
    lane.set_walks(false);
    if !frame::SUPPORTED || state::options().stacks == Stacks::Off {
        return;
    }
    // relaxed: of several threads one opens; the others look again at each of their turns.
    if PROCESS
        .control
        .stack_walk
        .compare_exchange(CLOSED, OPENING, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        open(lane);
    }
    let walker = &lane.cold.walker;
    find_bounds(walker);
    // relaxed: the thread's own line.
    let replay = walker.replay.load(Ordering::Relaxed);
    if replay != 0 {
        // SAFETY: R1, the lane is this thread's from now on.
        unsafe { Replay::at(replay) }.forget();
    }
    follow(lane);
}

/// Finds out where the thread's stack lies. Where that fails there is no stack; the system reads a file for it.
#[cold]
fn find_bounds(walker: &Walker) {
    let _errno = KeptErrno::keep();
    let bounds = frame::bounds().unwrap_or_default();
    // relaxed, both: the thread's own line.
    walker.low.store(bounds.low, Ordering::Relaxed);
    walker.high.store(bounds.high, Ordering::Relaxed);
}

/// Tries again to find out where the thread's stack lies: at its 2nd turn without, its 4th, 8th, and so on. The
/// first is that of its start, where it was tried.
#[cold]
fn find_bounds_again(walker: &Walker) {
    // relaxed, both: the thread's own line.
    let turns = walker.low.load(Ordering::Relaxed) + 1;
    if turns > 1 && turns.is_power_of_two() {
        find_bounds(walker);
    }
    if walker.high.load(Ordering::Relaxed) == 0 {
        walker.low.store(turns, Ordering::Relaxed);
    }
}

/// Makes ready for stacks in this process. Allocates, as heapledger's own.
fn open(lane: &'static Lane) {
    let Some(ledger) = state::ledger() else { return };
    let _own = InternalScope::on(lane);
    let store = Store::open(&ledger.pages);
    let rules = ledger.pages.take(TABLE_PAGES);
    let (Some(store), Some(rules)) = (store, rules) else { return };
    unwind::refresh(ledger.clock.now_ns());
    let way = match state::options().stacks {
        Stacks::Off => CLOSED,
        Stacks::Auto | Stacks::Sampled { .. } => CHECKED,
        Stacks::FramePointers => FRAME_POINTERS,
        Stacks::Dwarf => RULES,
    };
    ledger.facts.publish_stacks(store, rules);
    // Release: pairs with the acquire in `follow`; who sees the way sees the pages that it needs.
    PROCESS.control.stack_walk.store(way, Ordering::Release);
    look_until_found();
    // Another thread may have had it written in the meantime, without a single object in it.
    black_box::is_to_be_labelled();
}

/// Takes up whether stacks are taken, at the present level.
pub(super) fn follow(lane: &Lane) {
    // Acquire: pairs with the release in `open`.
    let is_open = PROCESS.control.stack_walk.load(Ordering::Acquire) > OPENING;
    // As asked for: for all else the first two levels are the same.
    let is_given_up = matches!(state::asked_level(), Level::NoStacks | Level::CountersOnly);
    lane.set_walks(is_open && !is_given_up);
    let walker = &lane.cold.walker;
    // relaxed: the thread's own line.
    if is_open && walker.high.load(Ordering::Relaxed) == 0 {
        find_bounds_again(walker);
    }
}

/// Looks for objects that were loaded or unloaded, if there is a reason to; says whether there were any. Allocates: in
/// an own section.
pub(crate) fn refresh(ledger: &Ledger) -> bool {
    // relaxed: a hint.
    let has_reason = PROCESS.control.stack_walk.load(Ordering::Relaxed) > OPENING
        && PROCESS.counters.unknown_code.swap(0, Ordering::Relaxed) != 0;
    let are_others = has_reason && look_again(ledger);
    if has_reason {
        look_until_found();
    }
    are_others
}

/// Whether there is a reason to look for objects.
pub(super) fn has_news() -> bool {
    // relaxed: a hint.
    PROCESS.counters.unknown_code.load(Ordering::Relaxed) != 0
}

/// Sees to it that objects are looked for again, if not one is known: the system had no memory or no file descriptor for
/// it, and without them there is no stack at all.
fn look_until_found() {
    if !unwind::knows_objects() {
        // relaxed: a hint.
        PROCESS.counters.unknown_code.store(1, Ordering::Relaxed);
    }
}

/// Looks for objects that were loaded or unloaded; says whether there were any. Allocates: in an own section.
pub(crate) fn look_again(ledger: &Ledger) -> bool {
    let are_others = unwind::refresh(ledger.clock.now_ns());
    if are_others && let Some((_, rules)) = ledger.facts.stacks() {
        Rules::at(&ledger.pages, rules).clear();
    }
    are_others
}

/// The number of the stack of an allocation of `size` bytes; 0 if there is none. The lane's gate is closed. The walk starts in
/// the function that this is inlined into, so that it has a frame less to go.
#[inline(always)]
pub(super) fn take(lane: &Lane, size: u64) -> u32 {
    let Some(ledger) = state::ledger() else { return 0 };
    let Some((store, rules)) = ledger.facts.stacks() else { return 0 };
    let walker = &lane.cold.walker;
    if is_left_out(walker, ledger, size) {
        bump(&walker.left_out);
        return 0;
    }
    // relaxed, both: the thread's own line.
    let bounds =
        Bounds { low: walker.low.load(Ordering::Relaxed), high: walker.high.load(Ordering::Relaxed) };
    let start = frame::registers();
    if start.sp < bounds.low || start.sp >= bounds.high {
        // On another stack: that of a signal handler, or of a coroutine.
        bump(&walker.failed);
        return 0;
    }
    let way = PROCESS.control.stack_walk.load(Ordering::Relaxed);
    let look = Look { ledger, start, bounds, rules: Rules::at(&ledger.pages, rules), walker };
    bump(&walker.taken);
    let Some(Walked { hash, end }) = (if way == RULES { look.hash_by_rules() } else { look.hash_by_chain() })
    else {
        bump(&walker.failed);
        return 0;
    };
    if end == End::Truncated {
        bump(&walker.truncated);
    }
    let known = Cache::of(walker).get(hash);
    if known != 0 && !(way == CHECKED && look.is_due()) {
        return known;
    }
    let number = look.learn(Store::at(&ledger.pages, store), way, hash).unwrap_or(0);
    if known == 0 || number == 0 || number == known {
        return number.max(known);
    }
    // The same frame pointers stood for another stack before: blocks may have been booked to the wrong one.
    // relaxed: a figure for people.
    PROCESS.counters.stack_checks_failed.fetch_add(1, Ordering::Relaxed);
    give_up_frame_pointers();
    number
}

/// Draws whether the stack is left out, where a subset is taken.
#[inline(always)]
fn is_left_out(walker: &Walker, ledger: &Ledger, size: u64) -> bool {
    let Stacks::Sampled { bytes } = state::options().stacks else { return false };
    // relaxed, all: the thread's own line.
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    // The rate is the same for the whole life of the process.
    let rate = rate_of(bytes);
    let mut sampler = Sampler { distance: load(&walker.distance), random: load(&walker.random), rate };
    let taken = sampler.takes(size, rate, || state::seed(ledger));
    walker.distance.store(sampler.distance, Ordering::Relaxed);
    walker.random.store(sampler.random, Ordering::Relaxed);
    !taken
}

/// One look at the thread's stack. Handed on by value: what the processor has just stored, a register at a time, it would wait to
/// load as one.
#[derive(Clone, Copy)]
struct Look<'a> {
    ledger: &'a Ledger,
    start: Registers,
    bounds: Bounds,
    rules: Rules,
    walker: &'a Walker,
}

impl<'a> Look<'a> {
    #[inline(always)]
    fn hash_by_chain(self) -> Option<Walked> {
        let mut hash = Hash::new(0);
        let end = walk::walk(self.start, self.bounds, |address| hash = hash.add(address));
        Some(Walked { hash: hash.finish(), end })
    }

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

    /// The thread's last walk, made room for when it has walked often enough.
    #[inline(always)]
    fn replay(self) -> Option<&'a mut Replay> {
        // relaxed, all: the thread's own line.
        let replay = self.walker.replay.load(Ordering::Relaxed);
        if replay != 0 {
            // SAFETY: R1, the lane is this thread's, and while its gate is closed no handler of it comes here.
            return Some(unsafe { Replay::at(replay) });
        }
        if self.walker.taken.load(Ordering::Relaxed) == WALKS_BEFORE_REPLAY {
            let _errno = KeptErrno::keep();
            self.walker.replay.store(Replay::open(&self.ledger.pages), Ordering::Relaxed);
        }
        None
    }

    #[inline(always)]
    fn by_rules(self, visit: impl FnMut(u64)) -> Option<End> {
        self.rules.walk(self.start, self.bounds, |address| self.discover(address), visit)
    }

    /// Whether a stack that is known is to be checked again.
    #[inline(always)]
    fn is_due(self) -> bool {
        // relaxed: the thread's own line.
        self.walker.taken.load(Ordering::Relaxed).is_multiple_of(CHECKED_AGAIN)
    }

    /// Works out a rule that the table does not have. `None` if that would take a wait that the mode has not.
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

    /// Gives a stack that is new to the thread its number. Counts why, where there is none.
    #[cold]
    #[inline(never)]
    fn learn(self, store: &Store, way: u32, hash: u64) -> Option<u32> {
        let _errno = KeptErrno::keep();
        let mut frames = Frames::new();
        let number = self.frames(way, &mut frames).and_then(|end| {
            store.intern(&self.ledger.pages, frames.as_slice(), end == End::Truncated, patience())
        });
        match number {
            None => bump(&self.walker.failed),
            Some(None) if frames.len == 0 => bump(&self.walker.failed),
            Some(None) => bump(&self.walker.full),
            Some(Some(number)) => Cache::of(self.walker).put(&self.ledger.pages, hash, number),
        }
        number?
    }

    /// The frames of the stack, as they are to be written out.
    fn frames(self, way: u32, frames: &mut Frames) -> Option<End> {
        if way == FRAME_POINTERS {
            let end = walk::walk(self.start, self.bounds, |address| frames.push(address));
            frames.len = unwind::code_frames(frames.as_slice(), patience())?;
            return Some(end);
        }
        let end = self.by_rules(|address| frames.push(address))?;
        if way == CHECKED {
            // relaxed: a figure for people.
            PROCESS.counters.stack_checks.fetch_add(1, Ordering::Relaxed);
            if !self.agrees(frames, end)? {
                give_up_frame_pointers();
            }
        }
        Some(end)
    }

    /// Whether the frame pointers say what the unwind tables have given. Frames at the outer end may be missing, those of
    /// the C library that starts a thread.
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
        // Truncated where both end: the chain has nothing more to say there either.
        let lacking = rest.get(..rest.len().saturating_sub(1)).unwrap_or(&[]);
        let lacks_ours = !lacking.is_empty() && unwind::any_in_our_object(lacking, patience())?;
        Some(!lacks_ours && (end == End::Outermost || rest.is_empty()))
    }
}

/// From now on stacks are walked by rules.
fn give_up_frame_pointers() {
    // relaxed: each thread follows when it sees it.
    PROCESS.control.stack_walk.store(RULES, Ordering::Relaxed);
}

/// How long a thread waits for what stacks share with other threads: not at all in the modes that never wait.
fn patience() -> Patience {
    match state::mode() {
        DataQualityMode::HighThroughput | DataQualityMode::BestEffort => Patience::None,
        DataQualityMode::PerfectAccuracy | DataQualityMode::HighAccuracy => Patience::Bounded,
    }
}

/// How stacks are taken, why so, how many were checked, and how many of those failed.
pub(crate) fn way() -> (&'static str, &'static str, u64, u64) {
    // relaxed: figures for people.
    let asked = state::options().stacks;
    let (walker, why) = match PROCESS.control.stack_walk.load(Ordering::Relaxed) {
        CHECKED => ("frame pointers", "they agree with the unwind tables in every stack so far"),
        FRAME_POINTERS => ("frame pointers", "asked for"),
        RULES if asked == Stacks::Dwarf => ("dwarf", "asked for"),
        RULES => ("dwarf", "frame pointers differed from the unwind tables"),
        _ if asked == Stacks::Off => ("off", "asked for"),
        _ if !frame::SUPPORTED => ("off", "stacks are not taken on this platform"),
        _ => ("off", "there was no memory for them"),
    };
    (
        walker,
        why,
        PROCESS.counters.stack_checks.load(Ordering::Relaxed),
        PROCESS.counters.stack_checks_failed.load(Ordering::Relaxed),
    )
}

/// The stack of an allocation whose gate stood at `limit`. An event that finds it closed has none: it is a handler's, or
/// heapledger's own.
#[inline(always)]
pub(super) fn stack_at(lane: &Lane, limit: u64, size: u64) -> u32 {
    if lane.walks() && limit != 0 { take(lane, size) } else { 0 }
}

/// The same where an event takes its time, so that the walk does not stand in each of these places.
#[inline(never)]
pub(super) fn stack_aside(lane: &Lane, limit: u64, size: u64) -> u32 {
    if limit == 0 { 0 } else { stack_alone(lane, size) }
}

/// The stack of an allocation on a lane that may leave events out: there a closed gate keeps no handler from walking too, so this
/// says that a record is being written.
pub(super) fn stack_alone(lane: &Lane, size: u64) -> u32 {
    if !lane.walks() {
        return 0;
    }
    while_writing(lane, || take(lane, size))
}
