//! Lookup of functions, files and lines, with a progress bar.

use std::path::Path;

use heapledger::Profile;
use heapledger_cli::symbols::{self, NameCache, Options, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::NameArgs;

/// Looks up missing symbols of `profile`. A bundled dump already had its symbols when it was written, and its program
/// may have been rebuilt since. So for a bundled dump, symbols are looked up only if the arguments name debug
/// directories. `dump` is the path of the dump, in whose directory the files of replaced programs are searched.
pub fn look_up(profile: &mut Profile, args: &NameArgs, dump: &Path) {
    look_up_with(profile, args, dump, None);
}

/// Looks up symbols as [`look_up`] does. Uses the names in `cache`, which were found for earlier profiles.
pub fn look_up_with(profile: &mut Profile, args: &NameArgs, dump: &Path, cache: Option<&mut NameCache>) {
    if !profile.symbols.is_empty() && args.debug_directories.is_empty() {
        return symbols::name_scopes(profile);
    }
    // The lookup writes new notes, so the old ones are removed.
    profile.symbols.notes.clear();
    let directory = dump.parent().filter(|_| dump.as_os_str() != "-");
    // A path without a directory is relative to the working directory.
    let directory = directory.map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let options = Options {
        debug_directories: args.debug_directories.clone(),
        dump_directory: directory.map(Path::to_owned),
    };
    // The bar is hidden if standard error is not a terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("names {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    let mut told = |progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    match cache {
        Some(cache) => cache.resolve(profile, &options, &mut told),
        None => symbols::resolve(profile, &options, &mut told),
    }
    bar.finish_and_clear();
    symbols::name_scopes(profile);
}
