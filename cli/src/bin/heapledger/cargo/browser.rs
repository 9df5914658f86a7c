//! Start of a browser.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::exit::{Failure, FailureKind};

/// Opens a page in the browser: the one in the variable `BROWSER`, or else the system's default.
pub(super) fn open_page(page: &Path) -> Result<(), Failure> {
    let browser = env::var_os("BROWSER").filter(|browser| !browser.is_empty());
    let default = match env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let browser = browser.unwrap_or_else(|| default.into());
    Command::new(&browser).arg(page).stdout(Stdio::null()).spawn().map(drop).map_err(|error| {
        let shown = browser.to_string_lossy();
        Failure::new(FailureKind::NotStarted, format_args!("cannot start the browser {shown}: {error}"))
            .hint("BROWSER names another one")
    })
}
