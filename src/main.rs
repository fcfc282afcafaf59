//! Parses the command line, runs one command, sets the exit code.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads")]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;
use videogen_exporter::cli::{Cli, Failure};

/// The system's allocator keeps an arena a thread, and what one thread has freed the others cannot use: a table that many
/// threads fill and empty for months takes a fifth less room with this one (docs/architecture.md has the figures).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "videogen-exporter: {failure}");
            match failure {
                Failure::Input(_) => ExitCode::from(1),
                Failure::Other(_) => ExitCode::from(3),
            }
        }
    }
}
