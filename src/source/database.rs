//! Task ids from a database: one query, in `PostgreSQL` or in an `SQLite` file.
//!
//! The column `task_id` is the id, `submit_time` is the submit time; every other column is a label.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::DbError;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::groups;
use super::invalid_ids::InvalidIds;
use super::listing::Listing;
use crate::config;
use crate::domain::labels::{
    LABEL_NAME_RULE, MAX_LABEL_BYTES, MAX_LABELS, is_label_name, sanitize, sanitize_source_label,
};
use crate::domain::{NewTask, TaskId};
use crate::files;
use crate::http::platform_tls_config;
use crate::provider::time_or_utc;
use crate::secret::fingerprint;

/// Longest row of `PostgreSQL` as JSON, in bytes: an id and the most labels, with every character escaped.
const MAX_ROW_BYTES: usize = 2 * (MAX_LABELS + 2) * MAX_LABEL_BYTES;

/// How much longer than its time-out a query of SQLite may take to be interrupted.
const SQLITE_GRACE: Duration = Duration::from_secs(5);

/// Largest value, row or statement of SQLite, in bytes.
const MAX_SQLITE_BYTES: i32 = 1 << 20;

/// Most bytes of labels of all tasks together.
const MAX_ALL_LABELS: usize = 256 << 20;

/// Interval between attempts to interrupt a query that has timed out.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(100);

/// Reads a database.
pub struct DatabaseSource {
    config: config::SqlSourceSettings,
    /// Held while a query of SQLite runs.
    running: Arc<Semaphore>,
    last: Vec<NewTask>,
    /// Rows of the last read whose id was invalid.
    invalid_ids: u64,
}

/// The rows of a query.
#[derive(Default)]
struct QueryResult {
    tasks: Vec<NewTask>,
    /// Bytes of all their labels.
    label_bytes: usize,
    invalid_ids: InvalidIds,
    /// Rows whose submit time is not a time.
    invalid_times: u64,
}

impl DatabaseSource {
    /// From a checked entry. Sends no query yet.
    pub fn new(config: config::SqlSourceSettings) -> Self {
        Self { config, running: Arc::new(Semaphore::new(1)), last: Vec::new(), invalid_ids: 0 }
    }

    pub(super) fn identity(&self) -> String {
        format!("sql:{}", fingerprint(&self.config.query))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        (self.last, self.invalid_ids, self.running) = (earlier.last, earlier.invalid_ids, earlier.running);
    }

    pub(super) async fn wait_until_due(&mut self) {
        sleep(self.config.refresh_interval).await;
    }

    pub(super) async fn read(&mut self) -> Listing {
        let mut listing = Listing { is_complete: true, ..Listing::default() };
        match self.query().await {
            Ok(mut rows) => {
                groups::share_ids(&mut rows.tasks, &self.last);
                self.last = rows.tasks;
                // Rows that were invalid before are not counted again.
                let invalid = &rows.invalid_ids;
                listing.errors += invalid.count.saturating_sub(std::mem::replace(&mut self.invalid_ids, invalid.count));
                if invalid.count > 0 {
                    listing.messages.push(invalid.to_string());
                }
                if rows.invalid_times > 0 {
                    let ignored = format!(
                        "submit_time of {} rows ignored: not a time of the years 2015 to 2099",
                        rows.invalid_times
                    );
                    listing.messages.push(ignored);
                }
            }
            Err(message) => listing.add_failure(message),
        }
        listing.tasks.clone_from(&self.last);
        listing
    }

    async fn query(&self) -> Result<QueryResult, String> {
        let url = self.config.url.get().await;
        let url = url.expose();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let rows = timeout(self.config.timeout + Duration::from_secs(1), query_postgres(url, &self.config));
            return rows.await.unwrap_or_else(|_| Err("the database did not respond in time".to_owned()));
        }
        let Some(file) = url.strip_prefix("sqlite:") else {
            return Err("the database URL must begin with postgres:// or sqlite:".to_owned());
        };
        let path = self.config.folder.join(file.strip_prefix("//").unwrap_or(file));
        // A disk that hangs must not take a thread for every read.
        let Ok(permit) = self.running.clone().try_acquire_owned() else {
            return Err("an earlier query has not ended yet".to_owned());
        };
        let rows = timeout(self.config.timeout + SQLITE_GRACE, query_sqlite(path, &self.config, permit));
        rows.await.unwrap_or_else(|_| Err("the disk of the database does not answer".to_owned()))
    }
}

impl QueryResult {
    /// Adds a row, unless there are so many already.
    fn add_row(&mut self, row: Map<String, Value>, max_targets: usize) -> Result<(), String> {
        if row.len() > MAX_LABELS + 2 {
            return Err(format!("the query returns more than {MAX_LABELS} columns for labels"));
        }
        let id = match row.get("task_id") {
            // The task is not submitted yet.
            Some(Value::Null) => return Ok(()),
            Some(Value::String(id)) => id.clone(),
            Some(other) => other.to_string(),
            None => return Err("the query returns no column task_id".to_owned()),
        };
        let mut submit = None;
        let mut labels = BTreeMap::new();
        for (name, value) in row.into_iter().filter(|(name, _)| name != "task_id") {
            let text = match &value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if text.len() > MAX_LABEL_BYTES {
                return Err(too_long(&name, text.len()));
            }
            match name.as_str() {
                "submit_time" => {
                    submit = time_or_utc(&value);
                    self.invalid_times += u64::from(submit.is_none());
                }
                _ if is_label_name(&name) => _ = labels.insert(name, sanitize_source_label(&text).into_owned()),
                _ => {
                    return Err(format!("a column name is not a label name: {LABEL_NAME_RULE}"));
                }
            }
        }
        self.label_bytes +=
            labels.iter().map(|(name, value): (&String, &String)| name.len() + value.len()).sum::<usize>();
        if self.label_bytes > MAX_ALL_LABELS {
            let limit = MAX_ALL_LABELS >> 20;
            return Err(format!(
                "the labels of all tasks have more than {limit} MiB; select fewer columns; the last list is kept"
            ));
        }
        match TaskId::parse(&id) {
            Ok(_) if self.tasks.len() >= max_targets => return Err(groups::too_many_targets(max_targets)),
            Ok(id) => self.tasks.push(NewTask { labels: Arc::new(labels), submit, ..NewTask::new(id) }),
            Err(why) => self.invalid_ids.add(&id, why),
        }
        Ok(())
    }
}

fn too_long(column: &str, bytes: usize) -> String {
    let column = sanitize(column);
    format!("column {column} has a value of {bytes} bytes, more than {MAX_LABEL_BYTES}; shorten it in the query")
}

/// Queries `PostgreSQL` in a read-only transaction. Rows are converted to JSON by the server, so that every column type has a text.
async fn query_postgres(url: &str, config: &config::SqlSourceSettings) -> Result<QueryResult, String> {
    let mut options: tokio_postgres::Config = url.parse().map_err(|_| "the database URL is not valid".to_owned())?;
    options.application_name("videogen-exporter").connect_timeout(config.timeout);
    if !url.contains("sslmode=") && !options.get_hosts().iter().all(is_this_machine) {
        // The default of PostgreSQL's own clients would send the password and the rows in clear text when the server asks for it.
        options.ssl_mode(SslMode::Require);
    }
    let tls = platform_tls_config().map_err(|error| error.to_string())?;
    let (mut client, connection) =
        options.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| error_text(&error))?;
    let work = async {
        let limit = format!("set statement_timeout = {}", config.timeout.as_millis());
        client.batch_execute(&limit).await.map_err(|error| error_text(&error))?;
        let transaction =
            client.build_transaction().read_only(true).start().await.map_err(|error| error_text(&error))?;
        // The query may end with a comment; the line break ends it.
        // A row that is too large is not sent; its size is.
        let statement = format!(
            "select case when octet_length(row) <= {MAX_ROW_BYTES} then row end \
             from (select to_jsonb(found)::text as row from ({}\n) as found) as rows",
            config.query
        );
        let none: [&str; 0] = [];
        let found = transaction.query_raw(&statement, none).await.map_err(|error| error_text(&error))?;
        pin_mut!(found);
        let mut rows = QueryResult::default();
        while let Some(row) = found.next().await {
            let row: Option<String> = row.and_then(|row| row.try_get(0)).map_err(|error| error_text(&error))?;
            let Some(row) = row else {
                return Err(format!("a row has more than {MAX_ROW_BYTES} bytes; select fewer or shorter columns"));
            };
            let row = serde_json::from_str(&row).map_err(|error| error.to_string())?;
            rows.add_row(row, config.max_targets)?;
        }
        Ok(rows)
    };
    pin_mut!(work, connection);
    tokio::select! {
        rows = &mut work => rows,
        ended = &mut connection => match ended {
            Err(error) => Err(error_text(&error)),
            // Rows that arrived before the connection closed can still be read.
            Ok(()) => work.await,
        },
    }
}

/// Whether a database host is this machine, which needs no TLS.
fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// The text of an error. The server's messages are about the query and never contain the password.
fn error_text(error: &tokio_postgres::Error) -> String {
    let server_text = |error: &DbError| format!("{} ({})", sanitize(error.message()), error.code().code());
    error.as_db_error().map_or_else(|| error.to_string(), server_text)
}

/// The text of an error, without the statement, which may have secrets or data of customers.
fn sqlite_error_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => sanitize(msg).into_owned(),
        other => other.to_string(),
    }
}

/// Queries an `SQLite` file on a blocking thread; interrupts the query after its time-out.
async fn query_sqlite(
    path: PathBuf,
    config: &config::SqlSourceSettings,
    permit: OwnedSemaphorePermit,
) -> Result<QueryResult, String> {
    let config::SqlSourceSettings { timeout: limit, max_targets, .. } = *config;
    let query = config.query.clone();
    let (handle, interrupt) = tokio::sync::oneshot::channel();
    let work = tokio::task::spawn_blocking(move || {
        let _running = permit;
        // A pipe would wait for a writer.
        files::open(&path).map_err(|error| format!("cannot open the database file: {}", error.kind()))?;
        let connection = open_read_only(&path, limit)?;
        let _ = handle.send(connection.get_interrupt_handle());
        select_rows(&connection, &query, max_targets)
    });
    tokio::pin!(work);
    let rows = tokio::select! {
        rows = &mut work => rows,
        () = sleep(limit) => match interrupt.await {
            Ok(interrupt) => loop {
                // Repeated, because a query that has not started yet cannot be interrupted.
                interrupt.interrupt();
                tokio::select! {
                    rows = &mut work => break rows,
                    () = sleep(INTERRUPT_INTERVAL) => {}
                }
            },
            Err(_) => work.await,
        },
    };
    rows.map_err(|error| error.to_string())?.map_err(|error| match error.as_str() {
        "interrupted" => "the query did not finish within `timeout`".to_owned(),
        _ => error,
    })
}

fn open_read_only(path: &Path, limit: Duration) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Omits the path, which is part of a secret.
    let code_text = |error: rusqlite::Error| error.sqlite_error().map_or_else(String::new, |code| format!(": {code}"));
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| format!("cannot open the database file{}", code_text(error)))?;
    connection.busy_timeout(limit).map_err(|error| error.to_string())?;
    // Of a value, a row and the statement: SQLite itself must not build what would be refused here.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_SQLITE_BYTES).map_err(|error| error.to_string())?;
    Ok(connection)
}

fn select_rows(connection: &Connection, query: &str, max_targets: usize) -> Result<QueryResult, String> {
    // As a subquery it can only be one SELECT statement, which cannot write.
    let statement = format!("select * from ({query}\n)");
    let mut statement = connection.prepare(&statement).map_err(|error| sqlite_error_text(&error))?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([]).map_err(|error| sqlite_error_text(&error))?;
    let mut rows = QueryResult::default();
    while let Some(row) = found.next().map_err(|error| sqlite_error_text(&error))? {
        let mut object = Map::new();
        for (n, name) in names.iter().enumerate() {
            let value = match row.get_ref(n).map_err(|error| error.to_string())? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) if text.len() > MAX_LABEL_BYTES => return Err(too_long(name, text.len())),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
                ValueRef::Blob(_) => return Err(format!("column {} is binary; cast it to text", sanitize(name))),
            };
            object.insert(name.clone(), value);
        }
        rows.add_row(object, max_targets)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_query(sql: &str, query: &str) -> Result<QueryResult, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        select_rows(&open_read_only(&path, Duration::from_secs(1))?, query, 2)
    }

    #[test]
    fn columns_are_id_submit_time_and_labels() {
        let sql = "create table jobs (task_id, submit_time, team, big integer, gone);
            insert into jobs values ('t1', 1700000000, 'a', 9007199254740993, null), (17, '2026-01-02T03:04:05Z', null, 1, null), ('bad\nid', '9999-12-31', '', 1, null),
            (null, 1, 'not submitted yet', 1, null);";
        let rows = run_query(sql, "select * from jobs -- all of them").unwrap();
        let labels =
            |n: usize| rows.tasks[n].labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!((rows.tasks.len(), rows.invalid_ids.count, rows.invalid_times), (2, 1, 1));
        assert_eq!(
            (rows.tasks[0].id.as_str(), labels(0)),
            ("t1", vec!["big=9007199254740993".to_owned(), "team=a".to_owned()])
        );
        assert_eq!((rows.tasks[1].id.as_str(), labels(1)), ("17", vec!["big=1".to_owned()]));
        let submit = |n: usize| rows.tasks[n].submit.map(crate::domain::Timestamp::as_millis);
        assert_eq!((submit(0), submit(1)), (Some(1_700_000_000_000), Some(1_767_323_045_000)));
    }

    #[test]
    fn invalid_queries_say_why() {
        let sql = "create table jobs (task_id, \"a b\"); insert into jobs values ('t', 1)";
        for (query, why) in [
            ("delete from jobs", "near \"delete\""),
            ("select 1; drop table jobs", "near \";\""),
            ("select 1) ; drop table jobs; select * from (select 1", "Multiple statements"),
            ("select 1 as id", "no column task_id"),
            ("select * from jobs", "not a label name"),
            ("select task_id, x'00' as b from jobs", "column b is binary"),
            ("select * from nobody", "no such table"),
            ("select value as task_id from json_each('[1, 2, 3]')", "more than 2 task ids; the last list is kept"),
            (
                "select 't' as task_id, printf('%5000s', '') as team",
                "column team has a value of 5000 bytes, more than 4096; shorten it in the query",
            ),
            ("select task_id from jobs where team = 'S3CRET'", "no such column: team"),
        ] {
            let error_text = run_query(sql, query).err().unwrap_or_else(|| "nothing".to_owned());
            assert!(error_text.contains(why), "{query}: {error_text}");
            assert!(!error_text.contains("S3CRET") && !error_text.contains("from ("), "{query}: {error_text}");
        }
    }

    #[test]
    fn only_this_machine_needs_no_tls() {
        let is_ours = |url: &str| {
            let options: tokio_postgres::Config = url.parse().unwrap();
            options.get_hosts().iter().all(is_this_machine)
        };
        assert!(is_ours("postgres://u@localhost,127.0.0.1,[::1]/d") && is_ours("postgres://u@%2Frun%2Fpostgresql/d"));
        assert!(!is_ours("postgres://u@db/d") && !is_ours("postgres://u@localhost,192.0.2.1/d"));
    }
}
