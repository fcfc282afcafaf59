//! What is expected of active tasks, by how long the last succeeded tasks of their model took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::latency::LatencySample;
use crate::domain::{Task, Timestamp};

/// Most samples of a model; the oldest give way.
pub const MAX_SAMPLES: usize = 500;

/// Older samples do not count.
pub const MAX_SAMPLE_AGE: Duration = Duration::from_hours(7 * 24);

/// Fewer samples tell nothing.
pub const MIN_SAMPLES: usize = 20;

/// The exported percentiles.
pub const PERCENTILES: [u8; 3] = [50, 95, 99];

/// Half of the deadline of a flexible task whose deadline is not told.
const FLEX_PATIENCE: Duration = Duration::from_hours(24);

/// The service tier of flexible tasks.
const FLEX: &str = "flex";

/// The latencies of a model's last succeeded tasks, in the order of their ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyHistory(VecDeque<LatencySample>);

impl LatencyHistory {
    /// Adds a task.
    pub fn add(&mut self, sample: LatencySample) {
        let later = self.0.iter().rev().take_while(|known| known.at > sample.at).count();
        self.0.insert(self.0.len() - later, sample);
        if self.0.len() > MAX_SAMPLES {
            self.0.pop_front();
        }
    }

    /// Drops what is too old; whether there was any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.0.len();
        while self.0.front().is_some_and(|oldest| oldest.at < now - MAX_SAMPLE_AGE) {
            self.0.pop_front();
        }
        self.0.len() < before
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The percentiles, by the nearest rank; `None` with too few samples.
    pub fn baseline(&self) -> Option<Baseline> {
        if self.0.len() < MIN_SAMPLES {
            return None;
        }
        let mut latencies: Vec<u64> = self.0.iter().map(|sample| sample.millis).collect();
        latencies.sort_unstable();
        let at = |percentile: u8| latencies[(latencies.len() * usize::from(percentile)).div_ceil(100) - 1];
        Some(Baseline(PERCENTILES.map(|percentile| Duration::from_millis(at(percentile)))))
    }
}

/// How long tasks of a model usually take: the [percentiles](PERCENTILES).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Baseline(pub [Duration; 3]);

impl Baseline {
    /// The 95th percentile.
    pub const fn p95(self) -> Duration {
        self.0[1]
    }
}

/// When an active task is stuck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StuckRules {
    /// Multiple of the 95th percentile.
    pub factor: f64,
    /// Never before this age.
    pub floor: Duration,
}

/// What is expected of the tasks of one upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// By model.
    pub baselines: BTreeMap<Arc<str>, Baseline>,
    /// When tasks are stuck.
    pub stuck: StuckRules,
}

impl Outlook {
    /// Nothing is known yet.
    pub const fn new(stuck: StuckRules) -> Self {
        Self { baselines: BTreeMap::new(), stuck }
    }

    fn p95(&self, task: &Task) -> Option<Duration> {
        if self.baselines.is_empty() {
            return None;
        }
        let model = task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL);
        self.baselines.get(model).map(|baseline| baseline.p95())
    }

    /// When an active task should have finished, in all but five of a hundred cases.
    pub fn expected_finish(&self, task: &Task) -> Option<Timestamp> {
        if !task.is_active() {
            return None;
        }
        Some(task.age_start() + self.p95(task)?)
    }

    /// Whether an active task is older than its kind ever should be; both times are of the wall clock.
    pub fn is_stuck(&self, task: &Task, now: Timestamp) -> bool {
        task.is_active() && now.duration_since(task.age_start()) > self.patience(task)
    }

    /// The age from which an active task is stuck.
    fn patience(&self, task: &Task) -> Duration {
        let StuckRules { factor, floor } = self.stuck;
        if let Some(p95) = self.p95(task) {
            let usual = Duration::try_from_secs_f64(p95.as_secs_f64() * factor).unwrap_or(Duration::MAX);
            return usual.max(floor);
        }
        let is_flexible = || task.video.service_tier.as_deref() == Some(FLEX);
        match task.deadline {
            Some(deadline) => deadline.duration_since(task.age_start()) / 2,
            None if is_flexible() => FLEX_PATIENCE,
            None => floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Status, TaskId};

    const RULES: StuckRules = StuckRules { factor: 3.0, floor: Duration::from_mins(15) };

    fn sample(at: i64, millis: u64) -> LatencySample {
        LatencySample { at: Timestamp::from_secs(at), millis }
    }

    fn task() -> Task {
        let mut task =
            Task::new("u".into(), "ark", NewTask::new(TaskId::parse("t").unwrap()), Timestamp::from_secs(1000));
        task.status = Status::Running;
        std::sync::Arc::make_mut(&mut task.video).model = Some("m".into());
        task
    }

    #[test]
    fn percentiles_are_of_the_last_samples_and_absent_under_twenty() {
        let mut history = LatencyHistory::default();
        for n in 1..=19 {
            history.add(sample(n, n.unsigned_abs() * 1000));
        }
        assert_eq!(history.baseline(), None);
        history.add(sample(20, 20_000));
        let seconds = |history: &LatencyHistory| history.baseline().map(|found| found.0.map(|of| of.as_secs()));
        assert_eq!(seconds(&history), Some([10, 19, 20]));
        for n in 0..500 {
            history.add(sample(1000 - n, 7000));
        }
        assert_eq!(seconds(&history), Some([7, 7, 7]), "the 500 latest ends, in whatever order they were added");
        let age = i64::try_from(MAX_SAMPLE_AGE.as_secs()).unwrap();
        assert!(!history.expire(Timestamp::from_secs(501 + age)) && history.expire(Timestamp::from_secs(990 + age)));
        assert_eq!(seconds(&history), None, "eleven are left");
        assert!(history.expire(Timestamp::from_secs(1001 + age)) && history.is_empty());
    }

    #[test]
    fn a_task_is_stuck_by_the_baseline_the_deadline_or_the_floor() {
        let known = |p95: u64| Outlook {
            baselines: BTreeMap::from([("m".into(), Baseline([1, p95, 9].map(Duration::from_secs)))]),
            ..Outlook::new(RULES)
        };
        let none = Outlook::new(RULES);
        let deadline = Task { deadline: Some(Timestamp::from_secs(1000 + 172_800)), ..task() };
        let mut flexible = task();
        std::sync::Arc::make_mut(&mut flexible.video).service_tier = Some("flex".into());
        for (outlook, task, patience) in [
            (&known(100), task(), 900),
            (&known(1000), task(), 3000),
            (&known(100), deadline.clone(), 900),
            (&none, task(), 900),
            (&none, deadline, 86_400),
            (&none, flexible, 86_400),
        ] {
            let is_stuck = |after: i64| outlook.is_stuck(&task, Timestamp::from_secs(1000 + after));
            assert_eq!((is_stuck(patience), is_stuck(patience + 1)), (false, true), "{task:?}");
            let ended = Task { status: Status::Failed, ..task.clone() };
            assert!(!outlook.is_stuck(&ended, Timestamp::from_secs(i64::from(u32::MAX))));
        }
    }

    #[test]
    fn the_expected_finish_is_the_submission_and_the_95th_percentile() {
        let mut outlook = Outlook::new(RULES);
        assert_eq!(outlook.expected_finish(&task()), None);
        outlook.baselines.insert("m".into(), Baseline([1, 60, 90].map(Duration::from_secs)));
        assert_eq!(outlook.expected_finish(&task()), Some(Timestamp::from_secs(1060)));
        let mut submitted = task();
        submitted.times.submit = Some(Timestamp::from_secs(500));
        assert_eq!(outlook.expected_finish(&submitted), Some(Timestamp::from_secs(560)));
        assert_eq!(outlook.expected_finish(&Task { status: Status::Lost, ..task() }), None);
    }
}
