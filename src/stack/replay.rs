//! The walk by rules, made cheap by the walk before it.
//!
//! From one allocation of a thread to the next, most of its stack stays as it is: the outer functions are still waiting
//! for the same calls. So the words of the stack that the last walk depended on are kept, outermost first, and a new walk
//! begins with a look which of them still stand: each must hold what it held. That is two loads and a comparison a word, of
//! places that do not depend on each other, where a walk by rules has a look-up in a table, and each waits for the one before.
//! Then the walk goes by rules from the inner end until it comes to a frame that stands; the rest is known.
//!
//! ```text
//!        inner                                                      outer
//!  now    ├─ by rules ─┤◄──────────── kept frames that stand ──────────►│
//!  before ├──── are gone ────┤◄────────────────────────────────────────►│
//! ```
//!
//! Nearly all rules on that way find the caller from the stack pointer, and nearly all are those of a few dozen places. These
//! are kept at hand in a small table, in which a step takes a dozen instructions. Where one is not there, or where the frame
//! pointer matters, the walk is made with all there is to a rule.
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
//! A walk of more words than there is room for, or one that something on the stack has ended, is not kept. After one
//! that was too deep the thread goes without for a while, so that it does not pay twice for each.
//!
//! Invariant **R1**: the room is a run of pages that is never given back, and only its thread uses it.

use super::rules::{Rule, Rules, Stop};
use super::{End, Hash};
use crate::sys::frame::{Bounds, Registers, read};
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Words of the stack that are kept of a walk, at most: one or two a frame.
pub(crate) const REPLAY_WORDS_MAX: usize = 232;
/// Frames that a walk may have before it comes to one that stands.
const STEPS: usize = 128;
/// Walks without after one that was too deep.
const REST: u32 = 64;
/// Rules that are kept at hand, [`NEAR_WAYS`] in each place that addresses share. Of two that share one alone, each would push the other
/// out at each walk, and which do is chance: where the system loads a program to decides.
const NEAR_PLACES: usize = 128;
const NEAR_WAYS: usize = 2;
/// The same for a walk by rules that are at hand.
const NEAR_STEPS: usize = 32;
/// Pages of a thread's last walk.
pub(crate) const REPLAY_PAGES: u32 = 4;

/// In place of a frame pointer: none is needed.
const NEEDLESS: u64 = u64::MAX;
/// In place of a frame pointer: the word is no return address.
const NO_FRAME: u64 = u64::MAX - 1;

/// A word of the stack that the last walk read, and what it held.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Word {
    at: u64,
    value: u64,
}

/// What a return address that was read led to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// What was gathered of the stack from here outwards.
    hash: u64,
    /// The frame pointer here, if the walk from here outwards depends on it.
    bp: u64,
}

/// A step of the walk that is being made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Step {
    address: u64,
    /// The frame pointer before the step.
    bp: u64,
    /// The stack pointer behind it.
    sp: u64,
    rule: Rule,
}

/// A rule that finds the caller from the stack pointer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct NearRule {
    /// The address that it holds for; 0 in an empty place.
    ip: u64,
    /// How far the caller's stack pointer lies above this function's.
    cfa: u64,
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
    words: [Word; REPLAY_WORDS_MAX],
    frames: [Frame; REPLAY_WORDS_MAX],
    steps: [Step; STEPS],
    /// Where a walk by rules that are at hand has read, innermost first, and what. Apart, because two stores that were just
    /// made can not be loaded as one without a wait.
    fresh_at: [u64; NEAR_STEPS],
    fresh: [u64; NEAR_STEPS],
    near: [[NearRule; NEAR_WAYS]; NEAR_PLACES],
    /// Walks by rules that were at hand.
    #[cfg(test)]
    near_walks: u32,
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
        let standing = self.standing(start.sp);
        match self.by_near_rules(start, standing) {
            Some(walked) => Ok(Some(walked)),
            None => self.by_rules(rules, start, bounds, standing, discover),
        }
    }

    #[cold]
    fn begin_anew(&mut self) {
        (self.len, self.cleared) = (0, Rules::cleared());
        self.near = [[NearRule { ip: 0, cfa: 0 }; NEAR_WAYS]; NEAR_PLACES];
    }

    /// How many of the kept words, from the outermost on, are as they were. Those below the stack pointer are gone.
    #[inline(always)]
    fn standing(&self, sp: u64) -> usize {
        let mut words = self.words.get(..self.len as usize).unwrap_or(&[]);
        while let [rest @ .., innermost] = words
            && innermost.at < sp
        {
            words = rest;
        }
        // SAFETY: K1, not below the stack pointer, and where an earlier walk of this thread has read.
        let change = |word: &Word| unsafe { read(word.at) } ^ word.value;
        let mut standing = 0;
        while let [a, b, c, d, rest @ ..] = words
            && change(a) | change(b) | change(c) | change(d) == 0
        {
            (words, standing) = (rest, standing + 4);
        }
        standing + words.iter().take_while(|word| change(word) == 0).count()
    }

    /// The kept frame that the walk has come to, if it stands.
    #[inline(always)]
    fn joint(&self, standing: &mut usize, place: Registers) -> Option<usize> {
        while let Some(last) = standing.checked_sub(1) {
            let (word, frame) = (self.words.get(last)?, self.frames.get(last)?);
            if word.at + 8 >= place.sp {
                let is_here = word.at + 8 == place.sp && (frame.bp == NEEDLESS || frame.bp == place.bp);
                return is_here.then_some(last);
            }
            *standing = last;
        }
        None
    }

    /// Walks by rules that are at hand to a frame that stands, if that is all it takes. No frame pointer is followed, so none
    /// may be needed there.
    #[inline(always)]
    fn by_near_rules(&mut self, start: Registers, standing: usize) -> Option<Walked> {
        let mut joint = standing.checked_sub(1)?;
        let mut stands_at = self.words.get(joint)?.at;
        let Registers { mut ip, mut sp, .. } = start;
        let mut fresh = 0;
        loop {
            sp += self.near_rule(ip)?.cfa;
            let at = sp - 8;
            while stands_at < at {
                joint = joint.checked_sub(1)?;
                stands_at = self.words.get(joint)?.at;
            }
            if stands_at == at {
                break;
            }
            // SAFETY: K1, above the stack pointer, and below a word that was read.
            let value = unsafe { read(at) };
            (*self.fresh_at.get_mut(fresh)?, *self.fresh.get_mut(fresh)?) = (at, value);
            fresh += 1;
            ip = value.wrapping_sub(1);
        }
        let mut frame = *self.frames.get(joint)?;
        if frame.bp != NEEDLESS {
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

    /// Has a rule at hand, in place of an older one for the same address, or of the one of its place that came before the last.
    fn put_near(&mut self, rule: NearRule) {
        let [first, second] = &mut self.near[Replay::near_place(rule.ip)];
        if first.ip != rule.ip {
            *second = *first;
        }
        *first = rule;
    }

    /// Walks with all there is to a rule.
    #[inline(never)]
    fn by_rules(
        &mut self,
        rules: Rules,
        start: Registers,
        bounds: Bounds,
        mut standing: usize,
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
                        self.put_near(NearRule { ip: before.ip, cfa: place.sp - before.sp });
                    }
                }
                Err(Stop::ByRule(end)) if steps > 0 => return Ok(self.begin(steps, end)),
                Err(_) => {
                    self.len = 0;
                    return Ok(None);
                }
            }
            if let Some(joint) = self.joint(&mut standing, place) {
                return Ok(Some(self.keep(steps - 1, joint + 1)));
            }
        }
    }

    /// Keeps a walk that met no kept frame: its last step led to the outermost one.
    #[cold]
    fn begin(&mut self, steps: usize, end: End) -> Option<Walked> {
        let last = *self.steps.get(steps - 1)?;
        self.is_truncated = u32::from(end == End::Truncated);
        let hash = Hash::new(2 + u64::from(self.is_truncated)).add(last.address).gathered();
        let mut len = 0;
        self.push(&mut len, Word { at: last.sp - 8, value: last.address }, Frame { hash, bp: NEEDLESS });
        Some(self.keep(steps - 1, len))
    }

    /// Puts the frames of the first `fresh` steps behind the first `kept` words.
    fn keep(&mut self, fresh: usize, kept: usize) -> Walked {
        let mut len = kept;
        let mut outer = self.frames[len - 1];
        let mut is_whole = true;
        // A step leads from its frame to the one outside of it, which is kept by now.
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
