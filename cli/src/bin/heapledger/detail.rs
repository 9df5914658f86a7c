//! The options of a report on call stacks, from flags: expressions are compiled, suppressions read.

use std::fs;
use std::path::Path;

use heapledger::Profile;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::paths::{Matcher, View};
use heapledger_cli::analysis::{Direction, SiteOrder, Suppression, leaks, suppressions};
use heapledger_cli::report::Detail;
use regex::Regex;

use crate::args::{By, SiteArgs, Way};
use crate::exit::{Failure, FailureKind};

/// A compiled expression.
type Wish = Box<dyn Fn(&str) -> bool>;

/// Compiled filters and suppressions.
#[derive(Default)]
pub struct Wanted {
    focus: Vec<Wish>,
    ignore: Vec<Wish>,
    suppressions: Vec<Suppression>,
}

impl Wanted {
    pub fn read(args: &SiteArgs) -> Result<Self, Failure> {
        let suppressions = args.suppressions.as_deref().map_or(Ok(Vec::new()), known)?;
        Ok(Wanted { focus: wishes(&args.focus)?, ignore: wishes(&args.ignore)?, suppressions })
    }

    /// The options of a report, from these flags.
    pub fn detail(&self, args: &SiteArgs) -> Detail<'_> {
        let words = |name: &str, all: &[String]| all.iter().map(|text| format!("{name} {text}")).collect();
        let words: [Vec<String>; 2] = [words("focus", &args.focus), words("ignore", &args.ignore)];
        Detail {
            order: match args.by {
                By::Live => SiteOrder::Live,
                By::Peak => SiteOrder::Peak,
                By::Total => SiteOrder::Total,
                By::Count => SiteOrder::Count,
                By::Temporary => SiteOrder::Temporaries,
                By::Realloc => SiteOrder::Copied,
            },
            top: args.top,
            tree: args.tree.map(|way| match way {
                Way::Callers => Direction::Callers,
                Way::Callees => Direction::Callees,
            }),
            leaks: args.leaks || args.fail_on_leak,
            suppressions: &self.suppressions,
            view: View {
                with_generics: args.unfolded,
                with_library: args.unfolded,
                focus: matchers(&self.focus),
                ignore: matchers(&self.ignore),
            },
            looked_at: words.concat().join(", "),
        }
    }
}

/// Whether any block was not freed, among those that pass the filters and match no suppression.
pub fn has_leaks(profile: &Profile, detail: &Detail<'_>) -> bool {
    leaks(profile, &detail.view, detail.suppressions).blocks > 0
}

fn matchers(wishes: &[Wish]) -> Vec<Matcher<'_>> {
    wishes.iter().map(|wish| &**wish as Matcher<'_>).collect()
}

fn wishes(expressions: &[String]) -> Result<Vec<Wish>, Failure> {
    let wish = |text: &String| -> Result<Wish, Failure> {
        let expression = Regex::new(text).map_err(|error| {
            Failure::new(
                FailureKind::Usage,
                format_args!("{} is no regular expression: {error}", escaped(text)),
            )
        })?;
        Ok(Box::new(move |name| expression.is_match(name)))
    };
    expressions.iter().map(wish).collect()
}

fn known(path: &Path) -> Result<Vec<Suppression>, Failure> {
    let shown = escaped(&path.display().to_string());
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {error}"))
    })?;
    suppressions::parse(&text).map_err(|error| {
        let said = escaped(&error.to_string());
        Failure::new(FailureKind::Usage, format_args!("{shown}: {said}"))
    })
}
