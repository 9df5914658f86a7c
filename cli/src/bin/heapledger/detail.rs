//! Options of a report from flags: compiles the regular expressions, and reads the suppressions.

use std::fs;
use std::path::Path;

use heapledger::Profile;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::paths::{GroupBy, Matcher, View};
use heapledger_cli::analysis::{Direction, SiteOrder, Suppression, leaks, suppressions};
use heapledger_cli::report::Detail;
use regex::Regex;

use crate::args::ReportedArgs;
use crate::exit::{Failure, FailureKind};
use crate::figures::{GroupArg, SiteArgs, TreeDirectionArg};

/// Function that tests a text, such as a regular expression.
type Predicate = Box<dyn Fn(&str) -> bool>;

/// Filters and suppressions from flags.
#[derive(Default)]
pub struct SiteFilters {
    focus: Vec<Predicate>,
    ignore: Vec<Predicate>,
    scope: Option<Predicate>,
    suppressions: Vec<Suppression>,
}

impl SiteFilters {
    pub fn read(args: &SiteArgs) -> Result<Self, Failure> {
        if args.group == GroupArg::Thread {
            check_by_thread(args)?;
        }
        let mut suppressions = args.suppressions.as_deref().map_or(Ok(Vec::new()), read_suppressions)?;
        if args.leaks || args.fail_on_leak {
            suppressions.extend(suppressions::built_in());
        }
        let scope = args.scope.clone().map(|wanted| Box::new(move |name: &str| name == wanted) as Predicate);
        let (focus, ignore) = (predicates(&args.focus)?, predicates(&args.ignore)?);
        Ok(SiteFilters { focus, ignore, scope, suppressions })
    }

    /// Returns the options of a report. Without `--all`, the report is short.
    pub fn detail_of(&self, args: &ReportedArgs) -> Detail<'_> {
        Detail { overview: !args.all, ..self.detail(&args.sites) }
    }

    /// Returns the options of a report on call stacks.
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
                    GroupArg::Scope => GroupBy::Scope,
                    GroupArg::Thread => GroupBy::Thread,
                },
                own: args.own.clone(),
                focus: matchers(&self.focus),
                ignore: matchers(&self.ignore),
                scope: self.scope.as_deref().map(|scope| scope as Matcher<'_>),
            },
            looked_at: words.concat().join(", "),
            sources: Vec::new(),
        }
    }
}

/// Returns a failure if flags for sums by thread select figures or stacks that are not recorded by thread.
fn check_by_thread(args: &SiteArgs) -> Result<(), Failure> {
    let figure = args.by.0;
    if !matches!(figure, SiteOrder::Total | SiteOrder::Count | SiteOrder::Live) {
        let error = format_args!("the figure {} is not recorded by thread", figure.name());
        return Err(Failure::new(FailureKind::Usage, error)
            .hint("with --group thread, take --by total, count or live"));
    }
    if !args.focus.is_empty() || !args.ignore.is_empty() || args.scope.is_some() {
        let error =
            "--focus, --ignore and --scope select call stacks, and the figures of threads are of all stacks";
        return Err(Failure::new(FailureKind::Usage, error).hint("leave them out, or take another --group"));
    }
    Ok(())
}

/// Whether the profile has a live block that passes the filters and matches no suppression.
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
