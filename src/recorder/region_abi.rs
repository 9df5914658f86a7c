//! The identification of the memory layout of a region, the ledger's memory. The reader of a black box interprets its
//! raw bytes, so the reader must have been built with the layout of the writer. The seal of the file holds this hash
//! and the crate's version.

use crate::ledger::Ledger;
use crate::ledger::curves::Curve;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::LaneWithState;
use crate::ledger::rows::Row;
use crate::ledger::scopes::ScopeCell;
use crate::ledger::site_cell::SiteCell;
use crate::ledger::site_delta::SiteDelta;
use crate::ring::lane::{Cold, Folder, Lane, SEGMENT_SLOTS, SEGMENT_WORDS};
use crate::stack::intern::{Node, Store};
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Revision of the layout. It is incremented with every change of a region's contents that leaves all sizes in `LAYOUT`
/// unchanged.
const REVISION: u64 = 21;

/// Hash of the layout of this build.
pub(crate) const LAYOUT: u64 = {
    let parts = [
        REVISION,
        size_of::<Pages>() as u64,
        size_of::<Ledger>() as u64,
        size_of::<LaneWithState>() as u64,
        size_of::<Lane>() as u64,
        size_of::<Cold>() as u64,
        size_of::<Folder>() as u64,
        size_of::<Entry>() as u64,
        size_of::<Row>() as u64,
        size_of::<SiteCell>() as u64,
        size_of::<SiteDelta>() as u64,
        size_of::<Curve>() as u64,
        size_of::<ScopeCell>() as u64,
        size_of::<Node>() as u64,
        size_of::<Store>() as u64,
        SEGMENT_WORDS,
        SEGMENT_SLOTS,
        PAGE_BYTES as u64,
        u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    // FNV-1a over the parts (Fowler, Noll and Vo).
    let (mut hash, mut at) = (0xCBF2_9CE4_8422_2325u64, 0);
    while at < parts.len() {
        hash = (hash ^ parts[at]).wrapping_mul(0x0000_0100_0000_01B3);
        at += 1;
    }
    hash
};

/// The version of the crate as 16 bytes, as the seal of a black box holds it.
pub(crate) const VERSION: [u8; 16] = {
    let (text, mut version, mut at) = (env!("CARGO_PKG_VERSION").as_bytes(), [0; 16], 0);
    while at < text.len() && at < version.len() {
        version[at] = text[at];
        at += 1;
    }
    version
};
