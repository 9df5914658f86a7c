//! The environment: read once, when the ledger is opened, each variable overriding the builder.

use std::ffi::CStr;

use super::allocator::{BoxPath, DUMP_PATH_BYTES_MAX, Options, StoredPath};
use super::complaint::{self, Shown};
use crate::profile::{ClockMode, DataQualityMode, Stacks};
use crate::sys::platform::{is_set_user_id, with_env};

/// Applies the environment to the options; `false` when it says that nothing is to be recorded.
pub(super) fn apply(options: &mut Options) -> bool {
    if is_set_user_id() {
        return !options.on_request;
    }
    let records = with_env(c"HEAPLEDGER", |value| read_main_switch(value, !options.on_request)).flatten();
    if !records.unwrap_or(!options.on_request) {
        return false;
    }
    let switch = |name| with_env(name, |value| read_switch(name, value)).flatten();
    options.warn = switch(c"HEAPLEDGER_WARN").unwrap_or(options.warn);
    with_env(c"HEAPLEDGER_DUMP", |value| match StoredPath::new(value) {
        Some(path) => options.dump_override = path,
        None => complain(c"HEAPLEDGER_DUMP", value, "a path of at most 1,000 bytes, or off"),
    });
    with_env(c"HEAPLEDGER_BLACKBOX", |value| match (value, StoredPath::new(value)) {
        (b"off", _) => options.black_box = BoxPath::Off,
        (_, Some(path)) => options.black_box = BoxPath::Asked(path),
        (_, None) => complain(c"HEAPLEDGER_BLACKBOX", value, "a path of at most 1,000 bytes, or off"),
    });
    const BYTES: &str = "a number of bytes, 1048576 or more";
    choose(c"HEAPLEDGER_BLACKBOX_BYTES", BYTES, &mut options.black_box_bytes, |value| {
        std::str::from_utf8(value).ok()?.parse().ok().filter(|bytes| *bytes >= 1 << 20)
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

/// Whether to record, given what was built in; `None`, with a complaint, for a value that means nothing.
fn read_main_switch(value: &[u8], as_built: bool) -> Option<bool> {
    match value {
        b"off" | b"0" => Some(false),
        b"on" | b"1" | b"" => Some(as_built),
        b"always" => Some(true),
        other => {
            complain(c"HEAPLEDGER", other, "on, off or always");
            None
        }
    }
}

/// On or off; `None`, with a complaint, for anything else.
fn read_switch(name: &CStr, value: &[u8]) -> Option<bool> {
    match value {
        b"off" | b"0" => Some(false),
        b"on" | b"1" | b"" => Some(true),
        other => {
            complain(name, other, "on or off");
            None
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

/// Says that a variable is ignored, and what it may hold.
fn complain(name: &CStr, value: &[u8], allowed: &str) {
    let name = Shown(name.to_bytes());
    complaint::complain(format_args!("{name}={} is ignored: it takes {allowed}", Shown(value)));
}

const _: () = assert!(DUMP_PATH_BYTES_MAX == 1000);
