//! Format of `heaptrack_gui` and `heaptrack_print`: the *interpreted* format of heaptrack, version 2.
//!
//! ```text
//! s main              a text; texts count from 1
//! i 401010 1 2 3 a    an address: object, then function, file and line, those inlined first
//! t 1 0               a trace: address and trace of the caller; both count from 1, 0 is no caller
//! a 40 1              blocks of a size, allocated at a trace; these count from 0
//! + 1                 one is allocated
//! - 1                 one is freed
//! c 3e8               a time, in milliseconds
//! ```
//!
//! Numbers are hexadecimal. The format has a line for each event, but the profile has only sums by site, so the export
//! writes synthetic events with these sums; see [`events`]. Some figures are correct for each site and in total: blocks
//! and bytes allocated, live at the peak, live at the end, and temporary blocks. Single sizes are synthetic: each block
//! has the average size of its class. The order of events is synthetic too: the file has three times, the start, the
//! peak and the end.
//!
//! Comments in the file have the quality of the data and this explanation.

mod events;

use std::io::{self, Write};
use std::rc::Rc;

use events::{Class, Plan, plan};

use super::calls::{Call, call};
use super::names::{NO_STACK, command};
use super::quality;
use crate::analysis::interner::Interner;
use crate::analysis::{Group, Origin, group_by_call};
use heapledger::profile::Profile;
use heapledger::text::escape::escaped;

/// Maximum number of lines for events. The format has a line for each event, so a profile with billions of blocks would
/// fill the disk. A profile that needs more lines is refused.
const EVENT_LINES_MAX: u64 = 100_000_000;

const EXPLANATION: [&str; 4] = [
    "made from sums by site: the events below add up to them, but their order and the sizes of single blocks",
    "are not those of the program. Blocks of a site have the average size of their like; there are three moments:",
    "the start, the peak and the end. A temporary block is one that was freed within 8 further allocations of",
    "its thread.",
];

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    let found = group_by_call(profile, call);
    let plans: Vec<Plan> = found.groups.iter().map(|group| plan(profile, group)).collect();
    let lines = plans.iter().fold(0u64, |sum, plan| sum.saturating_add(plan.lines()));
    if lines > EVENT_LINES_MAX {
        let text = format!(
            "heaptrack's format has a line for each event: {lines} of them would be needed, and at most \
             {EVENT_LINES_MAX} are written; pprof and dhat carry sums"
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    writeln!(out, "v 10300 2")?;
    writeln!(out, "X {}", escaped(&command(&profile.process)))?;
    quality::lines(profile, origin).iter().try_for_each(|line| writeln!(out, "# {}", escaped(line)))?;
    EXPLANATION.iter().try_for_each(|line| writeln!(out, "# {line}"))?;
    let traces = Traces::write(&found.keys, &found.groups, out)?;
    let infos = write_infos(&plans, &traces, out)?;
    write_events(profile, &plans, &infos, out)
}

/// Number of the trace (the format's word for a stack) of each path.
struct Traces(Vec<u64>);

impl Traces {
    fn write(calls: &[Call<'_>], groups: &[Group], out: &mut impl Write) -> io::Result<Self> {
        let mut texts = Interner::default();
        for call in calls {
            let module = text(&mut texts, call.module, out)?;
            let mut line = format!("i {:x} {module:x}", call.address);
            for function in &call.functions {
                let (name, file) =
                    (text(&mut texts, &function.name, out)?, text(&mut texts, function.file, out)?);
                line.push_str(&format!(" {name:x} {file:x} {:x}", function.line));
            }
            writeln!(out, "{line}")?;
        }
        let no_stack = calls.len() as u32;
        if groups.iter().any(|group| group.frames.is_empty()) {
            let name = text(&mut texts, NO_STACK, out)?;
            writeln!(out, "i 0 0 {name:x} 0 0")?;
        }
        let mut nodes: Interner<(u32, u64)> = Interner::default();
        let mut traces = Vec::with_capacity(groups.len());
        for group in groups {
            let frames =
                if group.frames.is_empty() { Rc::from([no_stack]) } else { Rc::clone(&group.frames) };
            let mut parent = 0;
            for &frame in frames.iter().rev() {
                let known = nodes.items().len();
                let node = nodes.number((frame, parent)) as usize;
                if node == known {
                    writeln!(out, "t {:x} {parent:x}", u64::from(frame) + 1)?;
                }
                parent = node as u64 + 1;
            }
            traces.push(parent);
        }
        Ok(Traces(traces))
    }
}

/// Returns the number of a text. Writes the text if it is new. The empty text has number 0 and is never written.
fn text(texts: &mut Interner<String>, text: &str, out: &mut impl Write) -> io::Result<u32> {
    if text.is_empty() {
        return Ok(0);
    }
    let known = texts.items().len();
    let number = texts.number_with(text, str::to_owned);
    if number as usize == known {
        writeln!(out, "s {}", escaped(text))?;
    }
    Ok(number + 1)
}

/// Numbers of the allocation lines (`a`) of one path: for a block of 0 bytes, and for each size of its plan.
struct Infos {
    none: u64,
    sizes: Vec<u64>,
}

/// Writes an allocation line for each size of every path. A reader of the file treats number 0 as "no last allocation",
/// so number 0 is written but no event uses it.
fn write_infos(plans: &[Plan], traces: &Traces, out: &mut impl Write) -> io::Result<Vec<Infos>> {
    let mut next = 0;
    let mut write = |size: u64, trace: u64| {
        writeln!(out, "a {size:x} {trace:x}")?;
        next += 1;
        io::Result::Ok(next - 1)
    };
    let mut infos = Vec::with_capacity(plans.len());
    for (plan, trace) in plans.iter().zip(&traces.0) {
        if infos.is_empty() {
            write(0, *trace)?;
        }
        let none = write(0, *trace)?;
        let sizes = plan.sizes().map(|size| write(size, *trace)).collect::<io::Result<_>>()?;
        infos.push(Infos { none, sizes });
    }
    Ok(infos)
}

/// Writes the events, in the order that [`events`] describes.
fn write_events(profile: &Profile, plans: &[Plan], infos: &[Infos], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "c 0")?;
    for (plan, infos) in plans.iter().zip(infos) {
        for (number, blocks) in plan.of(Class::Temporary, &infos.sizes) {
            (0..blocks).try_for_each(|_| writeln!(out, "+ {number:x}\n- {number:x}"))?;
        }
        for (number, blocks) in plan.of(Class::Passing, &infos.sizes) {
            (0..blocks).try_for_each(|_| writeln!(out, "+ {number:x}\n- {:x}\n- {number:x}", infos.none))?;
        }
    }
    let all = |class: Class, sign: char, out: &mut dyn Write| {
        plans.iter().zip(infos).try_for_each(|(plan, infos)| {
            let mut rows = plan.of(class, &infos.sizes);
            rows.try_for_each(|(number, blocks)| {
                (0..blocks).try_for_each(|_| writeln!(out, "{sign} {number:x}"))
            })
        })
    };
    writeln!(out, "c {:x}", profile.peak.at_ns / 1_000_000)?;
    all(Class::AtPeakAndEnd, '+', out)?;
    all(Class::AtPeak, '+', out)?;
    let none = infos.first().map(|infos| infos.none);
    none.map_or(Ok(()), |none| writeln!(out, "- {none:x}"))?;
    all(Class::AtPeak, '-', out)?;
    let end = profile.process.duration_ns.max(profile.peak.at_ns);
    writeln!(out, "c {:x}", end / 1_000_000)?;
    all(Class::AtEnd, '+', out)
}

#[cfg(test)]
mod tests;
