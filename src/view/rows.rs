//! Tasks in chunks that are copied on write: a reader holds the chunks as they were, the writer changes a copy.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::domain::Task;

/// Rows of a chunk: 4 KiB, which is quickly copied. Smaller ones would make a view larger, larger ones be copied for nothing.
const CHUNK: usize = (4 << 10) / size_of::<Option<TaskRow>>();

/// Where a task is. A free slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowSlot(u32);

impl RowSlot {
    /// Position among all slots.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    const fn in_chunk(self) -> (usize, usize) {
        (self.index() / CHUNK, self.index() % CHUNK)
    }
}

/// A task in the table.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// The task.
    pub task: Task,
    /// Was refused per-task series and counted as such.
    pub was_refused: bool,
    /// Its retention is over: it is only polled, and no reader sees it.
    pub is_past: bool,
    /// Its upstream has answered since it is tracked, which a restart ends.
    pub is_answered: bool,
}

/// Neighboring rows, some of them free.
pub type TaskChunk = Vec<Option<TaskRow>>;

/// The rows of one upstream.
#[derive(Debug, Default)]
pub struct TaskRows {
    chunks: Vec<Arc<TaskChunk>>,
    /// Free slots; the lowest is used first, so that chunks at the end become empty.
    free: BinaryHeap<Reverse<u32>>,
    /// Slots used so far.
    end: u32,
}

impl TaskRows {
    /// Puts a task into a free slot.
    pub fn insert(&mut self, task: Task) -> RowSlot {
        let slot = self.free.pop().map_or(self.end, |Reverse(slot)| slot);
        self.end = self.end.max(slot + 1);
        let slot = RowSlot(slot);
        let (chunk, row) = slot.in_chunk();
        if chunk == self.chunks.len() {
            self.chunks.push(Arc::default());
        }
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        if rows.len() <= row {
            rows.reserve_exact(CHUNK - rows.len());
            rows.resize_with(row + 1, || None);
        }
        rows[row] = Some(TaskRow { task, was_refused: false, is_past: false, is_answered: false });
        slot
    }

    /// The row in a slot.
    pub fn get(&self, slot: RowSlot) -> Option<&TaskRow> {
        let (chunk, row) = slot.in_chunk();
        self.chunks.get(chunk)?.get(row)?.as_ref()
    }

    /// The row in a slot, to be changed.
    pub fn get_mut(&mut self, slot: RowSlot) -> Option<&mut TaskRow> {
        self.get(slot)?;
        let (chunk, row) = slot.in_chunk();
        Arc::make_mut(&mut self.chunks[chunk])[row].as_mut()
    }

    /// Frees a slot.
    pub fn remove(&mut self, slot: RowSlot) -> Option<Task> {
        self.get(slot)?;
        let (chunk, row) = slot.in_chunk();
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        let removed = rows[row].take();
        if rows.iter().all(Option::is_none) {
            self.chunks[chunk] = Arc::default();
        }
        self.free.push(Reverse(slot.0));
        removed.map(|row| row.task)
    }

    /// All rows with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (RowSlot, &TaskRow)> + Clone {
        let chunks = (0..).step_by(CHUNK).zip(&self.chunks);
        chunks
            .flat_map(|(first, chunk)| (first..).map(RowSlot).zip(chunk.iter()))
            .filter_map(|(slot, row)| Some((slot, row.as_ref()?)))
    }

    /// The slots of rows that match.
    pub fn slots(&self, matches: impl Fn(&TaskRow) -> bool) -> Vec<RowSlot> {
        self.iter().filter(|(_, row)| matches(row)).map(|(slot, _)| slot).collect()
    }

    /// The chunks as they are now.
    pub fn chunks(&self) -> Vec<Arc<TaskChunk>> {
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

    fn ids(rows: &TaskRows) -> Vec<String> {
        rows.iter().map(|(_, row)| row.task.id.to_string()).collect()
    }

    #[test]
    fn views_keep_their_chunks_and_only_changed_chunks_are_copied() {
        let mut rows = TaskRows::default();
        let slots: Vec<RowSlot> = (0..200).map(|n| rows.insert(task(n))).collect();
        let kept = rows.chunks();
        rows.get_mut(slots[0]).unwrap().task.poll_failures = 7;
        rows.remove(slots[1]);
        assert!(kept[0][..2].iter().flatten().all(|row| row.task.poll_failures == 0));
        assert_eq!(
            (kept.iter().map(|chunk| chunk.iter().flatten().count()).sum::<usize>(), rows.iter().count()),
            (200, 199)
        );
        assert!(!Arc::ptr_eq(&kept[0], &rows.chunks[0]) && Arc::ptr_eq(&kept[1], &rows.chunks[1]));
        assert!(size_of::<Option<TaskRow>>() * CHUNK > 3 << 10, "a chunk is nearly full");
    }

    #[test]
    fn empty_chunks_use_no_memory() {
        let mut rows = TaskRows::default();
        let slots: Vec<RowSlot> = (0..1000).map(|n| rows.insert(task(n))).collect();
        for slot in &slots[10..] {
            rows.remove(*slot);
        }
        assert!(rows.chunks[1..].iter().all(|chunk| chunk.capacity() == 0));
        assert_eq!(rows.insert(task(5000)), slots[10], "the lowest free slot");
        assert_eq!(ids(&rows).len(), 11);
        assert!(
            rows.get(slots[999]).is_none() && rows.get_mut(slots[999]).is_none() && rows.remove(slots[999]).is_none()
        );
    }

    proptest! {
        #[test]
        fn rows_equal_a_map(steps in proptest::collection::vec((any::<bool>(), 0usize..300), 0..600)) {
            let (mut rows, mut map, mut next) = (TaskRows::default(), BTreeMap::new(), 0);
            for (adds, pick) in steps {
                if adds || map.is_empty() {
                    let slot = rows.insert(task(next));
                    let before = map.insert(slot, format!("t{next}"));
                    prop_assert_eq!(before, None);
                    next += 1;
                } else {
                    let slot = *map.keys().nth(pick % map.len()).unwrap();
                    let left = rows.remove(slot).map(|task| task.id.to_string());
                    prop_assert_eq!(left, map.remove(&slot));
                }
            }
            let kept: BTreeMap<_, _> = rows.iter().map(|(slot, row)| (slot, row.task.id.to_string())).collect();
            prop_assert_eq!(kept, map);
        }
    }
}
