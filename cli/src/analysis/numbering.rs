//! Which number has a thing, when equal things are to have one?
//!
//! Names, paths and calls are kept in lists and told apart by their numbers in them. A map from the thing to its number
//! would keep each a second time; here only its hash is kept, and the list says whether it is the same thing.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// The numbers of things in a list that somebody else keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbering {
    /// By hash. Of things with one hash, each further one stands at the next hash that is free.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Numbering {
    /// The number of `thing`: that of the listed one for which `is_same` holds, else `next`, under which it is then to be
    /// put into the list.
    pub(crate) fn number<K: Hash + ?Sized>(
        &mut self,
        thing: &K,
        next: usize,
        is_same: impl Fn(usize) -> bool,
    ) -> usize {
        let hash = self.hasher.hash_one(thing);
        self.number_of_hash(hash, next, is_same)
    }

    fn number_of_hash(&mut self, mut hash: u64, next: usize, is_same: impl Fn(usize) -> bool) -> usize {
        loop {
            match self.numbers.get(&hash) {
                Some(number) if is_same(*number as usize) => return *number as usize,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    self.numbers.insert(hash, next as u32);
                    return next;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_have_one_number() {
        let (mut numbering, mut list) = (Numbering::default(), Vec::new());
        let numbers = ["a", "b", "a", "c", "b"].map(|text| {
            let number = numbering.number(text, list.len(), |at| list[at] == text);
            if number == list.len() {
                list.push(text);
            }
            number
        });
        assert_eq!((numbers, list), ([0, 1, 0, 2, 1], vec!["a", "b", "c"]));
    }

    #[test]
    fn things_with_one_hash_are_told_apart() {
        let (mut numbering, things) = (Numbering::default(), ["a", "b", "c"]);
        for _ in 0..2 {
            for (at, thing) in things.iter().enumerate() {
                assert_eq!(numbering.number_of_hash(u64::MAX, at, |at| things[at] == *thing), at);
            }
        }
    }
}
