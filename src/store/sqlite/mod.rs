//! The SQLite engine: executes commands.

mod backup;
mod costs;
mod counters;
mod known_ids;
mod models;
mod open;
mod statement;
mod tasks;
mod volume;

use rusqlite::{Connection, TransactionBehavior, params};

use super::command::{Command, Discovery, Loaded, Output, UpstreamKey};
use super::error::StoreError;
use super::event::Event;
use crate::clock::{Clock, Jump, SavedClock};
use crate::domain::Transition;
use counters::CounterBatch;
use statement::execute;
use tasks::AddOutcome;
use volume::Volume;

pub use backup::backup;
pub use models::counted_models;
pub use open::{Opened, open};

/// Key of the wall clock at the last write.
const ALIVE: &str = "alive";

/// Key of the steady clock at the last write.
const STEADY: &str = "steady";

/// The keys of upstreams' clocks begin with this.
const SKEW: &str = "skew/";

/// An open database.
pub struct Engine {
    connection: Connection,
    clock: Clock,
    /// Where the files are; `None` in memory.
    volume: Option<Volume>,
    /// Of the skews that were written last.
    skews: u64,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Engine {
    /// With an open connection.
    const fn new(connection: Connection, clock: Clock, volume: Option<Volume>) -> Self {
        Self { connection, clock, volume, skews: 0 }
    }

    /// Size of the files at the last transaction, in bytes; `None` in memory.
    pub fn bytes(&self) -> Option<u64> {
        self.volume.as_ref().map(Volume::bytes)
    }

    /// Executes commands that write, in one transaction: all of them or none.
    pub fn commit<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a Command>,
        watch: &dyn Fn(Event),
    ) -> Result<Vec<Output>, StoreError> {
        if let Some(volume) = &mut self.volume {
            volume.check()?;
            volume.make_room(&self.connection);
        }
        let outcome = self.write(commands, watch);
        if outcome.is_err() {
            // The disk may be full of the write-ahead log, which this empties.
            let _ = self.connection.execute_batch("pragma wal_checkpoint(truncate)");
        }
        outcome
    }

    fn write<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a Command>,
        watch: &dyn Fn(Event),
    ) -> Result<Vec<Output>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        watch(Event::Begun);
        let mut counters = CounterBatch::default();
        let outputs = commands.map(|command| write(&transaction, &mut counters, command)).collect::<Result<_, _>>()?;
        counters.write(&transaction)?;
        let mut skews = self.skews;
        write_clock(&transaction, self.clock.save(&mut skews))?;
        watch(Event::Written);
        transaction.commit()?;
        self.skews = skews;
        Ok(outputs)
    }

    /// Executes a command that only reads.
    pub fn read(&self, command: &Command) -> Result<Output, StoreError> {
        let db = &self.connection;
        Ok(match command {
            Command::Load(key, labels) => Output::Loaded(load(db, key, labels)?),
            Command::LoadCounters(key, labels) => Output::Counters(counters::snapshots(db, key, labels)?),
            Command::LoadOtherSpending(upstreams) => Output::Spending(costs::other_spending(db, upstreams)?),
            Command::Timeline(upstream, id) => Output::Timeline(tasks::timeline(db, upstream, id)?),
            Command::KnownIds { named_before, after, limit } => {
                Output::KnownIds(known_ids::page(db, *named_before, after, *limit)?)
            }
            _ => return Err(StoreError::Unavailable("this command writes".to_owned())),
        })
    }
}

fn write_clock(db: &Connection, saved: SavedClock) -> rusqlite::Result<()> {
    let times = [(ALIVE, saved.wall), (STEADY, saved.steady)];
    let times = times.into_iter().filter_map(|(key, time)| Some((key.to_owned(), time?.as_millis())));
    let skews = saved.skews.into_iter().map(|(upstream, skew)| (format!("{SKEW}{upstream}"), skew));
    for (key, value) in times.chain(skews) {
        set_meta(db, &key, value)?;
    }
    Ok(())
}

fn set_meta(db: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    let sql = "insert into meta values (?1, ?2) on conflict do update set value = ?2";
    execute(db, sql, params![key, value])?;
    Ok(())
}

/// The keys of an upstream's health begin with this.
fn health_prefix(upstream: &str) -> String {
    format!("health/{upstream}/")
}

fn health(db: &Connection, upstream: &str) -> rusqlite::Result<Vec<(String, i64)>> {
    let prefix = health_prefix(upstream);
    let sql = "select substr(key, length(?1) + 1), value from meta where substr(key, 1, length(?1)) = ?1";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Puts times forward that were recorded before the clock was put forward.
fn put_forward(db: &Connection, jump: Jump) -> rusqlite::Result<()> {
    let (since, until) = (jump.since.as_millis(), jump.until.as_millis());
    for sql in [
        "update ledger set named = named + ?3 where named between ?1 and ?2",
        "update aggregates set used = used + ?3 where used between ?1 and ?2",
        "update tasks set ended = ended + ?3 where ended between ?1 and ?2",
        "update latencies set at = at + ?3 where at between ?1 and ?2",
        "update tasks set record = json_set(record, '$.first_seen', json_extract(record, '$.first_seen') + ?3) \
         where case when json_valid(record) then json_extract(record, '$.first_seen') end between ?1 and ?2",
    ] {
        execute(db, sql, [since, until, jump.by])?;
    }
    Ok(())
}

fn load(db: &Connection, key: &UpstreamKey, labels: &[std::sync::Arc<str>]) -> rusqlite::Result<Loaded> {
    let (tasks, skipped) = tasks::all(db, key)?;
    Ok(Loaded {
        tasks,
        counters: counters::snapshots(db, key, labels)?,
        sources: counters::sources(db, &key.0)?,
        loaded_sources: known_ids::loaded_sources(db, &key.0)?,
        spending: costs::spending(db, &key.0)?,
        samples: costs::samples(db, key)?,
        health: health(db, &key.0)?,
        skipped,
    })
}

fn write(db: &Connection, counters: &mut CounterBatch, command: &Command) -> rusqlite::Result<Output> {
    match command {
        Command::Add(discovery) => return add(db, counters, discovery),
        Command::Commit(transitions, zero_hold) => {
            let mut stale = Vec::new();
            for (position, transition) in transitions.iter().enumerate() {
                let Transition { task, increments, at, sample, spent, .. } = transition;
                if tasks::update(db, task, task.revision.wrapping_sub(1))? {
                    tasks::add_step(db, task, *at)?;
                    counters.add(task.label_set(), *zero_hold, increments);
                    for spent in spent {
                        costs::add_spending(db, &task.origin.upstream, spent, *at)?;
                    }
                    if let Some(sample) = sample {
                        costs::add_sample(db, &task.label_set(), *sample)?;
                    }
                } else {
                    let key = (task.origin.upstream.clone(), task.origin.provider);
                    stale.push((position, tasks::find(db, &key, &task.id)?));
                }
            }
            return Ok(Output::Stale(stale));
        }
        Command::Forget(key, id, now) => return Ok(Output::WasTracked(tasks::forget(db, key, id, *now)?)),
        Command::Save(tasks) => {
            for task in tasks {
                tasks::update(db, task, task.revision)?;
            }
        }
        Command::CreateLabelSets(label_sets, zero_hold, born) => {
            for label_set in label_sets {
                counters.add(label_set.clone(), *zero_hold, born);
            }
        }
        Command::Release { label_sets, series, upstream, sources, now } => {
            counters::release(db, label_sets, *now)?;
            counters::release_series(db, series, *now)?;
            counters::release_sources(db, upstream, sources, *now)?;
        }
        Command::MarkUsed(label_sets, now) => counters::mark_used(db, label_sets, *now)?,
        Command::DropUnused(before) => {
            counters::drop_unused(db, *before)?;
            costs::drop_old(db, *before)?;
        }
        Command::DropEnded { before, lost_before } => tasks::drop_ended(db, *before, *lost_before)?,
        Command::SaveHealth(all) => {
            for (upstream, key, value) in all {
                set_meta(db, &format!("{}{key}", health_prefix(upstream)), *value)?;
            }
        }
        Command::PutForward(jump) => put_forward(db, *jump)?,
        Command::UpdateKnownIds { named, now, forgotten, before } => {
            for known in named {
                known_ids::touch(db, &known.upstream, &known.id, *now)?;
            }
            for known in forgotten {
                known_ids::forget(db, &known.upstream, &known.id, *before)?;
            }
        }
        Command::Load(..)
        | Command::LoadCounters(..)
        | Command::LoadOtherSpending(_)
        | Command::Timeline(..)
        | Command::KnownIds { .. } => {}
    }
    Ok(Output::Done)
}

fn add(db: &Connection, counters: &mut CounterBatch, discovery: &Discovery) -> rusqlite::Result<Output> {
    let Discovery { upstream, source, is_requested, first_load, tasks, tracked, gone, zero_hold, born, now } =
        discovery;
    let (mut new, mut known, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for task in tasks {
        match tasks::add(db, task, *is_requested, *now)? {
            AddOutcome::New => {
                counters.add(task.label_set(), *zero_hold, born);
                new.push(task.clone());
            }
            AddOutcome::Active(task) => known.push(task),
            AddOutcome::Lost(task) => lost.push(task),
            AddOutcome::Untracked => {}
        }
    }
    for id in tracked.iter().chain(gone) {
        known_ids::touch(db, upstream, id.as_str(), *now)?;
    }
    if !new.is_empty() {
        counters::discovered(db, upstream, source, new.len(), *zero_hold)?;
    }
    if let Some(identity) = first_load {
        known_ids::mark_loaded(db, upstream, identity)?;
    }
    Ok(Output::Added { new, known, lost })
}
