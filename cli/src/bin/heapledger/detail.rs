//! Options of a report on call stacks, from flags: compiles the expressions, and reads the suppressions.

use std::fs;
use std::path::Path;

use heapledger::Profile;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::paths::{GroupBy, Matcher, View};
use heapledger_cli::analysis::{Direction, Suppression, leaks, suppressions};
use heapledger_cli::report::Detail;
use regex::Regex;

use crate::args::{GroupArg, SiteArgs, TreeDirectionArg};
use crate::exit::{Failure, FailureKind};

/// Compiled regular expression.
type Predicate = Box<dyn Fn(&str) -> bool>;

/// Compiled filters and suppressions.
#[derive(Default)]
pub struct SiteFilters {
    focus: Vec<Predicate>,
    ignore: Vec<Predicate>,
    scope: Option<Predicate>,
    suppressions: Vec<Suppression>,
}

impl SiteFilters {
    pub fn read(args: &SiteArgs) -> Result<Self, Failure> {
        let mut suppressions = args.suppressions.as_deref().map_or(Ok(Vec::new()), read_suppressions)?;
        if args.leaks || args.fail_on_leak {
            suppressions.extend(suppressions::built_in());
        }
        let scope = args.scope.clone().map(|wanted| Box::new(move |name: &str| name == wanted) as Predicate);
        let (focus, ignore) = (predicates(&args.focus)?, predicates(&args.ignore)?);
        Ok(SiteFilters { focus, ignore, scope, suppressions })
    }

    /// Returns the options of a report from the flags `args`.
    pub fn detail(&self, args: &SiteArgs) -> Detail<'_> {
        let words = |name: &str, all: &[String]| all.iter().map(|text| format!("{name} {text}")).collect();
        let scope: Vec<String> = args.scope.iter().cloned().collect();
        let words: [Vec<String>; 3] =
            [words("focus", &args.focus), words("ignore", &args.ignore), words("scope", &scope)];
        Detail {
            overview: false,
            order: args.by.0,
            top: args.top,
            tree: args.tree.map(|way| match way {
                TreeDirectionArg::Callers => Direction::Callers,
                TreeDirectionArg::Callees => Direction::Callees,
            }),
            leaks: args.leaks || args.fail_on_leak,
            suppressions: &self.suppressions,
            view: View {
                with_generics: args.unfolded,
                with_library: args.unfolded,
                group: match args.group {
                    GroupArg::Line => GroupBy::Line,
                    GroupArg::Function => GroupBy::Function,
                    GroupArg::Crate => GroupBy::Crate,
                    GroupArg::Stack => GroupBy::Stack,
                },
                focus: matchers(&self.focus),
                ignore: matchers(&self.ignore),
                scope: self.scope.as_deref().map(|scope| scope as Matcher<'_>),
            },
            looked_at: words.concat().join(", "),
        }
    }
}

/// Whether any block was not freed, among those that pass the filters and match no suppression.
pub fn has_leaks(profile: &Profile, detail: &Detail<'_>) -> bool {
    leaks(profile, &detail.view, detail.suppressions).blocks > 0
}

fn matchers(predicates: &[Predicate]) -> Vec<Matcher<'_>> {
    predicates.iter().map(|predicate| &**predicate as Matcher<'_>).collect()
}

fn predicates(expressions: &[String]) -> Result<Vec<Predicate>, Failure> {
    let predicate = |text: &String| -> Result<Predicate, Failure> {
        let expression = Regex::new(text).map_err(|error| {
            Failure::new(
                FailureKind::Usage,
                format_args!("{} is no regular expression: {error}", escaped(text)),
            )
        })?;
        Ok(Box::new(move |name| expression.is_match(name)))
    };
    expressions.iter().map(predicate).collect()
}

fn read_suppressions(path: &Path) -> Result<Vec<Suppression>, Failure> {
    let shown = escaped(&path.display().to_string());
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {error}"))
    })?;
    suppressions::parse(&text).map_err(|error| {
        let said = escaped(&error.to_string());
        Failure::new(FailureKind::Usage, format_args!("{shown}: {said}"))
    })
}
