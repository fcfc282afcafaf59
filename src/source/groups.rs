//! Target groups: Prometheus's format for lists of targets, in files and from servers.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::de::{self, Deserializer as _, SeqAccess, Visitor};

use super::invalid_ids::InvalidIds;
use crate::config::{TargetGroup, Text, group_label_problem};
use crate::domain::labels::MAX_LABELS;
use crate::domain::{NewTask, TaskId};

/// Most ids and labels of a list in JSON. A million groups of one id may have six labels each.
const MAX_VALUES: usize = 8_000_000;

/// Ids and labels of a group of one id, at most.
const VALUES_PER_TARGET: usize = MAX_LABELS + 2;

/// Hash of a text, to detect changes.
pub fn hash_text(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The tasks of target groups.
#[derive(Default)]
pub struct TargetList {
    /// The tasks.
    pub tasks: Vec<NewTask>,
    /// Ids that are not valid.
    pub invalid_ids: InvalidIds,
    groups: usize,
    max_targets: usize,
    problem: Option<String>,
}

/// A source has too many ids.
pub fn too_many_targets(max_targets: usize) -> String {
    format!("more than {max_targets} task ids; the last list is kept. Remove ended tasks, or increase `max_targets`")
}

/// So many values are never too many: a comma within a text counts as well.
const FEW_VALUES: usize = 100_000;

/// The tasks of a JSON list of groups, with at most so many ids.
pub fn parse_json(text: &[u8], max_targets: usize) -> Result<TargetList, String> {
    // Before they are in memory, where a value of two bytes takes a dozen times as many.
    let most_values = MAX_VALUES.min(max_targets.saturating_mul(VALUES_PER_TARGET).max(FEW_VALUES));
    if text.split(|byte| *byte == b',').count() > most_values {
        return Err(format!(
            "more than {most_values} ids and labels; the last list is kept. Split the list, or write shared labels once"
        ));
    }
    let mut list = TargetList { max_targets, ..TargetList::default() };
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = json.deserialize_seq(&mut list).and_then(|()| json.end());
    match (parsed, list.problem.take()) {
        (Ok(()), _) => Ok(list),
        (Err(_), Some(problem)) => Err(problem),
        // The message omits the value, which could be a secret.
        (Err(error), None) => Err(format!("{}:{}: not a list of target groups", error.line(), error.column())),
    }
}

/// The tasks of groups, with at most so many ids.
pub fn parse_groups(groups: Vec<TargetGroup>, max_targets: usize) -> Result<TargetList, String> {
    let mut list = TargetList { max_targets, ..TargetList::default() };
    groups.into_iter().try_for_each(|group| list.add(&group))?;
    Ok(list)
}

impl TargetList {
    fn add(&mut self, group: &TargetGroup) -> Result<(), String> {
        if let Some(problem) = group_label_problem(group) {
            return Err(format!("{}.labels: {problem}", self.groups));
        }
        self.groups += 1;
        let labels = group.clean_labels();
        for Text(id) in &group.targets {
            match TaskId::parse(id) {
                Ok(_) if self.tasks.len() >= self.max_targets => return Err(too_many_targets(self.max_targets)),
                Ok(id) => self.tasks.push(NewTask { labels: labels.clone(), ..NewTask::new(id) }),
                Err(why) => self.invalid_ids.add(id, why),
            }
        }
        Ok(())
    }
}

/// Reads group by group, so that only the tasks are in memory.
impl<'de> Visitor<'de> for &mut TargetList {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of target groups")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut groups: A) -> Result<(), A::Error> {
        while let Some(group) = groups.next_element::<TargetGroup>()? {
            self.add(&group).map_err(|problem| {
                self.problem = Some(problem);
                de::Error::custom("")
            })?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_beyond_a_limit_is_an_error_that_names_the_place() {
        let many = |n: usize| (0..n).map(|n| format!("\"l{n}\": \"\"")).collect::<Vec<_>>().join(", ");
        for (labels, max_targets, problem) in [
            (String::new(), 3, None),
            (String::new(), 2, Some("more than 2 task ids; the last list is kept")),
            (many(32), 3, None),
            (many(33), 3, Some("1.labels: has more than 32 labels")),
            (format!("\"team\": \"{}\"", "x".repeat(4096)), 3, None),
            (format!("\"team\": \"{}\"", "x".repeat(4097)), 3, Some("1.labels: label team has 4097 bytes")),
        ] {
            let text = format!(r#"[{{"targets": ["a", "b"]}}, {{"targets": ["c"], "labels": {{{labels}}}}}]"#);
            let groups = serde_json::from_str(&text).unwrap();
            for list in [parse_json(text.as_bytes(), max_targets), parse_groups(groups, max_targets)] {
                match (list, problem) {
                    (Ok(list), None) => assert_eq!(list.tasks.len(), 3),
                    (Err(error), Some(problem)) => assert!(error.starts_with(problem), "{error}"),
                    (list, problem) => panic!("{:?}, not {problem:?}", list.err()),
                }
            }
        }
    }

    #[test]
    fn ids_that_are_not_valid_cannot_fill_the_memory_either() {
        let list = |ids: usize| format!(r#"[{{"targets": [{}""]}}]"#, r#""","#.repeat(ids - 1));
        assert_eq!(parse_json(list(340_000).as_bytes(), 10_000).map(|list| list.invalid_ids.count), Ok(340_000));
        let error = parse_json(list(340_001).as_bytes(), 10_000).err().unwrap();
        assert!(error.starts_with("more than 340000 ids and labels"), "{error}");
    }
}
