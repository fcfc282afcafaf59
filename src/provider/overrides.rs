//! What the configuration of an upstream overrides.

use super::custom::ResponseSpec;
use super::definition::Provider;
use super::headers::TemplateError;
use super::read::lenient::Zone;
use crate::domain::FailureClass;
use crate::http::Method;

/// Overrides of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `base_url` is set, and replaces the default one.
    pub custom_base_url: bool,
    /// GET or POST.
    pub method: Option<Method>,
    /// Path and query below the base URL, with placeholders.
    pub path: Option<String>,
    /// A JSON body, with placeholders.
    pub body: Option<String>,
    /// Headers; the one with `{credentials}` in its value contains the key.
    pub headers: Vec<(String, String)>,
    /// The provider whose responses have the same shape.
    pub shape: Option<&'static Provider>,
    /// The zone of times without one.
    pub zone: Zone,
    /// How responses are decoded, only for provider custom.
    pub response: Option<ResponseSpec>,
    /// Classes of error codes, which override the provider's.
    pub failures: Vec<(String, FailureClass)>,
}

/// An invalid override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialectError {
    /// Its key below the upstream, such as `request.path`.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl From<TemplateError> for DialectError {
    fn from(error: TemplateError) -> Self {
        Self { key: format!("request.{}", error.key), message: error.message }
    }
}
