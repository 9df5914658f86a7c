//! The walk by rules, made cheap by the walk before it.
//!
//! From one allocation of a thread to the next, most of its stack stays as it is: the outer functions are still waiting
//! for the same calls. So the frames of the last walk are kept, outermost first, and a new walk begins with a look which of
//! them still stand: for each, the return address must lie where it lay. That is a load and a comparison a frame, of
//! places that do not depend on each other, where a walk by rules has a look-up in a table, and each waits for the one before.
//! Then the walk goes by rules from the inner end until it comes to a frame that stands; the rest is known.
//!
//! ```text
//!        inner                                                      outer
//!  now    ├─ by rules ─┤◄──────────── kept frames that stand ──────────►│
//!  before ├──── are gone ────┤◄────────────────────────────────────────►│
//! ```
//!
//! # Why it is no guess
//!
//! A walk by rules is a function of where it is (address in the code, stack pointer, frame pointer) and of the words that it
//! reads on the stack. If it comes to a place where the last walk was, and all words that the last walk read from there on
//! are the same, then it takes the same way. Both are compared, all of them, each time: return addresses, and saved frame
//! pointers where one is needed later on. A frame pointer that no later frame is found by may differ.
//! When rules are forgotten, because code has come or gone, so is the last walk.
//!
//! The hash of a stack is gathered from its outermost frame inwards, so that the part for what stands is known as well.
//!
//! A walk of more frames than [`REPLAY_FRAMES_MAX`], or one that something on the stack has ended, is not kept. After one
//! that was too deep the thread goes without for a while, so that it does not pay twice for each.
//!
//! Invariant **R1**: the room is a run of pages that is never given back, and only its thread uses it.

use super::rules::{Rule, Rules, Stop};
use super::{End, Hash};
use crate::sys::frame::{Bounds, Registers, read};
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Frames of a walk that are kept, at most.
pub(crate) const REPLAY_FRAMES_MAX: usize = 144;
/// Walks by rules alone after one that was too deep.
const REST: u32 = 64;
/// Pages of a thread's last walk.
pub(crate) const REPLAY_PAGES: u32 = 2;

/// A place of the last walk. Addresses on the stack are distances below the stack's end, so that they take half a word.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The return address that leads here.
    address: u64,
    /// The hash of the stack from here outwards.
    hash: u64,
    /// The stack pointer here. The return address lies right below.
    sp: u32,
    /// The frame pointer here if the walk depends on it, else 0.
    bp: u32,
    /// Where the walk read the caller's frame pointer, and what it found there; 0 if it did not or nothing depends on it.
    slot: u32,
    stored: u32,
}

/// A step of the walk that is being made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Step {
    address: u64,
    /// The frame pointer before the step.
    bp: u64,
    /// The stack pointer behind it.
    sp: u32,
    rule: Rule,
}

/// A thread's last walk. All zero bytes are a valid one, of no frames. Only its thread uses it, with its gate closed.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Replay {
    len: u32,
    /// How often rules had been forgotten when it was made.
    cleared: u32,
    is_truncated: u32,
    /// Walks to go without.
    rest: u32,
    kept: [Kept; REPLAY_FRAMES_MAX],
    steps: [Step; REPLAY_FRAMES_MAX],
}

const _: () = assert!(size_of::<Replay>() <= REPLAY_PAGES as usize * PAGE_BYTES);

/// What a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) hash: u64,
    pub(crate) end: End,
}

/// Why there is nothing: a rule could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRule;

impl Replay {
    /// Makes room for the last walk of a thread; returns its address, or 0 without memory.
    #[cold]
    pub(crate) fn open(pages: &Pages) -> u64 {
        pages.take(REPLAY_PAGES).map_or(0, |page| pages.at(page).expose_provenance() as u64)
    }

    /// The room at an address that [`Replay::open`] gave.
    ///
    /// # Safety
    /// The calling thread alone uses the room, and there is no other reference to it.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(address: u64) -> &'a mut Replay {
        // SAFETY: R1, pages that stay mapped, whose zeroes are a valid walk; the caller's promise.
        unsafe { &mut *std::ptr::with_exposed_provenance_mut::<Replay>(address as usize) }
    }

    /// Forgets the last walk: the room goes to another thread.
    pub(crate) fn forget(&mut self) {
        self.len = 0;
    }

    /// Walks. `None` if the stack is too deep or too odd to be kept: then it is to be walked by rules alone.
    #[inline(always)]
    pub(crate) fn walk(
        &mut self,
        rules: &Rules,
        start: Registers,
        bounds: Bounds,
        mut discover: impl FnMut(u64) -> Option<Rule>,
    ) -> Result<Option<Walked>, NoRule> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(None);
        }
        if self.cleared != Rules::cleared() {
            (self.cleared, self.len) = (Rules::cleared(), 0);
        }
        let mut standing = self.standing(start.sp, bounds.high);
        let mut place = start;
        let mut steps = 0;
        loop {
            if steps > 0
                && let Some(junction) = self.junction(&mut standing, place, bounds.high)
            {
                return Ok(Some(self.keep(steps - 1, junction + 1, bounds.high)));
            }
            let rule = match rules.get(place.ip) {
                Some(rule) => rule,
                None => discover(place.ip).ok_or(NoRule)?,
            };
            let bp = place.bp;
            match rule.apply(&mut place, bounds) {
                Ok(address) => {
                    let sp = u32::try_from(bounds.high - place.sp);
                    let (Some(step), Ok(sp)) = (self.steps.get_mut(steps), sp) else {
                        (self.len, self.rest) = (0, REST);
                        return Ok(None);
                    };
                    *step = Step { address, bp, sp, rule };
                    steps += 1;
                }
                Err(Stop::ByRule(end)) if steps > 0 => return Ok(self.begin(steps, end, bounds.high)),
                Err(_) => {
                    self.len = 0;
                    return Ok(None);
                }
            }
        }
    }

    /// How many of the kept frames, from the outermost on, are as they were.
    #[inline(always)]
    fn standing(&self, sp: u64, high: u64) -> usize {
        let kept = self.kept.get(..self.len as usize).unwrap_or(&[]);
        let reach = high - sp;
        let stands = |kept: &Kept| {
            let below = u64::from(kept.sp) + 8;
            // SAFETY: K1, not below the stack pointer, and at least 8 bytes below the stack's end.
            if below > reach || unsafe { read(high - below) } != kept.address {
                return false;
            }
            // SAFETY: K1, a saved frame pointer lies above the return address of its frame's inner neighbour.
            kept.slot == 0 || unsafe { read(high - u64::from(kept.slot)) } == high - u64::from(kept.stored)
        };
        kept.iter().position(|kept| !stands(kept)).unwrap_or(kept.len())
    }

    /// The kept frame that the walk has come to, if it stands.
    #[inline(always)]
    fn junction(&self, standing: &mut usize, place: Registers, high: u64) -> Option<usize> {
        let below = high - place.sp;
        while let Some(last) = standing.checked_sub(1) {
            let kept = self.kept.get(last)?;
            if u64::from(kept.sp) <= below {
                let is_here = u64::from(kept.sp) == below
                    && kept.address == place.ip.wrapping_add(1)
                    && (kept.bp == 0 || high - u64::from(kept.bp) == place.bp);
                return is_here.then_some(last);
            }
            *standing = last;
        }
        None
    }

    /// Keeps a walk that met no kept frame: its last step led to the outermost one.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, steps: usize, end: End, high: u64) -> Option<Walked> {
        let last = self.steps.get(steps - 1)?;
        self.is_truncated = u32::from(end == End::Truncated);
        let hash = Hash::new(2 + u64::from(self.is_truncated)).add(last.address);
        self.kept[0] =
            Kept { address: last.address, hash: hash.finish(), sp: last.sp, bp: 0, slot: 0, stored: 0 };
        Some(self.keep(steps - 1, 1, high))
    }

    /// Puts the frames of the first `fresh` steps behind the first `kept` frames.
    #[inline(always)]
    fn keep(&mut self, fresh: usize, kept: usize, high: u64) -> Walked {
        let mut len = kept;
        let mut outer = self.kept[len - 1];
        let mut is_whole = true;
        // A step leads from its frame to the one outside of it, which is kept by now.
        for step in (0..fresh).rev() {
            let (Some(this), Some(next)) = (self.steps.get(step), self.steps.get(step + 1)) else { break };
            let mut frame = Kept {
                address: this.address,
                hash: Hash::new(outer.hash).add(this.address).finish(),
                sp: this.sp,
                bp: outer.bp,
                slot: 0,
                stored: 0,
            };
            if let Some(below) = next.rule.bp_below_cfa() {
                frame.bp = 0;
                if outer.bp != 0 {
                    (frame.slot, frame.stored) = (next.sp + below as u32, outer.bp);
                }
            }
            if next.rule.is_from_bp() {
                // A base below the stack's end: the CFA is not above that, and is not below its base.
                frame.bp = u32::try_from(high - next.bp).unwrap_or(0);
                is_whole &= frame.bp != 0;
            }
            outer = frame;
            match self.kept.get_mut(len) {
                Some(place) => (*place, len) = (frame, len + 1),
                None => is_whole = false,
            }
        }
        self.len = if is_whole { len as u32 } else { 0 };
        let end = if self.is_truncated == 0 { End::Outermost } else { End::Truncated };
        Walked { hash: outer.hash, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::rules::TABLE_PAGES;
    use std::ptr::NonNull;

    /// Words of the stack that is made up.
    const WORDS: usize = 400;

    struct Made {
        words: Vec<u64>,
        low: u64,
        random: u64,
    }

    impl Made {
        fn draw(&mut self, below: u64) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random % below
        }

        fn bounds(&self) -> Bounds {
            Bounds { low: self.low, high: self.low + 8 * WORDS as u64 }
        }

        fn put(&mut self, address: u64, word: u64) {
            let at = ((address - self.low) / 8) as usize;
            // As the walk reads it: through the address.
            self.words[at] = word;
            std::hint::black_box(&mut self.words);
        }
    }

    /// Code of 64 functions, each with one of a few shapes. Function 0 is the outermost one; of function 1 nothing is known.
    fn rule_of(function: u64) -> Rule {
        let step = |from_bp, cfa, bp| Rule::step(from_bp, cfa, bp).unwrap();
        match (function, function % 5) {
            (0, _) => Rule::OUTERMOST,
            (1, _) => Rule::UNKNOWN,
            (_, 0) => step(false, 16, None),
            (_, 1) => step(false, 48, None),
            (_, 2) => step(false, 32, Some(16)),
            (_, 3) => step(false, 64, Some(32)),
            _ => step(true, 16, Some(16)),
        }
    }

    fn function_at(address: u64) -> u64 {
        address / 1000
    }

    /// A frame of a stack that is made up: the function, where the call in it returns to, its stack pointer, and the frame
    /// pointer that it has.
    #[derive(Clone, Copy)]
    struct Live {
        address: u64,
        sp: u64,
        bp: u64,
    }

    /// Calls a function: pushes what its shape pushes. Returns false when there is no room.
    fn call(made: &mut Made, live: &mut Vec<Live>) -> bool {
        let caller = *live.last().unwrap();
        let function = 2 + made.draw(62);
        let address = function * 1000 + made.draw(4);
        let top = caller.sp;
        let data = made.draw(1 << 20);
        let (size, saved, bp) = match function % 5 {
            0 => (16, None, caller.bp),
            1 => (48, None, caller.bp),
            // It uses the register for data.
            2 => (32, Some(16), data),
            3 => (64, Some(32), data),
            _ => (16 + 8 * (2 + data % 6), Some(16), top - 16),
        };
        if top - size < made.low + 256 {
            return false;
        }
        made.put(top - 8, caller.address);
        if let Some(below) = saved {
            made.put(top - below, caller.bp);
        }
        live.push(Live { address, sp: top - size, bp });
        true
    }

    #[test]
    fn a_replayed_walk_is_the_walk_by_rules_whatever_was_called_and_returned_between() {
        let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
        // SAFETY: until the release below.
        let pages = unsafe { region.as_ref() };
        let rules = Rules::at(pages, pages.take(TABLE_PAGES).unwrap());
        let replay = Replay::open(pages);
        let mut words = vec![0u64; WORDS];
        let low = words.as_mut_ptr().expose_provenance() as u64;
        let mut made = Made { words, low, random: 88_172_645_463_325_252 };
        let bounds = made.bounds();
        let (mut replayed, mut hashes) = (0, std::collections::HashMap::new());
        for beginning in [0, 1] {
            let mut live = vec![Live { address: beginning * 1000 + 500, sp: bounds.high - 16, bp: 7 }];
            for _ in 0..20_000 {
                for _ in 0..made.draw(6) {
                    call(&mut made, &mut live);
                }
                for _ in 0..made.draw(7).min(live.len() as u64 - 1) {
                    live.pop();
                }
                while live.len() < 4 && call(&mut made, &mut live) {}
                let inner = *live.last().unwrap();
                let start = Registers { ip: inner.address.wrapping_sub(1), sp: inner.sp, bp: inner.bp };
                let discover = |address: u64| Some(rule_of(function_at(address.wrapping_add(1))));
                let mut frames = Vec::new();
                let end = rules.walk(start, bounds, discover, |address| frames.push(address)).unwrap();
                let truth: Vec<u64> = live.iter().rev().skip(1).map(|frame| frame.address).collect();
                assert_eq!(frames, truth, "the walk by rules");
                // SAFETY: there is no other reference.
                let replay = unsafe { Replay::at(replay) };
                let Some(walked) = replay.walk(&rules, start, bounds, discover).unwrap() else { continue };
                replayed += 1;
                assert_eq!(walked.end, end);
                let known = hashes.entry(walked.hash).or_insert_with(|| (frames.clone(), end));
                assert_eq!(*known, (frames.clone(), end), "a hash of two stacks");
                let addresses: Vec<u64> =
                    replay.kept[..replay.len as usize].iter().rev().map(|kept| kept.address).collect();
                assert!(replay.len == 0 || addresses == frames);
            }
        }
        assert!(replayed > 30_000, "{replayed}");
        Pages::release(region);
    }

    /// Return addresses stay where they were, and only a saved frame pointer, or the register itself, leads elsewhere.
    #[test]
    fn a_frame_pointer_that_leads_elsewhere_is_followed() {
        let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
        // SAFETY: until the release below.
        let pages = unsafe { region.as_ref() };
        let rules = Rules::at(pages, pages.take(TABLE_PAGES).unwrap());
        // SAFETY: there is no other reference.
        let replay = unsafe { Replay::at(Replay::open(pages)) };
        // 1 is called at 2000, 2 at 3000 by a function that finds its caller by its frame pointer; 4 and 5 are outermost ones.
        let mut words = [0u64; 16];
        let low = (&raw const words[0]).expose_provenance() as u64;
        let address = |word: u64| low + 8 * word;
        let bounds = Bounds { low, high: address(16) };
        for saves in [true, false] {
            let discover = |at: u64| match (at.wrapping_add(1) / 1000, saves) {
                (0, _) => Rule::step(false, 16, None),
                (2, true) => Rule::step(false, 32, Some(16)),
                (2, false) => Rule::step(false, 32, None),
                (3, _) => Rule::step(true, 16, Some(16)),
                _ => Some(Rule::OUTERMOST),
            };
            rules.clear();
            (words[1], words[5], words[9], words[13]) = (2_000, 3_000, 4_000, 5_000);
            for target in [8, 12, 12, 8] {
                words[4] = if saves { address(target) } else { 5 };
                std::hint::black_box(&mut words);
                let bp = if saves { 5 } else { address(target) };
                let start = Registers { ip: 998, sp: low, bp };
                let mut frames = Vec::new();
                rules.walk(start, bounds, discover, |frame| frames.push(frame)).unwrap();
                assert_eq!(frames, [2_000, 3_000, if target == 8 { 4_000 } else { 5_000 }]);
                replay.walk(&rules, start, bounds, discover).unwrap().unwrap();
                let kept: Vec<u64> = replay.kept[..3].iter().rev().map(|kept| kept.address).collect();
                assert_eq!((replay.len, kept), (3, frames), "{saves} {target}");
            }
        }
        Pages::release(region);
    }

    #[test]
    fn what_was_kept_is_forgotten_with_the_rules() {
        let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
        // SAFETY: until the release below.
        let pages = unsafe { region.as_ref() };
        let rules = Rules::at(pages, pages.take(TABLE_PAGES).unwrap());
        let words = std::hint::black_box([0u64, 2_000, 0, 3_000]);
        let low = (&raw const words[0]).expose_provenance() as u64;
        let (start, bounds) =
            (Registers { ip: 1_000, sp: low, bp: 0 }, Bounds { low, high: low + 8 * words.len() as u64 });
        let small = |address| {
            Some(if address == 2_999 { Rule::OUTERMOST } else { Rule::step(false, 16, None).unwrap() })
        };
        // SAFETY: there is no other reference.
        let replay = unsafe { Replay::at(Replay::open(pages)) };
        let first = replay.walk(&rules, start, bounds, small).unwrap().unwrap();
        assert_eq!((replay.len, first.end), (2, End::Outermost));
        let ends = |_| Some(Rule::UNKNOWN);
        let all_but_innermost = |address| if address == 1_000 { small(address) } else { ends(address) };
        assert_eq!(replay.walk(&rules, start, bounds, all_but_innermost).unwrap(), Some(first));
        rules.clear();
        let second = replay.walk(&rules, start, bounds, all_but_innermost).unwrap().unwrap();
        assert_eq!((replay.len, second.end), (1, End::Truncated));
        assert_ne!(second.hash, first.hash);
        assert_eq!(replay.walk(&rules, Registers { ip: 1, ..start }, bounds, |_| None), Err(NoRule));
        Pages::release(region);
    }
}
