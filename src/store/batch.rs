//! One transaction's statements. What many transitions add to the same counters is added up first and written once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::record::{self, Columns};
use crate::domain::cell::CELL_MAX;
use crate::domain::tally::SourceTally;
use crate::domain::task::{Agg, AggregateLabels};
use crate::domain::{Birth, Cell, Increment, Tally, Task, TaskId, Texts, Timestamp, Transition};
use crate::provider;

/// The transaction, or no transaction for what only reads.
pub struct Batch<'a> {
    pub(super) db: &'a Connection,
    added: BTreeMap<Agg, (Birth, BTreeMap<Cell, u64>)>,
}

/// An id of the ledger, after which its next page begins; the default is before all of them.
pub type Cursor = (i64, String);

/// What the state has of a task that a source names.
pub enum Named {
    /// Nothing until now.
    New,
    /// Its row: it is still to be watched.
    There(Arc<Task>),
    /// That it was there and has ended.
    Past,
}

/// An id of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// The id.
    pub id: String,
    /// When a source named it, for all that the state knows.
    pub named: Timestamp,
    /// Its task is active, or ended a short while ago.
    pub is_watched: bool,
}

/// Some ids of one page of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerPage {
    /// The ids.
    pub ids: Vec<Seen>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// An upstream and its dialect.
pub type UpstreamKey = (Arc<str>, &'static str);

/// The upstream of the first parameter.
pub(super) const UPSTREAM: &str = "(select id from upstreams where name = ?1)";

impl<'a> Batch<'a> {
    /// Nothing in it yet.
    pub fn new(db: &'a Connection) -> Self {
        Self { db, added: BTreeMap::new() }
    }

    pub(super) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<bool> {
        Ok(self.db.prepare_cached(sql)?.execute(params)? > 0)
    }

    /// Writes what was added to counters, and that the state lives.
    pub fn finish(self, now: Timestamp) -> rusqlite::Result<()> {
        for (agg, (birth, cells)) in &self.added {
            let id = self.aggregate(agg, *birth)?;
            for (cell, more) in cells {
                let more = i64::try_from(*more).unwrap_or(i64::MAX);
                // Beyond its largest integer SQLite would go on with a rounded number.
                self.execute(
                    "insert into counters values (?1, ?2, ?3) on conflict do update \
                     set value = min(value, 9223372036854775807 - ?3) + ?3",
                    params![id, cell.to_string(), more],
                )?;
            }
        }
        self.execute("insert into meta values ('alive', ?1) on conflict do update set value = ?1", [now.as_millis()])?;
        Ok(())
    }

    /// The row of a label set, which is born if it is new.
    fn aggregate(&self, agg: &Agg, birth: Birth) -> rusqlite::Result<i64> {
        let upstream = self.upstream(&agg.upstream)?;
        let labels = labels_text(&agg.labels);
        let (created, shown) = (birth.created.as_millis(), birth.shown);
        self.execute(
            "insert into aggregates (upstream, provider, model, labels, created, shown, used) values (?1, ?2, ?3, ?4, ?5, ?6, ?5) \
             on conflict do nothing",
            params![upstream, agg.provider, agg.model, labels, created, shown],
        )?;
        self.db
            .prepare_cached("select id from aggregates where (upstream, provider, model, labels) = (?1, ?2, ?3, ?4)")?
            .query_row(params![upstream, agg.provider, agg.model, labels], |row| row.get(0))
    }

    fn upstream(&self, name: &str) -> rusqlite::Result<i64> {
        let find = || {
            let mut known = self.db.prepare_cached("select id from upstreams where name = ?1")?;
            known.query_row([name], |row| row.get(0)).optional()
        };
        if let Some(id) = find()? {
            return Ok(id);
        }
        self.execute("insert into upstreams (name) values (?1)", [name])?;
        Ok(self.db.last_insert_rowid())
    }

    /// A label set comes into being, if it has not yet.
    pub fn born(&mut self, agg: Agg, birth: Birth) {
        self.count(agg, birth, &[]);
    }

    fn count(&mut self, agg: Agg, birth: Birth, increments: &[Increment]) {
        let (_, cells) = self.added.entry(agg).or_insert_with(|| (birth, BTreeMap::new()));
        for (cell, more) in increments.iter().copied().flat_map(Cell::of) {
            let value: &mut u64 = cells.entry(cell).or_default();
            *value = value.saturating_add(more).min(CELL_MAX);
        }
    }

    /// Writes a task's row as it is after a transition and counts the increments, if the row is as it was before; else it
    /// counts nothing and gives back false.
    pub fn moved(&mut self, transition: &Transition, birth: Birth) -> rusqlite::Result<bool> {
        let task = &transition.task;
        let written = self.write(task, task.revision.wrapping_sub(1))?;
        if written {
            self.note_step(task, transition.at)?;
            self.count(task.agg(), birth, &transition.increments);
        }
        Ok(written)
    }

    /// Writes a task's row, if its revision is `before`.
    pub fn write(&self, task: &Task, before: u32) -> rusqlite::Result<bool> {
        self.execute(
            &format!(
                "update tasks set revision = ?3, ended = ?4, record = ?5 \
                 where upstream = {UPSTREAM} and task_id = ?2 and revision = ?6"
            ),
            params![
                task.home.upstream,
                task.id.as_str(),
                task.revision,
                task.ended_seen.map(Timestamp::as_millis),
                record::write(task),
                before
            ],
        )
    }

    /// A source names a task that is not tracked: it is new, and has its row now; or its row was there, which is given back
    /// if the task is to be tracked; or it is nobody's any more. One that was dropped is to be tracked only if it is asked for.
    pub fn named(&mut self, task: &Task, asked_for: bool, birth: Birth, now: Timestamp) -> rusqlite::Result<Named> {
        let upstream = self.upstream(&task.home.upstream)?;
        let (id, named) = (task.id.as_str(), now.as_millis());
        if self
            .execute("insert into ledger values (?1, ?2, ?3) on conflict do nothing", params![upstream, id, named])?
        {
            self.execute(
                "insert into tasks values (?1, ?2, ?3, null, ?4)",
                params![upstream, id, task.revision, record::write(task)],
            )?;
            self.note_step(task, now)?;
            self.born(task.agg(), birth);
            return Ok(Named::New);
        }
        self.touch(&task.home.upstream, id, now)?;
        let row = self
            .task(&(task.home.upstream.clone(), task.home.provider), &task.id)?
            .filter(|task| asked_for || !task.dropped);
        let task = row.map(|task| self.take_up_again(task)).transpose()?.flatten();
        Ok(task.map_or(Named::Past, Named::There))
    }

    /// At this moment a source names, or has just ceased to name, a task.
    pub fn touch(&self, upstream: &str, id: &str, now: Timestamp) -> rusqlite::Result<bool> {
        let sql = format!("update ledger set named = ?3 where upstream = {UPSTREAM} and task_id = ?2");
        self.execute(&sql, params![upstream, id, now.as_millis()])
    }

    /// A source brought this many tasks first.
    pub fn discovered(&self, upstream: &str, source: &str, tasks: usize, birth: Birth) -> rusqlite::Result<bool> {
        let upstream = self.upstream(upstream)?;
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        self.execute(
            "insert into sources values (?1, ?2, ?3, ?4, ?5) on conflict do update set tasks = tasks + ?5",
            params![upstream, source, birth.created.as_millis(), birth.shown, tasks],
        )
    }

    /// A source was read well.
    pub fn loaded(&self, upstream: &str, identity: &str) -> rusqlite::Result<bool> {
        let upstream = self.upstream(upstream)?;
        self.execute("insert or ignore into loads values (?1, ?2)", params![upstream, identity])
    }

    /// True when a source was read well before.
    pub fn is_loaded(&self, upstream: &str, identity: &str) -> rusqlite::Result<bool> {
        let sql = format!("select 1 from loads where upstream = {UPSTREAM} and identity = ?2");
        self.db.prepare_cached(&sql)?.exists(params![upstream, identity])
    }

    /// The values of a label set may be shown from now on.
    pub fn shown(&self, agg: &Agg, birth: Birth) -> rusqlite::Result<bool> {
        let id = self.aggregate(agg, birth)?;
        self.execute("update aggregates set shown = 1 where id = ?1", [id])
    }

    /// The same for the counter of a source, which has its row from now on.
    pub fn source_shown(&self, upstream: &str, source: &str, now: Timestamp) -> rusqlite::Result<bool> {
        let upstream = self.upstream(upstream)?;
        let sql = "insert into sources values (?1, ?2, ?3, 1, 0) on conflict do update set shown = 1";
        self.execute(sql, params![upstream, source, now.as_millis()])
    }

    /// A tracked task has this label set.
    pub fn used(&self, agg: &Agg, birth: Birth) -> rusqlite::Result<bool> {
        let id = self.aggregate(agg, birth)?;
        self.execute("update aggregates set used = ?2 where id = ?1", [id, birth.created.as_millis()])
    }

    /// Drops label sets that no task has had since then, of this configuration or an earlier one.
    pub fn drop_unused(&self, before: Timestamp) -> rusqlite::Result<bool> {
        self.execute("delete from aggregates where used <= ?1", [before.as_millis()])
    }

    /// Drops the rows of tasks whose end was read before then; the ledger still knows them.
    pub fn retire(&self, ended_before: Timestamp) -> rusqlite::Result<bool> {
        self.execute("delete from tasks where ended <= ?1", [ended_before.as_millis()])
    }

    /// Of the next `limit` ids after `after`, those that were last known to be named at or before `before`.
    pub fn ledger(&self, before: Timestamp, after: &Cursor, limit: usize) -> rusqlite::Result<LedgerPage> {
        let mut page = self.db.prepare_cached(
            "select l.upstream, l.task_id, l.named, u.name, t.task_id is not null from ledger l \
             join upstreams u on u.id = l.upstream left join tasks t on t.upstream = l.upstream and t.task_id = l.task_id \
             where (l.upstream, l.task_id) > (?1, ?2) order by l.upstream, l.task_id limit ?3",
        )?;
        let mut rows = page.query(params![after.0, after.1, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let (mut ids, mut last, mut seen) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            last = Some((row.get(0)?, row.get(1)?));
            let named = Timestamp::from_millis(row.get(2)?);
            if named <= before {
                let upstream: String = row.get(3)?;
                ids.push(Seen { upstream: upstream.into(), id: row.get(1)?, named, is_watched: row.get(4)? });
            }
        }
        Ok(LedgerPage { ids, next: last.filter(|_| seen == limit) })
    }

    /// Forgets an id, unless a source has named it since `before`.
    pub fn forget(&self, upstream: &str, id: &str, before: Timestamp) -> rusqlite::Result<bool> {
        let sql = format!("delete from ledger where upstream = {UPSTREAM} and task_id = ?2 and named <= ?3");
        let gone = self.execute(&sql, params![upstream, id, before.as_millis()])?;
        if gone {
            let sql = format!("delete from tasks where upstream = {UPSTREAM} and task_id = ?2");
            self.execute(&sql, params![upstream, id])?;
        }
        Ok(gone)
    }

    /// The row of a task.
    pub fn task(&self, key: &UpstreamKey, id: &TaskId) -> rusqlite::Result<Option<Task>> {
        let sql =
            format!("select task_id, revision, ended, record from tasks where upstream = {UPSTREAM} and task_id = ?2");
        self.db.prepare_cached(&sql)?.query_row(params![key.0, id.as_str()], |row| task_of(row, key)).optional()
    }

    /// All rows of an upstream's tasks.
    pub fn tasks(&self, key: &UpstreamKey) -> rusqlite::Result<Vec<Arc<Task>>> {
        let sql = format!("select task_id, revision, ended, record from tasks where upstream = {UPSTREAM}");
        let mut texts = Texts::default();
        let mut read = |row: &Row<'_>| {
            let mut task = task_of(row, key)?;
            texts.share(&mut task);
            Ok((!task.dropped).then(|| Arc::new(task)))
        };
        self.db.prepare(&sql)?.query_map([&key.0], |row| read(row))?.filter_map(Result::transpose).collect()
    }

    /// What was counted under an upstream's label sets that carry exactly these labels.
    pub fn tallies(&self, upstream: &Arc<str>, labels: &[Arc<str>]) -> rusqlite::Result<Vec<Tally>> {
        let sql = format!(
            "select id, provider, model, labels, created, shown, used from aggregates where upstream = {UPSTREAM}"
        );
        let mut sets = self.db.prepare(&sql)?;
        let mut cells = self.db.prepare("select cell, value from counters where aggregate = ?1")?;
        let mut rows = sets.query([upstream])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            // A dialect that this program does not have, or labels that the page does not show now.
            let Some(provider) = provider::named(&row.get::<_, String>(1)?) else { continue };
            let Some(labels) = labels_of(&row.get::<_, String>(3)?, labels) else { continue };
            let agg = Agg {
                upstream: upstream.clone(),
                provider: provider.name,
                model: row.get::<_, String>(2)?.into(),
                labels,
            };
            let birth = Birth { created: Timestamp::from_millis(row.get(4)?), shown: row.get(5)? };
            let cell = |row: &Row<'_>| {
                let (cell, value): (String, i64) = (row.get(0)?, row.get(1)?);
                Ok(Cell::parse(&cell).zip(u64::try_from(value).ok()))
            };
            let cells: Vec<_> = cells.query_map([row.get::<_, i64>(0)?], cell)?.collect::<rusqlite::Result<_>>()?;
            let used = Timestamp::from_millis(row.get(6)?);
            found.push(Tally { agg, birth, used, cells: cells.into_iter().flatten().collect() });
        }
        Ok(found)
    }

    /// What an upstream's sources brought.
    pub fn source_tallies(&self, upstream: &Arc<str>) -> rusqlite::Result<Vec<SourceTally>> {
        let sql = format!("select source, created, shown, tasks from sources where upstream = {UPSTREAM}");
        let tally = |row: &Row<'_>| {
            Ok(SourceTally {
                upstream: upstream.clone(),
                source: row.get(0)?,
                birth: Birth { created: Timestamp::from_millis(row.get(1)?), shown: row.get(2)? },
                tasks: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
            })
        };
        self.db.prepare(&sql)?.query_map([upstream], tally)?.collect()
    }
}

fn task_of(row: &Row<'_>, (upstream, provider): &UpstreamKey) -> rusqlite::Result<Task> {
    let columns = Columns {
        upstream: upstream.clone(),
        provider,
        task_id: row.get(0)?,
        revision: row.get(1)?,
        ended: row.get(2)?,
    };
    let named = format!("the row of task {:?}", columns.task_id);
    let text: String = row.get(3)?;
    record::read(columns, &text)
        .map_err(|why| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, format!("{named}: {why}").into()))
}

/// Labels as a JSON object, so that they can be asked for in SQL.
fn labels_text(labels: &AggregateLabels) -> String {
    let labels: BTreeMap<&str, &str> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    serde_json::to_string(&labels).expect("texts only")
}

fn labels_of(text: &str, names: &[Arc<str>]) -> Option<AggregateLabels> {
    let labels: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    if labels.len() != names.len() {
        return None;
    }
    names.iter().map(|name| Some((name.clone(), labels.get(&**name)?.as_str().into()))).collect()
}
