//! The tasks of the fake gateway: a fixed number of active tasks, and the latest ended ones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::task::{SimulatedTask, Vendor};
use super::view::TaskView;
use crate::domain::Timestamp;

/// Ended tasks that are kept.
const MAX_ENDED: usize = 20_000;

/// How often a gateway asks the vendors, in seconds.
const GATEWAY_INTERVAL: f64 = 15.0;

/// The gateway's units for one dollar.
pub const UNITS_PER_DOLLAR: u64 = 500_000;

/// The tasks of a gateway.
pub struct TaskPool {
    random: fastrand::Rng,
    speed: f64,
    created: u64,
    /// When each active task ends, the earliest on top.
    active: BinaryHeap<Reverse<Timestamp>>,
    tasks: HashMap<String, SimulatedTask>,
    /// Ids by submit time, oldest first.
    order: VecDeque<String>,
    /// Units of ended tasks that were dropped.
    dropped: u64,
}

impl TaskPool {
    /// A pool of `tasks` active tasks. Their submit times are spread, so that they do not all end together.
    pub fn new(tasks: usize, seed: u64, speed: f64, now: Timestamp) -> Self {
        let mut pool = Self {
            random: fastrand::Rng::with_seed(seed),
            speed,
            created: 0,
            active: BinaryHeap::new(),
            tasks: HashMap::new(),
            order: VecDeque::new(),
            dropped: 0,
        };
        let mut ages: Vec<f64> = (0..tasks).map(|_| 60.0 * pool.random.f64() / speed).collect();
        ages.sort_by(|a, b| b.total_cmp(a));
        for age in ages {
            pool.create_task(now - Duration::from_secs_f64(age));
        }
        pool
    }

    fn create_task(&mut self, at: Timestamp) {
        let id = self.add(|random, speed| SimulatedTask::new(random, at, speed));
        self.active.extend(self.tasks.get(&id).map(|task| Reverse(task.finish)));
    }

    /// Adds a task that no other one follows; returns its id.
    pub fn add(&mut self, create: impl FnOnce(&mut fastrand::Rng, f64) -> SimulatedTask) -> String {
        self.created += 1;
        let id = format!("task_sim{:08}", self.created);
        let task = create(&mut self.random, self.speed);
        // By submit time, as a gateway numbers them.
        let is_later = |id: &&String| self.tasks.get(*id).is_some_and(|other| other.submit > task.submit);
        let later = self.order.iter().rev().take_while(is_later).count();
        self.order.insert(self.order.len() - later, id.clone());
        self.tasks.insert(id.clone(), task);
        id
    }

    /// Creates a task for each one that has ended by `now`, and drops the oldest ended tasks.
    pub fn advance_to(&mut self, now: Timestamp) {
        while self.active.peek().is_some_and(|Reverse(finish)| *finish <= now) {
            self.active.pop();
            let pause = Duration::from_secs_f64(5.0 * self.random.f64() / self.speed);
            self.create_task(now + pause);
        }
        while self.order.len() > MAX_ENDED + self.active.len() {
            let oldest = self.order.pop_front().and_then(|id| self.tasks.remove(&id));
            self.dropped += oldest.map_or(0, |task| task.quota(true, true).into());
        }
    }

    /// The units that tasks have used: charged ahead, settled or refunded.
    pub fn used(&self, now: Timestamp) -> u64 {
        let submitted = self.tasks.values().filter(|task| task.submit <= now);
        let used = submitted.map(|task| {
            let view = TaskView::new(task, now);
            u64::from(task.quota(now >= task.finish, view.is_none_or(|view| view.is_settled)))
        });
        self.dropped + used.sum::<u64>()
    }

    /// The task with this id.
    pub fn get(&self, id: &str) -> Option<&SimulatedTask> {
        self.tasks.get(id)
    }

    /// A single read of a task at Gemini makes the gateway store only its status, unless the gateway has stored its end before.
    pub fn spoil(&mut self, id: &str, now: Timestamp) {
        let stored_after = Duration::from_secs_f64(GATEWAY_INTERVAL / self.speed);
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.model.vendor == Vendor::Gemini) {
            task.is_spoiled |= now >= task.finish && now < task.finish + stored_after;
        }
    }

    /// The ids of tasks that are submitted by `now`, oldest first.
    pub fn ids(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &str> {
        let submitted = move |id: &&str| self.tasks.get(*id).is_some_and(|task| task.submit <= now);
        self.order.iter().map(String::as_str).filter(submitted)
    }
}
