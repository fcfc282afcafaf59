//! The actor and the rows of lists: what they mean, and which tasks are left to lists.

use std::time::Duration;

use super::actor_tests::{answer, tick};
use super::test_actor::{TestActor, Upstream, clock, config_with_list, id};
use crate::domain::reading::RowDetails;
use crate::domain::{Answer, NewTask, Reason, Status, Timestamp};
use crate::store::Location;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

async fn start(upstream: &Upstream) -> (TestActor, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with_list(folder.path(), "", "");
    (TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await, folder)
}

/// A row with the provider's body.
fn row(name: &str, status: Status) -> Answer {
    let submit = Some(Timestamp::from_secs(1_799_999_000));
    let mut row = Answer { task_id: Some(name.to_owned()), gateway_status: Some(status), ..answer(status) };
    (row.upstream_status, row.times.submit) = (Some(status), submit);
    row
}

/// A row of a task at Gemini.
fn gemini(name: &str, status: Status) -> Answer {
    Answer { read_has_side_effect: true, ..row(name, status) }
}

fn polled(test: &TestActor) -> Vec<String> {
    test.polled.lock().unwrap().clone()
}

fn count(test: &mut TestActor, series: &str) -> Option<String> {
    let page = test.page();
    let line = page.lines().find(|line| line.starts_with(series))?;
    Some(line.rsplit(' ').next()?.to_owned())
}

const FINISHED: &str =
    "videogen_tasks_finished_total{upstream=\"u\",provider=\"new_api\",model=\"m\",label_user=\"none\",status=";

fn finished(test: &mut TestActor, status: &str) -> Option<String> {
    count(test, &format!("{FINISHED}\"{status}\""))
}

fn status_of(test: &mut TestActor, name: &str) -> Status {
    test.view().tasks().find(|task| task.id == id(name)).unwrap().status
}

#[tokio::test]
async fn a_row_is_a_reading_of_the_time_when_it_was_asked_for() {
    let (mut test, _folder) = start(&Upstream::default()).await;
    test.list(Ok(vec![row("a", Status::Running)]), SECOND).await;
    let asked = test.now().steady - SECOND;
    let view = test.view();
    let task = view.tasks().next().unwrap();
    assert_eq!((task.status, task.last_poll, task.video.model.as_deref()), (Status::Running, Some(asked), Some("m")));
    test.list(Ok(vec![row("a", Status::Failed)]), 2 * SECOND).await;
    assert_eq!(status_of(&mut test, "a"), Status::Running, "a row that is older than the last reading");
    test.list(Ok(vec![row("a", Status::Failed)]), SECOND / 2).await;
    assert_eq!((status_of(&mut test, "a"), finished(&mut test, "failed").as_deref()), (Status::Failed, Some("1")));
    let readings = |via: &str| format!("videogen_readings_total{{upstream=\"u\",via=\"{via}\"}}");
    assert_eq!(count(&mut test, &readings("list")).as_deref(), Some("3"));
    assert_eq!(polled(&test), [""; 0], "no single poll was needed");
}

#[tokio::test]
async fn tasks_of_gemini_are_left_to_the_list_for_as_long_as_it_answers() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    test.list(Ok(vec![gemini("g", Status::Running), row("h", Status::Running)]), Duration::ZERO).await;
    for name in ["g", "h"] {
        upstream.lock().unwrap().insert(name.to_owned(), row(name, Status::Running));
    }
    test.advance(MINUTE);
    test.poll_due().await;
    assert!(!polled(&test).contains(&"g".to_owned()), "a single poll would change it");
    assert!(test.demand().since.is_some() || test.demand().tasks == [id("g")], "{:?}", test.demand());
    // The list is refused. Harmless tasks are read alone at once, the other one after ten minutes.
    test.list(Err(Reason::Unauthorized), Duration::ZERO).await;
    test.poll_due().await;
    assert_eq!(polled(&test), ["h"]);
    for _ in 0..9 {
        test.advance(MINUTE);
        test.poll_due().await;
        test.settle().await;
    }
    assert!(!polled(&test).contains(&"g".to_owned()));
    test.advance(MINUTE);
    test.poll_due().await;
    assert!(polled(&test).contains(&"g".to_owned()), "nobody else reads it");
    let effects = "videogen_reads_with_effect_total{upstream=\"u\"}";
    assert_eq!(count(&mut test, effects).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_task_of_which_nothing_is_known_is_first_read_by_the_list() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    for name in ["shown", "missing"] {
        upstream.lock().unwrap().insert(name.to_owned(), row(name, Status::Running));
    }
    let tasks = ["shown", "missing"].map(|name| NewTask::new(id(name))).to_vec();
    drop(test.discover("file/0", tasks).await);
    test.settle().await;
    test.advance(SECOND);
    test.poll_due().await;
    assert_eq!(polled(&test), [""; 0]);
    // Both are expected among the newest.
    assert!(test.demand().since.is_some());
    test.advance(SECOND);
    test.list(Ok(vec![row("other", Status::Running)]), Duration::ZERO).await;
    test.poll_due().await;
    assert_eq!(test.demand().tasks.len(), 2, "neither was on the page");
    test.list_one(&id("shown"), Some(row("shown", Status::Running))).await;
    test.list_one(&id("missing"), None).await;
    test.poll_due().await;
    assert_eq!(polled(&test), ["missing"], "no list has it");
    assert_eq!(test.demand().tasks, []);
}

#[tokio::test]
async fn that_a_listed_task_is_unknown_to_the_key_is_no_strike() {
    let (mut test, _folder) = start(&Upstream::default()).await;
    test.list(Ok(vec![row("a", Status::Running)]), Duration::ZERO).await;
    for n in 1..=5usize {
        test.advance(MINUTE);
        test.poll(&id("a")).await;
        assert_eq!(polled(&test).len(), n.min(3), "after three answers it is left to the list");
        test.advance(MINUTE / 2);
        test.poll_due().await;
        assert_eq!(test.demand().tasks, [id("a")], "the list is asked whether it still has it");
        test.list_one(&id("a"), Some(row("a", Status::Running))).await;
    }
    assert_eq!(status_of(&mut test, "a"), Status::Running);
    // No row shows it any more, and the key does not know it either.
    test.advance(10 * MINUTE);
    for _ in 0..4 {
        test.poll(&id("a")).await;
        test.settle().await;
        test.advance(MINUTE);
    }
    assert_eq!(status_of(&mut test, "a"), Status::Lost);
}

#[tokio::test]
async fn a_task_that_neither_the_key_nor_the_list_knows_is_lost_soon() {
    let (mut test, _folder) = start(&Upstream::default()).await;
    test.list(Ok(vec![row("a", Status::Running)]), Duration::ZERO).await;
    test.advance(MINUTE);
    test.poll(&id("a")).await;
    test.advance(MINUTE / 2);
    test.poll_due().await;
    test.list_one(&id("a"), None).await;
    for _ in 0..4 {
        test.advance(MINUTE / 2);
        test.poll(&id("a")).await;
        test.settle().await;
    }
    assert_eq!(status_of(&mut test, "a"), Status::Lost);
}

#[tokio::test]
async fn an_end_without_the_providers_body_waits_for_one_answer_or_a_minute() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    let partial = |name: &str, status| Answer { is_partial: true, upstream_status: None, ..row(name, status) };
    let rows = ["told", "silent"].map(|name| partial(name, Status::Running));
    test.list(Ok(rows.to_vec()), Duration::ZERO).await;
    test.advance(SECOND);
    let mut whole = row("told", Status::Succeeded);
    whole.tokens.total = Some(7.0);
    upstream.lock().unwrap().insert("told".to_owned(), whole);
    let rows = ["told", "silent"].map(|name| partial(name, Status::Succeeded));
    test.list(Ok(rows.to_vec()), Duration::ZERO).await;
    assert_eq!(finished(&mut test, "succeeded"), Some("0".to_owned()));
    test.poll_due().await;
    test.settle().await;
    assert_eq!(polled(&test), ["told", "silent"]);
    assert_eq!(finished(&mut test, "succeeded").as_deref(), Some("1"));
    let tokens = "videogen_tokens_total{upstream=\"u\",provider=\"new_api\",model=\"m\",label_user=\"none\",token_type=\"unspecified\"}";
    assert_eq!(count(&mut test, tokens).as_deref(), Some("7"));
    test.advance(MINUTE);
    tick(&mut test).await;
    assert_eq!(finished(&mut test, "succeeded").as_deref(), Some("2"), "the row is all there is");
}

#[tokio::test]
async fn the_quota_is_that_of_a_settling_reading() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    let quota = |name: &str, status, quota| Answer { credits: Some(quota), ..row(name, status) };
    let quota_total = "videogen_quota_total{upstream=\"u\",provider=\"new_api\",model=\"m\",label_user=\"none\"}";
    let rows = ["a", "b"].map(|name| quota(name, Status::Running, 9000.0));
    test.list(Ok(rows.to_vec()), Duration::ZERO).await;
    test.advance(SECOND);
    let rows = ["a", "b"].map(|name| quota(name, Status::Succeeded, 9000.0));
    test.list(Ok(rows.to_vec()), Duration::ZERO).await;
    assert_eq!(finished(&mut test, "succeeded").as_deref(), Some("2"));
    assert_eq!(count(&mut test, quota_total).as_deref(), Some("0"), "it was charged ahead");
    // One is settled; the other is never read again.
    upstream.lock().unwrap().insert("a".to_owned(), quota("a", Status::Succeeded, 150.0));
    test.advance(Duration::from_millis(1900));
    test.poll_due().await;
    assert_eq!(polled(&test), [""; 0], "too early");
    test.advance(Duration::from_millis(1200));
    test.poll_due().await;
    test.settle().await;
    assert_eq!(count(&mut test, quota_total).as_deref(), Some("150"));
    for _ in 0..6 {
        test.advance(MINUTE);
        test.poll_due().await;
        tick(&mut test).await;
    }
    assert_eq!(count(&mut test, quota_total).as_deref(), Some("9150"), "the first reading's quota counts");
    assert_eq!(finished(&mut test, "succeeded").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_row_brings_labels_that_hold_from_then_on() {
    let (mut test, _folder) = start(&Upstream::default()).await;
    let with_user = |name: &str, status, user: &str| Answer {
        row: Some(Box::new(RowDetails { labels: vec![("user".to_owned(), user.to_owned())], ..RowDetails::default() })),
        ..row(name, status)
    };
    let own = [("user".to_owned(), "mine".to_owned())].into();
    drop(test.discover("file/0", vec![NewTask { labels: std::sync::Arc::new(own), ..NewTask::new(id("own")) }]).await);
    test.settle().await;
    let rows = ["a", "own"].map(|name| with_user(name, Status::Running, "ann"));
    test.list(Ok(rows.to_vec()), SECOND).await;
    let rows = ["a", "own"].map(|name| with_user(name, Status::Failed, "bob"));
    test.list(Ok(rows.to_vec()), Duration::ZERO).await;
    let total = |user: &str| FINISHED.replace("\"none\"", &format!("\"{user}\"")) + "\"failed\"";
    assert_eq!(count(&mut test, &total("ann")).as_deref(), Some("1"), "of the first row");
    assert_eq!(count(&mut test, &total("mine")).as_deref(), Some("1"), "a task's own label wins");
    assert_eq!(count(&mut test, &total("bob")), None);
}

#[tokio::test]
async fn many_due_tasks_are_read_by_pages_and_the_oldest_alone() {
    let upstream = Upstream::default();
    let folder = tempfile::tempdir().unwrap();
    // A page takes longer than the interval between two polls.
    let config = config_with_list(folder.path(), "requests_per_second: 0.01", "");
    let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await;
    let start = 1_799_999_000;
    let name = |n: i64| format!("t{n:03}");
    let rows = |ids: std::ops::Range<i64>| {
        let at = |n: i64| Some(Timestamp::from_secs(start + 60 * n));
        let mut rows: Vec<Answer> = ids
            .map(|n| (n, row(&name(n), Status::Running)))
            .map(|(n, mut row)| {
                row.times.submit = at(n);
                row
            })
            .collect();
        rows.reverse();
        rows
    };
    for n in 0..50 {
        upstream.lock().unwrap().insert(name(n), row(&name(n), Status::Running));
    }
    test.list(Ok(rows(0..50)), Duration::ZERO).await;
    test.advance(MINUTE);
    test.actor.tracker_mut().poller.limit = super::rate_limit::RateLimit::new(0.001, 2);
    test.poll_due().await;
    assert_eq!(polled(&test), [name(0), name(1)], "from the other end");
    let since = test.demand().since.unwrap();
    // The third one is the next to be sent.
    assert!(since <= Timestamp::from_secs(start + 180) && since > Timestamp::from_secs(start + 120), "{since:?}");
    test.list(Ok(rows(10..50)), Duration::ZERO).await;
    test.poll_due().await;
    assert_eq!(test.demand().since, None, "the page was the last one");
    let last_poll =
        |test: &mut TestActor, n| test.view().tasks().find(|task| task.id == id(&name(n))).unwrap().last_poll;
    let now = test.now().steady;
    assert_eq!((last_poll(&mut test, 30), last_poll(&mut test, 5)), (Some(now), Some(now - MINUTE)));
    test.actor.tracker_mut().poller.limit = super::rate_limit::RateLimit::new(1e6, 1000);
    test.poll_due().await;
    let mut left_out: Vec<String> = polled(&test).split_off(2);
    left_out.sort_unstable();
    assert_eq!(left_out, (2..10).map(name).collect::<Vec<_>>(), "what the pages left out");
}
