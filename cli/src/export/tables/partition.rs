//! Files of one partition of the tables: one file for each table.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::ByteArrayType;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::identity::file_name;
use super::schema::{
    BLOCK, EVENT, FRAME, HISTOGRAM, QUALITY, REMOTE_FREE, RUN, SCOPE, SITE, THREAD, TIMELINE, Table,
};
use super::table_file::{TableFile, failed};

/// Identity of a partition: service and day, from which the names of its directories are made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PartitionKey {
    pub(super) service: String,
    pub(super) day: String,
}

impl PartitionKey {
    fn directory(&self, root: &Path, table: &Table) -> PathBuf {
        root.join(table.name).join(format!("service={}", self.service)).join(format!("date={}", self.day))
    }
}

/// Partition whose files are being written.
pub(super) struct Partition {
    pub(super) key: PartitionKey,
    /// Ids of the runs in the files, in the order of their rows.
    pub(super) runs: Vec<String>,
    /// Builds and site keys whose frames were already written to the files.
    pub(super) framed: HashSet<(String, i64)>,
    pub(super) run: TableFile,
    pub(super) site: TableFile,
    pub(super) frame: TableFile,
    pub(super) histogram: TableFile,
    pub(super) block: TableFile,
    pub(super) event: TableFile,
    pub(super) timeline: TableFile,
    pub(super) thread: TableFile,
    pub(super) scope: TableFile,
    pub(super) remote_free: TableFile,
    pub(super) quality: TableFile,
}

/// Number of files, rows and bytes written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Partition {
    /// Creates the files of a partition below `root`. `number` is different for each partition, so that temporary names
    /// are unique within this process.
    pub(super) fn create(root: &Path, key: PartitionKey, number: u64) -> io::Result<Partition> {
        let temporary = format!(".heapledger.{}.{number}.tmp", std::process::id());
        let create =
            |table: &'static Table| TableFile::create(table, &key.directory(root, table), &temporary);
        Ok(Partition {
            runs: Vec::new(),
            framed: HashSet::new(),
            run: create(&RUN)?,
            site: create(&SITE)?,
            frame: create(&FRAME)?,
            histogram: create(&HISTOGRAM)?,
            block: create(&BLOCK)?,
            event: create(&EVENT)?,
            timeline: create(&TIMELINE)?,
            thread: create(&THREAD)?,
            scope: create(&SCOPE)?,
            remote_free: create(&REMOTE_FREE)?,
            quality: create(&QUALITY)?,
            key,
        })
    }

    /// Completes and renames all files. The file of the table `run` is renamed last.
    pub(super) fn finish(self) -> io::Result<Sizes> {
        let name = file_name(&self.runs);
        let mut files = [
            self.site,
            self.frame,
            self.histogram,
            self.block,
            self.event,
            self.timeline,
            self.thread,
            self.scope,
            self.remote_free,
            self.quality,
            self.run,
        ];
        files.iter_mut().try_for_each(TableFile::complete)?;
        let mut sizes = Sizes::default();
        for file in files {
            sizes.files += 1;
            sizes.rows += file.rows_written;
            sizes.bytes += file.place(&name)?;
        }
        Ok(sizes)
    }
}

/// Returns the ids of the runs that a partition below `root` already contains.
pub(super) fn runs_of(root: &Path, key: &PartitionKey) -> io::Result<HashSet<String>> {
    let mut runs = HashSet::new();
    let entries = match fs::read_dir(key.directory(root, &RUN)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(runs),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            read_runs(&path, &mut runs)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
    }
    Ok(runs)
}

fn read_runs(path: &Path, runs: &mut HashSet<String>) -> io::Result<()> {
    let reader = SerializedFileReader::new(File::open(path)?).map_err(failed)?;
    let columns = reader.metadata().file_metadata().schema_descr();
    let Some(at) = columns.columns().iter().position(|column| column.name() == "run_id") else {
        return Err(io::Error::other("it has no column run_id"));
    };
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(failed)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let column = group.get_column_reader(at).map_err(failed)?;
        let mut column: ColumnReaderImpl<ByteArrayType> = get_typed_column_reader(column);
        let mut ids = Vec::new();
        column.read_records(rows, None, None, &mut ids).map_err(failed)?;
        runs.extend(ids.iter().map(|id| String::from_utf8_lossy(id.data()).into_owned()));
    }
    Ok(())
}
