//! Columns of the tables, and values of their cells.

use parquet::data_type::ByteArray;

/// Type of the values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Signed 64-bit number.
    Int,
    /// Signed 64-bit number, or null.
    MaybeInt,
    /// Double-precision number, or null.
    MaybeReal,
    /// Text in UTF-8.
    Text,
    /// Text in UTF-8, or null.
    MaybeText,
    /// Truth value.
    Flag,
    /// Truth value, or null.
    MaybeFlag,
    /// Instant in UTC, in microseconds.
    Instant,
}

impl Kind {
    /// Whether a cell may be null.
    pub const fn is_nullable(self) -> bool {
        matches!(self, Kind::MaybeInt | Kind::MaybeReal | Kind::MaybeText | Kind::MaybeFlag)
    }
}

/// Column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name of the column. The name ends with the unit, unless the values are numbers of blocks or events.
    pub name: &'static str,
    /// Type of the column.
    pub kind: Kind,
}

/// Value of one cell. The variants are the same as those of [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Int(i64),
    MaybeInt(Option<i64>),
    MaybeReal(Option<f64>),
    Text(ByteArray),
    MaybeText(Option<ByteArray>),
    Flag(bool),
    MaybeFlag(Option<bool>),
    Instant(i64),
}

/// Returns a figure as a signed number, at most [`i64::MAX`].
pub(super) fn int(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// Returns an address as a signed number with the same bits.
pub(super) fn address(bits: u64) -> i64 {
    bits.cast_signed()
}

pub(super) fn text(text: &str) -> ByteArray {
    ByteArray::from(text)
}
