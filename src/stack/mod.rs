//! Call stacks: taken by the thread that allocates, named by a number.
//!
//! # The way of a stack
//!
//! ```text
//!  allocation ─► walk ─► hash of the return addresses ─► the thread's cache ─► number
//!                                                             │ new to this thread
//!                                    walk again, with frames ─┴─► store of all stacks ─► number
//! ```
//!
//! A walk that finds a known stack writes nothing but its number: it reads the thread's own stack, and one word of the
//! thread's cache. Only a stack that the thread has not had before is written out, to a store that all threads share and
//! in which stacks are branches of one tree, so that common callers are kept once.
//!
//! # Two ways to walk
//!
//! * **Frame pointers** (`walk`): two loads a frame. Right only where every function on the way keeps one.
//! * **Rules** (`rules`): for each address in the code, where the caller's registers lie, in one word. A rule is worked out
//!   once from the DWARF unwind tables (`unwind`) and kept in a table that all threads read. What of the stack is as it was
//!   at the thread's last walk is not walked again but compared (`replay`).
//!
//! `Stacks::Auto` starts with frame pointers and compares *each* stack that is new to a thread, and one in a few hundred of
//! those that are not, with what the unwind tables say; with the first difference it goes over to rules, for good. So a
//! stack is never written out that was not checked, and what is written out are the frames that the unwind tables give.
//! Where the tables end before the frame pointers do, the stack ends there as truncated, and that is a difference too: a
//! function that the tables do not tell of may hold anything in that register.
//!
//! # What holds
//!
//! Nothing outside the thread's own stack is read, whatever the frame pointer holds: an address below the stack pointer or
//! above the stack's end stops the walk. No loader lock is taken: modules are found in the system's list of mappings and
//! read through `/proc/self/mem`, which fails where a plain read would crash. Unwind tables are copied, so that a library
//! that is unloaded takes nothing away.

pub(crate) mod cache;
#[allow(unsafe_code, reason = "lies in raw pages")]
pub(crate) mod intern;
pub(crate) mod modules;
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

/// Frames of one stack at most.
pub(crate) const STACK_FRAMES_MAX: usize = 256;

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At the outermost frame, as far as this way of walking can tell.
    Outermost,
    /// Before it: too many frames, or one that nothing is known of.
    Truncated,
}

/// Gathers return addresses into one number, which stands for the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hash(u64);

impl Hash {
    /// `salt` tells apart what is gathered in different ways.
    #[inline(always)]
    pub(crate) const fn new(salt: u64) -> Hash {
        Hash(salt)
    }

    #[inline(always)]
    pub(crate) const fn add(self, address: u64) -> Hash {
        Hash((self.0.rotate_left(5) ^ address).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// What was gathered so far; another one goes on with it as its salt.
    #[inline(always)]
    pub(crate) const fn gathered(self) -> u64 {
        self.0
    }

    /// All bits depend on all addresses.
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

    pub(crate) fn as_slice(&self) -> &[u64] {
        self.addresses.get(..self.len).unwrap_or(&[])
    }
}
