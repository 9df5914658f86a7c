//! Subcommand `diff`: prints the differences between two dumps, and whether the dumps can be compared.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use heapledger::text::escape::escaped;
use heapledger_cli::analysis::diff::change;
use heapledger_cli::analysis::{self, Diff, Side, SiteOrder};
use heapledger_cli::export::export_diff;
use heapledger_cli::report::diff::html::write_diff_html;
use heapledger_cli::report::diff::markdown::write_diff_markdown;
use heapledger_cli::report::diff::sentence;
use heapledger_cli::report::write_diff;

use crate::args::{DiffArgs, DiffFormat};
use crate::exit::{Exit, Failure, FailureKind, STDOUT, is_same_file, written};
use crate::input::Input;
use crate::page::layout;
use crate::{names, read};

pub fn diff(args: &DiffArgs) -> Result<Exit, Failure> {
    let (mut first, mut second) = (read::whole(&args.before)?, read::whole(&args.after)?);
    if !args.no_symbols {
        names::look_up(&mut first.profile, &args.names, &args.before);
        names::look_up(&mut second.profile, &args.names, &args.after);
    }
    let (before, after) = (side(&first), side(&second));
    let diff = analysis::diff(before, after);
    if !diff.is_comparable() && !args.force {
        return Err(refusal(&diff));
    }
    let order = args.by.map(|by| by.0);
    if let Some(path) = &args.html {
        let shown = escaped(&path.display().to_string());
        if [&args.before, &args.after].into_iter().any(|dump| is_same_file(path, dump)) {
            let error = format_args!("{shown} is one of the dumps; it was left alone");
            return Err(Failure::new(FailureKind::Usage, error).hint("choose another file for --html"));
        }
        let result = create(path).and_then(|mut out| {
            write_diff_html(&diff, before, after, order.unwrap_or_else(|| diff.most_changed()), &mut out)
                .and_then(|()| out.flush())
        });
        written(result, &shown)?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = match args.format {
        DiffFormat::Json => export_diff(&diff, before, after, &mut out),
        DiffFormat::Markdown => write_diff_markdown(&diff, before, after, order, args.top, &mut out),
        DiffFormat::Text => {
            write_diff(&diff, before, after, order, args.top, &layout(&args.page, &io::stdout()), &mut out)
        }
    };
    written(result.and_then(|()| out.flush()), STDOUT)?;
    let asked = order.map_or(SiteOrder::ALL.to_vec(), |order| vec![order]);
    let growth = asked.iter().map(|order| change(diff.before.of(*order), diff.after.of(*order))).max();
    let is_too_much = args.fail_on_growth.zip(growth).is_some_and(|(most, growth)| growth > i128::from(most));
    Ok(if is_too_much { Exit::Finding } else { Exit::Fine })
}

fn side(input: &Input) -> Side<'_> {
    Side { profile: &input.profile, origin: &input.origin }
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    File::create(path).map(BufWriter::new)
}

fn refusal(diff: &Diff) -> Failure {
    let reasons: Vec<String> = diff.issues.iter().filter(|issue| issue.forbids()).map(sentence).collect();
    let error = format_args!("these dumps cannot be compared: {}", reasons.join("; ")).to_string();
    Failure::new(FailureKind::Usage, error).hint("--force compares them nonetheless, and says so")
}
