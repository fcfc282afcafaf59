//! The actor with commands, readings and commits in orders that are rare in a running program.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::command::{CallbackOutcome, Command};
use super::test_actor::{TestActor, Upstream, clock, config, id};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, NewTask, Status};
use crate::store::Location;
use crate::view::UpstreamView;

pub const FINISHED: &str =
    "videogen_tasks_finished_total{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\"} 1";
const FAILED: &str = "videogen_task_status{upstream=\"u\",task_id=\"a\",status=\"failed\"} 1";

pub fn answer(status: Status) -> Answer {
    let mut answer = Answer::new(status);
    answer.model_upstream = Some("m".to_owned());
    answer
}

async fn start(upstream: &Upstream) -> (TestActor, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "metrics: {zero_hold: 0s}");
    (TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await, folder)
}

pub fn set_status(upstream: &Upstream, id: &str, status: Status) {
    upstream.lock().unwrap().insert(id.to_owned(), answer(status));
}

/// Forgets a task; the store has not answered yet.
async fn forget(test: &mut TestActor, text: &str) -> oneshot::Receiver<Result<bool, crate::store::StoreError>> {
    let (reply, replied) = oneshot::channel();
    test.actor.on_command(Command::Forget { id: id(text), reply }).await;
    replied
}

/// Discovers task `a` and polls it once.
pub async fn track(test: &mut TestActor) {
    drop(test.discover("file/0", vec![NewTask::new(id("a"))]).await);
    test.settle().await;
    poll(test).await;
}

/// Polls task `a` and commits what it says.
pub async fn poll(test: &mut TestActor) {
    test.poll(&id("a")).await;
    test.settle().await;
}

/// The work of every second, twice: what the store has confirmed is applied.
pub async fn tick(test: &mut TestActor) {
    for _ in 0..2 {
        test.actor.tracker_mut().on_tick();
        test.settle().await;
    }
}

#[tokio::test]
async fn a_task_forgotten_during_its_discovery_is_not_polled() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    let discovered = test.discover("file/0", vec![NewTask::new(id("a"))]).await;
    let forgotten = forget(&mut test, "a").await;
    test.settle().await;
    assert!(discovered.await.unwrap().is_ok() && forgotten.await.unwrap().unwrap());
    test.advance(Duration::from_hours(1));
    test.poll_due().await;
    assert!(test.tracked().is_empty() && test.polled.lock().unwrap().is_empty());
    // It is polled after another registration.
    let (reply, registered) = oneshot::channel();
    test.actor.on_command(Command::Register { tasks: vec![NewTask::new(id("a"))], reply }).await;
    test.settle().await;
    assert_eq!(registered.await.unwrap().unwrap()[0].as_str(), "watched");
    test.advance(Duration::from_hours(1));
    test.poll_due().await;
    assert_eq!(*test.polled.lock().unwrap(), ["a"]);
}

#[tokio::test]
async fn an_end_is_counted_and_shown_in_the_same_view_after_its_commit() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    track(&mut test).await;
    set_status(&upstream, "a", Status::Failed);
    test.poll(&id("a")).await;
    let page = test.page();
    assert!(!page.contains(FINISHED) && !page.contains(FAILED), "{page}");
    poll(&mut test).await;
    let page = test.page();
    assert!(page.contains(FINISHED) && page.contains(FAILED), "{page}");
}

#[tokio::test]
async fn a_published_view_does_not_change() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    track(&mut test).await;
    // Metrics of the process are ignored: they always change.
    let tasks =
        |page: String| page.lines().filter(|line| line.starts_with("videogen_t")).collect::<Vec<_>>().join("\n");
    let before = tasks(test.page());
    set_status(&upstream, "a", Status::Failed);
    test.poll(&id("a")).await;
    // Committed but not published yet.
    test.settle().await;
    assert!(before.contains("videogen_task_status") && tasks(test.last_page()) == before);
    assert!(test.page().contains(FINISHED));
}

#[tokio::test]
async fn a_callback_moves_a_task_forward_only_and_makes_older_responses_stale() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    drop(test.discover("file/0", vec![NewTask::new(id("a"))]).await);
    test.settle().await;
    let tracker = test.actor.tracker_mut();
    assert_eq!(tracker.apply_callbacks([(id("b"), Some(answer(Status::Failed)))]), CallbackOutcome::UnknownTask);
    poll(&mut test).await;
    // A poll is in flight when the callback arrives.
    test.advance(Duration::from_mins(1));
    let tracker = test.actor.tracker_mut();
    tracker.poll_due_tasks();
    assert!(!tracker.poller.is_idle());
    assert_eq!(tracker.apply_callbacks([(id("a"), Some(answer(Status::Failed)))]), CallbackOutcome::Accepted);
    let late = tracker.poller.next_response().await;
    tracker.on_response(late);
    test.settle().await;
    assert!(test.page().contains(FAILED));
    // A callback that contradicts the end causes a poll; the upstream still reports a running task.
    let polls = test.polled.lock().unwrap().len();
    let tracker = test.actor.tracker_mut();
    tracker.apply_callbacks([(id("a"), Some(answer(Status::Succeeded)))]);
    test.poll_due().await;
    test.settle().await;
    assert_eq!(test.polled.lock().unwrap().len(), polls + 1);
    let page = test.page();
    assert!(page.contains(FAILED) && page.contains(FINISHED), "only another end replaces an end: {page}");
}

#[tokio::test]
async fn a_task_is_lost_after_give_up_after_and_removed_after_its_retention() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    set_status(&upstream, "a", Status::Running);
    track(&mut test).await;
    let rules = test.actor.tracker_mut().settings.rules;
    test.advance(rules.give_up_after);
    test.poll_due().await;
    test.settle().await;
    assert!(test.page().contains("status=\"lost\",failure_class=\"timeout\"} 1"));
    test.advance(rules.retention.checked_sub(Duration::from_secs(1)).unwrap());
    test.actor.tracker_mut().on_tick();
    assert_eq!(test.tracked().len(), 1);
    test.advance(Duration::from_secs(1));
    test.actor.tracker_mut().on_tick();
    assert_eq!(test.tracked().len(), 0);
}

#[tokio::test]
async fn a_changed_interval_applies_to_scheduled_tasks_without_extra_polls() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, folder) = start(&upstream).await;
    track(&mut test).await;
    let quick =
        "polling: {requests_per_second: 1000000, burst: 100000, interval: 1s, min_interval: 1s, max_interval: 2s}";
    let text = format!(
        "{quick}\nmetrics: {{zero_hold: 0s}}\nstate: {{memory: {{}}}}\nupstreams: [{{name: u, provider: new_api, \
         base_url: 'http://127.0.0.1:9', file_sd_configs: [{{files: [a.json]}}, {{files: [b.json]}}]}}]\n"
    );
    let config = crate::config::parse(&text, &folder.path().join("c.yml")).unwrap();
    let settings = super::test_actor::settings(&config, &test.store);
    let send = test.sender();
    test.actor.reconfigure(settings, send, Vec::new());
    test.advance(Duration::from_millis(800));
    test.poll_due().await;
    assert_eq!(test.polled.lock().unwrap().len(), 1, "not early");
    test.advance(Duration::from_millis(400));
    test.poll_due().await;
    assert_eq!(test.polled.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reload_keeps_the_rate_limit_unless_it_changes() {
    let (mut test, folder) = start(&Upstream::default()).await;
    let may_send = |test: &mut TestActor| test.actor.tracker_mut().poller.limit.take(crate::clock::instant()).is_ok();
    let config = config(folder.path(), "metrics: {zero_hold: 0s}");
    let mut settings = super::test_actor::settings(&config, &test.store);
    (settings.upstream.polling.requests_per_second, settings.upstream.polling.burst) = (0.001, 1);
    test.actor.reconfigure(settings.clone(), test.sender(), Vec::new());
    assert_eq!((may_send(&mut test), may_send(&mut test)), (true, false));
    settings.upstream.polling.timeout = Duration::from_secs(7);
    test.actor.reconfigure(settings.clone(), test.sender(), Vec::new());
    assert!(!may_send(&mut test), "another setting has changed");
    settings.upstream.polling.burst = 77;
    test.actor.reconfigure(settings, test.sender(), Vec::new());
    assert!(may_send(&mut test));
}

#[tokio::test]
async fn a_scheduled_recheck_is_dropped_when_rechecks_are_switched_off() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, folder) = start(&upstream).await;
    track(&mut test).await;
    set_status(&upstream, "a", Status::Failed);
    poll(&mut test).await;
    let polls = test.polled.lock().unwrap().len();
    let config = config(folder.path(), "metrics: {zero_hold: 0s}\ntasks: {recheck_ended: 0s}");
    let settings = super::test_actor::settings(&config, &test.store);
    let send = test.sender();
    test.actor.reconfigure(settings, send, Vec::new());
    test.advance(Duration::from_hours(1));
    test.poll_due().await;
    assert_eq!(test.polled.lock().unwrap().len(), polls);
}

#[tokio::test]
async fn drift_is_exported_after_its_hold_without_waiting_for_the_store() {
    let upstream = Upstream::default();
    let mut unusual = answer(Status::Running);
    unusual.drift.add(Field::Progress, FieldProblem::Missing);
    upstream.lock().unwrap().insert("a".to_owned(), unusual);
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "metrics: {zero_hold: 2m}");
    let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream).await;
    track(&mut test).await;
    let drift =
        "videogen_schema_drift_total{upstream=\"u\",provider=\"new_api\",field=\"progress\",problem=\"missing\"}";
    let page = test.page();
    assert!(page.contains(&format!("{drift} 0")), "{page}");
    test.advance(Duration::from_mins(3));
    // The release of label sets is sent to the store now, which has not answered when the page is rendered.
    test.actor.tracker_mut().on_tick();
    let page = test.page();
    assert!(page.contains(&format!("{drift} 1")), "{page}");
}

#[tokio::test]
async fn an_unknown_task_is_lost_after_three_polls_over_a_minute() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    track(&mut test).await;
    upstream.lock().unwrap().clear();
    for _ in 0..3 {
        poll(&mut test).await;
    }
    let lost = "videogen_task_failures_total{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"lost\",failure_class=\"lost\"} 1";
    assert!(
        test.page().contains("task_id=\"a\",status=\"running\"} 1"),
        "three responses within a minute are not enough"
    );
    test.advance(Duration::from_secs(59));
    poll(&mut test).await;
    assert!(!test.page().contains(lost));
    test.advance(Duration::from_secs(1));
    poll(&mut test).await;
    let page = test.page();
    assert!(page.contains(lost) && page.contains("task_id=\"a\",status=\"lost\"} 1"), "{page}");
}

#[tokio::test]
async fn an_ended_task_is_polled_again_a_minute_later_and_a_late_success_is_counted_once() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let (mut test, _folder) = start(&upstream).await;
    track(&mut test).await;
    set_status(&upstream, "a", Status::Failed);
    poll(&mut test).await;
    set_status(&upstream, "a", Status::Succeeded);
    test.advance(Duration::from_secs(50));
    test.poll_due().await;
    assert_eq!(test.polled.lock().unwrap().len(), 2, "an ended task is not polled within a minute");
    test.advance(Duration::from_secs(30));
    test.poll_due().await;
    test.settle().await;
    assert_eq!(test.polled.lock().unwrap().len(), 3);
    test.advance(Duration::from_hours(1));
    test.poll_due().await;
    test.settle().await;
    let page = test.page();
    let regressed = "videogen_status_regressions_total{upstream=\"u\",provider=\"new_api\",model=\"m\"} 1";
    for line in [FINISHED, &FINISHED.replace("failed", "succeeded"), &FAILED.replace("failed", "succeeded"), regressed]
    {
        assert!(page.contains(line), "no {line} in {page}");
    }
}

#[tokio::test]
async fn adding_a_task_copies_only_its_chunk() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    let tasks = |ids: std::ops::Range<usize>| ids.map(|n| NewTask::new(id(&format!("task-{n}")))).collect();
    drop(test.discover("file/0", tasks(0..20_000)).await);
    test.settle().await;
    let before = test.view();
    drop(test.discover("file/1", tasks(20_000..20_001)).await);
    test.settle().await;
    let after = test.view();
    let chunks = |view: &UpstreamView| view.chunks.iter().map(Arc::as_ptr).collect::<BTreeSet<_>>();
    let (before_chunks, after_chunks) = (chunks(&before), chunks(&after));
    assert!(before_chunks.len() > 500, "{}", before_chunks.len());
    assert_eq!(after.tasks().count(), 20_001);
    assert_eq!(after_chunks.difference(&before_chunks).count(), 1, "only the chunk of the new task is copied");
}

/// A gateway or a cache that mixes up answers must not end the wrong task.
#[tokio::test]
async fn an_answer_about_another_task_is_drift_and_ends_nothing() {
    let upstream = Upstream::default();
    let (mut test, _folder) = start(&upstream).await;
    let tasks = ["a", "b", "c"].map(|text| NewTask::new(id(text)));
    drop(test.discover("file/0", tasks.into()).await);
    test.settle().await;
    let set = |of: &str, named: &str, status| {
        let answer = Answer { task_id: Some(named.to_owned()), ..answer(status) };
        upstream.lock().unwrap().insert(of.to_owned(), answer);
    };
    set("a", "b", Status::Failed);
    set("b", "b", Status::Running);
    // The id of the gateway's own upstream is another form of the same id.
    set("c", "cgt-2026", Status::Running);
    for text in ["a", "b", "c"] {
        test.poll(&id(text)).await;
    }
    test.settle().await;
    let page = test.page();
    let status = |text: &str, status: &str| {
        page.contains(&format!("videogen_task_status{{upstream=\"u\",task_id=\"{text}\",status=\"{status}\"}} 1"))
    };
    assert!(status("a", "unknown") && status("b", "running") && status("c", "running"), "{page}");
    let drifted = |page: &str| {
        let mut lines = page.lines().filter(|line| line.starts_with("videogen_schema_drift_total"));
        lines.any(|line| line.contains("field=\"task_id\"") && line.ends_with("problem=\"unreadable\"} 1"))
    };
    assert!(drifted(&page), "{page}");
    set("a", "a", Status::Failed);
    test.advance(Duration::from_mins(1));
    poll(&mut test).await;
    assert!(test.page().contains(FAILED));
}
