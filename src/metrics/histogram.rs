//! A histogram as it is written: classic buckets, and native ones where they are kept.

use std::collections::BTreeMap;

use super::exemplar::Exemplar;
use crate::domain::{Timestamp, native};

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
    /// Of each bucket the last task in it; none at all where nobody notes them.
    pub exemplars: Vec<Option<&'a Exemplar>>,
    /// The same observations in native buckets.
    pub native: Option<&'a Native>,
}

impl HistogramRow<'_> {
    /// The exemplar of a bucket.
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket).copied().flatten()
    }
}

/// Most buckets of a native histogram; where there would be more they are merged two by two.
const MAX_BUCKETS: usize = 160;

/// Observations in native buckets, by their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native(pub(super) BTreeMap<i16, u64>);

impl Native {
    /// Observations in all of them.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Observations in the zero bucket.
    pub fn zero(&self) -> u64 {
        self.0.get(&native::ZERO).copied().unwrap_or(0)
    }

    /// The schema and the other buckets, by index: as fine as there are not too many of them.
    pub fn buckets(&self) -> (i8, BTreeMap<i32, u64>) {
        let mut schema = native::SCHEMA;
        let others = self.0.iter().filter(|(place, _)| **place != native::ZERO);
        let mut buckets: BTreeMap<i32, u64> = others.map(|(place, count)| (i32::from(*place), *count)).collect();
        while buckets.len() > MAX_BUCKETS {
            schema -= 1;
            let mut wider = BTreeMap::new();
            for (index, count) in buckets {
                // Two neighbours up to one upper bound become one.
                *wider.entry((index + 1).div_euclid(2)).or_insert(0) += count;
            }
            buckets = wider;
        }
        (schema, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_buckets_become_wider_ones_with_the_same_observations() {
        let narrow = Native((-100..100).map(|place| (place, 2)).chain([(native::ZERO, 5)]).collect());
        let (schema, buckets) = narrow.buckets();
        assert_eq!((schema, buckets.len(), narrow.zero(), narrow.count()), (2, 101, 5, 405));
        assert_eq!(buckets.values().sum::<u64>(), 400);
        // Bucket 8 of schema 3 ends at 2, as bucket 4 of schema 2 does.
        let one = Native(BTreeMap::from([(8, 1)]));
        assert_eq!(one.buckets(), (3, BTreeMap::from([(8, 1)])));
    }
}
