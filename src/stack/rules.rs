//! The walk by rules. A rule maps an address in the code to the places of the caller's registers.
//!
//! A rule expresses only what compiled code needs, which is far less than unwind tables can express:
//!
//! * the caller's stack pointer (the frame's *CFA*) lies at a fixed distance from this function's stack pointer or
//!   frame pointer;
//! * the return address lies directly below the CFA;
//! * the caller's frame pointer is still in its register, or lies at a fixed distance below the CFA.
//!
//! The distances fit into 32 bits. Functions with other frames (frames of signal handlers, functions that realign the
//! stack) end the walk as truncated.
//!
//! The table is direct mapped, with a few places for each address. An entry is one word with address and rule, so it is
//! read and written as a whole. The table needs no lock, and all threads share the rules that one thread has found.
//!
//! ```text
//!  63                     32 31    30    29        28..16            15..0
//! │ address: 32 of 48 bits  │ base │ bp   │ kind    │ bp below CFA / 8 │ CFA above base / 8 │
//! ```
//!
//! The address is first multiplied by an odd number modulo 2⁴⁸, which is invertible. The upper 16 bits of the product
//! are the place in the table, and the lower 32 bits are in the entry. So the rule of one address is never mistaken for
//! that of another.
//!
//! Invariant **U1**: the table's run of pages is as long as its mask, and is never given back.

use super::state::STATE;
use super::{End, STACK_FRAMES_MAX};
use crate::sys::frame::{Bounds, Registers, read};
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU64, Ordering};

/// Number of entries of the table.
const ENTRIES: usize = 1 << 16;
/// Number of places in which an entry may be, beginning with the place of its address.
const PROBES: usize = 8;
/// Number of pages of the table.
pub(crate) const TABLE_PAGES: u32 = (ENTRIES * 8 / PAGE_BYTES) as u32;
/// Bits of an address that the table distinguishes. The other bits of an address in a process are 0.
const ADDRESS_MASK: u64 = (1 << 48) - 1;
/// An odd multiplier, so that the multiplication modulo 2⁴⁸ is invertible.
const MIX: u64 = 0x9E37_79B9_7F4B;

/// The places of a caller's registers, encoded in one word that is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule(u32);

impl Rule {
    const FROM_BP: u32 = 1 << 31;
    const BP_STORED: u32 = 1 << 30;
    const STEP: u32 = 1 << 29;
    const BP_SHIFT: u32 = 16;
    const BP_MASK: u32 = (1 << 13) - 1;
    const CFA_MASK: u32 = (1 << 16) - 1;

    /// The rule of the outermost function.
    pub(crate) const OUTERMOST: Rule = Rule(1);
    /// The rule of an address that the unwind tables do not cover, or whose unwind entry does not fit into a rule.
    pub(crate) const UNKNOWN: Rule = Rule(2);

    /// Makes a rule: the CFA lies `cfa` bytes above the base register. The caller's frame pointer lies `bp` bytes below
    /// the CFA, or is in its register if `bp` is `None`. Returns `None` if a distance does not fit into a rule.
    pub(crate) fn step(from_bp: bool, cfa: u64, bp: Option<u64>) -> Option<Rule> {
        let eighth = |bytes: u64, mask: u32| {
            let is_whole = bytes.is_multiple_of(8);
            u32::try_from(bytes / 8).ok().filter(|eighth| is_whole && *eighth <= mask)
        };
        let mut rule = Rule::STEP | eighth(cfa, Rule::CFA_MASK)?;
        if from_bp {
            rule |= Rule::FROM_BP;
        }
        if let Some(bp) = bp {
            rule |= Rule::BP_STORED | eighth(bp, Rule::BP_MASK)? << Rule::BP_SHIFT;
        }
        Some(Rule(rule))
    }
}

/// The table of rules: a pointer to pages that stay mapped for the life of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    entries: *const AtomicU64,
}

impl Rules {
    /// Returns the table in a run of [`TABLE_PAGES`].
    pub(crate) fn at(pages: &Pages, page: u32) -> Rules {
        Rules { entries: pages.at(page).cast::<AtomicU64>() }
    }

    #[inline(always)]
    fn entry(&self, place: usize) -> &AtomicU64 {
        // SAFETY: U1, the place is below the number of entries; all zero bytes are valid, empty entries.
        unsafe { &*self.entries.add(place & (ENTRIES - 1)) }
    }

    #[inline(always)]
    fn key(address: u64) -> (usize, u64) {
        let mixed = address.wrapping_mul(MIX) & ADDRESS_MASK;
        ((mixed >> 32) as usize, mixed << 32)
    }

    /// Returns sixteen bits of the mixed address, which spread addresses evenly over places.
    #[inline(always)]
    pub(super) fn mixed(address: u64) -> u16 {
        (address.wrapping_mul(MIX) >> 32) as u16
    }

    /// Returns the rule for an address, or `None` if the table does not have it.
    #[inline(always)]
    pub(crate) fn get(&self, address: u64) -> Option<Rule> {
        let (place, key) = Rules::key(address);
        for probe in 0..PROBES {
            // relaxed: an entry is complete in one word.
            let entry = self.entry(place + probe).load(Ordering::Relaxed);
            if (entry ^ key) >> 32 == 0 && entry as u32 != 0 {
                return Some(Rule(entry as u32));
            }
            if entry == 0 {
                return None;
            }
        }
        None
    }

    /// Stores a rule. If all places of the address are taken, the new rule replaces the rule in the first place.
    pub(crate) fn put(&self, address: u64, rule: Rule) {
        let (place, key) = Rules::key(address);
        let word = key | u64::from(rule.0);
        for probe in 0..PROBES {
            let entry = self.entry(place + probe);
            // relaxed: an entry is complete in one word; of two threads that compute the same rule, either may win.
            let old = entry.load(Ordering::Relaxed);
            if old == 0 || (old ^ key) >> 32 == 0 {
                return entry.store(word, Ordering::Relaxed);
            }
        }
        self.entry(place).store(word, Ordering::Relaxed);
    }

    /// Clears all rules, because code was loaded or unloaded.
    pub(crate) fn clear(&self) {
        // relaxed: an entry is complete in one word. The count comes first: kept walks by the old rules are invalid
        // from here on.
        STATE.rules_cleared.fetch_add(1, Ordering::Relaxed);
        for place in 0..ENTRIES {
            // relaxed: an entry is complete in one word.
            self.entry(place).store(0, Ordering::Relaxed);
        }
        Rules::all_are_gone();
    }

    /// Increments the number of clearings a second time. This invalidates walks by rules that were still in the table.
    fn all_are_gone() {
        // Release: pairs with the acquire in `cleared`; a thread that sees the number finds no old rule in the table.
        STATE.rules_cleared.fetch_add(1, Ordering::Release);
    }

    /// Returns a number that changes whenever the rules are cleared.
    #[inline(always)]
    pub(crate) fn cleared() -> u32 {
        // Acquire: pairs with the release in `all_are_gone`.
        STATE.rules_cleared.load(Ordering::Acquire)
    }

    /// Walks the stack by rules, and calls `visit` with each return address, innermost first. `discover` finds a rule
    /// that is not in the table. If it returns `None`, the walk has no result and returns `None`.
    #[inline(always)]
    pub(crate) fn walk(
        &self,
        start: Registers,
        bounds: Bounds,
        mut discover: impl FnMut(u64) -> Option<Rule>,
        mut visit: impl FnMut(u64),
    ) -> Option<End> {
        let mut place = start;
        for _ in 0..STACK_FRAMES_MAX {
            let rule = match self.get(place.ip) {
                Some(rule) => rule,
                None => discover(place.ip)?,
            };
            match rule.apply(&mut place, bounds) {
                Ok(address) => visit(address),
                Err(end) => return Some(end.end()),
            }
        }
        Some(End::Truncated)
    }
}

/// The cause of the end of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The rule of the address: every walk ends at this address.
    ByRule(End),
    /// A word on the stack: only walks with such a word end there.
    ByStack(End),
}

impl Stop {
    #[inline(always)]
    pub(crate) fn end(self) -> End {
        match self {
            Stop::ByRule(end) | Stop::ByStack(end) => end,
        }
    }
}

impl Rule {
    /// Returns whether the caller's stack pointer is computed from the frame pointer.
    #[inline(always)]
    pub(crate) fn is_from_bp(self) -> bool {
        self.0 & Rule::FROM_BP != 0
    }

    /// Returns the distance from the CFA down to the caller's frame pointer in bytes, or `None` if that frame pointer
    /// is in its register.
    #[inline(always)]
    pub(crate) fn bp_below_cfa(self) -> Option<u64> {
        let below = u64::from(self.0 >> Rule::BP_SHIFT & Rule::BP_MASK) * 8;
        (self.0 & Rule::BP_STORED != 0).then_some(below)
    }

    /// Steps from a function to its caller, and returns the return address. Sets `place.ip`, at which the next rule is
    /// looked up, to an address inside the call instruction, just before the return address.
    #[inline(always)]
    pub(crate) fn apply(self, place: &mut Registers, bounds: Bounds) -> Result<u64, Stop> {
        if self.0 & Rule::STEP == 0 {
            let is_outermost = self == Rule::OUTERMOST;
            return Err(Stop::ByRule(if is_outermost { End::Outermost } else { End::Truncated }));
        }
        let base = if self.is_from_bp() { place.bp } else { place.sp };
        let cfa = base.wrapping_add(u64::from(self.0 & Rule::CFA_MASK) * 8);
        // The return address lies directly below the CFA, and above the words that this frame has pushed.
        if cfa < place.sp.wrapping_add(8) || cfa > bounds.high || cfa & 7 != 0 {
            return Err(Stop::ByStack(End::Truncated));
        }
        if let Some(below) = self.bp_below_cfa() {
            let at = cfa.wrapping_sub(below);
            if at < place.sp || at > cfa - 8 {
                return Err(Stop::ByStack(End::Truncated));
            }
            // SAFETY: K1, `sp <= at < cfa <= high`, all multiples of 8.
            place.bp = unsafe { read(at) };
        }
        // SAFETY: K1, `sp <= cfa - 8 < cfa <= high`, all multiples of 8.
        let address = unsafe { read(cfa - 8) };
        if address == 0 {
            return Err(Stop::ByStack(End::Outermost));
        }
        place.sp = cfa;
        place.ip = address.wrapping_sub(1);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pages::For;
    use std::ptr::NonNull;

    fn with_rules(work: impl FnOnce(Rules)) {
        let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
        // SAFETY: the region is released at the end of this function.
        let pages = unsafe { region.as_ref() };
        work(Rules::at(pages, pages.take(TABLE_PAGES, For::Stacks).unwrap()));
        Pages::release(region);
    }

    #[test]
    fn a_rule_is_found_at_its_own_address_only() {
        with_rules(|rules| {
            let rule =
                |n: u64| Rule::step(n & 1 == 0, n % 1000 * 8, n.is_multiple_of(3).then_some(16)).unwrap();
            for n in 0..20_000u64 {
                rules.put(0x5555_5555_0000 + n * 7, rule(n));
            }
            let mut kept = 0;
            for n in 0..20_000u64 {
                if let Some(found) = rules.get(0x5555_5555_0000 + n * 7) {
                    assert_eq!(found, rule(n));
                    kept += 1;
                }
                assert_eq!(rules.get(0x7fff_5555_0000 + n * 7), None);
            }
            assert!(kept > 19_900, "{kept}");
            rules.clear();
            assert_eq!(rules.get(0x5555_5555_0000), None);
        });
    }

    #[test]
    fn what_does_not_fit_is_no_rule() {
        assert_eq!(Rule::step(false, 12, None), None);
        assert_eq!(Rule::step(false, 1 << 20, None), None);
        assert_eq!(Rule::step(true, 16, Some(1 << 20)), None);
        assert!(Rule::step(true, 16, Some(16)).is_some());
    }

    #[test]
    fn frames_are_found_by_either_base_and_nothing_outside_is_read() {
        with_rules(|rules| {
            // Addresses 1000 and 2000 lie in functions with one rule each; 3000 lies in the outermost function.
            rules.put(1000, Rule::step(false, 24, Some(16)).unwrap());
            rules.put(1999, Rule::step(true, 16, Some(16)).unwrap());
            rules.put(2999, Rule::OUTERMOST);
            let mut words = [0u64, 0, 2000, 7, 0, 3000, 9];
            let low = (&raw const words[0]).expose_provenance() as u64;
            let words = std::hint::black_box(&mut words);
            words[1] = low + 8 * 4;
            let bounds = Bounds { low, high: low + 8 * 7 };
            let start = Registers { ip: 1000, sp: low, bp: 0 };
            let mut seen = Vec::new();
            let end = rules.walk(start, bounds, |_| Some(Rule::UNKNOWN), |address| seen.push(address));
            assert_eq!((seen, end), (vec![2000, 3000], Some(End::Outermost)));
            assert_eq!(rules.walk(Registers { ip: 77, ..start }, bounds, |_| None, |_| ()), None);
            for wild in [1u64, 8, u64::MAX, u64::MAX - 15, 1 << 40] {
                let start = Registers { ip: 1999, sp: low, bp: wild };
                assert_eq!(rules.walk(start, bounds, |_| Some(Rule::UNKNOWN), |_| ()), Some(End::Truncated));
            }
        });
    }
}
