//! Functions that keep data in the frame-pointer register on the way to an allocation, and false frames for that data
//! to point to. They are part of the program `sites.rs`, and run if `SITES_PLANTED` is set.

use std::arch::global_asm;
use std::hint::black_box;

use super::{Answer, answer, keep};

// Two functions that keep data where others keep their frame pointer, and then call. The unwind tables tell of the first.
global_asm!(
    ".text",
    ".globl data_in_rbp_told",
    ".type data_in_rbp_told, @function",
    "data_in_rbp_told:",
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
    ".size data_in_rbp_told, . - data_in_rbp_told",
    ".globl data_in_rbp_untold",
    ".type data_in_rbp_untold, @function",
    "data_in_rbp_untold:",
    "push rbp",
    "mov rbp, rsi",
    "call rdi",
    "pop rbp",
    "ret",
    ".size data_in_rbp_untold, . - data_in_rbp_untold",
);

unsafe extern "C" {
    fn data_in_rbp_told(function: extern "C" fn(), data: u64);
    fn data_in_rbp_untold(function: extern "C" fn(), data: u64);
}

/// The expected figures of the planted functions. The callers of the second one are unknown.
pub const ANSWERS: &[Answer] = &[
    answer(
        7 * 3,
        7 * 3 * 1100,
        0,
        "behind_told@behind_told  calls_told@calls_told  plants@plants_told  sites::main@main_plants",
    ),
    answer(7 * 2, 7 * 2 * 1101, 14, "behind_untold@behind_untold"),
];

extern "C" fn behind_told() {
    for _ in 0..3 {
        keep(block!(1100)); // @behind_told
    }
}

extern "C" fn behind_untold() {
    for _ in 0..2 {
        drop(block!(1101)); // @behind_untold
    }
}

#[inline(never)]
fn calls_told(data: u64) {
    // SAFETY: the function keeps to the calling convention.
    unsafe { data_in_rbp_told(behind_told, data) }; // @calls_told
    black_box(1);
}

#[inline(never)]
fn calls_untold(data: u64) {
    // SAFETY: the function keeps to the calling convention.
    unsafe { data_in_rbp_untold(behind_untold, data) };
    black_box(2);
}

/// A function that is never called, and is the caller in the false frames.
#[inline(never)]
fn forged_caller() {
    black_box(3);
}

#[inline(never)]
pub fn plants() {
    let code = forged_caller as fn() as usize as u64 + 1;
    let mut forged = [0u64; 6];
    let at = (&raw const forged).expose_provenance() as u64;
    forged = [at + 16, code, at + 32, code, 0, code];
    black_box(&mut forged);
    for data in [at, 0, 1, u64::MAX, at + 4, code, 0x1000] {
        calls_told(data); // @plants_told
        calls_untold(data);
    }
    black_box(&mut forged);
}
