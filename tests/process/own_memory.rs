//! heapledger's own memory, whole and by kind, against what the system gives: the same program is run with and without
//! a ledger, and the difference is what heapledger costs.

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
#[cfg(target_arch = "x86_64")]
use super::stack_limits::call_with_frame;
use super::tools::{block, free, status_bytes};

pub const CASES: &[Case] = &[
    #[cfg(target_arch = "x86_64")]
    Case::series("own_memory_of_many_stacks_is_what_the_system_gives", many_stacks, stacks_are_counted)
        .heap(Heap::Counted)
        .variables(&[("HEAPLEDGER_STACKS", "fp")]),
    Case::series("own_memory_of_many_blocks_is_what_the_system_gives", many_blocks, blocks_are_counted)
        .heap(Heap::Counted),
];

/// Distinct stacks, as a compiler had them.
const STACKS: u64 = 77_138;
const BLOCKS: usize = 400_000;
/// Bytes of ours that many stacks may take.
const OWN_BYTES_MAX: u64 = 25 << 20;

/// Prints resident memory without files, and heapledger's own memory; then both for a dump that is written meanwhile.
fn print_memory() {
    heapledger::flush();
    let own = heapledger::quality().own_bytes;
    let resident = status_bytes(c"/proc/self/smaps_rollup", b"Anonymous:");
    let highest_before = status_bytes(c"/proc/self/status", b"VmHWM:");
    let written = heapledger::dump("asked.hl").is_ok();
    let highest = status_bytes(c"/proc/self/status", b"VmHWM:");
    println!("own={own}\nresident={resident}\nwritten={}", u8::from(written));
    println!("dump={}", highest - highest_before);
}

/// Every stack allocates blocks of a few sizes, some of which live on for a while, and frees them.
#[cfg(target_arch = "x86_64")]
extern "C" fn allocate_a_few() {
    let blocks = [block(24), block(40), block(200)];
    free(blocks[0], 24);
    free(block(64), 64);
    free(blocks[2], 200);
    free(blocks[1], 40);
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn many_stacks() {
    let code = (many_stacks as fn() as usize as u64) & !0xffff;
    let mut frames = [0u64; 8];
    let at = (&raw const frames).expose_provenance() as u64;
    for stack in 0..STACKS {
        let (a, b, c) = (stack % 64, stack / 64 % 64, stack / 4096);
        frames =
            [at + 16, code + 1 + a, at + 32, code + 0x8001 + b, at + 48, code + 0x4001 + c, 0, code + 0xc001];
        std::hint::black_box(&mut frames);
        // SAFETY: the function keeps to the calling convention, and nothing follows the frame but heapledger's walk.
        unsafe { call_with_frame(allocate_a_few, at) };
    }
    print_memory();
}

fn many_blocks() {
    let mut kept = Vec::with_capacity(BLOCKS);
    kept.extend((0..BLOCKS).map(|n| vec![0u8; 16 + n % 48].into_boxed_slice()));
    print_memory();
}

/// Runs the program with and without a ledger. Returns the bytes that the ledger says it has, the bytes that the system
/// gives it, and those that a dump needed at its highest.
fn compared(case: &Case) -> (Ended, u64, u64, u64) {
    let (with, without) = (case.play(), case.play_with(&[("HEAPLEDGER", "off")]));
    assert_eq!((with.said("written"), without.quietly().said("own")), (1, 0));
    let (own, given) = (with.said("own"), with.said("resident") - without.said("resident"));
    let dump = with.said("dump");
    println!("  {own} bytes of its own by its report, {given} by the system; {dump} more for a dump");
    assert!(own.abs_diff(given) <= given / 20, "{own} bytes of its own, {given} given");
    (with, own, given, dump)
}

#[cfg(target_arch = "x86_64")]
fn stacks_are_counted(case: &Case) {
    let (ended, own, given, dump) = compared(case);
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let kinds = profile.quality.own_memory;
    println!("  {} stacks, {kinds:?}", profile.stacks.len());
    assert!(profile.stacks.len() as u64 >= STACKS);
    assert!(own.max(given) <= OWN_BYTES_MAX, "{own} bytes of its own, {given} given");
    assert_eq!(kinds.total(), profile.quality.own_bytes);
    let per_site = kinds.sites / profile.sites.len() as u64;
    assert!(per_site <= 200, "a site costs {per_site} bytes");
    assert!(dump <= own, "a dump takes {dump} bytes");
}

fn blocks_are_counted(case: &Case) {
    let (ended, own, _, dump) = compared(case);
    complete(&ended.quietly().dump()).unwrap();
    assert!(dump <= own, "a dump takes {dump} bytes");
}
