//! Tables, read with the reader of the crate `parquet`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use heapledger_cli::export::tables::TABLES;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// A row, by the names of its columns.
pub type Row = HashMap<String, Field>;

/// Rows of every table.
pub type Tables = BTreeMap<&'static str, Vec<Row>>;

/// Returns the files of a table, sorted.
pub fn files(root: &Path, table: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root.join(table)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Reads every table below `root`.
pub fn tables(root: &Path) -> Tables {
    let read = |table: &'static str| {
        let rows = files(root, table).into_iter().flat_map(|path| {
            let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("Parquet");
            let rows = reader.get_row_iter(None).expect("rows");
            rows.map(|row| {
                row.expect("a row").get_column_iter().map(|(n, f)| (n.clone(), f.clone())).collect()
            })
            .collect::<Vec<Row>>()
        });
        rows.collect::<Vec<Row>>()
    };
    TABLES.iter().map(|table| (table.name, read(table.name))).collect()
}

pub fn int(row: &Row, column: &str) -> i64 {
    match &row[column] {
        Field::Long(value) => *value,
        other => panic!("{column} is {other:?}"),
    }
}

pub fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    match &row[column] {
        Field::Str(value) => value,
        other => panic!("{column} is {other:?}"),
    }
}

/// Returns the sum of a column over the rows of a run that pass.
pub fn sum(rows: &[Row], run: &str, column: &str, passes: impl Fn(&Row) -> bool) -> u64 {
    let of_run = rows.iter().filter(|row| text(row, "run_id") == run && passes(row));
    let known = of_run.filter(|row| row[column] != Field::Null);
    known.map(|row| u64::try_from(int(row, column)).expect("no negative figure")).sum()
}
