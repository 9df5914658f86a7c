//! More stacks than the tables hold: memory stays within its limit, every total stays exact, and blocks without a stack
//! are counted.
//!
//! A function makes the stacks: where other functions keep their frame pointer, it keeps a pointer to two invented
//! frames. So each allocation is walked as any other, and a million stacks need no million functions.

use std::hint::black_box;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{block, free, lossless_point};

const FRAME_POINTERS: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "fp")];

pub const CASES: &[Case] = &[
    Case::new("a_million_stacks_in_little_memory_are_counted_and_no_total_suffers", make, are_counted)
        .heap(Heap::Tight)
        .variables(FRAME_POINTERS),
    Case::new("a_million_stacks_with_the_usual_memory", make, have_room)
        .heap(Heap::Counted)
        .variables(FRAME_POINTERS)
        .ignored("writes and reads a million sites: minutes without optimisation"),
];

/// Number of invented outer frames, and of inner frames; every outer frame calls every inner one.
const FRAMES: u64 = 1 << 10;
const STACKS: u64 = FRAMES * FRAMES;
const BYTES: usize = 40;
/// The limit of [`Heap::Tight`].
const TIGHT_BYTES: u64 = 16 << 20;

std::arch::global_asm!(
    ".globl process_test_call_with_frame",
    ".type process_test_call_with_frame, @function",
    "process_test_call_with_frame:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbp, 0",
    "mov rbp, rsi",
    "call rdi",
    "pop rbp",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_restore rbp",
    "ret",
    ".cfi_endproc",
    ".size process_test_call_with_frame, . - process_test_call_with_frame",
);

unsafe extern "C" {
    /// Calls a function with a frame pointer of the caller's choice.
    #[link_name = "process_test_call_with_frame"]
    pub fn call_with_frame(function: extern "C" fn(), frame: u64);
}

extern "C" fn make_one() {
    free(black_box(block(BYTES)), BYTES);
}

#[inline(never)]
fn make() {
    lossless_point();
    // Addresses in the program's code, whatever stands there.
    let code = (make as fn() as usize as u64) & !0xffff;
    // A caller's frame pointer and a return address, twice.
    let mut frames = [0u64; 4];
    let at = (&raw const frames).expose_provenance() as u64;
    for stack in 0..STACKS {
        frames = [at + 16, code + 1 + stack % FRAMES, 0, code + 0x8001 + stack / FRAMES];
        black_box(&mut frames);
        // SAFETY: the function keeps to the calling convention, and nothing follows the frame but heapledger's walk.
        unsafe { call_with_frame(make_one, at) };
    }
    black_box(&mut frames);
    lossless_point();
}

fn are_counted(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let figures = &profile.stack_figures;
    println!("  {} stacks, {} own bytes, {figures:?}", profile.stacks.len(), profile.quality.own_bytes);
    assert!(profile.stacks.len() > 10_000, "{}", profile.stacks.len());
    assert!(figures.table_full > STACKS / 2 && figures.failed == 0, "{figures:?}");
    assert!(profile.quality.own_bytes <= TIGHT_BYTES, "{}", profile.quality.own_bytes);
    assert!(profile.totals.total_blocks >= STACKS, "{}", profile.totals.total_blocks);
    let without = profile.sites.iter().find(|site| site.stack == 0).map_or(0, |site| site.total_blocks);
    assert!(without <= figures.table_full + figures.failed, "{without} {figures:?}");
    let blocks: u64 = profile.sites.iter().map(|site| site.total_blocks).sum();
    assert_eq!(blocks, profile.totals.total_blocks);
}

fn have_room(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let figures = &profile.stack_figures;
    println!("  {} stacks, {} own bytes, {figures:?}", profile.stacks.len(), profile.quality.own_bytes);
    assert!(profile.stacks.len() as u64 > STACKS - (1 << 16), "{}", profile.stacks.len());
    let blocks: u64 = profile.sites.iter().map(|site| site.total_blocks).sum();
    assert_eq!(blocks, profile.totals.total_blocks);
}
