//! `backup`: a consistent copy of the state, also while the exporter runs.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Failure, print_line};
use crate::config::{self, State};
use crate::store;

/// The arguments.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write; an older backup is replaced.
    #[arg(value_name = "TO_FILE")]
    to: PathBuf,
}

impl Backup {
    /// Copies the state.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let (state, warnings) = config::load_state(config)?;
        for warning in warnings {
            print_line(format_args!("warning: {warning}"))?;
        }
        let State::Sqlite(from) = state else {
            return Err(Failure::Input("state: it is in memory, and cannot be copied".to_owned()));
        };
        store::backup(&from, &self.to).map_err(|error| Failure::Input(error.to_string()))?;
        let from = from.canonicalize().unwrap_or(from);
        print_line(format_args!("{} is copied to {}", from.display(), self.to.display()))
    }
}
