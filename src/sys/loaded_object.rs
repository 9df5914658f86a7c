//! The loaded object around an address, as the loader of the C library knows it.
//!
//! glibc's `_dl_find_object` (since 2.35) takes no lock and allocates nothing, so an event may call it, even an event of
//! a signal handler that interrupts the loader. The function is looked up by its name when the program is loaded: with
//! a reference to it, even a weak one, a program that is built with glibc 2.35 would not start with an older one.
//! Without the function, no object is found.

pub(crate) use os::{around, is_single_threaded, prepare};

/// Number of bytes at the start of an object that are compared. They contain headers, build id and names of symbols.
pub(crate) const HEAD_BYTES: usize = 2048;
/// Maximum length of a name of an object, in bytes. An object with a longer name is not found.
pub(crate) const NAME_BYTES_MAX: usize = 512;

/// A loaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadedObject<'a> {
    /// Lowest address of the object; `end` is the first address above the object.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Path of the object's file, as the program or the loader wrote it. It may be relative.
    pub(crate) name: &'a [u8],
    pub(crate) head: &'a [u8; HEAD_BYTES],
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heapledger_portable)))]
mod os {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::mem::MaybeUninit;
    use std::num::NonZeroUsize;
    use std::ptr::with_exposed_provenance;

    use super::{HEAD_BYTES, LoadedObject, NAME_BYTES_MAX};
    use crate::sys::frame;
    use crate::sys::pages::PAGE_BYTES;
    use crate::sys::statics::STATICS;

    /// The answer of `_dl_find_object` (`struct dl_find_object` in `dlfcn.h`).
    #[repr(C)]
    struct Answer {
        flags: u64,
        map_start: *const c_void,
        map_end: *const c_void,
        link_map: *const LinkMap,
        eh_frame: *const c_void,
        reserved: [u64; 7],
    }

    /// The public start of `struct link_map`.
    #[repr(C)]
    struct LinkMap {
        difference: usize,
        name: *const c_char,
    }

    type FindObject = unsafe extern "C" fn(*const c_void, *mut Answer) -> c_int;

    /// Looks up what the other functions need. Called when the program is loaded, because it takes the loader's lock.
    pub(crate) fn prepare() {
        // SAFETY: the names are terminated.
        let address = |name: &CStr| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        let words = [
            (&STATICS.os.find_object, c"_dl_find_object"),
            (&STATICS.os.single_threaded, c"__libc_single_threaded"),
        ];
        for (word, name) in words {
            if let Some(address) = NonZeroUsize::new(address(name).expose_provenance()) {
                // Fails if the word was set before, to the same address.
                let _ = word.set(address);
            }
        }
    }

    /// Returns the loaded object around an address. Allocates nothing and takes no lock, but calls the system, which may
    /// change errno.
    ///
    /// # Safety
    /// No thread unloads the object at the address during `'a`: the calling thread is inside a call from there, or it
    /// is the only thread.
    pub(crate) unsafe fn around<'a>(address: u64) -> Option<LoadedObject<'a>> {
        let function = with_exposed_provenance::<()>(STATICS.os.find_object.get()?.get());
        // SAFETY: the function has this signature; see `dlfcn.h`.
        let find: FindObject = unsafe { std::mem::transmute(function) };
        let mut answer = MaybeUninit::<Answer>::zeroed();
        // SAFETY: the answer is valid for writes; the address is not read. All zeros are a valid answer.
        let answer = unsafe {
            let result = find(with_exposed_provenance(address as usize), answer.as_mut_ptr());
            (result == 0).then(|| answer.assume_init())?
        };
        let (start, end) = (answer.map_start.expose_provenance() as u64, answer.map_end.addr() as u64);
        let is_whole_page =
            start.is_multiple_of(PAGE_BYTES as u64) && end.checked_sub(start)? >= HEAD_BYTES as u64;
        // The page may be gone: `dlclose` unmaps an object before it is no longer found, and a signal handler may be in
        // between. Or the system has dropped the page, and is unable to read it again.
        if !is_whole_page || !frame::is_readable(start) {
            return None;
        }
        // SAFETY: the object is loaded during `'a`, so its first page, which is readable, and its description exist.
        unsafe {
            let name = answer.link_map.as_ref()?.name;
            let length = libc::strnlen(name, NAME_BYTES_MAX + 1);
            let head = with_exposed_provenance::<[u8; HEAD_BYTES]>(start as usize).as_ref()?;
            let name = std::slice::from_raw_parts(name.cast(), length);
            (1..=NAME_BYTES_MAX).contains(&length).then_some(LoadedObject { start, end, name, head })
        }
    }

    /// Returns whether the process has a single thread. Returns false if that is not known.
    pub(crate) fn is_single_threaded() -> bool {
        STATICS.os.single_threaded.get().is_some_and(|address| {
            // SAFETY: glibc's variable of this name is a `char`, which exists as long as the process.
            unsafe { with_exposed_provenance::<c_char>(address.get()).read_volatile() != 0 }
        })
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heapledger_portable))))]
mod os {
    use super::LoadedObject;

    pub(crate) fn prepare() {}

    /// # Safety
    /// None.
    pub(crate) unsafe fn around<'a>(_address: u64) -> Option<LoadedObject<'a>> {
        None
    }

    pub(crate) fn is_single_threaded() -> bool {
        false
    }
}
