//! The file format of `pprof` (`profile.proto`): its messages, and their encoding.
//!
//! `go tool pprof`, Pyroscope, Parca, Perfetto and others read this format. [`of`] makes a message in the recorded
//! process. Such a message has addresses in place of names, and readers look up the names by the build ids. The
//! `heapledger` command knows the names, so its messages contain names.
//!
//! * A text is given as an index into the string table, whose element 0 is the empty text. Ids start at 1.
//! * Values are signed numbers of 64 bits. Larger figures are clamped.
//! * Every location has a mapping, because some readers reject a location without a mapping. A location outside all
//!   objects has the synthetic mapping [`NO_OBJECT`], whose name begins with `[`, so that no reader searches for its
//!   file.

mod encode;
mod heap;
mod message;
mod texts;

pub use encode::{encode, gzip};
pub use heap::{Kind, of};
pub use message::{
    Function, Label, Line, Location, Mapping, Message, NO_OBJECT, NO_STACK, Sample, ValueType, signed,
};
pub use texts::Texts;
