//! Limits on what the tasks of an API key may occupy: rows, series, and names of labels.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;

use super::error::HttpError;
use crate::config::ApiKey;
use crate::domain::{NewTask, Task};
use crate::view::UpstreamView;

/// Most names of labels: each becomes a label of `videogen_task_info`.
const MAX_LABEL_NAMES: usize = 64;

/// Seconds of `Retry-After`: tasks end, and are dropped after `tasks.retention`.
const RETRY_AFTER: u64 = 60;

/// Checks that a key may register these tasks, each with its upstream. The tracked tasks that it has registered count.
///
/// # Errors
/// 429, with the limit.
pub fn check(key: &ApiKey, views: &[Arc<UpstreamView>], new: &[(&str, &NewTask)]) -> Result<(), HttpError> {
    let identity = key.identity();
    let new: Vec<_> = new.iter().copied().filter(|(_, task)| task.key.as_ref() == Some(&identity)).collect();
    let exceeded = |message| HttpError::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(RETRY_AFTER);
    if !has_room(key, views, &new) {
        return Err(exceeded(format!(
            "no task was registered: this API key may track {} tasks at a time \
             (api.authorization.max_tasks); forget tasks, wait until ended ones are dropped, or raise the limit",
            key.max_tasks
        )));
    }
    if count_label_names(&identity, views, &new) > MAX_LABEL_NAMES {
        return Err(exceeded(format!(
            "no task was registered: the tasks of this API key may have {MAX_LABEL_NAMES} different names of labels; \
             use fewer names"
        )));
    }
    Ok(())
}

fn tasks_of_key<'a>(key: &str, views: &'a [Arc<UpstreamView>]) -> impl Iterator<Item = &'a Task> {
    views.iter().flat_map(|view| view.tasks()).filter(move |task| task.origin.key.as_deref() == Some(key))
}

fn has_room(key: &ApiKey, views: &[Arc<UpstreamView>], new: &[(&str, &NewTask)]) -> bool {
    let (identity, max) = (key.identity(), key.max_tasks);
    // Usually there are fewer tasks of all sources, and nothing has to be counted.
    if views.iter().map(|view| view.task_count).sum::<usize>() + new.len() <= max {
        return true;
    }
    let mut added: HashSet<_> = new.iter().map(|(upstream, task)| (*upstream, &task.id)).collect();
    // Tasks that are tracked already are not added: a repeated registration must succeed.
    // Those of others look new to a key with labels, so that its limit does not tell that they are there.
    for task in views.iter().flat_map(|view| view.tasks()).filter(|task| key.has_task(task)) {
        added.remove(&(&*task.origin.upstream, &task.id));
    }
    added.is_empty() || tasks_of_key(&identity, views).count() + added.len() <= max
}

/// The number of names after the registration; 0 when it brings no new one.
fn count_label_names(key: &str, views: &[Arc<UpstreamView>], new: &[(&str, &NewTask)]) -> usize {
    let mut missing: BTreeSet<&str> = new.iter().flat_map(|(_, task)| task.labels.keys().map(String::as_str)).collect();
    let mut names = BTreeSet::new();
    for task in tasks_of_key(key, views) {
        if missing.is_empty() {
            return 0;
        }
        for name in task.origin.labels.keys().map(String::as_str) {
            missing.remove(name);
            names.insert(name);
        }
    }
    if missing.is_empty() { 0 } else { names.len() + missing.len() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Scope;
    use crate::domain::{TaskId, Timestamp};
    use crate::view::TaskRows;

    fn new_task(id: &str, labels: impl IntoIterator<Item = String>) -> NewTask {
        let labels: BTreeMap<_, _> = labels.into_iter().map(|name| (name, "x".to_owned())).collect();
        NewTask { labels: Arc::new(labels), ..NewTask::new(TaskId::parse(id).unwrap()) }
    }

    fn view(upstream: &str, tasks: Vec<NewTask>) -> Arc<UpstreamView> {
        let mut rows = TaskRows::default();
        let task_count = tasks.len();
        for new in tasks {
            rows.insert(Task::new(upstream.into(), "new_api", new, Timestamp::from_secs(1)));
        }
        Arc::new(UpstreamView { chunks: rows.chunks(), task_count, ..UpstreamView::empty(upstream.into(), "new_api") })
    }

    fn key(max_tasks: usize) -> ApiKey {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        let key = Arc::new(crate::secret::SecretSource::from_file(file.path()).ok().unwrap());
        ApiKey {
            name: "k".into(),
            key,
            upstreams: Vec::new(),
            scopes: vec![Scope::Write],
            labels: BTreeMap::new(),
            max_tasks,
        }
    }

    #[test]
    fn the_tasks_that_a_key_has_registered_count_wherever_they_are() {
        let (mine, other) = (key(3), ApiKey { name: "other".into(), ..key(3) });
        let of = |key: &ApiKey, id| NewTask { key: Some(key.identity()), ..new_task(id, []) };
        let views =
            [view("red", vec![of(&mine, "a"), of(&other, "b"), new_task("c", [])]), view("blue", vec![of(&mine, "d")])];
        let (e, f, a) = (of(&mine, "e"), of(&mine, "f"), of(&mine, "a"));
        assert!(check(&mine, &views, &[("red", &e)]).is_ok());
        assert!(check(&mine, &views, &[("red", &e), ("blue", &a)]).is_err());
        assert!(check(&mine, &views, &[("red", &e), ("red", &a)]).is_ok(), "it is tracked already");
        let theirs = of(&other, "e");
        assert!(check(&other, &views, &[("red", &theirs)]).is_ok(), "another key has its own quota");
        let error = format!("{:?}", check(&mine, &views, &[("blue", &e), ("red", &f)]).unwrap_err());
        assert!(error.contains("429") && error.contains("track 3 tasks") && error.contains("max_tasks"), "{error}");
    }

    #[test]
    fn the_names_of_labels_are_limited() {
        let names = |range: std::ops::Range<usize>| range.map(|n| format!("l{n}"));
        let key = key(100);
        let new_task = |id, names| NewTask { key: Some(key.identity()), ..new_task(id, names) };
        let of_a_file = NewTask { key: None, ..new_task("b", names(50..99)) };
        let views = [view("red", vec![new_task("a", names(0..32)), of_a_file])];
        assert!(check(&key, &views, &[("red", &new_task("c", names(32..64)))]).is_ok());
        assert!(check(&key, &views, &[("red", &new_task("c", names(33..65)))]).is_ok());
        let error = format!("{:?}", check(&key, &views, &[("red", &new_task("c", names(32..65)))]).unwrap_err());
        assert!(error.contains("64 different names"), "{error}");
        assert!(check(&key, &views, &[("red", &new_task("c", names(0..8)))]).is_ok());
    }
}
