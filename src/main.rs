//! Parses the command line, runs a command and sets the exit code.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when the output is closed")]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;
use videogen_exporter::cli::{Cli, Failure};

/// The system's allocator has one arena per thread, and memory that one thread frees is not reused by the others. With
/// jemalloc the long-lived tables take a fifth less memory (figures in docs/architecture.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "videogen-exporter: {failure}");
            match failure {
                Failure::Input(_) => ExitCode::from(1),
                Failure::Other(_) => ExitCode::from(3),
            }
        }
    }
}
