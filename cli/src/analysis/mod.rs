//! Findings: what a profile says, as data.
//!
//! One question a file, each a pure function of a [`Profile`]: nothing here prints, reads a clock or
//! remembers. Words, units and bytes are the business of `report` and `export`, which show the same findings with
//! different faces.
//!
//! Every finding carries a [`Standing`]: how far its figures can be trusted, and what stands in the way. It is
//! derived from the quality counters of the profile in one place, [`standing`](mod@standing), so that a report
//! and an export can never disagree about what is exact.
//!
//! A profile may come from a damaged or hostile file, so no count is trusted: sums saturate, indices are
//! looked up with `get`, and divisions by zero have an answer.

mod arithmetic;
pub mod book;
pub mod diff;
pub mod folding;
pub mod frames;
pub mod grouping;
pub mod growth;
pub mod leaks;
pub mod lifetimes;
pub mod live;
pub(crate) mod numbering;
pub mod origin;
pub mod paths;
pub mod reallocs;
pub mod sites;
pub mod sizes;
pub mod stack_sample;
pub mod standing;
pub mod summary;
pub mod suppressions;
pub mod threads;
pub mod timeline;
pub mod tree;
pub mod verify;

#[cfg(test)]
pub(crate) mod sample;

pub use arithmetic::Bucket;
pub use book::{Ranking, SiteBook, SiteLine, site_book};
pub use diff::{Diff, Doubt, Presence, Side, SiteChange, diff};
pub use frames::{Frame, StackReader, frames, module_of, whole_stack};
pub use grouping::{Group, Groups, group_by, group_by_call};
pub use growth::{Growth, growth};
pub use leaks::{Leak, LeakFinding, Suppressed, leaks};
pub use lifetimes::{Lifetimes, lifetimes};
pub use live::{LiveFinding, SizeGroup, live};
pub use origin::Origin;
pub use paths::{Function, Paths, Step, View};
pub use reallocs::{ReallocFinding, reallocs};
pub use sites::{SiteOrder, SiteRow, TopSites, top_sites};
pub use sizes::{Sizes, sizes};
pub use stack_sample::estimated_bytes;
pub use standing::{Cause, Figure, Standing, standing};
pub use summary::{Summary, summary};
pub use suppressions::Suppression;
pub use threads::{CrossingLine, Crossings, ThreadFinding, ThreadLine, crossings, threads};
pub use timeline::{Column, LossWindow, TimelineFinding, timeline};
pub use tree::{Direction, Node, Tree, tree};
pub use verify::{Conclusion, LawFinding, LawState, Verdict, verify};
