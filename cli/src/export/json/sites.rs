//! Sites in version 2 of the JSON: all calls are in one table, all stacks in one tree, and figures that are 0 are left
//! out.
//!
//! A program with deep recursion has stacks of some hundred frames. With the whole stack in each site, as in version 1,
//! the file is hundreds of times the size of the dump.

use std::borrow::Cow;

use serde::Serialize;

use crate::analysis::{Frame, Group, Groups, call_tree, estimated_bytes, group_by_call};
use heapledger::profile::{Estimate, Histogram, Profile, ReallocStats};

/// Call: a return address, with the functions at this address, innermost first.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub(super) struct Call<'a> {
    pub(super) address: String,
    pub(super) functions: Vec<Cow<'a, str>>,
    /// File and line of each function, as in `src/parse.rs:10`; empty if the file is unknown.
    pub(super) lines: Vec<String>,
}

/// Tree of calls, stored as one list for each property of its nodes. Node 0 is the root.
#[derive(Serialize)]
pub(super) struct CallsPart {
    /// Parent of each node. A parent has a lower number than its children.
    pub(super) parents: Vec<u32>,
    /// Call of each node, as an index into the table of calls. The root has no call, so its entry has no meaning.
    pub(super) frames: Vec<u32>,
}

fn is_zero(figure: &u64) -> bool {
    *figure == 0
}

/// Site of version 2. Figures that are 0 are left out.
#[derive(Serialize)]
#[rustfmt::skip]
pub(super) struct Site {
    pub(super) stack: u32,
    /// Node of the innermost call in the tree `calls`; absent for blocks without a stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<u32>,
    /// Number of the innermost scope of the site, from 1; absent outside all scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) frames_truncated: bool,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimated_bytes: Option<Estimate>,
    #[serde(skip_serializing_if = "is_zero")] pub(super) freed_blocks: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) freed_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) live_blocks: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) live_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) own_peak_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) at_peak_blocks: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) at_peak_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) temporary_blocks: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) temporary_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")] pub(super) cross_thread_frees: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reallocs: Option<ReallocStats>,
    /// Rows of the histogram of sizes: smallest size and largest size in bytes, number of blocks.
    pub(super) sizes_bytes: Vec<(u64, u64, u64)>,
    /// Rows of the histogram of lifetimes: shortest and longest lifetime in nanoseconds, number of blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lifetimes_ns: Vec<(u64, u64, u64)>,
}

/// Returns the table of calls, the tree of calls, and the sites of `profile`.
pub(super) fn sites(profile: &Profile) -> (Vec<Call<'_>>, CallsPart, Vec<Site>) {
    let Groups { keys, groups } = group_by_call(profile, call);
    let tree = call_tree(&groups);
    let mut nodes = vec![0; profile.sites.len()];
    let all = groups.iter().zip(&tree.ends);
    all.flat_map(|(group, node)| members(group, *node)).for_each(|(site, node)| nodes[site] = node);
    let sites = profile.sites.iter().zip(nodes).map(|(account, node)| site(profile, account, node)).collect();
    (keys, CallsPart { parents: tree.parents, frames: tree.keys }, sites)
}

fn members(group: &Group, node: u32) -> impl Iterator<Item = (usize, u32)> {
    group.sites.iter().map(move |site| (*site as usize, node))
}

/// Returns the file and line of a frame, as in `src/parse.rs:10`; empty if the file is unknown.
pub(super) fn line(frame: &Frame<'_>) -> String {
    if frame.file.is_empty() { String::new() } else { format!("{}:{}", frame.file, frame.line) }
}

fn call<'a>(frames: &[Frame<'a>]) -> Call<'a> {
    Call {
        address: frames.first().map_or_else(String::new, |frame| format!("{:#x}", frame.address)),
        functions: frames.iter().map(Frame::display_name).collect(),
        lines: frames.iter().map(line).collect(),
    }
}

fn site(profile: &Profile, account: &heapledger::profile::Site, node: u32) -> Site {
    let stack = profile.stacks.get(account.stack as usize);
    let scope = profile.scope_of_stack(account.stack);
    Site {
        stack: account.stack,
        call: (node > 0).then_some(node),
        scope: (scope > 0).then_some(scope),
        frames_truncated: stack.is_some_and(|stack| stack.truncated),
        total_blocks: account.total_blocks,
        total_bytes: account.total_bytes,
        estimated_bytes: estimated_bytes(profile, account),
        freed_blocks: account.freed_blocks,
        freed_bytes: account.freed_bytes,
        live_blocks: account.live_blocks(),
        live_bytes: account.live_bytes(),
        own_peak_bytes: account.own_peak_bytes,
        at_peak_blocks: account.at_peak_blocks,
        at_peak_bytes: account.at_peak_bytes,
        temporary_blocks: account.temporary_blocks,
        temporary_bytes: account.temporary_bytes,
        cross_thread_frees: account.cross_thread_frees,
        reallocs: (account.reallocs != ReallocStats::default()).then_some(account.reallocs),
        sizes_bytes: rows(&account.sizes),
        lifetimes_ns: rows(&account.lifetimes),
    }
}

fn rows(histogram: &Histogram) -> Vec<(u64, u64, u64)> {
    histogram.rows().collect()
}
