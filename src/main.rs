//! Parses the command line, runs one command, sets the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use videogen_exporter::cli::{Cli, Failure};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("videogen-exporter: {failure}");
            match failure {
                Failure::Input(_) => ExitCode::from(1),
                Failure::Other(_) => ExitCode::from(3),
            }
        }
    }
}
