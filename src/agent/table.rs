//! The tasks of one upstream, and the token of each task's next poll.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Jump;
use crate::domain::{Answer, Interner, Task, TaskId, Timestamp, schedule};
use crate::metrics::UpstreamSelection;
use crate::view::{RowSlot, TaskRow, TaskRows};

/// A task's next poll. It is valid until another one is scheduled, or the task is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollToken {
    /// Where the task is.
    pub slot: RowSlot,
    number: u32,
}

/// What the upstream's lists have shown of a task since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listed {
    /// When its last row was asked for.
    pub row: Option<Timestamp>,
    /// Position of the list that shows it, or that is asked for it next.
    pub list: u8,
    /// Its list has shown older tasks since its last row, but not this one.
    pub was_skipped: bool,
    /// A row tells that a single poll does not change the task, and may be answered.
    pub is_harmless: bool,
    /// Consecutive requests for its row alone that found none.
    pub misses: u8,
    /// Answers that the upstream does not know it, although a row has shown it.
    pub refusals: u8,
    /// The last one was not followed by a row: the list is asked whether it still has the task.
    pub is_doubted: bool,
}

/// The table.
#[derive(Default)]
pub struct TaskTable {
    rows: TaskRows,
    slots: HashMap<TaskId, RowSlot>,
    /// By slot: the number of its last token.
    tokens: Vec<u32>,
    /// By slot.
    listed: Vec<Listed>,
    /// Rows that no reader sees.
    past: usize,
    interner: Interner,
}

impl TaskTable {
    /// The rows.
    pub const fn rows(&self) -> &TaskRows {
        &self.rows
    }

    /// How many tasks readers see.
    pub fn len(&self) -> usize {
        self.slots.len() - self.past
    }

    /// Adds a task; `None` when it is there already.
    pub fn add(&mut self, mut task: Task) -> Option<RowSlot> {
        if self.slots.contains_key(&task.id) {
            return None;
        }
        self.interner.intern(&mut task);
        let id = task.id.clone();
        let slot = self.rows.insert(task);
        self.slots.insert(id, slot);
        let tokens = self.tokens.len().max(slot.index() + 1);
        self.tokens.resize(tokens, 0);
        self.listed.resize(tokens, Listed::default());
        self.listed[slot.index()] = Listed::default();
        Some(slot)
    }

    /// Lets a task share values with the others before it is added.
    pub fn intern(&mut self, task: &mut Task) {
        self.interner.intern(task);
    }

    /// Where a task is.
    pub fn slot(&self, id: &TaskId) -> Option<RowSlot> {
        self.slots.get(id).copied()
    }

    /// The id of the task whose id ends with this part, behind a slash; the same id when there is none.
    pub fn id_with_last_part(&self, part: TaskId) -> TaskId {
        let is_named = |id: &TaskId| id.as_str().rsplit('/').next() == Some(part.as_str());
        let named = || self.slots.keys().find(|id| is_named(id)).cloned();
        if self.slots.contains_key(&part) { part } else { named().unwrap_or(part) }
    }

    /// Whether an answer names another task of this table. An id that no task has may be another form of the same id: many
    /// gateways answer with that of their own upstream.
    pub fn is_about_other_task(&self, slot: RowSlot, answer: &Answer) -> bool {
        let named = answer.task_id.as_deref().and_then(|id| TaskId::parse(id).ok());
        named.and_then(|id| self.slot(&id)).is_some_and(|named| named != slot)
    }

    /// The task in a slot.
    pub fn get(&self, slot: RowSlot) -> Option<&Task> {
        Some(&self.rows.get(slot)?.task)
    }

    /// What lists have shown of the task in a slot.
    pub fn listed(&self, slot: RowSlot) -> Listed {
        self.listed.get(slot.index()).copied().unwrap_or_default()
    }

    /// What lists have shown of the task in a slot, to change it.
    pub fn listed_mut(&mut self, slot: RowSlot) -> Option<&mut Listed> {
        self.listed.get_mut(slot.index())
    }

    /// Other lists may show the tasks from now on.
    pub fn forget_lists(&mut self) {
        for listed in &mut self.listed {
            (listed.list, listed.misses, listed.was_skipped) = (0, 0, false);
        }
    }

    /// Whether the upstream has answered about the task in a slot since it is tracked.
    pub fn is_answered(&self, slot: RowSlot) -> bool {
        self.rows.get(slot).is_some_and(|row| row.is_answered)
    }

    /// Replaces a task by its newer record.
    pub fn update(&mut self, slot: RowSlot, mut task: Task) {
        if let Some(row) = self.rows.get_mut(slot).filter(|row| row.task.id == task.id) {
            // Mostly, nothing that tasks share has changed.
            let is_shared = std::sync::Arc::ptr_eq(&task.origin, &row.task.origin)
                && std::sync::Arc::ptr_eq(&task.video, &row.task.video);
            if !is_shared {
                self.interner.intern(&mut task);
            }
            if row.is_past && task.ended_seen != row.task.ended_seen {
                row.is_past = false;
                self.past -= 1;
            }
            row.is_answered |= task.last_poll != row.task.last_poll;
            row.task = task;
        }
    }

    /// Removes a task.
    pub fn remove(&mut self, id: &TaskId) {
        if let Some(slot) = self.slots.remove(id) {
            self.past -= usize::from(self.rows.get(slot).is_some_and(|row| row.is_past));
            self.rows.remove(slot);
            // The next task in this slot has nothing to do with this one's polls.
            self.invalidate(slot);
        }
    }

    /// Removes tasks that ended more than `retention` ago; whether there were any. Lost tasks that may still be found are only
    /// hidden from readers, until `lost` has passed since they were first seen.
    pub fn remove_ended(&mut self, retention: Duration, lost: Duration, now: Timestamp) -> bool {
        let is_over = |row: &TaskRow| row.task.ended_seen.is_some_and(|ended| ended + retention <= now);
        let is_polled = |row: &TaskRow| schedule::may_be_found(&row.task, lost, now);
        let over = self.rows.slots(|row| is_over(row) && !(row.is_past && is_polled(row)));
        for slot in &over {
            match self.rows.get_mut(*slot) {
                Some(row) if is_polled(row) => {
                    row.is_past = true;
                    self.past += 1;
                }
                Some(row) => {
                    let id = row.task.id.clone();
                    self.remove(&id);
                }
                None => {}
            }
        }
        if !over.is_empty() {
            self.interner.drop_unused();
        }
        !over.is_empty()
    }

    /// Schedules another poll of the task in a slot: earlier tokens become invalid.
    pub fn new_token(&mut self, slot: RowSlot) -> Option<PollToken> {
        self.rows.get(slot)?;
        self.invalidate(slot);
        let number = *self.tokens.get(slot.index())?;
        Some(PollToken { slot, number })
    }

    fn invalidate(&mut self, slot: RowSlot) {
        if let Some(number) = self.tokens.get_mut(slot.index()) {
            *number = number.wrapping_add(1);
        }
    }

    /// The task of a token, while that is valid.
    pub fn by_token(&self, token: PollToken) -> Option<&Task> {
        let is_valid = self.tokens.get(token.slot.index()) == Some(&token.number);
        self.get(token.slot).filter(|_| is_valid)
    }

    /// Puts forward what was recorded before the clock was put forward.
    pub fn put_forward(&mut self, jump: Jump) {
        for slot in self.rows.slots(|_| true) {
            if let Some(row) = self.rows.get_mut(slot) {
                row.task.put_forward(|time| jump.apply(time));
            }
        }
    }

    /// Gives every task the label set that `assign` chooses for it.
    pub fn relabel(&mut self, mut assign: impl FnMut(&mut Task)) {
        for slot in self.rows.slots(|_| true) {
            if let Some(row) = self.rows.get_mut(slot) {
                assign(&mut row.task);
                self.interner.intern(&mut row.task);
            }
        }
    }

    /// Marks tasks that are refused per-task series; how many were not before.
    pub fn mark_refused(&mut self, selection: UpstreamSelection<'_>) -> u64 {
        let refused = self.rows.slots(|row| !row.was_refused && !row.is_past && selection.refuses(&row.task));
        for slot in &refused {
            if let Some(row) = self.rows.get_mut(*slot) {
                row.was_refused = true;
            }
        }
        refused.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FailureClass, NewTask, Status};
    use crate::metrics::SeriesLimits;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    fn task(text: &str) -> Task {
        Task::new("u".into(), "new_api", NewTask::new(id(text)), Timestamp::from_secs(0))
    }

    #[test]
    fn a_token_is_valid_until_a_new_one_is_issued_or_its_task_is_removed() {
        let mut table = TaskTable::default();
        let valid = |table: &TaskTable, token: Option<PollToken>| Some(table.by_token(token?)?.id.to_string());
        let slot = table.add(task("a")).unwrap();
        assert_eq!(table.add(task("a")), None);
        let first = table.new_token(slot);
        assert_eq!(valid(&table, first).as_deref(), Some("a"));
        let second = table.new_token(slot);
        assert_eq!((valid(&table, first), valid(&table, second).as_deref()), (None, Some("a")));
        table.remove(&id("a"));
        assert_eq!(table.new_token(slot), None);
        assert_eq!(table.add(task("b")), Some(slot));
        assert_eq!((valid(&table, first), valid(&table, second)), (None, None));
        let third = table.new_token(slot);
        assert_eq!(valid(&table, third).as_deref(), Some("b"));
        table.update(slot, Task { poll_failures: 9, ..task("a") });
        assert_eq!(table.get(slot).map(|task| task.poll_failures), Some(0), "a late record changes another task");
    }

    #[test]
    fn an_ended_task_is_removed_after_its_retention() {
        let mut table = TaskTable::default();
        let ended = Some(Timestamp::from_secs(100));
        table.add(Task { status: Status::Lost, ended_seen: ended, ..task("ended") });
        table.add(task("active"));
        let hour = Duration::from_hours(1);
        let lost = Some(FailureClass::Lost);
        table.add(Task { status: Status::Lost, failure: lost, ended_seen: ended, ..task("lost") });
        let remove = |table: &mut TaskTable, at| {
            let is_changed = table.remove_ended(hour, 5 * hour, Timestamp::from_secs(at));
            (is_changed, table.len(), ["ended", "lost", "active"].map(|text| table.slot(&id(text)).is_some()))
        };
        assert_eq!(remove(&mut table, 100 + 3599), (false, 3, [true, true, true]));
        assert_eq!(remove(&mut table, 100 + 3600), (true, 1, [false, true, true]), "a lost task is only hidden");
        assert_eq!(remove(&mut table, 100 + 3601), (false, 1, [false, true, true]));
        let slot = table.slot(&id("lost")).unwrap();
        let found = Task { ended_seen: None, ..task("lost") };
        table.update(slot, found);
        assert_eq!(table.len(), 2, "it is shown once it is found");
        table.update(slot, Task { status: Status::Lost, failure: lost, ended_seen: ended, ..task("lost") });
        assert_eq!(remove(&mut table, 100 + 3600), (true, 1, [false, true, true]));
        assert_eq!(remove(&mut table, 5 * 3600), (true, 1, [false, false, true]), "it would be given up");
    }

    #[test]
    fn a_task_is_counted_as_refused_once() {
        let mut table = TaskTable::default();
        for text in ["a", "b", "c"] {
            table.add(task(text));
        }
        let limits = SeriesLimits { max: 1, only_active: false, off: false };
        let tasks: Vec<Task> = ["a", "b", "c"].map(task).to_vec();
        let selection = limits.select(3, tasks.iter());
        assert_eq!([table.mark_refused(selection.of("u")), table.mark_refused(selection.of("u"))], [2, 0]);
    }
}
