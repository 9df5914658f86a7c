//! Call stacks: walked by the thread that allocates, and identified by a number.
//!
//! # Data flow
//!
//! ```text
//!  allocation ─► walk ─► hash of the return addresses ─► the thread's cache ─► number
//!                                                             │ new to this thread
//!                                    walk again, with frames ─┴─► store of all stacks ─► number
//! ```
//!
//! If the thread has met the stack before, the walk reads only the thread's stack and one word of the thread's cache,
//! and the record gets the stack's number. Only a stack that is new to the thread is written to the store that all
//! threads share. In the store, stacks are branches of one tree, so common callers are stored once.
//!
//! # Two ways to walk
//!
//! * **Frame pointers** (`walk`): two loads per frame. The result is correct only where every function of the stack
//!   keeps a frame pointer.
//! * **Rules** (`rules`): one word for each address in the code, which tells where the caller's registers are. A rule
//!   is computed once from the DWARF unwind tables (`unwind`), and stored in a table that all threads read. The part of
//!   the stack that is unchanged since the thread's last walk is compared, not walked again (`replay`).
//!
//! `Stacks::Auto` starts with frame pointers. It compares *each* stack that is new to a thread, and one in a few
//! hundred other stacks, with the unwind tables. At the first difference it changes to rules for the rest of the
//! process. So every stack in the store was checked, and its frames agree with the unwind tables. Where the tables end
//! before the frame pointers do, the stack ends as truncated, and that counts as a difference: a function without
//! unwind tables may use the frame-pointer register for anything.
//!
//! # Guarantees
//!
//! A walk reads nothing outside the thread's stack, whatever the frame pointer contains: an address below the stack
//! pointer or above the stack's end stops the walk. A walk takes no lock of the loader. Modules are found in the
//! system's list of mappings, and read through `/proc/self/mem`, which returns an error where a plain read would crash.
//! Unwind tables are copied, so that they outlive a library that is unloaded. A library that was loaded after the last
//! list of modules is noted by the first walk that meets it (`noted`).

pub(crate) mod cache;
#[allow(unsafe_code, reason = "lies in raw pages")]
pub(crate) mod intern;
pub(crate) mod modules;
#[allow(unsafe_code, reason = "asks about objects that stay loaded")]
mod noted;
#[allow(unsafe_code, reason = "lies in raw pages, and reads the thread's stack")]
pub(crate) mod replay;
#[allow(unsafe_code, reason = "lies in raw pages")]
pub(crate) mod rules;
#[allow(unsafe_code, reason = "what all threads ask lies behind a latch")]
pub(crate) mod state;
#[allow(unsafe_code, reason = "what all threads ask lies behind a latch")]
pub(crate) mod unwind;
#[allow(unsafe_code, reason = "reads the thread's stack")]
pub(crate) mod walk;

/// Maximum number of frames of a stack.
pub(crate) const STACK_FRAMES_MAX: usize = 256;

/// The reason for the end of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The walk reached the outermost frame.
    Outermost,
    /// The walk stopped before the outermost frame: after [`STACK_FRAMES_MAX`] frames, at code without an unwind rule,
    /// or where a rule leads outside the thread's stack.
    Truncated,
}

/// A hash of return addresses, which identifies a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hash(u64);

impl Hash {
    /// Begins a hash. `salt` differs by the method of walking.
    #[inline(always)]
    pub(crate) const fn new(salt: u64) -> Hash {
        Hash(salt)
    }

    #[inline(always)]
    pub(crate) const fn add(self, address: u64) -> Hash {
        Hash((self.0.rotate_left(5) ^ address).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Returns the hash so far. It can be the salt of another hash, which then continues this one.
    #[inline(always)]
    pub(crate) const fn gathered(self) -> u64 {
        self.0
    }

    /// Ends a hash. Each bit of the result depends on all addresses.
    #[inline(always)]
    pub(crate) const fn finish(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }
}

/// The frames of one walk, innermost first.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) addresses: [u64; STACK_FRAMES_MAX],
    pub(crate) len: usize,
}

impl Frames {
    pub(crate) const fn new() -> Frames {
        Frames { addresses: [0; STACK_FRAMES_MAX], len: 0 }
    }

    pub(crate) fn push(&mut self, address: u64) {
        if let Some(place) = self.addresses.get_mut(self.len) {
            *place = address;
            self.len += 1;
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u64] {
        self.addresses.get_mut(..self.len).unwrap_or(&mut [])
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.addresses.get(..self.len).unwrap_or(&[])
    }
}
