//! The families of each task in a chunk. They are computed once, so that writing a family skips tasks without it.

use std::sync::Arc;

use super::series_selection::SeriesSelection;
use super::tasks::{TaskContext, TaskFamily};
use crate::domain::Task;
use crate::domain::time::WallOffset;
use crate::view::{TaskChunk, TaskRow};

/// A chunk that has tasks with series.
pub struct SeriesChunk {
    chunk: Arc<TaskChunk>,
    /// Of its upstream.
    context: TaskContext,
    /// The families of each row.
    families: Vec<FamilySet>,
}

/// A set of families.
#[derive(Clone, Copy, Default)]
struct FamilySet(u32);

impl FamilySet {
    const fn bit(family: TaskFamily) -> u32 {
        1 << family as u32
    }

    /// The families of a task.
    fn from_task(task: &Task, context: &TaskContext) -> Self {
        let families = TaskFamily::ALL.into_iter().filter(|family| family.has_rows(task, context));
        Self(families.fold(0, |bits, family| bits | Self::bit(family)))
    }

    const fn has(self, family: TaskFamily) -> bool {
        self.0 & Self::bit(family) != 0
    }
}

impl SeriesChunk {
    /// The tasks of a chunk that have series; `None` when none has. A chunk belongs to one upstream.
    pub fn new(
        (chunk, context): (&Arc<TaskChunk>, TaskContext),
        selection: &SeriesSelection,
        wall_offset: WallOffset,
    ) -> Option<Self> {
        let selected = selection.of(&chunk.iter().flatten().next()?.task.origin.upstream);
        let has_series = |row: &&TaskRow| !row.is_past && selected.has(&row.task);
        let families = |row: &Option<TaskRow>| {
            let row = row.as_ref().filter(has_series)?;
            Some(FamilySet::from_task(&row.task.by_wall(wall_offset), &context))
        };
        let families: Vec<_> = chunk.iter().map(|row| families(row).unwrap_or_default()).collect();
        families.iter().any(|families| families.0 != 0).then(|| Self { chunk: chunk.clone(), context, families })
    }

    /// What its rows need beside the tasks.
    pub const fn context(&self) -> &TaskContext {
        &self.context
    }

    /// The tasks with rows in a family, from a row on; each with its row.
    pub fn tasks_with(&self, family: TaskFamily, from: usize) -> impl Iterator<Item = (usize, &Task)> {
        let rows = self.families.iter().enumerate().skip(from).filter(move |(_, families)| families.has(family));
        rows.filter_map(|(n, _)| Some((n, &self.chunk[n].as_ref()?.task)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::domain::number::Number;
    use crate::domain::outlook::{Baseline, Outlook, StuckRules};
    use crate::domain::pricing::{CostSource, Currency, Money};
    use crate::domain::reading::Tokens;
    use crate::domain::task::TaskCost;
    use crate::domain::{NewTask, Status, TaskId, Timestamp};
    use crate::metrics::tasks::RowWriter;
    use crate::metrics::text::SampleValue;

    struct RowCount(usize);

    impl RowWriter for RowCount {
        fn write_row(&mut self, _: &[(&str, &str)], _: SampleValue) {
            self.0 += 1;
        }
    }

    #[test]
    fn the_family_set_of_a_task_has_exactly_the_families_with_rows() {
        let at = Timestamp::from_secs;
        let baseline = Baseline([1, 2, 3].map(Duration::from_secs));
        let stuck = StuckRules { factor: 3.0, floor: Duration::from_mins(15) };
        let outlook = Outlook { baselines: BTreeMap::from([("m".into(), baseline)]), ..Outlook::new(stuck) };
        let context = TaskContext { outlook: Arc::new(outlook), now: at(5000) };
        let mut seen = [0; 2];
        for status in Status::ALL {
            let bare = Task {
                status,
                ..Task::new("u".into(), "new_api", NewTask::new(TaskId::parse("t").unwrap()), at(4999))
            };
            let mut full = bare.clone();
            (full.times.submit, full.times.start, full.times.finish) = (Some(at(2)), Some(at(3)), Some(at(4)));
            (full.progress, full.video_seconds, full.quota) = (Number::new(0.5), Number::new(5.0), Number::new(9.0));
            full.tokens = Tokens { total: Some(7.0), ..Tokens::default() }.into();
            (full.last_poll, full.deadline, full.result_expiry) = (Some(at(5)), Some(at(6)), Some(at(7)));
            Arc::make_mut(&mut full.video).model = Some("m".into());
            let money = Money { micros: 7, currency: Currency::USD, source: CostSource::Derived };
            full.cost = Some(Box::new(TaskCost { money, counted: 7 }));
            for task in [bare, full] {
                for family in TaskFamily::ALL {
                    let mut rows = RowCount(0);
                    family.write_rows(&task, &context, &mut rows);
                    let has_rows = FamilySet::from_task(&task, &context).has(family);
                    assert_eq!(has_rows, rows.0 > 0, "{family:?} of {task:?}");
                    seen[usize::from(rows.0 > 0)] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }
}
