//! The sections of the report, by kind: [`quality`], facts about the [`heap`], [`tables`], the [`timeline`],
//! and [`tracked`] pointers.

pub(super) mod heap;
pub(super) mod quality;
pub(super) mod tables;
pub(super) mod timeline;
pub(super) mod tracked;
