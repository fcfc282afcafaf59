//! Target groups: Prometheus's format for lists of targets, in files and from servers.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::config::{TargetGroup, Text, group_label_problem};
use crate::domain::{NewTask, TaskId};

/// Hash of a text, to detect changes.
pub fn hash_text(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The tasks of a JSON list of groups, and the number of its invalid ids.
pub fn parse_json(text: &[u8]) -> Result<(Vec<NewTask>, u64), String> {
    // The message omits the value, which could be a secret.
    let groups = serde_json::from_slice(text)
        .map_err(|error| format!("{}:{}: not a list of target groups", error.line(), error.column()))?;
    parse_groups(groups)
}

/// The tasks of groups, and the number of their invalid ids.
pub fn parse_groups(groups: Vec<TargetGroup>) -> Result<(Vec<NewTask>, u64), String> {
    let mut tasks = Vec::new();
    let mut invalid_ids = 0;
    for group in groups {
        if let Some(problem) = group_label_problem(&group) {
            return Err(problem);
        }
        let labels = group.clean_labels();
        tasks.reserve_exact(group.targets.len());
        for Text(id) in &group.targets {
            match TaskId::parse(id) {
                Ok(id) => tasks.push(NewTask { labels: labels.clone(), ..NewTask::new(id) }),
                Err(_) => invalid_ids += 1,
            }
        }
    }
    Ok((tasks, invalid_ids))
}

/// Replaces ids by their earlier copies, which the task table shares. So no id is in memory twice.
pub fn share_ids(tasks: &mut [NewTask], before: &[NewTask]) {
    let known: HashSet<&TaskId> = before.iter().map(|task| &task.id).collect();
    for task in tasks {
        if let Some(id) = known.get(&task.id) {
            task.id = (*id).clone();
        }
    }
}
