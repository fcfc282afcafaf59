//! A saved response on the command line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::domain::{Answer, ApiError};
use crate::provider::Dialect;

/// Largest accepted responses, as in the exporter's defaults: usually, and where responses repeat inputs.
const MAX_BODY_SIZES: (u64, u64) = (4 << 20, 64 << 20);

/// The arguments.
#[derive(Debug, Args)]
pub struct SavedResponse {
    /// The HTTP status of the response.
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..=599))]
    pub http_status: u16,
    /// A header of the response, as 'Name: value'; can be repeated.
    #[arg(long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<String>,
    /// The file that contains the body, or - for standard input.
    file: PathBuf,
}

/// The body of a saved response.
pub struct Body {
    /// Its bytes, as far as they were read.
    pub bytes: Vec<u8>,
    /// It has more than are accepted.
    pub is_too_large: bool,
}

fn parse_header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("expected 'Name: value'".to_owned()),
    }
}

impl SavedResponse {
    /// Reads the body.
    pub fn read_body(&self, dialect: &Dialect) -> Result<Body, Failure> {
        let max = if dialect.repeats_inputs() { MAX_BODY_SIZES.1 } else { MAX_BODY_SIZES.0 };
        let mut bytes = Vec::new();
        let read = if self.file.as_os_str() == "-" {
            io::stdin().lock().take(max + 1).read_to_end(&mut bytes)
        } else {
            File::open(&self.file).and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        };
        read.map_err(|error| Failure::Input(format!("{}: cannot read the file: {error}", self.file.display())))?;
        let is_too_large = bytes.len() as u64 > max && (200..300).contains(&self.http_status);
        Ok(Body { bytes, is_too_large })
    }

    /// Decodes a body as the response to the request for a task.
    pub fn read(&self, dialect: &Dialect, body: &[u8]) -> Result<Answer, ApiError> {
        let header = dialect.answer_header().and_then(|wanted| self.header(wanted));
        let mut answer = dialect.read(self.http_status, body)?;
        dialect.apply_header(&mut answer, header);
        Ok(answer)
    }

    /// The value of a header that was given.
    fn header(&self, wanted: &str) -> Option<&str> {
        let pairs = self.headers.iter().filter_map(|header| header.split_once(':'));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    }
}
