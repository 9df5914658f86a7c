//! Work in which blocks move between threads, or threads end.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::AppCpu;
use crate::common::figures::Random;

/// Runs a thread that allocates blocks and another thread that frees them. The number of blocks on the way is bounded.
pub fn hand_over(app: &AppCpu) {
    const LOADS: usize = 4_000;
    const BLOCKS: usize = 64;
    let (sender, receiver) = sync_channel::<Vec<Vec<u8>>>(16);
    thread::scope(|scope| {
        scope.spawn(move || {
            app.count(|| {
                let mut random = Random(Random::SEED);
                for _ in 0..LOADS {
                    let load = (0..BLOCKS).map(|_| Vec::with_capacity(16 + random.below(512) as usize));
                    sender.send(load.collect()).expect("the other thread takes all");
                }
            });
        });
        scope.spawn(move || app.count(|| receiver.into_iter().for_each(|load| drop(black_box(load)))));
    });
}

/// Starts threads that make a few hundred blocks each, two threads at a time.
pub fn churn(app: &AppCpu) {
    const COUPLES: u64 = 500;
    for couple in 0..COUPLES {
        thread::scope(|scope| {
            for number in 0..2 {
                scope.spawn(move || app.count(|| live_shortly(Random::SEED + 2 * couple + number)));
            }
        });
    }
}

fn live_shortly(seed: u64) {
    let mut random = Random(seed);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..200 {
        kept.push(Vec::with_capacity(16 + random.below(256) as usize));
        if kept.len() > 20 {
            kept.swap_remove(random.below(20) as usize);
        }
    }
    black_box(kept.len());
}
