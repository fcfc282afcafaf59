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
use crate::domain::scrub::scrub;
use crate::domain::{Answer, FailureClass, NewTask, Policy, Reading, Task, TaskId, Timestamp, advance};
use crate::http::{Credentials, Key, Request, Response};
use crate::metrics::{Encoder, Format, Page, SeriesSelection, TaskContext};
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
    let dialect = &upstream.dialect;
    let key = match Credentials::key(upstream.key.as_ref(), clock::now()).await {
        Ok(key) => key,
        Err(error) => return Err(Failure::Other(anyhow::anyhow!("no key: {error}"))),
    };
    if dialect.is_new_api() {
        print_line(
            "note: if a Gemini or Vertex channel generates this task, this read makes the gateway store only its status,\n\
             without finish time and refund\n",
        )?;
    }
    let request = dialect.request(id).map_err(|error| Failure::Input(error.to_string()))?;
    let response = send(upstream, &request, key.as_ref()).await?;
    let mut result = dialect.read_response(&response);
    if let Ok(answer) = &result
        && dialect.needs_result(id, answer)
        && let Some(request) = dialect.result_request(id)
    {
        print_line("\nthe task has completed; its result is requested\n")?;
        let response = send(upstream, &request, key.as_ref()).await?;
        result = dialect.read_result_response(answer, &response);
    }
    let decoded = redact::redact_value("", decode::answer_json(&result)).to_string();
    print_line(format_args!("\nread as {}", redact::remove_key(&decoded, key.as_ref())))?;
    for line in decode::drift_lines(decode::drift_of(&result)) {
        print_line(line)?;
    }
    if let Ok(answer) = result {
        if let Some(error) = failure(&answer) {
            print_line(format_args!("\nwhy: {}", redact::remove_key(&error, key.as_ref())))?;
        }
        let metrics = redact::remove_key(&render_metrics(upstream, id, answer), key.as_ref());
        print_line(format_args!("\n{}", metrics.trim_end()))?;
    }
    Ok(())
}

/// Why the task ended without success: class, code and message, as they are kept.
fn failure(answer: &Answer) -> Option<String> {
    let class = FailureClass::of_end(answer.status(), answer.failure)?;
    let code = answer.error_code.as_deref().map(|code| sanitize(code).into_owned());
    let message = answer.error_message.as_deref().and_then(scrub);
    Some([Some(class.as_str().to_owned()), code, message].into_iter().flatten().collect::<Vec<_>>().join(": "))
}

/// Sends a request, and prints it and its response.
async fn send(upstream: &Upstream, request: &Request, key: Option<&Key>) -> Result<Response, Failure> {
    print_line(format_args!("{} {}", request.method.as_str(), upstream.client.url(request)))?;
    match (key, request.signature) {
        (Some(_), Some(_)) => print_line("Authorization: <signature>")?,
        (Some(Key::Header(header)), None) => print_line(format_args!("Authorization: {} <redacted>", header.scheme))?,
        (Some(_), None) => print_line(&request.key)?,
        (None, _) => {}
    }
    for (name, _) in &request.headers {
        print_line(format_args!("{name}: <redacted>"))?;
    }
    if let Some(body) = &request.body {
        print_line(format_args!("\n{body}"))?;
    }
    let sent = clock::instant();
    let response = match upstream.client.send(request, key).await {
        Ok(response) => response,
        Err(error) => {
            print_line(format_args!("\nno response: {error}"))?;
            return Err(Failure::Other(anyhow::anyhow!("no response: {error}")));
        }
    };
    print_line(format_args!("\nHTTP {} after {:.3} s", response.status, sent.elapsed().as_secs_f64()))?;
    if let Some(retry_after) = &response.retry_after {
        print_line(format_args!("Retry-After: {} s", retry_after.as_secs()))?;
    }
    match &response.body {
        Ok(body) => print_line(redact::redact_body(body, key))?,
        Err(error) => print_line(format_args!("(no body: {error})"))?,
    }
    Ok(response)
}

/// The series of this task after this answer, as a scrape would return them.
fn render_metrics(upstream: &Upstream, id: &TaskId, answer: Answer) -> String {
    let now = Timestamp::from(clock::now());
    let new = NewTask::new(id.clone());
    let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), new, now);
    let model = answer.told_model().or(upstream.model_of(id));
    Arc::make_mut(&mut task.video).model = model.map(|name| Arc::from(&*sanitize(name)));
    let task = advance(&task, Reading::Answer(Box::new(answer)), &Policy::COUNT_ALL, now).task;
    let mut rows = TaskRows::default();
    rows.insert(task);
    let head = Encoder::new(Format::Text, false);
    let chunks = rows.chunks();
    let chunks = chunks.iter().map(|chunk| (chunk, TaskContext::none()));
    let page = Page::new(head, TaskStatusForm::Set, chunks, &SeriesSelection::ALL);
    page.map(|chunk| String::from_utf8_lossy(&chunk).into_owned()).collect()
}
