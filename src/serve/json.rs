//! The live page as JSON, with the names of its fields as keys. The code is written by hand, so that the recorded
//! program links no JSON library.

use crate::live::{Live, LiveInterval, LiveQuality, LiveScope, LiveSite};
use crate::profile::{Anomalies, Coverage, HeapStats, LossCounts, LossReason, Module};

/// Returns the figures as one object.
pub(super) fn json(live: &Live) -> String {
    let mut out = String::new();
    live.write(&mut out);
    out.push('\n');
    out
}

trait Json {
    fn write(&self, out: &mut String);
}

/// Implements [`Json`] for a struct: an object with the listed fields.
macro_rules! object {
    ($type:ty { $first:ident $(, $field:ident)* $(,)? }) => {
        impl Json for $type {
            fn write(&self, out: &mut String) {
                out.push_str(concat!("{\"", stringify!($first), "\":"));
                self.$first.write(out);
                $(
                    out.push_str(concat!(",\"", stringify!($field), "\":"));
                    self.$field.write(out);
                )*
                out.push('}');
            }
        }
    };
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl Json for $type {
            fn write(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }
        })*
    };
}

number!(u64, u32, i64, bool);
object!(Live {
    pid,
    program,
    started_unix_ns,
    at_ns,
    written_unix_ns,
    writes,
    interval_ns,
    cost_ns,
    has_ended,
    totals,
    quality,
    resident_bytes,
    sites_known,
    sites_seen,
    scopes_known,
    growth_ns,
    sites,
    scopes,
    intervals,
    modules,
});
object!(LiveQuality { attempted, recorded, in_flight, lost, sampled_out, anomalies, own_bytes, own_cpu_ns });
object!(LiveSite {
    stack,
    scope,
    total_blocks,
    total_bytes,
    live_blocks,
    live_bytes,
    growth_bytes,
    frames,
    is_cut,
});
object!(LiveScope {
    number,
    parent,
    name,
    total_blocks,
    total_bytes,
    live_blocks,
    live_bytes,
    peak_bytes,
    growth_bytes,
});
object!(LiveInterval {
    end_ns,
    live_bytes,
    allocated_blocks,
    allocated_bytes,
    freed_blocks,
    freed_bytes,
    lost,
    resident_bytes,
});
object!(HeapStats {
    total_blocks,
    total_bytes,
    freed_blocks,
    freed_bytes,
    live_blocks,
    live_bytes,
    peak_blocks,
    peak_bytes,
    reallocs,
    failed,
    coverage,
});
object!(Coverage { recorded_events, lost_events });
object!(Anomalies { unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches });
object!(Module { path, build_id, start, end, bias });

impl Json for LossCounts {
    fn write(&self, out: &mut String) {
        out.push_str("{\"counts\":");
        LossReason::ALL.map(|reason| self.get(reason)).to_vec().write(out);
        out.push('}');
    }
}

impl Json for String {
    fn write(&self, out: &mut String) {
        out.push('"');
        for character in self.chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, out: &mut String) {
        out.push('[');
        for (at, value) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            value.write(out);
        }
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_serde_writes() {
        let mut live =
            Live { pid: 7, program: "a\"\\\u{1}ü".to_owned(), resident_bytes: Some(3), ..Live::default() };
        live.quality.lost.add(LossReason::RingFull, 5);
        live.sites =
            vec![LiveSite { growth_bytes: Some(-1), frames: vec![1, u64::MAX], ..LiveSite::default() }];
        live.scopes = vec![LiveScope { name: "x".to_owned(), ..LiveScope::default() }];
        live.intervals = vec![LiveInterval::default(); 2];
        live.modules = vec![Module { path: "/a".to_owned(), ..Module::default() }];
        let read: serde_json::Value = serde_json::from_str(&json(&live)).unwrap();
        assert_eq!(read, serde_json::to_value(&live).unwrap());
        assert_eq!(serde_json::from_str::<Live>(&json(&live)).unwrap(), live);
    }
}
