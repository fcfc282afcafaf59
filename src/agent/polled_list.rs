//! One list that reads tasks: how it answers, and its current sweep.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queue::DuePoll;
use super::table::TaskTable;
use crate::domain::{Reason, Task, Timestamp};
use crate::provider::List;
use crate::source::{ListDemand, ListRows};

/// How long a failing list is trusted with tasks that only it may read, and how long after a row a task is known to exist; at least
/// two sweeps.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long a list may take for its first response.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

/// By how much a row's submit time may be later than that of the row before.
const ORDER_SLACK: Duration = Duration::from_secs(5);

/// A pass through a list that began so shortly before a sweep reads for it.
const HEAD_START: Duration = Duration::from_secs(5);

/// How often it is computed how far a sweep should go.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// Most tasks that a list is asked for one by one at a time.
const MAX_SINGLE: usize = 100;

/// A list.
pub struct PolledList {
    /// The `source` label.
    pub label: String,
    page_size: usize,
    /// Pages a second.
    rate: f64,
    /// It can be asked for one task. Otherwise a sweep is the only way to those that only a list may read.
    can_ask_for_one: bool,
    /// A sweep that takes longer needs the help of single polls.
    interval: Duration,
    demand: watch::Sender<ListDemand>,
    started: Instant,
    has_answered: bool,
    failing_since: Option<Instant>,
    /// It refuses the key, or is not there: it will not recover by itself.
    is_refused: bool,
    /// The tasks that the current sweep has not read, newest first; empty without a sweep.
    sweep: VecDeque<SweptTask>,
    /// When the sweep began.
    sweep_began: Option<Instant>,
    /// How far the sweep has come.
    reached: Option<Timestamp>,
    /// How many of its tasks single polls have read, and how many were left out.
    read_alone: usize,
    left_out: usize,
    /// How many pages the sweep still needs, by estimate.
    pages_left: usize,
    /// When it is next computed how far the sweep should go.
    next_trim: Option<Instant>,
    /// How long the last sweep took.
    sweep_time: Duration,
    /// Rows of a page for each row of a tracked task.
    rows_per_task: f64,
    /// Due tasks that are asked for one by one.
    pub single: Vec<DuePoll>,
}

/// A due task that a sweep may read.
#[derive(Debug, Clone, Copy)]
pub struct SweptTask {
    /// Its poll.
    pub due: DuePoll,
    /// Its submit time in the list, as far as it is known.
    submit: Timestamp,
    /// Only a list may read it.
    pub needs_list: bool,
}

impl SweptTask {
    /// Of a due task.
    pub fn new(due: DuePoll, task: &Task, needs_list: bool) -> Self {
        Self { due, submit: expected_submit(task), needs_list }
    }
}

impl PolledList {
    /// Nothing is known of it yet.
    pub fn new(label: String, list: &List, rate: f64, interval: Duration, now: Instant) -> Self {
        Self {
            label,
            page_size: list.size,
            rate,
            can_ask_for_one: list.query_one.is_some(),
            interval,
            demand: watch::channel(ListDemand::default()).0,
            started: now,
            has_answered: false,
            failing_since: None,
            is_refused: false,
            sweep: VecDeque::new(),
            sweep_began: None,
            reached: None,
            read_alone: 0,
            left_out: 0,
            pages_left: 0,
            next_trim: None,
            sweep_time: Duration::ZERO,
            rows_per_task: 1.0,
            single: Vec::new(),
        }
    }

    /// What its reader follows.
    pub fn demand(&self) -> watch::Receiver<ListDemand> {
        self.demand.subscribe()
    }

    /// Whether its last request has failed.
    pub const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// Whether tasks may be left to it of which nothing is known yet.
    pub fn can_read(&self, now: Instant) -> bool {
        match self.failing_since {
            None => self.has_answered || now.saturating_duration_since(self.started) < FIRST_PATIENCE,
            Some(_) => self.has_answered && self.may_recover(now),
        }
    }

    /// Whether tasks may be left to it that a single poll would change.
    pub fn may_recover(&self, now: Instant) -> bool {
        let is_trusted = |since| now.saturating_duration_since(since) < self.patience();
        self.failing_since.is_none_or(|since| (self.has_answered || !self.is_refused) && is_trusted(since))
    }

    /// Continues with what an earlier configuration knew of it.
    pub fn inherit(&mut self, earlier: &Self) {
        (self.has_answered, self.failing_since) = (earlier.has_answered, earlier.failing_since);
        (self.is_refused, self.sweep_time) = (earlier.is_refused, earlier.sweep_time);
    }

    /// How long after its row a task is known to exist.
    pub fn patience(&self) -> Duration {
        PATIENCE.max(2 * self.sweep_time)
    }

    /// It has answered, or failed.
    pub fn on_request(&mut self, failure: Option<Reason>, now: Instant) {
        self.has_answered |= failure.is_none();
        self.failing_since = failure.and(self.failing_since.or(Some(now)));
        let is_temporary = |reason| {
            matches!(
                reason,
                Reason::RateLimited
                    | Reason::ServerError
                    | Reason::Timeout
                    | Reason::Connect
                    | Reason::Reset
                    | Reason::Dns
            )
        };
        self.is_refused = failure.is_some_and(|reason| !is_temporary(reason));
    }

    /// A page had so many rows, and so many of tracked tasks.
    pub fn on_page(&mut self, rows: usize, tracked: usize) {
        self.pages_left = self.pages_left.saturating_sub(1);
        if tracked > 0 {
            #[expect(clippy::cast_precision_loss, reason = "rows of a page")]
            let ratio = rows as f64 / tracked as f64;
            self.rows_per_task = 0.8 * self.rows_per_task + 0.2 * ratio;
        }
    }

    /// Whether a sweep is in progress.
    pub fn is_sweeping(&self) -> bool {
        !self.sweep.is_empty()
    }

    /// Begins a sweep of those of these tasks that are best read by pages; returns the others.
    pub fn begin_sweep(&mut self, mut due: Vec<SweptTask>, table: &TaskTable, now: Instant) -> Vec<SweptTask> {
        due.sort_by_key(|task| std::cmp::Reverse(task.submit));
        self.reached = None;
        // One task is never worth a page that another request can replace.
        let is_needless = due.len() < 2 && self.can_ask_for_one;
        let (swept, pages) = if is_needless { (0, 0) } else { self.best_sweep(due.iter(), table) };
        let others = due.split_off(swept);
        if swept > 0 {
            (self.sweep_began, self.pages_left) = (Some(now), pages);
            tracing::debug!(source = self.label, tasks = swept, others = others.len(), "sweep of the list begins");
            self.sweep = due.into();
            self.next_trim = Some(now + TRIM_INTERVAL);
        }
        others
    }

    /// Leaves those of the oldest tasks out of the sweep that are not worth its pages any more: single polls have read others there.
    pub fn trim_sweep(&mut self, table: &TaskTable, now: Instant) -> impl Iterator<Item = SweptTask> + use<> {
        let is_due = self.is_sweeping() && self.next_trim.is_none_or(|next| next <= now);
        let mut keep = self.sweep.len();
        if is_due {
            (keep, self.pages_left) = self.best_sweep(self.sweep.iter(), table);
            self.next_trim = Some(now + TRIM_INTERVAL);
        }
        self.sweep.split_off(keep).into_iter()
    }

    /// How many of these tasks, newest first, are best read by pages: as many requests as possible are saved, and nothing is left out
    /// that cannot be read otherwise. 0 when there is no such task. And how many pages that takes.
    fn best_sweep<'a>(&self, due: impl Iterator<Item = &'a SweptTask>, table: &TaskTable) -> (usize, usize) {
        let submits = table.rows().iter().map(|(_, row)| expected_submit(&row.task));
        let is_ahead = |submit: &Timestamp| self.reached.is_none_or(|reached| *submit <= reached);
        let mut submits: Vec<Timestamp> = submits.filter(is_ahead).collect();
        submits.sort_unstable();
        let (mut most_saved, mut best) = (0, (0, 0));
        for (n, task) in due.enumerate() {
            let newer = submits.len() - submits.partition_point(|submit| *submit <= task.submit);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate"
            )]
            let pages = (newer as f64 * self.rows_per_task) as usize / self.page_size + 1;
            let saved = (n + 1).saturating_sub(pages);
            if saved > most_saved || task.needs_list && !self.can_ask_for_one {
                (most_saved, best) = (most_saved.max(saved), (n + 1, pages));
            }
        }
        best
    }

    /// Ends the sweep; returns what it has not read.
    pub fn end_sweep(&mut self) -> impl Iterator<Item = SweptTask> + use<> {
        std::mem::take(&mut self.sweep).into_iter()
    }

    /// Drops the oldest tasks of the sweep that were read in the meantime, and with the last one the sweep.
    pub fn drop_read(&mut self, table: &TaskTable, now: Instant) {
        while self.sweep.back().is_some_and(|task| table.by_token(task.due.token).is_none()) {
            self.sweep.pop_back();
        }
        if let Some(began) = self.sweep_began.take_if(|_| self.sweep.is_empty()) {
            self.sweep_time = now.saturating_duration_since(began);
            let (seconds, alone, left_out) = (self.sweep_time.as_secs_f64(), self.read_alone, self.left_out);
            let reached = self.reached.map(Timestamp::as_millis);
            tracing::debug!(source = self.label, seconds, alone, left_out, reached, "sweep of the list has ended");
            (self.read_alone, self.left_out) = (0, 0);
        }
    }

    /// Whether the sweep would take longer than the interval between two polls, so that single polls read its oldest tasks.
    pub fn needs_help(&self, now: Instant) -> bool {
        let taken = self.sweep_began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let pages = f64::from(u32::try_from(self.pages_left).unwrap_or(u32::MAX));
        self.is_sweeping() && pages / self.rate > self.interval.saturating_sub(taken).as_secs_f64()
    }

    /// Takes the oldest task of the sweep that a single poll may read, if it became due before `other`.
    pub fn take_oldest(&mut self, table: &TaskTable, other: Option<Instant>) -> Option<DuePoll> {
        while let Some(oldest) = self.sweep.iter().rposition(|task| !task.needs_list) {
            if other.is_some_and(|other| self.sweep[oldest].due.at >= other) {
                return None;
            }
            let task = self.sweep.remove(oldest)?;
            if table.by_token(task.due.token).is_some() {
                self.read_alone += 1;
                return Some(task.due);
            }
        }
        None
    }

    /// The tasks that the sweep has passed without a row of theirs.
    pub fn take_passed(&mut self, rows: &ListRows, table: &TaskTable) -> Vec<SweptTask> {
        if self.sweep_began.is_none_or(|began| rows.began + HEAD_START < began) {
            return Vec::new(); // The newest tasks were shown before the sweep began.
        }
        self.reached = rows.reached.or(self.reached);
        let is_passed =
            |task: &SweptTask| rows.is_end || rows.reached.is_some_and(|reached| task.submit > reached + ORDER_SLACK);
        let mut passed = Vec::new();
        while let Some(task) = self.sweep.pop_front_if(|task| is_passed(task)) {
            if table.by_token(task.due.token).is_some() {
                self.left_out += 1;
                passed.push(task);
            }
        }
        passed
    }

    /// Tells its reader what is needed.
    pub fn publish_demand(&self, table: &TaskTable) {
        let since = self.sweep.back().map(|task| task.submit - 2 * ORDER_SLACK);
        let ids = self.single.iter().filter_map(|due| Some(table.by_token(due.token)?.id.clone()));
        let not_before = self.sweep_began.and_then(|began| began.checked_sub(HEAD_START));
        let demand = ListDemand { since, not_before, tasks: ids.take(MAX_SINGLE).collect() };
        self.demand.send_if_modified(|known| {
            let is_other = *known != demand;
            *known = demand;
            is_other
        });
    }
}

/// The submit time that a task has in a list. One that is not known is shortly before the task was first seen.
fn expected_submit(task: &Task) -> Timestamp {
    task.times.submit.unwrap_or(task.first_seen - 2 * ORDER_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::domain::{NewTask, TaskId};
    use crate::provider;

    /// A list of a provider, and five hundred tasks, of which so many of the oldest are due.
    fn sweep(provider: &str, oldest: usize, needs_list: bool) -> (PolledList, TaskTable, Vec<SweptTask>) {
        let list = provider::by_name(provider).unwrap().list.unwrap();
        let list = PolledList::new("list/0".to_owned(), &list, 0.5, Duration::from_secs(15), clock::instant());
        let (mut table, mut due) = (TaskTable::default(), Vec::new());
        for n in 0..500 {
            let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
            let slot = table.add(Task::new("u".into(), "kling", new, Timestamp::from_secs(60 * n))).unwrap();
            let token = table.new_token(slot).unwrap();
            if due.len() < oldest {
                let poll = DuePoll { token, at: clock::instant(), is_alone: false };
                due.push(SweptTask::new(poll, table.get(slot).unwrap(), needs_list));
            }
        }
        (list, table, due)
    }

    #[test]
    fn a_sweep_to_tasks_that_nothing_else_can_read_goes_all_the_way() {
        let now = clock::instant();
        for (provider, needs_list, is_swept) in [("luma", true, true), ("luma", false, false), ("new_api", true, false)]
        {
            let (mut list, table, due) = sweep(provider, 3, needs_list);
            let others = list.begin_sweep(due, &table, now);
            assert_eq!((list.is_sweeping(), others.is_empty()), (is_swept, is_swept), "{provider}");
            assert_eq!(
                list.trim_sweep(&table, now + TRIM_INTERVAL).count(),
                0,
                "{provider}: it is not cut short later"
            );
            assert_eq!(list.pages_left, if is_swept { 5 } else { 0 }, "{provider}");
        }
    }
}
