//! Section on the resident memory of the process: its maximum over time, and its parts at the end.

use std::io;

use super::super::text_page::TextPage;
use super::super::units::{bytes, duration};
use super::subject::Subject;
use crate::analysis::{MemoryFinding, memory as memory_of};

/// Heading of the section.
pub(in super::super) const HEADING: &str = "Memory of the process";

pub(in super::super) fn memory(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let memory = &subject.profile.memory;
    let highest = memory.resident_by_interval.iter().copied().enumerate().max_by_key(|(_, bytes)| *bytes);
    if let Some((interval, seen)) = highest {
        let at_ns = subject.profile.timeline.interval_ns.saturating_mul(interval as u64);
        page.fact("over time", &format!("up to {} resident, seen after {}", bytes(seen), duration(at_ns)))?;
    }
    if let Some(highest) = memory.highest_resident_bytes {
        page.fact("highest", &format!("{} resident, as the system says", bytes(highest)))?;
    }
    let Some(found) = memory_of(subject.profile) else {
        return page.fact("at the end", "unknown: the system did not say what is resident");
    };
    page.fact("at the end", &sentence(&found))?;
    for part in &found.parts {
        let (least, most) = part.bounds;
        let bounds =
            if least == most { String::new() } else { format!(" ({} to {})", bytes(least), bytes(most)) };
        page.fact("", &format!("{}{bounds}: {}", bytes(part.bytes), part.kind.name()))?;
    }
    Ok(())
}

/// Returns the sentence on the resident memory, with its largest part and the missing figures.
pub(in super::super) fn sentence(found: &MemoryFinding) -> String {
    let resident = bytes(found.resident_bytes);
    let most = found.most.and_then(|kind| found.part(kind));
    let mut text = match most {
        Some(part) => format!("{resident} resident; most of it: {} {}", bytes(part.bytes), part.kind.name()),
        None => format!("{resident} resident; no part has most of it"),
    };
    if found.most.is_none() && !found.missing.is_empty() {
        text = format!("{resident} resident; where it is, is unknown");
    }
    if !found.missing.is_empty() {
        text.push_str(&format!(" (missing: {})", found.missing.join(", ")));
    }
    text
}
