//! `probe`: ask once, and show everything but the secrets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::failure::{Failure, say, upstream_of};
use super::runtime::wait_for;
use super::{decode, redact};
use crate::clock;
use crate::config::{self, TaskStatusForm, Upstream};
use crate::domain::advance::CountSince;
use crate::domain::labels::sanitize;
use crate::domain::{Answer, NewTask, Policy, Reading, Task, TaskId, Timestamp, advance};
use crate::http::Client;
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
    /// Asks and prints.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let config = config::load(config)?;
        let id = TaskId::parse(&self.task_id).map_err(|error| Failure::Input(error.to_string()))?;
        let upstream = upstream_of(&config, &self.upstream)?;
        wait_for(ask(upstream, &id))
    }
}

async fn ask(upstream: &Upstream, id: &TaskId) -> Result<(), Failure> {
    let client = Client::new(&upstream.http).map_err(|error| Failure::Other(error.into()))?;
    let key = match &upstream.key {
        Some(key) => Some(key.get(clock::now()).await),
        None => None,
    };
    let request = upstream.dialect.request(id).map_err(|error| Failure::Input(error.to_string()))?;
    say(format_args!("{} {}", request.method.as_str(), client.url(&request)))?;
    if key.is_some() {
        say(&request.key)?;
    }
    for (name, _) in &request.headers {
        say(format_args!("{name}: <redacted>"))?;
    }
    if let Some(body) = &request.body {
        say(format_args!("\n{body}"))?;
    }
    let sent = clock::instant();
    let result = match client.send(&request, key.as_ref()).await {
        Err(reason) => {
            say(format_args!("\nno answer: {}", reason.as_str()))?;
            return Err(Failure::Other(anyhow::anyhow!("no answer: {}", reason.as_str())));
        }
        Ok(response) => {
            say(format_args!("\nHTTP {} after {:.3} s", response.status, sent.elapsed().as_secs_f64()))?;
            if let Some(retry_after) = &response.retry_after {
                say(format_args!("Retry-After: {retry_after}"))?;
            }
            let body = response.body.unwrap_or_default();
            say(redact::body(&body, key.as_ref().map(Secret::expose)))?;
            upstream.dialect.read(response.status, &body)
        }
    };
    let said = decode::shown(&result).to_string();
    say(format_args!("\nread as {}", redact::text(&said, key.as_ref().map(Secret::expose))))?;
    for line in decode::drift_lines(decode::drift_of(&result)) {
        say(line)?;
    }
    if let Ok(answer) = result {
        let metrics = redact::text(&metrics(upstream, id, answer), key.as_ref().map(Secret::expose));
        say(format_args!("\n{}", metrics.trim_end()))?;
    }
    Ok(())
}

/// The lines that a scrape would have for this task after this answer.
fn metrics(upstream: &Upstream, id: &TaskId, answer: Answer) -> String {
    let now = Timestamp::from(clock::now());
    let new = NewTask::new(id.clone());
    let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), new, now);
    let named = answer.model_origin.as_deref().or(answer.model_upstream.as_deref()).or(upstream.model.as_deref());
    Arc::make_mut(&mut task.video).model = named.map(|name| Arc::from(&*sanitize(name)));
    let policy = Policy { count_since: CountSince::Always, forget_after: Duration::MAX };
    let task = advance(&task, Reading::Answer(Box::new(answer)), &policy, now).task;
    let mut rows = TaskRows::default();
    rows.insert(task);
    let head = Encoder::new(Format::Text, false);
    let page = Page::new(head, TaskStatusForm::Set, &rows.chunks(), &SeriesSelection::ALL);
    page.map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect()
}
