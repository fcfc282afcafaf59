//! Target groups: Prometheus's form of a list of ids, in files and from servers alike.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::config::{TargetGroup, Text, group_label_problem};
use crate::domain::{NewTask, TaskId};

/// By what a text is known again.
pub fn digest(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The tasks of a JSON list of groups, and how many of its ids are none.
pub fn of_json(text: &[u8]) -> Result<(Vec<NewTask>, u64), String> {
    // Without the value that was found: it could be anything.
    let groups = serde_json::from_slice(text)
        .map_err(|error| format!("{}:{}: not a list of target groups", error.line(), error.column()))?;
    tasks(groups)
}

/// The same for groups that were read.
pub fn tasks(groups: Vec<TargetGroup>) -> Result<(Vec<NewTask>, u64), String> {
    let mut tasks = Vec::new();
    let mut refused = 0;
    for group in groups {
        if let Some(problem) = group_label_problem(&group) {
            return Err(problem);
        }
        let labels = group.clean_labels();
        tasks.reserve_exact(group.targets.len());
        for Text(id) in &group.targets {
            match TaskId::parse(id) {
                Ok(id) => tasks.push(NewTask { labels: labels.clone(), ..NewTask::new(id) }),
                Err(_) => refused += 1,
            }
        }
    }
    Ok((tasks, refused))
}

/// Ids that were there before stay the same ones: the table has them, too, and no second copy is kept.
pub fn share_ids(tasks: &mut [NewTask], before: &[NewTask]) {
    let known: HashSet<&TaskId> = before.iter().map(|task| &task.id).collect();
    for task in tasks {
        if let Some(id) = known.get(&task.id) {
            task.id = (*id).clone();
        }
    }
}
