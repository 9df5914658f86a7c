//! Makes the initial corpora of the targets, from the golden files of the format and from black boxes of killed
//! processes. `run` calls this program.

mod victim;

use std::fs;
use std::path::Path;

use heapledger::profile::{Scope, ScopeCounts, Site, Stack, scope_address};
use heapledger::{Profile, dumps};
// Its runtime is what the instrumented library calls.
use libfuzzer_sys as _;

fn main() -> std::io::Result<()> {
    victim::be_one();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![written(&Profile::default()), written(&with_scopes())];
    for entry in fs::read_dir(here.join("../tests/data"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hl") {
            files.push(fs::read(path)?);
        }
    }
    for target in ["reader", "repaired", "text", "html", "exports", "diff", "suppressions"] {
        let corpus = here.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        for (number, file) in files.iter().enumerate() {
            let seed = match target {
                "reader" => file.clone(),
                "suppressions" => b"# a comment\nleak:*serde*\n\nleak:^main$\nleak:a*b\n".to_vec(),
                _ => heapledger_fuzz::plain(file),
            };
            fs::write(corpus.join(format!("golden-{number}")), seed)?;
        }
    }
    traces(&here.join("corpus/trace"))?;
    black_boxes(&here.join("corpus/blackbox"))
}

/// A trace as its process left it, and in the form that can be changed.
fn traces(corpus: &Path) -> std::io::Result<()> {
    fs::create_dir_all(corpus)?;
    let path = corpus.join("whole");
    victim::make_trace(&path)?;
    fs::write(corpus.join("plain"), heapledger_fuzz::trace::plain(&fs::read(&path)?))
}

fn black_boxes(corpus: &Path) -> std::io::Result<()> {
    victim::make_regions(&heapledger_fuzz::region::directory())?;
    fs::create_dir_all(corpus)?;
    for (number, input) in heapledger_fuzz::region::first_inputs()?.into_iter().enumerate() {
        fs::write(corpus.join(format!("first-{number}")), input)?;
    }
    Ok(())
}

fn written(profile: &Profile) -> Vec<u8> {
    let mut file = Vec::new();
    dumps::write_to(&mut file, profile).expect("it goes into memory");
    file
}

/// A profile with nested scopes, sites in them, and uses that changed where blocks are counted.
fn with_scopes() -> Profile {
    let scope = |name: &str, parent, bytes| Scope {
        name: name.into(),
        parent,
        total_blocks: 1,
        total_bytes: bytes,
        peak_bytes: bytes,
        threads: 1,
        ..Scope::default()
    };
    let stack = |frames: &[u64]| Stack { frames: frames.to_vec(), truncated: false };
    let site = |stack, bytes| Site { stack, total_blocks: 1, total_bytes: bytes, ..Site::default() };
    let [server, search] = [2, 3].map(scope_address);
    Profile {
        scopes: vec![scope("(others)", 0, 0), scope("server", 0, 300), scope("GET /search", 2, 200)],
        scope_counts: ScopeCounts { without_room: 1, out_of_order: 2, late_tokens: 3 },
        stacks: vec![Stack::default(), stack(&[0x1000, server]), stack(&[0x1000, 0x2000, search, server])],
        sites: vec![site(1, 100), site(2, 200)],
        ..Profile::default()
    }
}
