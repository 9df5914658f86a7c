//! Inner allocators: one that counts and can refuse, one that a signal handler may call, one that calls the global
//! allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// The four methods, as indices into [`SERVED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Method {
    Alloc = 0,
    AllocZeroed = 1,
    Dealloc = 2,
    Realloc = 3,
}

/// Number of served calls, by method.
static SERVED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// Bytes requested and bytes returned, over all served calls.
static ASKED_BYTES: AtomicU64 = AtomicU64::new(0);
static RETURNED_BYTES: AtomicU64 = AtomicU64::new(0);
static PEAK_BYTES: AtomicU64 = AtomicU64::new(0);
/// Number of calls still to refuse, by method.
static REFUSE: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// Minimum size that is mapped directly and without reserve, so that a test can request more memory than the machine
/// has.
pub const MAPPED_FROM: usize = 1 << 30;

/// Forwards to the system's allocator, counts the served calls, and refuses calls on request.
#[derive(Debug)]
pub struct Scripted;

/// Number of refused reallocs.
static REALLOCS_REFUSED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of events so far: the served calls and the refused reallocs. The first half of a refused realloc
/// was already recorded.
pub fn served() -> u64 {
    SERVED.iter().chain([&REALLOCS_REFUSED]).map(|calls| calls.load(SeqCst)).sum()
}

/// Returns the number of served calls of one method.
pub fn served_by(method: Method) -> u64 {
    SERVED[method as usize].load(SeqCst)
}

/// Returns the bytes requested, the bytes returned, and the maximum of the difference.
pub fn bytes() -> (u64, u64, u64) {
    (ASKED_BYTES.load(SeqCst), RETURNED_BYTES.load(SeqCst), PEAK_BYTES.load(SeqCst))
}

/// Makes every forked child count from 0.
pub fn forget_at_fork() {
    extern "C" fn forget() {
        for calls in SERVED.iter().chain([&REALLOCS_REFUSED]) {
            calls.store(0, SeqCst);
        }
    }
    // SAFETY: the handler lives as long as the program.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(forget)) }, 0);
}

/// Makes the next `calls` calls of a method fail.
pub fn refuse(method: Method, calls: u64) {
    REFUSE[method as usize].store(calls, SeqCst);
}

/// Size of the blocks that have a fixed address, in bytes; 0 if no block has.
static PLACED_BYTES: AtomicUsize = AtomicUsize::new(0);
static PLACE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Gives every later block of this size the same address, as an allocator does that reuses the last freed block. The
/// program must have only one block of this size at a time.
pub fn place_all_of(bytes: usize) {
    // SAFETY: the size is not zero.
    let place = unsafe { System.alloc(Layout::from_size_align(bytes, 16).expect("a small size")) };
    PLACE.store(place, SeqCst);
    PLACED_BYTES.store(bytes, SeqCst);
}

/// Returns the fixed address, if blocks of this size have it.
fn placed(layout: Layout) -> Option<*mut u8> {
    (layout.size() == PLACED_BYTES.load(SeqCst)).then(|| PLACE.load(SeqCst))
}

/// Address of a `fn()` that the next realloc calls once, before its work; 0 if there is none.
static AMID_A_REALLOC: AtomicUsize = AtomicUsize::new(0);

/// Makes the next realloc call a function before its work.
pub fn amid_a_realloc(call: fn()) {
    AMID_A_REALLOC.store(call as usize, SeqCst);
}

/// One call, as the inner allocator received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    pub block: usize,
    pub size: usize,
    pub align: usize,
    pub new_size: usize,
    pub returned: usize,
}

thread_local! {
    static LAST: Cell<Option<Call>> = const { Cell::new(None) };
    static OF_THREAD: Cell<[u64; 3]> = const { Cell::new([0; 3]) };
}

/// Returns the last call of this thread.
pub fn last_call() -> Option<Call> {
    LAST.get()
}

/// Returns the numbers of allocations, of reallocs and of requested bytes that this thread was served.
pub fn of_this_thread() -> [u64; 3] {
    OF_THREAD.get()
}

fn is_refused(method: Method) -> bool {
    REFUSE[method as usize].fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn note(method: Method, block: *mut u8, layout: Layout, new_size: usize, returned: *mut u8) {
    let call = Call {
        method,
        block: block.addr(),
        size: layout.size(),
        align: layout.align(),
        new_size,
        returned: returned.addr(),
    };
    let _ = LAST.try_with(|last| last.set(Some(call)));
    if returned.is_null() && method != Method::Dealloc {
        if method == Method::Realloc {
            REALLOCS_REFUSED.fetch_add(1, SeqCst);
        }
        return;
    }
    SERVED[method as usize].fetch_add(1, SeqCst);
    let (asked, given_back) = match method {
        Method::Alloc | Method::AllocZeroed => (layout.size(), 0),
        Method::Dealloc => (0, layout.size()),
        Method::Realloc => (new_size, layout.size()),
    };
    let _ = OF_THREAD.try_with(|sums| {
        let [allocs, reallocs, bytes] = sums.get();
        let is_alloc = matches!(method, Method::Alloc | Method::AllocZeroed);
        sums.set([
            allocs + u64::from(is_alloc),
            reallocs + u64::from(method == Method::Realloc),
            bytes + asked as u64,
        ]);
    });
    let returned = RETURNED_BYTES.fetch_add(given_back as u64, SeqCst) + given_back as u64;
    let asked = ASKED_BYTES.fetch_add(asked as u64, SeqCst) + asked as u64;
    // Exact while one thread allocates.
    PEAK_BYTES.fetch_max(asked.saturating_sub(returned), SeqCst);
}

fn map(bytes: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping overlaps no other memory.
    let block = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if block == libc::MAP_FAILED { null_mut() } else { block.cast() }
}

/// Reallocates from or to a mapped size.
///
/// # Safety
/// The conditions are those of [`GlobalAlloc::realloc`].
unsafe fn remap(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the block is copied into the new block, then freed by the method of its size.
    unsafe {
        if layout.size() >= MAPPED_FROM && new_size >= MAPPED_FROM {
            let new = libc::mremap(block.cast(), layout.size(), new_size, libc::MREMAP_MAYMOVE);
            return if new == libc::MAP_FAILED { null_mut() } else { new.cast() };
        }
        let new_layout = Layout::from_size_align_unchecked(new_size, layout.align());
        let new = if new_size >= MAPPED_FROM { map(new_size) } else { System.alloc(new_layout) };
        if !new.is_null() {
            block.copy_to_nonoverlapping(new, layout.size().min(new_size));
            if layout.size() >= MAPPED_FROM {
                libc::munmap(block.cast(), layout.size());
            } else {
                System.dealloc(block, layout);
            }
        }
        new
    }
}

// SAFETY: blocks come from the system's allocator or from a new mapping, and their size tells from which, so they go
// back there; a refusal returns null.
unsafe impl GlobalAlloc for Scripted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match layout.size() {
            _ if is_refused(Method::Alloc) => null_mut(),
            _ if placed(layout).is_some() => PLACE.load(SeqCst),
            size if size >= MAPPED_FROM => map(size),
            // SAFETY: the caller's promise, passed on.
            _ => unsafe { System.alloc(layout) },
        };
        note(Method::Alloc, null_mut(), layout, 0, block);
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = match layout.size() {
            _ if is_refused(Method::AllocZeroed) => null_mut(),
            size if size >= MAPPED_FROM => map(size),
            // SAFETY: the caller's promise, passed on.
            _ => unsafe { System.alloc_zeroed(layout) },
        };
        note(Method::AllocZeroed, null_mut(), layout, 0, block);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(Method::Dealloc, block, layout, 0, null_mut());
        if placed(layout) == Some(block) {
            return;
        }
        if layout.size() >= MAPPED_FROM {
            // SAFETY: blocks of this size were mapped by us, with this size.
            unsafe { libc::munmap(block.cast(), layout.size()) };
        } else {
            // SAFETY: the caller's promise, passed on.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let call = AMID_A_REALLOC.swap(0, SeqCst);
        if call != 0 {
            // SAFETY: the only other value that is ever stored is the address of a `fn()`.
            unsafe { std::mem::transmute::<usize, fn()>(call)() };
        }
        let new = if is_refused(Method::Realloc) {
            null_mut()
        } else if layout.size().max(new_size) >= MAPPED_FROM {
            // SAFETY: the caller's promise, passed on.
            unsafe { remap(block, layout, new_size) }
        } else {
            // SAFETY: the caller's promise, passed on.
            unsafe { System.realloc(block, layout, new_size) }
        };
        note(Method::Realloc, block, layout, new_size, new);
        new
    }
}

/// Total number of bytes that [`Bump`] can allocate, mapped without reserve.
const ARENA_BYTES: usize = 8 << 30;

/// Allocates from one arena by an atomic addition and frees nothing, so a signal handler may call it at any time.
#[derive(Debug)]
pub struct Bump;

static ARENA: AtomicUsize = AtomicUsize::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);

fn arena() -> usize {
    let known = ARENA.load(SeqCst);
    if known != 0 {
        return known;
    }
    // The first allocation of the process, before there is a second thread or a handler.
    let start = map(ARENA_BYTES).expose_provenance();
    ARENA.store(start, SeqCst);
    start
}

// SAFETY: every block is a separate range, aligned as requested, in a mapping that is never released.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = arena();
        let room = layout.size() + layout.align();
        let end = USED.fetch_add(room, SeqCst) + room;
        if start == 0 || end > ARENA_BYTES {
            return null_mut();
        }
        let address = (start + end - room).next_multiple_of(layout.align());
        SERVED[Method::Alloc as usize].fetch_add(1, SeqCst);
        std::ptr::with_exposed_provenance_mut(address)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on. The arena is zero where nobody has written yet.
        unsafe { self.alloc(layout) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {
        SERVED[Method::Dealloc as usize].fetch_add(1, SeqCst);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the promise of `realloc`, which includes that of `alloc` for the new layout.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are valid for the smaller of the sizes, and do not overlap.
            unsafe { block.copy_to_nonoverlapping(new, layout.size().min(new_size)) };
            // `alloc` counted one served call already, and a realloc is one.
        }
        new
    }
}

/// Allocates and frees a block through the *global* allocator at each call, like an allocator with a tracing hook.
#[derive(Debug)]
pub struct CallsBack;

/// Number of calls of the global allocator, allocations and frees.
pub static CALLED_BACK: AtomicU64 = AtomicU64::new(0);
/// Whether the allocator calls back at present: 0 is no, any other value is yes.
pub static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn call_back() {
    if CALLS.load(SeqCst) == 0 || INSIDE.replace(true) {
        return;
    }
    let layout = Layout::new::<[u64; 3]>();
    // SAFETY: the size is not zero, and the block is freed with the layout with which it was allocated.
    unsafe {
        let block = std::hint::black_box(std::alloc::alloc(layout));
        std::alloc::dealloc(block, layout);
    }
    CALLED_BACK.fetch_add(2, SeqCst);
    INSIDE.set(false);
}

// SAFETY: every call is forwarded to the system's allocator.
unsafe impl GlobalAlloc for CallsBack {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_back();
        // SAFETY: the caller's promise, passed on.
        unsafe { Scripted.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        call_back();
        // SAFETY: the caller's promise, passed on.
        unsafe { Scripted.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        call_back();
        // SAFETY: the caller's promise, passed on.
        unsafe { Scripted.realloc(block, layout, new_size) }
    }
}
