use super::*;
use crate::stack::rules::TABLE_PAGES;
use crate::sys::pages::For;
use std::ptr::NonNull;

/// Number of words of the simulated stack.
const WORDS: usize = 400;

/// Returns the return addresses of the last walk, innermost first.
fn kept(replay: &Replay) -> Vec<u64> {
    let len = replay.len as usize;
    let kept = replay.words[..len].iter().zip(&replay.frames[..len]);
    kept.rev().filter(|(_, frame)| frame.bp != NO_FRAME).map(|(word, _)| word.value).collect()
}

/// Walks like an allocation: by near rules, or by full rules where near rules do not suffice.
fn walk(
    replay: &mut Replay,
    rules: Rules,
    start: Registers,
    bounds: Bounds,
    discover: impl FnMut(u64) -> Option<Rule>,
) -> Result<Option<Walked>, NoRule> {
    match replay.walk_near(start) {
        Some(walked) => Ok(Some(walked)),
        None => replay.walk(rules, start, bounds, discover),
    }
}

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
        // Written through the address, as the walk reads it.
        self.words[at] = word;
        std::hint::black_box(&mut self.words);
    }
}

/// Returns the rule of a function. There are 64 functions, each with one of a few frame layouts. Function 0 is the
/// outermost function; function 1 has no known rule.
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

/// A frame of the simulated stack: the return address of the call inside its function, its stack pointer, and its frame
/// pointer.
#[derive(Clone, Copy)]
struct Live {
    address: u64,
    sp: u64,
    bp: u64,
}

/// Calls a random function: pushes the words of its frame. Returns false if there is no room.
fn call(made: &mut Made, live: &mut Vec<Live>) -> bool {
    let caller = *live.last().unwrap();
    let function = 2 + made.draw(62);
    let address = function * 1000 + made.draw(4);
    let top = caller.sp;
    let data = made.draw(1 << 20);
    let (size, saved, bp) = match function % 5 {
        0 => (16, None, caller.bp),
        1 => (48, None, caller.bp),
        // This function uses the frame-pointer register for data.
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
    // SAFETY: the region is released at the end of the test.
    let pages = unsafe { region.as_ref() };
    let rules = Rules::at(pages, pages.take(TABLE_PAGES, For::Stacks).unwrap());
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
            let Some(walked) = walk(replay, rules, start, bounds, discover).unwrap() else { continue };
            replayed += 1;
            assert_eq!(walked.end, end);
            let known = hashes.entry(walked.hash).or_insert_with(|| (frames.clone(), end));
            assert_eq!(*known, (frames.clone(), end), "a hash of two stacks");
            let addresses = kept(replay);
            assert!(replay.len == 0 || addresses == frames);
        }
    }
    // SAFETY: there is no other reference.
    let near_walks = unsafe { Replay::at(replay) }.near_walks;
    assert!(replayed > 30_000 && near_walks > 10_000, "{replayed}, {near_walks}");
    Pages::release(region);
}

/// Checks that return addresses stay the same where only a saved frame pointer, or the register, has another value.
#[test]
fn a_frame_pointer_that_leads_elsewhere_is_followed() {
    let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
    // SAFETY: the region is released at the end of the test.
    let pages = unsafe { region.as_ref() };
    let rules = Rules::at(pages, pages.take(TABLE_PAGES, For::Stacks).unwrap());
    // SAFETY: there is no other reference.
    let replay = unsafe { Replay::at(Replay::open(pages)) };
    // Function 1 is called at 2000. Function 2 is called at 3000, by a function that finds its caller from its frame
    // pointer. Functions 4 and 5 are outermost functions.
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
            walk(replay, rules, start, bounds, discover).unwrap().unwrap();
            assert_eq!(kept(replay), frames, "{saves} {target}");
        }
    }
    Pages::release(region);
}

#[test]
fn what_was_kept_is_forgotten_with_the_rules() {
    let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
    // SAFETY: the region is released at the end of the test.
    let pages = unsafe { region.as_ref() };
    let rules = Rules::at(pages, pages.take(TABLE_PAGES, For::Stacks).unwrap());
    let words = std::hint::black_box([0u64, 2_000, 0, 3_000]);
    let low = (&raw const words[0]).expose_provenance() as u64;
    let (start, bounds) =
        (Registers { ip: 1_000, sp: low, bp: 0 }, Bounds { low, high: low + 8 * words.len() as u64 });
    let small =
        |address| Some(if address == 2_999 { Rule::OUTERMOST } else { Rule::step(false, 16, None).unwrap() });
    // SAFETY: there is no other reference.
    let replay = unsafe { Replay::at(Replay::open(pages)) };
    let first = walk(replay, rules, start, bounds, small).unwrap().unwrap();
    assert_eq!((replay.len, first.end), (2, End::Outermost));
    let ends = |_| Some(Rule::UNKNOWN);
    let all_but_innermost = |address| if address == 1_000 { small(address) } else { ends(address) };
    assert_eq!(walk(replay, rules, start, bounds, all_but_innermost).unwrap(), Some(first));
    rules.clear();
    let second = walk(replay, rules, start, bounds, all_but_innermost).unwrap().unwrap();
    assert_eq!((replay.len, second.end), (1, End::Truncated));
    assert_ne!(second.hash, first.hash);
    assert_eq!(walk(replay, rules, Registers { ip: 1, ..start }, bounds, |_| None), Err(NoRule));
    Pages::release(region);
}

#[test]
fn a_changed_rule_replaces_the_near_one_of_its_address() {
    // SAFETY: all zero bytes are a valid walk.
    let mut replay: Box<Replay> = unsafe { Box::new_zeroed().assume_init() };
    for cfa in [16, 48] {
        replay.put_near(NearRule { ip: 0x1000, cfa, bp_below: 0 });
        assert_eq!(replay.near_rule(0x1000).map(|rule| rule.cfa), Some(cfa));
    }
}

#[test]
fn two_rules_that_share_a_place_are_both_near() {
    // SAFETY: all zero bytes are a valid walk.
    let mut replay: Box<Replay> = unsafe { Box::new_zeroed().assume_init() };
    let place = Replay::near_place(0x1000);
    let sharing: Vec<u64> = (0x1000..).filter(|ip| Replay::near_place(*ip) == place).take(3).collect();
    let cfa_of = |replay: &Replay, ip| replay.near_rule(ip).map(|rule| rule.cfa);
    for round in 0..3 {
        for (ip, cfa) in sharing.iter().zip(16..).take(2) {
            assert_eq!(cfa_of(&replay, *ip).is_some(), round > 0, "once there they stay");
            replay.put_near(NearRule { ip: *ip, cfa, bp_below: 0 });
        }
    }
    assert_eq!([cfa_of(&replay, sharing[0]), cfa_of(&replay, sharing[1])], [Some(16), Some(17)]);
    replay.put_near(NearRule { ip: sharing[2], cfa: 18, bp_below: 0 });
    assert_eq!(sharing.iter().filter(|ip| cfa_of(&replay, **ip).is_some()).count(), 2);
    assert_eq!(cfa_of(&replay, sharing[2]), Some(18), "the newest of three");
}
