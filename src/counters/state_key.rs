//! The numbers that counters and histograms are made of, and the keys they have in the state.

use std::fmt;

use super::native_buckets;
use crate::domain::counter::CounterKind;
use crate::domain::{CounterKey, Increment};

/// One number of a label set. Its text is its key in the state, such as `failures/failed/quota` or
/// `latency/succeeded/le=90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// The series it belongs to.
    pub series: CounterKey,
    /// Which of the series' numbers it is.
    pub part: Part,
}

/// One of the numbers of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The count of a counter.
    Count,
    /// Observations in one bucket alone, by its position; the last one has no upper bound.
    Bucket(usize),
    /// Observations in one [native bucket](native_buckets).
    Native(i16),
    /// The sum of observations, in the unit of the counter.
    Sum,
    /// When a [late](crate::domain::Counter::is_late) series appeared, in Unix milliseconds.
    Created,
    /// 1 once the value of a late series is exported. Without it and `Created`, an earlier version has exported it.
    Released,
}

/// What an increment adds to which numbers.
pub fn state_increments((series, amount): Increment) -> impl Iterator<Item = (StateKey, u64)> {
    let parts = match series.counter.spec().kind {
        CounterKind::Counter => [Some((Part::Count, amount)), None, None],
        CounterKind::Histogram(bounds) => {
            let value = observed(series, amount);
            [
                Some((Part::Bucket(bucket(bounds, value)), 1)),
                Some((Part::Native(native_buckets::bucket(value)), 1)),
                Some((Part::Sum, amount)),
            ]
        }
    };
    parts.into_iter().flatten().map(move |(part, amount)| (StateKey { series, part }, amount))
}

/// The value of one observation of a histogram.
#[expect(clippy::cast_precision_loss, reason = "spans of at most 30 days in milliseconds, and small ratios")]
pub fn observed(series: CounterKey, amount: u64) -> f64 {
    amount as f64 / series.counter.spec().unit.scale()
}

/// The first bucket that holds a value.
fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

impl StateKey {
    /// Reads a key's text; `None` for a key of another version. A bucket whose bound no longer exists is read as the next
    /// larger one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (series, rest) = CounterKey::from_state_key(&parts)?;
        let part = match (series.counter.spec().kind, rest) {
            (CounterKind::Counter, []) => Part::Count,
            (_, ["created"]) if series.counter.is_late() => Part::Created,
            (_, ["released"]) if series.counter.is_late() => Part::Released,
            (CounterKind::Histogram(_), ["sum"]) => Part::Sum,
            (CounterKind::Histogram(_), ["native=zero"]) => Part::Native(native_buckets::ZERO),
            (CounterKind::Histogram(bounds), ["le=+Inf"]) => Part::Bucket(bounds.len()),
            (CounterKind::Histogram(bounds), [part]) => match part.split_once('=')? {
                ("native", bucket) => Part::Native(bucket.parse().ok()?),
                ("le", bound) => Part::Bucket(bucket(bounds, bound.parse().ok()?)),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { series, part })
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.series.counter.spec();
        f.write_str(spec.state_name)?;
        for (_, word) in self.series.labels() {
            write!(f, "/{word}")?;
        }
        match (self.part, spec.kind) {
            (Part::Count, _) => Ok(()),
            (Part::Sum, _) => f.write_str("/sum"),
            (Part::Created, _) => f.write_str("/created"),
            (Part::Released, _) => f.write_str("/released"),
            (Part::Native(native_buckets::ZERO), _) => f.write_str("/native=zero"),
            (Part::Native(bucket), _) => write!(f, "/native={bucket}"),
            (Part::Bucket(bucket), CounterKind::Histogram(bounds)) if bucket < bounds.len() => {
                write!(f, "/le={}", bounds[bucket])
            }
            (Part::Bucket(_), _) => f.write_str("/le=+Inf"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Counter, Status};

    fn parts(counter: Counter) -> Vec<Part> {
        let own = match counter.spec().kind {
            CounterKind::Counter => vec![Part::Count],
            CounterKind::Histogram(bounds) => {
                let native = [native_buckets::ZERO, -80, -1, 0, 7, 251].map(Part::Native);
                let buckets = (0..=bounds.len()).map(Part::Bucket);
                native.into_iter().chain(buckets).chain([Part::Sum]).collect()
            }
        };
        let marks = if counter.is_late() { vec![Part::Created, Part::Released] } else { Vec::new() };
        [own, marks].concat()
    }

    #[test]
    fn every_key_is_read_back_from_its_text() {
        let mut keys = 0;
        for counter in Counter::ALL {
            for series in counter.combinations() {
                for part in parts(*counter) {
                    let key = StateKey { series, part };
                    assert_eq!(StateKey::parse(&key.to_string()), Some(key), "{key}");
                    keys += 1;
                }
            }
        }
        assert!(keys > 300);
    }

    /// The keys in the states of earlier versions: they must stay readable.
    #[test]
    fn keys_do_not_change() {
        let failed = Status::Failed.index();
        let bucket = |bucket| StateKey { series: Counter::Latency.with([failed]), part: Part::Bucket(bucket) };
        assert_eq!(bucket(6).to_string(), "latency/failed/le=90");
        assert_eq!(bucket(20).to_string(), "latency/failed/le=+Inf");
        assert_eq!(StateKey::parse("latency/failed/le=70"), Some(bucket(6)), "a bound that no longer exists");
        for key in [
            "submitted",
            "regressions",
            "quota",
            "finished/expired",
            "failures/lost/timeout",
            "failures/lost/timeout/created",
            "transitions/queued/running/released",
            "transitions/running/failed",
            "invalid/gateway_lag/too_long",
            "tokens/unspecified",
            "video/1080p",
            "run/succeeded/sum",
            "queue/native=zero",
            "gateway_lag/le=300",
        ] {
            assert_eq!(StateKey::parse(key).map(|found| found.to_string()).as_deref(), Some(key));
        }
        for unknown in [
            "",
            "quota/created",
            "finished",
            "finished/failed/x",
            "latency/failed",
            "latency/failed/le=x",
            "queue/p99=1",
        ] {
            assert_eq!(StateKey::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_observation_is_counted_in_its_bucket_its_native_bucket_and_the_sum() {
        let added: Vec<_> =
            state_increments((Counter::Queue.with([]), 30_000)).map(|(key, n)| format!("{key} {n}")).collect();
        assert_eq!(added, ["queue/le=30 1", "queue/native=40 1", "queue/sum 30000"]);
    }
}
