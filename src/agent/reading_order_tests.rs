//! Rows, single answers and callbacks about one task, asked for and received in any order: they count what the task went through.

use std::time::Duration;

use proptest::prelude::*;

use super::actor_tests::answer;
use super::request::{Answers, Outcome, PolledTask, Work};
use super::test_actor::{TestActor, Upstream, clock, config_with_list, id};
use crate::domain::reading::Tokens;
use crate::domain::{Answer, ApiError, NewTask, Reason, Status};
use crate::store::Location;

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    /// The task goes on at the gateway.
    Move,
    /// A single answer is asked for.
    AskAlone,
    /// A page of the list is asked for.
    AskList {
        /// The page has the task.
        is_shown: bool,
        /// Its row has the provider's body.
        has_body: bool,
    },
    /// The gateway calls back.
    CallBack,
    /// An answer that was asked for arrives.
    Receive(prop::sample::Index),
    /// A single answer that was asked for fails.
    Fail(prop::sample::Index, Reason),
    /// Seconds pass.
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let reason = prop_oneof![Just(Reason::NotFound), Just(Reason::ServerError), Just(Reason::Timeout)];
    prop_oneof![
        3 => Just(Event::Move),
        3 => Just(Event::AskAlone),
        4 => (prop::bool::weighted(0.8), any::<bool>()).prop_map(|(is_shown, has_body)| Event::AskList { is_shown, has_body }),
        1 => Just(Event::CallBack),
        6 => any::<prop::sample::Index>().prop_map(Event::Receive),
        1 => (any::<prop::sample::Index>(), reason).prop_map(|(n, reason)| Event::Fail(n, reason)),
        3 => (1..40u64).prop_map(Event::Wait),
    ]
}

/// The task at each stage: the end is written first, and the settled quota after it.
const STAGES: [(Status, f64); 4] =
    [(Status::Queued, 900.0), (Status::Running, 900.0), (Status::Succeeded, 900.0), (Status::Succeeded, 150.0)];

fn answer_at(stage: usize) -> Answer {
    let (status, quota) = STAGES[stage];
    let mut answer = Answer { task_id: Some("t".to_owned()), credits: Some(quota), ..answer(status) };
    (answer.gateway_status, answer.upstream_status) = (Some(status), Some(status));
    if status.is_end() {
        answer.tokens.total = Some(10.0);
    }
    answer
}

/// An answer on its way.
enum Pending {
    Alone(Box<(Work, std::time::Instant, Answer)>),
    List(std::time::Instant, Vec<Answer>),
}

async fn receive(test: &mut TestActor, pending: Pending, failure: Option<Reason>) {
    let now = test.now().monotonic;
    match pending {
        Pending::Alone(alone) => {
            let (work, sent, answer) = *alone;
            let result = failure.map_or(Ok(Answers::One(Box::new(answer))), |reason| Err(ApiError::new(reason)));
            let outcome = Outcome { work, sent, received: now, code: Some(200), retry_after: None, date: None, result };
            test.actor.tracker_mut().on_response(outcome);
        }
        Pending::List(sent, rows) => test.list(Ok(rows), now - sent).await,
    }
    test.settle().await;
}

async fn run(events: Vec<Event>) {
    let upstream = Upstream::default();
    let folder = tempfile::tempdir().unwrap();
    let config = config_with_list(folder.path(), "", "");
    let mut test = TestActor::start(&config, &Location::Memory, clock(), upstream.clone()).await;
    drop(test.discover("file/0", vec![NewTask::new(id("t"))]).await);
    test.settle().await;
    let mut stage = 0;
    let mut on_the_way: Vec<Pending> = Vec::new();
    for event in events {
        match event {
            Event::Move if stage < STAGES.len() - 1 => {
                stage += 1;
                // Whoever asks for it two seconds after the end gets the settled quota.
                if stage == STAGES.len() - 1 {
                    test.advance(Duration::from_millis(500));
                }
            }
            Event::AskAlone => {
                let sent = test.now().monotonic;
                let table = &mut test.actor.tracker_mut().table;
                let slot = table.slot(&id("t")).unwrap();
                if let Some(token) = table.new_token(slot) {
                    let work = Work::One(PolledTask { token, id: id("t") });
                    on_the_way.push(Pending::Alone(Box::new((work, sent, answer_at(stage)))));
                }
            }
            Event::AskList { is_shown, has_body } => {
                let mut row = answer_at(stage);
                if !has_body {
                    (row.is_partial, row.upstream_status, row.tokens) = (true, None, Tokens::default());
                }
                let rows = if is_shown { vec![row] } else { Vec::new() };
                on_the_way.push(Pending::List(test.now().monotonic, rows));
            }
            Event::CallBack => {
                test.actor.tracker_mut().apply_callbacks([(id("t"), Some(answer_at(stage)))]);
                test.settle().await;
            }
            Event::Receive(n) if !on_the_way.is_empty() => {
                let pending = on_the_way.swap_remove(n.index(on_the_way.len()));
                receive(&mut test, pending, None).await;
            }
            Event::Fail(n, reason) if !on_the_way.is_empty() => {
                let pending = on_the_way.swap_remove(n.index(on_the_way.len()));
                if matches!(pending, Pending::Alone(..)) {
                    receive(&mut test, pending, Some(reason)).await;
                }
            }
            Event::Move | Event::Receive(_) | Event::Fail(..) => {}
            Event::Wait(seconds) => {
                test.advance(Duration::from_secs(seconds));
                // A gateway settles within a second.
                if stage == STAGES.len() - 2 {
                    stage += 1;
                }
                test.actor.tracker_mut().on_tick();
                test.settle().await;
            }
        }
        check(&mut test, stage);
    }
    // In the end every reading has the truth; two more are more than two seconds apart.
    upstream.lock().unwrap().insert("t".to_owned(), answer_at(STAGES.len() - 1));
    for _ in 0..3 {
        test.advance(Duration::from_mins(1));
        test.poll(&id("t")).await;
        test.list(Ok(vec![answer_at(STAGES.len() - 1)]), Duration::ZERO).await;
        test.actor.tracker_mut().on_tick();
        test.settle().await;
    }
    check(&mut test, STAGES.len() - 1);
    assert_eq!(
        [total(&mut test, "tasks_finished_total", "succeeded"), total(&mut test, "tasks_submitted_total", "")],
        [1, 1]
    );
    assert_eq!([total(&mut test, "tokens_total", "unspecified"), total(&mut test, "quota_total", "")], [10, 150]);
}

/// The sum of a counter's series with that word.
fn total(test: &mut TestActor, family: &str, word: &str) -> u64 {
    let page = test.page();
    let series = page.lines().filter(|line| line.starts_with(&format!("videogen_{family}{{")) && line.contains(word));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Nothing is invented, whatever has been read so far.
fn check(test: &mut TestActor, stage: usize) {
    let ends = total(test, "tasks_finished_total", "");
    assert!(ends <= u64::from(STAGES[stage].0.is_end()), "an end that is not one: {ends}");
    assert_eq!(total(test, "status_regressions_total", ""), 0);
    assert_eq!(total(test, "tasks_finished_total", "lost"), 0, "a listed task is never lost");
    assert!([0, 150].contains(&total(test, "quota_total", "")), "the quota before it was settled");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_readings_count_what_happened(events in prop::collection::vec(event(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(events));
    }
}
