//! An inverted index over generated texts: readers allocate postings, and a merger takes these apart and frees them.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::AppCpu;
use crate::common::figures::Random;

const TEXTS: u64 = 160;
const WORDS_OF_TEXT: usize = 1_500;
const VOCABULARY: u64 = 6_000;
const READERS: usize = 4;

struct Words {
    text: u64,
    lines: HashMap<String, Vec<u32>>,
}

pub fn build(app: &AppCpu) {
    let next = AtomicU64::new(0);
    let (sender, receiver) = sync_channel(32);
    thread::scope(|scope| {
        for _ in 0..READERS {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || app.count(|| read(next, &sender)));
        }
        drop(sender);
        scope.spawn(|| app.count(|| black_box(merge(receiver).len())));
    });
}

fn read(next: &AtomicU64, sender: &SyncSender<Words>) {
    loop {
        // relaxed: only the number matters.
        let text = next.fetch_add(1, Ordering::Relaxed);
        if text >= TEXTS {
            return;
        }
        let mut lines: HashMap<String, Vec<u32>> = HashMap::new();
        for (number, line) in (1..).zip(generate(text).lines()) {
            for word in line.split(' ').filter(|word| !word.is_empty()) {
                lines.entry(word.to_lowercase()).or_default().push(number);
            }
        }
        if sender.send(Words { text, lines }).is_err() {
            return;
        }
    }
}

/// Returns a text in which words are distributed as unevenly as in a language.
fn generate(text: u64) -> String {
    let mut random = Random(Random::SEED ^ (text + 1));
    let mut page = String::new();
    for word in 0..WORDS_OF_TEXT {
        let rank = random.below(VOCABULARY).min(random.below(VOCABULARY)).min(random.below(VOCABULARY));
        page.push_str(&format!("Word{rank}"));
        page.push(if word % 10 == 9 { '\n' } else { ' ' });
    }
    page
}

fn merge(receiver: Receiver<Words>) -> BTreeMap<String, Vec<(u64, usize)>> {
    let mut index: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
    for Words { text, lines } in receiver {
        for (word, lines) in lines {
            index.entry(word).or_default().push((text, lines.len()));
        }
    }
    index
}
