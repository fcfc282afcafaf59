//! Optional numbers in a compact form.

use std::num::NonZeroU64;

use super::reading::Tokens;

/// A number other than NaN. An `Option` of it has 8 bytes: a task has many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Number(NonZeroU64);

/// The bits of `None`: a NaN.
const NONE: u64 = f64::NAN.to_bits();

impl Number {
    /// `None` for NaN.
    pub fn new(value: f64) -> Option<Self> {
        // Many bit patterns are NaN: all of them become the same one.
        let value = if value.is_nan() { f64::NAN } else { value };
        NonZeroU64::new(value.to_bits() ^ NONE).map(Self)
    }

    /// The number.
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0.get() ^ NONE)
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// Token usage in a compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenNumbers {
    prompt: Option<Number>,
    completion: Option<Number>,
    total: Option<Number>,
}

impl TokenNumbers {
    /// The token usage.
    pub fn get(self) -> Tokens {
        let [prompt, completion, total] =
            [self.prompt, self.completion, self.total].map(|number| number.map(Number::get));
        Tokens { prompt, completion, total }
    }
}

impl From<Tokens> for TokenNumbers {
    fn from(Tokens { prompt, completion, total }: Tokens) -> Self {
        let [prompt, completion, total] = [prompt, completion, total].map(|number| number.and_then(Number::new));
        Self { prompt, completion, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_preserved_and_nan_is_none() {
        for value in [0.0, -0.0, 1.0, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Number::new(value).map(|number| number.get().to_bits()), Some(value.to_bits()));
        }
        assert_eq!([Number::new(f64::NAN), Number::new(-f64::NAN)], [None, None]);
        assert_eq!(size_of::<Option<Number>>(), 8);
        let tokens = Tokens { prompt: None, completion: Some(0.0), total: Some(7.5) };
        assert_eq!(TokenNumbers::from(tokens).get(), tokens);
    }
}
