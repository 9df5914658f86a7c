//! Scopes in a profile: named parts of the program's work, each with its figures.

use serde::{Deserialize, Serialize};

/// Upper bits of the addresses that represent scopes in stacks. No code has such an address.
const SCOPE_ADDRESSES: u64 = 0xFFFF_5C00_0000_0000;

/// The figures of one scope, which include the scopes nested in it.
///
/// Scope number `n`, counted from 1, is row `n - 1` of [`Profile::scopes`](super::Profile::scopes). A name that is used
/// inside two different scopes has two rows. The stack of an allocation in a scope ends with one frame for each scope
/// around the allocation, outermost scope last. The address of such a frame is [`scope_address`] of the scope's number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Name of the scope.
    pub name: String,
    /// Number of the scope in which this scope is nested; 0 for an outermost scope.
    pub parent: u32,
    /// Number of blocks allocated in the scope. A successful realloc counts as one more block.
    pub total_blocks: u64,
    /// Bytes allocated in the scope.
    pub total_bytes: u64,
    /// Number of blocks of the scope that were freed, in any scope and by any thread.
    pub freed_blocks: u64,
    /// Bytes of the scope that were freed.
    pub freed_bytes: u64,
    /// Number of successful reallocs in the scope.
    pub reallocs: u64,
    /// Maximum of the live bytes of the scope.
    pub peak_bytes: u64,
    /// Bytes by which the true peak can exceed `peak_bytes`. 0 means that the peak is exact.
    pub peak_uncertainty_bytes: u64,
    /// Number of threads that allocated or freed blocks of the scope. All threads beyond the twelfth count as one.
    pub threads: u32,
}

/// Numbers of irregular uses of scopes. The blocks concerned are counted in another scope, or in no scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeCounts {
    /// Number of scopes for which the table had no room. The blocks of such a scope are counted in the scope around it,
    /// or in the scope `(others)`.
    pub without_room: u64,
    /// Number of scope guards that were not dropped in the reverse order of their creation, for example a guard held
    /// across an `await`. The thread stayed in the scopes whose guards it still held.
    pub out_of_order: u64,
    /// Number of times that a thread used a [`ScopeToken`](crate::scope::ScopeToken) after the measurement of the token
    /// had ended. Such a use has no effect.
    pub late_tokens: u64,
}

impl Scope {
    /// Returns the bytes that are live now.
    pub fn live_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.freed_bytes)
    }

    /// Returns the number of blocks that are live now.
    pub fn live_blocks(&self) -> u64 {
        self.total_blocks.saturating_sub(self.freed_blocks)
    }
}

/// Returns the address of the frame of a scope.
///
/// ```
/// use heapledger::profile::{scope_address, scope_of_address};
/// assert_eq!(scope_of_address(scope_address(7)), Some(7));
/// assert_eq!(scope_of_address(0x5555_0000_1234), None);
/// ```
pub const fn scope_address(number: u32) -> u64 {
    SCOPE_ADDRESSES | number as u64
}

/// Returns the number of the scope whose frame has this address, or `None` for the frame of a function.
pub const fn scope_of_address(address: u64) -> Option<u32> {
    if address & !0xFFFF == SCOPE_ADDRESSES && address & 0xFFFF != 0 {
        Some(address as u32 & 0xFFFF)
    } else {
        None
    }
}
