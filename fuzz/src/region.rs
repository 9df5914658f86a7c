//! Black boxes for the target `blackbox`: regions of killed processes, and changes to them.
//!
//! A region has no checksum, so the reader sees every change. But a region has a megabyte or more, most of it zeros, so
//! random changes of bytes would rarely hit a figure. The fuzzer therefore changes a short list of *patches* to a whole
//! region that the binary `seed` made. Each patch has a used page, a place on the page, and the change of the word
//! there. So a few bytes suffice to make a page number lead to another table, to make a count enormous, or to give a
//! lane the rows of another lane.
//!
//! ```text
//! byte 0          bytes 1, 2                 16 bytes each
//! which region    where it is cut, if at all  patch, patch, …
//! ```

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, io};

const PAGE_BYTES: usize = 4096;
const PATCH_BYTES: usize = 16;
/// Maximum number of patches; further ones are ignored, so that the fuzzer finds small inputs.
const PATCHES_MAX: usize = 64;

/// A region of a killed process, and its pages that are not all zeros.
struct Region {
    bytes: Vec<u8>,
    used_pages: Vec<usize>,
}

/// Returns the directory in which the binary `seed` stores the regions.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/regions")
}

fn regions() -> io::Result<Vec<Region>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory())?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(|path| Ok(Region::new(fs::read(path)?))).collect()
}

impl Region {
    fn new(mut bytes: Vec<u8>) -> Region {
        let is_used = |page: &[u8]| page.iter().any(|byte| *byte != 0);
        let pages = bytes.chunks(PAGE_BYTES).enumerate();
        let used_pages: Vec<usize> =
            pages.filter(|(_, page)| is_used(page)).map(|(number, _)| number).collect();
        // What follows was never touched.
        bytes.truncate((used_pages.last().map_or(0, |last| last + 1)) * PAGE_BYTES);
        Region { bytes, used_pages }
    }
}

/// Returns the region of an input with its patches applied; `None` if the input is too short.
///
/// # Panics
///
/// Panics if there are no regions.
pub fn patched(input: &[u8]) -> Option<Vec<u8>> {
    static REGIONS: OnceLock<Vec<Region>> = OnceLock::new();
    let regions =
        REGIONS.get_or_init(|| regions().expect("the binary `seed` makes regions, and `run` starts it"));
    let ([which, cut @ ..], patches) = input.split_first_chunk::<3>()?;
    let region = regions.get(usize::from(*which) % regions.len().max(1))?;
    let mut bytes = region.bytes.clone();
    for patch in patches.chunks_exact(PATCH_BYTES).take(PATCHES_MAX) {
        apply(&mut bytes, &region.used_pages, patch);
    }
    match u16::from_le_bytes(*cut) {
        0 => {}
        cut => bytes.truncate(bytes.len() * usize::from(cut) / usize::from(u16::MAX)),
    }
    Some(bytes)
}

/// Changes one word, or one page.
fn apply(bytes: &mut [u8], used_pages: &[usize], patch: &[u8]) {
    let half = |at: usize| usize::from(u16::from_le_bytes([patch[at], patch[at + 1]]));
    let page = |number: usize| used_pages[number % used_pages.len()] * PAGE_BYTES;
    let (place, value) =
        (page(half(0)) + half(2) % (PAGE_BYTES - 7), u64::from_le_bytes(patch[8..].try_into().unwrap()));
    let (operation, shift, other) = (patch[4], u32::from(patch[5]) % 64, page(half(6)));
    // Most figures lie at multiples of eight.
    let aligned = place & !7;
    let word = u64::from_le_bytes(bytes[aligned..aligned + 8].try_into().unwrap());
    let new = match operation % 8 {
        0 => value >> shift,
        1 => word.wrapping_add(value),
        2 => word.wrapping_sub(value >> shift),
        3 => word ^ 1 << shift,
        // The word at the same place of another page.
        4 => {
            let at = other + aligned % PAGE_BYTES;
            u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
        }
        5 => return bytes.copy_within(other..other + PAGE_BYTES, page(half(0))),
        6 => return bytes[place..place + 4].copy_from_slice(&value.to_le_bytes()[..4]),
        _ => return bytes[place] = value as u8,
    };
    bytes[aligned..aligned + 8].copy_from_slice(&new.to_le_bytes());
}

/// Returns the first inputs: every region unchanged, cut in half, and with one patch of each kind.
pub fn first_inputs() -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = Vec::new();
    for which in 0..regions()?.len() as u8 {
        inputs.push(vec![which, 0, 0]);
        inputs.push(vec![which, 0xFF, 0x7F]);
        for operation in 0..8 {
            let mut input = vec![which, 0, 0];
            for page in 0..8 {
                input.extend_from_slice(&[page * 3, 0, page * 24, operation, operation, page, 1, 0]);
                input.extend_from_slice(&(!0u64 >> (8 * page)).to_le_bytes());
            }
            inputs.push(input);
        }
    }
    Ok(inputs)
}
