//! What goes wrong in the demo: tasks that are there for it, and a key that is refused.

use std::time::Duration;

use super::gateway::Gateway;
use super::task::{Outcome, SimulatedTask, Vendor};
use super::task_pool::TaskPool;
use crate::clock;
use crate::domain::Timestamp;

/// Code and message of a task that is refused for its content.
const REFUSED: (&str, &str) =
    ("OutputVideoSensitiveContentDetected", "The output video may contain sensitive information.");

/// How old a task is that does not move.
const STUCK_FOR: Duration = Duration::from_mins(47);

/// How long it still does not end.
const FOREVER: Duration = Duration::from_hours(24);

/// A task that goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// Refused for its content after this time.
    Refused(Duration),
    /// Expired at its provider after this time; a gateway still says that it runs.
    Expired(Duration),
    /// Runs since long and does not end.
    Stuck,
}

impl Gateway {
    /// Adds so many tasks that go wrong; returns their ids.
    pub fn add_trouble(&self, trouble: Trouble, count: usize) -> Vec<String> {
        let now = Timestamp::from(clock::now());
        let mut pool = self.pool();
        (0..count).map(|_| add(&mut pool, trouble, now)).collect()
    }
}

fn add(pool: &mut TaskPool, trouble: Trouble, now: Timestamp) -> String {
    let started = |submit: Timestamp| submit + Duration::from_secs(3);
    // Ark's tasks have a deadline, and none is stuck before half of the time until then.
    let vendor = if matches!(trouble, Trouble::Stuck) { Vendor::Kling } else { Vendor::Ark };
    pool.add(|random, speed| {
        let task = SimulatedTask::new(random, now, speed).of(vendor);
        match trouble {
            Trouble::Refused(after) => {
                let outcome = Outcome::Failed(REFUSED.0, REFUSED.1);
                SimulatedTask { start: started(now), finish: now + after, outcome, ..task }
            }
            Trouble::Expired(after) => {
                SimulatedTask { start: started(now), finish: now + after, outcome: Outcome::Expired, ..task }
            }
            Trouble::Stuck => {
                let submit = now - STUCK_FOR;
                SimulatedTask {
                    submit,
                    start: started(submit),
                    finish: now + FOREVER,
                    outcome: Outcome::Succeeded,
                    ..task
                }
            }
        }
    })
}
