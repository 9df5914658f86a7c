//! The memory of the process, as reported by the system and by the allocator below heapledger.

use serde::{Deserialize, Serialize};

/// The memory of the process, as reported by the system and by the allocator. Unknown figures are `None`.
///
/// The figures are read one after another, at the snapshot. They can be slightly inconsistent, because other threads
/// allocate between the readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// Highest resident memory that was read in each interval of the [timeline](super::Timeline), in bytes. 0 for an
    /// interval without a reading. The background thread reads the value from time to time.
    pub resident_by_interval: Vec<u64>,
    /// Resident memory at the snapshot, in bytes.
    pub resident_bytes: Option<u64>,
    /// Resident memory at the snapshot without the pages of files, in bytes.
    pub anonymous_bytes: Option<u64>,
    /// Highest resident memory of the process so far, as the system reports it, in bytes.
    pub highest_resident_bytes: Option<u64>,
    /// Memory of the process in swap, in bytes.
    pub swapped_bytes: Option<u64>,
    /// Name of the allocator that the next four figures describe: glibc, jemalloc or mimalloc. Empty if no allocator is
    /// known.
    pub allocator: String,
    /// Bytes that the allocator has given out: to the program through heapledger, and to code that calls the allocator
    /// directly. `None` for mimalloc, which does not count these bytes.
    pub allocator_used_bytes: Option<u64>,
    /// Upper bound of the bytes that the allocator holds but has not given out: free bytes and its internal tables.
    /// Pages that it has returned to the system may be included. If `allocator_used_bytes` is `None`, the figure is
    /// everything that the allocator holds beyond `blocks_at_least_bytes`, including bytes of code that calls the
    /// allocator directly.
    pub allocator_free_bytes: Option<u64>,
    /// Lower bound of the bytes that the live blocks take in the allocator, including rounding and headers. `None` if
    /// heapledger does not allocate from this allocator, or if the live blocks are not known.
    pub blocks_at_least_bytes: Option<u64>,
    /// Upper bound of the bytes that the live blocks take in the allocator, including alignment and separate mappings.
    /// `None` if `blocks_at_least_bytes` is `None`.
    pub blocks_at_most_bytes: Option<u64>,
    /// Bytes of the live blocks whose pages were examined. Only blocks of [`LARGE_BLOCK_BYTES`] or more are examined.
    pub large_blocks_bytes: Option<u64>,
    /// Resident bytes of the blocks in `large_blocks_bytes`. The other bytes of these blocks were never touched, or are
    /// in swap.
    pub large_blocks_resident_bytes: Option<u64>,
}

/// Minimum size of a live block whose pages are examined, in bytes.
pub const LARGE_BLOCK_BYTES: u64 = 256 << 10;

impl ProcessMemory {
    /// Whether no figure is known.
    pub fn is_empty(&self) -> bool {
        *self == ProcessMemory::default()
    }
}
