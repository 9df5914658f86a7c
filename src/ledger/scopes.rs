//! Scopes (named parts of the program's work): a table of cells that all threads share. A cell has a name, a parent and
//! an account, which holds the figures.
//!
//! A cell is one path of nested scopes, so the same name inside two parents has two cells. Cells are never removed, so
//! a cell's number can be a frame of stacks (`profile::scope_address`). A fold looks up the cell of a stack by the
//! stack's number. It adds the stack's events to the accounts of the cell and of all its parents, so an account
//! includes nested scopes.
//!
//! Invariants: **G1** name, parent and the other fixed fields of a cell are written under the table's latch, before the
//! cell's number is published; the run of cells is never given back. **G2** an account is accessed under its cell's
//! latch.

use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of cells.
pub(crate) const SCOPES_MAX: u32 = 4095;
/// Maximum number of cells with the same name.
pub(crate) const SCOPES_PER_NAME_MAX: u32 = 64;
/// Maximum number of nested scopes. The events of a deeper scope are counted in the innermost scope within the limit.
pub(crate) const SCOPE_DEPTH_MAX: usize = 8;
/// Maximum number of bytes of a name. Only the end of a longer name is kept.
pub(crate) const SCOPE_NAME_BYTES_MAX: usize = 120;
/// Maximum number of steps that a thread waits for the latch of the table to make a cell. The steps take about a
/// second.
const CELL_ROUNDS_MAX: u32 = 20_000;
/// Maximum number of threads that have a separate [`Share`] of a scope.
pub(crate) const SHARES: usize = 12;
/// Number of the cell in which scopes without a separate cell are counted.
pub(crate) const OTHERS: u32 = 1;
/// Number of entries of the table that maps stacks to scopes.
const STACKS: u32 = 1 << 20;
/// Slots of the hash table of cells.
const SLOTS: u32 = 8192;

const CELL_PAGES: u32 = (((SCOPES_MAX + 1) as usize * size_of::<ScopeCell>()).div_ceil(PAGE_BYTES)) as u32;
const SLOT_PAGES: u32 = (SLOTS as usize * 4 / PAGE_BYTES) as u32;
const STACK_PAGES: u32 = (STACKS as usize * 4 / PAGE_BYTES) as u32;

/// State of a cell: threads share the cell under its name.
const SHARED: u32 = 0;
/// State: no thread and no measurement uses the cell.
const IDLE: u32 = 1;
/// State: one measurement uses the cell.
const TAKEN: u32 = 2;

/// The table of scopes. All zero bytes are a valid, empty table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Scopes {
    latch: Latch,
    /// First page of the cells; 0 while there is no scope. The cells' hash table and the scopes of stacks follow the
    /// cells.
    page: AtomicU32,
    /// Number of the last cell.
    count: AtomicU32,
    /// Number of scopes that got no cell. They are counted in the cell of an outer scope or in `(others)`.
    pub(crate) without_cell: AtomicU64,
    /// Number of guards that were not dropped in the reverse order of their creation.
    pub(crate) out_of_order: AtomicU64,
    /// Number of uses of tokens after the end of their measurement. With a token, other threads may enter a scope.
    pub(crate) late_tokens: AtomicU64,
}

/// The identity of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScopeKey {
    pub(crate) parent: u32,
    /// Hash of the whole name.
    pub(crate) name: u64,
    /// Number of the measurement among the measurements with the same name; 0 for a scope that threads share.
    pub(crate) instance: u32,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct ScopeCell {
    parent: u32,
    depth: u32,
    name_hash: u64,
    instance: u32,
    name_bytes: u32,
    name: [u8; SCOPE_NAME_BYTES_MAX],
    /// Number of the stack that consists of the frames of this scope and its parents alone; 0 until it is known.
    stack: AtomicU32,
    state: AtomicU32,
    /// Number of measurements that have used the cell.
    uses: AtomicU32,
    /// Whether a token for other threads exists in the current use of the scope.
    has_tokens: AtomicU32,
    /// Number of threads that entered the scope with a token and have not left it.
    inside: AtomicU32,
    latch: Latch,
    account: ScopeAccount,
}

/// Figures of a scope, including the scopes nested in it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScopeAccount {
    pub(crate) sums: ScopeSums,
    pub(crate) peak_bytes: i64,
    /// Number of threads in `shares`, plus one if there was no room for further threads.
    pub(crate) threads: u32,
    shares: [Share; SHARES],
}

/// A thread's part of a scope's live bytes, from which the error bound of the peak is computed.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    row: u32,
    span: u32,
    /// Live bytes that the thread has added since its lane was last booked up to its head; `rise` is the highest value
    /// of `live` so far.
    live: i64,
    rise: i64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ScopeSums {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) reallocs: u64,
}

/// Consecutive events of one lane in one scope, before they are added to the scope's account.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScopeTally {
    pub(crate) scope: u32,
    pub(crate) sums: ScopeSums,
    /// Highest number of live bytes that `sums` has reached.
    pub(crate) high_water: i64,
}

impl ScopeSums {
    pub(crate) fn live_bytes(&self) -> i64 {
        self.total_bytes.wrapping_sub(self.freed_bytes) as i64
    }

    /// Adds `more`, with wrapping additions, because a subtraction is the addition of a two's complement.
    pub(crate) fn add(&mut self, more: &ScopeSums) {
        for (sum, more) in self.each_with(more) {
            *sum = sum.wrapping_add(more);
        }
    }

    /// Returns the difference to earlier sums.
    pub(crate) fn since(mut self, before: &ScopeSums) -> ScopeSums {
        for (sum, before) in self.each_with(before) {
            *sum = sum.wrapping_sub(before);
        }
        self
    }

    fn each_with(&mut self, other: &ScopeSums) -> [(&mut u64, u64); 5] {
        [
            (&mut self.total_blocks, other.total_blocks),
            (&mut self.total_bytes, other.total_bytes),
            (&mut self.freed_blocks, other.freed_blocks),
            (&mut self.freed_bytes, other.freed_bytes),
            (&mut self.reallocs, other.reallocs),
        ]
    }
}

impl ScopeAccount {
    fn add(&mut self, tally: &ScopeTally, row: u32, span: u32) {
        self.peak_bytes = self.peak_bytes.max(self.sums.live_bytes().wrapping_add(tally.high_water));
        self.sums.add(&tally.sums);
        let known = self.threads.min(SHARES as u32) as usize;
        let at = self.shares[..known].iter().position(|share| share.row == row).unwrap_or(known);
        if at == known {
            self.threads = (self.threads + 1).min(SHARES as u32 + 1);
        }
        let Some(share) = self.shares.get_mut(at) else { return };
        if at == known {
            *share = Share { row, span, ..Share::default() };
        }
        if share.span != span {
            (share.span, share.live) = (span, 0);
        }
        share.rise = share.rise.max(share.live.wrapping_add(tally.high_water));
        share.live = share.live.wrapping_add(tally.sums.live_bytes());
    }

    /// Returns the bytes by which the true peak can exceed `peak_bytes`: 0 with one thread, otherwise the sum of the
    /// threads' `rise`. With more threads than shares, the bound assumes that all bytes that were ever allocated were
    /// live at one time.
    pub(crate) fn uncertainty_bytes(&self) -> u64 {
        match self.threads as usize {
            0 | 1 => 0,
            threads if threads > SHARES => {
                self.sums.total_bytes.saturating_sub(self.peak_bytes.max(0) as u64)
            }
            threads => self.shares[..threads].iter().map(|share| share.rise.max(0) as u64).sum(),
        }
    }

    /// Resets the peak and the threads for a measurement. The caller has checked that no block of the cell is live.
    fn begin(&mut self) {
        *self = ScopeAccount { sums: self.sums, ..ScopeAccount::default() };
    }
}

impl ScopeCell {
    pub(crate) fn name(&self) -> &[u8] {
        self.name.get(..self.name_bytes as usize).unwrap_or(&[])
    }

    pub(crate) fn parent(&self) -> u32 {
        self.parent
    }

    pub(crate) fn account(&self) -> &ScopeAccount {
        &self.account
    }

    fn key(&self) -> ScopeKey {
        ScopeKey { parent: self.parent, name: self.name_hash, instance: self.instance }
    }
}

impl Scopes {
    /// Returns the number of the last cell.
    pub(crate) fn count(&self) -> u32 {
        // Acquire: pairs with the release in `push`; every number up to the count has a complete cell.
        self.count.load(Ordering::Acquire).min(SCOPES_MAX)
    }

    /// Returns the page of the cells and the number of the last cell, for the reader of a black box.
    pub(crate) fn place(&self) -> (u32, u32) {
        // relaxed: written before the count was published.
        (self.page.load(Ordering::Relaxed), self.count())
    }

    /// Returns the bytes of the pages that hold the cells, their hash table, and the scopes of stacks if there are
    /// `sites` sites.
    pub(crate) fn bytes(&self, sites: u32) -> u64 {
        let (page, count) = self.place();
        let pages_of = |items: u32, bytes: usize| (items as usize * bytes).div_ceil(PAGE_BYTES) as u32;
        let pages = pages_of(count.saturating_add(1), size_of::<ScopeCell>())
            + count.min(SLOT_PAGES)
            + pages_of(sites, 4).min(STACK_PAGES);
        if page == 0 { 0 } else { u64::from(pages) * PAGE_BYTES as u64 }
    }

    fn at(&self, pages: &Pages, number: u32) -> *mut ScopeCell {
        // relaxed: written before the count was published.
        pages.at(self.page.load(Ordering::Relaxed)).cast::<ScopeCell>().wrapping_add(number as usize)
    }

    /// Returns the cell with this number.
    fn cell(&self, pages: &Pages, number: u32) -> Option<&ScopeCell> {
        // SAFETY: G1, a number up to the count has a cell. Accounts are accessed through `account` only.
        (1..=self.count()).contains(&number).then(|| unsafe { &*self.at(pages, number) })
    }

    fn slot(&self, pages: &Pages, slot: u32) -> &AtomicU32 {
        // relaxed: written before the count was published.
        let start = pages.at(self.page.load(Ordering::Relaxed) + CELL_PAGES).cast::<AtomicU32>();
        // SAFETY: G1, the run has a page for each of the slots.
        unsafe { &*start.wrapping_add((slot % SLOTS) as usize) }
    }

    /// Returns the number of the cell with a key, or 0 if there is none.
    pub(crate) fn find(&self, pages: &Pages, key: ScopeKey) -> u32 {
        if self.count() == 0 {
            return 0;
        }
        for step in 0..SLOTS {
            // Acquire: pairs with the release in `push`.
            let number = self.slot(pages, slot_of(key) + step).load(Ordering::Acquire);
            if self.cell(pages, number).is_none_or(|cell| cell.key() == key) {
                return number;
            }
        }
        0
    }

    /// Returns the number of the cell with a key, and makes the cell if there is none. Returns `None` if the latch is
    /// not free in time, there is no room, too many cells have the name, or the nesting is too deep.
    pub(crate) fn find_or_make(&self, pages: &Pages, key: ScopeKey, name: &[u8]) -> Option<u32> {
        match self.find(pages, key) {
            0 => {}
            number => return Some(number),
        }
        if self.count() == SCOPES_MAX {
            return None;
        }
        // The limit is longer than a holder needs on a busy machine. The wait has a limit because this code may run in
        // a signal handler that interrupted the holder.
        let _taken = self.latch.take_in_rounds(CELL_ROUNDS_MAX)?;
        // relaxed: the latch orders the accesses.
        if self.page.load(Ordering::Relaxed) == 0 {
            self.page.store(pages.take_unheld(CELL_PAGES + SLOT_PAGES + STACK_PAGES)?, Ordering::Relaxed);
            let others = ScopeKey { parent: 0, name: hash_of(b"(others)"), instance: 0 };
            self.push(pages, others, 1, b"(others)")?;
        }
        match self.find(pages, key) {
            0 => {}
            number => return Some(number),
        }
        let depth = self.cell(pages, key.parent).map_or(1, |parent| parent.depth + 1);
        let all = (1..=self.count()).filter_map(|number| self.cell(pages, number));
        let of_name = all.filter(|cell| cell.name_hash == key.name).count() as u32;
        if depth as usize > SCOPE_DEPTH_MAX || of_name >= SCOPES_PER_NAME_MAX {
            return None;
        }
        self.push(pages, key, depth, name)
    }

    /// Adds a cell. The caller holds the latch.
    fn push(&self, pages: &Pages, key: ScopeKey, depth: u32, name: &[u8]) -> Option<u32> {
        // relaxed: the latch orders the accesses.
        let number = self.count.load(Ordering::Relaxed) + 1;
        if number > SCOPES_MAX {
            return None;
        }
        let kept = &name[name.len() - name.len().min(SCOPE_NAME_BYTES_MAX)..];
        // SAFETY: G1, the cell is not published yet, and zeroed pages are a valid cell.
        let cell = unsafe { &mut *self.at(pages, number) };
        (cell.parent, cell.depth, cell.name_hash, cell.instance) =
            (key.parent, depth, key.name, key.instance);
        cell.name[..kept.len()].copy_from_slice(kept);
        cell.name_bytes = kept.len() as u32;
        // relaxed: published with the count.
        cell.state.store(if key.instance == 0 { SHARED } else { IDLE }, Ordering::Relaxed);
        // Release, both: pair with the acquires in `count` and `find`.
        self.count.store(number, Ordering::Release);
        let free = (0..SLOTS).map(|step| self.slot(pages, slot_of(key) + step));
        let mut free = free.filter(|slot| slot.load(Ordering::Relaxed) == 0);
        free.next()?.store(number, Ordering::Release);
        Some(number)
    }

    /// Returns the key of a cell.
    pub(crate) fn key_of(&self, pages: &Pages, number: u32) -> Option<ScopeKey> {
        self.cell(pages, number).map(ScopeCell::key)
    }

    /// Calls `visit` with the name of a cell.
    pub(crate) fn with_name<T>(
        &self,
        pages: &Pages,
        number: u32,
        visit: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        self.cell(pages, number).map(|cell| visit(cell.name()))
    }

    /// Returns the parent of a cell; 0 if it has none.
    pub(crate) fn parent_of(&self, pages: &Pages, number: u32) -> u32 {
        self.cell(pages, number).map_or(0, |cell| cell.parent)
    }

    /// Returns a scope and the scopes around it, innermost first, and then zeros.
    pub(crate) fn chain(&self, pages: &Pages, number: u32) -> [u32; SCOPE_DEPTH_MAX] {
        let (mut chain, mut at) = ([0; SCOPE_DEPTH_MAX], number);
        for place in &mut chain {
            *place = at;
            at = self.parent_of(pages, at);
        }
        chain
    }

    /// Returns the field for the number of the stack that consists of the frames of a scope and its parents alone.
    pub(crate) fn stack_of_scope(&self, pages: &Pages, number: u32) -> Option<&AtomicU32> {
        self.cell(pages, number).map(|cell| &cell.stack)
    }

    fn scope_of_stack(&self, pages: &Pages, stack: u32) -> Option<&AtomicU32> {
        // relaxed: written before any stack has a scope.
        let page = self.page.load(Ordering::Relaxed);
        if page == 0 || stack >= STACKS {
            return None;
        }
        let start = pages.at(page + CELL_PAGES + SLOT_PAGES).cast::<AtomicU32>();
        // SAFETY: G1, the run has room for every stack.
        Some(unsafe { &*start.wrapping_add(stack as usize) })
    }

    /// Stores the scope of a stack. Called before an event with the stack is published.
    pub(crate) fn note_stack(&self, pages: &Pages, stack: u32, scope: u32) {
        if let Some(place) = self.scope_of_stack(pages, stack) {
            // relaxed: published with the head of a ring that holds the stack's number.
            place.store(scope, Ordering::Relaxed);
        }
    }

    /// Returns the scope of a stack; 0 if it has none.
    pub(crate) fn of_stack(&self, pages: &Pages, stack: u32) -> u32 {
        // relaxed: the stack's number was read from a ring, behind its head.
        self.scope_of_stack(pages, stack).map_or(0, |place| place.load(Ordering::Relaxed))
    }

    /// Adds a lane's events to the accounts of their scope and of its parents. `row` is the row of the lane's thread.
    /// `span` is a number that changes each time the lane has been booked up to its head.
    pub(crate) fn commit(&self, pages: &Pages, tally: &ScopeTally, row: u32, span: u32) {
        for number in self.chain(pages, tally.scope) {
            self.account(pages, number, |account| account.add(tally, row, span));
        }
    }

    /// Runs `work` on the account of a scope, under the latch of the scope's cell.
    fn account<T>(&self, pages: &Pages, number: u32, work: impl FnOnce(&mut ScopeAccount) -> T) -> Option<T> {
        let cell = self.cell(pages, number)?;
        let _taken = cell.latch.take();
        // SAFETY: G2, the latch is held.
        Some(work(unsafe { &mut (*self.at(pages, number)).account }))
    }

    /// Returns a copy of a scope's account.
    pub(crate) fn read(&self, pages: &Pages, number: u32) -> ScopeAccount {
        self.account(pages, number, |account| *account).unwrap_or_default()
    }

    /// Takes a cell for one measurement, if the cell is not in use and none of its blocks is live. Resets the peak and
    /// the threads of the cell's account, and returns the account.
    pub(crate) fn take(&self, pages: &Pages, number: u32) -> Option<ScopeAccount> {
        let cell = self.cell(pages, number)?;
        // relaxed, where nothing else is said: the accounts are behind latches.
        cell.state.compare_exchange(IDLE, TAKEN, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        cell.has_tokens.store(0, Ordering::Relaxed);
        // Sequentially consistent, both: pair with `begin_inside`; a thread that enters by an old token sees the new
        // use, or this thread sees that the other thread has entered.
        cell.uses.fetch_add(1, Ordering::SeqCst);
        let is_entered = cell.inside.load(Ordering::SeqCst) != 0;
        let begun = self.account(pages, number, |account| {
            let sums = account.sums;
            let is_empty = sums.total_blocks == sums.freed_blocks && !is_entered;
            if is_empty {
                account.begin();
            }
            is_empty.then_some(*account)
        });
        let begun = begun.flatten();
        if begun.is_none() {
            cell.state.store(IDLE, Ordering::Relaxed);
        }
        begun
    }

    /// Gives back a cell that [`Scopes::take`] has taken.
    pub(crate) fn give_back(&self, pages: &Pages, number: u32) {
        if let Some(cell) = self.cell(pages, number) {
            // relaxed: see `take`.
            cell.state.store(IDLE, Ordering::Relaxed);
        }
    }

    /// Returns the cells of a scope and of the scopes around it.
    fn cells(&self, pages: &Pages, number: u32) -> impl Iterator<Item = &ScopeCell> {
        self.chain(pages, number).into_iter().filter_map(|number| self.cell(pages, number))
    }

    /// Notes that other threads may enter a scope. Returns the sum of the uses of the scope and of the scopes around
    /// it.
    pub(crate) fn note_token(&self, pages: &Pages, number: u32) -> u32 {
        self.cells(pages, number).for_each(|cell| cell.has_tokens.store(1, Ordering::Relaxed));
        self.uses(pages, number)
    }

    /// Whether other threads may have entered a scope in its present use.
    pub(crate) fn has_tokens(&self, pages: &Pages, number: u32) -> bool {
        // relaxed: this thread made the token, or received it through the program's synchronisation.
        self.cell(pages, number).is_some_and(|cell| cell.has_tokens.load(Ordering::Relaxed) != 0)
    }

    fn uses(&self, pages: &Pages, number: u32) -> u32 {
        // Sequentially consistent: see `take`.
        self.cells(pages, number).map(|cell| cell.uses.load(Ordering::SeqCst)).fold(0, u32::wrapping_add)
    }

    /// Notes that a thread enters a scope by a token; `uses` is the number that `note_token` returned for the token.
    /// Returns `false` if the measurement for which the token was made has ended.
    pub(crate) fn begin_inside(&self, pages: &Pages, number: u32, uses: u32) -> bool {
        // Sequentially consistent: see `take`.
        for cell in self.cells(pages, number) {
            cell.inside.fetch_add(1, Ordering::SeqCst);
        }
        let is_under_way = self.cells(pages, number).all(|cell| cell.state.load(Ordering::SeqCst) != IDLE);
        let may_enter = is_under_way && self.uses(pages, number) == uses;
        if !may_enter {
            self.end_inside(pages, number);
            // relaxed: a statistic, which needs no ordering.
            self.late_tokens.fetch_add(1, Ordering::Relaxed);
        }
        may_enter
    }

    /// Notes that a thread has left a scope that it entered by a token.
    pub(crate) fn end_inside(&self, pages: &Pages, number: u32) {
        // Sequentially consistent: see `take`.
        for cell in self.cells(pages, number) {
            cell.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Copies the cells of the table of a parent process, after a fork. The copies have the same numbers, and no
    /// figures.
    pub(crate) fn adopt(&self, pages: &Pages, parent: &Scopes, pages_of_parent: &Pages) {
        for number in 1..=parent.count() {
            let Some(cell) = parent.cell(pages_of_parent, number) else { return };
            if self.find_or_make(pages, cell.key(), cell.name()) != Some(number) {
                return;
            }
            if let Some(own) = self.cell(pages, number) {
                // relaxed, both: the process has one thread.
                own.state.store(cell.state.load(Ordering::Relaxed), Ordering::Relaxed);
                own.uses.store(cell.uses.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

/// Returns the hash of a scope's name.
pub(crate) const fn hash_of(name: &[u8]) -> u64 {
    // FNV-1a (Fowler, Noll and Vo).
    let (mut hash, mut at) = (0xCBF2_9CE4_8422_2325u64, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
        at += 1;
    }
    hash
}

fn slot_of(key: ScopeKey) -> u32 {
    let mixed = key.name ^ u64::from(key.parent) << 32 ^ u64::from(key.instance);
    (super::table::spread(mixed) >> 40) as u32 % SLOTS
}
