//! Profiles and traces as tables in Parquet files, for query engines such as DuckDB.
//!
//! ```text
//!  profile ─► stacks (site keys) ─► rows ─► a file for each table of a partition ─► renamed when complete
//!  trace ───► blocks, events ───────┘
//! ```
//!
//! A [`TableWriter`] adds runs to a directory: `DIR/<table>/service=<name>/date=<day>/<hash>.parquet`. Query engines
//! call this layout Hive partitions. A file contains many runs. `docs/FLEET.md` lists the tables, with example queries.
//!
//! Invariants:
//!
//! 1. **Every table exists**, with an empty file if it has no rows. So a query on scopes works even if no program has
//!    scopes.
//! 2. **A partition contains each run once.** The id of a run is a hash over its host, build, process and some figures.
//!    A run whose id is already in the partition is left out. The file of the table `run` is renamed last, so if a run
//!    is in that table, all its rows in other tables are there too.
//! 3. **Figures are signed 64-bit numbers**, because not every query engine can sum unsigned ones. Figures above 2⁶³−1
//!    occur only in damaged files, and become 2⁶³−1.
//! 4. **Every run has its completeness**, and the table `quality` has the certainty of each group of figures.
//! 5. **Memory is bounded**: rows are written in groups of 65,536, and at most eight partitions are open at a time.
//!
//! | file | holds |
//! | --- | --- |
//! | `column` | cells and columns |
//! | `schema` | the tables: names, types and values of their columns |
//! | `table_file` | one file of one table |
//! | `partition` | the files of one partition |
//! | `stack_facts` | keys, places and frames of stacks, kept from run to run |
//! | `profile_rows`, `trace_rows` | the rows of a run |
//! | `identity` | ids of runs, days of instants |
//! | `writer` | runs to partitions |

mod column;
mod identity;
mod partition;
mod profile_rows;
mod schema;
mod stack_facts;
mod table_file;
mod trace_rows;
mod writer;

pub use column::{Column, Kind};
pub use schema::{FORMAT_VERSION, TABLES, Table};
pub use stack_facts::STACKS_REMEMBERED_MAX;
pub use table_file::GROUP_ROWS_MAX;
pub use writer::{Added, Labels, PARTITIONS_OPEN_MAX, Source, TableWriter, TraceSource, Written};
