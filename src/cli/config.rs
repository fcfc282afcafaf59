//! `config`: prints what describes the configuration file.

use clap::{Args, Subcommand};

use super::failure::{Failure, print_text};

/// A test writes it from the types of the configuration. The program that generates it would be half a megabyte larger.
const SCHEMA: &str = include_str!("../../docs/videogen-exporter.schema.json");

/// The arguments.
#[derive(Debug, Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Print the JSON Schema of the configuration file, for completion in editors.
    Schema,
}

impl ConfigCommand {
    /// Prints it.
    pub fn run(&self) -> Result<(), Failure> {
        match self.part {
            Part::Schema => print_text(SCHEMA.as_bytes()),
        }
    }
}
