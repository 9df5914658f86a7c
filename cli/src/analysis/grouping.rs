//! Sites grouped by a key of the frames of their call stacks.
//!
//! Two stacks with different return addresses can look equal to a user: the same function called from two lines, or two
//! runs of one program. The caller decides which stacks are equal, by the *key* of a frame that it passes to
//! [`group_by`]: the name, the name and line, or the address. Sites whose stacks have equal keys frame by frame form
//! one [`Group`].
//!
//! A program has many stacks but few distinct return addresses. So each address is read once, each key is computed and
//! stored once, and the stack of a group is a list of key numbers. 100,000 stacks of 40 frames take some tens of
//! megabytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use super::arithmetic::saturating_sum;
use super::frames::{CUT_FRAMES, Frame, StackReader, is_cut};
use super::interner::Interner;
use heapledger::profile::{Profile, Site};

/// Sites whose stacks have equal keys, frame by frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Keys of the frames, as indices into [`Groups::keys`], innermost first; empty if no stack was taken.
    pub frames: Rc<[u32]>,
    /// Sites of the group, as indices into [`Profile::sites`].
    pub sites: Vec<u32>,
}

impl Group {
    /// Returns the sites of this group.
    pub fn accounts<'a>(&'a self, profile: &'a Profile) -> impl Iterator<Item = &'a Site> {
        self.sites.iter().filter_map(|site| profile.sites.get(*site as usize))
    }

    /// Returns the saturating sum of a figure over the sites of the group.
    pub fn sum(&self, profile: &Profile, figure: impl Fn(&Site) -> u64) -> u64 {
        saturating_sum(self.accounts(profile).map(figure))
    }
}

/// All sites of a profile, grouped.
#[derive(Debug, Clone)]
pub struct Groups<K> {
    /// Distinct keys, which [`Group::frames`] refers to by index.
    pub keys: Vec<K>,
    /// Groups, in the order of their first sites.
    pub groups: Vec<Group>,
}

/// Groups the sites of a profile by the `key` of each frame. Frames of the recorder are omitted.
pub fn group_by<'a, K: Eq + Hash>(profile: &'a Profile, key: impl Fn(&Frame<'a>) -> K) -> Groups<K> {
    build(profile, |_| 1, |call| key(&call[0]))
}

/// Groups the sites as [`group_by`] does, but with one key for each return address. `key` receives all functions at the
/// address, innermost first: the inlined functions, if any, and the function that contains them.
pub fn group_by_call<'a, K: Eq + Hash>(profile: &'a Profile, key: impl Fn(&[Frame<'a>]) -> K) -> Groups<K> {
    build(profile, length_of_call, key)
}

/// Returns the number of frames at the start of `frames` that belong to one return address: the inlined frames and the
/// first frame that is not inlined.
fn length_of_call(frames: &[Frame<'_>]) -> usize {
    let Some(first) = frames.first() else { return 0 };
    let inlined = frames.iter().take_while(|frame| frame.inlined && frame.address == first.address).count();
    let outer = frames.get(inlined).is_some_and(|frame| frame.address == first.address);
    inlined + usize::from(outer)
}

fn build<'a, K: Eq + Hash>(
    profile: &'a Profile,
    length: impl Fn(&[Frame<'a>]) -> usize,
    key: impl Fn(&[Frame<'a>]) -> K,
) -> Groups<K> {
    let mut calls = Calls {
        reader: StackReader::new(profile),
        length,
        key,
        starts: Vec::new(),
        by_address: HashMap::new(),
        keys: Interner::default(),
    };
    let mut stacks: Interner<Rc<[u32]>> = Interner::default();
    let mut sites: Vec<Vec<u32>> = Vec::new();
    let (mut at_address, mut numbers) = (Vec::new(), Vec::new());
    for (index, site) in profile.sites.iter().enumerate() {
        calls.read(site.stack, &mut at_address, &mut numbers);
        let stack = stacks.number_with(numbers.as_slice(), |frames| frames.into()) as usize;
        if stack == sites.len() {
            sites.push(Vec::with_capacity(1));
        }
        sites[stack].push(index as u32);
    }
    let group = |(frames, sites)| Group { frames, sites };
    let groups = stacks.into_items().into_iter().zip(sites).map(group).collect();
    Groups { keys: calls.keys.into_items(), groups }
}

/// Function at a return address. A call, with its key, can start at this function.
#[derive(Clone, Copy)]
struct CallStart {
    /// Number of functions in the call that starts here. `number` is the key number of that call, or [`NO_NUMBER`]
    /// until the key is first computed.
    length: u32,
    number: u32,
    is_cut: bool,
}

const NO_NUMBER: u32 = u32::MAX;

/// Functions at each return address, read once, and the keys of their calls.
struct Calls<'a, L, M, K> {
    reader: StackReader<'a>,
    length: L,
    key: M,
    /// Functions at all addresses read so far; the functions of one address are adjacent.
    starts: Vec<CallStart>,
    /// Maps an address to the index of its first function in `starts` and the number of its functions.
    by_address: HashMap<u64, (u32, u32)>,
    keys: Interner<K>,
}

impl<'a, L, M, K> Calls<'a, L, M, K>
where
    L: Fn(&[Frame<'a>]) -> usize,
    M: Fn(&[Frame<'a>]) -> K,
    K: Eq + Hash,
{
    /// Stores the key numbers of a stack in `numbers`, innermost first. `at_address` is a buffer that the caller keeps
    /// between calls, to save allocations.
    fn read(&mut self, stack: u32, at_address: &mut Vec<(u64, u32, u32)>, numbers: &mut Vec<u32>) {
        at_address.clear();
        numbers.clear();
        for &address in self.reader.addresses(stack) {
            let (first, count) = self.starts_at(address);
            at_address.push((address, first, count));
        }
        let mut left_out = self.recorders(at_address);
        for &(address, first, count) in at_address.iter() {
            let mut at = left_out.min(count);
            left_out -= at;
            while at < count {
                numbers.push(self.number(address, first, at));
                at += self.starts[(first + at) as usize].length;
            }
        }
    }

    fn starts_at(&mut self, address: u64) -> (u32, u32) {
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        let (first, frames) = (self.starts.len() as u32, self.reader.functions(address));
        let start = |frame: &Frame<'_>| CallStart { length: 1, number: NO_NUMBER, is_cut: is_cut(frame) };
        self.starts.extend(frames.iter().map(start));
        let known = (first, frames.len() as u32);
        self.by_address.insert(address, known);
        known
    }

    /// Returns the number of functions of the recorder at the inner end of a stack, by the rule of
    /// [`StackReader::frames`].
    fn recorders(&self, at_address: &[(u64, u32, u32)]) -> u32 {
        let all = at_address.iter().flat_map(|(_, first, count)| *first..*first + *count);
        let mut cut = 0;
        for (at, start) in (1..=CUT_FRAMES as u32).zip(all) {
            if self.starts[start as usize].is_cut {
                cut = at;
            }
        }
        let functions: u64 = at_address.iter().map(|(_, _, count)| u64::from(*count)).sum();
        if u64::from(cut) < functions { cut } else { 0 }
    }

    /// Returns the key number of the call that begins with function `at` (0 is the innermost) of an address.
    fn number(&mut self, address: u64, first: u32, at: u32) -> u32 {
        let start = (first + at) as usize;
        if self.starts[start].number != NO_NUMBER {
            return self.starts[start].number;
        }
        let frames = self.reader.functions(address);
        let rest = &frames[at as usize..];
        let length = (self.length)(rest).clamp(1, rest.len());
        let number = self.keys.number((self.key)(&rest[..length]));
        let is_cut = self.starts[start].is_cut;
        self.starts[start] = CallStart { length: length as u32, number, is_cut };
        number
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn stacks_with_the_same_names_are_one_group_and_sums_are_kept() {
        let profile = sample::named();
        let by_name = group_by(&profile, |frame| frame.display_name().into_owned());
        let by_address = group_by(&profile, |frame| frame.address);
        assert_eq!(by_name.groups.len() + 1, by_address.groups.len(), "two stacks read the same");
        for groups in [&by_name.groups, &by_address.groups] {
            let total: u64 = groups.iter().map(|group| group.sum(&profile, |site| site.total_bytes)).sum();
            assert_eq!(total, profile.totals.total_bytes);
        }
        let shown = |group: &Group| -> Vec<&str> {
            group.frames.iter().map(|frame| by_name.keys[*frame as usize].as_str()).collect()
        };
        assert_eq!(shown(&by_name.groups[0]), [""; 0], "the site without a stack");
        assert_eq!(shown(&by_name.groups[1]), ["Vec<T>::push", "parse", "main"]);
        assert_eq!(by_name.groups[1].sites.len(), 2);
    }

    #[test]
    fn groups_are_what_reading_each_stack_by_itself_gives() {
        use heapledger::profile::{Site, Stack, SymbolFrame};
        let mut profile = sample::empty();
        let texts = ["", "heapledger::record", "__rust_alloc", "push", "work", "main", "big.rs"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        let symbol = |(function, inlined)| SymbolFrame { function, file: 6, line: function, inlined };
        // In this order: the recorder and the program at one address; the program; a shim; calls inlined into a shim;
        // the program's outermost function.
        let known: [(u64, &[(u32, bool)]); 5] = [
            (0x10, &[(1, true), (2, true), (3, true), (4, false)]),
            (0x20, &[(3, true), (4, false)]),
            (0x30, &[(2, false)]),
            (0x40, &[(3, true), (4, true), (2, false)]),
            (0x50, &[(5, false)]),
        ];
        for (address, functions) in known {
            profile.symbols.frames.insert(address, functions.iter().copied().map(symbol).collect());
        }
        let stacks: [&[u64]; 9] = [
            &[0x10, 0x20, 0x50],
            &[0x30, 0x10, 0x20, 0x50],
            &[0x20, 0x20, 0x50],
            &[0x30],
            &[0x40],
            &[0x20, 0x40, 0x20, 0x50],
            &[0x60, 0x50],
            &[0x20, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x50],
            &[],
        ];
        profile.stacks = stacks.map(|frames| Stack { frames: frames.to_vec(), truncated: false }).to_vec();
        profile.sites = (0..10).map(|stack| Site { stack, ..Site::default() }).collect();
        let told = |frame: &Frame<'_>| (frame.address, frame.function.to_owned(), frame.inlined);
        let told_all = |call: &[Frame<'_>]| call.iter().map(told).collect::<Vec<_>>();
        let (by_frame, by_call) = (group_by(&profile, told), group_by_call(&profile, told_all));
        let reader = StackReader::new(&profile);
        for site in 0..10u32 {
            let frames = told_all(&reader.frames(site));
            let of = |groups: &[Group]| groups.iter().find(|group| group.sites.contains(&site)).cloned();
            let read = of(&by_frame.groups).expect("a group").frames;
            let read: Vec<_> = read.iter().map(|number| by_frame.keys[*number as usize].clone()).collect();
            assert_eq!(read, frames, "stack {site}");
            let read = of(&by_call.groups).expect("a group").frames;
            let read: Vec<_> =
                read.iter().flat_map(|number| by_call.keys[*number as usize].clone()).collect();
            assert_eq!(read, frames, "stack {site} by call");
        }
    }

    #[test]
    fn a_call_is_one_address_with_what_is_inlined_there() {
        let profile = sample::named();
        let calls = group_by_call(&profile, |call| call.len());
        assert_eq!(&*calls.groups[1].frames, [0, 1], "push inlined into parse, then main");
        assert_eq!(calls.keys, [2, 1]);
    }

    #[test]
    fn a_recursive_call_is_not_an_inlined_one() {
        let frame =
            |address, inlined| Frame { address, function: "f", file: "", line: 0, inlined, module: None };
        assert_eq!(length_of_call(&[frame(1, false), frame(1, false)]), 1);
        assert_eq!(length_of_call(&[frame(1, true), frame(1, false), frame(1, true)]), 2);
        assert_eq!(length_of_call(&[frame(1, true), frame(2, false)]), 1);
        assert_eq!(length_of_call(&[]), 0);
    }
}
