//! Subcommand `push`: sends profiles to Pyroscope, or to a collector with the same protocol.
//!
//! A source is a file (dump, black box, trace, or profile in the format of pprof) or the endpoint of a running program.
//! The command sends one request for each source, without TLS. So it should send to a collector on the same network,
//! which forwards profiles, or to a proxy in front of the server.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use heapledger::text::escape::escaped;
use heapledger::text::units;
use heapledger_cli::export::pyroscope::{PUSH_PATH, SERVICE_LABEL, is_label_name, push_request};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::Agent;

use crate::exit::{Exit, Failure, FailureKind};
use crate::http::{agent, http_uri, said};
use crate::push_args::PushArgs;
use crate::push_source::{self, Pushed};

/// Maximum length of a server's answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Names of the environment variables with secrets. Secrets are not passed as arguments, because every user of the
/// machine can read the arguments of a process.
const PASSWORD: &str = "HEAPLEDGER_PUSH_PASSWORD";
const TOKEN: &str = "HEAPLEDGER_PUSH_TOKEN";

pub fn push(args: &PushArgs) -> Result<Exit, Failure> {
    let target = target(&args.to)?;
    let labels = labels(args)?;
    let authorization = authorization(args.user.as_deref())?;
    let agent = agent(args.timeout);
    // The bar is hidden if standard error is not a terminal.
    let bar = ProgressBar::new(args.sources.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("push {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    let (mut unreadable, mut bytes, mut sent) = (0u64, 0u64, 0u64);
    for source in &args.sources {
        match push_source::read(source, args, &agent) {
            Err(failure) if failure.is_unreadable() => {
                bar.suspend(|| failure.print());
                unreadable += 1;
            }
            Err(failure) => return Err(failure),
            Ok(pushed) => {
                bytes += pushed.pprof.len() as u64;
                let body = push_request(&with_labels(&pushed, &labels), &pushed.pprof);
                send(&agent, &target, args, authorization.as_deref(), &body)?;
                sent += 1;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let counted = units::counted(sent, "profile", "profiles");
    anstream::eprintln!("{}: {counted} of {}", escaped(&args.to), units::bytes(bytes));
    if unreadable > 0 {
        let error = format!("{} could not be read", units::counted(unreadable, "source", "sources"));
        return Err(Failure::new(FailureKind::Unreadable, error));
    }
    Ok(Exit::Fine)
}

/// Returns the URL of the request.
fn target(to: &str) -> Result<String, Failure> {
    let uri = http_uri(to, "--to")?;
    let path = uri.path().trim_end_matches('/');
    let base = to.trim_end_matches('/');
    Ok(if path.ends_with(PUSH_PATH) { base.to_owned() } else { format!("{base}{PUSH_PATH}") })
}

/// Parses the labels in the arguments.
fn labels(args: &PushArgs) -> Result<Vec<(String, String)>, Failure> {
    let parse = |label: &String| {
        let pair = label.split_once('=').filter(|(name, _)| is_label_name(name));
        let (name, value) = pair.ok_or_else(|| {
            Failure::new(FailureKind::Usage, format_args!("{} is no label", escaped(label)))
                .hint("a label is NAME=VALUE; a name has letters, digits and _")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    args.labels.iter().map(parse).collect()
}

/// Returns the labels of a profile. The labels from the arguments come last, so they take precedence.
fn with_labels(pushed: &Pushed, given: &[(String, String)]) -> Vec<(String, String)> {
    let mut labels = vec![
        // Pyroscope shows profiles of memory under this name.
        ("__name__".to_owned(), "memory".to_owned()),
        (SERVICE_LABEL.to_owned(), pushed.service.clone()),
    ];
    if !pushed.is_running {
        // The figures are sums since the start of the run. Without this label, the server would subtract the previous
        // profile of the series from them.
        labels.push(("__delta__".to_owned(), "false".to_owned()));
    }
    if !pushed.host.is_empty() {
        labels.push(("hostname".to_owned(), pushed.host.clone()));
    }
    labels.extend_from_slice(given);
    labels
}

/// Returns the value for the header `Authorization`; `None` without credentials.
fn authorization(user: Option<&str>) -> Result<Option<String>, Failure> {
    match (user, std::env::var(PASSWORD).ok(), std::env::var(TOKEN).ok()) {
        (Some(user), Some(password), _) => {
            Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))))
        }
        (Some(_), None, _) => Err(Failure::new(
            FailureKind::Usage,
            format_args!("--user needs a password in the variable {PASSWORD}"),
        )),
        (None, _, token) => Ok(token.map(|token| format!("Bearer {token}"))),
    }
}

fn send(
    agent: &Agent,
    target: &str,
    args: &PushArgs,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<(), Failure> {
    let shown = escaped(target);
    let mut request = agent
        .post(target)
        .header("Content-Type", "application/proto")
        .header("Connect-Protocol-Version", "1")
        .header("Connect-Timeout-Ms", (args.timeout.max(1) * 1_000).to_string());
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    if let Some(tenant) = &args.tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let mut answer = request.send(body).map_err(|error| {
        Failure::new(FailureKind::Unwritable, format_args!("cannot send to {shown}: {}", said(&error)))
            .hint("is the server running, and is the URL that of its HTTP port? Pyroscope's is 4040")
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().unwrap_or_default();
    let failure =
        Failure::new(FailureKind::Unwritable, format_args!("{shown} answers {status}{}", reason(&text)));
    Err(match status.as_u16() {
        401 | 403 => failure.hint(format_args!("credentials: --user with {PASSWORD}, or {TOKEN}; --tenant")),
        404 | 405 => failure.hint("no Pyroscope has this address: --to is the URL without a path"),
        413 => failure.hint("the profile is too large for the server: its limits decide"),
        429 => failure.hint("the server takes no more for the moment: send later"),
        300..=399 => failure.hint("give the address to which the server redirects"),
        _ => failure,
    })
}

/// Returns the reason for an error from a server's answer: code and message of a Connect error, or else the text of the
/// answer.
fn reason(text: &str) -> String {
    let connect: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let field = |name: &str| connect.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let said = match (field("code"), field("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => text.trim().chars().take(300).collect(),
    };
    if said.is_empty() { said } else { format!(": {}", escaped(&said)) }
}
