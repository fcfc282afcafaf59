//! Moving tasks: decide, have it committed, and only then show and count it. Nobody waits for a commit: a task whose
//! transition is on its way is not polled meanwhile, and everything else goes on.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::oneshot;

use super::both_clocks;
use super::poll::Poller;
use crate::clock;
use crate::domain::{Answer, Place, Reading, Task, TaskId, Timestamp, Transition, advance};
use crate::store::Settled;

/// A task and what was read of it.
pub struct Move {
    /// Where it lies.
    pub place: Place,
    /// As it is.
    pub task: Task,
    /// What was read.
    pub reading: Reading,
}

/// Transitions of one upstream that are on their way.
#[derive(Default)]
pub struct Commits {
    answers: FuturesUnordered<oneshot::Receiver<Settled>>,
    /// Of each task that is, what was told of it meanwhile.
    tasks: HashMap<TaskId, Option<Box<Answer>>>,
}

impl Commits {
    fn add(&mut self, ids: impl Iterator<Item = TaskId>, answer: oneshot::Receiver<Settled>) {
        self.tasks.extend(ids.map(|id| (id, None)));
        self.answers.push(answer);
    }

    /// True while a task's transition is on its way.
    pub fn has(&self, id: &TaskId) -> bool {
        self.tasks.contains_key(id)
    }

    /// True when nothing is.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Waits for the next answer; forever when there is none to come.
    ///
    /// # Errors
    /// When the state has ended.
    pub async fn next(&mut self) -> anyhow::Result<Settled> {
        match self.answers.next().await {
            Some(settled) => Ok(settled?),
            None => std::future::pending().await,
        }
    }
}

impl Poller {
    /// Moves tasks by what was read of them. What has to be durable is sent to the state.
    pub(super) fn advance(&mut self, moves: Vec<Move>) {
        let now = Timestamp::from(clock::now());
        let (mut ends, mut others) = (Vec::new(), Vec::new());
        for Move { place, task: before, mut reading } in moves {
            if before.video.model.is_none()
                && let Reading::Answer(answer) = &mut reading
            {
                answer.model = self.settle_model(answer, now);
            }
            let transition = advance(&before, reading, &self.rules.policy, now);
            if !transition.durable {
                self.show(place, transition.task, now);
                continue;
            }
            let sent = if transition.task.status.is_end() { &mut ends } else { &mut others };
            // As a rule it is the only one, and it may wait: room for four, with which a Vec begins, would be wasted.
            sent.reserve_exact(usize::from(sent.is_empty()));
            sent.push(transition);
        }
        let birth = self.shared.metrics.birth(now);
        // Apart, because only ends wait for a state that cannot be written; the others are soon read again.
        for transitions in [ends, others] {
            if !transitions.is_empty() {
                let ids: Vec<_> = transitions.iter().map(|transition| transition.task.id.clone()).collect();
                self.commits.add(ids.into_iter(), self.shared.store.commit(transitions, birth));
            }
        }
    }

    /// What an upstream tells by itself. It may come late, twice or out of order, or be somebody's replay: so it moves a task
    /// only forward, an end that contradicts the one that is known is asked for, and nothing else changes anything.
    pub(super) fn hear(&mut self, told: impl IntoIterator<Item = (TaskId, Answer)>) {
        let now = both_clocks();
        let mut moves = Vec::new();
        for (id, answer) in told {
            if let Some(told) = self.commits.tasks.get_mut(&id) {
                // Until its transition has come to an end nobody knows where the task stands.
                if told.as_ref().is_none_or(|held| held.status.stage() <= answer.status.stage()) {
                    *told = Some(Box::new(answer));
                }
                continue;
            }
            let Some((place, task)) = self.shared.tracker.find(&self.upstream.name, &id) else { continue };
            if task.is_active() && answer.status.stage() > task.status.stage() {
                moves.push(self.look_at(place, task, answer, now));
                // What is on its way was asked before this was told: when it comes home it is too late.
                self.shared.tracker.next_turn(&self.upstream.name, place);
            } else if answer.status.is_end() && answer.status != task.status {
                self.ask_alone(place);
            }
        }
        self.advance(moves);
    }

    /// A transition has come to its end; what was told of its task meanwhile goes with what is `told`.
    fn landed(&mut self, id: &TaskId, told: &mut Vec<(TaskId, Answer)>) {
        if let Some((id, Some(answer))) = self.commits.tasks.remove_entry(id) {
            told.push((id, *answer));
        }
    }

    /// What the state says to transitions that were sent to it: counted now if they are durable.
    pub(super) fn settled(&mut self, settled: Settled) {
        let now = both_clocks();
        let mut told = Vec::new();
        match settled {
            Settled::Committed { transitions, otherwise, birth } => {
                for Transition { task, from, .. } in &transitions {
                    if *from != task.status {
                        let (from, to) = (from.as_str(), task.status.as_str());
                        tracing::info!(upstream.name = %task.home.upstream, task.id = %task.id, from, to, "task moved");
                    }
                    self.landed(&task.id, &mut told);
                }
                let shared = self.shared.clone();
                let moment = shared.moment();
                for transition in transitions {
                    shared.metrics.observe(&transition, birth, now);
                    self.show_settled(transition.task, now.wall);
                }
                drop(moment);
                for (id, task) in otherwise {
                    self.landed(&id, &mut told);
                    match task {
                        // Somebody has asked not to watch it any more, and perhaps to watch it again since.
                        Some(task) if task.dropped => {
                            self.ask_again(&id);
                            continue;
                        }
                        Some(task) => self.show_settled(task, now.wall),
                        None => self.shared.tracker.remove(&self.upstream.name, &id),
                    }
                    tracing::error!(upstream.name = %self.upstream.name, task.id = %id, "the state has another row of this task, or none");
                }
            }
            Settled::Refused(transitions, error) => {
                let name = &self.upstream.name;
                tracing::debug!(upstream.name = %name, tasks = transitions.len(), %error, "not committed, so not counted; asking again");
                for Transition { task, .. } in transitions {
                    self.landed(&task.id, &mut told);
                    self.ask_again(&task.id);
                }
            }
        }
        self.hear(told);
    }

    /// Asks for a task again, if it is still there.
    fn ask_again(&mut self, id: &TaskId) {
        if let Some(place) = self.shared.tracker.place(&self.upstream.name, id) {
            self.ask_after(place, self.upstream.polling.pace.interval);
        }
    }

    /// The same for a task that was away: meanwhile aggregates may have come to carry other labels.
    fn show_settled(&mut self, mut task: Task, now: Timestamp) {
        task.relabel(self.shared.metrics.aggregate_labels(&task, now));
        if let Some(place) = self.shared.tracker.place(&self.upstream.name, &task.id) {
            self.show(place, task, now);
        }
    }

    /// Puts a task as it is now into the table, and says when it is asked again.
    fn show(&mut self, place: Place, task: Task, now: Timestamp) {
        if let Some(wait) = self.wait(&task, now) {
            self.ask_after(place, wait);
        }
        self.shared.tracker.apply(place, task);
    }

    /// The model label of a task from its answer; the configured one where that names none.
    fn settle_model(&self, answer: &Answer, now: Timestamp) -> Option<Arc<str>> {
        let named = [answer.model_origin.as_deref(), answer.model_upstream.as_deref(), self.upstream.model.as_deref()];
        let label = |name| self.shared.metrics.model_label(&self.upstream.name, name, now);
        named.into_iter().flatten().find_map(label)
    }
}
