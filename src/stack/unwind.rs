//! Works out rules from unwind tables, with `framehop`.
//!
//! `framehop` answers "where do the caller's registers lie" by reading them. To get the rule itself it is given a stack that
//! does not exist: two bases far apart, and memory in which each word tells its own address. From what it takes for the
//! caller's registers, the rule can be read off. It never sees the real stack.
//!
//! One unwinder serves all threads, behind a latch; it is asked once for each address in the code. It allocates when it
//! is made and when modules come, in own sections, and not while it is asked.

use std::cell::UnsafeCell;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, MustNotAllocateDuringUnwind, Unwinder};

use super::modules::{Memory, Module, loaded};
use super::rules::Rule;
use crate::sys::latch::Latch;

/// The stack pointer of the stack that does not exist.
const SP: u64 = 0x1000_0000_0000;
/// Its frame pointer.
const BP: u64 = 0x1100_0000_0000;
/// What a word holds above its own address: so the frame pointer is never what lies where it points to.
const MARK: u64 = 1;
/// How far from a base a word may lie.
const REACH: u64 = 1 << 20;

type Tables = Vec<u8>;

/// What there is to ask.
struct Asked {
    unwinder: UnwinderX86_64<Tables, MustNotAllocateDuringUnwind>,
    cache: CacheX86_64<MustNotAllocateDuringUnwind>,
    /// Shared, so that who wants them copies nothing while the latch is held.
    modules: Arc<Vec<Module>>,
}

struct Shared {
    latch: Latch,
    asked: UnsafeCell<Option<Asked>>,
}

// SAFETY: Q1, what is asked is touched under the latch only.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared { latch: Latch::new(), asked: UnsafeCell::new(None) };

/// Looks which objects are loaded and reads the unwind tables of those that are new. Says whether any came or went.
/// Allocates: in an own section.
pub(crate) fn refresh() -> bool {
    let now = loaded();
    if with_asked(|asked| *asked.modules == now) == Some(true) {
        return false;
    }
    let mut unwinder = UnwinderX86_64::new();
    if let Some(memory) = Memory::open() {
        now.iter()
            .filter_map(|module| with_tables(module, &memory))
            .for_each(|module| unwinder.add_module(module));
    }
    let asked = Asked { unwinder, cache: CacheX86_64::new_in(), modules: Arc::new(now) };
    let _taken = SHARED.latch.take();
    // SAFETY: Q1.
    let old = unsafe { (*SHARED.asked.get()).replace(asked) };
    drop(_taken);
    drop(old);
    true
}

fn with_tables(module: &Module, memory: &Memory) -> Option<framehop::Module<Tables>> {
    let (index, tables) = module.unwind_tables(memory)?;
    let end = |address: u64, bytes: &[u8]| address..address + bytes.len() as u64;
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        eh_frame_svma: Some(end(tables.address, &tables.bytes)),
        eh_frame: Some(tables.bytes),
        eh_frame_hdr_svma: Some(end(index.address, &index.bytes)),
        eh_frame_hdr: Some(index.bytes),
        ..ExplicitModuleSectionInfo::default()
    };
    Some(framehop::Module::new(module.path.clone(), module.start..module.end, module.bias, info))
}

fn with_asked<T>(work: impl FnOnce(&mut Asked) -> T) -> Option<T> {
    let _taken = SHARED.latch.take();
    // SAFETY: Q1.
    unsafe { (*SHARED.asked.get()).as_mut() }.map(work)
}

/// The objects that were loaded at the last look.
pub(crate) fn modules() -> Arc<Vec<Module>> {
    with_asked(|asked| Arc::clone(&asked.modules)).unwrap_or_default()
}

/// Whether an address was in the code of a loaded object at the last look.
pub(crate) fn is_code(address: u64) -> bool {
    with_asked(|asked| asked.modules.iter().any(|module| module.has_code_at(address))).unwrap_or(false)
}

/// Whether an address lies in the object that heapledger itself is part of: the program, most often.
pub(crate) fn is_our_object(address: u64) -> bool {
    let ours = is_our_object as fn(u64) -> bool as usize as u64;
    with_asked(|asked| {
        let of = |address| asked.modules.iter().position(|module| module.has_code_at(address));
        of(ours).is_some_and(|own| of(address) == Some(own))
    })
    .unwrap_or(false)
}

/// Forgets what the parent had, in a forked child: another thread may have been at it. It is not freed.
pub(crate) fn forget() {
    SHARED.latch.open();
    let _taken = SHARED.latch.take();
    // SAFETY: Q1.
    std::mem::forget(unsafe { (*SHARED.asked.get()).take() });
}

/// Works out the rule for an address in the code: that of the instruction itself for the innermost frame, of the call for
/// others. Allocates nothing.
pub(crate) fn discover(address: u64, is_innermost: bool) -> Rule {
    with_asked(|asked| asked.rule(address, is_innermost)).unwrap_or(Rule::UNKNOWN)
}

impl Asked {
    fn rule(&mut self, address: u64, is_innermost: bool) -> Rule {
        if !self.modules.iter().any(|module| module.has_code_at(address)) {
            return Rule::UNKNOWN;
        }
        let mut registers = UnwindRegsX86_64::new(address, SP, BP);
        let frame = if is_innermost {
            FrameAddress::from_instruction_pointer(address)
        } else {
            match FrameAddress::from_return_address(address.wrapping_add(1)) {
                Some(frame) => frame,
                None => return Rule::UNKNOWN,
            }
        };
        let is_stack = |at: u64| at.abs_diff(SP) < REACH || at.abs_diff(BP) < REACH;
        let mut read = |at: u64| if is_stack(at) { Ok(at + MARK) } else { Err(()) };
        match self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, &mut read) {
            Ok(None) => Rule::OUTERMOST,
            Ok(Some(return_address)) => {
                read_off(return_address, registers.sp(), registers.bp()).unwrap_or(Rule::UNKNOWN)
            }
            Err(_) => Rule::UNKNOWN,
        }
    }
}

/// The rule by which the bases become the caller's registers.
fn read_off(return_address: u64, sp: u64, bp: u64) -> Option<Rule> {
    if return_address != sp.checked_sub(8)? + MARK {
        return None;
    }
    let (from_bp, cfa) = if sp >= BP { (true, sp - BP) } else { (false, sp.checked_sub(SP)?) };
    let stored = if bp == BP { None } else { Some(sp.checked_sub(bp.checked_sub(MARK)?)?) };
    Rule::step(from_bp, cfa, stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_off_the_bases() {
        assert_eq!(read_off(SP + 17, SP + 24, BP), Rule::step(false, 24, None));
        assert_eq!(read_off(BP + 9, BP + 16, BP + 1), Rule::step(true, 16, Some(16)));
        assert_eq!(read_off(SP + 41, SP + 48, SP + 33), Rule::step(false, 48, Some(16)));
        assert_eq!(read_off(SP + 33, SP + 48, BP), None);
    }
}
