//! Native histogram buckets: exponential, eight per doubling.
//!
//! Schema 3 of <https://prometheus.io/docs/specs/native_histograms/>: bucket `i` holds what is above 2^((i-1)/8) and not above
//! 2^(i/8).

use std::collections::BTreeMap;

/// Each bound is 2^(2^-SCHEMA) times the one before.
pub const SCHEMA: i8 = 3;

/// Upper bound of the zero bucket: the usual 2^-128.
pub const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// The zero bucket.
pub const ZERO: i16 = i16::MIN;

/// The bounds of one doubling, from 0.5 to below 1: 2^(k/8 - 1).
const BOUNDS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_4,
    0.917_004_043_204_671_1,
];

/// The bucket of a value, which is not negative.
pub fn bucket(value: f64) -> i16 {
    if value <= ZERO_THRESHOLD || value.is_nan() {
        return ZERO;
    }
    // A value is fraction * 2^exponent, with a fraction from a half to one.
    let bits = value.min(f64::MAX).to_bits();
    let exponent = i16::try_from(bits >> 52).unwrap_or(i16::MAX) - 1022;
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | (1022 << 52));
    let within = BOUNDS.iter().position(|bound| fraction <= *bound).unwrap_or(BOUNDS.len());
    (exponent - 1) * 8 + i16::try_from(within).unwrap_or(8)
}

/// Most buckets that are exported; with more they are merged two by two.
const MAX_BUCKETS: usize = 160;

/// Observations by native bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NativeBuckets(BTreeMap<i16, u64>);

/// No observation.
pub static EMPTY: NativeBuckets = NativeBuckets(BTreeMap::new());

impl NativeBuckets {
    /// The count of one bucket, to be added to.
    pub fn count_mut(&mut self, bucket: i16) -> &mut u64 {
        self.0.entry(bucket).or_default()
    }

    /// Observations in all buckets.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Observations in the zero bucket.
    pub fn zero(&self) -> u64 {
        self.0.get(&ZERO).copied().unwrap_or(0)
    }

    /// The schema and the other buckets, as fine as `MAX_BUCKETS` allows.
    pub fn buckets(&self) -> (i8, BTreeMap<i32, u64>) {
        let mut schema = SCHEMA;
        let others = self.0.iter().filter(|(bucket, _)| **bucket != ZERO);
        let mut buckets: BTreeMap<i32, u64> = others.map(|(bucket, count)| (i32::from(*bucket), *count)).collect();
        while buckets.len() > MAX_BUCKETS {
            schema -= 1;
            let mut wider = BTreeMap::new();
            for (index, count) in buckets {
                // Two neighbors up to one upper bound become one.
                *wider.entry((index + 1).div_euclid(2)).or_insert(0) += count;
            }
            buckets = wider;
        }
        (schema, buckets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(bucket: i16) -> f64 {
        (f64::from(bucket) / 8.0).exp2()
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value(value in 1e-9..1e9f64) {
            let bucket = bucket(value);
            prop_assert!(value <= bound(bucket) * (1.0 + 1e-12) && value > bound(bucket - 1) * (1.0 - 1e-12), "{value} in {bucket}");
        }
    }

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        for (value, expected) in [
            (1.0, 0),
            (2.0, 8),
            (0.5, -8),
            (1.000_000_1, 1),
            (4.0, 16),
            (0.0, ZERO),
            (f64::INFINITY, 8192),
            (1e-300, ZERO),
        ] {
            assert_eq!(bucket(value), expected, "{value}");
        }
        assert!(BOUNDS.iter().zip(0u8..).all(|(bound, k)| (bound - (f64::from(k) / 8.0 - 1.0).exp2()).abs() < 1e-15));
    }

    #[test]
    fn too_many_buckets_become_wider_ones_with_the_same_observations() {
        let narrow = NativeBuckets((-100..100).map(|bucket| (bucket, 2)).chain([(ZERO, 5)]).collect());
        let (schema, buckets) = narrow.buckets();
        assert_eq!((schema, buckets.len(), narrow.zero(), narrow.total()), (2, 101, 5, 405));
        assert_eq!(buckets.values().sum::<u64>(), 400);
        // Bucket 8 of schema 3 ends at 2, as bucket 4 of schema 2 does.
        let one = NativeBuckets(BTreeMap::from([(8, 1)]));
        assert_eq!(one.buckets(), (3, BTreeMap::from([(8, 1)])));
    }
}
