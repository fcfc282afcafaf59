//! When the tasks of an upstream are polled next.

use std::time::{Duration, Instant};

use super::by_list::Route;
use super::poller::Poller;
use super::table::{PollToken, TaskTable};
use crate::config::Polling;
use crate::domain::time::Now;
use crate::domain::{Answer, Task, TaskId, schedule, settling};
use crate::view::RowSlot;

/// The wait until a poll.
#[derive(Clone, Copy)]
struct Wait {
    span: Duration,
    /// It is not rounded, so that the poll comes with others.
    is_exact: bool,
}

impl Poller {
    /// Whether many tasks are read with one request, and so should become due together.
    pub(super) const fn are_polled_together(&self) -> bool {
        self.sizer.has_batches() || self.lists.is_active()
    }

    /// How long until a task is polled again; `None` for one that is not.
    fn wait(&self, table: &TaskTable, slot: RowSlot, task: &Task, now: Now) -> Option<Wait> {
        let pace = &self.polling.pace;
        let is_for_list = || self.lists.route(task, table.listed(slot), now) == Route::List;
        if !task.is_active() {
            let is_asked = !(task.read_has_side_effect || is_for_list());
            let settling = settling::wait(task, is_asked, now.steady).filter(|_| self.settles_quota);
            let recheck =
                schedule::recheck(task, self.rechecks, pace, now.steady).map(|wait| wait + self.queue.slack());
            let span = settling.into_iter().chain(recheck).min()?;
            return Some(Wait { span, is_exact: settling == Some(span) });
        }
        // Jitter would keep apart what should be read together.
        let chance = if self.are_polled_together() { 0.5 } else { fastrand::f64() };
        let has_effect = task.read_has_side_effect && !is_for_list();
        let wait = schedule::wait(task, pace, has_effect, now.steady, chance);
        let span = if self.has_callbacks { wait.max(pace.max) } else { wait };
        Some(Wait { span, is_exact: false })
    }

    /// Whether a poll of a task is in flight whose answer is waited for.
    pub fn is_in_flight(&self, table: &TaskTable, slot: RowSlot) -> bool {
        self.in_flight_slots.get(&slot).is_some_and(|token| table.by_token(*token).is_some())
    }

    /// Schedules the next poll of a task after a reading, unless a poll is in flight that decides it.
    pub fn schedule_next(&mut self, table: &mut TaskTable, slot: RowSlot, now: Now) {
        if self.is_in_flight(table, slot) {
            return;
        }
        let wait = table.get(slot).and_then(|task| self.wait(table, slot, task, now));
        if let Some(wait) = wait {
            self.schedule(table, slot, wait, now.monotonic);
        } else {
            // It is not polled any more.
            table.new_token(slot);
        }
    }

    /// Schedules the next poll of a task after the usual interval.
    pub fn schedule_after_interval(&mut self, table: &mut TaskTable, slot: RowSlot, has_effect: bool, now: Instant) {
        let least = if has_effect { schedule::SIDE_EFFECT_INTERVAL } else { Duration::ZERO };
        let span = self.polling.pace.interval.max(least);
        self.schedule(table, slot, Wait { span, is_exact: false }, now);
    }

    fn schedule(&mut self, table: &mut TaskTable, slot: RowSlot, wait: Wait, now: Instant) {
        let Some(token) = table.new_token(slot) else { return };
        if wait.is_exact {
            self.queue.schedule_exactly(token, wait.span, now);
        } else {
            self.queue.schedule(token, wait.span, now);
        }
    }

    /// Schedules the next poll of a task that its list does not have: another list is asked, or after the last one the task alone. A list
    /// that should have it is asked again later.
    pub fn schedule_missing(&mut self, table: &mut TaskTable, slot: RowSlot, now: Now) {
        let is_for_list = |task: &Task| self.lists.route(task, table.listed(slot), now) == Route::List;
        let is_next_list = table.listed(slot).misses < self.lists.count();
        if table.get(slot).is_some_and(is_for_list) && !is_next_list {
            self.schedule(table, slot, Wait { span: self.polling.pace.max, is_exact: false }, now.monotonic);
        } else {
            self.poll_alone(table, slot, now.monotonic);
        }
    }

    /// Polls a task at once, and alone.
    pub fn poll_alone(&mut self, table: &mut TaskTable, slot: RowSlot, now: Instant) {
        if let Some(token) = table.new_token(slot) {
            self.queue.push_alone(token, now);
        }
    }

    /// Requests the result of a task with this answer at once.
    pub fn request_result(&mut self, token: PollToken, answer: Box<Answer>, now: Instant) {
        self.need_results.insert(token, answer);
        self.queue.push_alone(token, now);
    }

    /// Schedules first polls, spread over time; what is read together is due at once.
    pub fn schedule_first(&mut self, table: &mut TaskTable, slots: &[RowSlot], now: Instant) {
        let Polling { requests_per_second, pace, .. } = self.polling;
        let window = schedule::first_window(slots.len(), requests_per_second, pace.interval);
        for slot in slots {
            let Some(wait) = table.get(*slot).map(|task| schedule::first_wait(&task.id, window)) else { continue };
            if self.sizer.has_batches() {
                table.new_token(*slot).into_iter().for_each(|token| self.queue.push_due(token, now));
            } else {
                let is_exact = self.lists.is_active();
                let span = if is_exact { Duration::ZERO } else { wait };
                self.schedule(table, *slot, Wait { span, is_exact }, now);
            }
        }
    }

    /// Schedules all tasks: each when it would have been polled, had it been scheduled after its last poll. Tasks that are
    /// being polled or committed are left alone.
    pub fn schedule_all(&mut self, table: &mut TaskTable, is_pending: impl Fn(&TaskId) -> bool, now: Now) {
        let mut overdue = Vec::new();
        for slot in table.rows().slots(|row| !is_pending(&row.task.id)) {
            if self.in_flight_slots.contains_key(&slot) {
                continue;
            }
            let Some(task) = table.get(slot) else { continue };
            let Some(wait) = self.wait(table, slot, task, now) else {
                // It is not polled any more: the token of a scheduled poll becomes invalid.
                table.new_token(slot);
                continue;
            };
            // Never later than that, even when the wall clock was set back.
            let span = match task.last_poll.filter(|_| task.is_active()) {
                Some(last) => (last + wait.span).duration_since(now.steady).min(wait.span),
                None if task.is_active() => Duration::ZERO,
                None => wait.span,
            };
            if span.is_zero() {
                overdue.push(slot);
            } else {
                self.schedule(table, slot, Wait { span, ..wait }, now.monotonic);
            }
        }
        self.schedule_first(table, &overdue, now.monotonic);
    }
}
