//! The columns of a frame.
//!
//! Similar values share a column: all kinds are in one, all addresses in another, and so on, so that the compressor
//! finds repetitions. Values that the model (`model`) predicts from the previous records are not written.
//!
//! | column | written for | one entry |
//! | --- | --- | --- |
//! | windows | each window | thread and time (as differences), time from word to word, number of records |
//! | kinds | each record | one byte: kind of record, encoding of its address, encoding of its shape |
//! | shapes | an allocation with another shape than predicted | number of the shape |
//! | new shapes | a shape that is new in this frame | size, stack, traits |
//! | addresses | an address that the model does not predict | difference to the previous one |
//! | depths | a reused block that was not the last of its class to be freed | number of later frees in the class |
//! | blocks | a free of a block of this frame | number of allocations since that block |
//! | size bits | a free of a block from before this frame | the size bits of the record |
//! | wide | a record that needs more than 48 bits of address or 32 of size | all its fields |
//!
//! The body of a frame consists of these columns one after the other, each preceded by its length.

/// Maximum number of records of one frame.
pub(super) const FRAME_RECORDS_MAX: usize = 1 << 18;
/// Number of columns of a frame.
pub(super) const COLUMNS: usize = 9;

pub(super) const ALLOC: u8 = 0;
pub(super) const MOVED: u8 = 16;
pub(super) const FREE: u8 = 32;
pub(super) const BEGINS: u8 = 40;
pub(super) const REFUSED: u8 = 48;
pub(super) const STARTS: u8 = 49;
pub(super) const ENDS: u8 = 50;
pub(super) const REFUSED_OTHER: u8 = 51;
pub(super) const WIDE: u8 = 56;
pub(super) const MOVED_OTHER: u8 = 64;

/// Encoding of a shape that the model predicts. `SHAPE_KNOWN`: a shape written by its number. `SHAPE_NEW`: a shape
/// written in full.
pub(super) const SHAPE_EXPECTED: u8 = 0;
pub(super) const SHAPE_KNOWN: u8 = 1;
pub(super) const SHAPE_NEW: u8 = 2;

/// Encoding of the address of a realloc that did not move its block.
pub(super) const STAYED: u8 = 4;

/// Encoding of a free of the newest block of the frame. The codes that follow: the block after the block freed last,
/// the block before it, a block of the frame by its number, a block from before the frame.
pub(super) const NEWEST: u8 = 0;
pub(super) const AFTER_LAST: u8 = 1;
pub(super) const BEFORE_LAST: u8 = 2;
pub(super) const NEAR: u8 = 3;
pub(super) const EARLIER: u8 = 4;

pub(super) const WINDOWS: usize = 0;
pub(super) const KINDS: usize = 1;
pub(super) const SHAPES: usize = 2;
pub(super) const NEW_SHAPES: usize = 3;
pub(super) const ADDRESSES: usize = 4;
pub(super) const DEPTHS: usize = 5;
pub(super) const BLOCKS: usize = 6;
pub(super) const SIZE_BITS: usize = 7;
pub(super) const WIDES: usize = 8;
