//! Subcommand `bundle`: stores symbols in a dump, so that any machine can show them.
//!
//! A damaged dump is rejected, because the new file would no longer show that it was damaged.

use heapledger::dumps::{self, WriteError};
use heapledger::text::escape::escaped;

use crate::args::BundleArgs;
use crate::exit::{Exit, Failure, FailureKind};
use crate::{names, read};

pub fn bundle(args: &BundleArgs) -> Result<Exit, Failure> {
    let mut input = read::whole(&args.file)?;
    let shown = escaped(&args.file.display().to_string());
    if let Some(damage) = input.origin.damage.first() {
        let error = format_args!("{shown} is damaged ({}); a bundle would hide that", escaped(damage));
        return Err(
            Failure::new(FailureKind::Unreadable, error).hint("`heapledger report` shows what is left of it")
        );
    }
    let is_stdin = args.file.as_os_str() == "-";
    let Some(target) = args.output.as_ref().or((!is_stdin).then_some(&args.file)) else {
        let error = "standard input cannot be replaced";
        return Err(Failure::new(FailureKind::Usage, error).hint("say with -o which file to write"));
    };
    names::look_up(&mut input.profile, &args.names, &args.file);
    let written = dumps::write_with_notes(target, &input.profile, &input.origin.notes).map_err(unwritable)?;
    let symbols = &input.profile.symbols;
    anstream::eprintln!(
        "{}: {} bytes, {} addresses with names",
        escaped(&written.path.display().to_string()),
        written.bytes,
        symbols.frames.len()
    );
    for note in &symbols.notes {
        anstream::eprintln!("note: {}", escaped(note));
    }
    Ok(Exit::Fine)
}

fn unwritable(error: WriteError) -> Failure {
    Failure::new(FailureKind::Unwritable, escaped(&error.to_string()))
}
