//! Typed copies from the bytes of a region, with checked bounds.
//!
//! Invariant **X1**: types that implement `Plain` consist of integers and atomics of integers only, so any bytes are a
//! valid value of them.

use std::mem::MaybeUninit;

use crate::ledger::Ledger;
use crate::ledger::curves::Curve;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::LaneWithState;
use crate::ledger::rows::Row;
use crate::ledger::scopes::ScopeCell;
use crate::ledger::site_cell::SiteCell;
use crate::ledger::site_delta::SiteDelta;
use crate::ledger::site_units::Unit;
use crate::stack::intern::{Node, Store};
use crate::sys::pages::PAGE_BYTES;

/// A type for which any bytes are a valid value.
///
/// # Safety
/// The type must satisfy X1.
pub(super) unsafe trait Plain {}

// SAFETY: X1, all of these: integers, atomics of integers, and arrays and `repr(C)` structs of them.
unsafe impl Plain for u32 {}
// SAFETY: X1.
unsafe impl Plain for u64 {}
// SAFETY: X1.
unsafe impl Plain for [u64; 3] {}
// SAFETY: X1.
unsafe impl Plain for Unit {}
// SAFETY: X1.
unsafe impl Plain for Curve {}
// SAFETY: X1.
unsafe impl Plain for Entry {}
// SAFETY: X1.
unsafe impl Plain for Row {}
// SAFETY: X1.
unsafe impl Plain for ScopeCell {}
// SAFETY: X1.
unsafe impl Plain for SiteCell {}
// SAFETY: X1.
unsafe impl Plain for SiteDelta {}
// SAFETY: X1.
unsafe impl Plain for Node {}
// SAFETY: X1.
unsafe impl Plain for Store {}
// SAFETY: X1.
unsafe impl Plain for LaneWithState {}
// SAFETY: X1.
unsafe impl Plain for Ledger {}

/// The bytes of a black box, which are a region of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    bytes: &'a [u8],
}

impl<'a> Image<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Image<'a> {
        Image { bytes }
    }

    /// Returns `count` bytes from the start of a page, or `None` if the file is too short.
    pub(super) fn bytes(&self, page: u32, count: usize) -> Option<&'a [u8]> {
        let start = (page as usize).checked_mul(PAGE_BYTES)?;
        self.bytes.get(start..start.checked_add(count)?)
    }

    /// Copies element `number` of a table that begins at the start of a page. Returns `None` if the file is too short.
    pub(super) fn copy<T: Plain>(&self, page: u32, number: usize) -> Option<T> {
        self.copy_behind(page, 0, number)
    }

    /// Copies element `number` of a table, as [`Image::copy`] does. The table begins `offset` bytes after the start of
    /// a page.
    pub(super) fn copy_behind<T: Plain>(&self, page: u32, offset: usize, number: usize) -> Option<T> {
        let start = (page as usize).checked_mul(PAGE_BYTES)?.checked_add(offset)?;
        let start = start.checked_add(number.checked_mul(size_of::<T>())?)?;
        let bytes = self.bytes.get(start..start.checked_add(size_of::<T>())?)?;
        // SAFETY: X1, and the slice is as long as the type.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// Copies a value that is too large for the stack of a thread.
    pub(super) fn copy_boxed<T: Plain>(&self, page: u32) -> Option<Box<T>> {
        let bytes = self.bytes(page, size_of::<T>())?;
        let mut copy: Box<MaybeUninit<T>> = Box::new_uninit();
        // SAFETY: X1, the box is as large as the type, and all of it is written.
        unsafe {
            copy.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Some(copy.assume_init())
        }
    }

    /// Returns the number of elements that fit between the start of a page and the end of the bytes.
    pub(super) fn room<T>(&self, page: u32) -> usize {
        let start = (page as usize).saturating_mul(PAGE_BYTES);
        self.bytes.len().saturating_sub(start) / size_of::<T>().max(1)
    }
}
