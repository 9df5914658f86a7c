//! A workload that runs a given program, once for each request or once for each simulated user.
//!
//! With [`CommandStyle::PerRequest`] each request starts the program and waits for its end. With
//! [`CommandStyle::PerUser`] each user starts the program once. A request is then a line on the program's standard
//! input, and the answer is the next line of its standard output. The program's allocations are recorded if the
//! variable `HEAPLEDGER` in its environment says so. The process that drives the load is not recorded.

use std::io;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::random::UserRng;
use super::answers::{Answers, checksum_of};
use super::definition::{Outcome, UserId, Workload};
use crate::validation::BenchError;

/// Placeholder for the query in an argument.
const QUERY: &str = "{}";
/// Placeholder for the user's number in an argument.
const USER: &str = "{user}";

/// How often the program is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandStyle {
    /// The program is started for each request. The request fails if the program's exit code is not 0.
    #[default]
    PerRequest,
    /// The program is started for each user, and gets the user's requests as lines. The end of the session closes the
    /// program's input.
    PerUser,
}

/// A program under load. In an argument, `{}` is replaced by the query, and `{user}` by the user's number.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use heapledger::validation::{BenchmarkConfig, CommandWorkload, ConcurrentBenchmark, LoadModel};
/// let command = ["grep".to_owned(), "-c".to_owned(), "{}".to_owned(), "/etc/passwd".to_owned()];
/// let workload = CommandWorkload::new(&command, vec!["root".to_owned(), "bin".to_owned()])?;
/// let benchmark = ConcurrentBenchmark::new(workload, BenchmarkConfig::default())?;
/// let result = benchmark.run_concurrent_test(LoadModel::closed(2), Duration::from_secs(5))?;
/// assert_eq!(result.failed_requests, 0);
/// # Ok::<(), heapledger::validation::BenchError>(())
/// ```
#[derive(Debug)]
pub struct CommandWorkload {
    name: String,
    command: Vec<String>,
    style: CommandStyle,
    queries: Vec<String>,
    answers: Answers,
    environment: Vec<(String, String)>,
}

/// The session of a [`CommandWorkload`], with the user's process for [`CommandStyle::PerUser`].
#[derive(Debug)]
pub struct CommandSession {
    user: usize,
    process: Option<(ChildStdin, Lines<BufReader<ChildStdout>>, Child)>,
}

impl CommandWorkload {
    /// Creates a workload that runs `command`, a program and its arguments, with one of `queries` for each request. If
    /// `queries` is empty, every request has an empty query.
    ///
    /// # Errors
    /// Returns [`BenchError::NoCommand`] if the command is empty.
    pub fn new(command: &[String], queries: Vec<String>) -> Result<Self, BenchError> {
        if command.first().is_none_or(String::is_empty) {
            return Err(BenchError::NoCommand);
        }
        let queries = if queries.is_empty() { vec![String::new()] } else { queries };
        Ok(Self {
            name: format!("command: {}", command.join(" ")),
            command: command.to_vec(),
            style: CommandStyle::default(),
            answers: Answers::unchecked(),
            queries,
            environment: Vec::new(),
        })
    }

    /// Sets how often the program is started.
    #[must_use]
    pub const fn style(mut self, style: CommandStyle) -> Self {
        self.style = style;
        self
    }

    /// Sets a variable in the environment of the program.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Compares each answer, which is the output of the program, with the first answer to the same query.
    #[must_use]
    pub fn same_answers(mut self) -> Self {
        self.answers = Answers::checked(self.queries.len());
        self
    }

    fn command(&self, user: usize, query: &str) -> Command {
        let user = user.to_string();
        let filled = |argument: &String| argument.replace(USER, &user).replace(QUERY, query);
        let mut command = Command::new(&self.command[0]);
        command.args(self.command[1..].iter().map(filled)).kill_on_drop(true);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped());
        command
    }

    async fn run_once(&self, user: usize, query: &str) -> io::Result<Outcome> {
        let mut child = self.command(user, query).stdin(Stdio::null()).spawn()?;
        let mut output = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut output).await?;
        }
        let status = child.wait().await?;
        if status.success() {
            Ok(Outcome { items: 1, checksum: checksum_of(&output) })
        } else {
            Err(io::Error::other(format!("it ended with {status}")))
        }
    }
}

impl Workload for CommandWorkload {
    type Session = CommandSession;
    /// The number of the query.
    type Request = usize;
    type Conn = ();
    type Error = io::Error;

    fn name(&self) -> &str {
        &self.name
    }

    async fn open_session(&self, UserId(user): UserId) -> io::Result<CommandSession> {
        if self.style == CommandStyle::PerRequest {
            return Ok(CommandSession { user, process: None });
        }
        let mut child = self.command(user, "").stdin(Stdio::piped()).spawn()?;
        let missing = || io::Error::other("the process has no standard streams");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        Ok(CommandSession { user, process: Some((input, output, child)) })
    }

    fn connect(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn next_request(&self, _: &mut CommandSession, rng: &mut UserRng, _: u64) -> usize {
        rng.pick(self.queries.len())
    }

    async fn execute(
        &self,
        session: &mut CommandSession,
        _: Option<&mut ()>,
        query: &usize,
    ) -> io::Result<Outcome> {
        let query = &self.queries[*query];
        let Some((input, output, _)) = &mut session.process else {
            return self.run_once(session.user, query).await;
        };
        input.write_all(format!("{query}\n").as_bytes()).await?;
        input.flush().await?;
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the process ended before its answer");
        let answer = output.next_line().await?.ok_or_else(ended)?;
        Ok(Outcome { items: 1, checksum: checksum_of(answer.as_bytes()) })
    }

    fn check(&self, query: &usize, outcome: &Outcome) -> bool {
        self.answers.agree(*query, outcome.checksum)
    }
}
