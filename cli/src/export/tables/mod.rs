//! Profiles and traces as tables in Parquet files, for query engines.
//!
//! ```text
//!  profile ─► stacks (site keys) ─► rows ─► a file for each table of a partition ─► renamed when complete
//!  trace ───► blocks, events ───────┘
//! ```
//!
//! A [`TableWriter`] adds runs to a directory: `DIR/<table>/service=<name>/date=<day>/<hash>.parquet`, which the
//! engines call Hive partitions. A file holds many runs. `docs/FLEET.md` lists the tables, and queries over them.
//!
//! Invariants:
//!
//! 1. **Every table exists**, with an empty file if it has no rows. So a query on scopes works where no program has
//!    scopes.
//! 2. **A partition has a run once.** The id of a run is a hash of its snapshot's identity; a run whose id the
//!    partition has already is left out. The file of the table `run` is renamed last, so a run in that table has all
//!    its rows.
//! 3. **Figures are signed 64-bit numbers**, because not every engine can sum unsigned ones. Larger figures, which only
//!    a damaged file has, are cut to 2⁶³−1.
//! 4. **Every run carries its completeness**, and the certainty of each group of figures is in the table `quality`.
//! 5. **Memory is bounded**: a table is written every 65,536 rows, and eight partitions are open at a time.
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
