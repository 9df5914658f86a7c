//! The walk by frame pointers. Its budget is two loads and a multiplication per frame.
//!
//! A function that keeps a frame pointer begins by pushing its caller's frame pointer, and then sets its frame pointer
//! to the address of that word. So the frame pointer leads to the caller's frame pointer, and the word above it is the
//! return address. A function that uses the register for something else breaks this chain or hides its caller, and the
//! walk cannot notice. The walk ensures only that it stays within the stack: each frame must lie above the previous
//! frame and below the stack's end.

use super::replay::Walked;
use super::{End, Hash, STACK_FRAMES_MAX};
use crate::sys::frame::{Bounds, Registers, read};

/// Walks the stack by frame pointers, and calls `visit` with each return address, innermost first.
#[inline(always)]
pub(crate) fn walk(start: Registers, bounds: Bounds, mut visit: impl FnMut(u64)) -> End {
    let (mut at, mut floor) = (start.bp, start.sp);
    let last = bounds.high.saturating_sub(16);
    for _ in 0..STACK_FRAMES_MAX {
        if at < floor || at > last || at & 7 != 0 {
            return End::Outermost;
        }
        // SAFETY: K1, both words lie between the stack pointer and the end of the stack.
        let (next, address) = unsafe { (read(at), read(at + 8)) };
        if address == 0 {
            return End::Outermost;
        }
        visit(address);
        floor = at + 16;
        at = next;
    }
    End::Truncated
}

/// Returns the hash of the stack, and the reason for the end of the walk.
#[inline(always)]
pub(crate) fn hash(start: Registers, bounds: Bounds) -> Walked {
    let mut hash = Hash::new(0);
    let end = walk(start, bounds, |address| hash = hash.add(address));
    Walked { hash: hash.finish(), end }
}

#[cfg(test)]
mod tests {
    use super::super::Frames;
    use super::*;

    /// Walks a stack that is an array of words. A word below 64 at an even index, which holds a frame pointer, is
    /// replaced by the address of the word with that index.
    fn walk_words(words: &mut [u64], bp: u64) -> (Vec<u64>, End) {
        let low = (&raw const words[0]).expose_provenance() as u64;
        let address = |word: u64| if word < 64 { low + 8 * word } else { word };
        for place in (0..words.len()).step_by(2) {
            words[place] = address(words[place]);
        }
        let bounds = Bounds { low, high: low + 8 * words.len() as u64 };
        let mut frames = Frames::new();
        let end = walk(Registers { ip: 0, sp: low, bp: address(bp) }, bounds, |frame| frames.push(frame));
        (frames.as_slice().to_vec(), end)
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let mut words = [4, 100, 0, 0, 6, 101, 70, 102];
        assert_eq!(walk_words(&mut words, 0), (vec![100, 101, 102], End::Outermost));
    }

    #[test]
    fn nothing_outside_the_stack_is_read_whatever_the_register_holds() {
        for bp in [64, 65, u64::MAX, u64::MAX - 7, 1 << 40, 7] {
            let mut words = [2, 100, 70, 101, 0, 0, 0, 0];
            let (frames, _) = walk_words(&mut words, bp);
            assert!(frames.len() <= 1, "{bp}: {frames:?}");
        }
    }

    #[test]
    fn a_chain_that_goes_back_or_round_ends() {
        let mut words = [2, 100, 0, 101, 0, 0, 0, 0];
        assert_eq!(walk_words(&mut words, 0), (vec![100, 101], End::Outermost));
    }

    #[test]
    fn a_long_chain_is_cut_and_says_so() {
        let mut words = vec![0u64; 4 * STACK_FRAMES_MAX];
        let low = (&raw const words[0]).expose_provenance() as u64;
        for place in (0..words.len()).step_by(2) {
            words[place] = low + 8 * (place as u64 + 2);
            words[place + 1] = 1000;
        }
        let bounds = Bounds { low, high: low + 8 * words.len() as u64 };
        let mut frames = 0;
        let end = walk(Registers { ip: 0, sp: low, bp: low }, bounds, |_| frames += 1);
        assert_eq!((frames, end), (STACK_FRAMES_MAX, End::Truncated));
    }
}
