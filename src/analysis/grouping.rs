//! Which sites read the same?
//!
//! Two stacks with different return addresses can be one to a person: the same function called from two lines,
//! or two runs of one program. What counts as the same is up to the question, so [`group_by`] takes a *key* of a
//! frame: its name, its name and line, its address. Sites whose stacks have equal keys throughout are one [`Group`].
//!
//! A program has many stacks but few places to call from, so each key is made once for each place and kept once;
//! a group's stack is a list of numbers. 100,000 stacks of 40 frames take some tens of megabytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use super::frames::{Frame, StackReader};
use crate::profile::{Profile, Site};

/// The sites that read the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The stack, as indices into [`Groups::keys`], innermost first; empty when no stack was taken.
    pub frames: Rc<[u32]>,
    /// Indices into [`Profile::sites`].
    pub sites: Vec<u32>,
}

impl Group {
    /// The accounts of this group.
    pub fn accounts<'a>(&'a self, profile: &'a Profile) -> impl Iterator<Item = &'a Site> {
        self.sites.iter().filter_map(|site| profile.sites.get(*site as usize))
    }

    /// A figure of all its sites together. It saturates.
    pub fn sum(&self, profile: &Profile, figure: impl Fn(&Site) -> u64) -> u64 {
        super::saturating_sum(self.accounts(profile).map(figure))
    }
}

/// All sites of a profile, by what their stacks read like.
#[derive(Debug, Clone)]
pub struct Groups<K> {
    /// What the numbers in a group's stack stand for, each once.
    pub keys: Vec<K>,
    /// In the order of their first sites.
    pub groups: Vec<Group>,
}

/// The sites of a profile by what `key` makes of their frames. The recorder's own frames are left out.
pub fn group_by<'a, K: Clone + Eq + Hash>(profile: &'a Profile, key: impl Fn(&Frame<'a>) -> K) -> Groups<K> {
    build(profile, |_| 1, |call| key(&call[0]))
}

/// As [`group_by`], with one key for each call: what one address stands for. It is given the functions that were
/// inlined there, innermost first; never none.
pub fn group_by_call<'a, K: Clone + Eq + Hash>(
    profile: &'a Profile,
    key: impl Fn(&[Frame<'a>]) -> K,
) -> Groups<K> {
    build(profile, length_of_call, key)
}

/// How many frames at the start of `frames` are one call: up to the first that was not inlined.
fn length_of_call(frames: &[Frame<'_>]) -> usize {
    let Some(first) = frames.first() else { return 0 };
    let inlined = frames.iter().take_while(|frame| frame.inlined && frame.address == first.address).count();
    let outer = frames.get(inlined).is_some_and(|frame| frame.address == first.address);
    inlined + usize::from(outer)
}

fn build<'a, K: Clone + Eq + Hash>(
    profile: &'a Profile,
    length: impl Fn(&[Frame<'a>]) -> usize,
    key: impl Fn(&[Frame<'a>]) -> K,
) -> Groups<K> {
    let reader = StackReader::new(profile);
    let mut keys = Numbered { numbers: HashMap::new(), keys: Vec::new() };
    let mut places: HashMap<Place, u32> = HashMap::new();
    let mut by_frames: HashMap<Rc<[u32]>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut numbers = Vec::new();
    for (index, site) in profile.sites.iter().enumerate() {
        numbers.clear();
        let frames = reader.frames(site.stack);
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let (call, after) = rest.split_at(length(rest).clamp(1, rest.len()));
            let number = *places.entry(place(call)).or_insert_with(|| keys.number(key(call)));
            numbers.push(number);
            rest = after;
        }
        let known = by_frames.get(numbers.as_slice()).copied();
        let at = known.unwrap_or_else(|| {
            let frames: Rc<[u32]> = numbers.as_slice().into();
            by_frames.insert(Rc::clone(&frames), groups.len());
            groups.push(Group { frames, sites: Vec::with_capacity(1) });
            groups.len() - 1
        });
        groups[at].sites.push(index as u32);
    }
    Groups { keys: keys.keys, groups }
}

/// What tells two places apart without reading their names, which may be long: texts of a profile lie where they
/// lie, so equal positions are equal texts.
type Place = (u64, usize, usize, usize, u32);

fn place(call: &[Frame<'_>]) -> Place {
    let first = &call[0];
    let text = |text: &str| if text.is_empty() { 0 } else { text.as_ptr() as usize };
    (first.address, call.len(), text(first.function), text(first.file), first.line)
}

struct Numbered<K> {
    numbers: HashMap<K, u32>,
    keys: Vec<K>,
}

impl<K: Clone + Eq + Hash> Numbered<K> {
    fn number(&mut self, key: K) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.keys.len() as u32;
        self.numbers.insert(key.clone(), number);
        self.keys.push(key);
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
        let by_name = group_by(&profile, |frame| frame.label().into_owned());
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
