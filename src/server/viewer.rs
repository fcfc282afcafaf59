//! What a request may see: everything, or only what is of its API key.

use std::sync::Arc;

use axum::http::StatusCode;

use super::error::HttpError;
use crate::config::ApiKey;
use crate::domain::Task;
use crate::secret::fingerprint;
use crate::view::{TaskChunk, TaskRow, UpstreamView};

/// Who reads.
#[derive(Debug, Clone)]
pub struct Viewer(Option<Arc<[ApiKey]>>);

impl Viewer {
    /// Sees everything.
    pub const EVERYTHING: Self = Self(None);

    /// Sees what one of these keys is for.
    pub fn of_keys(keys: Vec<ApiKey>) -> Self {
        if keys.iter().any(|key| !key.is_bound()) { Self::EVERYTHING } else { Self(Some(keys.into())) }
    }

    /// Whether it sees only tasks of its own, and nothing about upstreams and the exporter.
    pub const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it sees a task.
    pub fn sees(&self, task: &Task) -> bool {
        self.0.as_ref().is_none_or(|keys| keys.iter().any(|key| key.has_task(task)))
    }

    /// The same views with only what it sees.
    pub fn limit(&self, views: Vec<Arc<UpstreamView>>) -> Vec<Arc<UpstreamView>> {
        let Some(keys) = &self.0 else { return views };
        let may_see = |view: &&Arc<UpstreamView>| keys.iter().any(|key| key.is_for(&view.upstream));
        let own = views.iter().filter(may_see).map(|view| Arc::new(only(view, keys)));
        // Which other upstreams there are is not told, either.
        let has_something = |view: &Arc<UpstreamView>| view.task_count > 0 || view.counters.sets().next().is_some();
        own.filter(has_something).collect()
    }

    /// Tells apart what different keys see.
    pub fn identity(&self) -> String {
        let keys = self.0.iter().flat_map(|keys| keys.iter());
        let texts = keys.map(|key| format!("{}{:?}{:?}", key.name, key.upstreams, key.labels));
        fingerprint(&texts.collect::<String>())
    }

    /// Refuses who does not see everything.
    ///
    /// # Errors
    /// 403.
    pub fn require_everything(&self) -> Result<(), HttpError> {
        if self.is_limited() {
            let message = "this API key reads only its own tasks, their metrics and timelines";
            return Err(HttpError::new(StatusCode::FORBIDDEN, message));
        }
        Ok(())
    }
}

fn only(view: &UpstreamView, keys: &[ApiKey]) -> UpstreamView {
    let is_own = |row: &&TaskRow| keys.iter().any(|key| key.has_task(&row.task));
    let own = view.chunks.iter().map(|rows| rows.iter().flatten().filter(is_own).cloned().map(Some).collect());
    let chunks: Vec<Arc<TaskChunk>> = own.map(Arc::new).collect();
    UpstreamView {
        task_count: chunks.iter().map(|rows| rows.len()).sum(),
        chunks,
        counters: Arc::new(view.counters.only(|set| keys.iter().any(|key| key.has_label_set(set)))),
        outlook: view.outlook.clone(),
        is_ready: view.is_ready,
        published: view.published,
        ..UpstreamView::empty(view.upstream.clone(), view.provider)
    }
}
