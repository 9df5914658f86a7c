//! Makes the initial corpora of the targets, from the golden files of the format and from black boxes of killed
//! processes. `run` calls this program.

mod victim;

use std::fs;
use std::path::Path;

use heapledger::{Profile, dumps};
// Its runtime is what the instrumented library calls.
use libfuzzer_sys as _;

fn main() -> std::io::Result<()> {
    victim::be_one();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![empty()];
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
    black_boxes(&here.join("corpus/blackbox"))
}

fn black_boxes(corpus: &Path) -> std::io::Result<()> {
    victim::make_regions(&heapledger_fuzz::region::directory())?;
    fs::create_dir_all(corpus)?;
    for (number, input) in heapledger_fuzz::region::first_inputs()?.into_iter().enumerate() {
        fs::write(corpus.join(format!("first-{number}")), input)?;
    }
    Ok(())
}

fn empty() -> Vec<u8> {
    let mut file = Vec::new();
    dumps::write_to(&mut file, &Profile::default()).expect("it goes into memory");
    file
}
