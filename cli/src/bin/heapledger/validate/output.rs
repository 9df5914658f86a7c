//! Output files of a validation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use heapledger::text::escape::escaped;
use heapledger::validation::{ValidationReport, scalability_svg, validation_html};

use super::args::ValidateArgs;
use crate::exit::{Failure, FailureKind, written};

/// Format of an output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Page,
    Plot,
    Rows,
}

impl Form {
    const fn name(self) -> &'static str {
        match self {
            Form::Json => "JSON",
            Form::Page => "page",
            Form::Plot => "plot",
            Form::Rows => "rows",
        }
    }

    fn text(self, report: &ValidationReport) -> Result<String, Failure> {
        match self {
            Form::Json => report
                .to_json()
                .map(|text| text + "\n")
                .map_err(|error| Failure::new(FailureKind::Unwritable, format_args!("no JSON: {error}"))),
            Form::Page => Ok(validation_html(report)),
            Form::Plot => Ok(report.scalability.as_ref().map(scalability_svg).unwrap_or_default()),
            Form::Rows => Ok(report.to_csv()),
        }
    }
}

/// Output files: for each the format, the path, and the open file. `None` in place of the file is standard output.
#[derive(Debug)]
pub struct Outputs(Vec<(Form, PathBuf, Option<File>)>);

impl Outputs {
    /// Opens all requested files. A file keeps its old content until the report is written.
    pub fn open(args: &ValidateArgs) -> Result<Self, Failure> {
        let asked = [
            (Form::Json, &args.json),
            (Form::Page, &args.html),
            (Form::Plot, &args.svg),
            (Form::Rows, &args.csv),
        ];
        let mut opened: Vec<(Form, PathBuf, Option<File>)> = Vec::new();
        for (form, path) in asked.into_iter().filter_map(|(form, path)| Some((form, path.as_ref()?))) {
            if opened.iter().any(|(_, other, _)| other == path) {
                let error = format_args!("{} is asked to hold two things", shown(path));
                return Err(Failure::new(FailureKind::Usage, error).hint("give each its own file"));
            }
            let to_stdout = form == Form::Json && path.as_os_str() == "-";
            let open = || OpenOptions::new().create(true).write(true).truncate(false).open(path);
            let file = if to_stdout { None } else { Some(open()) };
            let file = file.transpose().map_err(|error| {
                Failure::new(FailureKind::Unwritable, format_args!("cannot write {}: {error}", shown(path)))
            })?;
            opened.push((form, path.clone(), file));
        }
        Ok(Self(opened))
    }

    /// Whether one of the formats goes to standard output.
    pub fn uses_stdout(&self) -> bool {
        self.0.iter().any(|(.., file)| file.is_none())
    }

    pub fn write(&self, report: &ValidationReport) -> Result<(), Failure> {
        for (form, path, file) in &self.0 {
            let text = form.text(report)?;
            let result = match file {
                Some(file) => write_whole(file, text.as_bytes()),
                None => io::stdout().lock().write_all(text.as_bytes()),
            };
            written(result, shown(path))?;
        }
        Ok(())
    }

    /// Prints the list of the files.
    pub fn list(&self, out: &mut impl Write) -> io::Result<()> {
        for (form, path, _) in &self.0 {
            writeln!(out, "{:<16}{}", form.name(), shown(path))?;
        }
        Ok(())
    }
}

/// Replaces the content of a file. Only a regular file is truncated first, because devices and pipes have no length.
fn write_whole(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(bytes)
}

fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}
