//! `config`: prints what describes the configuration file.

use clap::{Args, Subcommand};

use super::failure::{Failure, print_line};
use crate::config::json_schema;

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
            Part::Schema => print_line(format!("{:#}", json_schema())),
        }
    }
}
