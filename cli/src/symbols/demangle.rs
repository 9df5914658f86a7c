//! Demangling of linker names: Rust's v0 and legacy schemes, then C++. Any other name stays unchanged.
//!
//! A short linker name can have a very long demangled form, because a name can refer back to its parts. So the
//! demangled form has a maximum length.

use std::fmt::{self, Write};

/// Maximum length of a demangled name, in bytes. A longer name is cut and ends in `..`.
pub const NAME_BYTES_MAX: usize = 4096;
/// Maximum length of a C++ name that is demangled, in bytes. Demangling takes more than linear time, so longer names
/// stay mangled.
const CPP_BYTES_MAX: usize = 2048;

/// Returns the demangled form of a linker name. The hashes that distinguish instances of a crate or a function are left
/// out.
pub(super) fn demangled(name: &str) -> String {
    // The demanglers also handle suffixes that compilers append, such as `.llvm.123`.
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return Bounded::text(|out| write!(out, "{rust:#}"));
    }
    let is_cpp = name.starts_with("_Z") || name.starts_with("__Z");
    if is_cpp
        && name.len() <= CPP_BYTES_MAX
        && let Ok(cpp) = cpp_demangle::Symbol::new(name)
    {
        let options = cpp_demangle::DemangleOptions::new();
        let text = Bounded::text(|out| cpp.structured_demangle(out, &options));
        if !text.is_empty() {
            return text;
        }
    }
    Bounded::text(|out| out.write_str(name))
}

/// Text of at most [`NAME_BYTES_MAX`] bytes. A write beyond this limit returns an error.
#[derive(Default)]
struct Bounded {
    text: String,
}

impl Bounded {
    fn text(write: impl FnOnce(&mut Bounded) -> fmt::Result) -> String {
        let mut bounded = Bounded::default();
        // The only error is that the limit is exceeded. The text then ends in `..`.
        let _ = write(&mut bounded);
        bounded.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = NAME_BYTES_MAX - 2 - self.text.len().min(NAME_BYTES_MAX - 2);
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        if !self.text.ends_with("..") || room > 0 {
            self.text.push_str(&piece[..piece.floor_char_boundary(room)]);
            self.text.push_str("..");
        }
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_known_answers() {
        let known = [
            ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place"),
            ("_RNvCsL39EUhRVRM_4demo4grow", "demo::grow"),
            ("_RNvMNtCs1234_4demo5storeINtB2_5StorehE3add", "<demo::store::Store<u8>>::add"),
            ("_Znwm", "operator new(unsigned long)"),
            ("malloc", "malloc"),
            ("", ""),
            ("_R", "_R"),
        ];
        for (linker, readable) in known {
            assert_eq!(demangled(linker), readable, "{linker}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_letters_and_says_so() {
        let cut = demangled(&"ä".repeat(NAME_BYTES_MAX));
        assert!(cut.len() <= NAME_BYTES_MAX && cut.ends_with("ä.."), "{}", cut.len());
        let fits = "x".repeat(NAME_BYTES_MAX - 2);
        assert_eq!(demangled(&fits), fits);
        // Every part refers back twice to the part before it, so each part doubles the length of the demangled form.
        let bomb = format!("_ZN1aI{}EEvv", (0..40).map(|n| format!("1bIS{n}_S{n}_E")).collect::<String>());
        assert!(demangled(&bomb).len() <= NAME_BYTES_MAX);
    }
}
