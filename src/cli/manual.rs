//! `completions` and `man`: files for shells and for man, generated from the command line.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::{Failure, print_text};

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Prints the completions of a command line.
    pub fn run(&self, mut command: Command) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "videogen-exporter", &mut text);
        print_text(&text)
    }
}

/// The arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The folder to write to; it is made if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    /// Writes a page for the program of this command line, and one for each subcommand.
    pub fn run(&self, command: Command) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            clap_mangen::generate_to(command, &self.folder)
        };
        Ok(write().with_context(|| format!("cannot write to {}", self.folder.display()))?)
    }
}
