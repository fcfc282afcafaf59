//! Parses the command line, runs a command and sets the exit code.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when the output is closed")]

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;
use videogen_exporter::cli::{Cli, Failure};

/// The system's allocator has one arena per thread, and memory that one thread frees is not reused by the others. With
/// jemalloc the long-lived tables take a fifth less memory (figures in docs/architecture.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How long the last message may take to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes to standard error, which may be closed, or a pipe that nobody reads.
fn report(message: String) {
    let (written, done) = mpsc::channel();
    let write = move || {
        let _ = io::stderr().write_all(message.as_bytes());
        let _ = written.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = done.recv_timeout(PATIENCE);
    }
}

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(format!("videogen-exporter: {failure}\n"));
            match failure {
                Failure::Input(_) => ExitCode::from(1),
                Failure::Usage(_) => ExitCode::from(2),
                Failure::Other(_) => ExitCode::from(3),
            }
        }
    }
}
