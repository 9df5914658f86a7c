//! Interner: stores each distinct item once, in the order of its first occurrence, and gives it a number.
//!
//! A map from item to number would store each item twice. So the map is keyed by the hash of an item, and a comparison
//! with the stored item finds out whether two items with the same hash are equal.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Distinct items and their numbers.
#[derive(Debug, Clone)]
pub(crate) struct Interner<T> {
    items: Vec<T>,
    /// Maps the hash of an item to its number. If the hash is already used by another item, the item takes the next
    /// free key above it.
    numbers: HashMap<u64, u32>,
    hasher: RandomState,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { items: Vec::new(), numbers: HashMap::new(), hasher: RandomState::new() }
    }
}

impl<T> Interner<T> {
    /// Returns all items, indexed by number.
    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    /// Returns all items, indexed by number, as an owned list.
    pub(crate) fn into_items(self) -> Vec<T> {
        self.items
    }

    /// Returns the number of the item that equals `key`. If there is none, adds the item that `make` returns.
    pub(crate) fn number_with<Q>(&mut self, key: &Q, make: impl FnOnce(&Q) -> T) -> u32
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        self.find(hash, key).unwrap_or_else(|free| self.add(free, make(key)))
    }

    /// Returns the number of the item that equals `item`. If there is none, adds `item`.
    pub(crate) fn number(&mut self, item: T) -> u32
    where
        T: Hash + Eq,
    {
        let hash = self.hasher.hash_one(&item);
        self.find(hash, &item).unwrap_or_else(|free| self.add(free, item))
    }

    /// Returns the number of the item that equals `key`. If there is none, returns as `Err` the first free key of the
    /// map, from `hash` on.
    fn find<Q>(&self, mut hash: u64, key: &Q) -> Result<u32, u64>
    where
        T: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        while let Some(number) = self.numbers.get(&hash) {
            if self.items[*number as usize].borrow() == key {
                return Ok(*number);
            }
            hash = hash.wrapping_add(1);
        }
        Err(hash)
    }

    fn add(&mut self, free: u64, item: T) -> u32 {
        let number = self.items.len() as u32;
        self.numbers.insert(free, number);
        self.items.push(item);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_have_one_number() {
        let mut interner = Interner::default();
        let numbers = ["a", "b", "a", "c", "b"].map(|text| interner.number_with(text, str::to_owned));
        assert_eq!((numbers, interner.number("c".to_owned())), ([0, 1, 0, 2, 1], 2));
        assert_eq!(interner.into_items(), ["a", "b", "c"]);
    }

    #[test]
    fn items_with_the_same_hash_have_different_numbers() {
        let mut interner = Interner::default();
        for _ in 0..2 {
            for (number, text) in (0..).zip(["a", "b", "c"]) {
                let found = interner.find(u64::MAX, text).unwrap_or_else(|free| interner.add(free, text));
                assert_eq!(found, number);
            }
        }
    }
}
