//! Report on the dumps of a run, written by the code of `heapledger run`.

use std::path::{Path, PathBuf};

use super::args::RecordArgs;
use super::browser::open_page;
use crate::detail::SiteFilters;
use crate::exit::{Exit, Failure};
use crate::run;

/// Reports on the first dump and lists the other ones. With `--open` but without `--html`, the page is written to
/// `directory`.
pub(super) fn show(dumps: &[PathBuf], directory: &Path, args: &mut RecordArgs) -> Result<Exit, Failure> {
    let Some((dump, others)) = dumps.split_first() else { return Ok(Exit::Fine) };
    let reported = &mut args.reported;
    if args.open && reported.html.is_none() {
        reported.html = Some(directory.join("report.html"));
    }
    let filters = SiteFilters::read(&reported.sites)?;
    let found = run::report(reported, args.report, &filters, dump, others)?;
    if let Some(page) = reported.html.as_deref().filter(|_| args.open) {
        open_page(page)?;
    }
    Ok(found)
}
