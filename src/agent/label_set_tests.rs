//! The actor and its label sets: series that appear late, and limits on their number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::actor_tests::{FINISHED, answer, poll, set_status, tick, track};
use super::test_actor::{TestActor, Upstream, clock, config, id, settings};
use crate::domain::{NewTask, Status};
use crate::store::{Command as StoreCommand, Location, Output};

#[tokio::test]
async fn a_failure_class_appears_at_zero_and_is_never_at_zero_again() {
    let upstream = Upstream::default();
    set_status(&upstream, "a", Status::Running);
    let folder = tempfile::tempdir().unwrap();
    let (config, location) =
        (config(folder.path(), "metrics: {zero_hold: 2m}"), Location::File(folder.path().join("s.db")));
    let mut test = TestActor::start(&config, &location, clock(), upstream.clone()).await;
    track(&mut test).await;
    test.advance(Duration::from_mins(3));
    tick(&mut test).await;
    assert!(!test.page().contains("videogen_task_failures_total"), "nothing has failed: no series and no header");
    set_status(&upstream, "a", Status::Failed);
    poll(&mut test).await;
    let failures = |count| {
        format!(
            "videogen_task_failures_total{{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\",failure_class=\"other\"}} {count}\n"
        )
    };
    let page = test.page();
    assert!(page.contains(FINISHED) && page.contains(&failures(0)), "{page}");

    // A restart continues the hold.
    let clock = test.clock.clone();
    test.end(true).await;
    let mut test = TestActor::start(&config, &location, clock, upstream.clone()).await;
    test.advance(Duration::from_secs(119));
    tick(&mut test).await;
    assert!(test.page().contains(&failures(0)));
    test.advance(Duration::from_secs(1));
    tick(&mut test).await;
    assert!(test.page().contains(&failures(1)));

    // The clock has gone back before the next restart.
    let clock = test.clock.clone();
    clock.lock().unwrap().wall = crate::domain::Timestamp::from_secs(1_700_000_000);
    test.end(true).await;
    let mut test = TestActor::start(&config, &location, clock, upstream).await;
    assert!(test.page().contains(&failures(1)));
}

#[tokio::test]
async fn new_aggregate_labels_are_limited_to_the_same_number_of_label_sets() {
    let upstream = Upstream::default();
    let folder = tempfile::tempdir().unwrap();
    let with = |labels: &str| {
        let metrics = format!("metrics: {{zero_hold: 0s, aggregate_labels: {labels}, max_label_sets: 10}}");
        config(folder.path(), &metrics)
    };
    let mut test = TestActor::start(&with("[]"), &Location::Memory, clock(), upstream.clone()).await;
    let task = |n: usize| {
        let labels = [("team".to_owned(), format!("t{n}")), ("app".to_owned(), format!("a{n}"))].into();
        NewTask { labels: Arc::new(labels), ..NewTask::new(id(&format!("n{n}"))) }
    };
    let mut models = [Status::Running; 30].map(answer);
    for (n, answer) in models.iter_mut().enumerate() {
        answer.model_upstream = Some(format!("m{}", n % 4));
        upstream.lock().unwrap().insert(format!("n{n}"), answer.clone());
    }
    drop(test.discover("file/0", (0..30).map(task).collect()).await);
    test.settle().await;
    test.poll_due().await;
    test.settle().await;
    for (labels, sets) in [("[]", 5), ("[team]", 10), ("[app, team]", 10), ("[]", 5)] {
        let settings = settings(&with(labels), &test.store);
        let load = StoreCommand::LoadCounters(("u".into(), "new_api"), settings.labels.exported_names());
        let Output::Counters(counters) = test.store.execute(load).await.unwrap() else { panic!("unexpected output") };
        let send = test.sender();
        test.actor.reconfigure(settings, send, counters);
        test.settle().await;
        let view = test.view();
        let known: BTreeSet<_> = view.counters.sets().map(|(label_set, _)| label_set.clone()).collect();
        assert!(known.len() <= sets, "{labels}: {known:#?}");
        assert!(view.tasks().all(|task| known.contains(&task.label_set())), "{labels}");
    }
}

#[tokio::test]
async fn a_counter_refuses_what_would_fill_it_and_counts_on() {
    let upstream = Upstream::default();
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "metrics: {zero_hold: 0s}");
    let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await;
    let tasks: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    drop(test.discover("file/0", tasks.iter().map(|text| NewTask::new(id(text))).collect()).await);
    test.settle().await;
    for (n, text) in tasks.iter().enumerate() {
        set_status(&upstream, text, Status::Running);
        test.poll(&id(text)).await;
        test.settle().await;
        let mut answer = answer(Status::Succeeded);
        answer.credits = Some(if n < 10 { 1e15 } else { 500.0 });
        upstream.lock().unwrap().insert(text.clone(), answer);
        test.poll(&id(text)).await;
        test.settle().await;
        // Its quota is settled.
        test.advance(Duration::from_secs(3));
        test.poll(&id(text)).await;
        test.settle().await;
    }
    let page = test.page();
    let quota = "videogen_quota_total{upstream=\"u\",provider=\"new_api\",model=\"m\"} 4000000000001000\n";
    let drift =
        "videogen_schema_drift_total{upstream=\"u\",provider=\"new_api\",field=\"credits\",problem=\"unreadable\"} 6\n";
    assert!(page.contains(quota) && page.contains(drift), "{page}");
    assert!(page.contains("model=\"m\",status=\"succeeded\"} 12\n"), "every end counts: {page}");
}
