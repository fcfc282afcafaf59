//! The tasks of one upstream: where each lies, and when it was last decided when it is asked.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::domain::rows::Row;
use crate::domain::{Answer, Place, Rows, Task, TaskId};

/// Most of what was told that waits to be looked at; the rest is polled.
const MAX_TOLD: usize = 10_000;

/// What became of something that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is looked at.
    Taken,
    /// There is no such task.
    Unknown,
    /// There is no room.
    TooMuch,
}

/// A task's turn to be asked: it stands until another one is decided, or the task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Where the task lies.
    pub place: Place,
    number: u32,
}

/// The table.
#[derive(Default)]
pub struct Table {
    /// The tasks.
    pub rows: Rows,
    places: BTreeMap<TaskId, Place>,
    /// Of each place, how many turns were given, or lost their meaning.
    turns: Vec<u32>,
    /// Added and not yet scheduled.
    fresh: Vec<Place>,
    /// What was told of tasks, not yet looked at: of each what is furthest along.
    told: HashMap<TaskId, Answer>,
    /// Notified when there is something fresh, or told.
    pub wake: Arc<Notify>,
}

impl Table {
    /// Adds a task; one that is there already stays as it is.
    pub fn add(&mut self, task: Task) {
        if !self.places.contains_key(&task.id) {
            let id = task.id.clone();
            let place = self.rows.insert(task);
            self.places.insert(id, place);
            self.fresh.push(place);
            let turns = self.turns.len().max(place.index() + 1);
            self.turns.resize(turns, 0);
        }
    }

    /// Where a task lies.
    pub fn place(&self, id: &TaskId) -> Option<Place> {
        self.places.get(id).copied()
    }

    /// A task as it is now, and where it lies.
    pub fn find(&self, id: &TaskId) -> Option<(Place, &Task)> {
        let place = self.place(id)?;
        Some((place, &self.rows.get(place)?.task))
    }

    /// Lets go of what lies there.
    pub fn remove(&mut self, place: Place) {
        if let Some(task) = self.rows.remove(place) {
            self.places.remove(&task.id);
            // What was decided about it means nothing to the next one here.
            self.end_turn(place);
        }
    }

    /// It is decided anew when the task there is asked; nothing where none is.
    pub fn next_turn(&mut self, place: Place) -> Option<Turn> {
        self.rows.get(place)?;
        let number = self.end_turn(place)?;
        Some(Turn { place, number })
    }

    fn end_turn(&mut self, place: Place) -> Option<u32> {
        let number = self.turns.get_mut(place.index())?;
        *number = number.wrapping_add(1);
        Some(*number)
    }

    /// A task as it is now, if this turn still stands.
    pub fn at(&self, turn: Turn) -> Option<&Task> {
        let stands = self.turns.get(turn.place.index()) == Some(&turn.number);
        self.rows.get(turn.place).filter(|_| stands).map(|row| &row.task)
    }

    /// Places of tasks that were added since the last call.
    pub fn take_fresh(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.fresh)
    }

    /// Somebody tells where a task stands.
    pub fn tell(&mut self, id: TaskId, answer: Answer) -> Told {
        if !self.places.contains_key(&id) {
            return Told::Unknown;
        }
        let is_full = self.told.len() >= MAX_TOLD;
        match self.told.entry(id) {
            hash_map::Entry::Occupied(mut held) => {
                if answer.status.stage() >= held.get().status.stage() {
                    held.insert(answer);
                }
            }
            hash_map::Entry::Vacant(_) if is_full => return Told::TooMuch,
            hash_map::Entry::Vacant(vacant) => _ = vacant.insert(answer),
        }
        self.wake.notify_one();
        Told::Taken
    }

    /// What was told since the last call.
    pub fn take_told(&mut self) -> HashMap<TaskId, Answer> {
        std::mem::take(&mut self.told)
    }

    /// The tasks after this id, or all, in the order of ids.
    pub fn after(&self, id: Option<&TaskId>) -> impl Iterator<Item = &Task> {
        let from = id.map_or(Unbounded, Excluded);
        let places = self.places.range::<TaskId, _>((from, Unbounded));
        places.filter_map(|(_, place)| self.rows.get(*place)).map(|row| &row.task)
    }

    /// Lets go of what is like that.
    pub fn remove_where(&mut self, gone: impl Fn(&Row) -> bool) {
        for place in self.rows.places(gone) {
            self.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Status, Timestamp};

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    fn added(table: &mut Table, text: &str) -> Place {
        table.add(Task::new("u".into(), "new_api", NewTask::new(id(text)), Timestamp::from_secs(0)));
        table.place(&id(text)).unwrap()
    }

    fn at(table: &Table, turn: Option<Turn>) -> Option<&str> {
        Some(table.at(turn?)?.id.as_str())
    }

    #[test]
    fn a_turn_stands_until_another_is_decided_or_its_task_goes() {
        let mut table = Table::default();
        let place = added(&mut table, "a");
        let first = table.next_turn(place);
        assert_eq!(at(&table, first), Some("a"));
        let second = table.next_turn(place);
        assert_eq!((at(&table, first), at(&table, second)), (None, Some("a")));
        // Another one that comes to lie there has nothing to do with it, whatever was decided meanwhile.
        table.remove(place);
        assert_eq!(table.next_turn(place), None);
        assert_eq!(added(&mut table, "b"), place);
        assert_eq!((at(&table, first), at(&table, second)), (None, None));
        let third = table.next_turn(place);
        assert_eq!(at(&table, third), Some("b"));
        assert_eq!(table.find(&id("a")), None);
        assert_eq!(table.take_fresh(), [place, place]);
    }

    #[test]
    fn of_what_is_told_the_furthest_is_kept_and_only_of_tasks_that_are_there() {
        let mut table = Table::default();
        added(&mut table, "a");
        assert_eq!(table.tell(id("b"), Answer::new(Status::Running)), Told::Unknown);
        for status in [Status::Queued, Status::Succeeded, Status::Running] {
            assert_eq!(table.tell(id("a"), Answer::new(status)), Told::Taken);
        }
        let told: Vec<_> = table.take_told().into_values().map(|answer| answer.status).collect();
        assert_eq!(told, [Status::Succeeded]);
    }
}
