//! Buckets of native histograms: exponential, eight to each doubling.
//!
//! Schema 3 of <https://prometheus.io/docs/specs/native_histograms/>: bucket `i` holds what is above 2^((i-1)/8) and not above
//! 2^(i/8).

/// Its schema: each bound is 2^(2^-SCHEMA) times the one before.
pub const SCHEMA: i8 = 3;

/// What is no larger than this is in the zero bucket: the usual 2^-128.
pub const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// Place of the zero bucket.
pub const ZERO: i16 = i16::MIN;

/// Bounds of one doubling, from a half to one, the last left out: 2^(k/8 - 1).
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

/// The bucket of a value that is not negative.
pub fn place(value: f64) -> i16 {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(place: i16) -> f64 {
        (f64::from(place) / 8.0).exp2()
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value(value in 1e-9..1e9f64) {
            let place = place(value);
            prop_assert!(value <= bound(place) * (1.0 + 1e-12) && value > bound(place - 1) * (1.0 - 1e-12), "{value} in {place}");
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
            assert_eq!(place(value), expected, "{value}");
        }
        assert!(BOUNDS.iter().zip(0u8..).all(|(bound, k)| (bound - (f64::from(k) / 8.0 - 1.0).exp2()).abs() < 1e-15));
    }
}
