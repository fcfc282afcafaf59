//! What the last latencies make one expect, measured on simulated fleets of four models whose latencies drift: how many tasks finish by
//! their expected finish, and which of those that are called stuck really are. The numbers are quoted in docs/costs.md:
//! `cargo test --test it -- expectations --nocapture` prints them.

use std::sync::Arc;
use std::time::Duration;

use videogen_exporter::domain::latency::LatencySample;
use videogen_exporter::domain::outlook::{LatencyHistory, Outlook, StuckRules};
use videogen_exporter::domain::{NewTask, Status, Task, TaskId, Timestamp};

/// Three days, in seconds.
const TIME: f64 = 3.0 * 86_400.0;

/// How the usual latency changes.
#[derive(Debug, Clone, Copy)]
enum Drift {
    /// Not at all.
    Steady,
    /// Three times as long after three days.
    Slower,
    /// Up and down with the hour of the day, by half.
    Daily,
    /// Twice as long from one moment on.
    Step,
}

const FLEETS: [(Drift, f64); 4] =
    [(Drift::Steady, 60.0), (Drift::Slower, 90.0), (Drift::Daily, 150.0), (Drift::Step, 240.0)];

impl Drift {
    fn factor(self, time: f64) -> f64 {
        match self {
            Self::Steady => 1.0,
            Self::Slower => 1.0 + 2.0 * time / TIME,
            Self::Daily => 1.0 + 0.5 * (time / 86_400.0 * std::f64::consts::TAU).sin(),
            Self::Step => {
                if time > TIME / 2.0 {
                    2.0
                } else {
                    1.0
                }
            }
        }
    }
}

/// A task of a fleet: when it was submitted, when it ends, and whether it hangs.
#[derive(Debug, Clone, Copy)]
struct FleetTask {
    submit: f64,
    finish: f64,
    hangs: bool,
}

/// A task every 20 seconds. One of a hundred hangs until its provider gives it up after an hour or more.
fn fleet(drift: Drift, typical: f64, random: &mut fastrand::Rng) -> Vec<FleetTask> {
    let mut tasks = Vec::new();
    let mut submit = 0.0;
    while submit < TIME {
        submit += 40.0 * random.f64();
        let hangs = random.u32(..100) == 0;
        // Real latencies have a long tail: the sum of four random numbers is nearly normal, its exponential log-normal.
        let normal = (0..4).map(|_| random.f64()).sum::<f64>() - 2.0;
        let usual = typical * drift.factor(submit) * (0.9 * normal).exp();
        let latency = if hangs { 3600.0 * (1.0 + 9.0 * random.f64()) } else { usual };
        tasks.push(FleetTask { submit, finish: submit + latency, hangs });
    }
    tasks
}

/// What became of the tasks of a fleet.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    /// Tasks that do not hang and had an expected finish, and those of them that had finished by then.
    expected: u32,
    in_time: u32,
    /// Tasks that were called stuck and hang, that were and do not, and that hang and were not.
    found: u32,
    wrong: u32,
    missed: u32,
}

fn at(time: f64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000) + Duration::from_secs_f64(time)
}

/// Follows the tasks in the order of their submissions and ends.
fn watch(tasks: &[FleetTask], rules: StuckRules) -> Outcome {
    let mut ends: Vec<&FleetTask> = tasks.iter().collect();
    ends.sort_by(|left, right| left.finish.total_cmp(&right.finish));
    let mut ends = ends.into_iter().peekable();
    let mut history = LatencyHistory::default();
    let mut outlook = Outlook::new(rules);
    let mut outcome = Outcome::default();
    let mut samples = 0;
    let model: Arc<str> = "m".into();
    let record = |task: &FleetTask| {
        let new = NewTask { submit: Some(at(task.submit)), ..NewTask::new(TaskId::parse("t").unwrap()) };
        let mut record = Task::new("u".into(), "ark", new, at(task.submit));
        record.status = Status::Running;
        Arc::make_mut(&mut record.video).model = Some("m".into());
        record
    };
    for task in tasks {
        while let Some(ended) = ends.next_if(|ended| ended.finish <= task.submit) {
            // Just before its end: what is called stuck once stays so.
            match (outlook.is_stuck(&record(ended), at(ended.finish)), ended.hangs) {
                (true, true) => outcome.found += 1,
                (true, false) => outcome.wrong += 1,
                (false, true) => outcome.missed += 1,
                (false, false) => {}
            }
            // A task that hangs is given up: it does not succeed.
            if !ended.hangs {
                let millis = u64::try_from(Duration::from_secs_f64(ended.finish - ended.submit).as_millis()).unwrap();
                history.add(LatencySample { at: at(ended.finish), millis });
                history.expire(at(ended.finish));
                samples += 1;
                // The exporter looks once a second; ten ends are about three minutes here.
                if samples % 10 == 0 {
                    outlook.baselines.extend(history.baseline().map(|baseline| (model.clone(), baseline)));
                }
            }
        }
        if let Some(expected) = outlook.expected_finish(&record(task)).filter(|_| !task.hangs) {
            outcome.expected += 1;
            outcome.in_time += u32::from(at(task.finish) <= expected);
        }
    }
    outcome
}

fn share(part: u32, of: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(of.max(1))
}

#[test]
fn nine_of_ten_tasks_finish_by_their_expected_finish_and_stuck_tasks_are_found() {
    let mut random = fastrand::Rng::with_seed(18);
    let fleets: Vec<_> =
        FLEETS.into_iter().map(|(drift, typical)| (drift, fleet(drift, typical, &mut random))).collect();
    let default = StuckRules { factor: 3.0, floor: Duration::from_mins(15) };
    println!("fleet    tasks  finished in time");
    for (drift, tasks) in &fleets {
        let Outcome { expected, in_time, .. } = watch(tasks, default);
        println!("{drift:?} {expected} {:.1} %", share(in_time, expected));
        assert!(expected > 10_000 && share(in_time, expected) >= 90.0, "{drift:?}: {in_time} of {expected}");
    }
    println!("factor floor  precision recall");
    for (factor, floor) in [(3.0, 15), (2.0, 15), (5.0, 15), (3.0, 5), (2.0, 5), (3.0, 60)] {
        let rules = StuckRules { factor, floor: Duration::from_mins(floor) };
        let outcomes = fleets.iter().map(|(_, tasks)| watch(tasks, rules));
        let (found, wrong, missed) = outcomes.fold((0, 0, 0), |(found, wrong, missed), outcome| {
            (found + outcome.found, wrong + outcome.wrong, missed + outcome.missed)
        });
        let (precision, recall) = (share(found, found + wrong), share(found, found + missed));
        println!("{factor} {floor}m {precision:.1} % {recall:.1} %");
        if rules == default {
            assert!(precision > 98.0 && recall > 98.0, "{precision} {recall}");
        }
    }
}
