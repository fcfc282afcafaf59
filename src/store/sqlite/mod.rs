//! The SQLite engine: executes commands.

mod counters;
mod known_ids;
mod open;
mod statement;
mod tasks;

use rusqlite::{Connection, TransactionBehavior};

use super::command::{Command, Discovery, Loaded, Output, UpstreamKey};
use super::error::StoreError;
use super::event::Event;
use crate::clock;
use crate::domain::Transition;
use counters::CounterBatch;
use statement::execute;
use tasks::AddOutcome;

pub use open::{Opened, open};

/// An open database.
pub struct Engine {
    connection: Connection,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Engine {
    /// Executes commands that write, in one transaction: all of them or none.
    pub fn commit<'a>(
        &mut self,
        commands: impl Iterator<Item = &'a Command>,
        watch: &dyn Fn(Event),
    ) -> Result<Vec<Output>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        watch(Event::Begun);
        let mut counters = CounterBatch::default();
        let outputs = commands.map(|command| write(&transaction, &mut counters, command)).collect::<Result<_, _>>()?;
        counters.write(&transaction)?;
        let alive = "insert into meta values ('alive', ?1) on conflict do update set value = ?1";
        execute(&transaction, alive, [crate::domain::Timestamp::from(clock::now()).as_millis()])?;
        watch(Event::Written);
        transaction.commit()?;
        Ok(outputs)
    }

    /// Executes a command that only reads.
    pub fn read(&self, command: &Command) -> Result<Output, StoreError> {
        let db = &self.connection;
        Ok(match command {
            Command::Load(key, labels) => Output::Loaded(load(db, key, labels)?),
            Command::LoadCounters(key, labels) => Output::Counters(counters::snapshots(db, key, labels)?),
            Command::Timeline(upstream, id) => Output::Timeline(tasks::timeline(db, upstream, id)?),
            Command::KnownIds { named_before, after, limit } => {
                Output::KnownIds(known_ids::page(db, *named_before, after, *limit)?)
            }
            _ => return Err(StoreError::Unavailable("this command writes".to_owned())),
        })
    }
}

fn load(db: &Connection, key: &UpstreamKey, labels: &[std::sync::Arc<str>]) -> rusqlite::Result<Loaded> {
    let (tasks, skipped) = tasks::all(db, key)?;
    Ok(Loaded {
        tasks,
        counters: counters::snapshots(db, key, labels)?,
        sources: counters::sources(db, &key.0)?,
        loaded_sources: known_ids::loaded_sources(db, &key.0)?,
        skipped,
    })
}

fn write(db: &Connection, counters: &mut CounterBatch, command: &Command) -> rusqlite::Result<Output> {
    match command {
        Command::Add(discovery) => return add(db, counters, discovery),
        Command::Commit(transitions, zero_hold) => {
            let mut stale = Vec::new();
            for (position, transition) in transitions.iter().enumerate() {
                let Transition { task, increments, at, .. } = transition;
                if tasks::update(db, task, task.revision.wrapping_sub(1))? {
                    tasks::add_step(db, task, *at)?;
                    counters.add(task.label_set(), *zero_hold, increments);
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
        Command::CreateLabelSets(label_sets, zero_hold) => {
            for label_set in label_sets {
                counters.add(label_set.clone(), *zero_hold, &[]);
            }
        }
        Command::Release { label_sets, series, upstream, sources, now } => {
            counters::release(db, label_sets, *now)?;
            counters::release_series(db, series, *now)?;
            counters::release_sources(db, upstream, sources, *now)?;
        }
        Command::MarkUsed(label_sets, now) => counters::mark_used(db, label_sets, *now)?,
        Command::DropUnusedLabelSets(before) => counters::drop_unused(db, *before)?,
        Command::DropEnded(before) => tasks::drop_ended(db, *before)?,
        Command::UpdateKnownIds { named, now, forgotten, before } => {
            for known in named {
                known_ids::touch(db, &known.upstream, &known.id, *now)?;
            }
            for known in forgotten {
                known_ids::forget(db, &known.upstream, &known.id, *before)?;
            }
        }
        Command::Load(..) | Command::LoadCounters(..) | Command::Timeline(..) | Command::KnownIds { .. } => {}
    }
    Ok(Output::Done)
}

fn add(db: &Connection, counters: &mut CounterBatch, discovery: &Discovery) -> rusqlite::Result<Output> {
    let Discovery { upstream, source, is_requested, first_load, tasks, tracked, gone, zero_hold, now } = discovery;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for task in tasks {
        match tasks::add(db, task, *is_requested, *now)? {
            AddOutcome::New => {
                counters.add(task.label_set(), *zero_hold, &[]);
                new.push(task.clone());
            }
            AddOutcome::Active(task) => known.push(task),
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
    Ok(Output::Added { new, known })
}
