//! The numbers of one label set.

use std::collections::BTreeMap;

use super::native_buckets::{EMPTY, NativeBuckets};
use super::state_key::{Part, StateKey};
use crate::domain::counter::{CounterKind, MAX_COUNT};
use crate::domain::{Counter, CounterKey};

/// The numbers of every series that was counted, in the units of the table. Most series of a label set never are.
#[derive(Debug, Clone, Default)]
pub struct CounterValues(BTreeMap<CounterKey, SeriesValues>);

/// The numbers of one series.
#[derive(Debug, Clone)]
struct SeriesValues {
    /// A count, or one number per bucket and their sum.
    numbers: Box<[u64]>,
    native: NativeBuckets,
}

/// The numbers of a series that was not counted.
static ZEROS: [u64; 32] = [0; 32];

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

impl CounterValues {
    /// Every number at 0.
    pub const ZERO: Self = Self(BTreeMap::new());

    /// Adds to one number; it never exceeds [`MAX_COUNT`].
    pub fn add(&mut self, StateKey { series, part }: StateKey, amount: u64) {
        let width = width(series.counter);
        let new = || SeriesValues { numbers: vec![0; width].into(), native: NativeBuckets::default() };
        let values = self.0.entry(series).or_insert_with(new);
        let number = match part {
            Part::Count => &mut values.numbers[0],
            Part::Bucket(bucket) => &mut values.numbers[bucket.min(width - 2)],
            Part::Sum => &mut values.numbers[width - 1],
            Part::Native(bucket) => values.native.count_mut(bucket),
            // They belong to its hold.
            Part::Created | Part::Released => return,
        };
        *number = number.saturating_add(amount).min(MAX_COUNT);
    }

    /// The series of a counter that are exported: every possible one, unless it is late, and whatever else was counted.
    pub fn series(&self, counter: Counter) -> impl Iterator<Item = CounterKey> {
        let is_exported = |key: &CounterKey| key.is_possible() || self.0.contains_key(key);
        let at_once = (!counter.is_late()).then(|| counter.combinations().filter(is_exported));
        let late = counter.is_late().then(|| self.0.range(counter.range()).map(|(key, _)| *key));
        at_once.into_iter().flatten().chain(late.into_iter().flatten())
    }

    fn numbers(&self, series: CounterKey) -> &[u64] {
        self.0.get(&series).map_or(&ZEROS[..width(series.counter)], |values| &values.numbers)
    }

    /// The count of a counter's series.
    pub fn count(&self, series: CounterKey) -> u64 {
        self.numbers(series)[0]
    }

    /// The numbers of a histogram's series; `None` for a counter.
    pub fn histogram(&self, series: CounterKey) -> Option<HistogramValues<'_>> {
        let CounterKind::Histogram(bounds) = series.counter.spec().kind else { return None };
        let (sum, counts) = self.numbers(series).split_last()?;
        let native = self.0.get(&series).map_or(&EMPTY, |values| &values.native);
        Some(HistogramValues { bounds, counts, sum: *sum, native })
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
            state_increments((series, amount)).for_each(|(key, more)| values.add(key, more));
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
    fn late_series_appear_with_their_first_count_in_the_order_of_the_table() {
        let mut values = CounterValues::default();
        assert_eq!(values.series(Counter::Failures).count(), 0);
        let failed = |class| Counter::Failures.with([Status::Failed.index(), class]);
        for class in [3, 1] {
            values.add(StateKey { series: failed(class), part: Part::Count }, 1);
        }
        assert_eq!(values.series(Counter::Failures).collect::<Vec<_>>(), [failed(1), failed(3)]);
        let widest = Counter::ALL.iter().map(|counter| width(*counter)).max();
        assert!(widest.is_some_and(|width| width <= ZEROS.len()));
    }

    #[test]
    fn possible_series_are_shown_from_the_start_and_others_once_counted() {
        let mut values = CounterValues::default();
        let shown = |values: &CounterValues| values.series(Counter::Finished).count();
        assert_eq!(shown(&values), Status::ENDS.len());
        let odd = Counter::Finished.with([Status::Running.index()]);
        for amount in [MAX_COUNT, 1] {
            state_increments((odd, amount)).for_each(|(key, more)| values.add(key, more));
        }
        assert_eq!((shown(&values), values.count(odd)), (Status::ENDS.len() + 1, MAX_COUNT));
    }
}
