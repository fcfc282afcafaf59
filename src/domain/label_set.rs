//! Label sets of counters.

use std::sync::Arc;

/// The labels of the counters of a group of tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet {
    /// Name of the upstream in the configuration.
    pub upstream: Arc<str>,
    /// Its provider.
    pub provider: &'static str,
    /// The model label, or [`UNKNOWN_MODEL`].
    pub model: Arc<str>,
    /// The source labels of `metrics.aggregate_labels`.
    pub labels: AggregateLabels,
}

/// Source labels that counters carry, sorted by name: the exported name (`label_team`) and its value.
pub type AggregateLabels = Arc<[(Arc<str>, Arc<str>)]>;

/// The `model` of a task until an answer names one.
pub const UNKNOWN_MODEL: &str = "unknown";

/// The value of a name or label beyond the limits.
pub const OTHER: &str = "other";

/// The exported name of a label of a source.
pub fn exported_label(name: &str) -> String {
    format!("label_{name}")
}

impl LabelSet {
    /// Label pairs in the order of the page, followed by `own`.
    pub fn with<'a>(&'a self, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut labels = vec![("upstream", &*self.upstream), ("provider", self.provider), ("model", &*self.model)];
        labels.extend(self.labels.iter().map(|(name, value)| (&**name, &**value)));
        labels.extend_from_slice(own);
        labels
    }
}
