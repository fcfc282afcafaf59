//! The values of one histogram.

use crate::counters::{Exemplar, NativeBuckets};
use crate::domain::Timestamp;

/// One histogram of a page.
#[derive(Debug, Default)]
pub struct HistogramRow<'a> {
    /// Upper bounds of all buckets except the last.
    pub bounds: &'a [f64],
    /// Observations of each bucket, not cumulative; one more than there are bounds.
    pub counts: &'a [u64],
    /// Sum of the observations.
    pub sum: f64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The exemplar of each bucket; empty for histograms without exemplars.
    pub exemplars: Vec<Option<&'a Exemplar>>,
    /// The same observations in native buckets.
    pub native: Option<&'a NativeBuckets>,
}

impl HistogramRow<'_> {
    /// The exemplar of a bucket.
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket).copied().flatten()
    }
}
