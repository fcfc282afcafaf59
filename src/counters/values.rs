//! The numbers of one label set.

use std::collections::BTreeMap;

use super::native_buckets::{EMPTY, NativeBuckets};
use super::state_key::{Part, StateKey};
use crate::domain::counter::{CounterKind, MAX_COUNT};
use crate::domain::{Counter, CounterKey};

/// Every number of every counter, in the units of the table.
#[derive(Debug, Clone)]
pub struct CounterValues {
    /// By counter, in the order of [`Counter::ALL`]: the numbers of all its series, one after the other.
    numbers: Vec<Box<[u64]>>,
    /// The native buckets of series with observations.
    native: BTreeMap<CounterKey, NativeBuckets>,
}

/// The numbers of one histogram.
#[derive(Debug, Clone, Copy)]
pub struct HistogramValues<'a> {
    /// Upper bounds of the buckets but the last, in seconds.
    pub bounds: &'static [f64],
    /// Observations in each bucket alone: one more than there are bounds.
    pub counts: &'a [u64],
    /// Sum of the observations, in milliseconds.
    pub sum: u64,
    /// The same observations in native buckets.
    pub native: &'a NativeBuckets,
}

/// Numbers that each series of a counter has: a count, or one per bucket and their sum.
fn width(counter: Counter) -> usize {
    match counter.spec().kind {
        CounterKind::Counter => 1,
        CounterKind::Histogram(bounds) => bounds.len() + 2,
    }
}

impl Default for CounterValues {
    /// Every number at 0.
    fn default() -> Self {
        let zeros = |counter: &Counter| vec![0; counter.combinations().count() * width(*counter)].into();
        Self { numbers: Counter::ALL.iter().map(zeros).collect(), native: BTreeMap::new() }
    }
}

impl CounterValues {
    /// Adds to one number, which never exceeds [`MAX_COUNT`]. Returns whether all of it could be added.
    pub fn add(&mut self, StateKey { series, part }: StateKey, amount: u64) -> bool {
        let width = width(series.counter);
        let numbers = &mut self.numbers[series.counter as usize][series.position() * width..][..width];
        let number = match part {
            Part::Count => &mut numbers[0],
            Part::Bucket(bucket) => &mut numbers[bucket.min(width - 2)],
            Part::Sum => &mut numbers[width - 1],
            Part::Native(bucket) => self.native.entry(series).or_default().count_mut(bucket),
        };
        let sum = number.saturating_add(amount);
        *number = sum.min(MAX_COUNT);
        sum <= MAX_COUNT
    }

    /// The series of a counter that are shown: every possible one, and whatever else was counted.
    pub fn series(&self, counter: Counter) -> impl Iterator<Item = CounterKey> {
        let numbers = self.numbers[counter as usize].chunks(width(counter));
        let series = counter.combinations().zip(numbers);
        series.filter(|(key, numbers)| key.is_possible() || numbers.iter().any(|n| *n > 0)).map(|(key, _)| key)
    }

    fn numbers(&self, series: CounterKey) -> &[u64] {
        let width = width(series.counter);
        &self.numbers[series.counter as usize][series.position() * width..][..width]
    }

    /// The count of a counter's series.
    pub fn count(&self, series: CounterKey) -> u64 {
        self.numbers(series)[0]
    }

    /// The numbers of a histogram's series; `None` for a counter.
    pub fn histogram(&self, series: CounterKey) -> Option<HistogramValues<'_>> {
        let CounterKind::Histogram(bounds) = series.counter.spec().kind else { return None };
        let (sum, counts) = self.numbers(series).split_last()?;
        Some(HistogramValues { bounds, counts, sum: *sum, native: self.native.get(&series).unwrap_or(&EMPTY) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::state_increments;
    use crate::domain::Status;

    #[test]
    fn numbers_of_different_series_do_not_mix() {
        let mut values = CounterValues::default();
        let mut expected: BTreeMap<CounterKey, u64> = BTreeMap::new();
        for (n, series) in Counter::ALL.iter().flat_map(|counter| counter.combinations()).enumerate() {
            let amount = n as u64 + 1;
            state_increments((series, amount)).for_each(|(key, more)| assert!(values.add(key, more)));
            expected.insert(series, amount);
        }
        for (series, amount) in expected {
            match values.histogram(series) {
                Some(histogram) => {
                    assert_eq!((histogram.sum, histogram.counts.iter().sum::<u64>()), (amount, 1), "{series:?}");
                    assert_eq!(histogram.native.total(), 1);
                }
                None => assert_eq!(values.count(series), amount, "{series:?}"),
            }
        }
    }

    #[test]
    fn possible_series_are_shown_from_the_start_and_others_once_counted() {
        let mut values = CounterValues::default();
        let shown = |values: &CounterValues| values.series(Counter::Finished).count();
        assert_eq!(shown(&values), Status::ENDS.len());
        let odd = Counter::Finished.with([Status::Running.index()]);
        let mut was_added = |amount| state_increments((odd, amount)).all(|(key, more)| values.add(key, more));
        assert_eq!([was_added(MAX_COUNT), was_added(0), was_added(1)], [true, true, false], "it tells that it is full");
        assert_eq!((shown(&values), values.count(odd)), (Status::ENDS.len() + 1, MAX_COUNT));
    }
}
