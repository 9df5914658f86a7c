//! Completions for shells, and manual pages. Both are generated from the definition of the command line.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use heapledger::text::escape::escaped;

use crate::exit::{Exit, Failure, FailureKind, STDOUT, written};

/// Print the completions of a shell
///
/// For bash: `heapledger completions bash > ~/.local/share/bash-completion/completions/heapledger`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Shell to complete in
    pub shell: Shell,
}

/// Print the manual page, or write a page for each subcommand
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Directory for the pages `heapledger.1`, `heapledger-report.1` and so on
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Prints a script that completes the command line `command` in a shell.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "heapledger", &mut text);
    written(io::stdout().write_all(&text), STDOUT)?;
    Ok(Exit::Fine)
}

/// Writes the manual pages of the command line `command`: a page for each subcommand into a directory, or one page to
/// standard output.
pub fn man(args: &ManArgs, mut command: Command) -> Result<Exit, Failure> {
    command.build();
    let Some(directory) = &args.directory else {
        written(Man::new(command).render(&mut io::stdout()), STDOUT)?;
        return Ok(Exit::Fine);
    };
    let visible = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let pages: Vec<Command> = visible
        .filter(|subcommand| subcommand.get_name() != "help")
        .map(|subcommand| {
            subcommand.clone().name(format!("heapledger-{}", subcommand.get_name()).leak() as &str)
        })
        .collect();
    for page in std::iter::once(command.clone()).chain(pages) {
        let path = directory.join(format!("{}.1", page.get_name()));
        let result = File::create(&path).and_then(|mut file| Man::new(page).render(&mut file));
        result.map_err(|error| {
            let shown = escaped(&path.display().to_string());
            Failure::new(FailureKind::Unwritable, format_args!("cannot write {shown}: {error}"))
        })?;
    }
    Ok(Exit::Fine)
}
