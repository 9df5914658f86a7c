//! The columns of a frame.
//!
//! A frame stores its records by columns of similar values, such as all kinds or all addresses, so that the compressor
//! finds repetitions. Values that the model (`model`) predicts from the previous records are not written.
//!
//! | column | written for | one entry |
//! | --- | --- | --- |
//! | windows | each window | thread and time (as differences), time from word to word, number of records |
//! | kinds | each record | one byte: kind of record, encoding of its address, encoding of its shape |
//! | shapes | an allocation with another shape than predicted | number of the shape |
//! | new shapes | a shape that is new in this frame | size, stack, traits |
//! | addresses | an address that the model does not predict | difference to an earlier address of the thread |
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

/// Code of a shape (size, stack and traits of a block) that the model predicts. `SHAPE_KNOWN` is the code of a shape
/// that is written as its number, and `SHAPE_NEW` is the code of a shape that is written in full.
pub(super) const SHAPE_EXPECTED: u8 = 0;
pub(super) const SHAPE_KNOWN: u8 = 1;
pub(super) const SHAPE_NEW: u8 = 2;

/// Code of the address of a realloc that did not move its block.
pub(super) const STAYED: u8 = 4;

/// Code of a free of the newest block of the frame. The next codes are for a free of the block that was allocated after
/// the block freed last (`AFTER_LAST`), or before that block (`BEFORE_LAST`), of another block of the frame (`NEAR`),
/// and of a block from before the frame (`EARLIER`).
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
