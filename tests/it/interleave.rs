//! Whatever happens in whatever order (polls, sources, reloads, restarts, clocks that are set): the counts are those of a model
//! that fits on a page, and no series that was ever seen falls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::oneshot;
use videogen_exporter::agent::Shared;
use videogen_exporter::config::{self, Config};
use videogen_exporter::domain::advance::CountSince;
use videogen_exporter::domain::reading::{Clock, Times, Tokens};
use videogen_exporter::domain::{Answer, NewTask, Policy, Reading, Status, Task, TaskId, Timestamp, advance};
use videogen_exporter::metrics::{Format, Metrics, Now};
use videogen_exporter::store::{Found, Place, Settled, Store};
use videogen_exporter::telemetry::LogCounts;

/// How many tasks there are.
const TASKS: usize = 6;

/// How long new label sets stay at 0.
const HOLD: u64 = 100;

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    /// A source names these tasks now.
    Names { source: usize, tasks: BTreeSet<usize> },
    /// A task goes on at its upstream: queued, running, ended, ended in another way.
    Moves(usize),
    /// It is polled.
    Poll(usize),
    /// It is polled, and the program is killed before the commit is heard of.
    PollAndKill(usize),
    /// The program ends, well or badly, and starts again.
    Restart { killed: bool },
    /// It gets another configuration: with an aggregate label or without.
    Reload { labels: bool },
    /// Time passes.
    Wait(u64),
    /// Somebody sets the clock.
    SetClock(i64),
    /// What is swept now and then.
    Sweep,
}

fn event() -> impl Strategy<Value = Event> {
    let task = || 0..TASKS;
    prop_oneof![
        2 => (0..2usize, prop::collection::btree_set(task(), 0..TASKS)).prop_map(|(source, tasks)| Event::Names { source, tasks }),
        6 => task().prop_map(Event::Moves),
        8 => task().prop_map(Event::Poll),
        1 => task().prop_map(Event::PollAndKill),
        1 => any::<bool>().prop_map(|killed| Event::Restart { killed }),
        1 => any::<bool>().prop_map(|labels| Event::Reload { labels }),
        2 => (1..200u64).prop_map(Event::Wait),
        1 => (-7200..7200i64).prop_map(Event::SetClock),
        2 => Just(Event::Sweep),
    ]
}

/// What the upstream says of a task at each stage.
const STAGES: [Status; 4] = [Status::Queued, Status::Running, Status::Failed, Status::Succeeded];

/// The program's parts, driven by hand, beside the model.
struct World {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
    labels: bool,
    wall: i64,
    steady: Instant,
    /// The stage of each task at its upstream.
    stages: [usize; TASKS],
    named: [BTreeSet<usize>; 2],
    /// The model: ends that were read, by task.
    read: BTreeMap<usize, BTreeSet<Status>>,
    /// The highest value of each series that anybody could have seen.
    seen: BTreeMap<String, f64>,
}

fn config(folder: &Path, labels: bool) -> Config {
    let labels = if labels { "[team]" } else { "[]" };
    let text = format!(
        "metrics: {{zero_hold: {HOLD}s, aggregate_labels: {labels}, per_task: 'off'}}\nstate: {{sqlite: {{path: s.db}}}}\n\
         upstreams: [{{name: u, provider: new_api, base_url: 'http://127.0.0.1:9'}}]\n"
    );
    config::parse(&text, &folder.join("c.yml")).unwrap()
}

fn id(n: usize) -> TaskId {
    TaskId::parse(&format!("t{n}")).unwrap()
}

async fn open(folder: &Path, labels: bool, now: Now) -> (Arc<Shared>, oneshot::Receiver<()>) {
    let config = config(folder, labels);
    let metrics = Metrics::new(&config.file.metrics, LogCounts::default(), Timestamp::from_secs(0)).unwrap();
    let (store, ended) = Store::open(&Place::File(folder.join("s.db")), now.wall, |_| {}).unwrap();
    let shared = Arc::new(Shared::new(store, metrics));
    let prepared = shared.prepare(&config).await.unwrap();
    shared.take_up(&config, prepared, now);
    (shared, ended)
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Far enough from its zero for any span of this test.
        let (wall, steady) = (1_800_000_000, Instant::now() + Duration::from_hours(24));
        let (shared, ended) = open(folder.path(), false, Now { wall: Timestamp::from_secs(wall), steady }).await;
        Self {
            folder,
            shared,
            ended,
            labels: false,
            wall,
            steady,
            stages: [0; TASKS],
            named: Default::default(),
            read: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp::from_secs(self.wall), steady: self.steady }
    }

    async fn happens(&mut self, event: &Event) {
        match event {
            Event::Names { source, tasks } => self.name(*source, tasks.clone()).await,
            Event::Moves(task) => self.stages[*task] = (self.stages[*task] + 1).min(STAGES.len() - 1),
            Event::Poll(task) => self.poll(*task, false).await,
            Event::PollAndKill(task) => {
                self.poll(*task, true).await;
                self.restart(true).await;
            }
            Event::Restart { killed } => self.restart(*killed).await,
            Event::Reload { labels } => {
                self.labels = *labels;
                let config = config(self.folder.path(), self.labels);
                let prepared = self.shared.prepare(&config).await.unwrap();
                self.shared.take_up(&config, prepared, self.now());
                if *labels {
                    // Other series; what was under the old labels is gone from the page, and comes back with them.
                    self.seen.retain(|series, _| series.contains("label_team"));
                } else {
                    self.seen.retain(|series, _| !series.contains("label_team"));
                }
            }
            Event::Wait(secs) => {
                self.wall += secs.cast_signed();
                self.steady += Duration::from_secs(*secs);
            }
            Event::SetClock(by) => self.wall += by,
            Event::Sweep => {
                let due = self.shared.metrics.due(self.now());
                self.shared.store.show(due.sets.clone(), due.sources.clone(), self.now().wall).await.unwrap();
                self.shared.metrics.release(&due);
                let retention = Duration::from_hours(1);
                self.shared.tracker.sweep(retention, self.now().wall);
                self.shared.store.retire(self.now().wall - retention).await.unwrap();
            }
        }
    }

    /// As a discoverer does it.
    async fn name(&mut self, source: usize, tasks: BTreeSet<usize>) {
        let now = self.now();
        let birth = self.shared.metrics.birth(now.wall);
        let label = format!("file/{source}");
        let task = |n: &usize| {
            let labels = BTreeMap::from([("team".to_owned(), format!("team-{}", n % 2))]);
            let mut task = Task::new(
                "u".into(),
                "new_api",
                NewTask { labels: Arc::new(labels), ..NewTask::new(id(*n)) },
                now.wall,
            );
            task.relabel(self.shared.metrics.aggregate_labels(&task, now.wall));
            Arc::new(task)
        };
        let (tracked, untracked): (Vec<&usize>, Vec<&usize>) =
            tasks.iter().partition(|n| self.shared.tracker.get(&"u".into(), &id(**n)).is_some());
        let found = Found {
            upstream: "u".into(),
            source: label.clone(),
            asked_for: false,
            identity: Some(label.clone()),
            tasks: untracked.into_iter().map(task).collect(),
            also: tracked.into_iter().map(|n| id(*n)).collect(),
            gone: self.named[source].difference(&tasks).map(|n| id(*n)).collect(),
            birth,
            now: now.wall,
        };
        let (new, there) = self.shared.store.add(Arc::new(found)).await.unwrap();
        assert!(there.is_empty(), "what is watched is tracked");
        self.shared.metrics.tracked(("u".into(), label), &new, birth, now);
        for task in &new {
            let n = (0..TASKS).find(|n| id(*n) == task.id).unwrap();
            assert!(self.read.insert(n, BTreeSet::new()).is_none(), "{n} is new a second time");
        }
        self.shared.tracker.add(&"u".into(), new);
        self.named[source] = tasks;
    }

    /// As a poller does it.
    async fn poll(&mut self, n: usize, deaf: bool) {
        let now = self.now();
        let Some((place, before)) = self.shared.tracker.find(&"u".into(), &id(n)) else { return };
        let status = STAGES[self.stages[n]];
        let mut answer = Answer::new(status);
        answer.model = Some("m".into());
        if status.is_end() {
            answer.tokens = Tokens { total: Some(10.25), ..Tokens::default() };
            let moment = |secs| Some(Timestamp::from_secs(secs));
            answer.times = Times {
                submit: moment(1_900_000_000),
                start: None,
                finish: moment(1_900_000_040),
                clock: Clock::Upstream,
            };
        }
        let policy =
            Policy { count_since: CountSince::Moment(self.shared.store.first_start()), forget_after: Duration::MAX };
        let transition = advance(&before, Reading::Answer(Box::new(answer)), &policy, now.wall);
        if status.is_end() {
            self.read.get_mut(&n).unwrap().insert(status);
        }
        if !transition.durable {
            self.shared.tracker.apply(place, transition.task);
            return;
        }
        let birth = self.shared.metrics.birth(now.wall);
        let Settled::Committed { transitions, otherwise, birth } =
            self.shared.store.commit(vec![transition], birth).await.unwrap()
        else {
            panic!("it can be written")
        };
        assert!(otherwise.is_empty());
        for transition in transitions.into_iter().filter(|_| !deaf) {
            self.shared.metrics.observe(&transition, birth, now);
            self.shared.tracker.apply(place, transition.task);
        }
    }

    async fn restart(&mut self, killed: bool) {
        if !killed {
            self.shared.save().await.unwrap();
        }
        let (shared, ended) = (self.shared.clone(), std::mem::replace(&mut self.ended, oneshot::channel().1));
        // Nothing of the old one is left: its state has to be closed before it can be opened.
        self.shared = Arc::new(Shared::new(
            Store::open(&Place::Memory, self.now().wall, |_| {}).unwrap().0,
            Metrics::new(
                &config(self.folder.path(), false).file.metrics,
                LogCounts::default(),
                Timestamp::from_secs(0),
            )
            .unwrap(),
        ));
        drop(shared);
        ended.await.unwrap();
        (self.shared, self.ended) = open(self.folder.path(), self.labels, self.now()).await;
    }

    /// Every aggregate on the page: no one has fallen.
    fn look(&mut self) {
        let page = self.shared.page(Format::Text);
        let page: String = page.map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect();
        let counted = [
            "tasks_submitted",
            "tasks_finished",
            "task_failures",
            "task_latency",
            "tokens",
            "status_tran",
            "tasks_discovered",
        ];
        for line in page.lines().filter(|line| counted.iter().any(|name| line.starts_with(&format!("videogen_{name}"))))
        {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let before = self.seen.insert(series.to_owned(), value).unwrap_or(0.0);
            assert!(value >= before, "{series} fell from {before} to {value}");
        }
    }

    /// What is committed, over all label sets, is what the model says.
    async fn compare(&self) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for labels in [Vec::new(), vec!["label_team".into()]] {
            for tally in self.shared.store.tallies(vec!["u".into()], labels).await.unwrap() {
                for (cell, value) in tally.cells {
                    *counts.entry(cell.to_string()).or_default() += value;
                }
            }
        }
        let count = |cell: &str| counts.get(cell).copied().unwrap_or(0);
        let ended = |status| self.read.values().filter(|ends| ends.contains(&status)).count() as u64;
        let any_end = self.read.values().filter(|ends| !ends.is_empty()).count() as u64;
        assert_eq!(count("finished/failed"), ended(Status::Failed));
        assert_eq!(count("failures/failed/other"), ended(Status::Failed));
        assert_eq!(count("finished/succeeded"), ended(Status::Succeeded));
        assert_eq!(count("regressions"), self.read.values().filter(|ends| ends.len() == 2).count() as u64);
        assert_eq!(count("tokens/unspecified"), 10_250 * any_end);
        assert_eq!(count("latency/failed/le=45") + count("latency/succeeded/le=45"), any_end);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_end_is_counted_once_and_nothing_falls(events in prop::collection::vec(event(), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in &events {
                world.happens(event).await;
                world.look();
            }
            world.compare().await;
            // After a last restart, with everything read to its end and every hold over, the page says the same.
            world.restart(true).await;
            world.look();
            world.compare().await;
        });
    }
}
