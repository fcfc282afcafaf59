//! The actor while clocks jump: whatever the wall clock says, nothing is given up, lost or counted twice.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;

use super::command::{Command, Registration};
use super::test_actor::{TestActor, Upstream, clock, config, id};
use crate::domain::{Answer, NewTask, Status, Timestamp};
use crate::store::{Command as StoreCommand, Cursor, Location, Output};

const DAY: i64 = 86_400;

fn answer(status: Status) -> Answer {
    let mut answer = Answer::new(status);
    answer.model_upstream = Some("m".to_owned());
    answer
}

fn set_all(upstream: &Upstream, ids: &[String], status: Option<Status>) {
    let mut upstream = upstream.lock().unwrap();
    for id in ids {
        match status {
            Some(status) => _ = upstream.insert(id.clone(), answer(status)),
            None => _ = upstream.remove(id),
        }
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n}")).collect()
}

async fn start(folder: &Path, upstream: &Upstream) -> TestActor {
    let config = config(folder, "metrics: {zero_hold: 0s}");
    TestActor::start(&config, &Location::File(folder.join("s.db")), clock(), upstream.clone()).await
}

/// The same state with clocks that have advanced.
async fn restart(test: TestActor, folder: &Path, upstream: &Upstream, wall_days: i64) -> TestActor {
    let source = test.clock.clone();
    test.end(false).await;
    let wall = source.lock().unwrap().wall.shifted(wall_days * DAY * 1000);
    source.lock().unwrap().wall = wall;
    let config = config(folder, "metrics: {zero_hold: 0s}");
    TestActor::start(&config, &Location::File(folder.join("s.db")), source, upstream.clone()).await
}

async fn discover(test: &mut TestActor, ids: &[String]) {
    let tasks = ids.iter().map(|text| NewTask::new(id(text))).collect();
    drop(test.discover("file/0", tasks).await);
    test.settle().await;
}

/// Lets so much time pass, and polls what is due.
async fn pass(test: &mut TestActor, by: Duration) {
    test.advance(by);
    test.actor.tracker_mut().on_tick();
    test.poll_due().await;
    test.settle().await;
}

/// How many tasks were counted with this end.
fn ended(test: &mut TestActor, status: &str) -> usize {
    let line = format!(
        "videogen_tasks_finished_total{{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"{status}\"}} "
    );
    let page = test.page();
    page.lines().find_map(|text| text.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
}

fn regressions(test: &mut TestActor) -> usize {
    let line = "videogen_status_regressions_total{upstream=\"u\",provider=\"new_api\",model=\"m\"} ";
    test.page().lines().find_map(|text| text.strip_prefix(line)?.parse().ok()).unwrap_or(0)
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_jump_of_the_wall_clock_gives_nothing_up_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(20));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids).await;
    pass(&mut test, MINUTE).await;
    for step in [8 * DAY, -40 * DAY, 12 * 365 * DAY] {
        test.step_wall_clock(step);
        pass(&mut test, MINUTE).await;
    }
    // Not known for some seconds, while the wall clock says minutes.
    set_all(&upstream, &ids, None);
    for _ in 0..4 {
        test.step_wall_clock(600);
        for id in ids.iter().map(|text| id(text)) {
            test.poll(&id).await;
        }
        test.settle().await;
    }
    assert_eq!((ended(&mut test, "lost"), test.tracked().len()), (0, 20));
    set_all(&upstream, &ids, Some(Status::Succeeded));
    pass(&mut test, 2 * MINUTE).await;
    assert_eq!((ended(&mut test, "succeeded"), ended(&mut test, "lost")), (20, 0));
}

#[tokio::test]
async fn after_a_long_downtime_every_task_is_asked_once_before_it_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(50));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids).await;
    pass(&mut test, MINUTE).await;
    let (well, stuck) = ids.split_at(49);
    set_all(&upstream, well, Some(Status::Succeeded));
    let mut test = Box::pin(restart(test, folder.path(), &upstream, 8)).await;
    // The upstream's clock confirms that eight days have passed.
    *test.date.lock().unwrap() = Some(test.clock.lock().unwrap().wall);
    pass(&mut test, MINUTE).await;
    assert_eq!((ended(&mut test, "succeeded"), ended(&mut test, "lost")), (49, 0));
    assert_eq!(test.polled.lock().unwrap().iter().filter(|id| *id == &stuck[0]).count(), 1);
    pass(&mut test, MINUTE).await;
    assert_eq!((ended(&mut test, "succeeded"), ended(&mut test, "lost")), (49, 1), "it was asked about");
}

#[tokio::test]
async fn a_wall_clock_that_was_behind_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(20));
    set_all(&upstream, &ids, Some(Status::Running));
    let test = start(folder.path(), &upstream).await;
    test.step_wall_clock(-30 * DAY);
    let mut test = Box::pin(restart(test, folder.path(), &upstream, 0)).await;
    discover(&mut test, &ids).await;
    pass(&mut test, MINUTE).await;
    let mut test = Box::pin(restart(test, folder.path(), &upstream, 30)).await;
    pass(&mut test, MINUTE).await;
    set_all(&upstream, &ids, Some(Status::Succeeded));
    pass(&mut test, MINUTE).await;
    assert_eq!((ended(&mut test, "succeeded"), ended(&mut test, "lost")), (20, 0));
    assert_eq!(
        test.now().steady.duration_since(Timestamp::from_secs(1_800_000_000)),
        3 * MINUTE,
        "no downtime was confirmed"
    );
}

#[tokio::test]
async fn ends_are_counted_by_the_upstreams_clock_whatever_ours_says() {
    // The upstream's clock minus ours, in days. The task finishes a minute after the first start.
    for skew in [0, -1, 1, -400] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::default();
        let mut test = start(folder.path(), &upstream).await;
        let theirs = |test: &TestActor| test.clock.lock().unwrap().wall.shifted(skew * DAY * 1000);
        *test.date.lock().unwrap() = Some(theirs(&test));
        let finish = |at: Timestamp| {
            let mut answer = answer(Status::Succeeded);
            answer.times.finish = Some(at);
            answer
        };
        let (before, after) = (theirs(&test).shifted(-60_000), theirs(&test).shifted(60_000));
        upstream.lock().unwrap().extend([("old".to_owned(), finish(before)), ("new".to_owned(), finish(after))]);
        discover(&mut test, &["old".to_owned(), "new".to_owned()]).await;
        test.advance(2 * MINUTE);
        *test.date.lock().unwrap() = Some(theirs(&test));
        pass(&mut test, Duration::ZERO).await;
        assert_eq!(ended(&mut test, "succeeded"), 1, "{skew}");
    }
}

#[tokio::test]
async fn an_upstream_that_forgets_most_tasks_loses_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(40));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids).await;
    pass(&mut test, MINUTE).await;
    let gauge = |test: &mut TestActor| test.page().contains("videogen_upstream_amnesia{upstream=\"u\"} 1\n");
    assert!(!gauge(&mut test));
    set_all(&upstream, &ids, None);
    for _ in 0..20 {
        pass(&mut test, MINUTE).await;
    }
    assert!(gauge(&mut test) && ended(&mut test, "lost") == 0 && test.tracked().len() == 40);
    set_all(&upstream, &ids[..30], Some(Status::Running));
    for _ in 0..3 {
        pass(&mut test, 2 * MINUTE).await;
    }
    assert!(!gauge(&mut test));
    assert_eq!(ended(&mut test, "lost"), 10, "the others are really gone");
}

#[tokio::test]
async fn a_lost_task_is_found_again_by_itself_and_by_registration() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(2));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids).await;
    pass(&mut test, MINUTE).await;
    set_all(&upstream, &ids, None);
    for _ in 0..4 {
        pass(&mut test, 2 * MINUTE).await;
    }
    assert_eq!((ended(&mut test, "lost"), test.tracked().len()), (2, 2));
    // After the retention nobody sees it; it is read on, also after a restart.
    pass(&mut test, Duration::from_hours(2)).await;
    assert!(test.tracked().is_empty());
    let mut test = Box::pin(restart(test, folder.path(), &upstream, 0)).await;
    assert!(test.tracked().is_empty());
    let now = test.now().steady;
    let drop = StoreCommand::DropEnded { before: now, lost_before: now - Duration::from_hours(24 * 7) };
    test.store.execute(drop).await.unwrap();
    set_all(&upstream, &ids[..1], Some(Status::Running));
    pass(&mut test, Duration::from_hours(4)).await;
    assert_eq!(test.tracked().into_iter().collect::<Vec<_>>(), ["t0"]);
    assert_eq!(regressions(&mut test), 1);
    set_all(&upstream, &ids, Some(Status::Succeeded));
    pass(&mut test, 2 * MINUTE).await;
    assert_eq!(ended(&mut test, "succeeded"), 1);
    // The other one is asked for at once when it is registered.
    let polls = test.polled.lock().unwrap().len();
    let (reply, registered) = oneshot::channel();
    test.actor.on_command(Command::Register { tasks: vec![NewTask::new(id("t1"))], reply }).await;
    test.settle().await;
    assert_eq!(registered.await.unwrap().unwrap(), [Registration::New]);
    test.poll_due().await;
    test.settle().await;
    assert_eq!(test.polled.lock().unwrap()[polls..], ["t1"]);
    assert_eq!((ended(&mut test, "succeeded"), ended(&mut test, "lost"), regressions(&mut test)), (2, 2, 2));
}

#[tokio::test]
async fn a_task_that_was_given_up_is_only_read_again_when_it_is_registered_again() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(1));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids).await;
    for _ in 0..3 {
        pass(&mut test, Duration::from_hours(24 * 4)).await;
    }
    assert_eq!(ended(&mut test, "lost"), 1);
    let polls = test.polled.lock().unwrap().len();
    pass(&mut test, Duration::from_hours(2)).await;
    assert!(test.polled.lock().unwrap().len() == polls && test.tracked().is_empty());
    let now = test.now().steady;
    let month = Duration::from_hours(24 * 30);
    let drop = StoreCommand::DropEnded { before: now - Duration::from_hours(1), lost_before: now - month };
    test.store.execute(drop).await.unwrap();
    let (reply, registered) = oneshot::channel();
    test.actor.on_command(Command::Register { tasks: vec![NewTask::new(id("t0"))], reply }).await;
    test.settle().await;
    assert_eq!(registered.await.unwrap().unwrap()[0].as_str(), "registered");
    test.poll_due().await;
    test.settle().await;
    pass(&mut test, 2 * MINUTE).await;
    assert_eq!(test.polled.lock().unwrap().len(), polls + 2);
    assert_eq!((ended(&mut test, "lost"), regressions(&mut test)), (1, 1));
}

#[tokio::test]
async fn what_is_new_before_a_downtime_is_confirmed_did_not_happen_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(20));
    set_all(&upstream, &ids, Some(Status::Running));
    let mut test = start(folder.path(), &upstream).await;
    discover(&mut test, &ids[..1]).await;
    pass(&mut test, MINUTE).await;
    let mut test = Box::pin(restart(test, folder.path(), &upstream, 40)).await;
    discover(&mut test, &ids[1..]).await;
    *test.date.lock().unwrap() = Some(test.clock.lock().unwrap().wall);
    for _ in 0..3 {
        pass(&mut test, MINUTE).await;
    }
    assert_eq!(ended(&mut test, "lost"), 1, "the task of before, after it was asked about");
    let jump = test.steady.jump().unwrap();
    test.store.execute(StoreCommand::PutForward(jump)).await.unwrap();
    let before = test.now().steady - Duration::from_hours(24);
    let old = StoreCommand::KnownIds { named_before: before, after: Cursor::default(), limit: 100 };
    let Output::KnownIds(page) = test.store.execute(old).await.unwrap() else { panic!() };
    assert_eq!(page.ids.iter().map(|known| known.id.as_str()).collect::<Vec<_>>(), ["t0"]);
    set_all(&upstream, &ids[1..], Some(Status::Succeeded));
    pass(&mut test, MINUTE).await;
    assert_eq!((ended(&mut test, "succeeded"), test.tracked().len()), (19, 20));
}

#[tokio::test]
async fn an_upstream_with_amnesia_is_recognized_by_the_tasks_that_were_polled_since() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, ids) = (Upstream::default(), ids(100));
    set_all(&upstream, &ids, Some(Status::Running));
    let more = "metrics: {zero_hold: 0s}\npolling: {requests_per_second: 1000000, burst: 100000, max_interval: 10m}";
    let config = config(folder.path(), more);
    let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await;
    // Old tasks are polled every ten minutes, young ones often.
    discover(&mut test, &ids[..70]).await;
    for _ in 0..24 * 60 {
        pass(&mut test, MINUTE).await;
    }
    discover(&mut test, &ids[70..]).await;
    pass(&mut test, MINUTE).await;
    set_all(&upstream, &ids, None);
    for _ in 0..600 {
        pass(&mut test, Duration::from_secs(2)).await;
    }
    assert_eq!(ended(&mut test, "lost"), 0);
}

#[tokio::test]
async fn a_configured_time_is_compared_by_the_upstreams_own_clock() {
    for step in [0, -10 * DAY, 10 * DAY] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::default();
        let config = config(folder.path(), "metrics: {zero_hold: 0s}\ntasks: {count_since: 2027-01-15T00:00:00Z}");
        let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await;
        let right = test.clock.lock().unwrap().wall;
        *test.date.lock().unwrap() = Some(right);
        test.step_wall_clock(step);
        for (id, before) in [("new", 60_000), ("old", 2 * DAY * 1000)] {
            let mut answer = answer(Status::Succeeded);
            answer.times.finish = Some(right.shifted(-before));
            upstream.lock().unwrap().insert(id.to_owned(), answer);
        }
        discover(&mut test, &["new".to_owned(), "old".to_owned()]).await;
        pass(&mut test, MINUTE).await;
        assert_eq!(ended(&mut test, "succeeded"), 1, "{step}");
    }
}
