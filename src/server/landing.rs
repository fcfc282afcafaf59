//! The landing page in HTML: tasks with status and progress, and links to the other pages.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::tasks::TaskFilter;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::labels::is_invisible;
use crate::domain::number::Number;
use crate::domain::time::WallOffset;
use crate::domain::{Status, Task, Timestamp};
use crate::http::encode_component;
use crate::view::UpstreamView;

/// Most rows of the table. The counts above it include all tasks.
const MAX_ROWS: usize = 500;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}\
h1{font-size:1.4rem;margin:0}nav a{margin-right:1rem}header{display:flex;justify-content:space-between;align-items:baseline;flex-wrap:wrap}\
.counts{display:flex;flex-wrap:wrap;gap:.6rem;margin:1.2rem 0}.counts a{color:inherit;text-decoration:none;border:1px solid var(--line);border-radius:.5rem;padding:.4rem .9rem}\
.counts b{font-size:1.3rem;margin-right:.35rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line)}\
th{font-weight:600;background:var(--soft)}form{margin:0 0 1rem}input{font:inherit}td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em;overflow-wrap:anywhere}\
.s{border-radius:.4rem;padding:.05rem .5rem;color:#fff;white-space:nowrap}\
.queued{background:#3274d9}.running{background:#b58900}.succeeded{background:#37872d}.failed{background:#c4162a}\
.cancelled{background:#8f3bb8}.expired{background:#d9660a}.lost{background:#7c2318}.unknown{background:#666}\
progress{width:7rem;vertical-align:middle}p.none{padding:2rem;text-align:center;border:1px dashed var(--line)}";

/// Renders the page: counts of all tasks, and the tasks that match the filter. `now` is by the wall clock.
pub fn page(
    views: &[Arc<UpstreamView>],
    filter: &TaskFilter,
    telemetry_path: &str,
    now: Timestamp,
    wall_offset: WallOffset,
) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>videogen-exporter</title><style>{STYLE}</style>\
         <header><h1>videogen-exporter <small>{}</small></h1><nav><a href='{}'>Metrics</a><a href='/config'>Configuration</a>\
         <a href='/-/ready'>Ready</a><a href='/-/healthy'>Healthy</a></nav></header><div class=counts>",
        env!("CARGO_PKG_VERSION"),
        HtmlEscaped(telemetry_path),
    );
    let mut counts = [0usize; Status::ALL.len()];
    let tasks = || views.iter().flat_map(|view| view.tasks());
    for task in tasks() {
        counts[task.status.index()] += 1;
    }
    for status in Status::ALL {
        let count = counts[status.index()];
        let _ = write!(out, "<a href='?status={0}'><b>{count}</b><span class='s {0}'>{0}</span></a>", status.as_str());
    }
    out.push_str("</div>");
    if counts == [0; Status::ALL.len()] {
        out.push_str("<p class=none>No task is tracked yet. Add task sources to the configuration, or register a task at <code>/api/v1/tasks</code>.</p>");
        return out;
    }
    write_form(&mut out, filter);
    out.push_str("<table><thead><tr><th>Task<th>Upstream<th>Model<th>Status<th>Progress<th>Age or duration<th>Last answer</thead><tbody>");
    let mut rows: Vec<&Task> = tasks().filter(|task| filter.matches(task)).collect();
    let more = rows.len().saturating_sub(MAX_ROWS);
    // Only the rows that are shown are sorted: there may be very many tasks.
    let order = |task: &&Task| (!task.is_active(), Reverse(task.last_change));
    if more > 0 {
        rows.select_nth_unstable_by_key(MAX_ROWS, order);
        rows.truncate(MAX_ROWS);
    }
    rows.sort_by_key(order);
    for task in &rows {
        write_row(&mut out, &task.by_wall(wall_offset), now);
    }
    out.push_str("</tbody></table>");
    if rows.is_empty() {
        out.push_str("<p class=none>No task matches the filter.</p>");
    }
    if more > 0 {
        let _ = write!(out, "<p>{more} more tasks are not rows; active tasks come first.</p>");
    }
    out
}

/// Writes the filter as a form.
fn write_form(out: &mut String, filter: &TaskFilter) {
    out.push_str("<form>");
    for (name, value) in [
        ("upstream", &filter.upstream),
        ("status", &filter.status),
        ("model", &filter.model),
        ("source", &filter.source),
    ] {
        let value = HtmlEscaped(value.as_deref().unwrap_or_default());
        let _ = write!(out, "<label>{name} <input name={name} value='{value}' size=14></label> ");
    }
    out.push_str("<button>Show</button> <a href='?'>all</a></form>");
}

fn write_row(out: &mut String, task: &Task, now: Timestamp) {
    let status = task.status.as_str();
    let _ = write!(
        out,
        "<tr><td><a href='/api/v1/tasks/{}/{}' title='{}'><code>{}</code></a><td>{}<td>{}<td><span class='s {status}'>\
         {status}</span><td>",
        encode_component(&task.origin.upstream),
        encode_component(task.id.as_str()),
        HtmlEscaped(task.id.as_str()),
        HtmlEscaped(&shorten(task.id.as_str())),
        HtmlEscaped(&task.origin.upstream),
        HtmlEscaped(task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
    );
    if let Some(ratio) = task.progress.map(Number::get) {
        let _ = write!(out, "<progress value={ratio}></progress> {:.0} %", ratio * 100.0);
    } else if let Some(failure) = task.failure {
        let _ = write!(out, "{}", failure.as_str().replace('_', " "));
    }
    if let Some(reason) = why(task) {
        let _ = write!(out, "<br><small>{}</small>", HtmlEscaped(&reason));
    }
    let age = match task.duration() {
        Some(seconds) => format_span(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        None if task.is_active() => format_span(now.duration_since(task.age_start())),
        None => String::new(),
    };
    let polled =
        task.last_poll.map_or_else(|| "never".to_owned(), |at| format!("{} ago", format_span(now.duration_since(at))));
    let _ = write!(out, "<td class=n>{age}<td class=n>{polled}</tr>");
}

/// Why a task ended without success, or why it cannot be polled.
fn why(task: &Task) -> Option<String> {
    if let Some(error) = task.error.as_deref().filter(|_| task.failure.is_some()) {
        let texts = [error.code.as_deref(), error.message.as_deref()];
        return Some(texts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    let poll = &task.failed_poll.as_deref().filter(|_| task.is_active() && task.poll_failures > 0)?.error;
    let cause = poll.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("poll failed, {}{cause}", poll.reason.as_str().replace('_', " ")))
}

/// Longest id that is shown whole, in characters.
const MAX_ID: usize = 48;

/// An id, shortened in the middle: the ends of ids differ most.
fn shorten(id: &str) -> Cow<'_, str> {
    // An id is ASCII.
    let (head, tail) = (MAX_ID * 2 / 3, MAX_ID / 3);
    if id.len() <= MAX_ID { Cow::Borrowed(id) } else { format!("{}…{}", &id[..head], &id[id.len() - tail..]).into() }
}

/// A duration in its two largest units.
fn format_span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Text with its HTML characters and invisible characters escaped.
struct HtmlEscaped<'a>(&'a str);

impl std::fmt::Display for HtmlEscaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_invisible(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, TaskId};
    use crate::view::TaskRows;

    #[test]
    fn a_task_is_shown_and_its_id_is_escaped() {
        let now = Timestamp::from_secs(10_000);
        let new = NewTask::new(TaskId::parse("<script>'&").unwrap());
        let task = Task {
            progress: Number::new(0.5),
            status: Status::Running,
            ..Task::new("gw".into(), "new_api", new, now - Duration::from_secs(90))
        };
        let mut rows = TaskRows::default();
        rows.insert(task);
        let view = UpstreamView { chunks: rows.chunks(), ..UpstreamView::empty("gw".into(), "new_api") };
        let views = [Arc::new(view)];
        let page = super::page(&views, &TaskFilter::default(), "/metrics", now, WallOffset::default());
        assert!(!page.contains("<script"), "{page}");
        for part in ["&lt;script&gt;&#39;&amp;", "<progress value=0.5>", "class='s running'", "1 min 30 s", "never"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
        let other = TaskFilter {
            status: Some("failed".to_owned()),
            model: Some("'><script>\u{202e}".to_owned()),
            ..TaskFilter::default()
        };
        let page = super::page(&views, &other, "/metrics", now, WallOffset::default());
        assert!(
            page.contains("script&gt;\\u202e'")
                && page.contains("No task matches the filter")
                && page.contains("value='failed'")
                && !page.contains("<script"),
            "{page}"
        );
    }
}
