//! Target of the load: a workload of the library, a program, or a service.

use std::path::Path;
use std::process::ExitCode;

use heapledger::validation::hybrid::{HybridWorkload, SearchMix};
use heapledger::validation::{
    AllocWorkload, BenchError, Blocking, CommandStyle, CommandWorkload, Faulty, Recorded, Workload,
    recording_of_commands, serve,
};

use super::args::{ValidateArgs, WorkloadArg};
use super::http::HttpWorkload;
use crate::exit::{Failure, FailureKind};

impl ValidateArgs {
    /// Returns which process is recorded: the child with the workload, the user's program, or none.
    pub fn recorded(&self) -> Recorded {
        match (&self.url, self.command.is_empty()) {
            (Some(_), _) => Recorded::Nothing,
            (None, false) => Recorded::Commands,
            (None, true) => Recorded::Child,
        }
    }

    /// Reads the queries from the file of `--queries`, one per line.
    pub fn queries(&self) -> Result<Vec<String>, Failure> {
        self.queries.as_deref().map_or(Ok(Vec::new()), read_queries)
    }
}

fn read_queries(path: &Path) -> Result<Vec<String>, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::new(FailureKind::Usage, format_args!("{}: {why}", path.display()))
            .hint("--queries is a file with one query a line")
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
    let queries: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if queries.is_empty() { Err(unusable(&"no query")) } else { Ok(queries) }
}

/// Runs the workload in a child process, with the load that the parent process sends.
pub fn serve_workload(args: &ValidateArgs, queries: Vec<String>) -> ExitCode {
    if let Some(url) = &args.url {
        let service = HttpWorkload::new(url, args.body.as_deref(), queries, args.request_timeout);
        let service = if args.same_answers { service.same_answers() } else { service };
        return serve_with_faults(args, || Ok(Blocking(service)));
    }
    if !args.command.is_empty() {
        return serve_with_faults(args, || command(args, queries));
    }
    let documents = args.documents;
    let search = |mix| move || HybridWorkload::synthetic(documents, args.seed, mix);
    match args.workload {
        WorkloadArg::Alloc => {
            serve_with_faults(args, || Ok(AllocWorkload { allocs: 200, size: 1024, lifetime: 256 }))
        }
        WorkloadArg::Text => serve_with_faults(args, search(SearchMix::TEXT)),
        WorkloadArg::Hybrid => serve_with_faults(args, search(SearchMix::REALISTIC)),
    }
}

fn command(args: &ValidateArgs, queries: Vec<String>) -> Result<CommandWorkload, BenchError> {
    let style = if args.per_user { CommandStyle::PerUser } else { CommandStyle::PerRequest };
    let mut workload = CommandWorkload::new(&args.command, queries)?.style(style);
    if let Some(setting) = recording_of_commands() {
        workload = workload.variable("HEAPLEDGER", &setting);
    }
    Ok(if args.same_answers { workload.same_answers() } else { workload })
}

fn serve_with_faults<W: Workload>(
    args: &ValidateArgs,
    make: impl FnOnce() -> Result<W, BenchError>,
) -> ExitCode {
    if args.fault.is_empty() {
        return serve(|_| make());
    }
    serve(|_| make().map(|workload| Faulty::new(workload, args.fault.clone())))
}
