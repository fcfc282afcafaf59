//! The tables of budgets and of latencies.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::statement::{UPSTREAM, execute, upstream_id};
use crate::domain::budget::Spending;
use crate::domain::latency::LatencySample;
use crate::domain::outlook::MAX_SAMPLES;
use crate::domain::pricing::Currency;
use crate::domain::{LabelSet, Timestamp};
use crate::store::command::UpstreamKey;

/// Adds what a task of an upstream has spent.
pub fn add_spending(db: &Connection, upstream: &str, spent: &Spending, now: Timestamp) -> rusqlite::Result<()> {
    let upstream = upstream_id(db, upstream)?;
    let micros = i64::try_from(spent.micros).unwrap_or(i64::MAX);
    // Beyond its largest integer SQLite would continue with a rounded number.
    let sql = "insert into budgets values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do update \
               set spent = min(spent, 9223372036854775807 - ?5) + ?5, updated = ?6";
    let (currency, now) = (spent.currency.code(), now.as_millis());
    execute(db, sql, params![upstream, spent.budget, currency, spent.period, micros, now]).map(drop)
}

/// What was spent by the tasks of an upstream, by budget and period.
pub fn spending(db: &Connection, upstream: &str) -> rusqlite::Result<Vec<Spending>> {
    let sql = format!("select budget, currency, period, spent from budgets where upstream = {UPSTREAM}");
    let found: Vec<_> = db.prepare(&sql)?.query_map([upstream], read_spending)?.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// What was spent by the tasks of all other upstreams than these.
pub fn other_spending(db: &Connection, upstreams: &[Arc<str>]) -> rusqlite::Result<Vec<Spending>> {
    let sql = "select budget, currency, period, spent, name from budgets join upstreams on upstreams.id = upstream";
    let with_name = |row: &Row<'_>| Ok((row.get::<_, String>(4)?, read_spending(row)?));
    let found: Vec<_> = db.prepare(sql)?.query_map([], with_name)?.collect::<rusqlite::Result<_>>()?;
    let is_other = |name: &str| !upstreams.iter().any(|upstream| **upstream == *name);
    Ok(found.into_iter().filter(|(name, _)| is_other(name)).filter_map(|(_, spending)| spending).collect())
}

fn read_spending(row: &Row<'_>) -> rusqlite::Result<Option<Spending>> {
    let currency = Currency::from_code(&row.get::<_, String>(1)?);
    let (budget, period): (String, String) = (row.get(0)?, row.get(2)?);
    let micros = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
    Ok(currency.map(|currency| Spending { budget: budget.into(), currency, period, micros }))
}

/// One of so many new latencies drops the oldest of its model. A prime: models whose tasks end in turns are all met.
const TRIM_EVERY: i64 = 61;

/// Adds the latency of a task; the oldest of its model give way, not at once.
pub fn add_sample(db: &Connection, label_set: &LabelSet, sample: LatencySample) -> rusqlite::Result<()> {
    let upstream = upstream_id(db, &label_set.upstream)?;
    let millis = i64::try_from(sample.millis).unwrap_or(i64::MAX);
    let (provider, model) = (label_set.provider, &label_set.model);
    let sql = "insert into latencies values (?1, ?2, ?3, ?4, ?5)";
    execute(db, sql, params![upstream, provider, model, sample.at.as_millis(), millis])?;
    if db.last_insert_rowid() % TRIM_EVERY != 0 {
        return Ok(());
    }
    let sql = "delete from latencies where rowid in (select rowid from latencies \
               where (upstream, provider, model) = (?1, ?2, ?3) order by at desc limit -1 offset ?4)";
    execute(db, sql, params![upstream, provider, model, i64::try_from(MAX_SAMPLES).unwrap_or(i64::MAX)]).map(drop)
}

/// The latencies of an upstream's last tasks, by model, the oldest first.
pub fn samples(
    db: &Connection,
    (upstream, provider): &UpstreamKey,
) -> rusqlite::Result<Vec<(Arc<str>, LatencySample)>> {
    let sql =
        format!("select model, at, millis from latencies where upstream = {UPSTREAM} and provider = ?2 order by at");
    let sample = |row: &Row<'_>| {
        let millis = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        let model: String = row.get(0)?;
        Ok((model.into(), LatencySample { at: Timestamp::from_millis(row.get(1)?), millis }))
    };
    db.prepare(&sql)?.query_map(params![upstream, provider], sample)?.collect()
}

/// Drops what was last written before then.
pub fn drop_old(db: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    execute(db, "delete from budgets where updated <= ?1", [before.as_millis()])?;
    execute(db, "delete from latencies where at <= ?1", [before.as_millis()]).map(drop)
}
