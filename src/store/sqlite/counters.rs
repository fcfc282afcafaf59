//! The tables of counters: label sets, their numbers, and tasks by source.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::statement::{UPSTREAM, execute, upstream_id};
use crate::counters::{CounterSnapshot, Part, SourceCounters, StateKey, ZeroHold, state_increments};
use crate::domain::counter::{CounterKind, MAX_COUNT};
use crate::domain::label_set::AggregateLabels;
use crate::domain::{CounterKey, Increment, LabelSet, Timestamp};
use crate::store::command::UpstreamKey;

/// What the transitions of one transaction add, summed up before it is written.
#[derive(Default)]
pub struct CounterBatch {
    added: BTreeMap<LabelSet, (ZeroHold, BTreeMap<StateKey, u64>)>,
    /// The holds of late series that may be new.
    late: BTreeMap<LabelSet, BTreeMap<CounterKey, ZeroHold>>,
}

impl CounterBatch {
    /// Adds increments to a label set, which is created if it is new.
    pub fn add(&mut self, label_set: LabelSet, hold: ZeroHold, increments: &[Increment]) {
        for (series, _) in increments.iter().filter(|(series, _)| series.counter.is_late()) {
            self.late.entry(label_set.clone()).or_default().entry(*series).or_insert(hold);
        }
        let (_, numbers) = self.added.entry(label_set).or_insert_with(|| (hold, BTreeMap::new()));
        for (key, more) in increments.iter().copied().flat_map(state_increments) {
            let number: &mut u64 = numbers.entry(key).or_default();
            *number = number.saturating_add(more).min(MAX_COUNT);
        }
    }

    /// Writes the sums.
    pub fn write(self, db: &Connection) -> rusqlite::Result<()> {
        for (label_set, (hold, numbers)) in &self.added {
            let id = label_set_id(db, label_set, *hold)?;
            for (series, hold) in self.late.get(label_set).into_iter().flatten() {
                create_late_series(db, id, *series, *hold)?;
            }
            for (key, more) in numbers {
                let more = i64::try_from(*more).unwrap_or(i64::MAX);
                // Beyond its largest integer SQLite would continue with a rounded number.
                execute(
                    db,
                    "insert into counters values (?1, ?2, ?3) on conflict do update \
                     set value = min(value, 9223372036854775807 - ?3) + ?3",
                    params![id, key.to_string(), more],
                )?;
            }
        }
        Ok(())
    }
}

/// Stores the hold of a late series, unless it was counted before: an earlier version may have exported it then.
fn create_late_series(db: &Connection, id: i64, series: CounterKey, hold: ZeroHold) -> rusqlite::Result<()> {
    let key = |part| StateKey { series, part }.to_string();
    let counted = match series.counter.spec().kind {
        CounterKind::Counter => Part::Count,
        CounterKind::Histogram(_) => Part::Sum,
    };
    let created = (Part::Created, hold.created.as_millis());
    for (part, value) in [created].into_iter().chain(hold.released.then_some((Part::Released, 1))) {
        execute(
            db,
            "insert into counters select ?1, ?2, ?3 \
             where not exists (select 1 from counters where (aggregate, cell) = (?1, ?4))",
            params![id, key(part), value, key(counted)],
        )?;
    }
    Ok(())
}

/// The row of a label set, created if it is new.
fn label_set_id(db: &Connection, label_set: &LabelSet, hold: ZeroHold) -> rusqlite::Result<i64> {
    let upstream = upstream_id(db, &label_set.upstream)?;
    let labels = labels_text(&label_set.labels);
    let (created, released) = (hold.created.as_millis(), hold.released);
    execute(
        db,
        "insert into aggregates (upstream, provider, model, labels, created, shown, used) values (?1, ?2, ?3, ?4, ?5, ?6, ?5) \
         on conflict do nothing",
        params![upstream, label_set.provider, label_set.model, labels, created, released],
    )?;
    db.prepare_cached("select id from aggregates where (upstream, provider, model, labels) = (?1, ?2, ?3, ?4)")?
        .query_row(params![upstream, label_set.provider, label_set.model, labels], |row| row.get(0))
}

/// The values of these label sets are exported from now on.
pub fn release(db: &Connection, label_sets: &[LabelSet], now: Timestamp) -> rusqlite::Result<()> {
    for label_set in label_sets {
        let id = label_set_id(db, label_set, ZeroHold { created: now, released: true })?;
        execute(db, "update aggregates set shown = 1 where id = ?1", [id])?;
    }
    Ok(())
}

/// The values of these late series are exported from now on.
pub fn release_series(db: &Connection, series: &[(LabelSet, CounterKey)], now: Timestamp) -> rusqlite::Result<()> {
    for (label_set, series) in series {
        let id = label_set_id(db, label_set, ZeroHold { created: now, released: false })?;
        let key = StateKey { series: *series, part: Part::Released }.to_string();
        execute(db, "insert into counters values (?1, ?2, 1) on conflict do nothing", params![id, key])?;
    }
    Ok(())
}

/// The counts of these sources are exported from now on.
pub fn release_sources(db: &Connection, upstream: &str, sources: &[String], now: Timestamp) -> rusqlite::Result<()> {
    for source in sources {
        let upstream = upstream_id(db, upstream)?;
        let sql = "insert into sources values (?1, ?2, ?3, 1, 0) on conflict do update set shown = 1";
        execute(db, sql, params![upstream, source, now.as_millis()])?;
    }
    Ok(())
}

/// A source discovered so many tasks first.
pub fn discovered(db: &Connection, upstream: &str, source: &str, tasks: usize, hold: ZeroHold) -> rusqlite::Result<()> {
    let upstream = upstream_id(db, upstream)?;
    let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
    let sql = "insert into sources values (?1, ?2, ?3, ?4, ?5) on conflict do update set tasks = tasks + ?5";
    execute(db, sql, params![upstream, source, hold.created.as_millis(), hold.released, tasks]).map(drop)
}

/// Tracked tasks have these label sets now.
pub fn mark_used(db: &Connection, label_sets: &[LabelSet], now: Timestamp) -> rusqlite::Result<()> {
    for label_set in label_sets {
        let id = label_set_id(db, label_set, ZeroHold { created: now, released: false })?;
        execute(db, "update aggregates set used = ?2 where id = ?1", [id, now.as_millis()])?;
    }
    Ok(())
}

/// Drops label sets that no task has had since then.
pub fn drop_unused(db: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    execute(db, "delete from aggregates where used <= ?1", [before.as_millis()]).map(drop)
}

/// The label sets of an upstream and its provider that have exactly these aggregate labels, with their numbers.
pub fn snapshots(
    db: &Connection,
    (upstream, provider): &UpstreamKey,
    labels: &[Arc<str>],
) -> rusqlite::Result<Vec<CounterSnapshot>> {
    let sql = format!(
        "select id, model, labels, created, shown, used from aggregates where upstream = {UPSTREAM} and provider = ?2"
    );
    let mut sets = db.prepare(&sql)?;
    let mut numbers = db.prepare("select cell, value from counters where aggregate = ?1")?;
    let mut rows = sets.query(params![upstream, provider])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        // Other rows have labels that are not configured.
        let Some(labels) = labels_of(&row.get::<_, String>(2)?, labels) else { continue };
        let model = row.get::<_, String>(1)?.into();
        let label_set = LabelSet { upstream: upstream.clone(), provider, model, labels };
        let zero_hold = ZeroHold { created: Timestamp::from_millis(row.get(3)?), released: row.get(4)? };
        let number = |row: &Row<'_>| {
            let (key, value): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok(StateKey::parse(&key).zip(u64::try_from(value).ok()))
        };
        let numbers: Vec<_> = numbers.query_map([row.get::<_, i64>(0)?], number)?.collect::<rusqlite::Result<_>>()?;
        let used = Timestamp::from_millis(row.get(5)?);
        found.push(CounterSnapshot { label_set, zero_hold, used, numbers: numbers.into_iter().flatten().collect() });
    }
    Ok(found)
}

/// Tasks by source, of an upstream.
pub fn sources(db: &Connection, upstream: &str) -> rusqlite::Result<Vec<SourceCounters>> {
    let sql = format!("select source, created, shown, tasks from sources where upstream = {UPSTREAM}");
    let source = |row: &Row<'_>| {
        Ok(SourceCounters {
            source: row.get(0)?,
            zero_hold: ZeroHold { created: Timestamp::from_millis(row.get(1)?), released: row.get(2)? },
            tasks: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        })
    };
    db.prepare(&sql)?.query_map([upstream], source)?.collect()
}

/// Labels as a JSON object, so that they can be queried in SQL.
fn labels_text(labels: &AggregateLabels) -> String {
    let labels: BTreeMap<&str, &str> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    serde_json::to_string(&labels).expect("an object of texts is valid JSON")
}

fn labels_of(text: &str, names: &[Arc<str>]) -> Option<AggregateLabels> {
    let labels: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    if labels.len() != names.len() {
        return None;
    }
    names.iter().map(|name| Some((name.clone(), labels.get(&**name)?.as_str().into()))).collect()
}
