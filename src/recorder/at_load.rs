//! The opening of the ledger, and the start of heapledger's threads, when the program is loaded.
//!
//! No event may start a thread (see `background_thread`), and a program may never call a function of heapledger. So a
//! constructor starts the threads that the settings ask for. The loader calls the constructor before `main`, or when it
//! loads a library that contains heapledger. The settings are in the program's global allocator, which the constructor
//! can reach only by allocating. This allocation is internal, and opens the ledger unless an earlier allocation has
//! opened it. If the program's global allocator is not heapledger, nothing is opened or started.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;

use super::slot::{FRESH, LOADING, lane_of_slot};
use super::state::{self, State};
use super::{gate, lifecycle};
use crate::sys::{loaded_object, tls};

#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
#[cfg_attr(not(any(target_vendor = "apple", windows)), unsafe(link_section = ".init_array"))]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    if tls::get() == FRESH {
        open();
    }
    if state::current() == State::Running {
        loaded_object::prepare();
        lifecycle::start_threads_asked_for();
    }
}

/// Opens the ledger by an allocation of one byte.
fn open() {
    let layout = Layout::new::<u8>();
    tls::set(LOADING);
    // SAFETY: the layout has a size. The block is freed with the layout that it was allocated with.
    unsafe {
        let block = black_box(alloc(layout));
        if !block.is_null() {
            dealloc(block, layout);
        }
    }
    match tls::get() {
        LOADING => tls::set(FRESH),
        slot => {
            if let Some(lane) = lane_of_slot(slot) {
                gate::leave(lane, &lane.cold.own_depth);
            }
        }
    }
}
