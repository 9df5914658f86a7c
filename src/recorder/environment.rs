//! Environment variables, read once when the ledger is opened. Each variable overrides an option of the builder.

use std::ffi::CStr;

use super::diagnostic::{self, Printable};
use super::options::{DUMP_PATH_BYTES_MAX, INTERVAL_NS_MAX, INTERVAL_NS_MIN, Options, StoredPath};
use crate::profile::{ClockMode, DataQualityMode, Signal, Stacks, Triggers};
use crate::sys::platform::{is_set_user_id, with_env};

/// Applies the environment variables to the options. Returns whether the process records.
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
        None => warn(c"HEAPLEDGER_DUMP", value, "a path of at most 1,000 bytes, or off"),
    });
    with_env(c"HEAPLEDGER_BLACKBOX", |value| match StoredPath::new(value) {
        Some(path) => options.black_box_override = path,
        None => warn(c"HEAPLEDGER_BLACKBOX", value, "a path of at most 1,000 bytes, or off"),
    });
    const BYTES: &str = "a number of bytes, 1048576 or more";
    choose(c"HEAPLEDGER_BLACKBOX_BYTES", BYTES, &mut options.black_box_bytes, |value| {
        std::str::from_utf8(value).ok()?.parse().ok().filter(|bytes| *bytes >= 1 << 20)
    });
    with_env(c"HEAPLEDGER_TRACE", |value| match StoredPath::new(value) {
        Some(path) => options.trace_override = path,
        None => warn(c"HEAPLEDGER_TRACE", value, "a path of at most 1,000 bytes, or off"),
    });
    with_env(c"HEAPLEDGER_LIVE", |value| match StoredPath::new(value) {
        Some(path) => options.live_override = path,
        None => warn(c"HEAPLEDGER_LIVE", value, "1, a path of at most 1,000 bytes, or off"),
    });
    with_env(c"HEAPLEDGER_SERVE", |value| match StoredPath::new(value) {
        Some(address) => options.serve_override = address,
        None => warn(c"HEAPLEDGER_SERVE", value, "127.0.0.1:PORT, unix:PATH, public:ADDRESS:PORT or off"),
    });
    // Only `cargo heapledger test` sets this variable: see `thread::name_row`.
    with_env(c"HEAPLEDGER_STD_THREADS", |value| options.has_std_threads = value == b"1");
    const MODES: &str = "perfect, high, throughput or best-effort";
    choose(c"HEAPLEDGER_MODE", MODES, &mut options.mode, |value| {
        DataQualityMode::ALL.into_iter().find(|mode| mode.name().as_bytes() == value)
    });
    choose(c"HEAPLEDGER_CLOCK", "batched, per-event or monotonic", &mut options.clock, |value| {
        let all = [ClockMode::Batched, ClockMode::PerEvent, ClockMode::Monotonic];
        all.into_iter().find(|mode| mode.name().as_bytes() == value)
    });
    choose(c"HEAPLEDGER_SIGNALS", "HUP, INT, TERM, USR1, USR2 or off", &mut options.signals, signals);
    const TRIGGERS: &str = "live:BYTES, growth:BYTES, peak, loss, pressure, keep:COUNT, pause:SECONDS or off";
    choose(c"HEAPLEDGER_TRIGGERS", TRIGGERS, &mut options.triggers, triggers);
    choose(c"HEAPLEDGER_INTERVAL", "250us to 1s, such as 100ms", &mut options.interval_ns, interval_ns);
    choose(c"HEAPLEDGER_STACKS", "auto, fp, dwarf, sampled:BYTES or off", &mut options.stacks, stacks);
    true
}

/// Returns the bits of a comma-separated list of signals; `off` means none.
fn signals(value: &[u8]) -> Option<u32> {
    if value == b"off" {
        return Some(0);
    }
    value.split(|byte| *byte == b',').try_fold(0, |bits, name| {
        let name = name.strip_prefix(b"SIG").unwrap_or(name);
        let signal = Signal::ALL.into_iter().find(|signal| signal.name().as_bytes() == name)?;
        Some(bits | 1 << signal as u32)
    })
}

/// Returns the triggers of a comma-separated list; `off` means none.
fn triggers(value: &[u8]) -> Option<Triggers> {
    let mut triggers = Triggers::DEFAULT;
    if value == b"off" {
        return Some(triggers);
    }
    for part in value.split(|byte| *byte == b',') {
        let (name, amount) = match part.iter().position(|byte| *byte == b':') {
            Some(at) => (&part[..at], Some(amount(&part[at + 1..])?)),
            None => (part, None),
        };
        match (name, amount) {
            (b"live", Some(bytes)) => triggers.live_bytes = Some(bytes),
            (b"growth", Some(bytes)) => triggers.growth_bytes = Some(bytes),
            (b"peak", None) => triggers.new_peak = true,
            (b"loss", None) => triggers.loss = true,
            (b"pressure", None) => triggers.memory_pressure = true,
            (b"keep", Some(count)) => triggers.keep = u32::try_from(count).ok().filter(|count| *count > 0)?,
            (b"pause", Some(seconds)) => triggers.pause_ns = seconds.checked_mul(1_000_000_000)?,
            _ => return None,
        }
    }
    Some(triggers)
}

/// Parses a number with an optional suffix `K`, `M` or `G` for powers of 1,024.
fn amount(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'K', digits) => (digits, 10),
        (b'M', digits) => (digits, 20),
        (b'G', digits) => (digits, 30),
        _ => (text, 0),
    };
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// Parses the value of `HEAPLEDGER_INTERVAL`: a whole number and `us`, `ms` or `s`.
fn interval_ns(value: &[u8]) -> Option<u64> {
    let (digits, unit_ns) = if let Some(digits) = value.strip_suffix(b"us") {
        (digits, 1_000)
    } else if let Some(digits) = value.strip_suffix(b"ms") {
        (digits, 1_000_000)
    } else {
        (value.strip_suffix(b"s")?, 1_000_000_000)
    };
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(unit_ns).filter(|ns| (INTERVAL_NS_MIN..=INTERVAL_NS_MAX).contains(ns))
}

/// Parses the value of `HEAPLEDGER_STACKS`.
fn stacks(value: &[u8]) -> Option<Stacks> {
    let all = [Stacks::Auto, Stacks::FramePointers, Stacks::Dwarf, Stacks::Off];
    let named = all.into_iter().find(|stacks| stacks.name().as_bytes() == value);
    named.or_else(|| {
        let bytes = std::str::from_utf8(value.strip_prefix(b"sampled:")?).ok()?;
        bytes.parse().ok().filter(|bytes| *bytes > 0).map(|bytes| Stacks::Sampled { bytes })
    })
}

/// Parses the value of `HEAPLEDGER`, and returns whether the process records: `off` never, `always` in any case, and
/// `on` as the program was built (`as_built`, false after `HeapLedger::on_request`). Returns `None`, with a diagnostic,
/// for an invalid value.
fn read_main_switch(value: &[u8], as_built: bool) -> Option<bool> {
    match value {
        b"off" | b"0" => Some(false),
        b"on" | b"1" | b"" => Some(as_built),
        b"always" => Some(true),
        other => {
            warn(c"HEAPLEDGER", other, "on, off or always");
            None
        }
    }
}

/// Parses `on` or `off`. Returns `None`, with a diagnostic, for an invalid value.
fn read_switch(name: &CStr, value: &[u8]) -> Option<bool> {
    match value {
        b"off" | b"0" => Some(false),
        b"on" | b"1" | b"" => Some(true),
        other => {
            warn(name, other, "on or off");
            None
        }
    }
}

/// Sets an option from a variable; prints the allowed values if the variable's value is invalid.
fn choose<T>(name: &CStr, allowed: &str, option: &mut T, read: impl Fn(&[u8]) -> Option<T>) {
    with_env(name, |value| match read(value) {
        Some(choice) => *option = choice,
        None => warn(name, value, allowed),
    });
}

/// Prints that a variable is ignored, and lists its allowed values.
fn warn(name: &CStr, value: &[u8], allowed: &str) {
    let name = Printable(name.to_bytes());
    diagnostic::warn(format_args!("{name}={} is ignored: it takes {allowed}", Printable(value)));
}

const _: () = assert!(DUMP_PATH_BYTES_MAX == 1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_signals_or_triggers_with_one_invalid_part_is_rejected() {
        assert_eq!(signals(b"TERM,SIGUSR1"), Some(1 << 2 | 1 << 3));
        assert_eq!(signals(b"off"), Some(0));
        for invalid in [&b"TERM,"[..], b"KILL", b"term", b""] {
            assert_eq!(signals(invalid), None);
        }
        let all = triggers(b"live:2G,growth:3M,peak,loss,pressure,keep:7,pause:0").unwrap();
        let expected = Triggers {
            live_bytes: Some(2 << 30),
            growth_bytes: Some(3 << 20),
            new_peak: true,
            loss: true,
            memory_pressure: true,
            keep: 7,
            pause_ns: 0,
        };
        assert_eq!(all, expected);
        assert_eq!(triggers(b"off"), Some(Triggers::DEFAULT));
        for invalid in
            [&b"live"[..], b"live:", b"live:-1", b"peak:1", b"keep:0", b"pause:99999999999999", b"x"]
        {
            assert_eq!(triggers(invalid), None, "{invalid:?}");
        }
    }
}
