//! Recorded states of every schema version open with all their data. The recordings never change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use videogen_exporter::clock::Clock;
use videogen_exporter::domain::Timestamp;
use videogen_exporter::store::{self, Cursor, Location, Output, Store};

/// The counters by model and key, and the tasks with their time of end.
type Content = (BTreeMap<(String, String), i64>, BTreeMap<String, Option<i64>>);

fn recorded(state: &Connection) -> Content {
    let mut cells = state.prepare("select model, cell, value from counters join aggregates on id = aggregate").unwrap();
    let cells = cells.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).unwrap();
    let mut tasks = state.prepare("select task_id, ended from tasks").unwrap();
    let tasks = tasks.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    (cells.map(Result::unwrap).collect(), tasks.map(Result::unwrap).collect())
}

async fn loaded(store: &Store) -> Content {
    let load = store::Command::Load(("sim".into(), "new_api"), vec!["label_team".into()]);
    let Output::Loaded(loaded) = store.execute(load).await.unwrap() else { panic!("unexpected output") };
    assert_eq!(loaded.skipped, 0);
    let cells = loaded.counters.iter().flat_map(|snapshot| {
        assert_eq!(*snapshot.label_set.labels, [("label_team".into(), "demo".into())]);
        let model = snapshot.label_set.model.to_string();
        snapshot
            .numbers
            .iter()
            .map(move |(cell, value)| ((model.clone(), cell.to_string()), i64::try_from(*value).unwrap()))
    });
    let tasks = loaded.tasks.iter().map(|task| {
        assert_eq!(task.ended_seen.is_some(), task.status.is_end(), "{}", task.id);
        assert_eq!(task.origin.labels.get("team").map(String::as_str), Some("demo"));
        (task.id.to_string(), task.ended_seen.map(Timestamp::as_millis))
    });
    (cells.collect(), tasks.collect())
}

/// A text file of the project.
fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The newest schema version.
fn newest(folder: &Path) -> i64 {
    let path = folder.join("newest.db");
    drop(Store::open(&Location::File(path.clone()), &Clock::starting_at(Timestamp::from_secs(1)), |_| {}).unwrap());
    Connection::open(path).unwrap().query_row("pragma user_version", [], |row| row.get(0)).unwrap()
}

/// The recorded state of a schema version.
fn restored(folder: &Path, schema: i64) -> PathBuf {
    let path = folder.join(format!("v{schema}.db"));
    let sql = project(&format!("tests/fixtures/state/v{schema}.sql"));
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    path
}

#[tokio::test]
async fn a_state_of_every_schema_version_opens_with_all_its_data() {
    let folder = tempfile::tempdir().unwrap();
    for schema in 1..=newest(folder.path()) {
        let name = format!("v{schema}");
        let path = restored(folder.path(), schema);
        let state = Connection::open(&path).unwrap();
        let recorded = recorded(&state);
        let ids: i64 = state.query_row("select count(*) from ledger", [], |row| row.get(0)).unwrap();
        let first: i64 =
            state.query_row("select value from meta where key = 'first_start'", [], |row| row.get(0)).unwrap();
        drop(state);
        assert!(recorded.0.len() > 20 && recorded.1.len() > 5, "{name}: {recorded:?}");

        let (store, _ended) =
            Store::open(&Location::File(path), &Clock::starting_at(Timestamp::from_secs(9)), |_| {}).unwrap();
        assert_eq!(loaded(&store).await, recorded, "{name}");
        assert_eq!(store.first_start().as_millis(), first, "{name}");
        let named_before = Timestamp::from_secs(i64::MAX / 1000);
        let known = store::Command::KnownIds { named_before, after: Cursor::default(), limit: 1_000_000 };
        let Output::KnownIds(page) = store.execute(known).await.unwrap() else { panic!("unexpected output") };
        assert_eq!(i64::try_from(page.ids.len()), Ok(ids), "{name}");
    }
}

#[tokio::test]
async fn real_sqlite3_repairs_a_state_with_the_documented_commands() {
    let folder = tempfile::tempdir().unwrap();
    let docs = project("docs/state.md");
    let command = docs.split("```").find(|block| block.contains("repaired.db")).unwrap().strip_prefix("sh\n").unwrap();
    for schema in 1..=newest(folder.path()) {
        fs::rename(restored(folder.path(), schema), folder.path().join("state.db")).unwrap();
        let before = recorded(&Connection::open(folder.path().join("state.db")).unwrap());
        let ran = Command::new("bash").args(["-euc", command]).current_dir(folder.path()).output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        let repaired = folder.path().join("repaired.db");
        let (store, _ended) =
            Store::open(&Location::File(repaired.clone()), &Clock::starting_at(Timestamp::from_secs(9)), |_| {})
                .unwrap();
        assert_eq!(loaded(&store).await, before, "schema {schema}");
        drop(store);
        fs::remove_file(repaired).unwrap();
    }
}
