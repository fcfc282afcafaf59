//! All tasks of the fake gateway: as many alive as were asked for, the ended ones for as long as there is room.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::life::Life;
use crate::domain::Timestamp;

/// Most tasks that are remembered beside the living ones.
const MAX_ENDED: usize = 20_000;

/// The tasks.
pub struct World {
    chance: fastrand::Rng,
    speed: f64,
    born: u64,
    /// When each living task ends, the next one first.
    living: BinaryHeap<Reverse<Timestamp>>,
    known: HashMap<String, Life>,
    order: VecDeque<String>,
}

impl World {
    /// `tasks` tasks that were born over the last while, so that they do not all end together.
    pub fn new(tasks: usize, seed: u64, speed: f64, now: Timestamp) -> Self {
        let mut world = Self {
            chance: fastrand::Rng::with_seed(seed),
            speed,
            born: 0,
            living: BinaryHeap::new(),
            known: HashMap::new(),
            order: VecDeque::new(),
        };
        for _ in 0..tasks {
            let ago = Duration::from_secs_f64(60.0 * world.chance.f64() / speed);
            world.bear(now - ago);
        }
        world
    }

    fn bear(&mut self, at: Timestamp) {
        self.born += 1;
        let id = format!("task_sim{:08}", self.born);
        let life = Life::new(&mut self.chance, at, self.speed);
        self.living.push(Reverse(life.finish));
        self.known.insert(id.clone(), life);
        self.order.push_back(id);
    }

    /// Lets time pass: whoever has ended makes room for another.
    pub fn live(&mut self, now: Timestamp) {
        while self.living.peek().is_some_and(|Reverse(finish)| *finish <= now) {
            self.living.pop();
            let pause = Duration::from_secs_f64(5.0 * self.chance.f64() / self.speed);
            self.bear(now + pause);
        }
        while self.order.len() > MAX_ENDED + self.living.len() {
            if let Some(id) = self.order.pop_front() {
                self.known.remove(&id);
            }
        }
    }

    /// The life behind an id.
    pub fn get(&self, id: &str) -> Option<&Life> {
        self.known.get(id)
    }

    /// Every known id that has been submitted by now, oldest first.
    pub fn ids(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let submitted = move |id: &&str| self.known.get(*id).is_some_and(|life| life.submit <= now);
        self.order.iter().map(String::as_str).filter(submitted)
    }
}
