//! The state store: atomic commits, one process per file, and files that are never damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use tokio::sync::oneshot;
use videogen_exporter::clock::Clock;
use videogen_exporter::counters::ZeroHold;
use videogen_exporter::domain::budget::{Budget, Period};
use videogen_exporter::domain::latency::LatencySample;
use videogen_exporter::domain::policy::BillingRules;
use videogen_exporter::domain::pricing::{
    Amount, ChargeOn, Condition, Currency, Measure, Minimum, Price, PriceRule, Pricing, Validity,
};
use videogen_exporter::domain::reading::{ClockSource, Times, Tokens};
use videogen_exporter::domain::task::Video;
use videogen_exporter::domain::{
    Answer, Counter, FailureClass, NewTask, Policy, Reading, Status, Task, TaskId, Timestamp, Transition, advance,
};
use videogen_exporter::store::{
    Command, Cursor, Discovery, Event, KnownId, KnownIdsPage, Loaded, Location, MAX_WAITING, OpenError, Output,
    Settled, Store, StoreError,
};

const POLICY: Policy = Policy::COUNT_ALL;
const HOLD: ZeroHold = ZeroHold { created: at(1000), released: false };

const fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn task(id: &str) -> Arc<Task> {
    let new = NewTask::new(TaskId::parse(id).unwrap());
    let video = Arc::new(Video { model: Some("m".into()), ..Video::default() });
    Arc::new(Task { video, ..Task::new("u".into(), "new_api", new, at(900)) })
}

fn discovery(tasks: Vec<Arc<Task>>, gone: &[&str], now: Timestamp) -> Arc<Discovery> {
    first_discovery(tasks, gone, now, None)
}

fn first_discovery(tasks: Vec<Arc<Task>>, gone: &[&str], now: Timestamp, identity: Option<&str>) -> Arc<Discovery> {
    Arc::new(Discovery {
        upstream: "u".into(),
        source: "file/0".to_owned(),
        is_requested: false,
        first_load: identity.map(str::to_owned),
        tasks,
        tracked: Vec::new(),
        gone: gone.iter().map(|id| TaskId::parse(id).unwrap()).collect(),
        zero_hold: HOLD,
        born: Vec::new(),
        now,
    })
}

/// The transition of a task for a reading.
fn read(task: &Task, status: Status) -> Transition {
    let mut answer = Answer::new(status);
    if status.is_end() {
        answer.times = Times { submit: Some(at(910)), start: None, finish: Some(at(940)), clock: ClockSource::Gateway };
        answer.tokens = Tokens { total: Some(100.5), ..Tokens::default() };
    }
    let billing = BillingRules { pricing: Some(&PRICES), ..BillingRules::NONE };
    let policy = Policy { billing, ..POLICY };
    let mut transition = advance(task, Reading::Answer(Box::new(answer)), &policy, at(1001));
    transition.spent = BUDGET.spending(&transition.task, &transition.increments, at(1001)).into_iter().collect();
    transition
}

/// A success costs 1.5075 dollars.
static PRICES: LazyLock<Pricing> = LazyLock::new(|| {
    let price =
        Price { per: Measure::Token, amount: Amount::Fixed("1.5".parse().unwrap()), each: 100.into(), after: 0.into() };
    let rule = PriceRule {
        is_table_entry: false,
        id: "rules/0".to_owned(),
        condition: Condition::default(),
        valid: Validity::default(),
        currency: Currency::USD,
        price,
        plus: Vec::new(),
        minimum: Minimum::default(),
        charge_on: ChargeOn::SUCCESS,
    };
    Pricing { currency: Currency::USD, rates: BTreeMap::new(), charge_on: ChargeOn::SUCCESS, rules: vec![rule] }
});

static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget {
    name: "all".into(),
    upstreams: Vec::new(),
    providers: Vec::new(),
    models: Vec::new(),
    labels: BTreeMap::new(),
    per: Period::Month,
    micros: 1,
    currency: Currency::USD,
});

fn open(path: &Path) -> (Store, oneshot::Receiver<()>) {
    Store::open(&Location::File(path.to_owned()), &Clock::starting_at(at(1000)), |_| {}).unwrap()
}

async fn close((store, ended): (Store, oneshot::Receiver<()>)) {
    drop(store);
    ended.await.unwrap();
}

/// Executes a command and returns its output.
async fn execute(store: &Store, command: Command) -> Output {
    store.execute(command).await.unwrap()
}

async fn add(store: &Store, discovery: Arc<Discovery>) -> (Vec<Arc<Task>>, Vec<Arc<Task>>) {
    match execute(store, Command::Add(discovery)).await {
        Output::Added { new, known, .. } => (new, known),
        other => panic!("{other:?}"),
    }
}

async fn load(store: &Store, labels: Vec<Arc<str>>) -> Result<Loaded, StoreError> {
    match store.execute(Command::Load(("u".into(), "new_api"), labels)).await? {
        Output::Loaded(loaded) => Ok(loaded),
        other => panic!("{other:?}"),
    }
}

async fn known_ids(store: &Store, named_before: Timestamp, after: Cursor, limit: usize) -> KnownIdsPage {
    match execute(store, Command::KnownIds { named_before, after, limit }).await {
        Output::KnownIds(page) => page,
        other => panic!("{other:?}"),
    }
}

async fn update(store: &Store, named: Vec<KnownId>, now: Timestamp, forgotten: Vec<KnownId>, before: Timestamp) {
    execute(store, Command::UpdateKnownIds { named, now, forgotten, before }).await;
}

/// Sends a commit; the future waits for its result.
fn send(store: &Store, transitions: Vec<Transition>) -> impl Future<Output = Settled> + use<> {
    let replied = store.send(Command::Commit(transitions, HOLD));
    async move { Settled::from_reply(replied.await.unwrap()).unwrap() }
}

async fn commit(store: &Store, transitions: Vec<Transition>) -> Vec<Arc<Task>> {
    match send(store, transitions).await {
        Settled::Committed { transitions, .. } => {
            transitions.into_iter().map(|transition| Arc::new(transition.task)).collect()
        }
        Settled::Refused(_, error) => panic!("{error}"),
    }
}

type Counts = BTreeMap<String, u64>;

/// All tasks and all counts of the upstream.
async fn all(store: &Store) -> (Vec<Arc<Task>>, Counts) {
    let loaded = load(store, Vec::new()).await.unwrap();
    let cost = |cell: &str| cell == "cost/USD/metered";
    let mut counts = Counts::new();
    for (cell, value) in loaded.counters.iter().flat_map(|snapshot| snapshot.numbers.iter()) {
        *counts.entry(cell.to_string()).or_default() += value;
    }
    // What is spent of a budget is committed together with the cost, and so is how long a success took.
    let costs: u64 = counts.iter().filter(|(cell, _)| cost(cell)).map(|(_, value)| value).sum();
    assert_eq!(loaded.spending.iter().map(|spending| spending.micros).sum::<u64>(), costs);
    let successes = counts.get("finished/succeeded").copied().unwrap_or(0);
    assert_eq!(loaded.samples.len() as u64, successes);
    (loaded.tasks, counts)
}

/// The expected counters of tasks.
fn counts_of(tasks: &[Arc<Task>]) -> Counts {
    let mut counts = Counts::new();
    for task in tasks {
        let mut add = |cell: String, more: u64| *counts.entry(cell).or_default() += more;
        if task.counted.submitted {
            add("submitted".into(), 1);
        }
        if task.status.is_end() {
            add(format!("finished/{}", task.status.as_str()), 1);
            add(format!("latency/{}/le=30", task.status.as_str()), 1);
            // 2^(39/8) < 30 s <= 2^(40/8).
            add(format!("latency/{}/native=40", task.status.as_str()), 1);
            add(format!("latency/{}/sum", task.status.as_str()), 30_000);
            add("tokens/unspecified".into(), 100_500);
            if task.seen_active {
                // From its submission at 910 to the reading at 1001.
                add(format!("observed/{}/le=120", task.status.as_str()), 1);
                add(format!("observed/{}/native=53", task.status.as_str()), 1);
                add(format!("observed/{}/sum", task.status.as_str()), 91_000);
            }
            if task.status == Status::Succeeded {
                add("cost/USD/metered".into(), 1_507_500);
            }
            if let Some(class) = task.failure {
                add(format!("failures/{}/{}", task.status.as_str(), class.as_str()), 1);
            }
        }
    }
    counts
}

/// Without status transitions, which a task may have several times, and without the times of late series.
fn without_transitions(counts: Counts) -> Counts {
    counts.into_iter().filter(|(cell, _)| !cell.starts_with("transitions") && !cell.ends_with("/created")).collect()
}

#[tokio::test]
async fn committed_data_is_loaded_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let state = open(&path);
    let first_start = state.0.first_start();
    assert!(first_start >= at(1000) && first_start < at(1100));
    let added = add(&state.0, first_discovery(vec![task("a"), task("b")], &[], at(1000), Some("file a"))).await;
    assert_eq!(added, (vec![task("a"), task("b")], vec![]));
    let again = add(&state.0, discovery(vec![task("a")], &[], at(1000))).await;
    assert_eq!(again, (vec![], vec![task("a")]), "known from another source, and now tracked");
    let running = commit(&state.0, vec![read(&task("a"), Status::Running)]).await;
    let ended = commit(&state.0, vec![read(&running[0], Status::Failed)]).await;
    let label_set = ended[0].label_set();
    let (label_sets, sources) = (vec![label_set.clone()], vec!["file/0".into()]);
    execute(
        &state.0,
        Command::Release { label_sets, series: Vec::new(), upstream: "u".into(), sources, now: at(1002) },
    )
    .await;
    close(state).await;

    let (store, _ended) = Store::open(&Location::File(path), &Clock::starting_at(at(5000)), |_| {}).unwrap();
    assert_eq!(store.first_start(), first_start, "a restart changes the first start");
    let loaded = load(&store, Vec::new()).await.unwrap();
    assert_eq!(loaded.loaded_sources, ["file a".to_owned()].into());
    assert_eq!(loaded.tasks, [ended[0].clone(), task("b")]);
    let [snapshot] = loaded.counters.as_slice() else { panic!("{:?}", loaded.counters) };
    assert_eq!((&snapshot.label_set, snapshot.zero_hold), (&label_set, ZeroHold { released: true, ..HOLD }));
    assert!(snapshot.numbers.iter().any(|(key, value)| key.to_string() == "transitions/running/failed" && *value == 1));
    assert_eq!(without_transitions(all(&store).await.1), counts_of(&ended));
    let [source] = loaded.sources.as_slice() else { panic!("{:?}", loaded.sources) };
    assert_eq!((source.source.as_str(), source.tasks, source.zero_hold.released), ("file/0", 2, true));
    let other_labels = load(&store, vec!["label_team".into()]).await.unwrap();
    assert!(other_labels.counters.is_empty(), "counters with other labels are not loaded");
}

#[tokio::test]
async fn a_late_series_is_created_once_and_never_in_the_state_of_an_earlier_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let state = open(&path);
    add(&state.0, discovery(vec![task("a"), task("b"), task("c")], &[], at(1000))).await;
    let failed = |id: &str| read(&task(id), Status::Failed);
    let ended = commit(&state.0, vec![failed("a")]).await;
    let class = ended[0].failure.unwrap().as_str();
    let key = |part: &str| format!("failures/failed/{class}{part}");
    let of = |counts: &Counts| ["", "/created", "/released"].map(|part| counts.get(&key(part)).copied());
    assert_eq!(of(&all(&state.0).await.1), [Some(1), Some(1_000_000), None]);
    let later = ZeroHold { created: at(2000), released: true };
    execute(&state.0, Command::Commit(vec![failed("b")], later)).await;
    assert_eq!(of(&all(&state.0).await.1), [Some(2), Some(1_000_000), None]);
    let series = vec![(ended[0].label_set(), Counter::Failures.with([Status::Failed.index(), class_index(class)]))];
    let release = |series| Command::Release {
        label_sets: Vec::new(),
        series,
        upstream: "u".into(),
        sources: Vec::new(),
        now: at(2001),
    };
    for series in [series.clone(), series] {
        execute(&state.0, release(series)).await;
    }
    assert_eq!(of(&all(&state.0).await.1), [Some(2), Some(1_000_000), Some(1)]);
    close(state).await;

    let earlier = rusqlite::Connection::open(&path).unwrap();
    earlier.execute("delete from counters where cell like '%/created' or cell like '%/released'", []).unwrap();
    drop(earlier);
    let state = open(&path);
    commit(&state.0, vec![failed("c")]).await;
    assert_eq!(of(&all(&state.0).await.1), [Some(3), None, None], "it was exported already");
    close(state).await;
}

fn class_index(word: &str) -> usize {
    FailureClass::WORDS.iter().position(|class| *class == word).unwrap()
}

#[tokio::test]
async fn a_transition_from_a_stale_revision_is_not_counted() {
    let (store, _ended) = Store::open(&Location::Memory, &Clock::starting_at(at(1000)), |_| {}).unwrap();
    add(&store, discovery(vec![task("a")], &[], at(1000))).await;
    let end = read(&task("a"), Status::Succeeded);
    let first = commit(&store, vec![end.clone()]).await;
    let Settled::Committed { transitions, stale, .. } =
        send(&store, vec![end, read(&task("gone"), Status::Failed)]).await
    else {
        panic!("the commit was refused");
    };
    assert!(transitions.is_empty());
    let gone = TaskId::parse("gone").unwrap();
    assert_eq!(stale, [(gone, None), (first[0].id.clone(), Some(Task::clone(&first[0])))]);
    assert_eq!(without_transitions(all(&store).await.1), counts_of(&first));
}

#[tokio::test]
async fn a_stale_id_is_forgotten_unless_it_is_discovered_again() {
    let (store, _ended) = Store::open(&Location::Memory, &Clock::starting_at(at(1000)), |_| {}).unwrap();
    add(&store, discovery(["a", "b", "c"].map(task).to_vec(), &[], at(1000))).await;
    add(&store, discovery(Vec::new(), &["a"], at(2000))).await;
    let stale = async |before| {
        let page = known_ids(&store, at(before), Cursor::default(), 100).await;
        page.ids.into_iter().map(|known| (known.id, known.has_row)).collect::<Vec<_>>()
    };
    let owned = |ids: &[(&str, bool)]| ids.iter().map(|(id, has_row)| ((*id).to_owned(), *has_row)).collect::<Vec<_>>();
    assert_eq!(stale(1999).await, owned(&[("b", true), ("c", true)]));
    commit(&store, vec![read(&task("a"), Status::Failed), read(&task("b"), Status::Failed)]).await;
    execute(&store, Command::DropEnded { before: at(1001), lost_before: at(0) }).await;
    assert_eq!(all(&store).await.0, [task("c")]);
    assert_eq!(stale(2000).await, owned(&[("a", false), ("b", false), ("c", true)]));
    let past = add(&store, discovery(vec![task("a")], &[], at(2000))).await;
    assert_eq!(past, (vec![], vec![]), "an ended task that was removed is not new");
    let both = known_ids(&store, at(2000), Cursor::default(), 2).await.ids;
    // One of them is discovered again before the deletion.
    add(&store, discovery(vec![task("b")], &[], at(3000))).await;
    update(&store, Vec::new(), at(3000), both, at(2500)).await;
    let (new, _) = add(&store, discovery(vec![task("a"), task("b")], &[], at(4000))).await;
    assert_eq!(new, [task("a")], "a forgotten id is new");
    let named = known_ids(&store, at(9999), Cursor::default(), 100).await.ids;
    update(&store, named, at(5000), Vec::new(), at(0)).await;
    assert_eq!(stale(4999).await, []);
    let pages = async |limit| {
        let (mut ids, mut at_id) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = at_id {
            let page = known_ids(&store, at(9999), cursor, limit).await;
            ids.extend(page.ids.into_iter().map(|known| known.id));
            at_id = page.next;
        }
        ids
    };
    assert_eq!(pages(1).await, ["a", "b", "c"]);
    assert_eq!(pages(2).await, pages(1).await);
}

/// Copies the files of a state as a kill would leave them.
fn copy(path: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{}{suffix}", path.file_name().unwrap().to_str().unwrap());
        let from = path.with_file_name(&name);
        if from.exists() {
            fs::copy(from, to.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_a_commit_leaves_all_of_it_or_nothing() {
    const TASKS: usize = 24;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let copies: Arc<Mutex<Vec<(Event, PathBuf)>>> = Arc::default();
    let (taken, from, to) = (copies.clone(), path.clone(), folder.path().to_owned());
    let watch = move |event| {
        let mut taken = taken.lock().unwrap();
        let place = to.join(format!("crash-{}", taken.len()));
        copy(&from, &place);
        taken.push((event, place.join("s.db")));
    };
    let (store, _ended) = Store::open(&Location::File(path.clone()), &Clock::starting_at(at(1000)), watch).unwrap();
    let ids: Vec<String> = (0..TASKS).map(|n| format!("t{n}")).collect();
    let mut chance = fastrand::Rng::with_seed(11);
    let end = |id: &str| if id.ends_with(['1', '4', '7']) { Status::Failed } else { Status::Succeeded };
    let (mut tasks, _) = add(&store, discovery(ids.iter().map(|id| task(id)).collect(), &[], at(1000))).await;
    while tasks.iter().any(|task| task.is_active()) {
        // Several commits at once, as from several upstreams: they may share a transaction.
        let mut replies = Vec::new();
        chance.shuffle(&mut tasks);
        let picked: Vec<Arc<Task>> =
            tasks.iter().filter(|task| task.is_active()).take(chance.usize(1..5)).cloned().collect();
        for task in &picked {
            let next = if task.status == Status::Unknown { Status::Running } else { end(task.id.as_str()) };
            replies.push(send(&store, vec![read(task, next)]));
        }
        for answer in replies {
            let Settled::Committed { transitions, .. } = answer.await else { panic!("the commit was refused") };
            for Transition { task, .. } in transitions {
                let place = tasks.iter().position(|known| known.id == task.id).unwrap();
                tasks[place] = Arc::new(task);
            }
        }
    }
    let truth = all(&store).await.1;
    assert_eq!(without_transitions(truth.clone()), counts_of(&tasks));
    drop(store);

    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut points = BTreeMap::new();
    for (event, crashed) in copies {
        let point = match event {
            Event::Waiting { .. } => continue,
            Event::Committed(_) => "committed",
            Event::Begun => "begun",
            Event::Written => "written",
            Event::Failed => "failed",
        };
        *points.entry(point).or_insert(0) += 1;
        let (store, _ended) = open(&crashed);
        let (mut there, counts) = all(&store).await;
        assert_eq!(without_transitions(counts), counts_of(&there), "{point} {}", crashed.display());
        // Continuing from the crash gives the same counters.
        let (new, _) = add(&store, discovery(ids.iter().map(|id| task(id)).collect(), &[], at(1003))).await;
        there.extend(new);
        assert_eq!(there.len(), TASKS);
        while let Some(place) = there.iter().position(|task| task.is_active()) {
            let next =
                if there[place].status == Status::Unknown { Status::Running } else { end(there[place].id.as_str()) };
            there[place] = commit(&store, vec![read(&there[place], next)]).await.remove(0);
        }
        assert_eq!(all(&store).await.1, truth, "{point} {}", crashed.display());
    }
    assert!(["begun", "written", "committed"].iter().all(|point| points[point] > 10), "{points:?}");
}

#[tokio::test]
async fn a_torn_wal_loses_only_the_incomplete_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let (store, _ended) = open(&path);
    add(&store, discovery(vec![task("a"), task("b")], &[], at(1000))).await;
    commit(&store, vec![read(&task("a"), Status::Failed)]).await;
    let whole = folder.path().join("whole");
    copy(&path, &whole);
    let good = fs::metadata(whole.join("s.db-wal")).unwrap().len();
    commit(&store, vec![read(&task("b"), Status::Failed)]).await;
    let last = fs::metadata(path.with_file_name("s.db-wal")).unwrap().len();
    assert!(last > good);
    let only_a = all(&open(&whole.join("s.db")).0).await;
    assert_eq!(without_transitions(only_a.1.clone()), counts_of(&only_a.0));
    for (name, length, garbled) in
        [("short", last - 10, false), ("shorter", good + 100, false), ("garbled", last, true)]
    {
        let torn = folder.path().join(name);
        copy(&path, &torn);
        let wal = torn.join("s.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        bytes.truncate(usize::try_from(length).unwrap());
        if garbled {
            bytes[usize::try_from(good).unwrap() + 2000] ^= 0x55;
        }
        fs::write(&wal, bytes).unwrap();
        let _ = fs::remove_file(torn.join("s.db-shm"));
        assert_eq!(all(&open(&torn.join("s.db")).0).await, only_a, "{name}");
    }
}

/// The error of opening a file; the file must not change.
fn open_error(path: &Path) -> String {
    let before = fs::read(path).unwrap();
    let Err(error) = Store::open(&Location::File(path.to_owned()), &Clock::starting_at(at(1000)), |_| {}) else {
        panic!("the file was opened")
    };
    assert!(fs::read(path).unwrap() == before, "{error}: the file was changed");
    error.to_string()
}

#[tokio::test]
async fn an_unusable_file_is_rejected_with_advice_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at_name = |name: &str| folder.path().join(name);
    let path = at_name("s.db");
    let state = open(&path);
    let many: Vec<Arc<Task>> = (0..500).map(|n| task(&format!("task-with-a-long-name-{n}"))).collect();
    add(&state.0, discovery(many, &[], at(1000))).await;
    let Err(OpenError::InUse(_)) = Store::open(&Location::File(path.clone()), &Clock::starting_at(at(1000)), |_| {})
    else {
        panic!("the file was opened twice")
    };
    close(state).await;
    close(open(&path)).await;

    let good = fs::read(&path).unwrap();
    assert!(good.len() > 40_000);
    let mut damaged = good.clone();
    damaged[8192..20_000].fill(0xA5);
    let mut cut = good.clone();
    cut.truncate(good.len() - 6000);
    let mut head = good.clone();
    head[..16].fill(0);
    let sql = |path: &Path, sql: &str| rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    for (name, bytes) in [("damaged", damaged), ("cut", cut), ("head", head), ("text", b"tasks: []\n".repeat(999))] {
        fs::write(at_name(name), bytes).unwrap();
    }
    fs::write(at_name("newer"), &good).unwrap();
    sql(&at_name("newer"), "pragma user_version = 99");
    sql(&at_name("other"), "create table customers (name text)");
    sql(&at_name("marked"), "pragma user_version = 77; pragma application_id = 5");
    for (name, words) in [
        ("damaged", ["is damaged", "Move it and its -wal file away"]),
        ("cut", ["is damaged", "Move it and its -wal file away"]),
        ("head", ["is not a state of videogen-exporter", "Set another"]),
        ("text", ["is not a state of videogen-exporter", "Set another"]),
        ("newer", ["has schema 99", "run the newer program"]),
        ("marked", ["is not a state of videogen-exporter", "Set another"]),
        ("other", ["is not a state of videogen-exporter", "Set another"]),
    ] {
        let message = open_error(&at_name(name));
        assert!(words.iter().all(|word| message.contains(word)) && message.contains(name), "{name}: {message}");
    }
    let nowhere = Store::open(&Location::File(at_name("no/such/folder.db")), &Clock::starting_at(at(1000)), |_| {});
    let Err(OpenError::Io(_, why)) = nowhere else { panic!("the file was opened without its folder") };
    assert!(why.contains("No such file"), "{why}");
    fs::write(at_name("empty"), "").unwrap();
    assert_eq!(all(&open(&at_name("empty")).0).await.0, [], "an empty file is a start that was interrupted");
}

#[tokio::test]
async fn an_unreadable_row_is_skipped_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let state = open(&path);
    add(&state.0, discovery(["a", "b", "c", "d"].map(task).to_vec(), &[], at(1000))).await;
    close(state).await;
    let rows = "update tasks set record = '{\"status\":\"done\"}' where task_id = 'a'; \
                update tasks set record = x'00' where task_id = 'b'; update tasks set revision = -1 where task_id = 'c'";
    rusqlite::Connection::open(&path).unwrap().execute_batch(rows).unwrap();
    let (store, _ended) = open(&path);
    let loaded = load(&store, Vec::new()).await.unwrap();
    assert_eq!((loaded.skipped, loaded.tasks), (3, vec![task("d")]));
    // Commands on an unreadable row do not fail and do not change it.
    let again = add(&store, discovery(["a", "d"].map(task).to_vec(), &[], at(1001))).await;
    assert_eq!(again, (vec![], vec![task("d")]), "an unreadable task is known");
    let forget = Command::Forget(("u".into(), "new_api"), TaskId::parse("b").unwrap(), at(1002));
    assert!(matches!(execute(&store, forget).await, Output::WasTracked(false)));
    let Settled::Committed { transitions, stale, .. } = send(&store, vec![read(&task("c"), Status::Failed)]).await
    else {
        panic!("the commit was refused")
    };
    assert_eq!((transitions.len(), stale), (0, vec![(TaskId::parse("c").unwrap(), None)]));
    assert_eq!(load(&store, Vec::new()).await.unwrap().skipped, 3, "the rows are kept for another version");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_wait_and_other_commands_fail_while_the_file_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let seen = events.clone();
    let watch = move |event| {
        if !matches!(event, Event::Waiting { .. }) {
            seen.lock().unwrap().push(event);
        }
    };
    let (store, _ended) = Store::open(&Location::File(path.clone()), &Clock::starting_at(at(1000)), watch).unwrap();
    let ids: Vec<String> = (0..MAX_WAITING + 50).map(|n| format!("t{n}")).collect();
    add(&store, discovery(ids.iter().map(|id| task(id)).collect(), &[], at(1000))).await;

    let shell = rusqlite::Connection::open(&path).unwrap();
    shell.execute_batch("begin immediate").unwrap();
    let Settled::Refused(running, error) = send(&store, vec![read(&task("t0"), Status::Running)]).await else {
        panic!("the commit succeeded while the file is locked");
    };
    assert_eq!((running.len(), error.to_string().contains("locked")), (1, true), "{error}");
    assert_eq!(events.lock().unwrap().last(), Some(&Event::Failed));
    store.execute(Command::Add(discovery(vec![task("new")], &[], at(1000)))).await.unwrap_err();
    let mut answers: Vec<_> = ids.iter().map(|id| send(&store, vec![read(&task(id), Status::Failed)])).collect();
    let mut refused = 0;
    for answer in answers.split_off(MAX_WAITING) {
        refused += usize::from(matches!(answer.await, Settled::Refused(..)));
    }
    assert_eq!(refused, 50, "commits above the limit are refused");
    let timeline = store.timeline("u".into(), TaskId::parse("t0").unwrap()).await;
    assert_eq!(timeline.unwrap().len(), 1, "the timeline can be read while the file is locked");
    let while_some_wait = load(&store, Vec::new()).await;
    assert!(while_some_wait.is_err(), "loading is refused while commits wait");
    shell.execute_batch("rollback").unwrap();
    for answer in answers {
        assert!(matches!(answer.await, Settled::Committed { .. }));
    }
    assert!(matches!(events.lock().unwrap().last(), Some(Event::Committed(_))));
    let (tasks, counts) = all(&store).await;
    assert_eq!(without_transitions(counts), counts_of(&tasks));
    assert_eq!(tasks.iter().filter(|task| !task.is_active()).count(), MAX_WAITING);
}

#[tokio::test]
async fn of_each_model_the_last_latencies_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("s.db"));
    let tasks: Vec<_> = (0..700).map(|n| task(&format!("t{n}"))).collect();
    add(&store.0, discovery(tasks.clone(), &[], at(1000))).await;
    let sample = |n: i64| LatencySample { at: at(n), millis: n.unsigned_abs() };
    let ends = (0..).zip(&tasks).map(|(n, task)| {
        let transition = read(task, Status::Succeeded);
        Transition { sample: transition.sample.map(|_| sample(n)), ..transition }
    });
    commit(&store.0, ends.collect()).await;
    let loaded = load(&store.0, Vec::new()).await.unwrap();
    let millis: Vec<u64> = loaded.samples.iter().map(|(_, sample)| sample.millis).collect();
    assert!((500..561).contains(&millis.len()), "{}", millis.len());
    assert_eq!(millis[millis.len() - 500..], (200..700).collect::<Vec<u64>>());
    close(store).await;
}
