//! Sources of `heapledger push`: reads a profile from a file or a running program, and converts it to the format of
//! pprof.

use std::path::Path;

use heapledger::dumps;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::Origin;
use heapledger_cli::export::pyroscope::pprof_program;
use heapledger_cli::export::{Format, export};
use heapledger_cli::symbols;
use ureq::Agent;

use crate::exit::{Failure, FailureKind};
use crate::http::{http_uri, said};
use crate::input::Input;
use crate::push_args::PushArgs;
use crate::{names, read};

/// Maximum length of an answer from a program's endpoint, in bytes.
pub const PULLED_BYTES_MAX: u64 = 1 << 30;
/// Path that is requested if the URL has none. The answer is a dump, whose names are then looked up here.
const DUMP_PATH: &str = "/heapledger/dump";

/// Profile in the format of pprof, with the values for its labels.
pub struct Pushed {
    pub pprof: Vec<u8>,
    pub service: String,
    /// Name of the host; empty if unknown.
    pub host: String,
    /// Whether the profile comes from a running program, so that later profiles of the program can follow.
    pub is_running: bool,
}

/// Reads the profile from a source, which is a URL or the path of a file.
pub fn read(source: &str, args: &PushArgs, agent: &Agent) -> Result<Pushed, Failure> {
    let is_url = source.contains("://");
    if is_url {
        let bytes = pull(source, agent)?;
        return of_bytes(source, bytes, args, true);
    }
    let path = Path::new(source);
    let start = std::fs::File::open(path).and_then(|mut file| {
        let mut start = [0; 2];
        std::io::Read::read_exact(&mut file, &mut start).map(|()| start)
    });
    if start.is_ok_and(|start| is_compressed(&start)) {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::new(FailureKind::Unreadable, format_args!("cannot read {}: {error}", escaped(source)))
        })?;
        return of_bytes(source, bytes, args, false);
    }
    of_input(read::whole(path)?, path, args, false)
}

/// Whether the bytes start with the magic number of gzip.
fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn pull(source: &str, agent: &Agent) -> Result<Vec<u8>, Failure> {
    let shown = escaped(source);
    let uri = http_uri(source, "source")?;
    let bare = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
    let url = if bare { format!("{}{DUMP_PATH}", source.trim_end_matches('/')) } else { source.to_owned() };
    let failed = |why: String| {
        Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {why}"))
            .hint("a program has an endpoint with the feature `serve` and HEAPLEDGER_SERVE=ADDRESS")
    };
    let mut answer = agent.get(&url).call().map_err(|error| failed(said(&error)))?;
    if !answer.status().is_success() {
        return Err(failed(format!("{url} answers {}", answer.status())));
    }
    let body = answer.body_mut().with_config().limit(PULLED_BYTES_MAX);
    body.read_to_vec().map_err(|error| failed(said(&error)))
}

fn of_bytes(source: &str, bytes: Vec<u8>, args: &PushArgs, is_running: bool) -> Result<Pushed, Failure> {
    let shown = escaped(source);
    if !is_compressed(&bytes) {
        let dump = dumps::read_bytes(&bytes).map_err(|error| {
            let why = escaped(&error.to_string());
            Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {why}"))
        })?;
        let damage = dump.damage.iter().map(ToString::to_string).collect();
        let input = Input { profile: dump.profile, origin: Origin::new(damage, dump.notes) };
        return of_input(input, Path::new("-"), args, is_running);
    }
    let Some(program) = pprof_program(&bytes) else {
        let error = format_args!("{shown} is compressed, and no profile in the format of pprof");
        return Err(Failure::new(FailureKind::Unreadable, error));
    };
    let service = args.service.clone().unwrap_or_else(|| file_name(&program));
    if service.is_empty() {
        let error = format_args!("{shown} does not tell which program it is of");
        return Err(Failure::new(FailureKind::Usage, error).hint("name it with --service"));
    }
    Ok(Pushed { pprof: bytes, service, host: String::new(), is_running })
}

fn of_input(mut input: Input, path: &Path, args: &PushArgs, is_running: bool) -> Result<Pushed, Failure> {
    if args.no_symbols {
        symbols::name_scopes(&mut input.profile);
    } else {
        names::look_up(&mut input.profile, &args.names, path);
    }
    let mut pprof = Vec::new();
    export(Format::Pprof, &input.profile, &input.origin, &mut pprof).map_err(|error| {
        Failure::new(FailureKind::Unreadable, format_args!("cannot convert {}: {error}", path.display()))
    })?;
    let process = &input.profile.process;
    let service = args.service.clone().unwrap_or_else(|| process.program.clone());
    let service = if service.is_empty() { "unknown".to_owned() } else { service };
    Ok(Pushed { pprof, service, host: process.host.clone(), is_running })
}

/// Returns the file name in a path, as the name of a program.
fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}
