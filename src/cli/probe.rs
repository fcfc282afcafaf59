//! `probe`: polls a task once and prints everything except secrets.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::failure::{Failure, find_upstream, print_line};
use super::runtime::block_on;
use super::{decode, redact};
use crate::clock;
use crate::config::{self, TaskStatusForm, Upstream};
use crate::domain::labels::sanitize;
use crate::domain::{Answer, NewTask, Policy, Reading, Task, TaskId, Timestamp, advance};
use crate::metrics::{Encoder, Format, Page, SeriesSelection};
use crate::secret::Secret;
use crate::view::TaskRows;

/// The arguments.
#[derive(Debug, Args)]
pub struct Probe {
    /// The name of the upstream in the configuration.
    upstream: String,
    /// The id of the task at that upstream.
    task_id: String,
}

impl Probe {
    /// Polls the task and prints the result.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let config = config::load(config)?;
        let id = TaskId::parse(&self.task_id).map_err(|error| Failure::Input(error.to_string()))?;
        let upstream = find_upstream(&config, &self.upstream)?;
        block_on(probe_task(upstream, &id))
    }
}

async fn probe_task(upstream: &Upstream, id: &TaskId) -> Result<(), Failure> {
    let client = &upstream.client;
    let key = match &upstream.key {
        Some(key) => Some(key.get(clock::now()).await),
        None => None,
    };
    let request = upstream.dialect.request(id).map_err(|error| Failure::Input(error.to_string()))?;
    print_line(format_args!("{} {}", request.method.as_str(), client.url(&request)))?;
    if key.is_some() {
        print_line(&request.key)?;
    }
    for (name, _) in &request.headers {
        print_line(format_args!("{name}: <redacted>"))?;
    }
    if let Some(body) = &request.body {
        print_line(format_args!("\n{body}"))?;
    }
    let sent = clock::instant();
    let result = match client.send(&request, key.as_ref()).await {
        Err(reason) => {
            print_line(format_args!("\nno response: {}", reason.as_str()))?;
            return Err(Failure::Other(anyhow::anyhow!("no response: {}", reason.as_str())));
        }
        Ok(response) => {
            print_line(format_args!("\nHTTP {} after {:.3} s", response.status, sent.elapsed().as_secs_f64()))?;
            if let Some(retry_after) = &response.retry_after {
                print_line(format_args!("Retry-After: {} s", retry_after.as_secs()))?;
            }
            let body = response.body.unwrap_or_default();
            print_line(redact::redact_body(&body, key.as_ref().map(Secret::expose)))?;
            upstream.dialect.read(response.status, &body)
        }
    };
    let decoded = redact::redact_value("", decode::answer_json(&result)).to_string();
    print_line(format_args!("\nread as {}", redact::remove_key(&decoded, key.as_ref().map(Secret::expose))))?;
    for line in decode::drift_lines(decode::drift_of(&result)) {
        print_line(line)?;
    }
    if let Ok(answer) = result {
        let metrics = redact::remove_key(&render_metrics(upstream, id, answer), key.as_ref().map(Secret::expose));
        print_line(format_args!("\n{}", metrics.trim_end()))?;
    }
    Ok(())
}

/// The series of this task after this answer, as a scrape would return them.
fn render_metrics(upstream: &Upstream, id: &TaskId, answer: Answer) -> String {
    let now = Timestamp::from(clock::now());
    let new = NewTask::new(id.clone());
    let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), new, now);
    let model = answer.model_origin.as_deref().or(answer.model_upstream.as_deref()).or(upstream.model.as_deref());
    Arc::make_mut(&mut task.video).model = model.map(|name| Arc::from(&*sanitize(name)));
    let task = advance(&task, Reading::Answer(Box::new(answer)), &Policy::COUNT_ALL, now).task;
    let mut rows = TaskRows::default();
    rows.insert(task);
    let head = Encoder::new(Format::Text, false);
    let page = Page::new(head, TaskStatusForm::Set, &rows.chunks(), &SeriesSelection::ALL);
    page.map(|chunk| String::from_utf8_lossy(&chunk).into_owned()).collect()
}
