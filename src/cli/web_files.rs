//! `--web.config.file`: which file is for which address.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;
use crate::server::WebSource;

/// The files, read.
pub struct WebFiles {
    /// Of all addresses without one of their own.
    general: Arc<WebSource>,
    by_address: Vec<(String, Arc<WebSource>)>,
}

impl WebFiles {
    /// Reads the files: each value is `FILE`, or `ADDRESS=FILE` with one of these addresses.
    pub fn load(values: &[String], addresses: &[String]) -> Result<Self, Failure> {
        let mut general = None;
        let mut by_address: Vec<(String, Arc<WebSource>)> = Vec::new();
        for value in values {
            let (address, path) = match value.split_once('=') {
                Some((address, path)) if addresses.iter().any(|known| known == address) => (Some(address), path),
                Some((address, _)) if is_address(address) => {
                    let known = if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") };
                    return Err(Failure::Usage(format!(
                        "--web.config.file={value}: there is no --web.listen-address={address}; there is {known}"
                    )));
                }
                _ => (None, value.as_str()),
            };
            let is_given = match address {
                Some(address) => by_address.iter().any(|(known, _)| known == address),
                None => general.is_some(),
            };
            if is_given {
                return Err(Failure::Usage(format!(
                    "--web.config.file={value}: a file for the same addresses is given already"
                )));
            }
            let source =
                WebSource::from_file(PathBuf::from(path)).map_err(|error| Failure::Input(error.to_string()))?;
            let source = Arc::new(source);
            match address {
                Some(address) => by_address.push((address.to_owned(), source)),
                None => general = Some(source),
            }
        }
        Ok(Self { general: general.unwrap_or_else(|| Arc::new(WebSource::none())), by_address })
    }

    /// That of an address.
    pub fn of(&self, address: &str) -> Arc<WebSource> {
        let own = self.by_address.iter().find(|(known, _)| known == address);
        own.map_or(&self.general, |(_, source)| source).clone()
    }

    /// The warnings of every file.
    pub fn warnings(&self) -> Vec<String> {
        let all = std::iter::once(&self.general).chain(self.by_address.iter().map(|(_, source)| source));
        all.flat_map(|source| source.current().warnings.clone()).collect()
    }
}

/// Whether a text can only be meant as an address.
fn is_address(text: &str) -> bool {
    text.starts_with("unix:") || text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}
