//! Subcommand `environment`: prints the environment variables that a recorded program reads.

use std::io::{self, Write};

use crate::exit::{Exit, Failure, STDOUT, written};

/// Output of the subcommand, which is also its help text.
pub const TEXT: &str = "\
Environment variables of a program that has a HeapLedger. Each is read once, when the program starts, and overrides what \
the program's builder says. A value that cannot be read is reported on standard error and ignored; a set-user-id program \
ignores them all.

  HEAPLEDGER=off              record nothing
  HEAPLEDGER_DUMP             path of the dump at exit, with %e (program), %p (process id) and %t (seconds since
                              1970), or off; without it heapledger.%e.%p.hl in the directory of the start
  HEAPLEDGER_MODE             perfect (default), high, throughput, best-effort: what happens when a ring is full
  HEAPLEDGER_STACKS           auto (default), fp, dwarf, sampled:BYTES, off: how call stacks are taken
  HEAPLEDGER_CLOCK            batched (default), per-event, monotonic: how events are dated
  HEAPLEDGER_TRACE            path of a trace with every event, with the same % codes, or off
  HEAPLEDGER_BLACKBOX         path of a file that keeps the record however the process ends, or off
  HEAPLEDGER_BLACKBOX_BYTES   length of that file
  HEAPLEDGER_LIVE             1, a path, or off: a page with the figures of the running process, for heapledger top
  HEAPLEDGER_SERVE            127.0.0.1:PORT, unix:PATH, public:ADDRESS:PORT, or off: an endpoint for go tool pprof,
                              Prometheus and heapledger top, in a program with heapledger's feature serve
  HEAPLEDGER_SIGNALS          HUP, INT, TERM, USR1, USR2, several with commas, or off: signals that write a dump
  HEAPLEDGER_TRIGGERS         live:BYTES, growth:BYTES (within a second), peak, loss, pressure, keep:COUNT,
                              pause:SECONDS, several with commas, or off; BYTES as 512M: what else writes a dump
  HEAPLEDGER_INTERVAL         pause of the background thread between two rounds, from 250us to 1s
  HEAPLEDGER_WARN=1           warn on standard error, at most every 10 s, when the data becomes incomplete

`heapledger push` reads HEAPLEDGER_PUSH_PASSWORD, the password of --user, and HEAPLEDGER_PUSH_TOKEN.

The command itself reads NO_COLOR, CLICOLOR, CLICOLOR_FORCE, and LC_ALL, LC_CTYPE and LANG, which say whether the terminal \
shows more than ASCII.";

pub fn environment() -> Result<Exit, Failure> {
    written(writeln!(io::stdout(), "{TEXT}"), STDOUT)?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    /// The text must list every variable that the library reads.
    #[test]
    fn every_variable_of_the_library_is_listed() {
        let library = include_str!("../../../../src/lib.rs");
        let rows = library.lines().filter_map(|line| line.strip_prefix("//! | `HEAPLEDGER"));
        let names: Vec<String> = rows
            .map(|row| format!("HEAPLEDGER{}", row.split(['`', '=']).next().unwrap_or_default()))
            .collect();
        assert!(names.len() >= 9, "{names:?}");
        for name in names {
            assert!(super::TEXT.contains(&name), "{name} is missing");
        }
    }
}
