//! Ids from a database: one statement that reads, at `PostgreSQL` or in an `SQLite` file.
//!
//! The column `task_id` is the id, `submit_time` when the task was submitted, every other one a label.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::DbError;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::groups;
use super::listing::Listing;
use crate::config;
use crate::domain::labels::{LABEL_NAME, is_label_name, sanitize};
use crate::domain::{NewTask, TaskId};
use crate::http::tls_of_the_platform;
use crate::provider::any_moment;
use crate::secret::mark;

/// Most rows of one read.
const MAX_ROWS: usize = 500_000;

/// How soon a statement that takes too long is interrupted once more.
const AGAIN: Duration = Duration::from_millis(100);

/// The source.
pub struct DatabaseSource {
    config: config::SqlSource,
    held: Vec<NewTask>,
    /// Rows of the last read whose id was none.
    refused: u64,
}

/// What a statement gave.
#[derive(Default)]
struct Rows {
    tasks: Vec<NewTask>,
    refused: u64,
    truncated: bool,
}

impl DatabaseSource {
    /// Of a checked entry; asks nothing yet.
    pub fn new(config: config::SqlSource) -> Self {
        Self { config, held: Vec::new(), refused: 0 }
    }

    pub(super) fn identity(&self) -> String {
        format!("sql:{}", mark(&self.config.query))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        (self.held, self.refused) = (earlier.held, earlier.refused);
    }

    pub(super) async fn changed(&mut self) {
        sleep(self.config.refresh_interval).await;
    }

    pub(super) async fn read(&mut self) -> Listing {
        let mut listing = Listing { complete: true, ..Listing::default() };
        match self.ask().await {
            Ok(mut rows) => {
                groups::share_ids(&mut rows.tasks, &self.held);
                self.held = rows.tasks;
                // As long as the same ones are left out, that is no news.
                listing.errors += rows.refused.saturating_sub(std::mem::replace(&mut self.refused, rows.refused));
                listing.truncated = rows.truncated;
                if rows.refused > 0 {
                    listing.messages.push(format!("left out {} rows whose task_id is none", rows.refused));
                }
                if rows.truncated {
                    listing
                        .messages
                        .push(format!("the statement gives more than {MAX_ROWS} rows; the rest was left out"));
                }
            }
            Err(message) => listing.failed(message),
        }
        listing.tasks.clone_from(&self.held);
        listing
    }

    async fn ask(&self) -> Result<Rows, String> {
        let url = self.config.url.get().await;
        let url = url.expose();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let asked = timeout(self.config.timeout + Duration::from_secs(1), postgres(url, &self.config));
            return asked.await.unwrap_or_else(|_| Err("the database did not answer in time".to_owned()));
        }
        let Some(file) = url.strip_prefix("sqlite:") else {
            return Err("the database's URL must begin with postgres:// or sqlite:".to_owned());
        };
        let path = self.config.folder.join(file.strip_prefix("//").unwrap_or(file));
        sqlite(path, self.config.query.clone(), self.config.timeout).await
    }
}

impl Rows {
    /// Takes a row; false when there is no room for more.
    fn take(&mut self, row: Map<String, Value>) -> Result<bool, String> {
        if self.tasks.len() >= MAX_ROWS {
            self.truncated = true;
            return Ok(false);
        }
        let id = match row.get("task_id") {
            // Its job was not submitted yet.
            Some(Value::Null) => return Ok(true),
            Some(Value::String(id)) => TaskId::parse(id),
            Some(other) => TaskId::parse(&other.to_string()),
            None => return Err("the statement gives no column task_id".to_owned()),
        };
        let mut submit = None;
        let mut labels = BTreeMap::new();
        for (name, value) in row.into_iter().filter(|(name, _)| name != "task_id") {
            let text = match &value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match name.as_str() {
                "submit_time" => submit = any_moment(&value),
                _ if is_label_name(&name) => _ = labels.insert(name, sanitize(&text).into_owned()),
                _ => {
                    return Err(format!("a column cannot be a label: {LABEL_NAME}"));
                }
            }
        }
        match id {
            Ok(id) => self.tasks.push(NewTask { labels: Arc::new(labels), submit, ..NewTask::new(id) }),
            Err(_) => self.refused += 1,
        }
        Ok(true)
    }
}

/// Asks `PostgreSQL` in a transaction that only reads. Rows come as JSON: so every type has one text, the server's own.
async fn postgres(url: &str, config: &config::SqlSource) -> Result<Rows, String> {
    let mut options: tokio_postgres::Config =
        url.parse().map_err(|_| "the database's URL cannot be read".to_owned())?;
    options.application_name("videogen-exporter").connect_timeout(config.timeout);
    let tls = tls_of_the_platform().map_err(|error| error.to_string())?;
    let (mut client, connection) = options.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| told(&error))?;
    let work = async {
        let limit = format!("set statement_timeout = {}", config.timeout.as_millis());
        client.batch_execute(&limit).await.map_err(|error| told(&error))?;
        let transaction = client.build_transaction().read_only(true).start().await.map_err(|error| told(&error))?;
        // The line break ends a comment that the statement may end with.
        let statement = format!("select to_jsonb(found)::text from ({}\n) as found", config.query);
        let none: [&str; 0] = [];
        let found = transaction.query_raw(&statement, none).await.map_err(|error| told(&error))?;
        pin_mut!(found);
        let mut rows = Rows::default();
        while let Some(row) = found.next().await {
            let row: String = row.and_then(|row| row.try_get(0)).map_err(|error| told(&error))?;
            let row = serde_json::from_str(&row).map_err(|error| error.to_string())?;
            if !rows.take(row)? {
                break;
            }
        }
        Ok(rows)
    };
    pin_mut!(work, connection);
    tokio::select! {
        rows = &mut work => rows,
        ended = &mut connection => match ended {
            Err(error) => Err(told(&error)),
            // What was sent before the end can still be read.
            Ok(()) => work.await,
        },
    }
}

/// What went wrong, in the server's words where it has any: they are about the statement, and never have the password.
fn told(error: &tokio_postgres::Error) -> String {
    let own = |error: &DbError| format!("{} ({})", sanitize(error.message()), error.code().code());
    error.as_db_error().map_or_else(|| error.to_string(), own)
}

/// Asks a file off the runtime's threads, and interrupts what takes too long.
async fn sqlite(path: std::path::PathBuf, query: Arc<str>, limit: Duration) -> Result<Rows, String> {
    let (handle, interrupt) = tokio::sync::oneshot::channel();
    let work = tokio::task::spawn_blocking(move || {
        let connection = open(&path, limit)?;
        let _ = handle.send(connection.get_interrupt_handle());
        select(&connection, &query)
    });
    tokio::pin!(work);
    let rows = tokio::select! {
        rows = &mut work => rows,
        () = sleep(limit) => match interrupt.await {
            Ok(interrupt) => loop {
                // One that has not begun yet cannot be interrupted.
                interrupt.interrupt();
                tokio::select! {
                    rows = &mut work => break rows,
                    () = sleep(AGAIN) => {}
                }
            },
            Err(_) => work.await,
        },
    };
    rows.map_err(|error| error.to_string())?.map_err(|error| match error.as_str() {
        "interrupted" => "the statement did not end in time".to_owned(),
        _ => error,
    })
}

fn open(path: &Path, limit: Duration) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Without its path, which is from a secret.
    let told = |error: rusqlite::Error| error.sqlite_error().map_or_else(String::new, |code| format!(": {code}"));
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| format!("the database's file cannot be opened{}", told(error)))?;
    connection.busy_timeout(limit).map_err(|error| error.to_string())?;
    Ok(connection)
}

fn select(connection: &Connection, query: &str) -> Result<Rows, String> {
    // As a part of a statement it cannot be more than one, nor one that writes.
    let statement = format!("select * from ({query}\n)");
    let mut statement = connection.prepare(&statement).map_err(|error| error.to_string())?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([]).map_err(|error| error.to_string())?;
    let mut rows = Rows::default();
    while let Some(row) = found.next().map_err(|error| error.to_string())? {
        let mut object = Map::new();
        for (n, name) in names.iter().enumerate() {
            let value = match row.get_ref(n).map_err(|error| error.to_string())? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
                ValueRef::Blob(_) => return Err(format!("column {} is binary", sanitize(name))),
            };
            object.insert(name.clone(), value);
        }
        if !rows.take(object)? {
            break;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(sql: &str, query: &str) -> Result<Rows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        select(&open(&path, Duration::from_secs(1))?, query)
    }

    #[test]
    fn columns_are_id_submit_time_and_labels() {
        let sql = "create table jobs (task_id, submit_time, team, big integer, gone);
            insert into jobs values ('t1', 1700000000, 'a', 9007199254740993, null), (17, '2026-01-02T03:04:05Z', null, 1, null), ('bad\nid', 1, '', 1, null),
            (null, 1, 'not submitted yet', 1, null);";
        let rows = asked(sql, "select * from jobs -- all of them").unwrap();
        let labels =
            |n: usize| rows.tasks[n].labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!((rows.tasks.len(), rows.refused, rows.truncated), (2, 1, false));
        assert_eq!(
            (rows.tasks[0].id.as_str(), labels(0)),
            ("t1", vec!["big=9007199254740993".to_owned(), "team=a".to_owned()])
        );
        assert_eq!((rows.tasks[1].id.as_str(), labels(1)), ("17", vec!["big=1".to_owned()]));
        let submit = |n: usize| rows.tasks[n].submit.map(crate::domain::Timestamp::as_millis);
        assert_eq!((submit(0), submit(1)), (Some(1_700_000_000_000), Some(1_767_323_045_000)));
    }

    #[test]
    fn what_is_no_statement_that_reads_ids_says_why() {
        let sql = "create table jobs (task_id, \"a b\"); insert into jobs values ('t', 1)";
        for (query, why) in [
            ("delete from jobs", "near \"delete\""),
            ("select 1; drop table jobs", "near \";\""),
            ("select 1) ; drop table jobs; select * from (select 1", "Multiple statements"),
            ("select 1 as id", "no column task_id"),
            ("select * from jobs", "cannot be a label"),
            ("select task_id, x'00' as b from jobs", "column b is binary"),
            ("select * from nobody", "no such table"),
        ] {
            let told = asked(sql, query).err().unwrap_or_else(|| "nothing".to_owned());
            assert!(told.contains(why), "{query}: {told}");
        }
    }
}
