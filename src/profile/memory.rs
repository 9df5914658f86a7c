//! The memory of the process, as the system and the allocator below heapledger see it.

use serde::{Deserialize, Serialize};

/// What the system and the allocator said of the memory of the process. A figure that nobody gave is `None`.
///
/// The figures of the process and of the allocator were read one after another, at the snapshot. While other threads
/// allocate, they differ by what those did meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// Highest resident memory that was read in each interval of the [timeline](super::Timeline), in bytes; 0 where
    /// none was read. It is read a few times a second at most, and only while heapledger's thread runs.
    pub resident_by_interval: Vec<u64>,
    /// Resident memory at the snapshot, in bytes.
    pub resident_bytes: Option<u64>,
    /// Resident memory at the snapshot that is of no file, in bytes.
    pub anonymous_bytes: Option<u64>,
    /// Highest resident memory of the process, in bytes, as the system keeps it.
    pub highest_resident_bytes: Option<u64>,
    /// Memory of the process in swap, in bytes.
    pub swapped_bytes: Option<u64>,
    /// Name of the allocator of the next two figures. Empty if there are none.
    pub allocator: String,
    /// Bytes that the allocator has given out, to the program and to code that does not call through heapledger.
    pub allocator_used_bytes: Option<u64>,
    /// Free bytes that the allocator keeps, also those whose pages it has returned to the system.
    pub allocator_free_bytes: Option<u64>,
    /// Bytes that the live blocks take in the allocator, with its rounding and heads: at least this many. `None` if the
    /// allocator of the program is another one.
    pub blocks_at_least_bytes: Option<u64>,
    /// Bytes that the live blocks take in the allocator: at most this many.
    pub blocks_at_most_bytes: Option<u64>,
    /// Bytes of the large live blocks ([`LARGE_BLOCK_BYTES`] and more) whose pages were looked at.
    pub large_blocks_bytes: Option<u64>,
    /// Resident bytes of these blocks. The difference was asked for and never touched, or is in swap.
    pub large_blocks_resident_bytes: Option<u64>,
}

/// Size from which the pages of a live block are looked at, in bytes.
pub const LARGE_BLOCK_BYTES: u64 = 256 << 10;

impl ProcessMemory {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == ProcessMemory::default()
    }
}
