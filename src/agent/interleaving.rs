//! The actor with polls, discoveries, reloads, restarts and clock changes in any order: its counters equal those of a small
//! model, and no exported series decreases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::test_actor::{TestActor, Upstream, clock, config, id, settings};
use crate::domain::reading::{ClockSource, Times, Tokens};
use crate::domain::{Answer, NewTask, Status, Timestamp};
use crate::store::{Command, Location, Output};

/// How many tasks there are.
const TASKS: usize = 6;

/// A step of a test case.
#[derive(Debug, Clone)]
enum Event {
    /// A source lists these tasks.
    Discover { source: usize, tasks: BTreeSet<usize> },
    /// A task gets its next status at the upstream, up to a second end.
    Move(usize),
    /// The task is polled.
    Poll(usize),
    /// The task is polled, and the program is killed before the commit is confirmed.
    PollAndKill(usize),
    /// The program stops, cleanly or killed, and starts again.
    Restart { is_killed: bool },
    /// The configuration is reloaded, with or without an aggregate label, and with other prices.
    Reload { has_label: bool, price: u64 },
    /// Time passes, in seconds.
    Wait(u64),
    /// The wall clock is changed, by seconds.
    SetClock(i64),
    /// The work of every second.
    Tick,
}

fn event() -> impl Strategy<Value = Event> {
    let task = || 0..TASKS;
    let tasks = prop::collection::btree_set(task(), 0..TASKS);
    prop_oneof![
        2 => (0..2usize, tasks).prop_map(|(source, tasks)| Event::Discover { source, tasks }),
        6 => task().prop_map(Event::Move),
        8 => task().prop_map(Event::Poll),
        1 => task().prop_map(Event::PollAndKill),
        1 => any::<bool>().prop_map(|is_killed| Event::Restart { is_killed }),
        1 => (any::<bool>(), 1..4u64).prop_map(|(has_label, price)| Event::Reload { has_label, price }),
        2 => (1..200u64).prop_map(Event::Wait),
        1 => (-7200..7200i64).prop_map(Event::SetClock),
        2 => Just(Event::Tick),
    ]
}

/// The status of a task at each stage.
const STAGES: [Status; 4] = [Status::Queued, Status::Running, Status::Failed, Status::Succeeded];

fn answer(stage: usize) -> Answer {
    let status = STAGES[stage];
    let mut answer = Answer::new(status);
    answer.model_upstream = Some("m".to_owned());
    if status.is_end() {
        answer.tokens = Tokens { total: Some(10.25), ..Tokens::default() };
        let at = |secs| Some(Timestamp::from_secs(secs));
        answer.times =
            Times { submit: at(1_900_000_000), start: None, finish: at(1_900_000_040), clock: ClockSource::Upstream };
    }
    answer
}

fn name(n: usize) -> String {
    format!("t{n}")
}

/// The actor and the model.
struct World {
    folder: TempDir,
    /// `None` only during a restart.
    test: Option<TestActor>,
    has_label: bool,
    /// Of a token, in dollars.
    price: u64,
    /// The stage of each task at its upstream.
    stages: [usize; TASKS],
    /// The model: the ends that were read, by discovered task.
    read: BTreeMap<usize, BTreeSet<Status>>,
    /// The model: what each task costs, in micro-units, by the prices when its ends were read.
    costs: BTreeMap<usize, u64>,
    /// The last exported value of each series.
    seen: BTreeMap<String, f64>,
}

fn metrics(has_label: bool, price: u64) -> String {
    let labels = if has_label { "aggregate_labels: [team], " } else { "" };
    format!(
        "metrics: {{zero_hold: 100s, {labels}per_task: 'off'}}\n\
         pricing: {{rules: [{{match: {{}}, price: {{per: token, amount: {price}}}, charge_on: {{failed: true}}}}], \
         budgets: [{{name: all, per: day, amount: 1}}]}}"
    )
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::default();
        (0..TASKS).for_each(|n| _ = upstream.lock().unwrap().insert(name(n), answer(0)));
        let location = Location::File(folder.path().join("s.db"));
        let config = config(folder.path(), &metrics(false, 1));
        let test = TestActor::start(&config, &location, clock(), upstream).await;
        let (read, costs, seen) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { folder, test: Some(test), has_label: false, price: 1, stages: [0; TASKS], read, costs, seen }
    }

    fn test(&mut self) -> &mut TestActor {
        self.test.as_mut().unwrap()
    }

    async fn apply(&mut self, event: &Event) {
        match event {
            Event::Discover { source, tasks } => self.discover(*source, tasks).await,
            Event::Move(n) => {
                self.stages[*n] = (self.stages[*n] + 1).min(STAGES.len() - 1);
                let moved = answer(self.stages[*n]);
                self.test().upstream.lock().unwrap().insert(name(*n), moved);
            }
            Event::Poll(n) => {
                self.poll(*n).await;
                self.test().settle().await;
            }
            Event::PollAndKill(n) => {
                self.poll(*n).await;
                Box::pin(self.restart(true)).await;
            }
            Event::Restart { is_killed } => Box::pin(self.restart(*is_killed)).await,
            Event::Reload { has_label, price } => self.reload(*has_label, *price).await,
            Event::Wait(secs) => self.test().advance(Duration::from_secs(*secs)),
            Event::SetClock(by) => {
                let mut now = self.test().clock.lock().unwrap();
                now.wall = now.wall.shifted(by * 1000);
            }
            Event::Tick => {
                let test = self.test();
                for _ in 0..2 {
                    test.actor.tracker_mut().on_tick();
                    test.settle().await;
                }
                let retention = test.actor.tracker_mut().settings.rules.retention;
                let before = test.now().steady - retention;
                test.store.execute(Command::DropEnded { before, lost_before: before }).await.unwrap();
            }
        }
    }

    async fn discover(&mut self, source: usize, tasks: &BTreeSet<usize>) {
        let new = |n: &usize| {
            let labels = BTreeMap::from([("team".to_owned(), format!("team-{}", n % 2))]);
            NewTask { labels: Arc::new(labels), ..NewTask::new(id(&name(*n))) }
        };
        let tasks_of_source = tasks.iter().map(new).collect();
        let test = self.test();
        let replied = test.discover(&format!("file/{source}"), tasks_of_source).await;
        test.settle().await;
        assert!(replied.await.unwrap().is_ok());
        for n in tasks {
            self.read.entry(*n).or_default();
        }
    }

    /// Polls a task; the store has not answered yet.
    async fn poll(&mut self, n: usize) {
        self.test().poll(&id(&name(n))).await;
        // Other tasks may have been due as well.
        let polled = std::mem::take(&mut *self.test().polled.lock().unwrap());
        for n in (0..TASKS).filter(|n| polled.contains(&name(*n))) {
            let status = STAGES[self.stages[n]];
            if status.is_end() && self.read.get_mut(&n).unwrap().insert(status) {
                let cost = self.costs.entry(n).or_default();
                // 10.25 tokens; a second end adds what it costs more.
                *cost = (*cost).max(10_250_000 * self.price);
            }
        }
    }

    async fn reload(&mut self, has_label: bool, price: u64) {
        (self.has_label, self.price) = (has_label, price);
        let config = config(self.folder.path(), &metrics(has_label, price));
        let test = self.test();
        let settings = settings(&config, &test.store);
        let load = Command::LoadCounters(("u".into(), "new_api"), settings.labels.exported_names());
        let Output::Counters(counters) = test.store.execute(load).await.unwrap() else { panic!("unexpected output") };
        let send = test.sender();
        test.actor.reconfigure(settings, send, counters);
        test.settle().await;
        // Series with other labels are not exported until their labels are configured again.
        self.seen.retain(|series, _| series.contains("label_team") == has_label || series.contains("discovered"));
    }

    async fn restart(&mut self, is_killed: bool) {
        let test = self.test.take().unwrap();
        let (clock, upstream) = (test.clock.clone(), test.upstream.clone());
        test.end(is_killed).await;
        let config = config(self.folder.path(), &metrics(self.has_label, self.price));
        let location = Location::File(self.folder.path().join("s.db"));
        self.test = Some(TestActor::start(&config, &location, clock, upstream).await);
    }

    /// No counter on the page has decreased.
    fn check_page(&mut self) {
        let page = self.test().page();
        let counted = [
            "tasks_submitted",
            "tasks_finished",
            "task_failures",
            "task_latency",
            "tokens",
            "status_tran",
            "tasks_disc",
            "cost",
            "unpriced",
        ];
        for line in page.lines().filter(|line| counted.iter().any(|name| line.starts_with(&format!("videogen_{name}"))))
        {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let before = self.seen.insert(series.to_owned(), value).unwrap_or(0.0);
            assert!(value >= before, "{series} fell from {before} to {value}");
        }
    }

    /// The committed counters of all label sets equal the model.
    async fn check_store(&mut self) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let (mut discovered, mut spent) = (0, 0);
        for labels in [Vec::new(), vec!["label_team".into()]] {
            let load = Command::Load(("u".into(), "new_api"), labels);
            let Output::Loaded(loaded) = self.test().store.execute(load).await.unwrap() else {
                panic!("unexpected output")
            };
            spent = loaded.spending.iter().map(|spending| spending.micros).sum();
            discovered = loaded.sources.iter().map(|source| source.tasks).sum();
            for (key, value) in loaded.counters.into_iter().flat_map(|snapshot| snapshot.numbers) {
                *counts.entry(key.to_string()).or_default() += value;
            }
        }
        let count = |key: &str| counts.get(key).copied().unwrap_or(0);
        let tasks = |matches: &dyn Fn(&BTreeSet<Status>) -> bool| {
            self.read.values().filter(|ends| matches(ends)).count() as u64
        };
        let (failed, any_end) = (tasks(&|ends| ends.contains(&Status::Failed)), tasks(&|ends| !ends.is_empty()));
        assert_eq!(discovered, self.read.len() as u64, "each task is discovered once");
        assert_eq!([count("finished/failed"), count("failures/failed/other")], [failed, failed]);
        assert_eq!(count("finished/succeeded"), tasks(&|ends| ends.contains(&Status::Succeeded)));
        assert_eq!(count("regressions"), tasks(&|ends| ends.len() == 2));
        assert_eq!(count("tokens/unspecified"), 10_250 * any_end);
        let costs: u64 = self.costs.values().sum();
        assert_eq!(
            [count("cost/USD/metered"), spent],
            [costs; 2],
            "each cost once, by the price when the end was read"
        );
        assert_eq!(count("unpriced/no_usage") + count("unpriced/no_rule"), 0);
        assert_eq!(count("latency/failed/le=45") + count("latency/succeeded/le=45"), any_end);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_each_end_is_counted_once_and_no_counter_decreases(events in prop::collection::vec(event(), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in &events {
                Box::pin(world.apply(event)).await;
                world.check_page();
            }
            world.check_store().await;
            Box::pin(world.restart(true)).await;
            world.check_page();
            world.check_store().await;
        });
    }
}
