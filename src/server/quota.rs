//! Limits on what the tasks of an API key may occupy: rows, series, and names of labels.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;

use super::error::HttpError;
use crate::agent::API_SOURCE;
use crate::config::ApiKey;
use crate::domain::{NewTask, Task};
use crate::view::UpstreamView;

/// Most names of labels: each becomes a label of `videogen_task_info`.
const MAX_LABEL_NAMES: usize = 64;

/// Seconds of `Retry-After`: tasks end, and are dropped after `tasks.retention`.
const RETRY_AFTER: u64 = 60;

/// Checks that a key may register these tasks, each with its upstream. The tracked tasks of the API count, in all upstreams of
/// the key, whichever key has registered them: nothing has to be remembered over restarts.
///
/// # Errors
/// 429, with the limit.
pub fn check(key: &ApiKey, views: &[Arc<UpstreamView>], new: &[(&str, &NewTask)]) -> Result<(), HttpError> {
    let views: Vec<_> = views.iter().filter(|view| key.is_for(&view.upstream)).collect();
    let new: Vec<_> = new.iter().copied().filter(|(upstream, _)| key.is_for(upstream)).collect();
    let exceeded = |message| HttpError::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(RETRY_AFTER);
    if !has_room(&views, &new, key.max_tasks) {
        return Err(exceeded(format!(
            "no task was registered: the upstreams of this API key may track {} tasks of the API at a time \
             (api.authorization.max_tasks); forget tasks, wait until ended ones are dropped, or raise the limit",
            key.max_tasks
        )));
    }
    if count_label_names(&views, &new) > MAX_LABEL_NAMES {
        return Err(exceeded(format!(
            "no task was registered: the tasks of this API key may have {MAX_LABEL_NAMES} different names of labels; \
             use fewer names"
        )));
    }
    Ok(())
}

fn tasks_of_api<'a>(views: &[&'a Arc<UpstreamView>]) -> impl Iterator<Item = &'a Task> {
    views.iter().flat_map(|view| view.tasks()).filter(|task| task.origin.source == API_SOURCE)
}

fn has_room(views: &[&Arc<UpstreamView>], new: &[(&str, &NewTask)], max: usize) -> bool {
    // Usually there are fewer tasks of all sources, and nothing has to be counted.
    if views.iter().map(|view| view.task_count).sum::<usize>() + new.len() <= max {
        return true;
    }
    let mut added: HashSet<_> = new.iter().map(|(upstream, task)| (*upstream, &task.id)).collect();
    // Tasks that are tracked already are not added: a repeated registration must succeed.
    for task in views.iter().flat_map(|view| view.tasks()) {
        added.remove(&(&*task.origin.upstream, &task.id));
    }
    added.is_empty() || tasks_of_api(views).count() + added.len() <= max
}

/// The number of names after the registration; 0 when it brings no new one.
fn count_label_names(views: &[&Arc<UpstreamView>], new: &[(&str, &NewTask)]) -> usize {
    let mut missing: BTreeSet<&str> = new.iter().flat_map(|(_, task)| task.labels.keys().map(String::as_str)).collect();
    let mut names = BTreeSet::new();
    for task in tasks_of_api(views) {
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
    use crate::domain::{TaskId, Timestamp};
    use crate::view::TaskRows;

    fn new_task(id: &str, labels: impl IntoIterator<Item = String>) -> NewTask {
        let labels: BTreeMap<_, _> = labels.into_iter().map(|name| (name, "x".to_owned())).collect();
        NewTask { labels: Arc::new(labels), ..NewTask::new(TaskId::parse(id).unwrap()) }
    }

    fn view(upstream: &str, tasks: Vec<(&str, NewTask)>) -> Arc<UpstreamView> {
        let mut rows = TaskRows::default();
        let task_count = tasks.len();
        for (source, new) in tasks {
            let mut task = Task::new(upstream.into(), "new_api", new, Timestamp::from_secs(1));
            let origin = Arc::make_mut(&mut task.origin);
            origin.source = source.into();
            rows.insert(task);
        }
        Arc::new(UpstreamView { chunks: rows.chunks(), task_count, ..UpstreamView::empty(upstream.into(), "new_api") })
    }

    fn key(upstreams: &[&str], max_tasks: usize) -> ApiKey {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        let key = Arc::new(crate::secret::SecretSource::from_file(file.path()).ok().unwrap());
        ApiKey { name: "k".into(), key, upstreams: upstreams.iter().map(|name| (*name).into()).collect(), max_tasks }
    }

    #[test]
    fn tasks_of_the_api_in_the_upstreams_of_the_key_count() {
        let plain = |id| new_task(id, []);
        let views = [
            view("red", vec![("api", plain("a")), ("api", plain("b")), ("file/0", plain("c"))]),
            view("blue", vec![("api", plain("d"))]),
        ];
        let (e, f, a) = (plain("e"), plain("f"), plain("a"));
        let red = key(&["red"], 3);
        assert!(check(&red, &views, &[("red", &e)]).is_ok());
        assert!(check(&red, &views, &[("red", &e), ("red", &f)]).is_err());
        assert!(check(&red, &views, &[("red", &e), ("red", &a)]).is_ok(), "it is tracked already");
        let all = key(&[], 3);
        assert!(check(&all, &views, &[("red", &e)]).is_err(), "blue counts as well");
        assert!(check(&all, &views, &[("red", &a)]).is_ok(), "a repeated registration succeeds at the limit");
        let error = format!("{:?}", check(&all, &views, &[("blue", &e)]).unwrap_err());
        assert!(error.contains("429") && error.contains("track 3 tasks") && error.contains("max_tasks"), "{error}");
    }

    #[test]
    fn the_names_of_labels_are_limited() {
        let names = |range: std::ops::Range<usize>| range.map(|n| format!("l{n}"));
        let views = [view("red", vec![("api", new_task("a", names(0..32))), ("file/0", new_task("b", names(50..99)))])];
        let key = key(&[], 100);
        assert!(check(&key, &views, &[("red", &new_task("c", names(32..64)))]).is_ok());
        assert!(check(&key, &views, &[("red", &new_task("c", names(33..65)))]).is_ok());
        let error = format!("{:?}", check(&key, &views, &[("red", &new_task("c", names(32..65)))]).unwrap_err());
        assert!(error.contains("64 different names"), "{error}");
        assert!(check(&key, &views, &[("red", &new_task("c", names(0..8)))]).is_ok());
    }
}
