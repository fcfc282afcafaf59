//! One histogram as it is written.

use crate::counters::{Exemplar, NativeBuckets};
use crate::domain::Timestamp;

/// What a page shows of one histogram.
#[derive(Debug, Default)]
pub struct HistogramRow<'a> {
    /// Upper bounds of the buckets but the last.
    pub bounds: &'a [f64],
    /// Observations in each bucket alone: one more than there are bounds.
    pub counts: &'a [u64],
    /// Sum of the observations.
    pub sum: f64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The last task of each bucket; empty where no exemplars are kept.
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
