//! Parquet file of one table, written row group by row group.

use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::column::{Cell, Column, Kind};
use super::schema::Table;

/// Maximum number of rows of a row group. A row group is in memory until it is written.
pub const GROUP_ROWS_MAX: usize = 1 << 16;

/// File of a table, under a temporary name until [`TableFile::place`] renames it. If the value is dropped before, the
/// file is removed.
pub(super) struct TableFile {
    table: &'static Table,
    temporary: Temporary,
    /// Writer of the file; `None` when the file is complete.
    writer: Option<SerializedFileWriter<File>>,
    columns: Vec<Values>,
    cells: Vec<Cell>,
    rows: usize,
    pub(super) rows_written: u64,
}

/// Path of a temporary file. Dropping the value removes the file.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // An error is ignored: query engines do not read files with a temporary name.
        let _ = fs::remove_file(&self.0);
    }
}

/// Values of one column for the current row group.
struct Values {
    cells: Cells,
    /// Whether each row has a value, 1 or 0; empty for a column that cannot be null.
    levels: Vec<i16>,
}

enum Cells {
    Ints(Vec<i64>),
    Reals(Vec<f64>),
    Texts(Vec<ByteArray>),
    Flags(Vec<bool>),
}

impl TableFile {
    /// Creates the file in `directory`, under the name `temporary`, which query engines do not read.
    pub(super) fn create(table: &'static Table, directory: &Path, temporary: &str) -> io::Result<TableFile> {
        fs::create_dir_all(directory)?;
        let path = directory.join(temporary);
        let file = File::create(&path)?;
        let temporary = Temporary(path);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("heapledger ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = schema(table).map_err(failed)?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(failed)?;
        Ok(TableFile {
            table,
            temporary,
            writer: Some(writer),
            columns: table.columns.iter().map(|column| Values::of(column.kind)).collect(),
            cells: Vec::with_capacity(table.columns.len()),
            rows: 0,
            rows_written: 0,
        })
    }

    /// Adds a row. `fill` appends the cells of the row to the list that it gets.
    pub(super) fn push(&mut self, fill: impl FnOnce(&mut Vec<Cell>)) -> io::Result<()> {
        fill(&mut self.cells);
        debug_assert_eq!(self.cells.len(), self.columns.len(), "{}", self.table.name);
        for (column, cell) in self.columns.iter_mut().zip(self.cells.drain(..)) {
            column.push(cell);
        }
        self.rows += 1;
        self.rows_written += 1;
        if self.rows >= GROUP_ROWS_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        let mut group = writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut out) = group.next_column().map_err(failed)? else { break };
            column.write(&mut out).map_err(failed)?;
            out.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.rows = 0;
        Ok(())
    }

    /// Writes the rest of the file. The file keeps its temporary name.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.writer.take() {
            Some(writer) => writer.into_inner().map_err(failed)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Renames the complete file to `name`, and returns its length in bytes.
    pub(super) fn place(self, name: &str) -> io::Result<u64> {
        let path = self.temporary.0.with_file_name(name);
        fs::rename(&self.temporary.0, &path)?;
        Ok(path.metadata()?.len())
    }
}

impl Values {
    fn of(kind: Kind) -> Values {
        let cells = match kind {
            Kind::Int | Kind::MaybeInt | Kind::Instant => Cells::Ints(Vec::new()),
            Kind::MaybeReal => Cells::Reals(Vec::new()),
            Kind::Text | Kind::MaybeText => Cells::Texts(Vec::new()),
            Kind::Flag | Kind::MaybeFlag => Cells::Flags(Vec::new()),
        };
        Values { cells, levels: Vec::new() }
    }

    fn push(&mut self, cell: Cell) {
        match (&mut self.cells, cell) {
            (Cells::Ints(ints), Cell::Int(value) | Cell::Instant(value)) => ints.push(value),
            (Cells::Texts(texts), Cell::Text(value)) => texts.push(value),
            (Cells::Flags(flags), Cell::Flag(value)) => flags.push(value),
            (Cells::Ints(ints), Cell::MaybeInt(value)) => push_maybe(&mut self.levels, ints, value),
            (Cells::Reals(reals), Cell::MaybeReal(value)) => push_maybe(&mut self.levels, reals, value),
            (Cells::Texts(texts), Cell::MaybeText(value)) => push_maybe(&mut self.levels, texts, value),
            (Cells::Flags(flags), Cell::MaybeFlag(value)) => push_maybe(&mut self.levels, flags, value),
            // Never happens, because the macro `tables!` defines the type and the value of a column together.
            (_, cell) => debug_assert!(false, "{cell:?} in another column"),
        }
    }

    /// Writes the values of this column to the current row group.
    fn write(&mut self, out: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = mem::take(&mut self.levels);
        let levels = (!levels.is_empty()).then_some(&levels[..]);
        match &mut self.cells {
            Cells::Ints(ints) => out.typed::<Int64Type>().write_batch(&mem::take(ints), levels, None)?,
            Cells::Reals(reals) => out.typed::<DoubleType>().write_batch(&mem::take(reals), levels, None)?,
            Cells::Texts(texts) => {
                out.typed::<ByteArrayType>().write_batch(&mem::take(texts), levels, None)?
            }
            Cells::Flags(flags) => out.typed::<BoolType>().write_batch(&mem::take(flags), levels, None)?,
        };
        Ok(())
    }
}

fn push_maybe<T>(levels: &mut Vec<i16>, cells: &mut Vec<T>, value: Option<T>) {
    levels.push(i16::from(value.is_some()));
    cells.extend(value);
}

fn schema(table: &Table) -> Result<TypePtr, ParquetError> {
    let fields: Result<Vec<TypePtr>, ParquetError> = table.columns.iter().map(field).collect();
    Ok(Arc::new(Type::group_type_builder(table.name).with_fields(fields?).build()?))
}

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Int | Kind::MaybeInt => (Physical::INT64, None),
        Kind::MaybeReal => (Physical::DOUBLE, None),
        Kind::Text | Kind::MaybeText => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Flag | Kind::MaybeFlag => (Physical::BOOLEAN, None),
        Kind::Instant => {
            let logical = LogicalType::timestamp(true, TimeUnit::MICROS);
            (Physical::INT64, Some(logical))
        }
    };
    let repetition = if column.kind.is_nullable() { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let builder = Type::primitive_type_builder(column.name, physical);
    Ok(Arc::new(builder.with_repetition(repetition).with_logical_type(logical).build()?))
}

pub(super) fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => io::Error::other(inner),
        other => io::Error::other(other),
    }
}
