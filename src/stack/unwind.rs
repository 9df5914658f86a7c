//! Computation of rules from unwind tables, which the crate `gimli` reads.
//!
//! A rule is made only from the table entry that covers the exact address. The rule is unknown, and the walk ends there
//! as truncated, if there is no such entry, or if the entry does not fit into a rule (an expression, or a register that
//! a walk does not track). heapledger does not guess, for example, that a function keeps a frame pointer. A function
//! written in assembler may use that register for anything, and a guess would show false callers.
//!
//! The tables are protected by a latch and serve all threads. Each address in the code is looked up once. When modules
//! are loaded, the tables are read into newly allocated memory, inside an internal scope. A lookup allocates nothing.
//! It waits for the latch for a limited time ([`Patience`]), and returns no result after that.

use std::sync::Arc;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EhFrameOffset, EndianSlice, LittleEndian, RegisterRule,
    UnwindContext, UnwindSection, UnwindTableRow, X86_64,
};

use super::modules::{Memory, Module, loaded};
use super::noted::{Noted, NotedObjects};
use super::rules::Rule;
use super::state::{Asked, Gone, MODULES_GONE_MAX, NOTED, STATE, Storage, Tables};
use crate::sys::latch::Patience;
use crate::sys::sync::Ordering;

/// Position of an object's number in the addresses of stacks. The addresses of a process use only the bits below it.
pub(crate) const NUMBER_SHIFT: u32 = 48;
/// Highest number of an object. The next number, with all bits set, marks the addresses of scopes.
const NUMBER_LAST: u16 = 0xFFFE;
/// Maximum number of objects for which the check for unloaded objects is made. Only objects loaded after the start are
/// checked.
const WATCHED_MAX: usize = 64;

/// Lists the loaded objects, and reads the unwind tables of new objects. Returns whether any object was loaded or
/// unloaded. Allocates, so it is called in an internal scope.
pub(crate) fn refresh(now_ns: u64) -> bool {
    let read = |asked: &mut Asked| (Arc::clone(&asked.modules), Arc::clone(&asked.gone), asked.seen_ns);
    let (modules, mut gone, seen_ns) = with_asked(Patience::Endless, read).unwrap_or_default();
    let noted = noted_objects();
    let Some(mut now) = loaded(&modules) else { return false };
    let noted_modules: Vec<(Module, &Noted)> =
        noted.iter().filter_map(|noted| Some((noted.module()?, noted))).collect();
    for module in &mut now {
        let noted =
            noted_modules.iter().filter(|(known, noted)| noted.gone_ns == 0 && known.has_head_of(module));
        let known = modules.iter().find(|known| known.is_same(module));
        let known = known.or_else(|| noted.map(|(known, _)| known).next());
        let gone = || gone.iter().map(|gone| &gone.module).find(|known| known.is_same(module));
        if let Some(known) = known.or_else(gone) {
            (module.number, module.since_ns) = (known.number, known.since_ns);
        } else if !modules.is_empty() {
            (module.number, module.since_ns) = (next_number(), now_ns);
        }
    }
    if *modules == now && noted.is_empty() {
        with_asked(Patience::Endless, |asked| asked.seen_ns = now_ns);
        return false;
    }
    let is_in = |list: &[Module], module: &Module| list.iter().any(|other| other.is_same(module));
    let has_come = !modules.is_empty() && now.iter().any(|module| !is_in(&modules, module));
    let lost = modules.iter().filter(|module| !is_in(&now, module));
    Arc::make_mut(&mut gone).extend(lost.map(|module| Gone {
        module: module.clone(),
        seen_ns,
        at_ns: now_ns,
    }));
    let lost = noted_modules.into_iter().map(|(module, noted)| Gone {
        module,
        seen_ns: noted.seen_ns,
        at_ns: if noted.gone_ns == 0 { now_ns } else { noted.gone_ns },
    });
    Arc::make_mut(&mut gone).extend(lost);
    // An object that was loaded again at the same place is no longer listed as unloaded.
    let is_back = |gone: &Module| now.iter().any(|now| now.has_head_of(gone) && now.number == gone.number);
    Arc::make_mut(&mut gone).retain(|gone| !is_back(&gone.module));
    let surplus = gone.len().saturating_sub(MODULES_GONE_MAX);
    Arc::make_mut(&mut gone).drain(..surplus);
    let memory = Memory::open();
    let tables =
        memory.iter().flat_map(|memory| now.iter().filter_map(move |module| self::read(module, memory)));
    let asked = Asked {
        tables: tables.collect(),
        context: Box::new(UnwindContext::new_in()),
        modules: Arc::new(now),
        gone,
        seen_ns: now_ns,
    };
    let mut taken = STATE.unwinder.latch.take();
    // SAFETY: Q1, the latch is held.
    let old = unsafe { (*STATE.unwinder.asked.get()).replace(asked) };
    let still_noted = NOTED.get(&mut taken);
    still_noted.remove(&noted);
    if !still_noted.has_watched() {
        // relaxed: a hint.
        STATE.watched_ns.store(0, Ordering::Relaxed);
    }
    drop(taken);
    drop(old);
    if has_come || !noted.is_empty() {
        forget_stacks();
    }
    true
}

/// Returns copies of the noted objects. Allocates.
fn noted_objects() -> Vec<Noted> {
    let count = NOTED.get(&mut STATE.unwinder.latch.take()).len();
    let mut noted = Vec::with_capacity(count);
    if count > 0 {
        // Allocates nothing while the latch is held.
        noted.extend(NOTED.get(&mut STATE.unwinder.latch.take()).iter().take(count).cloned());
    }
    noted
}

/// Makes every thread empty its cache at its next window.
fn forget_stacks() {
    // Release: pairs with the acquire in `reused`; a thread that sees the number finds the new objects.
    STATE.reused.fetch_add(1, Ordering::Release);
}

/// Returns the number of a new object. All objects beyond the last number share it.
fn next_number() -> u16 {
    let next = |number: u32| (number < u32::from(NUMBER_LAST)).then_some(number + 1);
    // relaxed: only the number counts.
    let before = STATE.last_number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    before.map_or(NUMBER_LAST, |before| before as u16 + 1)
}

/// Returns a number that changes whenever an object is found at addresses that earlier stacks may contain.
pub(crate) fn reused() -> u32 {
    // Acquire: pairs with the release in `forget_stacks`.
    STATE.reused.load(Ordering::Acquire)
}

/// Adds to each return address the number of the object that contains it. The last frame of a truncated stack may be in
/// an object that is not listed, which is then noted; the calling thread must be inside this frame. Returns whether
/// caches may keep the stack, or `None` if the latch did not open within `patience`. `now_ns` returns the time in
/// nanoseconds.
pub(crate) fn number_frames(
    addresses: &mut [u64],
    is_truncated: bool,
    now_ns: impl FnOnce() -> u64,
    patience: Patience,
) -> Option<bool> {
    // Before the first new object, only the last frame can be in a new object.
    let first =
        if reused() == 0 { addresses.len() - usize::from(is_truncated && !addresses.is_empty()) } else { 0 };
    let Some(addresses) = addresses.get_mut(first..).filter(|addresses| !addresses.is_empty()) else {
        return Some(true);
    };
    with_tables(patience, |asked, noted| {
        let mut is_listed = true;
        for address in addresses.iter_mut() {
            let holder = asked.holder(address.wrapping_sub(1)).and_then(|holder| asked.modules.get(holder));
            is_listed = holder.is_some();
            *address |= holder.map_or(0, |module| u64::from(module.number) << NUMBER_SHIFT);
        }
        let Some(last) = addresses.last_mut().filter(|_| is_truncated && !is_listed) else { return true };
        let now_ns = now_ns();
        let note = noted.note(*last, now_ns, next_number);
        forget_if_lost(noted);
        let Some(note) = note else { return true };
        if note.is_kept && !watches_noted() {
            // relaxed: a hint.
            STATE.watched_ns.store(now_ns.max(1), Ordering::Relaxed);
        }
        *last |= u64::from(note.number) << NUMBER_SHIFT;
        note.is_kept
    })
}

/// Makes every thread empty its cache if an object is gone through which caches kept stacks.
fn forget_if_lost(noted: &mut NotedObjects) {
    if noted.take_has_lost_kept() {
        forget_stacks();
    }
}

/// Minimum time between two looks at the watched objects, in nanoseconds.
const WATCH_NOTED_NS: u64 = 100_000;

/// Returns whether any noted object is watched.
#[inline(always)]
pub(crate) fn watches_noted() -> bool {
    // relaxed: a hint.
    STATE.watched_ns.load(Ordering::Relaxed) != 0
}

/// Looks whether the watched objects are still loaded, unless that was done within the last [`WATCH_NOTED_NS`]. Calls
/// the system, which may change errno. Does not wait for the latch.
pub(crate) fn watch_noted(now_ns: u64) {
    // relaxed, both: the time is a hint.
    if now_ns.saturating_sub(STATE.watched_ns.load(Ordering::Relaxed)) >= WATCH_NOTED_NS {
        STATE.watched_ns.store(now_ns, Ordering::Relaxed);
        with_tables(Patience::None, |_, noted| {
            noted.watch(now_ns);
            forget_if_lost(noted);
        });
    }
}

/// Returns whether an object that was loaded after the start of the program is no longer at its addresses. Allocates,
/// so it is called in an internal scope.
pub(crate) fn has_lost_object(now_ns: u64) -> bool {
    let modules = modules();
    let mut late = modules.iter().filter(|module| module.number != 0).take(WATCHED_MAX).peekable();
    if late.peek().is_none() {
        return false;
    }
    let Some(memory) = Memory::open() else { return false };
    let is_lost = late.any(|module| !module.is_loaded(&memory));
    if !is_lost {
        with_asked(Patience::Endless, |asked| asked.seen_ns = now_ns);
    }
    is_lost
}

fn read(module: &Module, memory: &Memory) -> Option<Tables> {
    let (index, entries) = module.unwind_tables(memory)?;
    Some(Tables { start: module.start, end: module.end, bias: module.bias, index, entries })
}

/// Runs `work` on the tables. Returns `None` if no tables were read yet, or if the latch did not open within
/// `patience`.
fn with_asked<T>(patience: Patience, work: impl FnOnce(&mut Asked) -> T) -> Option<T> {
    with_tables(patience, |asked, _| work(asked))
}

/// Runs `work` on the tables and the noted objects, as [`with_asked`] does.
fn with_tables<T>(patience: Patience, work: impl FnOnce(&mut Asked, &mut NotedObjects) -> T) -> Option<T> {
    let mut taken = STATE.unwinder.latch.take_within(patience)?;
    let noted = NOTED.get(&mut taken);
    // SAFETY: Q1, the latch is held.
    unsafe { (*STATE.unwinder.asked.get()).as_mut() }.map(|asked| work(asked, noted))
}

/// Returns whether the list of loaded objects (the program and its libraries) has any entry. It has none before the
/// first successful [`refresh`].
pub(crate) fn knows_objects() -> bool {
    with_asked(Patience::Endless, |asked| !asked.modules.is_empty()).unwrap_or(false)
}

/// Returns the number of bytes of unwind tables that were copied at the last refresh.
pub(crate) fn copied_bytes() -> u64 {
    let bytes = |tables: &Tables| (tables.index.bytes.capacity() + tables.entries.bytes.capacity()) as u64;
    with_asked(Patience::Endless, |asked| asked.tables.iter().map(bytes).sum()).unwrap_or(0)
}

/// Returns the objects that were loaded at the last refresh.
pub(crate) fn modules() -> Arc<Vec<Module>> {
    with_asked(Patience::Endless, |asked| Arc::clone(&asked.modules)).unwrap_or_default()
}

/// Returns the objects that were unloaded, in the order of detection.
pub(crate) fn gone() -> Arc<Vec<Gone>> {
    with_asked(Patience::Endless, |asked| Arc::clone(&asked.gone)).unwrap_or_default()
}

/// Returns the number of return addresses before the first one outside the code of all loaded objects. Returns `None`
/// if the latch did not open within `patience`.
pub(crate) fn code_frames(addresses: &[u64], patience: Patience) -> Option<usize> {
    with_asked(patience, |asked| {
        let is_code = |address: &u64| asked.holder(address.wrapping_sub(1)).is_some();
        addresses.iter().position(|address| !is_code(address)).unwrap_or(addresses.len())
    })
}

/// Returns whether one of the addresses lies in the object that contains heapledger, which is most often the program.
/// Returns `None` if the latch did not open within `patience`.
pub(crate) fn any_in_our_object(addresses: &[u64], patience: Patience) -> Option<bool> {
    let ours = any_in_our_object as fn(&[u64], Patience) -> Option<bool> as usize as u64;
    with_asked(patience, |asked| {
        let own = asked.holder(ours);
        own.is_some() && addresses.iter().any(|address| asked.holder(*address) == own)
    })
}

/// The rule of an address in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) rule: Rule,
    /// Whether the address lies in the code of a loaded object.
    pub(crate) is_code: bool,
}

/// Finds the unwind rule of an address in the code. In the innermost frame, `address` is the next instruction; in other
/// frames, it lies inside the call instruction. Allocates nothing. Returns `None` if the latch did not open within
/// `patience`.
pub(crate) fn discover(address: u64, patience: Patience) -> Option<Known> {
    with_asked(patience, |asked| Known {
        rule: asked.rule(address).unwrap_or(Rule::UNKNOWN),
        is_code: asked.holder(address).is_some(),
    })
}

impl Asked {
    /// Returns the index of the object in whose code an address lies.
    fn holder(&self, address: u64) -> Option<usize> {
        self.modules.iter().position(|module| module.has_code_at(address))
    }

    fn rule(&mut self, address: u64) -> Option<Rule> {
        let after = self.tables.partition_point(|tables| tables.start <= address);
        let tables = self.tables.get(after.checked_sub(1)?).filter(|tables| address < tables.end)?;
        tables.rule(address, &mut self.context)
    }
}

impl Tables {
    fn rule(&self, address: u64, context: &mut UnwindContext<usize, Storage>) -> Option<Rule> {
        let address = address.wrapping_sub(self.bias);
        let bases =
            BaseAddresses::default().set_eh_frame_hdr(self.index.address).set_eh_frame(self.entries.address);
        let index = EhFrameHdr::new(&self.index.bytes, LittleEndian).parse(&bases, 8).ok()?;
        let entry = index.table()?.lookup(address, &bases).ok()?.direct().ok()?;
        let offset = usize::try_from(entry.checked_sub(self.entries.address)?).ok()?;
        let mut entries: EhFrame<EndianSlice<'_, _>> = EhFrame::new(&self.entries.bytes, LittleEndian);
        entries.set_address_size(8);
        let entry = entries.fde_from_offset(&bases, EhFrameOffset(offset), EhFrame::cie_from_offset).ok()?;
        // Fails if the entry ends before the address, because the index contains only the starts of entries.
        rule_of(entry.unwind_info_for_address(&entries, &bases, context, address).ok()?)
    }
}

/// Returns the rule for a row of the unwind tables, or `None` if the row does not fit into a rule.
fn rule_of(row: &UnwindTableRow<usize, Storage>) -> Option<Rule> {
    match row.register(X86_64::RA) {
        Some(RegisterRule::Offset(-8)) => {}
        // An undefined return address marks the outermost function.
        Some(RegisterRule::Undefined) | None => return Some(Rule::OUTERMOST),
        _ => return None,
    }
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    let from_bp = match *register {
        X86_64::RSP => false,
        X86_64::RBP => true,
        _ => return None,
    };
    let stored = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        Some(RegisterRule::Offset(below)) => Some(u64::try_from(below.checked_neg()?).ok()?),
        _ => return None,
    };
    Rule::step(from_bp, u64::try_from(*offset).ok()?, stored)
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::arch::global_asm;

    // Two functions that are never called: one with unwind tables, and one without.
    global_asm!(
        ".text",
        ".globl heapledger_test_told",
        ".type heapledger_test_told, @function",
        "heapledger_test_told:",
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "sub rsp, 32",
        ".cfi_adjust_cfa_offset 32",
        "nop",
        ".cfi_def_cfa rbp, 64",
        "nop",
        ".cfi_def_cfa r12, 64",
        "nop",
        ".cfi_undefined rip",
        "nop",
        ".cfi_endproc",
        ".size heapledger_test_told, . - heapledger_test_told",
        ".skip 64, 0x90",
        ".globl heapledger_test_untold",
        "heapledger_test_untold:",
        ".skip 64, 0x90",
    );

    unsafe extern "C" {
        fn heapledger_test_told();
        fn heapledger_test_untold();
    }

    fn rule_at(address: u64) -> Rule {
        let known = discover(address, Patience::Endless).unwrap();
        assert!(known.is_code);
        known.rule
    }

    #[test]
    fn a_rule_is_what_the_tables_say_and_nothing_where_they_say_nothing() {
        refresh(0);
        let told = heapledger_test_told as unsafe extern "C" fn() as usize as u64;
        assert_eq!(rule_at(told), Rule::step(false, 8, None).unwrap());
        assert_eq!(rule_at(told + 1), Rule::step(false, 16, Some(16)).unwrap());
        // `push` has one byte, `sub` four, `nop` one.
        assert_eq!(rule_at(told + 5), Rule::step(false, 48, Some(16)).unwrap());
        assert_eq!(rule_at(told + 6), Rule::step(true, 64, Some(16)).unwrap());
        assert_eq!(rule_at(told + 7), Rule::UNKNOWN, "a register that is not followed");
        assert_eq!(rule_at(told + 8), Rule::OUTERMOST);
        let untold = heapledger_test_untold as unsafe extern "C" fn() as usize as u64;
        assert_eq!(rule_at(untold + 8), Rule::UNKNOWN, "no guess");
        assert_eq!(discover(8, Patience::Endless), Some(Known { rule: Rule::UNKNOWN, is_code: false }));
    }
}
