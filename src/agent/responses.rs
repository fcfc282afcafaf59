//! What the responses of an upstream mean for the tasks that wait for them.

use super::request::{Answers, Outcome, Work};
use super::table::PollToken;
use super::tracker::Tracker;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::reading::PollError;
use crate::domain::time::Now;
use crate::domain::{Answer, Reading, Reason};
use crate::metrics::Via;
use crate::view::RowSlot;

impl Tracker {
    /// A request ended: its answers are applied to the tasks that still wait for them.
    pub fn on_response(&mut self, mut outcome: Outcome) {
        if let (Work::One(polled), Ok(Answers::One(answer))) = (&outcome.work, &mut outcome.result) {
            answer.read_has_side_effect = self.settings.upstream.is_read_with_effect(&polled.id, answer);
        }
        if let Some(date) = outcome.date {
            self.services.clock.observe_date(&self.settings.upstream.name, date, outcome.received);
        }
        let now = self.services.clock.now();
        let reason = outcome.reason();
        let ended = outcome.measured(self.services.clock.to_wall(now.steady));
        self.services.metrics.upstreams.poll_ended(&self.settings.upstream.name, &ended);
        self.poller.on_request_ended(&outcome, reason, now);
        let polled = outcome.work.tasks();
        let tokens = polled.iter().map(|polled| polled.token);
        let awaits =
            |token: &PollToken| self.table.by_token(*token).is_some_and(|task| !self.commits.contains(&task.id));
        let slots: Vec<RowSlot> = tokens.filter(awaits).map(|token| token.slot).collect();
        let is_batch = matches!(outcome.work, Work::Batch(_));
        let via = if is_batch { Via::Batch } else { Via::Get };
        self.note_effect(&outcome, slots.first().copied());
        let readings = match outcome.result {
            Ok(Answers::One(answer)) => {
                let mut readings = Vec::with_capacity(1);
                for (slot, answer) in slots.into_iter().zip([*answer]) {
                    let answer =
                        if answer.is_not_found { answer } else { self.held_ends.complete(&polled[0].id, answer) };
                    readings.push((slot, self.interpret_answer(slot, answer, via, now)));
                }
                readings
            }
            Ok(Answers::NeedsResult(answer)) => {
                if !slots.is_empty() {
                    self.poller.request_result(polled[0].token, answer, now.monotonic);
                }
                Vec::new()
            }
            Ok(Answers::Batch(mut answers)) => {
                let mut readings = Vec::with_capacity(slots.len());
                for slot in slots {
                    let answer = self.table.get(slot).and_then(|task| answers.remove(task.id.as_str()));
                    match answer {
                        Some(answer) => readings.push((slot, self.interpret_answer(slot, answer, via, now))),
                        None => self.poller.poll_alone(&mut self.table, slot, now.monotonic),
                    }
                }
                readings
            }
            Err(error) => {
                self.failures.add(&error, outcome.code, polled, now.monotonic);
                if self.counters.note_drift(error.drift, &polled[0].id, now) {
                    self.publisher.mark_changed();
                }
                if is_batch && self.poller.on_batch_failed(polled.len(), &error, now.monotonic) {
                    for slot in &slots {
                        self.poller.poll_alone(&mut self.table, *slot, now.monotonic);
                    }
                    Vec::new()
                } else {
                    let reading = outcome.work.reading_of(&error, outcome.code, self.settings.rules.keeps_messages);
                    slots.into_iter().map(|slot| (slot, reading.clone())).collect()
                }
            }
        };
        let readings =
            readings.into_iter().map(|(slot, reading)| (slot, self.excuse_not_found(slot, reading, now))).collect();
        self.apply_readings(readings, now.before(outcome.sent), now);
    }

    /// Counts a read that changed its task at the gateway. What kind of task it was may be known by its answer only.
    fn note_effect(&mut self, outcome: &Outcome, slot: Option<RowSlot>) {
        let Work::One(polled) = &outcome.work else { return };
        let is_known = slot.and_then(|slot| self.table.get(slot)).is_some_and(|task| task.read_has_side_effect);
        let is_told = matches!(&outcome.result, Ok(Answers::One(answer)) if answer.read_has_side_effect);
        // Whatever the gateway has answered, it may have asked.
        if is_known && outcome.code.is_some() || is_told {
            self.services.metrics.upstreams.read_with_effect(&self.settings.upstream.name);
            self.counters.note_effect(&polled.id);
        }
    }

    /// What an answer means for its task; what is unusual about it is counted and logged.
    pub(super) fn interpret_answer(&mut self, slot: RowSlot, mut answer: Answer, via: Via, now: Now) -> Reading {
        let is_foreign = self.table.is_about_other_task(slot, &answer);
        if is_foreign {
            answer.drift.add(Field::TaskId, FieldProblem::Unreadable);
        } else if answer.is_not_found {
            return Reading::NotFound(PollError::with_cause(Reason::NotFound, "the answer says so"));
        }
        if let Some(task) = self.table.get(slot)
            && self.counters.note_answer(&answer, &task.id, now)
        {
            self.publisher.mark_changed();
        }
        if is_foreign {
            return Reading::Failed(PollError::with_cause(Reason::InvalidBody, "the answer is about another task"));
        }
        self.services.metrics.upstreams.task_read(&self.settings.upstream.name, via);
        answer.error_message.take_if(|_| !self.settings.rules.keeps_messages);
        Reading::Answer(Box::new(answer))
    }
}
