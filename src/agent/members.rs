//! Which tasks an upstream has: what sources name, what is registered and what is forgotten.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::API_SOURCE;
use super::command::{Discovered, Registration};
use super::pending_changes::{Change, PendingChanges, SettledChange, registrations};
use super::source_registry::{ListingDiff, SourceKey, SourceRegistry};
use super::tracker::Tracker;
use crate::domain::time::Now;
use crate::domain::{NewTask, Status, Task, TaskId};
use crate::metrics::{Operation, RequestOutcome};
use crate::source::{ListRequest, Listing};
use crate::store::{Command, Discovery, Output, StoreError};

/// The sources of an upstream, and changes that are being stored.
#[derive(Default)]
pub struct Members {
    sources: SourceRegistry,
    changes: PendingChanges,
}

impl Members {
    /// Continues with the sources that the state knows.
    pub fn new(loaded_sources: HashSet<String>) -> Self {
        Self { sources: SourceRegistry::new(loaded_sources), changes: PendingChanges::default() }
    }

    /// The sources.
    pub const fn sources(&self) -> &SourceRegistry {
        &self.sources
    }

    /// These are the sources from now on.
    pub fn configure(&mut self, sources: impl IntoIterator<Item = SourceKey>) {
        self.sources.configure(sources);
    }

    /// Waits for the next change that the store has answered; forever when there is none.
    pub async fn next(&mut self) -> SettledChange {
        self.changes.next().await
    }

    /// Whether the store has answered every change.
    pub fn is_settled(&self) -> bool {
        self.changes.is_empty()
    }

    /// A source was read: what has changed is stored.
    pub fn on_discovered(&mut self, tracker: &mut Tracker, discovered: Discovered) {
        let Discovered { source, mut listing, is_retry, reply } = discovered;
        let now = tracker.services.clock.now();
        if !self.sources.has(&source) {
            // The configuration has changed since it was read; nobody waits for the reply.
            return;
        }
        if !is_retry {
            self.sources.reject_ids(&source, &mut listing, &tracker.settings.upstream.dialect);
        }
        let diff = self.sources.compare(&source, &listing);
        if !is_retry {
            self.report(tracker, &source, &listing, diff.count, now);
        }
        let is_first_load = self.sources.is_first_load(&source);
        let ListingDiff { new, gone, .. } = diff;
        let (mut tasks, mut tracked) = (Vec::new(), Vec::new());
        for task in new {
            if tracker.table.slot(&task.id).is_some() {
                tracked.push(task.id);
            } else {
                tasks.push(tracker.new_task(task, &source.label, !is_first_load, now.steady));
            }
        }
        // Only what the first complete read brings may be history.
        let is_complete = listing.is_complete && !listing.is_absent;
        let discovery = Arc::new(Discovery {
            upstream: tracker.settings.upstream.name.clone(),
            source: source.label.clone(),
            is_requested: false,
            first_load: (is_first_load && is_complete).then(|| source.identity.clone()),
            tasks,
            tracked,
            gone,
            zero_hold: tracker.counters.zero_hold(now.steady),
            born: tracker.counters.born(),
            now: now.steady,
        });
        let change = Change::Discovered { source, discovery: discovery.clone(), listing, reply };
        if discovery.is_empty() {
            self.changes.add_done(change);
        } else {
            self.changes.add(change, tracker.services.store.send(Command::Add(discovery)));
        }
    }

    /// Exports and logs how the read of a source went.
    fn report(&mut self, tracker: &mut Tracker, source: &SourceKey, listing: &Listing, count: usize, now: Now) {
        let (name, metrics) = (&tracker.settings.upstream.name, &tracker.services.metrics.upstreams);
        for message in self.sources.new_messages(source, listing) {
            tracing::warn!(upstream.name = %name, source = source.label, "{message}");
        }
        let wall = tracker.services.clock.to_wall(now.steady);
        let succeeded = listing.is_complete.then_some(wall);
        let count = (!listing.has_more).then_some(count);
        metrics.source_read(name, &source.label, count, listing.errors, listing.is_truncated, succeeded);
        for request in &listing.requests {
            let ListRequest { code, reason, took, date, sent, .. } = *request;
            if let Some(date) = date {
                tracker.services.clock.observe_date(name, date, sent + took);
            }
            let at = wall - now.monotonic.saturating_duration_since(sent + took);
            let (operation, cause, own_key) = (Operation::List, request.cause.clone(), request.own_key.clone());
            metrics.request_ended(name, &RequestOutcome { operation, code, reason, took, at, date, cause, own_key });
        }
        for request in &listing.requests {
            tracker.on_list_request(&source.label, request);
        }
    }

    /// Tasks are registered by the API.
    pub fn on_register(
        &mut self,
        tracker: &mut Tracker,
        tasks: Vec<NewTask>,
        reply: oneshot::Sender<Result<Vec<Registration>, StoreError>>,
    ) {
        let now = tracker.services.clock.now();
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let mut seen = HashSet::new();
        let (mut untracked, mut tracked) = (Vec::new(), Vec::new());
        for task in tasks.into_iter().filter(|task| seen.insert(task.id.clone())) {
            let known = tracker.table.slot(&task.id).and_then(|slot| tracker.table.get(slot));
            if known.is_some_and(|task| task.status != Status::Lost) {
                tracked.push(task.id);
            } else {
                untracked.push(tracker.new_task(task, API_SOURCE, true, now.steady));
            }
        }
        let discovery = Arc::new(Discovery {
            upstream: tracker.settings.upstream.name.clone(),
            source: API_SOURCE.to_owned(),
            is_requested: true,
            first_load: None,
            tasks: untracked,
            tracked,
            gone: Vec::new(),
            zero_hold: tracker.counters.zero_hold(now.steady),
            born: tracker.counters.born(),
            now: now.steady,
        });
        let replied = tracker.services.store.send(Command::Add(discovery.clone()));
        self.changes.add(Change::Registered { discovery, ids, reply }, replied);
    }

    /// A task is no longer to be tracked.
    pub fn on_forget(&mut self, tracker: &Tracker, id: TaskId, reply: oneshot::Sender<Result<bool, StoreError>>) {
        let upstream = &tracker.settings.upstream;
        let key = (upstream.name.clone(), upstream.dialect.name());
        let now = tracker.services.clock.now().steady;
        let replied = tracker.services.store.send(Command::Forget(key, id.clone(), now));
        self.changes.add(Change::Forgotten { id, reply }, replied);
    }

    /// The store has answered a change: it is applied and published before the reply is sent.
    pub fn on_settled(&mut self, tracker: &mut Tracker, (change, result): SettledChange) {
        match change {
            Change::Discovered { source, discovery, mut listing, reply } => {
                if let Ok(Output::Added { new, known, .. }) = result {
                    let found = new.len();
                    Self::track(tracker, &discovery, new, known);
                    let ids = discovery.tasks.iter().map(|task| task.id.clone());
                    let ids = ids.chain(discovery.tracked.iter().cloned());
                    self.sources.update(&source, ids, &discovery.gone, !listing.has_more);
                    if discovery.first_load.is_some() {
                        self.sources.mark_loaded(&source);
                    }
                    if found > 0 {
                        let name = &discovery.upstream;
                        tracing::info!(upstream.name = %name, source = source.label, tasks = found, "tasks discovered");
                    }
                    if let Some(rows) = listing.rows.take() {
                        tracker.apply_rows(&source.label, rows);
                    }
                    tracker.publish(self.sources.is_ready());
                    let _ = reply.send(Ok(()));
                } else {
                    let (name, source) = (&discovery.upstream, &source.label);
                    tracing::debug!(upstream.name = %name, source, "state store cannot take what the source names; trying again");
                    let _ = reply.send(Err(listing));
                }
            }
            Change::Registered { discovery, ids, reply } => {
                let result = added(result).map(|(new, known, lost)| {
                    let results = registrations(&ids, new.iter().chain(&lost), &known, &discovery.tracked);
                    if !(new.is_empty() && lost.is_empty()) {
                        let (name, tasks) = (&discovery.upstream, new.len() + lost.len());
                        tracing::info!(upstream.name = %name, source = API_SOURCE, tasks, "tasks registered");
                    }
                    Self::track(tracker, &discovery, new, known);
                    Self::search(tracker, lost);
                    tracker.publish(self.sources.is_ready());
                    results
                });
                let _ = reply.send(result);
            }
            Change::Forgotten { id, reply } => {
                let result = match result {
                    Ok(Output::WasTracked(was_tracked)) => Ok(was_tracked),
                    Ok(_) => Err(StoreError::Closed),
                    Err(error) => Err(error),
                };
                if let Ok(true) = result {
                    tracker.table.remove(&id);
                    tracker.publish(self.sources.is_ready());
                }
                let _ = reply.send(result);
            }
        }
    }

    /// Polls lost tasks at once that were registered again, as the state has them now.
    fn search(tracker: &mut Tracker, tasks: Vec<Arc<Task>>) {
        let now = tracker.services.clock.now();
        for task in tasks {
            let mut task = Arc::unwrap_or_clone(task);
            tracker.counters.assign_label_set(&mut task, now.steady);
            let known = tracker.table.slot(&task.id).inspect(|slot| tracker.table.update(*slot, task.clone()));
            if let Some(slot) = known.or_else(|| tracker.table.add(task)) {
                tracker.poller.poll_alone(&mut tracker.table, slot, now.monotonic);
            }
        }
        tracker.counters.create_missing(tracker.label_sets_in_use(), now);
    }

    /// Tracks what the store has added.
    fn track(tracker: &mut Tracker, discovery: &Discovery, new: Vec<Arc<Task>>, known: Vec<Arc<Task>>) {
        let now = tracker.services.clock.now();
        let hold = discovery.zero_hold;
        if !new.is_empty() {
            tracker.counters.discovered(&discovery.source, new.len(), hold, now);
            tracker.counters.create(new.iter().map(|task| task.label_set()), hold, now);
        }
        let mut slots = tracker.track(new, now);
        let known = tracker.track(known, now);
        let label_sets = known.iter().filter_map(|slot| Some(tracker.table.get(*slot)?.label_set())).collect();
        tracker.counters.create_missing(label_sets, now);
        slots.extend(known);
        tracker.poller.schedule_first(&mut tracker.table, &slots, now.monotonic);
    }
}

type Tasks = Vec<Arc<Task>>;

fn added(result: Result<Output, StoreError>) -> Result<(Tasks, Tasks, Tasks), StoreError> {
    match result? {
        Output::Added { new, known, lost } => Ok((new, known, lost)),
        _ => Err(StoreError::Closed),
    }
}
