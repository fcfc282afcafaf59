//! The page of one task: what is known of it, its timeline, and why it is as it is.

use std::fmt::Write as _;
use std::time::Duration;

use super::html::{Ago, Badge, HtmlEscaped, format_span, utc, why, write_progress};
use super::timeline;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::number::Number;
use crate::domain::task::TaskCost;
use crate::domain::{Status, Task, Timestamp};
use crate::http::encode_component;
use crate::store::Step;
use crate::view::UpstreamView;

/// What the page shows; every time is of the wall clock.
pub struct TaskPage<'a> {
    /// What every link begins with.
    pub prefix: &'a str,
    /// The task.
    pub task: &'a Task,
    /// Its upstream.
    pub view: &'a UpstreamView,
    /// Its timeline.
    pub steps: &'a [Step],
    /// The address of Grafana.
    pub grafana_url: Option<&'a str>,
    /// The current time.
    pub now: Timestamp,
}

impl TaskPage<'_> {
    /// The content of the page.
    pub fn render(&self) -> String {
        let task = self.task;
        let (upstream, id) = (&task.origin.upstream, task.id.as_str());
        let mut out = format!("<p class=dim>as of {}</p>", utc(self.now));
        let prefix = HtmlEscaped(self.prefix);
        let (shown_id, shown_upstream) = (HtmlEscaped(id), HtmlEscaped(upstream));
        let (path_upstream, path_id) = (encode_component(upstream), encode_component(id));
        let _ = write!(
            out,
            "<h2><code>{shown_id}</code></h2><p><button data-copy='{shown_id}' hidden>Copy id</button> \
             <button data-copy='{shown_upstream} {shown_id}' hidden>Copy upstream and id</button> \
             <a class=button href='{prefix}/api/v1/tasks/{path_upstream}/{path_id}'>JSON</a> \
             <a class=button href='{prefix}/?upstream={path_upstream}'>Tasks of {shown_upstream}</a>",
        );
        if let Some(url) = self.grafana_url {
            let _ = write!(
                out,
                " <a class=button href='{}/d/videogen-task?var-upstream={path_upstream}&amp;var-task={path_id}'>Grafana</a>",
                HtmlEscaped(url),
            );
        }
        out.push_str("</p>");
        if let Some(reason) = why(task) {
            let class = task.failure.map_or("", |class| class.as_str()).replace('_', " ");
            let _ = write!(out, "<p class=error><b>{class}</b> {}</p>", HtmlEscaped(&reason));
        }
        self.write_facts(&mut out);
        self.write_timeline(&mut out);
        self.write_labels(&mut out);
        out
    }

    fn write_facts(&self, out: &mut String) {
        let task = self.task;
        let ago = |at: Timestamp| Ago { at, now: self.now }.to_string();
        let when = |at: Timestamp| format!("{} <small>{}</small>", HtmlEscaped(&utc(at)), ago(at));
        out.push_str("<table class=facts><tbody>");
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = write!(out, "<tr><th>{name}<td>{value}</tr>");
            }
        };
        let stuck = if self.view.outlook.is_stuck(task, self.now) { " <span class=late>stuck</span>" } else { "" };
        fact("Status", format!("{}{stuck}", Badge(task.status)));
        let layer = |status: Option<Status>| status.map(|status| Badge(status).to_string()).unwrap_or_default();
        fact("Gateway says", layer(task.gateway_status));
        fact("Provider says", layer(task.upstream_status));
        fact(
            "Upstream",
            format!("{} <small>{}</small>", HtmlEscaped(&task.origin.upstream), HtmlEscaped(task.origin.provider)),
        );
        let video = &task.video;
        let model = video.model.as_deref().unwrap_or(UNKNOWN_MODEL);
        let details = [
            video.upstream_model.as_deref().filter(|name| *name != model),
            video.resolution.as_deref(),
            video.service_tier.as_deref(),
        ];
        let details = details.into_iter().flatten().collect::<Vec<_>>().join(", ");
        fact("Model", format!("{} <small>{}</small>", HtmlEscaped(model), HtmlEscaped(&details)));
        let mut progress = String::new();
        write_progress(&mut progress, task);
        fact("Progress", progress);
        let span = |seconds: f64| format_span(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        fact("Duration", task.duration().map(span).unwrap_or_default());
        if task.is_active() {
            fact("Age", format_span(self.now.duration_since(task.age_start())));
        }
        let time = |at: Option<Timestamp>| at.map(when).unwrap_or_default();
        fact("Submitted", time(task.times.submit));
        fact("Started", time(task.times.start));
        fact("Finished", time(task.times.finish));
        let expected = self.view.outlook.expected_finish(task);
        let late = if expected.is_some_and(|at| at < self.now) { " <span class=late>late</span>" } else { "" };
        fact("Expected finish", expected.map(|at| format!("{}{late}", when(at))).unwrap_or_default());
        fact("Deadline", time(task.deadline.filter(|_| task.is_active())));
        fact("Result expires", time(task.result_expiry));
        fact("First seen", when(task.first_seen));
        fact("Last good answer", task.last_poll.map_or_else(|| "never".to_owned(), when));
        if let Some(poll) = task.failed_poll.as_deref() {
            let cause = poll.error.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
            let reason = format!("{}{cause}", poll.error.reason.as_str().replace('_', " "));
            let row = if task.poll_failures > 0 { format!(", {} in a row", task.poll_failures) } else { String::new() };
            fact("Last failed poll", format!("{}{row} <small>{}</small>", HtmlEscaped(&reason), ago(poll.at)));
        }
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        fact("Video seconds", number(task.video_seconds.map(Number::get)));
        fact("Tokens", number(task.tokens.get().total));
        fact("Quota", number(task.quota.map(Number::get)));
        if let Some(TaskCost { money, .. }) = task.cost.as_deref() {
            let (amount, code, source) = (money.to_f64(), money.currency.code(), money.source.as_str());
            fact("Cost", format!("{amount} {code} <small>{source}</small>"));
        }
        fact("Source", HtmlEscaped(&task.origin.source).to_string());
        if self.view.counters.is_held(&task.label_set()) {
            fact("Counters", "some are still exported as 0, until every Prometheus has read that".to_owned());
        }
        out.push_str("</tbody></table>");
    }

    fn write_timeline(&self, out: &mut String) {
        out.push_str("<h2>Timeline</h2>");
        if self.steps.is_empty() {
            out.push_str("<p class=dim>No answer was counted yet.</p>");
            return;
        }
        out.push_str(&timeline::draw(self.steps, self.task.is_active().then_some(self.now)));
        out.push_str("<table><thead><tr><th>Time<th>Status<th>Gateway<th>Provider<th>Took<th>Error</thead><tbody>");
        for (n, step) in self.steps.iter().enumerate() {
            let badge = |status: Option<Status>| status.map(|status| Badge(status).to_string()).unwrap_or_default();
            let next = self.steps.get(n + 1).map(|next| next.at).or_else(|| self.task.is_active().then_some(self.now));
            let took = next.map(|next| format_span(next.duration_since(step.at))).unwrap_or_default();
            let class = step.failure.map(|class| class.as_str().replace('_', " "));
            let error = [class.as_deref(), step.error_code.as_deref(), step.error_message.as_deref()];
            let error = error.into_iter().flatten().collect::<Vec<_>>().join(": ");
            let _ = write!(
                out,
                "<tr><td data-label=Time>{}<td data-label=Status>{}<td data-label=Gateway>{}<td data-label=Provider>{}\
                 <td class=n data-label=Took>{took}<td data-label=Error>{}</tr>",
                HtmlEscaped(&utc(step.at)),
                Badge(step.status),
                badge(step.gateway_status),
                badge(step.upstream_status),
                HtmlEscaped(&error),
            );
        }
        out.push_str("</tbody></table>");
    }

    fn write_labels(&self, out: &mut String) {
        let labels = &self.task.origin.labels;
        if labels.is_empty() {
            return;
        }
        out.push_str("<h2>Labels</h2><table class=facts><tbody>");
        for (name, value) in labels.iter() {
            let _ = write!(out, "<tr><th>{}<td>{}</tr>", HtmlEscaped(name), HtmlEscaped(value));
        }
        out.push_str("</tbody></table>");
    }
}
