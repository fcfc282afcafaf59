//! Tasks side by side, in chunks. Whoever reads them holds the chunks as they are; whoever changes a task meanwhile changes a
//! copy of its chunk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::Task;

/// Rows of a chunk: 16 KiB, of which allocators waste little, and which is soon copied.
const CHUNK: usize = (16 << 10) / size_of::<Option<Row>>();

/// Where a task lies. A place that one has left is another's later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    /// As an index, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    const fn within(self) -> (usize, usize) {
        (self.index() / CHUNK, self.index() % CHUNK)
    }
}

/// A task, and whether it has series of its own.
#[derive(Debug, Clone)]
pub struct Row {
    /// The task.
    pub task: Task,
    /// It has.
    pub has_series: bool,
    /// It had to go without, once, which is counted once.
    pub was_refused: bool,
}

/// Rows next to each other, some of which are left.
pub type Chunk = Vec<Option<Row>>;

/// The rows.
#[derive(Debug, Default)]
pub struct Rows {
    chunks: Vec<Arc<Chunk>>,
    /// Places that were left: the first of them is taken first, so that chunks at the end run empty.
    free: BinaryHeap<Reverse<u32>>,
    /// So many places there have been.
    end: u32,
}

impl Rows {
    /// Puts a task somewhere.
    pub fn insert(&mut self, task: Task) -> Place {
        let place = self.free.pop().map_or(self.end, |Reverse(place)| place);
        self.end = self.end.max(place + 1);
        let place = Place(place);
        let (chunk, row) = place.within();
        if chunk == self.chunks.len() {
            self.chunks.push(Arc::default());
        }
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        if rows.len() <= row {
            rows.reserve_exact(CHUNK - rows.len());
            rows.resize_with(row + 1, || None);
        }
        rows[row] = Some(Row { task, has_series: false, was_refused: false });
        place
    }

    /// What lies there.
    pub fn get(&self, place: Place) -> Option<&Row> {
        let (chunk, row) = place.within();
        self.chunks.get(chunk)?.get(row)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut Row> {
        self.get(place)?;
        let (chunk, row) = place.within();
        Arc::make_mut(&mut self.chunks[chunk])[row].as_mut()
    }

    /// Takes away what lies there.
    pub fn remove(&mut self, place: Place) -> Option<Task> {
        self.get(place)?;
        let (chunk, row) = place.within();
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        let left = rows[row].take();
        if rows.iter().all(Option::is_none) {
            self.chunks[chunk] = Arc::default();
        }
        self.free.push(Reverse(place.0));
        left.map(|row| row.task)
    }

    /// All that lies somewhere, with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Row)> + Clone {
        let places = (0..).step_by(CHUNK).zip(&self.chunks);
        places
            .flat_map(|(first, chunk)| (first..).map(Place).zip(chunk.iter()))
            .filter_map(|(place, row)| Some((place, row.as_ref()?)))
    }

    /// The places of rows that are like that.
    pub fn places(&self, wanted: impl Fn(&Row) -> bool) -> Vec<Place> {
        self.iter().filter(|(_, row)| wanted(row)).map(|(place, _)| place).collect()
    }

    /// The chunks as they are now, to be held.
    pub fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.chunks.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{NewTask, TaskId, Timestamp};

    fn task(n: u32) -> Task {
        let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
        Task::new("u".into(), "new_api", new, Timestamp::from_secs(0))
    }

    fn ids(rows: &Rows) -> Vec<String> {
        rows.iter().map(|(_, row)| row.task.id.to_string()).collect()
    }

    #[test]
    fn a_reader_holds_what_was_there_and_only_changed_chunks_are_copied() {
        let mut rows = Rows::default();
        let places: Vec<Place> = (0..200).map(|n| rows.insert(task(n))).collect();
        let held = rows.chunks();
        rows.get_mut(places[0]).unwrap().task.poll_failures = 7;
        rows.remove(places[1]);
        assert!(held[0][..2].iter().flatten().all(|row| row.task.poll_failures == 0));
        assert_eq!(
            (held.iter().map(|chunk| chunk.iter().flatten().count()).sum::<usize>(), rows.iter().count()),
            (200, 199)
        );
        assert!(!Arc::ptr_eq(&held[0], &rows.chunks[0]) && Arc::ptr_eq(&held[1], &rows.chunks[1]));
        assert!(size_of::<Option<Row>>() * CHUNK > 15 << 10, "a chunk is nearly full");
    }

    #[test]
    fn chunks_that_nobody_is_in_any_more_take_no_room() {
        let mut rows = Rows::default();
        let places: Vec<Place> = (0..1000).map(|n| rows.insert(task(n))).collect();
        for place in &places[10..] {
            rows.remove(*place);
        }
        assert!(rows.chunks[1..].iter().all(|chunk| chunk.capacity() == 0));
        assert_eq!(rows.insert(task(5000)), places[10], "the first place that is free");
        assert_eq!(ids(&rows).len(), 11);
        assert!(
            rows.get(places[999]).is_none()
                && rows.get_mut(places[999]).is_none()
                && rows.remove(places[999]).is_none()
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec((any::<bool>(), 0usize..300), 0..600)) {
            let (mut rows, mut map, mut next) = (Rows::default(), BTreeMap::new(), 0);
            for (adds, pick) in steps {
                if adds || map.is_empty() {
                    let place = rows.insert(task(next));
                    let before = map.insert(place, format!("t{next}"));
                    prop_assert_eq!(before, None);
                    next += 1;
                } else {
                    let place = *map.keys().nth(pick % map.len()).unwrap();
                    let left = rows.remove(place).map(|task| task.id.to_string());
                    prop_assert_eq!(left, map.remove(&place));
                }
            }
            let held: BTreeMap<_, _> = rows.iter().map(|(place, row)| (place, row.task.id.to_string())).collect();
            prop_assert_eq!(held, map);
        }
    }
}
