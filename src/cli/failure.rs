//! Failures of commands, and output to the user.

use std::fmt;
use std::io::{self, Write as _};

use crate::config::{Config, ConfigError, Upstream};
use crate::domain::labels::escape_invisible;

/// Why a command failed; selects its exit code.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the input is invalid.
    Input(String),
    /// Options do not fit each other.
    Usage(String),
    /// Any other error.
    Other(anyhow::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::Input(message) | Self::Usage(message) => message.clone(),
            Self::Other(error) => format!("{error:#}"),
        };
        f.write_str(&escape_invisible(&message))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Input(error.to_string())
    }
}

/// Prints a line to standard output, with its invisible characters escaped: it may have texts of an upstream. A closed pipe, for example by `head`, is not a failure.
pub fn print_line(line: impl fmt::Display) -> Result<(), Failure> {
    print_text(format!("{}\n", escape_invisible(&line.to_string())).as_bytes())
}

/// Prints a text of our own as it is.
pub fn print_text(text: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}

/// Finds an upstream by name.
pub fn find_upstream<'a>(config: &'a Config, name: &str) -> Result<&'a Upstream, Failure> {
    config.upstream(name).ok_or_else(|| {
        let names: Vec<_> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
        Failure::Input(format!("no such upstream `{name}`; known upstreams: {}", names.join(", ")))
    })
}
