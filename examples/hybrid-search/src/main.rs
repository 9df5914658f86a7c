//! Text and vector search over WordNet under load, recorded by heapledger.
//!
//! ```text
//! examples/hybrid-search/fetch-corpus.sh
//! cargo run --release -p hybrid-search
//! ```
//!
//! The program searches with tantivy and an HNSW graph, as 1, 2, 4, 8, 16 and 32 users, each level with heapledger in
//! its default mode and without. It reports completeness, wrong answers and cost at each level. The right answers are
//! those of one thread before the load. Without the corpus the program generates one, and prints `corpus: synthetic`.

mod embedding;
mod engine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use heapledger::validation::hybrid::{
    Corpus, HybridWorkload, SearchMix, SearchMode, UnifiedSearchSystem, hashed_embedding,
};
use heapledger::validation::{
    BenchError, BenchmarkConfig, Executor, LoadModel, PairedPlan, Progress, Recorded, StopHandle,
    child_command, is_child, read_baseline, run_paired, serve, stop_on_interrupt, validation_html,
};

use embedding::Embeddings;
use engine::{Tantivy, unified};

#[global_allocator]
static HEAP: heapledger::HeapLedger =
    heapledger::HeapLedger::system().on_request().dump(heapledger::DumpTarget::Off);

const SYNTHETIC_DIMENSIONS: usize = 256;

/// Run text and vector search over WordNet under load, recorded by heapledger
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of users
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32])]
    users: Vec<usize>,

    /// Length of each measured window, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,

    /// Number of pairs of runs of each level: one with recording, one without
    #[arg(long, default_value_t = 3)]
    pairs: usize,

    /// Number of indexed documents
    #[arg(long, default_value_t = 20_000)]
    documents: usize,

    /// Send text searches only, which make the most allocations
    #[arg(long)]
    text: bool,

    /// Share of the machine used by other programs, in percent, above which a run is inconclusive
    #[arg(long, default_value_t = 10.0)]
    max_foreign_cpu: f64,

    /// Write the result as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,

    /// JSON report to compare with
    #[arg(long)]
    baseline: Option<PathBuf>,

    /// Allowed deterioration since the baseline, in percent; a figure whose whole interval lies beyond it sets exit
    /// code 99
    #[arg(long, default_value_t = 5.0, requires = "baseline")]
    worse_by: f64,

    /// Write the report to this file as a self-contained HTML page
    #[arg(long)]
    html: Option<PathBuf>,

    /// Print the share of queries whose document each way of searching finds, instead of driving load
    #[arg(long)]
    quality: bool,
}

/// Returns the folder of the corpus, if `fetch-corpus.sh` has made it.
pub fn corpus_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/corpus"));
    folder.join("data.noun").is_file().then_some(folder)
}

/// Returns the corpus and the system that searches it. The name of the corpus describes its contents.
fn build(documents: usize, seed: u64) -> Result<(Corpus, UnifiedSearchSystem<Tantivy>), String> {
    let folder = corpus_folder();
    let mut corpus = match &folder {
        Some(folder) => Corpus::wordnet(folder, documents).map_err(|e| format!("WordNet: {e}"))?,
        None => Corpus::synthetic(documents, seed),
    };
    let embeddings = folder.as_deref().and_then(|folder| Embeddings::read(folder).ok());
    let kind = if embeddings.is_some() { "WordLlama" } else { "random indexing" };
    corpus.name =
        format!("corpus: {}, {} documents; embeddings: {kind}", corpus.name, corpus.documents.len());
    let system = match embeddings {
        Some(embeddings) => unified(&corpus.documents, seed, move |text| embeddings.embed(text)),
        None => unified(&corpus.documents, seed, |text| hashed_embedding(text, SYNTHETIC_DIMENSIONS)),
    };
    Ok((corpus, system.map_err(|e| format!("tantivy: {e}"))?))
}

fn workload(args: &Args, seed: u64) -> Result<HybridWorkload<Tantivy>, BenchError> {
    let failed = |error: String| BenchError::SessionOpen { user: 0, error };
    let (corpus, system) = build(args.documents, seed).map_err(failed)?;
    let (kind, mix) = if args.text { ("text", SearchMix::TEXT) } else { ("hybrid", SearchMix::REALISTIC) };
    let queries = corpus.queries.into_iter().map(|(query, _)| query).take(2000).collect();
    HybridWorkload::new(&format!("{kind} search ({})", corpus.name), system, queries, mix)
}

fn plan(args: &Args) -> PairedPlan {
    let config = BenchmarkConfig {
        executor: Executor::Threads,
        ramp_up_duration: Duration::ZERO,
        warm_up: Duration::from_secs(1),
        seed: 7,
        thresholds: ["completeness>=1", "rate(check)>=1", "rate(error)<=0"]
            .map(|t| t.parse().expect("it is one"))
            .into(),
        max_foreign_cpu: args.max_foreign_cpu / 100.0,
        ..BenchmarkConfig::default()
    };
    PairedPlan {
        loads: args.users.iter().map(|&users| LoadModel::closed(users)).collect(),
        duration: Duration::from_secs_f64(args.seconds.clamp(0.001, 86_400.0)),
        rounds: args.pairs,
        compares: true,
        recorded: Recorded::Child,
        config,
    }
}

fn show(progress: &Progress<'_>) {
    if let Progress::Finished { tracker, result } = progress {
        let complete = result.completeness.as_ref().and_then(|c| c.completeness);
        let complete =
            complete.map_or_else(String::new, |c| format!(", {:.3} % complete", (c * 1e5).floor() / 1e3));
        let recording = if *tracker { "on" } else { "off" };
        let (users, rate) = (result.concurrent_users, result.requests_per_second);
        eprintln!("{users} users, recording {recording}: {rate:.1} answers a second{complete}");
    }
}

fn load(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let stop = StopHandle::default();
    stop_on_interrupt(&stop)?;
    let baseline = args.baseline.as_deref().map(read_baseline).transpose()?;
    let mut report = run_paired(&plan(args), child_command, &stop, show)?.report();
    if let Some(baseline) = &baseline {
        report.compare_with(baseline, args.worse_by.max(0.0) / 100.0);
    }
    print!("{}", report.to_text());
    if let Some(path) = &args.json {
        std::fs::write(path, report.to_json()?)?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, validation_html(&report))?;
    }
    Ok(ExitCode::from(report.exit_code() as u8))
}

/// Prints the share of queries whose source document is among the ten results, by each way of searching.
fn quality(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (corpus, system) = build(args.documents, 7)?;
    let mut session = system.session();
    let queries: Vec<_> = corpus.queries.iter().take(2000).collect();
    println!("{}, {} queries", corpus.name, queries.len());
    for mode in [SearchMode::Text, SearchMode::Vector, SearchMode::Hybrid] {
        let found = |(query, document): &&&(String, u32)| {
            system.search_hybrid(query, mode, &mut session).iter().any(|hit| hit.document == *document)
        };
        let found = queries.iter().filter(found).count();
        println!(
            "{mode:?}: {:.3} have their document among the ten",
            found as f64 / queries.len().max(1) as f64
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let args = Args::parse();
    if is_child() {
        return serve(|config| workload(&args, config.seed));
    }
    let done = if args.quality { quality(&args) } else { load(&args) };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
