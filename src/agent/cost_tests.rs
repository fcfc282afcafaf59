//! The actor and money: what costs wait for, budgets over a restart and a change of month, and what is expected of active tasks.

#![expect(clippy::float_cmp, reason = "amounts are whole micro-units")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::account::KnownAccount;
use super::actor_tests::{answer, tick};
use super::test_actor::{TestActor, Upstream, clock, config, id, settings};
use crate::clock::ManualClock;
use crate::config::QuotaPerUnit;
use crate::domain::policy::QuotaRate;
use crate::domain::pricing::{Billing, Currency};
use crate::domain::reading::{ClockSource, Cost, Times, Tokens};
use crate::domain::{Answer, NewTask, Status, Timestamp};
use crate::store::Location;

const SECOND: Duration = Duration::from_secs(1);

/// Prices by quota and by token; failures are charged by quota.
const PRICES: &str = "metrics: {zero_hold: 0s}\ntasks: {count_since: always, retention: 1m}\npricing:\n  budgets: [{name: month, per: month, amount: 10}, \
    {name: growth, match: {labels: {team: 'gr*'}}, per: day, amount: 10}]\n  rules:\n  \
    - {match: {model: 'quota*'}, price: {per: quota, amount: 1, each: 500000}, charge_on: {failed: true}}\n  \
    - {match: {model: 'sound*', audio: true}, price: {per: quota, amount: 1, each: 500000}}\n  \
    - {match: {model: 'sound*'}, price: {per: task, amount: 1}}\n  \
    - {match: {model: 'token*'}, price: {per: token, amount: 1, each: 100}}\n";

async fn start(folder: &tempfile::TempDir, clock: Arc<Mutex<ManualClock>>, upstream: &Upstream) -> TestActor {
    let location = Location::File(folder.path().join("s.db"));
    TestActor::start(&config(folder.path(), PRICES), &location, clock, upstream.clone()).await
}

/// The answer of a task of a model.
fn of_model(model: &str, status: Status) -> Answer {
    Answer { model_upstream: Some(model.to_owned()), ..answer(status) }
}

fn set(upstream: &Upstream, name: &str, answer: Answer) {
    upstream.lock().unwrap().insert(name.to_owned(), answer);
}

async fn discover(test: &mut TestActor, tasks: Vec<NewTask>) {
    drop(test.discover("file/0", tasks).await);
    test.settle().await;
}

async fn poll(test: &mut TestActor, name: &str) {
    test.poll(&id(name)).await;
    test.settle().await;
}

/// Polls a task that runs, and again after its end.
async fn run(test: &mut TestActor, upstream: &Upstream, name: &str, end: Answer) {
    let model = end.model_upstream.clone().unwrap_or_default();
    set(upstream, name, of_model(&model, Status::Running));
    poll(test, name).await;
    test.advance(SECOND);
    set(upstream, name, end);
    poll(test, name).await;
}

/// The values of the lines that begin so, and end so before their value.
fn values(test: &mut TestActor, start: &str, end: &str) -> Vec<f64> {
    let page = test.page();
    let rows = page.lines().filter_map(|line| line.rsplit_once(' '));
    let matching = rows.filter(|(series, _)| series.starts_with(start) && series.ends_with(end));
    matching.map(|(_, value)| value.parse().unwrap()).collect()
}

fn total(test: &mut TestActor, start: &str, end: &str) -> f64 {
    values(test, start, end).into_iter().sum()
}

const COST: &str = "videogen_cost_total{";

fn tokens(model: &str, total: f64) -> Answer {
    Answer { tokens: Tokens { total: Some(total), ..Tokens::default() }, ..of_model(model, Status::Succeeded) }
}

#[tokio::test]
async fn a_cost_by_quota_waits_for_the_settled_quota_also_of_a_failure() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let mut test = start(&folder, clock(), &upstream).await;
    let names = ["good", "refunded", "kept"];
    discover(&mut test, names.map(|name| NewTask::new(id(name))).to_vec()).await;
    let quota = |status, quota| Answer { credits: Some(quota), ..of_model("quota-1", status) };
    for (name, status) in names.into_iter().zip([Status::Succeeded, Status::Failed, Status::Failed]) {
        run(&mut test, &upstream, name, quota(status, 9e9)).await;
    }
    assert_eq!((total(&mut test, COST, "}"), total(&mut test, "videogen_unpriced_tasks_total{", "}")), (0.0, 0.0));
    assert_eq!(total(&mut test, "videogen_task_cost{", "}"), 0.0, "nothing is shown before it is known");
    set(&upstream, "good", quota(Status::Succeeded, 128_905.0));
    set(&upstream, "refunded", quota(Status::Failed, 0.0));
    set(&upstream, "kept", quota(Status::Failed, 50_000.0));
    test.advance(4 * SECOND);
    test.poll_due().await;
    test.settle().await;
    let cost = |name: &str| {
        format!("videogen_task_cost{{upstream=\"u\",task_id=\"{name}\",currency=\"USD\",cost_source=\"metered\"")
    };
    let costs = names.map(|name| total(&mut test, &cost(name), "}"));
    assert_eq!(costs, [0.257_81, 0.0, 0.1]);
    assert_eq!(total(&mut test, COST, "cost_source=\"metered\"}"), 0.357_81);
    assert_eq!(total(&mut test, "videogen_budget_spent{budget=\"month\"", "}"), 0.357_81);
    // A reading later changes nothing.
    test.advance(Duration::from_mins(1));
    for (name, status) in names.into_iter().zip([Status::Succeeded, Status::Failed, Status::Failed]) {
        set(&upstream, name, quota(status, 9e9));
        poll(&mut test, name).await;
    }
    assert_eq!(values(&mut test, &cost("good"), "}"), [0.257_81]);
}

#[tokio::test]
async fn a_cost_that_waits_keeps_what_its_end_told_over_a_kill_and_a_short_retention() {
    let (folder, upstream, clock) = (tempfile::tempdir().unwrap(), Upstream::default(), clock());
    let mut test = start(&folder, clock.clone(), &upstream).await;
    discover(&mut test, ["settled", "silent"].map(|name| NewTask::new(id(name))).to_vec()).await;
    let billing = Billing { has_audio: Some(true), ..Billing::default() };
    for name in ["settled", "silent"] {
        let end = of_model("sound-1", Status::Succeeded);
        run(&mut test, &upstream, name, Answer { credits: Some(50_000.0), billing, ..end }).await;
    }
    test.end(true).await;
    let mut test = start(&folder, clock.clone(), &upstream).await;
    // The settling row has no body, and that of the other task does not come.
    set(&upstream, "settled", Answer { credits: Some(100_000.0), ..of_model("sound-1", Status::Succeeded) });
    upstream.lock().unwrap().remove("silent");
    for seconds in [4, 100, 100, 100] {
        test.advance(seconds * SECOND);
        test.poll_due().await;
        test.settle().await;
        tick(&mut test).await;
    }
    assert_eq!(total(&mut test, COST, "cost_source=\"metered\"}"), 0.3, "by the rule of its end, and as told last");
    assert_eq!(total(&mut test, "videogen_unpriced_tasks_total{", "}"), 0.0);
}

#[tokio::test]
async fn a_charge_waits_for_the_rate_of_its_gateway_and_a_later_configuration_charges_nothing() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let mut test = start(&folder, clock(), &upstream).await;
    discover(&mut test, ["before", "waits", "after"].map(|name| NewTask::new(id(name))).to_vec()).await;
    let quota = Answer { credits: Some(250_000.0), ..of_model("quota-1", Status::Succeeded) };
    let settled = async |test: &mut TestActor, name: &str| {
        run(test, &upstream, name, quota.clone()).await;
        test.advance(4 * SECOND);
        test.poll_due().await;
        test.settle().await;
    };
    settled(&mut test, "before").await;
    let mut auto = settings(&config(folder.path(), PRICES), &test.store);
    Arc::make_mut(&mut auto.upstream.billing).quota_per_unit = Some(QuotaPerUnit::Auto);
    let send = test.sender();
    test.actor.reconfigure(auto, send, Vec::new());
    settled(&mut test, "waits").await;
    assert_eq!(total(&mut test, "videogen_charged_total{", "}"), 0.0);
    let units = rust_decimal::Decimal::from(500_000);
    let known = KnownAccount::of_rate(QuotaRate { units, currency: Currency::USD });
    test.actor.tracker_mut().account = tokio::sync::watch::channel(known).1;
    for _ in 0..60 {
        tick(&mut test).await;
    }
    assert_eq!(total(&mut test, "videogen_charged_total{", "}"), 0.5, "nothing of the end before");
    settled(&mut test, "after").await;
    assert_eq!(total(&mut test, "videogen_charged_total{", "}"), 1.0);
}

#[tokio::test]
async fn a_later_end_adds_what_it_costs_more_and_unpriced_counts_once() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let mut test = start(&folder, clock(), &upstream).await;
    discover(&mut test, ["a", "b", "c"].map(|name| NewTask::new(id(name))).to_vec()).await;
    let reported =
        |status, amount| Answer { cost: Some(Cost { amount, currency: Currency::USD }), ..of_model("token-1", status) };
    run(&mut test, &upstream, "a", reported(Status::Failed, 0.5)).await;
    for (later, sum) in [(reported(Status::Succeeded, 0.2), 0.5), (reported(Status::Expired, 0.75), 0.75)] {
        set(&upstream, "a", later);
        poll(&mut test, "a").await;
        assert_eq!(total(&mut test, COST, "cost_source=\"reported\"}"), sum, "nothing is subtracted");
    }
    let euros = Some(Cost { amount: 9.0, currency: Currency::from_code("EUR").unwrap() });
    let without_prices = config(folder.path(), "tasks: {count_since: always}\n");
    let (without_prices, send) = (settings(&without_prices, &test.store), test.sender());
    test.actor.reconfigure(without_prices, send, Vec::new());
    set(&upstream, "a", Answer { cost: euros, ..of_model("token-1", Status::Failed) });
    poll(&mut test, "a").await;
    assert_eq!(total(&mut test, COST, "}"), 0.75, "amounts of two currencies are not compared");
    let (with_prices, send) = (settings(&config(folder.path(), PRICES), &test.store), test.sender());
    test.actor.reconfigure(with_prices, send, Vec::new());
    run(&mut test, &upstream, "b", of_model("token-1", Status::Succeeded)).await;
    assert_eq!(total(&mut test, "videogen_unpriced_tasks_total{", "reason=\"no_usage\"}"), 1.0);
    set(&upstream, "b", of_model("token-1", Status::Failed));
    poll(&mut test, "b").await;
    set(&upstream, "b", of_model("no-rule", Status::Succeeded));
    poll(&mut test, "b").await;
    assert_eq!(total(&mut test, "videogen_unpriced_tasks_total{", "}"), 1.0);
    run(&mut test, &upstream, "c", of_model("other", Status::Failed)).await;
    assert_eq!(
        total(&mut test, "videogen_unpriced_tasks_total{", "}"),
        1.0,
        "a failure is not charged, and so has a price"
    );
    assert_eq!(total(&mut test, "videogen_task_cost{upstream=\"u\",task_id=\"c\"", "}"), 0.0);
}

#[tokio::test]
async fn costs_are_born_at_zero_and_continue_after_a_kill() {
    let (folder, upstream, clock) = (tempfile::tempdir().unwrap(), Upstream::default(), clock());
    let mut test = start(&folder, clock.clone(), &upstream).await;
    discover(&mut test, ["a", "b"].map(|name| NewTask::new(id(name))).to_vec()).await;
    set(&upstream, "a", of_model("token-1", Status::Running));
    poll(&mut test, "a").await;
    let series =
        "videogen_cost_total{upstream=\"u\",provider=\"new_api\",model=\"token-1\",currency=\"USD\",cost_source=\"";
    assert_eq!(values(&mut test, series, "}"), [0.0; 3], "before anything has ended");
    assert_eq!(
        values(&mut test, "videogen_unpriced_tasks_total{upstream=\"u\",provider=\"new_api\",model=\"token-1\"", "}"),
        [0.0; 5]
    );
    run(&mut test, &upstream, "a", tokens("token-1", 250.0)).await;
    assert_eq!(total(&mut test, series, "}"), 2.5);
    for is_killed in [true, false] {
        test.end(is_killed).await;
        test = start(&folder, clock.clone(), &upstream).await;
        assert_eq!(values(&mut test, series, "}"), [0.0, 2.5, 0.0]);
        assert_eq!(total(&mut test, "videogen_task_cost{", "}"), 2.5);
        poll(&mut test, "a").await;
    }
    run(&mut test, &upstream, "b", tokens("token-1", 50.0)).await;
    assert_eq!(total(&mut test, series, "}"), 3.0);
}

#[tokio::test]
async fn budgets_follow_the_calendar_over_a_restart() {
    let (folder, upstream, clock) = (tempfile::tempdir().unwrap(), Upstream::default(), clock());
    let evening: jiff::Timestamp = "2027-01-31T23:58:00Z".parse().unwrap();
    clock.lock().unwrap().wall = Timestamp::from_millis(evening.as_millisecond());
    let mut test = start(&folder, clock.clone(), &upstream).await;
    let team = |name: &str, team: &str| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        NewTask { labels: Arc::new(labels), ..NewTask::new(id(name)) }
    };
    discover(&mut test, vec![team("a", "growth"), team("b", "ops"), team("c", "growth")]).await;
    let spent = |test: &mut TestActor| {
        ["month", "growth"].map(|name| total(test, &format!("videogen_budget_spent{{budget=\"{name}\""), "}"))
    };
    assert_eq!(spent(&mut test), [0.0, 0.0]);
    run(&mut test, &upstream, "a", tokens("token-1", 200.0)).await;
    run(&mut test, &upstream, "b", tokens("token-1", 100.0)).await;
    assert_eq!(spent(&mut test), [3.0, 2.0]);
    test.end(true).await;
    let mut test = start(&folder, clock.clone(), &upstream).await;
    assert_eq!(spent(&mut test), [3.0, 2.0], "the state keeps it");
    assert_eq!(total(&mut test, "videogen_budget_end_timestamp_seconds{budget=\"month\"", "}"), 1_801_440_000.0);
    test.advance(Duration::from_mins(3));
    assert_eq!(spent(&mut test), [0.0, 0.0], "another month and day");
    run(&mut test, &upstream, "c", tokens("token-1", 700.0)).await;
    assert_eq!(spent(&mut test), [7.0, 7.0]);
    test.end(false).await;
    let mut test = start(&folder, clock.clone(), &upstream).await;
    assert_eq!(spent(&mut test), [7.0, 7.0]);
    // A wall clock that is set back for a moment loses nothing.
    test.step_wall_clock(-300);
    assert_eq!(spent(&mut test), [3.0, 2.0]);
    test.step_wall_clock(300);
    assert_eq!(spent(&mut test), [7.0, 7.0]);
}

#[tokio::test]
async fn prices_of_a_reload_hold_for_ends_from_then_on() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let mut test = start(&folder, clock(), &upstream).await;
    discover(&mut test, ["a", "b"].map(|name| NewTask::new(id(name))).to_vec()).await;
    run(&mut test, &upstream, "a", tokens("token-1", 100.0)).await;
    let dearer = config(folder.path(), &PRICES.replace("amount: 1, each: 100}", "amount: 5, each: 100}"));
    let (settings, send) = (settings(&dearer, &test.store), test.sender());
    test.actor.reconfigure(settings, send, Vec::new());
    poll(&mut test, "a").await;
    run(&mut test, &upstream, "b", tokens("token-1", 100.0)).await;
    assert_eq!(total(&mut test, COST, "}"), 6.0);
}

#[tokio::test]
async fn history_shows_its_cost_and_counts_none() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let location = Location::File(folder.path().join("s.db"));
    let config = config(folder.path(), &PRICES.replace("count_since: always", "count_since: first_start"));
    let mut test = TestActor::start(&config, &location, clock(), upstream.clone()).await;
    let times = Times { finish: Some(Timestamp::from_secs(1_700_000_000)), ..Times::default() };
    set(&upstream, "old", Answer { times, ..tokens("token-1", 100.0) });
    discover(&mut test, vec![NewTask::new(id("old"))]).await;
    poll(&mut test, "old").await;
    assert_eq!((total(&mut test, "videogen_task_cost{", "}"), total(&mut test, COST, "}")), (1.0, 0.0));
    assert_eq!(total(&mut test, "videogen_budget_spent{", "}"), 0.0);
}

#[tokio::test]
async fn the_last_latencies_tell_when_a_task_should_finish_and_when_it_is_stuck() {
    let (folder, upstream, clock) = (tempfile::tempdir().unwrap(), Upstream::default(), clock());
    let mut test = start(&folder, clock.clone(), &upstream).await;
    let names: Vec<String> = (0..21).map(|n| format!("t{n}")).collect();
    discover(&mut test, names.iter().map(|name| NewTask::new(id(name))).collect()).await;
    let baseline =
        "videogen_baseline_latency_seconds{upstream=\"u\",provider=\"new_api\",model=\"token-1\",percentile=\"";
    // Twenty tasks that took 100, 101, … seconds by their own times.
    for (n, name) in (0i64..).zip(&names[..20]) {
        let at = |secs: i64| Some(Timestamp::from_secs(1_800_000_000 + secs));
        let times = Times { submit: at(0), start: None, finish: at(100 + n), clock: ClockSource::Upstream };
        run(&mut test, &upstream, name, Answer { times, ..tokens("token-1", 1.0) }).await;
        if n == 18 {
            tick(&mut test).await;
            assert_eq!(values(&mut test, baseline, "}"), [0.0; 0], "absent under twenty");
        }
    }
    tick(&mut test).await;
    assert_eq!(values(&mut test, baseline, "}"), [109.0, 118.0, 119.0]);
    test.end(true).await;
    let mut test = start(&folder, clock.clone(), &upstream).await;
    assert_eq!(values(&mut test, baseline, "}"), [109.0, 118.0, 119.0], "the state keeps the samples");
    let submitted = test.now().steady;
    let submit = Times { submit: Some(submitted), ..Times::default() };
    set(&upstream, "t20", Answer { times: submit, ..of_model("token-1", Status::Running) });
    poll(&mut test, "t20").await;
    let expected = "videogen_task_expected_finish_timestamp_seconds{upstream=\"u\",task_id=\"t20\"";
    assert_eq!(values(&mut test, expected, "}"), [(submitted + 118 * SECOND).as_secs_f64()]);
    let stuck =
        |test: &mut TestActor| (values(test, "videogen_task_stuck{", "}"), total(test, "videogen_tasks_stuck{", "}"));
    test.advance(900 * SECOND);
    assert_eq!(stuck(&mut test), (vec![], 0.0), "the floor is longer than three times 118 s");
    test.advance(SECOND);
    assert_eq!(stuck(&mut test), (vec![1.0], 1.0));
    set(&upstream, "t20", of_model("token-1", Status::Failed));
    poll(&mut test, "t20").await;
    assert_eq!((stuck(&mut test), values(&mut test, expected, "}")), ((vec![], 0.0), vec![]));
    test.advance(Duration::from_hours(7 * 24));
    tick(&mut test).await;
    assert_eq!(values(&mut test, baseline, "}"), [0.0; 0], "what is older than seven days is nobody's measure");
}

#[tokio::test]
async fn where_no_times_are_told_the_latency_is_observed_if_the_task_was_watched() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::default());
    let mut test = start(&folder, clock(), &upstream).await;
    let earlier = test.now().steady - 30 * SECOND;
    let registered = NewTask { submit: Some(earlier), ..NewTask::new(id("registered")) };
    let others = ["watched", "gap", "first"].map(|name| NewTask::new(id(name)));
    let ahead = NewTask { submit: Some(test.now().steady + Duration::from_hours(1)), ..NewTask::new(id("ahead")) };
    discover(&mut test, others.into_iter().chain([registered, ahead]).collect()).await;
    for name in ["registered", "watched", "gap", "ahead"] {
        set(&upstream, name, of_model("m", Status::Running));
        poll(&mut test, name).await;
    }
    test.advance(60 * SECOND);
    for name in ["registered", "watched", "ahead", "first"] {
        set(&upstream, name, of_model("m", Status::Succeeded));
        poll(&mut test, name).await;
    }
    let family = "videogen_task_observed_latency_seconds_";
    let of = |test: &mut TestActor, part: &str| {
        total(
            test,
            &format!("{family}{part}{{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"succeeded\""),
            "}",
        )
    };
    assert_eq!(
        (of(&mut test, "count"), of(&mut test, "sum")),
        (3.0, 90.0 + 60.0 + 60.0),
        "not the one that was first seen ended"
    );
    // Nobody knows when it ended: it was not read for longer than twice the longest interval.
    test.advance(121 * SECOND);
    set(&upstream, "gap", of_model("m", Status::Succeeded));
    poll(&mut test, "gap").await;
    assert_eq!(of(&mut test, "count"), 3.0);
    let told =
        "videogen_task_latency_seconds_count{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"succeeded\"";
    assert_eq!(total(&mut test, told, "}"), 0.0, "no pair of one clock");
}
