//! Findings computed from a profile, as data.
//!
//! Each file computes one finding as a pure function of a [`Profile`](heapledger::Profile): the function prints
//! nothing, reads no clock and keeps no state. Findings contain no wording and no units for display: `report` and
//! `export` add these, and show the same findings in different forms.
//!
//! The [`Certainty`] of a figure is its grade (exact, a lower bound, …) with the causes. [`certainty`](mod@certainty)
//! derives it from the quality counters of the profile. [`verify()`] then adds the damage of the file and broken
//! conservation laws. No other code computes a certainty, so a report and an export always show the same one.
//!
//! A profile may come from a damaged or hostile file, so the analysis does not trust its counts: sums saturate, indices
//! are looked up with `get`, and divisions by zero return `None`.

pub(crate) mod arithmetic;
pub mod book;
pub mod call_tree;
pub mod certainty;
pub mod code_owner;
pub mod course;
pub mod diff;
pub mod findings;
pub mod frames;
pub mod grouping;
pub mod growth;
pub(crate) mod interner;
pub mod leaks;
pub mod lifetimes;
pub mod live;
pub mod memory;
pub mod name_simplify;
pub mod origin;
pub mod paths;
pub mod reallocs;
pub mod recursion;
pub mod retained;
pub mod running;
pub mod scopes;
pub mod site_order;
pub mod sizes;
pub mod source_lines;
pub mod stack_sample;
pub mod summary;
pub mod suppressions;
pub mod thread_book;
pub mod threads;
pub mod timeline;
pub mod tree;
pub mod verify;

#[cfg(test)]
#[path = "tests/sample.rs"]
pub(crate) mod sample;

pub use arithmetic::Bucket;
pub use book::{Ranking, SiteBook, SiteLine, site_book};
pub use call_tree::{CallTree, call_tree};
pub use certainty::{Certainty, FigureGroup, UncertaintyCause, certainty, dynamic_std};
pub use code_owner::{CodeOwner, CodeOwners, crate_of, package_name};
pub use diff::{ComparabilityIssue, Diff, Presence, Side, SiteChange, diff};
pub use findings::{Finding, FindingKind, findings};
pub use frames::{Frame, StackReader};
pub use grouping::{Group, Groups, group_by, group_by_call};
pub use growth::{Growth, growth};
pub use leaks::{Leak, LeakFinding, Suppressed, leaks};
pub use lifetimes::{Lifetimes, lifetimes};
pub use live::{LiveFinding, SizeGroup, live};
pub use memory::{MemoryFinding, MemoryKind, MemoryPart, memory};
pub use origin::Origin;
pub use paths::{Function, GroupBy, PathStep, Paths, View};
pub use reallocs::{ReallocFinding, reallocs};
pub use recursion::without_repetition;
pub use retained::{Retained, retained};
pub use running::{LiveNames, NamedFrame, NamedStack};
pub use scopes::{ScopeFinding, ScopeLine, scopes};
pub use site_order::SiteOrder;
pub use sizes::{Sizes, sizes};
pub use source_lines::source_lines;
pub use stack_sample::estimated_bytes;
pub use summary::{Summary, summary};
pub use suppressions::Suppression;
pub use thread_book::{grouped_book, is_known, lists_all_live_blocks};
pub use threads::{CrossingLine, Crossings, ThreadFinding, crossings, threads};
pub use timeline::{Column, LossWindow, TimelineFinding, timeline};
pub use tree::{Direction, Node, Tree, tree};
pub use verify::{Conclusion, LawFinding, LawState, Verification, verify};
