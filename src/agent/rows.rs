//! What the rows of lists mean for their tasks: each is a reading.

use super::by_list::MAX_REFUSALS;
use super::tracker::Tracker;
use crate::domain::time::Now;
use crate::domain::{Answer, Reading, TaskId, Timestamp};
use crate::metrics::Via;
use crate::source::{ListRequest, ListRows};
use crate::view::RowSlot;

impl Tracker {
    /// A list was asked.
    pub(super) fn on_list_request(&mut self, source: &str, request: &ListRequest) {
        self.poller.lists.on_request(source, request.reason, self.services.clock.now().monotonic);
    }

    /// A list has shown rows: those of tracked tasks are applied.
    pub(super) fn apply_rows(&mut self, source: &str, mut rows: ListRows) {
        let now = self.services.clock.now();
        let answers = std::mem::take(&mut rows.answers);
        let (count, asked) = (answers.len(), now.before(rows.sent));
        let (mut shown, mut readings) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for answer in answers {
            let id = answer.task_id.as_deref().and_then(|id| TaskId::parse(id).ok());
            let Some(slot) = id.as_ref().and_then(|id| self.table.slot(id)) else { continue };
            shown.push(slot);
            // A due poll is not needed any more. One in flight is younger than the row, perhaps.
            let is_held = id.as_ref().is_some_and(|id| self.held_ends.has(id));
            if !(is_held || self.poller.is_in_flight(&self.table, slot)) {
                self.table.new_token(slot);
            }
            // Until its commit is settled nobody knows where the task stands.
            if !id.is_some_and(|id| self.commits.contains(&id)) {
                readings.extend(self.interpret_row(slot, answer, asked, now));
            }
        }
        let missing = self.poller.lists.on_rows(source, &rows, count, &shown, &mut self.table, now);
        if let Some(slot) = missing {
            self.poller.schedule_missing(&mut self.table, slot, now);
        }
        self.apply_readings(readings, asked, now);
    }

    /// The reading of a row. An end without the provider's body waits until the task was asked for alone, if that is harmless.
    fn interpret_row(
        &mut self,
        slot: RowSlot,
        mut answer: Answer,
        asked: Timestamp,
        now: Now,
    ) -> Option<(RowSlot, Reading)> {
        let task = self.table.get(slot)?;
        let id = task.id.clone();
        answer.read_has_side_effect = self.settings.upstream.is_read_with_effect(&id, &answer);
        let is_new_end = answer.is_partial && answer.status().is_end() && task.is_active();
        let is_list_only = task.is_list_only || answer.row.as_ref().is_some_and(|row| row.is_list_only);
        let has_effect = answer.read_has_side_effect || task.read_has_side_effect;
        let is_harmless = !(has_effect || is_list_only);
        self.table.listed_mut(slot)?.is_harmless = is_harmless;
        if is_new_end && is_harmless {
            if self.held_ends.hold(&id, answer, asked, now.monotonic) {
                self.poller.poll_alone(&mut self.table, slot, now.monotonic);
            }
            return None;
        }
        self.held_ends.forget(&id);
        Some((slot, self.interpret_answer(slot, answer, Via::List, now)))
    }

    /// Applies ends that have waited long enough for an answer about their task alone.
    pub(super) fn apply_held_ends(&mut self, now: Now) {
        for (id, held) in self.held_ends.take_due(now.monotonic) {
            if let Some(slot) = self.table.slot(&id).filter(|_| !self.commits.contains(&id)) {
                let reading = self.interpret_answer(slot, held.row, Via::List, now);
                self.apply_readings(vec![(slot, reading)], held.asked, now);
            }
        }
    }

    /// A single poll says that a task is unknown that a row has shown: key and list belong to different users, and it is no strike.
    pub(super) fn excuse_not_found(&mut self, slot: RowSlot, reading: Reading, now: Now) -> Reading {
        let is_known = self.poller.lists.is_known(self.table.listed(slot), now.steady);
        let Some(listed) = self.table.listed_mut(slot) else { return reading };
        match reading {
            Reading::NotFound(error) if is_known => {
                listed.refusals = listed.refusals.saturating_add(1);
                listed.is_doubted = self.poller.lists.can_ask_for_one();
                if listed.refusals == MAX_REFUSALS
                    && let Some(task) = self.table.get(slot)
                {
                    self.counters.note_list_only(&task.id);
                }
                Reading::Failed(error)
            }
            Reading::Answer(_) => {
                listed.refusals = 0;
                reading
            }
            _ => reading,
        }
    }
}
