//! Sections of the report: [`findings`], [`quality`], facts about the [`heap`], [`memory`], [`tables`], [`sites`],
//! [`scopes`], the [`timeline`], and [`tracked`] pointers. All sections read the same [`Subject`](subject::Subject).

pub(super) mod findings;
pub(super) mod heap;
pub(super) mod memory;
pub(super) mod places;
pub(super) mod quality;
pub(super) mod scopes;
pub(super) mod sites;
pub(super) mod subject;
pub(super) mod tables;
pub(super) mod timeline;
pub(super) mod tracked;
