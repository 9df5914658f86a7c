//! Writer that adds runs to a directory of tables.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::column::text;
use super::identity::{day, partition_value, run_id};
use super::partition::{Partition, PartitionKey, Sizes, runs_of};
use super::profile_rows::{self, Stacks};
use super::schema::Run;
use super::stack_facts::{StackFacts, StackMemory};
use super::trace_rows;
use crate::analysis::{Origin, verify};
use heapledger::profile::Profile;
use heapledger::trace::Trace;

/// Maximum number of partitions that are open at a time. Each open partition has a row group of every table in memory.
/// If one more partition is needed, the oldest open one is completed.
pub const PARTITIONS_OPEN_MAX: usize = 8;

/// Names that take precedence over the names in a profile, or replace missing ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Name of the service, for the partition column `service`. `None` uses the name of the program.
    pub service: Option<String>,
    /// Name of the host, used for profiles without a host name.
    pub host: Option<String>,
}

/// Profile to add, with data on its file.
#[derive(Debug)]
pub struct Source<'a> {
    /// Profile. [`TableWriter::add`] may look up names and store them in it.
    pub profile: &'a mut Profile,
    /// Damage and notes of the file.
    pub origin: &'a Origin,
    /// Name of the file, which is written to the column `file`.
    pub file: &'a str,
}

/// Trace to add, with its blocks and events.
pub struct TraceSource<'a> {
    /// Open trace.
    pub trace: &'a mut Trace<BufReader<File>>,
    /// Function that gets the position in the file, for progress. The trace is read twice from start to end, first for
    /// the blocks and then for the events.
    pub passed: &'a mut dyn FnMut(u64),
}

impl std::fmt::Debug for TraceSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceSource").finish_non_exhaustive()
    }
}

/// Result of adding a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The run is new. It will be in the tables when [`TableWriter::finish`] has returned.
    New,
    /// The run was already in the tables, so nothing was written.
    Known,
}

/// Counts of what a [`TableWriter`] has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of runs added.
    pub runs: u64,
    /// Number of files written.
    pub files: u64,
    /// Number of rows written to all tables.
    pub rows: u64,
    /// Total length of the files, in bytes.
    pub bytes: u64,
}

/// Writer of tables below one directory.
pub struct TableWriter {
    root: PathBuf,
    labels: Labels,
    stacks: StackMemory,
    /// Partitions that are open, the oldest first.
    open: Vec<Partition>,
    /// Ids of the runs in each partition that was used, including runs whose files are not complete yet.
    known: HashMap<PartitionKey, HashSet<String>>,
    partitions: u64,
    written: Written,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter").field("root", &self.root).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// Returns a writer of tables below `directory`, which need not exist.
    pub fn new(directory: &Path, labels: Labels) -> TableWriter {
        TableWriter {
            root: directory.to_owned(),
            labels,
            stacks: StackMemory::default(),
            open: Vec::new(),
            known: HashMap::new(),
            partitions: 0,
            written: Written::default(),
        }
    }

    /// Adds a run, unless it is already in the tables. Calls `names` to look up names in the profile, if the profile
    /// has a stack that no earlier run had.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read or written. Drop the writer after an error; then no row of the failed
    /// run gets into the tables.
    pub fn add(
        &mut self,
        source: Source<'_>,
        trace: Option<TraceSource<'_>>,
        names: &mut dyn FnMut(&mut Profile),
    ) -> io::Result<Added> {
        let Source { profile, origin, file } = source;
        let host = if profile.process.host.is_empty() { self.labels.host.as_deref() } else { None };
        let host = host.unwrap_or(&profile.process.host).to_owned();
        let build_id = profile.modules.first().map_or(String::new(), |module| module.build_id.clone());
        let service = self.labels.service.as_ref().unwrap_or(&profile.process.program);
        let day = day(profile.process.started_unix_ns);
        let key = PartitionKey { service: partition_value(service), day };
        let id = run_id(profile, &host, &build_id);
        if !self.known.contains_key(&key) {
            self.known.insert(key.clone(), runs_of(&self.root, &key)?);
        }
        if !self.known.entry(key.clone()).or_default().insert(id.clone()) {
            return Ok(Added::Known);
        }
        let facts = self.stacks.facts(profile, names);
        let at = self.partition(key)?;
        let part = &mut self.open[at];
        let run = Run {
            id: text(&id),
            profile,
            origin,
            verdict: verify(profile, origin),
            host: &host,
            build_id: &build_id,
            file,
            has_events: trace.is_some(),
        };
        let none = facts.first().cloned().unwrap_or_else(|| Rc::new(StackFacts::none()));
        let stacks = Stacks { facts: &facts, memory: &self.stacks, none };
        part.runs.push(id);
        profile_rows::write(part, &run, &stacks)?;
        if let Some(TraceSource { trace, passed }) = trace {
            trace_rows::write(part, &run, &stacks, trace, passed)?;
        }
        self.written.runs += 1;
        Ok(Added::New)
    }

    /// Returns the index of a partition in `open`. Opens the partition first if necessary.
    fn partition(&mut self, key: PartitionKey) -> io::Result<usize> {
        if let Some(at) = self.open.iter().position(|part| part.key == key) {
            return Ok(at);
        }
        if self.open.len() >= PARTITIONS_OPEN_MAX {
            let oldest = self.open.remove(0);
            self.count(oldest.finish()?);
        }
        self.partitions += 1;
        self.open.push(Partition::create(&self.root, key, self.partitions)?);
        Ok(self.open.len() - 1)
    }

    fn count(&mut self, sizes: Sizes) {
        self.written.files += sizes.files;
        self.written.rows += sizes.rows;
        self.written.bytes += sizes.bytes;
    }

    /// Completes all files and renames them.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written. The files of partitions that are not complete are then removed.
    pub fn finish(mut self) -> io::Result<Written> {
        for part in std::mem::take(&mut self.open) {
            let sizes = part.finish()?;
            self.count(sizes);
        }
        Ok(self.written)
    }
}
