//! How a command ends badly, and how it prints.

use std::fmt;
use std::io::{self, Write as _};

use crate::config::{Config, ConfigError, Upstream};

/// How a command ends badly.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the input is wrong.
    Input(String),
    /// Something else.
    Other(anyhow::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) => f.write_str(message),
            Self::Other(error) => write!(f, "{error:#}"),
        }
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

/// Prints a line of what a command has to say. A reader that has seen enough, such as `head`, is no failure.
pub fn say(line: impl fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}

/// The upstream of that name.
pub fn upstream_of<'a>(config: &'a Config, name: &str) -> Result<&'a Upstream, Failure> {
    config.upstreams.iter().find(|upstream| *upstream.name == *name).ok_or_else(|| {
        let names: Vec<_> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
        Failure::Input(format!("there is no upstream of that name; there are {}", names.join(", ")))
    })
}
