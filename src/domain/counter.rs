//! The table of all counters and histograms of tasks. To add one, add a row here and increment it in [`advance`]; the state,
//! the page, the documents and the tests read this table.
//!
//! [`advance`]: crate::domain::advance()

use std::ops::RangeInclusive;

use crate::domain::pricing::{CURRENCIES, CostSource, Unpriced};
use crate::domain::reading::TokenType;
use crate::domain::span::{Span, SpanProblem};
use crate::domain::video_words::ResolutionClass;
use crate::domain::{FailureClass, Status};

/// Most labels of one counter, without those of its label set.
const MAX_DIMENSIONS: usize = 2;

/// Latency, queue and run, in seconds. Dense where most video tasks end; exact at a gateway's 24 h time-out and Ark's 48 h
/// expiry.
const LIFE_BUCKETS: &[f64] = &[
    5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    21_600.0, 86_400.0, 172_800.0,
];

/// Gateway finish lag, in seconds: from the next poll of a gateway to an hour later.
const GATEWAY_LAG_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Reported divided by predicted tokens.
const DEVIATION_BUCKETS: &[f64] = &[0.5, 0.8, 0.9, 0.95, 0.99, 1.0, 1.01, 1.05, 1.1, 1.25, 2.0];

/// The largest stored number: integers of the database are signed.
pub const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// A row of the table.
#[derive(Debug)]
pub struct CounterSpec {
    /// First part of its keys in the state. It never changes, so that a newer version reads the state of an older one.
    pub state_name: &'static str,
    /// Name of the metric family.
    pub family: &'static str,
    /// `# HELP`.
    pub help: &'static str,
    /// Its label names, without those of the label set.
    pub labels: &'static [&'static str],
    /// The values of each of those labels.
    words: &'static [&'static [&'static str]],
    /// Which combinations of label values make sense.
    is_possible: fn([usize; MAX_DIMENSIONS]) -> bool,
    /// When its series appear.
    appears: Appears,
    /// Its type.
    pub kind: CounterKind,
    /// The unit of stored numbers.
    pub unit: Unit,
    /// The last counted task is exported as an exemplar.
    pub has_exemplars: bool,
}

/// When the series of a counter appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Appears {
    /// With their label set: `increase()` sees the first event of each.
    WithLabelSet,
    /// With the first event of their kind: there are too many kinds that never happen. They are held at 0 at first, as a label
    /// set is.
    WithFirstCount,
}

/// The type of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CounterKind {
    /// One number.
    Counter,
    /// Observations in seconds, with these upper bounds; the last bucket has no bound.
    Histogram(&'static [f64]),
}

/// The unit of a stored number. Numbers are integers, so that their sum does not depend on the order of addition: after a
/// restart, a float sum could be slightly smaller, which Prometheus would see as a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Events.
    One,
    /// Thousandths of the exported unit.
    Thousandth,
    /// Millionths of the exported unit.
    Millionth,
}

impl Unit {
    /// How many stored units are one exported unit.
    pub const fn scale(self) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Thousandth => 1e3,
            Self::Millionth => 1e6,
        }
    }
}

/// One series of a counter: the counter and its own label values, as positions in their lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// The counter.
    pub counter: Counter,
    values: [u8; MAX_DIMENSIONS],
}

/// What a transition adds to one series, in its unit; for a histogram one observation. An increment of 0 of a
/// [late](Counter::is_late) counter only creates its series.
pub type Increment = (CounterKey, u64);

macro_rules! counters {
    ($($(#[$doc:meta])* $counter:ident: $state_name:literal, $family:literal, $help:literal,
        [$($label:literal in $words:expr),*] $appears:ident if $is_possible:expr, $kind:expr, $unit:ident $(, $exemplars:ident)?;)+) => {
        /// A counter or histogram.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Counter { $($(#[$doc])* $counter),+ }

        impl Counter {
            /// Every counter, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$counter),+];
        }

        const SPECS: &[CounterSpec] = &[$(CounterSpec {
            state_name: $state_name,
            family: $family,
            help: concat!($help, " As fresh as videogen_task_last_poll_timestamp_seconds."),
            labels: &[$($label),*],
            words: &[$($words),*],
            is_possible: $is_possible,
            appears: $appears,
            kind: $kind,
            unit: Unit::$unit,
            has_exemplars: counters!(@flag $($exemplars)?),
        }),+];
    };
    (@flag) => { false };
    (@flag exemplars) => { true };
}

use Appears::{WithFirstCount, WithLabelSet};
use CounterKind::{Counter as Count, Histogram};

counters! {
    /// Tasks.
    Submitted: "submitted", "videogen_tasks_submitted_total", "Tasks counted.", [] WithLabelSet if |_| true, Count, One;
    /// Ends.
    Finished: "finished", "videogen_tasks_finished_total", "Ends of tasks; each end of a task counts once.",
        ["status" in Status::WORDS] WithLabelSet if |[end, _]| Status::ALL[end].is_end(), Count, One, exemplars;
    /// Ends other than success.
    Failures: "failures", "videogen_task_failures_total", "Ends other than succeeded, by class of failure.",
        ["status" in Status::WORDS, "failure_class" in FailureClass::WORDS] WithFirstCount
        if |[end, class]| FailureClass::possible(Status::ALL[end]).contains(&FailureClass::ALL[class]), Count, One, exemplars;
    /// Tokens.
    Tokens: "tokens", "videogen_tokens_total", "Tokens used, counted once per task.",
        ["token_type" in TokenType::WORDS] WithLabelSet if |_| true, Count, Thousandth;
    /// Gateway units.
    Quota: "quota", "videogen_quota_total", "Gateway units used by succeeded tasks. Units differ between upstreams.",
        [] WithLabelSet if |_| true, Count, Thousandth;
    /// Seconds of video.
    VideoSeconds: "video", "videogen_video_seconds_total", "Seconds of video of succeeded tasks.",
        ["resolution" in ResolutionClass::WORDS] WithLabelSet if |_| true, Count, Thousandth;
    /// Changes of status. An ended task changes only to another end, unless it was lost.
    Transitions: "transitions", "videogen_status_transitions_total", "Changes of status seen.",
        ["from" in Status::WORDS, "to" in Status::WORDS] WithFirstCount
        if |[from, to]| from != to && (Status::ALL[to].is_end() || may_become_active(Status::ALL[from])), Count, One;
    /// Ends that replaced another end.
    Regressions: "regressions", "videogen_status_regressions_total",
        "Ended tasks that later had another end, such as a success after a failure.", [] WithLabelSet if |_| true, Count, One;
    /// Spans that are negative or too long.
    InvalidDurations: "invalid", "videogen_invalid_durations_total",
        "Spans left out because they are negative or longer than 30 days.",
        ["span" in Span::WORDS, "problem" in SpanProblem::WORDS] WithLabelSet if |_| true, Count, One;
    /// Submit to finish.
    Latency: "latency", "videogen_task_latency_seconds", "Finish minus submit of ended tasks, both from one clock.",
        ["status" in Status::WORDS] WithLabelSet if |[end, _]| has_times(Status::ALL[end]), Histogram(LIFE_BUCKETS), Thousandth, exemplars;
    /// Start to finish.
    Run: "run", "videogen_task_run_seconds", "Finish minus start of ended tasks.",
        ["status" in Status::WORDS] WithLabelSet if |[end, _]| has_times(Status::ALL[end]), Histogram(LIFE_BUCKETS), Thousandth;
    /// Submit to start.
    Queue: "queue", "videogen_task_queue_seconds", "Start minus submit of ended tasks.",
        [] WithLabelSet if |_| true, Histogram(LIFE_BUCKETS), Thousandth;
    /// The provider's finish to the gateway's.
    GatewayLag: "gateway_lag", "videogen_gateway_finish_lag_seconds",
        "The gateway's finish minus the provider's, of ended tasks that have both.",
        [] WithLabelSet if |_| true, Histogram(GATEWAY_LAG_BUCKETS), Thousandth;
    /// Submission to the first reading of the end.
    ObservedLatency: "observed", "videogen_task_observed_latency_seconds",
        "First reading of the end minus submission, by our own clock, of tasks that were read often enough.",
        ["status" in Status::WORDS] WithLabelSet if |[end, _]| has_times(Status::ALL[end]), Histogram(LIFE_BUCKETS), Thousandth;
    /// The provider's own submit to its own finish, inside a gateway.
    VendorLatency: "vendor", "videogen_task_vendor_latency_seconds",
        "Inside a gateway: the provider's own finish minus its own submit time, of ended tasks.",
        ["status" in Status::WORDS] WithFirstCount if |[end, _]| has_times(Status::ALL[end]), Histogram(LIFE_BUCKETS), Thousandth;
    /// Reported by predicted tokens.
    TokenDeviation: "token_deviation", "videogen_token_deviation_ratio",
        "Reported tokens divided by those that the vendor's published formula gives, of succeeded tasks.",
        [] WithFirstCount if |_| true, Histogram(DEVIATION_BUCKETS), Millionth;
    /// Costs.
    Cost: "cost", "videogen_cost_total", "What ended tasks cost at their provider.",
        ["currency" in CURRENCIES, "cost_source" in CostSource::WORDS] WithFirstCount if |_| true, Count, Millionth;
    /// Ended tasks without a cost.
    Unpriced: "unpriced", "videogen_unpriced_tasks_total", "Ended tasks whose cost is unknown, by reason, each once.",
        ["reason" in Unpriced::WORDS] WithFirstCount if |_| true, Count, One;
    /// Charges of gateways.
    Charged: "charged", "videogen_charged_total",
        "What the gateway charged for succeeded tasks, by its units. Not to be added to costs.",
        ["currency" in CURRENCIES] WithFirstCount if |_| true, Count, Millionth;
}

/// A lost task is found again when its upstream knows it again.
fn may_become_active(from: Status) -> bool {
    !from.is_end() || from == Status::Lost
}

/// A lost task has no times of its own.
fn has_times(end: Status) -> bool {
    end.is_end() && end != Status::Lost
}

impl Counter {
    /// Its row.
    pub const fn spec(self) -> &'static CounterSpec {
        &SPECS[self as usize]
    }

    /// The series with these label values, each the position of a word in its list.
    pub fn with<const N: usize>(self, values: [usize; N]) -> CounterKey {
        debug_assert_eq!(N, self.spec().labels.len(), "{self:?}");
        let mut key = CounterKey { counter: self, values: [0; MAX_DIMENSIONS] };
        for (slot, value) in key.values.iter_mut().zip(values) {
            *slot = u8::try_from(value).unwrap_or(u8::MAX);
        }
        key
    }

    /// Every combination of its label values, possible or not, in the order of the page.
    pub fn combinations(self) -> impl Iterator<Item = CounterKey> {
        let size = move |dimension: usize| self.spec().words.get(dimension).map_or(1, |words| words.len());
        (0..size(0)).flat_map(move |first| {
            (0..size(1)).map(move |second| {
                let values = [first, second].map(|value| u8::try_from(value).unwrap_or(u8::MAX));
                CounterKey { counter: self, values }
            })
        })
    }

    /// Whether its series appear with their first count; those of other counters appear with their label set.
    pub fn is_late(self) -> bool {
        self.spec().appears == Appears::WithFirstCount
    }

    /// The range of its series.
    pub const fn range(self) -> RangeInclusive<CounterKey> {
        let [first, last] = [[0; MAX_DIMENSIONS], [u8::MAX; MAX_DIMENSIONS]];
        CounterKey { counter: self, values: first }..=CounterKey { counter: self, values: last }
    }

    /// The counter whose keys in the state begin with this name.
    fn from_state_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|counter| counter.spec().state_name == name)
    }
}

impl CounterKey {
    /// Whether its label values make sense together.
    pub fn is_possible(self) -> bool {
        (self.counter.spec().is_possible)(self.values.map(usize::from))
    }

    /// Position among the [combinations](Counter::combinations) of its counter.
    pub fn position(self) -> usize {
        let [first, second] = self.values.map(usize::from);
        first * self.counter.spec().words.get(1).map_or(1, |words| words.len()) + second
    }

    /// The position of the value of one of its labels.
    pub const fn value(self, label: usize) -> usize {
        self.values[label] as usize
    }

    /// Its labels with their values, without those of the label set.
    pub fn labels(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let spec = self.counter.spec();
        let words = spec.words.iter().zip(self.values).map(|(words, value)| words[usize::from(value)]);
        spec.labels.iter().copied().zip(words)
    }

    /// Parses the first parts of a key in the state, and returns the others as the rest. `None` for an unknown counter or label
    /// value.
    pub fn from_state_key<'a>(parts: &'a [&'a str]) -> Option<(Self, &'a [&'a str])> {
        let (name, rest) = parts.split_first()?;
        let counter = Counter::from_state_name(name)?;
        let words = counter.spec().words;
        let (own, rest) = rest.split_at_checked(words.len())?;
        let mut key = Self { counter, values: [0; MAX_DIMENSIONS] };
        for ((slot, words), word) in key.values.iter_mut().zip(words).zip(own) {
            *slot = u8::try_from(words.iter().position(|known| known == word)?).ok()?;
        }
        Some((key, rest))
    }
}

/// An amount in rounded thousandths; a number that is too large is capped.
pub fn thousandths(amount: f64) -> u64 {
    in_unit(amount, Unit::Thousandth)
}

/// An amount in a unit, rounded; a number that is too large is capped.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and `as` saturates")]
pub fn in_unit(amount: f64, unit: Unit) -> u64 {
    ((amount * unit.scale()).round().max(0.0) as u64).min(MAX_COUNT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_series_has_a_unique_position_and_name() {
        let mut series = BTreeSet::new();
        let mut names = BTreeSet::new();
        for counter in Counter::ALL {
            let spec = counter.spec();
            assert_eq!(spec.labels.len(), spec.words.len(), "{counter:?}");
            assert!(names.insert(spec.family) && names.insert(spec.state_name), "{counter:?} shares a name");
            let mut possible = 0;
            for (position, key) in counter.combinations().enumerate() {
                assert_eq!(key.position(), position, "{key:?}");
                let parts: Vec<_> =
                    std::iter::once(spec.state_name).chain(key.labels().map(|(_, word)| word)).collect();
                assert_eq!(CounterKey::from_state_key(&parts), Some((key, &[][..])));
                assert!(series.insert(parts.join("/")));
                possible += usize::from(key.is_possible());
            }
            assert!(possible > 0, "{counter:?} has no possible series");
        }
        assert_eq!(CounterKey::from_state_key(&["finished", "done"]), None);
        assert_eq!(CounterKey::from_state_key(&["failures", "failed"]), None);
        assert_eq!(CounterKey::from_state_key(&["no_such_counter"]), None);
    }

    #[test]
    fn amounts_are_whole_thousandths() {
        assert_eq!(
            [thousandths(0.0015), thousandths(-1.0), thousandths(f64::NAN), thousandths(1e300)],
            [2, 0, 0, MAX_COUNT]
        );
    }
}
