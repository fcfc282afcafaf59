//! State transitions of a task for any sequence of readings.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use videogen_exporter::domain::counter::MAX_COUNT;
use videogen_exporter::domain::policy::CountSince;
use videogen_exporter::domain::reading::{Answer, ClockSource, PollError, Times, Tokens};
use videogen_exporter::domain::{
    Counter, Increment, NewTask, Policy, Reading, Reason, Status, Task, TaskId, Timestamp, advance,
};

const START: i64 = 1_795_132_800;

fn not_found() -> Reading {
    Reading::NotFound(PollError { reason: Reason::NotFound, cause: None })
}

const POLICY: Policy = Policy {
    count_since: CountSince::Moment(Timestamp::from_secs(START)),
    forget_after: Duration::from_hours(24 * 30),
    ..Policy::COUNT_ALL
};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

fn task() -> Task {
    let new = NewTask::new(TaskId::parse("t").unwrap());
    Task::new("u".into(), "new_api", new, at(0))
}

fn answer(status: Status) -> Answer {
    Answer::new(status)
}

fn reading(status: Status) -> Reading {
    Reading::Answer(Box::new(answer(status)))
}

/// A final answer that finished `seconds` after it was submitted.
fn ended(status: Status, submit: i64, seconds: i64) -> Reading {
    let times = Times {
        submit: Some(at(submit)),
        start: None,
        finish: Some(at(submit + seconds)),
        clock: ClockSource::Gateway,
    };
    Reading::Answer(Box::new(Answer { times, ..answer(status) }))
}

fn finished(increments: &[Increment]) -> Vec<Status> {
    let words = increments_of(Counter::Finished, increments);
    words.iter().filter_map(|(words, _)| Status::from_word(words[0])).collect()
}

/// The increments of a counter: label values and amount.
fn increments_of(counter: Counter, increments: &[Increment]) -> Vec<(Vec<&'static str>, u64)> {
    let own = increments.iter().filter(|(series, _)| series.counter == counter);
    own.map(|(series, amount)| (series.labels().map(|(_, word)| word).collect(), *amount)).collect()
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let status = prop::sample::select(vec![
        Status::Queued,
        Status::Running,
        Status::Succeeded,
        Status::Failed,
        Status::Cancelled,
        Status::Expired,
        Status::Unknown,
    ]);
    let moment = prop::option::of((-4_000_000i64..4_000_000).prop_map(at));
    let clock = prop::sample::select(vec![ClockSource::Gateway, ClockSource::Upstream, ClockSource::Mixed]);
    let answer = (
        status,
        moment.clone(),
        moment.clone(),
        moment,
        clock,
        prop::option::of(0.0..1e9f64),
        prop::option::of(0.0..1.0f64),
        prop::option::of(-100.0..1e7f64),
    );
    prop_oneof![
        8 => answer.prop_map(|(status, submit, start, finish, clock, amount, progress, gateway_lag)| {
            let finish = finish.filter(|_| status.is_end());
            let tokens = Tokens { prompt: None, completion: amount, total: amount };
            Reading::Answer(Box::new(Answer {
                progress, gateway_lag, tokens, credits: amount, video_seconds: amount,
                times: Times { submit, start, finish, clock }, ..Answer::new(status)
            }))
        }),
        2 => Just(not_found()),
        2 => Just(Reading::Failed(PollError { reason: Reason::Timeout, cause: None })),
        1 => Just(Reading::GivenUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_readings_give_valid_statuses_and_count_each_end_once(
        readings in prop::collection::vec((any_reading(), 0i64..100), 1..40),
        always in any::<bool>(),
    ) {
        let policy = if always { Policy { count_since: CountSince::Always, ..POLICY } } else { POLICY };
        let mut task = task();
        let mut now = 0;
        let mut once: BTreeMap<String, usize> = BTreeMap::new();
        let mut ends_seen = Vec::new();
        for (reading, wait) in readings {
            now += wait;
            let before = task.clone();
            let after = advance(&task, reading, &policy, at(now));
            prop_assert_eq!(after.from, before.status);
            let is_found = before.status == Status::Lost && after.task.status != Status::Lost;
            let is_end = after.task.status.is_end();
            prop_assert!(!before.status.is_end() || is_end || is_found, "only another end replaces an end");
            prop_assert_eq!(after.task.ended_seen.is_some(), after.task.status.is_end());
            prop_assert!(before.ended_seen.is_none() || before.ended_seen == after.task.ended_seen || is_found);
            prop_assert!(after.durable || (after.increments.is_empty() && before.status == after.task.status));
            for (series, amount) in &after.increments {
                let words: Vec<_> = series.labels().map(|(_, word)| word).collect();
                prop_assert!(series.is_possible() && *amount <= MAX_COUNT, "{:?}", series);
                // The key ignores label values; transitions and regressions may be counted more than once.
                let name = match series.counter {
                    Counter::Transitions => {
                        prop_assert_eq!(&words, &[before.status.as_str(), after.task.status.as_str()]);
                        continue;
                    }
                    Counter::Regressions => {
                        prop_assert!(before.status.is_end() && before.status != after.task.status);
                        continue;
                    }
                    Counter::Finished | Counter::Failures => format!("{:?} {}", series.counter, words[0]),
                    Counter::Tokens => format!("tokens {}", words[0]),
                    Counter::InvalidDurations => words[0].replace('_', ""),
                    counter => format!("{counter:?}").to_lowercase(),
                };
                *once.entry(name).or_default() += 1;
            }
            let counted = finished(&after.increments);
            prop_assert!(counted.iter().all(|end| *end == after.task.status && !ends_seen.contains(end)));
            ends_seen.extend(counted);
            task = after.task;
        }
        prop_assert!(once.values().all(|times| *times == 1), "{:?}", once);
        if task.status.is_end() && (task.seen_active || always) {
            prop_assert!(ends_seen.contains(&task.status), "{:?} was not counted", task.status);
        }
    }
}

#[test]
fn a_task_is_lost_after_three_not_found_responses_over_a_minute() {
    let mut task = task();
    for (secs, lost) in [(0, false), (1, false), (2, false), (59, false), (60, true)] {
        let after = advance(&task, not_found(), &POLICY, at(secs));
        assert_eq!(after.task.status == Status::Lost, lost, "after {secs} s");
        task = after.task;
    }
    let slow = [0, 61].iter().fold(self::task(), |task, secs| advance(&task, not_found(), &POLICY, at(*secs)).task);
    assert_eq!(slow.status, Status::Unknown, "two responses are not enough");
    let mut seen = self::task();
    for reading in [not_found(), not_found(), reading(Status::Running), not_found()] {
        seen = advance(&seen, reading, &POLICY, at(0)).task;
    }
    assert_eq!(
        advance(&seen, not_found(), &POLICY, at(99)).task.status,
        Status::Running,
        "a valid response resets the count"
    );
}

/// Rule 4: whether a task that has ended at its first reading is counted.
#[test]
fn a_task_found_ended_is_counted_if_it_finished_or_was_discovered_after_the_start() {
    let month = 31 * 86_400;
    for (since, late, reading, now, counts) in [
        (POLICY.count_since, false, ended(Status::Failed, -100, 50), 10, false),
        (POLICY.count_since, false, ended(Status::Failed, -100, 100), 10, true),
        (POLICY.count_since, false, ended(Status::Failed, -100, 50), 10, false),
        (POLICY.count_since, false, reading(Status::Succeeded), 10, false),
        (POLICY.count_since, true, reading(Status::Succeeded), 10, true),
        (POLICY.count_since, true, ended(Status::Failed, -100, 50), 10, false),
        (CountSince::Always, false, ended(Status::Failed, -100, 50), 10, true),
        (CountSince::Moment(at(-1000)), false, ended(Status::Failed, -100, 50), 10, true),
        (CountSince::Moment(at(-1000)), false, ended(Status::Failed, -100, 50), month, false),
        (POLICY.count_since, true, Reading::GivenUp, 10, true),
        (POLICY.count_since, false, Reading::GivenUp, 10, false),
    ] {
        let task = Task { discovered_after_first_load: late, ..task() };
        let after = advance(&task, reading.clone(), &Policy { count_since: since, ..POLICY }, at(now));
        assert!(after.task.status.is_end());
        assert_eq!(!after.increments.is_empty(), counts, "{since:?} late={late} {reading:?}");
        assert_eq!(finished(&after.increments).len(), usize::from(counts));
    }
    let seen = advance(&task(), reading(Status::Running), &POLICY, at(5)).task;
    let after = advance(&seen, ended(Status::Failed, -100, 50), &POLICY, at(10));
    assert_eq!(finished(&after.increments), [Status::Failed], "a task that was seen active is always counted");
}

#[test]
fn an_impossible_duration_is_counted_as_invalid_and_not_shown() {
    for (seconds, latency, shown) in [(30, true, Some(30.0)), (-5, false, None), (31 * 86_400, false, None)] {
        let seen = advance(&task(), reading(Status::Running), &POLICY, at(1)).task;
        let after = advance(&seen, ended(Status::Succeeded, 0, seconds), &POLICY, at(40));
        let has = |counter| !increments_of(counter, &after.increments).is_empty();
        assert_eq!((has(Counter::Latency), has(Counter::InvalidDurations)), (latency, !latency));
        assert_eq!(after.task.duration(), shown);
    }
}

#[test]
fn a_synthetic_finish_or_mixed_clocks_give_no_latency() {
    let times = Times { submit: Some(at(0)), start: Some(at(10)), finish: Some(at(50)), clock: ClockSource::Gateway };
    let swept = Answer { times, finish_is_synthetic: true, ..answer(Status::Expired) };
    let mixed = Answer { times: Times { clock: ClockSource::Mixed, ..times }, ..answer(Status::Succeeded) };
    for answer in [swept, mixed] {
        let after = advance(&task(), Reading::Answer(Box::new(answer)), &POLICY, at(60));
        assert!(
            [Counter::Latency, Counter::Run]
                .iter()
                .all(|counter| increments_of(*counter, &after.increments).is_empty())
        );
        assert_eq!(finished(&after.increments).len(), 1);
    }
}

#[test]
fn a_late_success_is_counted_as_a_second_end_with_its_usage_once() {
    let tokens = Tokens { prompt: None, completion: Some(5.0), total: Some(5.0) };
    let with_tokens = |status| Reading::Answer(Box::new(Answer { tokens, ..answer(status) }));
    let mut task = advance(&task(), reading(Status::Running), &POLICY, at(1)).task;
    let mut counted = Vec::new();
    for status in [Status::Failed, Status::Running, Status::Succeeded, Status::Failed] {
        let after = advance(&task, with_tokens(status), &POLICY, at(2));
        counted.extend(after.increments);
        task = after.task;
    }
    assert_eq!(finished(&counted), [Status::Failed, Status::Succeeded]);
    assert_eq!(increments_of(Counter::Tokens, &counted), [(vec!["output"], 5000)]);
    assert_eq!(
        increments_of(Counter::Regressions, &counted).len(),
        2,
        "each change of the final status is a regression"
    );
}

#[test]
fn the_statuses_of_gateway_and_provider_are_compared() {
    let layers = |gateway, upstream, status| Answer {
        gateway_status: Some(gateway),
        upstream_status: Some(upstream),
        ..answer(status)
    };
    let read = |task: &Task, answer| advance(task, Reading::Answer(Box::new(answer)), &POLICY, at(5)).task;
    let expired = read(&task(), layers(Status::Running, Status::Expired, Status::Expired));
    assert_eq!(expired.disagreement(), Some((Status::Running, Status::Expired)));
    let swept = read(&expired, layers(Status::Expired, Status::Expired, Status::Expired));
    assert_eq!(swept.disagreement(), None, "the statuses agree after the next reading");
    let still = read(&expired, layers(Status::Running, Status::Running, Status::Running));
    assert_eq!(
        (still.status, still.disagreement(), still.reopened),
        (Status::Expired, None, true),
        "a running status does not replace an end"
    );
    let over = read(&still, layers(Status::Failed, Status::Failed, Status::Failed));
    assert_eq!((over.status, over.reopened), (Status::Failed, false), "another end replaces an end");
    let alone = Answer { gateway_status: None, ..layers(Status::Running, Status::Expired, Status::Expired) };
    assert_eq!(read(&task(), alone).disagreement(), None, "one status alone is no disagreement");
}

#[test]
fn the_gateway_lag_is_counted_once_and_a_negative_lag_as_invalid() {
    let lagging =
        |seconds| Reading::Answer(Box::new(Answer { gateway_lag: Some(seconds), ..answer(Status::Succeeded) }));
    let seen = advance(&task(), reading(Status::Running), &POLICY, at(1)).task;
    let after = advance(&seen, lagging(7.0), &POLICY, at(2));
    assert_eq!(increments_of(Counter::GatewayLag, &after.increments), [(vec![], 7000)]);
    let again = advance(&after.task, lagging(7.0), &POLICY, at(70));
    assert!(again.increments.is_empty());
    let early = advance(&seen, lagging(-3.0), &POLICY, at(2)).increments;
    assert_eq!(increments_of(Counter::InvalidDurations, &early), [(vec!["gateway_lag", "negative"], 1)]);
}
