//! The sites as text, for people who have only a browser (`?debug=1`).

use std::fmt::Write;

use crate::profile::{Profile, Site, scope_of_address};
use crate::text::escape::escaped;
use crate::text::units::{bytes, count, duration};

/// Maximum number of sites that are listed.
const LISTED_SITES_MAX: usize = 200;

/// Returns totals, completeness, and the largest sites by `figure`. An address is shown as an object with an offset.
pub(super) fn listing(profile: &Profile, heading: &str, figure: fn(&Site) -> u64) -> String {
    let (totals, process) = (&profile.totals, &profile.process);
    let mut text = format!(
        "{} ({}), recorded for {}\n{totals}\n\n{}\n\n{heading}\n",
        escaped(&process.program),
        process.pid,
        duration(process.duration_ns),
        profile.quality,
    );
    let mut sites: Vec<&Site> = profile.sites.iter().filter(|site| figure(site) > 0).collect();
    sites.sort_by_key(|site| (u64::MAX - figure(site), site.stack));
    for site in sites.iter().take(LISTED_SITES_MAX) {
        let _ = writeln!(
            text,
            "\n{} live in {} blocks; {} allocated in {} blocks",
            bytes(site.live_bytes()),
            count(site.live_blocks()),
            bytes(site.total_bytes),
            count(site.total_blocks)
        );
        for frame in profile.stacks.get(site.stack as usize).map_or(&[][..], |stack| &stack.frames) {
            let _ = writeln!(text, "    {}", place(profile, *frame));
        }
    }
    if sites.len() > LISTED_SITES_MAX {
        let _ = writeln!(text, "\n{} further sites", count((sites.len() - LISTED_SITES_MAX) as u64));
    }
    text
}

fn place(profile: &Profile, frame: u64) -> String {
    if let Some(number) = scope_of_address(frame) {
        return format!("[scope {}]", escaped(profile.scope(number).map_or("?", |scope| &scope.name)));
    }
    let call = frame.saturating_sub(1);
    let object = profile.modules.iter().find(|module| (module.start..module.end).contains(&call));
    match object {
        Some(module) => format!("{}+{:#x}", escaped(&module.path), call.wrapping_sub(module.bias)),
        None => format!("{call:#x}"),
    }
}
