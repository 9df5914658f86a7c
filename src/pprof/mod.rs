//! The format of `pprof`, `profile.proto`: its messages, and their encoding.
//!
//! `go tool pprof`, Pyroscope, Parca, Perfetto and others read it. [`of`] makes a message of a profile as it is in the process,
//! with addresses in place of names; readers find the names by the build ids. The `heapledger` command has the names, and makes
//! messages with them.
//!
//! * A text is an index into the string table, whose element 0 is the empty text; ids start at 1.
//! * Values are signed; larger ones are clamped.
//! * Every location has a mapping, because some readers do not take one without: where there is no object, the synthetic mapping
//!   [`NO_OBJECT`]. Its name begins with `[`, so that no reader looks for its file.

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
