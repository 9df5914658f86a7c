//! Names of functions, files and lines, looked up behind a progress bar when somebody is watching.

use heapledger::Profile;
use heapledger_cli::symbols::{self, Options};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::NameArgs;

/// Looks up the names that `profile` does not bring with it. A bundled dump was complete when it was made, and its
/// program may have been built again since, so it is added to only when debug files are given.
pub fn look_up(profile: &mut Profile, args: &NameArgs) {
    if !profile.symbols.is_empty() && args.debug_directories.is_empty() {
        return;
    }
    // What stood in the way is asked anew.
    profile.symbols.notes.clear();
    let options = Options { debug_directories: args.debug_directories.clone() };
    // The bar hides itself when standard error is no terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("names {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    symbols::resolve(profile, &options, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
}
