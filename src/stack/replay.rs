//! The *replay*: a walk by rules that reuses the result of the thread's last walk.
//!
//! Most of a thread's stack stays the same from one allocation to the next, because the outer functions are still
//! waiting for the same calls. So the thread keeps the words of the stack that its last walk read, outermost first. A
//! new walk first counts how many of these words are unchanged. This costs two loads and a comparison per word,
//! independent of the other words. A step by rules is slower: a table lookup that waits for the previous step. Then the
//! walk goes by rules from the inner end until it reaches an unchanged frame. The frames outside of that frame are
//! known.
//!
//! ```text
//!        inner                                                      outer
//!  now    ├─ by rules ─┤◄──────────── unchanged frames ───────────────►│
//!  before ├── have returned ──┤◄──────────────────────────────────────►│
//! ```
//!
//! Nearly all rules of a walk find the caller from the stack pointer, and nearly all belong to a few dozen addresses.
//! These rules are kept in a small table as *near* rules; a step by a near rule takes a dozen instructions. The walk
//! uses full rules where the table lacks a rule, or where the frame pointer matters.
//!
//! # Correctness
//!
//! A walk by rules is a function of its place (address in the code, stack pointer, frame pointer) and of the words that
//! it reads on the stack. If a walk reaches a place of the last walk, and all words that the last walk read from there
//! on are unchanged, then it takes the same steps. Each walk compares both the place and the words in full. The words
//! are return addresses, and saved frame pointers that a later step needs. A frame pointer that no later step needs may
//! differ. When rules are cleared, because code was loaded or unloaded, the last walk is dropped too.
//!
//! The hash of a stack is computed from its outermost frame inwards, so the hash of the unchanged frames is also known.
//!
//! A walk is not kept if it read more words than there is room for, or if it ended because of a word on the stack.
//! After a walk that was too deep, the thread keeps no walk for a while, so that it does not do the work twice at each
//! walk.
//!
//! Invariant **R1**: the memory of a replay is a run of pages that is never given back, and only its thread uses it.

use super::rules::{Rule, Rules, Stop};
use super::{End, Hash};
use crate::sys::frame::{Bounds, Registers, read};
use crate::sys::pages::{For, PAGE_BYTES, Pages};

/// Maximum number of stack words that are kept of a walk: one or two per frame.
pub(crate) const REPLAY_WORDS_MAX: usize = 232;
/// Maximum number of steps of a walk before it reaches an unchanged frame.
const STEPS: usize = 128;
/// Number of walks that are not kept after a walk that was too deep.
const REST: u32 = 64;
/// Number of places of near rules, with [`NEAR_WAYS`] rules each. The system's choice of load addresses decides which
/// addresses share a place. With only one rule per place, two addresses of the same place could replace each other at
/// every walk.
const NEAR_PLACES: usize = 128;
const NEAR_WAYS: usize = 2;
/// Maximum number of steps of a walk by near rules.
const NEAR_STEPS: usize = 32;
/// Number of pages that hold a thread's last walk.
pub(crate) const REPLAY_PAGES: u32 = 4;

/// Placeholder for a frame pointer that no later step needs.
const NEEDLESS: u64 = u64::MAX;
/// Placeholder for the frame pointer at a word that is not a return address.
const NO_FRAME: u64 = u64::MAX - 1;

/// A word of the stack that the last walk read: its address and its value.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Word {
    at: u64,
    value: u64,
}

/// The frame to which a return address led.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// The hash of the stack from this frame outwards.
    hash: u64,
    /// The frame pointer at this frame, if the walk from this frame outwards depends on it; otherwise `NEEDLESS`.
    bp: u64,
}

/// A step of the current walk.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Step {
    address: u64,
    /// The frame pointer before the step.
    bp: u64,
    /// The stack pointer after the step.
    sp: u64,
    rule: Rule,
}

/// A rule that finds the caller from the stack pointer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct NearRule {
    /// The address to which the rule applies; 0 in an empty place.
    ip: u64,
    /// Distance from this function's stack pointer up to the caller's stack pointer, in bytes.
    cfa: u32,
    /// Distance from the caller's stack pointer down to the caller's saved frame pointer, in bytes. 0 if the frame
    /// pointer is still in its register.
    bp_below: u32,
}

impl NearRule {
    /// Returns the frame pointer of the caller, for the function in which a walk starts.
    #[inline(always)]
    fn bp_after(&self, start: Registers) -> u64 {
        match u64::from(self.bp_below) {
            0 => start.bp,
            // SAFETY: K1, the word lies in the frame of the function, because this rule was applied before, which
            // checks its distances.
            below => unsafe { read(start.sp + u64::from(self.cfa) - below) },
        }
    }
}

/// A thread's last walk. All zero bytes are a valid walk without frames. Only its thread uses it, while the thread's
/// gate is closed.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Replay {
    len: u32,
    /// Value of [`Rules::cleared`] when the walk was made.
    cleared: u32,
    is_truncated: u32,
    /// Number of further walks that are not kept.
    rest: u32,
    words: [Word; REPLAY_WORDS_MAX],
    frames: [Frame; REPLAY_WORDS_MAX],
    steps: [Step; STEPS],
    /// Addresses of the words that the walk by near rules has read, innermost first. `fresh` has the values of these
    /// words. There are two arrays, because loading two recent stores as one value would stall.
    fresh_at: [u64; NEAR_STEPS],
    fresh: [u64; NEAR_STEPS],
    near: [[NearRule; NEAR_WAYS]; NEAR_PLACES],
    /// Number of walks by near rules.
    #[cfg(test)]
    near_walks: u32,
}

const _: () = assert!(size_of::<Replay>() <= REPLAY_PAGES as usize * PAGE_BYTES);

/// The result of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) hash: u64,
    pub(crate) end: End,
}

/// Error of a walk: it needs a rule that is not in the table and was not discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRule;

impl Replay {
    /// Makes room for the last walk of a thread. Returns its address, or 0 without memory.
    #[cold]
    pub(crate) fn open(pages: &Pages) -> u64 {
        pages.take(REPLAY_PAGES, For::Stacks).map_or(0, |page| pages.at(page).expose_provenance() as u64)
    }

    /// Returns the last walk at an address that [`Replay::open`] returned.
    ///
    /// # Safety
    /// Only the calling thread uses this memory, and there is no other reference to it.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(address: u64) -> &'a mut Replay {
        // SAFETY: R1, the pages stay mapped, and zeroed pages are a valid walk; the caller has the only reference.
        unsafe { &mut *std::ptr::with_exposed_provenance_mut::<Replay>(address as usize) }
    }

    /// Drops the last walk, because another thread takes over the pages.
    pub(crate) fn forget(&mut self) {
        self.len = 0;
    }

    /// Walks the stack by near rules until an unchanged frame. Returns `None` if near rules do not suffice; the caller
    /// then tries [`Replay::walk`].
    #[inline(always)]
    pub(crate) fn walk_near(&mut self, start: Registers) -> Option<Walked> {
        if self.rest > 0 || self.cleared != Rules::cleared() {
            return None;
        }
        self.by_near_rules(start, self.unchanged(start.sp))
    }

    /// Walks the stack by full rules until an unchanged frame. Returns `None` if the stack is too deep or too irregular
    /// to be kept; the caller then walks by rules alone.
    pub(crate) fn walk(
        &mut self,
        rules: Rules,
        start: Registers,
        bounds: Bounds,
        discover: impl FnMut(u64) -> Option<Rule>,
    ) -> Result<Option<Walked>, NoRule> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(None);
        }
        if self.cleared != Rules::cleared() {
            self.begin_anew();
        }
        let unchanged = self.unchanged(start.sp);
        self.by_rules(rules, start, bounds, unchanged, discover)
    }

    #[cold]
    fn begin_anew(&mut self) {
        (self.len, self.cleared) = (0, Rules::cleared());
        self.near = [[NearRule { ip: 0, cfa: 0, bp_below: 0 }; NEAR_WAYS]; NEAR_PLACES];
    }

    /// Returns the number of kept words, counted from the outermost, that are unchanged. Words below the stack pointer
    /// count as changed.
    #[inline(always)]
    fn unchanged(&self, sp: u64) -> usize {
        let mut words = self.words.get(..self.len as usize).unwrap_or(&[]);
        while let [rest @ .., innermost] = words
            && innermost.at < sp
        {
            words = rest;
        }
        // SAFETY: K1, the word is not below the stack pointer, and an earlier walk of this thread has read it.
        let is_same = |word: &Word| unsafe { read(word.at) } == word.value;
        let kept = words.len();
        while let [a, b, c, d, rest @ ..] = words
            && is_same(a)
            && is_same(b)
            && is_same(c)
            && is_same(d)
        {
            words = rest;
        }
        while let [first, rest @ ..] = words
            && is_same(first)
        {
            words = rest;
        }
        kept - words.len()
    }

    /// Returns the index of the unchanged kept frame that the walk has reached, or `None`.
    #[inline(always)]
    fn joint(&self, unchanged: &mut usize, place: Registers) -> Option<usize> {
        while let Some(last) = unchanged.checked_sub(1) {
            let (word, frame) = (self.words.get(last)?, self.frames.get(last)?);
            if word.at + 8 >= place.sp {
                let is_here = word.at + 8 == place.sp && (frame.bp == NEEDLESS || frame.bp == place.bp);
                return is_here.then_some(last);
            }
            *unchanged = last;
        }
        None
    }

    /// Walks by near rules until an unchanged frame. Returns `None` if near rules do not suffice, for example because
    /// the continuation needs a frame pointer that is unknown at that frame (`bp_after`).
    #[inline(always)]
    fn by_near_rules(&mut self, start: Registers, unchanged: usize) -> Option<Walked> {
        let mut joint = unchanged.checked_sub(1)?;
        let mut stands_at = self.words.get(joint)?.at;
        let innermost = self.near_rule(start.ip)?;
        let (mut rule, mut sp) = (innermost, start.sp);
        let (mut fresh, mut stored) = (0, 0);
        loop {
            sp += u64::from(rule.cfa);
            let at = sp - 8;
            while stands_at < at {
                joint = joint.checked_sub(1)?;
                stands_at = self.words.get(joint)?.at;
            }
            if stands_at == at {
                break;
            }
            // SAFETY: K1, the word is above the stack pointer, and below a word that an earlier walk has read.
            let value = unsafe { read(at) };
            (*self.fresh_at.get_mut(fresh)?, *self.fresh.get_mut(fresh)?) = (at, value);
            fresh += 1;
            rule = self.near_rule(value.wrapping_sub(1))?;
            stored |= rule.bp_below;
        }
        let mut frame = *self.frames.get(joint)?;
        // The frame pointer is known if only the innermost function has stored it.
        if frame.bp != NEEDLESS && (stored != 0 || innermost.bp_after(start) != frame.bp) {
            return None;
        }
        let len = joint + 1;
        let (words, frames) = (self.words.get_mut(len..len + fresh)?, self.frames.get_mut(len..len + fresh)?);
        let read_there = self.fresh_at.get(..fresh)?.iter().zip(self.fresh.get(..fresh)?).rev();
        for ((word, to_frame), (at, value)) in words.iter_mut().zip(frames).zip(read_there) {
            frame.hash = Hash::new(frame.hash).add(*value).gathered();
            (*word, *to_frame) = (Word { at: *at, value: *value }, frame);
        }
        self.len = (len + fresh) as u32;
        #[cfg(test)]
        (self.near_walks += 1);
        Some(self.walked(frame))
    }

    #[inline(always)]
    fn near_place(ip: u64) -> usize {
        Rules::mixed(ip) as usize % NEAR_PLACES
    }

    #[inline(always)]
    fn near_rule(&self, ip: u64) -> Option<NearRule> {
        self.near[Replay::near_place(ip)].iter().find(|rule| rule.ip == ip).copied()
    }

    /// Stores a near rule. It replaces the rule of the same address if there is one, otherwise the older of the two
    /// rules in its place.
    fn put_near(&mut self, rule: NearRule) {
        let [first, second] = &mut self.near[Replay::near_place(rule.ip)];
        if first.ip != rule.ip {
            *second = *first;
        }
        *first = rule;
    }

    /// Walks by full rules.
    #[inline(never)]
    fn by_rules(
        &mut self,
        rules: Rules,
        start: Registers,
        bounds: Bounds,
        mut unchanged: usize,
        mut discover: impl FnMut(u64) -> Option<Rule>,
    ) -> Result<Option<Walked>, NoRule> {
        let mut place = start;
        let mut steps = 0;
        loop {
            let rule = match rules.get(place.ip) {
                Some(rule) => rule,
                None => discover(place.ip).ok_or(NoRule)?,
            };
            let before = place;
            match rule.apply(&mut place, bounds) {
                Ok(address) => {
                    let Some(step) = self.steps.get_mut(steps) else {
                        (self.len, self.rest) = (0, REST);
                        return Ok(None);
                    };
                    *step = Step { address, bp: before.bp, sp: place.sp, rule };
                    steps += 1;
                    if !rule.is_from_bp() {
                        let bp_below = rule.bp_below_cfa().unwrap_or(0) as u32;
                        self.put_near(NearRule {
                            ip: before.ip,
                            cfa: (place.sp - before.sp) as u32,
                            bp_below,
                        });
                    }
                }
                Err(Stop::ByRule(end)) if steps > 0 => return Ok(self.begin(steps, end)),
                Err(_) => {
                    self.len = 0;
                    return Ok(None);
                }
            }
            if let Some(joint) = self.joint(&mut unchanged, place) {
                return Ok(Some(self.keep(steps - 1, joint + 1)));
            }
        }
    }

    /// Keeps a walk that reached no unchanged frame. Its last step led to the outermost frame.
    #[cold]
    fn begin(&mut self, steps: usize, end: End) -> Option<Walked> {
        let last = *self.steps.get(steps - 1)?;
        self.is_truncated = u32::from(end == End::Truncated);
        let hash = Hash::new(2 + u64::from(self.is_truncated)).add(last.address).gathered();
        let mut len = 0;
        self.push(&mut len, Word { at: last.sp - 8, value: last.address }, Frame { hash, bp: NEEDLESS });
        Some(self.keep(steps - 1, len))
    }

    /// Stores the frames of the first `fresh` steps behind the first `kept` words.
    fn keep(&mut self, fresh: usize, kept: usize) -> Walked {
        let mut len = kept;
        let mut outer = self.frames[len - 1];
        let mut is_whole = true;
        // A step leads from its frame to the next outer frame, which is stored already.
        for step in (0..fresh).rev() {
            let (Some(this), Some(next)) = (self.steps.get(step), self.steps.get(step + 1)) else { break };
            let (this, next) = (*this, *next);
            let mut bp = outer.bp;
            if let Some(below) = next.rule.bp_below_cfa() {
                if bp != NEEDLESS {
                    let saved = Word { at: next.sp - below, value: bp };
                    is_whole &= self.push(&mut len, saved, Frame { hash: 0, bp: NO_FRAME });
                }
                bp = NEEDLESS;
            }
            if next.rule.is_from_bp() {
                bp = next.bp;
            }
            outer = Frame { hash: Hash::new(outer.hash).add(this.address).gathered(), bp };
            is_whole &= self.push(&mut len, Word { at: this.sp - 8, value: this.address }, outer);
        }
        self.len = if is_whole { len as u32 } else { 0 };
        self.walked(outer)
    }

    fn push(&mut self, len: &mut usize, word: Word, frame: Frame) -> bool {
        let (Some(to_word), Some(to_frame)) = (self.words.get_mut(*len), self.frames.get_mut(*len)) else {
            return false;
        };
        (*to_word, *to_frame) = (word, frame);
        *len += 1;
        true
    }

    #[inline(always)]
    fn walked(&self, innermost: Frame) -> Walked {
        let end = if self.is_truncated == 0 { End::Outermost } else { End::Truncated };
        Walked { hash: Hash::new(innermost.hash).finish(), end }
    }
}

#[cfg(test)]
mod tests;
