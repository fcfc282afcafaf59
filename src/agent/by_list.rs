//! Which tasks the lists of an upstream read, and which are read alone.
//!
//! A page of a list reads a hundred tasks with one request. When due tasks need fewer pages than requests of their own, a sweep
//! begins: the list is read from its newest task back to the oldest due one, while single polls read the oldest ones first. They
//! meet where pages have so few due tasks that both are equally slow.
//!
//! Tasks whose single polls would change them, that belong to another user, or of which nothing is known yet are left to lists.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::polled_list::{PolledList, SweptTask};
use super::queue::DuePoll;
use super::table::{Listed, TaskTable};
use crate::config::{ByList, ListSourceSettings, Upstream};
use crate::domain::time::Now;
use crate::domain::{Reason, Task, Timestamp};
use crate::source::{ListDemand, ListRows};
use crate::view::RowSlot;

/// After so many answers that a task is unknown, although rows show it, it is left to lists for as long as they do.
pub const MAX_REFUSALS: u8 = 3;

/// How often it is computed whether a sweep saves requests, when there are many tasks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// So many tasks take no time worth mentioning.
const FEW_TASKS: usize = 2000;

/// The lists of one upstream that read tasks.
#[derive(Default)]
pub struct ListPolling {
    lists: Vec<PolledList>,
    /// A task of which nothing is known is first read by a list: a single poll may change it.
    is_new_api: bool,
    can_ask_for_one: bool,
    /// Due tasks that a list or a single poll may read.
    waiting: VecDeque<DuePoll>,
    /// Due tasks that only a list may read.
    list_only: Vec<DuePoll>,
    /// The interval between two polls of a task.
    interval: Duration,
    /// When it may be computed again whether a sweep saves requests.
    next_look: Option<Instant>,
}

/// How a task is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// By a single poll.
    Alone,
    /// By a list or by a single poll.
    Either,
    /// By a list.
    List,
}

impl ListPolling {
    /// Of an upstream; none of its lists is used where batches read its tasks, or the configuration forbids it.
    pub fn new(upstream: &Upstream, now: Instant) -> Self {
        let is_used = upstream.polling.by_list == ByList::Auto && upstream.dialect.batch().is_none();
        let list = upstream.dialect.list().filter(|_| is_used);
        let interval = upstream.polling.pace.interval;
        let sources = upstream.list_sources.iter().enumerate().take(usize::from(u8::MAX));
        let polled = |(n, source): (usize, &ListSourceSettings)| {
            Some(PolledList::new(format!("list/{n}"), &list?, source.requests_per_second, interval, now))
        };
        Self {
            lists: sources.filter_map(polled).collect(),
            interval,
            is_new_api: upstream.dialect.is_new_api(),
            can_ask_for_one: list.is_some_and(|list| list.query_one.is_some()),
            ..Self::default()
        }
    }

    /// Whether there is a list that reads tasks.
    pub const fn is_active(&self) -> bool {
        !self.lists.is_empty()
    }

    /// How many lists read tasks.
    pub fn count(&self) -> u8 {
        u8::try_from(self.lists.len()).unwrap_or(u8::MAX)
    }

    /// What the readers of lists follow, by the label of the source.
    pub fn demands(&self) -> BTreeMap<String, watch::Receiver<ListDemand>> {
        self.lists.iter().map(|list| (list.label.clone(), list.demand())).collect()
    }

    /// The due polls that were left to lists.
    pub fn into_due(mut self) -> Vec<DuePoll> {
        let mut due: Vec<DuePoll> = self.waiting.into_iter().chain(self.list_only).collect();
        for list in &mut self.lists {
            due.extend(list.end_sweep().map(|task| task.due));
            due.append(&mut list.single);
        }
        due
    }

    /// Whether a list can be asked for one task.
    pub const fn can_ask_for_one(&self) -> bool {
        self.can_ask_for_one
    }

    /// Drops those of the due polls that match.
    pub fn drop_due(&mut self, mut matches: impl FnMut(DuePoll) -> bool) {
        let mut is_kept = |due: &DuePoll| !matches(*due);
        self.waiting.retain(&mut is_kept);
        self.list_only.retain(&mut is_kept);
        self.lists.iter_mut().for_each(|list| list.single.retain(&mut is_kept));
    }

    /// How a task is read.
    pub fn route(&self, task: &Task, listed: Listed, now: Now) -> Route {
        let Some(list) = self.lists.get(usize::from(listed.list)) else { return Route::Alone };
        let is_refused = listed.refusals >= MAX_REFUSALS && self.is_known(listed, now.steady);
        let is_doubted = listed.is_doubted && !list.is_failing();
        if task.is_list_only || is_refused || is_doubted {
            return Route::List;
        }
        let is_unknown = self.is_new_api && task.last_poll.is_none() && !listed.is_harmless;
        // An empty answer does not prove much: the gateway's database may be in trouble.
        let is_on_no_list = usize::from(listed.misses) >= self.lists.len() && !self.is_known(listed, now.steady);
        let can_read = if is_unknown { list.can_read(now.monotonic) } else { list.may_recover(now.monotonic) };
        if (task.read_has_side_effect || is_unknown) && !is_on_no_list {
            return if can_read { Route::List } else { Route::Alone };
        }
        if list.is_failing() || listed.was_skipped || is_on_no_list { Route::Alone } else { Route::Either }
    }

    /// Whether only a list may read the task of this poll.
    pub fn is_for_list(&self, due: DuePoll, table: &TaskTable, now: Now) -> bool {
        let route = |task: &Task| self.route(task, table.listed(due.token.slot), now);
        table.by_token(due.token).is_some_and(|task| route(task) == Route::List)
    }

    /// Takes a due poll, unless it is to be sent alone.
    pub fn take(&mut self, due: DuePoll, table: &TaskTable, now: Now) -> Option<DuePoll> {
        let task = table.by_token(due.token)?;
        match self.route(task, table.listed(due.token.slot), now) {
            Route::List => self.list_only.push(due),
            Route::Either if !due.is_alone => self.waiting.push_back(due),
            Route::Either | Route::Alone => return Some(due),
        }
        None
    }

    fn put_back(&mut self, task: SweptTask) {
        if task.needs_list { self.list_only.push(task.due) } else { self.waiting.push_back(task.due) }
    }

    /// Begins sweeps that save requests, ends those that have read everything, and tells the lists' readers what is needed.
    pub fn plan(&mut self, table: &TaskTable, now: Now) {
        for n in 0..self.lists.len() {
            let list = &mut self.lists[n];
            list.single.retain(|due| table.by_token(due.token).is_some());
            if list.is_failing() {
                self.list_only.append(&mut list.single);
            }
            let unread = list.is_failing().then(|| list.end_sweep());
            list.drop_read(table, now.monotonic);
            let left_out: Vec<SweptTask> = list.trim_sweep(table, now.monotonic).collect();
            for task in unread.into_iter().flatten() {
                self.put_back(task);
            }
            for task in left_out {
                self.leave_out(n, task);
            }
        }
        let is_many = table.len() > FEW_TASKS;
        if !(is_many && self.next_look.is_some_and(|next| now.monotonic < next)) {
            self.next_look = Some(now.monotonic + LOOK_INTERVAL);
            self.release(table, now);
            for n in 0..self.lists.len() {
                self.begin_sweep(n, table, now);
            }
        }
        self.lists.iter().for_each(|list| list.publish_demand(table));
    }

    /// Lets single polls read what does not have to wait for a list any more: it has failed for too long, or shows a task no more.
    fn release(&mut self, table: &TaskTable, now: Now) {
        for due in std::mem::take(&mut self.list_only) {
            if let Some(due) = self.take(due, table, now) {
                self.waiting.push_front(DuePoll { is_alone: true, ..due });
            }
        }
    }

    /// Begins a sweep of a list, if that saves requests. What only the list may read, and no sweep does, is asked for one by one.
    fn begin_sweep(&mut self, n: usize, table: &TaskTable, now: Now) {
        let has_due = !(self.waiting.is_empty() && self.list_only.is_empty());
        if !has_due || self.lists[n].is_sweeping() || self.lists[n].is_failing() {
            return;
        }
        let is_of_list = |due: &DuePoll| usize::from(table.listed(due.token.slot).list) == n;
        let mut due = Vec::new();
        let mut collect = |polls: Vec<DuePoll>, needs_list: bool| {
            let task = |poll: DuePoll| Some(SweptTask::new(poll, table.by_token(poll.token)?, needs_list));
            due.extend(polls.into_iter().filter_map(task));
        };
        let is_swept = |due: &DuePoll| is_of_list(due) && !due.is_alone;
        let (own, others): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(is_swept);
        self.waiting = others.into();
        collect(own, false);
        let (own, others): (Vec<_>, Vec<_>) = self.list_only.drain(..).partition(is_of_list);
        self.list_only = others;
        collect(own, true);
        for task in self.lists[n].begin_sweep(due, table, now.monotonic) {
            self.leave_out(n, task);
        }
    }

    /// A task is not part of a sweep: it is read alone, by the list if only that may read it.
    fn leave_out(&mut self, n: usize, task: SweptTask) {
        match (task.needs_list, self.can_ask_for_one) {
            (true, true) => self.lists[n].single.push(task.due),
            (true, false) => self.list_only.push(task.due),
            (false, _) => self.waiting.push_front(DuePoll { is_alone: true, ..task.due }),
        }
    }

    /// The next poll to send alone, if it became due before `other`: one that a sweep has left out, the oldest task of a sweep that
    /// takes long, or one that waits although no sweep is in progress that another one can follow soon.
    pub fn next_single(&mut self, table: &TaskTable, other: Option<Instant>, now: Instant) -> Option<DuePoll> {
        let is_first = |due: &DuePoll| other.is_none_or(|other| due.at < other);
        if let Some(due) = self.waiting.pop_front_if(|due| due.is_alone && is_first(due)) {
            return Some(due);
        }
        let mut slow = self.lists.iter_mut().filter(|list| list.needs_help(now));
        let swept = slow.find_map(|list| list.take_oldest(table, other));
        let is_sweeping = self.lists.iter().any(PolledList::is_sweeping);
        let patience = if is_sweeping { self.interval } else { Duration::ZERO };
        let is_next = |due: &mut DuePoll| now.saturating_duration_since(due.at) >= patience && is_first(due);
        swept.or_else(|| self.waiting.pop_front_if(is_next))
    }

    /// A list has answered, or failed.
    pub fn on_request(&mut self, label: &str, failure: Option<Reason>, now: Instant) {
        self.lists.iter_mut().filter(|list| list.label == label).for_each(|list| list.on_request(failure, now));
    }

    /// A list has shown these tasks in so many rows. Those that it has left out are read in another way. Returns the task that it was asked
    /// for alone and does not have.
    pub fn on_rows(
        &mut self,
        label: &str,
        rows: &ListRows,
        count: usize,
        shown: &[RowSlot],
        table: &mut TaskTable,
        now: Now,
    ) -> Option<RowSlot> {
        let n = self.lists.iter().position(|list| list.label == label)?;
        let asked = now.before(rows.sent);
        for slot in shown {
            if let Some(listed) = table.listed_mut(*slot) {
                let list = u8::try_from(n).unwrap_or(u8::MAX);
                *listed =
                    Listed { row: Some(asked), list, was_skipped: false, misses: 0, is_doubted: false, ..*listed };
            }
        }
        if let Some(task) = &rows.task {
            let slot = table.slot(task)?;
            self.lists[n].single.retain(|due| due.token.slot != slot);
            let is_missing = !shown.contains(&slot);
            if let Some(listed) = table.listed_mut(slot).filter(|_| is_missing) {
                listed.misses = listed.misses.saturating_add(1);
                listed.list = u8::try_from((n + 1) % self.lists.len()).unwrap_or(0);
                // Neither the list nor the key knows it.
                (listed.row, listed.is_doubted) = (listed.row.filter(|_| !listed.is_doubted), false);
            }
            return is_missing.then_some(slot);
        }
        self.lists[n].on_page(count, shown.len());
        for task in self.lists[n].take_passed(rows, table) {
            if let Some(listed) = table.listed_mut(task.due.token.slot) {
                listed.was_skipped = true;
            }
            self.leave_out(n, task);
        }
        None
    }

    /// Continues with what an earlier configuration knew of the lists that stay.
    pub fn inherit(&mut self, earlier: &Self) {
        for list in &mut self.lists {
            if let Some(known) = earlier.lists.iter().find(|known| known.label == list.label) {
                list.inherit(known);
            }
        }
    }

    /// Whether a row has shown the task so recently that it exists, whatever a single poll says.
    pub fn is_known(&self, listed: Listed, now: Timestamp) -> bool {
        let list = self.lists.get(usize::from(listed.list));
        list.is_some_and(|list| listed.row.is_some_and(|row| now.duration_since(row) < list.patience()))
    }
}
