//! The environment: read once, when the ledger is opened, each variable overriding the builder.

use std::ffi::CStr;

use super::allocator::{DUMP_PATH_BYTES_MAX, Options, StoredPath};
use crate::profile::{ClockMode, DataQualityMode, Stacks};
use crate::sys::platform::{is_set_user_id, with_env, write_stderr};

/// Applies the environment to the options; `false` when it says that nothing is to be recorded.
pub(super) fn apply(options: &mut Options) -> bool {
    if is_set_user_id() {
        return true;
    }
    if with_env(c"HEAPLEDGER", read_switch) == Some(false) {
        return false;
    }
    with_env(c"HEAPLEDGER_DUMP", |value| match StoredPath::new(value) {
        Some(path) => options.dump_override = path,
        None => complain(c"HEAPLEDGER_DUMP", value, "a path of at most 1,000 bytes, or off"),
    });
    const MODES: &str = "perfect, high, throughput or best-effort";
    choose(c"HEAPLEDGER_MODE", MODES, &mut options.mode, |value| {
        DataQualityMode::ALL.into_iter().find(|mode| mode.name().as_bytes() == value)
    });
    choose(c"HEAPLEDGER_CLOCK", "batched, per-event or monotonic", &mut options.clock, |value| {
        let all = [ClockMode::Batched, ClockMode::PerEvent, ClockMode::Monotonic];
        all.into_iter().find(|mode| mode.name().as_bytes() == value)
    });
    choose(c"HEAPLEDGER_STACKS", "auto, fp, dwarf, sampled:BYTES or off", &mut options.stacks, stacks);
    true
}

fn stacks(value: &[u8]) -> Option<Stacks> {
    let all = [Stacks::Auto, Stacks::FramePointers, Stacks::Dwarf, Stacks::Off];
    let named = all.into_iter().find(|stacks| stacks.name().as_bytes() == value);
    named.or_else(|| {
        let bytes = std::str::from_utf8(value.strip_prefix(b"sampled:")?).ok()?;
        bytes.parse().ok().filter(|bytes| *bytes > 0).map(|bytes| Stacks::Sampled { bytes })
    })
}

fn read_switch(value: &[u8]) -> bool {
    match value {
        b"off" | b"0" => false,
        b"on" | b"1" | b"" => true,
        other => {
            complain(c"HEAPLEDGER", other, "on or off");
            true
        }
    }
}

/// Sets an option from a variable, or says once what the variable may hold.
fn choose<T>(name: &CStr, allowed: &str, option: &mut T, read: impl Fn(&[u8]) -> Option<T>) {
    with_env(name, |value| match read(value) {
        Some(choice) => *option = choice,
        None => complain(name, value, allowed),
    });
}

/// One line on standard error, put together without allocating.
fn complain(name: &CStr, value: &[u8], allowed: &str) {
    let mut line = Line { text: [0; 256], len: 0 };
    line.push(b"heapledger: ");
    line.push(name.to_bytes());
    line.push(b"=");
    for byte in value.iter().take(64) {
        line.push(if byte.is_ascii_graphic() { std::slice::from_ref(byte) } else { b"?" });
    }
    line.push(b" is ignored: it takes ");
    line.push(allowed.as_bytes());
    line.push(b"\n");
    write_stderr(&line.text[..line.len]);
}

struct Line {
    text: [u8; 256],
    len: usize,
}

impl Line {
    fn push(&mut self, more: &[u8]) {
        let room = &mut self.text[self.len..];
        let count = more.len().min(room.len());
        room[..count].copy_from_slice(&more[..count]);
        self.len += count;
    }
}

const _: () = assert!(DUMP_PATH_BYTES_MAX == 1000);
