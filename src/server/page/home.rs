//! The start page: upstreams with their state, and tasks, those first that need somebody.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::html::{Ago, Badge, HtmlEscaped, format_span, shorten, task_path, utc, why, write_progress};
use super::query::{Choices, PageQuery, Sort};
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::time::WallOffset;
use crate::domain::{Status, Task, Timestamp};
use crate::http::encode_component;
use crate::metrics::UpstreamHealth;
use crate::view::UpstreamView;

/// Most rows of the table. The counts above it include all tasks.
const MAX_ROWS: usize = 500;

/// What the page shows.
pub struct Home<'a> {
    /// What every link begins with.
    pub prefix: &'a str,
    /// The upstreams with their tasks.
    pub views: &'a [Arc<UpstreamView>],
    /// What requests to them have shown, in the same order; empty if that is not to be seen.
    pub health: &'a [UpstreamHealth],
    /// The query, checked.
    pub query: &'a PageQuery,
    /// What there is to choose from.
    pub choices: &'a Choices<'a>,
    /// The current time, by the wall clock.
    pub now: Timestamp,
    /// From the times of tasks to those of the wall clock.
    pub wall_offset: WallOffset,
}

impl Home<'_> {
    /// The content of the page.
    pub fn render(&self) -> String {
        let mut out = format!("<p class=dim>as of {}</p><div class=cards>", utc(self.now));
        for (view, health) in self.views.iter().zip(self.health) {
            self.write_upstream(&mut out, view, health);
        }
        out.push_str("</div>");
        self.write_counts(&mut out);
        if self.views.iter().all(|view| view.tasks().next().is_none()) {
            out.push_str("<p class=none>No task is tracked yet. Add task sources to the configuration, or register a task at <code>/api/v1/tasks</code>.</p>");
            return out;
        }
        self.write_form(&mut out);
        self.write_table(&mut out);
        out
    }

    fn write_upstream(&self, out: &mut String, view: &UpstreamView, health: &UpstreamHealth) {
        let (class, word) = match health.state {
            None => ("", "no request yet"),
            Some((true, _)) => ("up", "answers"),
            Some((false, _)) if health.is_refused() => ("down", "refuses requests"),
            Some((false, _)) => ("down", "does not answer"),
        };
        let _ = write!(
            out,
            "<section class='card {class}'><b><a href='?upstream={}'>{}</a></b> <small>{}</small><br><span class=state>{word}</span>",
            encode_component(&view.upstream),
            HtmlEscaped(&view.upstream),
            HtmlEscaped(view.provider),
        );
        if let Some((_, since)) = health.state {
            let (at, span) = (utc(since), format_span(self.now.duration_since(since)));
            let _ = write!(out, " <span class=dim title='since {at}'>for {span}</span>");
        }
        let (mut active, mut stuck) = (0, 0);
        for task in view.tasks().filter(|task| task.is_active()) {
            active += 1;
            stuck += usize::from(self.is_stuck(view, task));
        }
        let _ = write!(out, "<br>{active} active");
        if stuck > 0 {
            let _ = write!(out, ", <span class=late>{stuck} stuck</span>");
        }
        if let Some(error) = &health.last_error {
            let code = error.code.map(|code| format!(" {code}")).unwrap_or_default();
            let cause = error.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
            let class = if matches!(health.state, Some((false, _))) { "why" } else { "dim" };
            let _ = write!(
                out,
                "<br><span class={class}>last error: {}{code} ({}){} {}</span>",
                error.reason.as_str().replace('_', " "),
                error.operation.as_str().replace('_', " "),
                HtmlEscaped(&cause),
                Ago { at: error.at, now: self.now }
            );
        }
        let held = view.counters.held_sets();
        if held > 0 {
            let _ = write!(
                out,
                "<br><small>counters of {held} label sets are still exported as 0, until every Prometheus has read that \
                 (metrics.zero_hold at most)</small>"
            );
        }
        out.push_str("</section>");
    }

    fn is_stuck(&self, view: &UpstreamView, task: &Task) -> bool {
        // Most tasks have ended, and need no copy by the wall clock.
        task.is_active() && view.outlook.is_stuck(&task.by_wall(self.wall_offset), self.now)
    }

    fn write_counts(&self, out: &mut String) {
        let mut counts = [0usize; Status::ALL.len()];
        for task in self.views.iter().flat_map(|view| view.tasks()) {
            counts[task.status.index()] += 1;
        }
        out.push_str("<div class=counts>");
        for status in Status::ALL {
            let (count, word) = (counts[status.index()], status.as_str());
            let _ = write!(out, "<a href='?status={word}'><b>{count}</b>{}</a>", Badge(status));
        }
        out.push_str("</div>");
    }

    /// Writes the filter as a form.
    fn write_form(&self, out: &mut String) {
        out.push_str("<form role=search>");
        for (name, chosen, choices) in self.query.fields(self.choices) {
            let any = if name == "sort" { "attention" } else { "any" };
            let _ = write!(out, "<label>{name}<select name={name}><option value=''>{any}</option>");
            // What was chosen stays in the list, even when its last task has gone.
            let gone = (!chosen.is_empty() && !choices.contains(&chosen)).then_some(chosen);
            for choice in choices.into_iter().chain(gone) {
                let selected = if choice == chosen { " selected" } else { "" };
                let _ = write!(out, "<option value='{0}'{selected}>{0}</option>", HtmlEscaped(choice));
            }
            out.push_str("</select></label>");
        }
        let _ = write!(
            out,
            "<label>id contains<input name=id type=search value='{}' size=20></label><button>Show</button> <a class=button href='{}/'>All</a></form>",
            HtmlEscaped(self.query.id()),
            HtmlEscaped(self.prefix)
        );
    }

    fn write_table(&self, out: &mut String) {
        let tasks = self.views.iter().flat_map(|view| view.tasks().map(move |task| (view, task)));
        let matching = tasks.filter(|(_, task)| self.query.matches(task));
        let mut rows: Vec<_> = matching.map(|(view, task)| (self.rank(view, task), view, task)).collect();
        let more = rows.len().saturating_sub(MAX_ROWS);
        // Only the rows that are shown are sorted: there may be very many tasks.
        if more > 0 {
            rows.select_nth_unstable_by(MAX_ROWS, |a, b| a.0.cmp(&b.0));
            rows.truncate(MAX_ROWS);
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        if rows.is_empty() {
            out.push_str("<p class=none>No task matches the filter.</p>");
            return;
        }
        out.push_str(
            "<table><thead><tr><th>Task<th>Status<th>Why<th>Model<th>Upstream<th>Team<th>Progress<th>Age or duration\
             <th>Last answer</thead><tbody>",
        );
        for (_, view, task) in &rows {
            self.write_row(out, view, &task.by_wall(self.wall_offset));
        }
        out.push_str("</tbody></table>");
        if more > 0 {
            let _ = write!(out, "<p>{more} more tasks are not rows; narrow the filter to see them.</p>");
        }
    }

    /// Tasks with lower ranks come first.
    fn rank<'t>(&self, view: &UpstreamView, task: &'t Task) -> (u8, &'t str, i64) {
        let begun = task.age_start().as_millis();
        let changed = task.last_change.as_millis();
        match self.query.sort() {
            Sort::Attention if self.is_stuck(view, task) => (0, "", begun),
            Sort::Attention => match task.status {
                Status::Failed | Status::Expired | Status::Lost => (1, "", -changed),
                Status::Queued | Status::Running | Status::Unknown => (2, "", begun),
                Status::Succeeded | Status::Cancelled => (3, "", -changed),
            },
            Sort::Newest => (0, "", -begun),
            Sort::Oldest => (0, "", begun),
            Sort::Model => (0, task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL), -begun),
        }
    }

    fn write_row(&self, out: &mut String, view: &UpstreamView, task: &Task) {
        let id = task.id.as_str();
        let _ = write!(
            out,
            "<tr><td class=id data-label=Task><a href='{}' title='{}'><code>{}</code></a><td data-label=Status>{}",
            HtmlEscaped(&task_path(self.prefix, task)),
            HtmlEscaped(id),
            HtmlEscaped(&shorten(id)),
            Badge(task.status),
        );
        if view.outlook.is_stuck(task, self.now) {
            out.push_str(" <span class=late>stuck</span>");
        }
        out.push_str("<td data-label=Why>");
        if let Some(class) = task.failure {
            let _ = write!(out, "{}", class.as_str().replace('_', " "));
        }
        if let Some(reason) = why(task) {
            let _ = write!(out, " <small>{}</small>", HtmlEscaped(&reason));
        }
        let team = task.origin.labels.get("team").map_or("", String::as_str);
        let _ = write!(
            out,
            "<td data-label=Model>{}<td data-label=Upstream>{}<td data-label=Team>{}<td data-label=Progress>",
            HtmlEscaped(task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
            HtmlEscaped(&task.origin.upstream),
            HtmlEscaped(team),
        );
        write_progress(out, task);
        let age = match task.duration() {
            Some(seconds) => format_span(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
            None if task.is_active() => format_span(self.now.duration_since(task.age_start())),
            None => String::new(),
        };
        let _ = write!(out, "<td class=n data-label='Age or duration'>{age}<td class=n data-label='Last answer'>");
        match task.last_poll {
            Some(at) => drop(write!(out, "{}", Ago { at, now: self.now })),
            None => out.push_str("never"),
        }
        out.push_str("</tr>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Reason;
    use crate::domain::number::Number;
    use crate::domain::{NewTask, TaskId};
    use crate::metrics::{Operation, RequestOutcome};
    use crate::view::TaskRows;

    const NOW: Timestamp = Timestamp::from_secs(10_000);

    fn task(id: &str, status: Status, age: u64) -> Task {
        let new = NewTask::new(TaskId::parse(id).unwrap());
        Task { status, ..Task::new("gw".into(), "new_api", new, NOW - Duration::from_secs(age)) }
    }

    fn render(tasks: Vec<Task>, query: &str, health: UpstreamHealth) -> String {
        let mut rows = TaskRows::default();
        for task in tasks {
            rows.insert(task);
        }
        let view = UpstreamView { chunks: rows.chunks(), ..UpstreamView::empty("gw".into(), "new_api") };
        let views = [Arc::new(view)];
        let query: PageQuery = serde_json::from_str(query).unwrap();
        let choices = Choices::of(&views);
        query.check(&choices).unwrap();
        let wall_offset = WallOffset::default();
        Home { prefix: "", views: &views, health: &[health], query: &query, choices: &choices, now: NOW, wall_offset }
            .render()
    }

    #[test]
    fn a_task_is_shown_and_its_id_is_escaped() {
        let running = Task { progress: Number::new(0.5), ..task("<script>'&", Status::Running, 90) };
        let page = render(vec![running.clone()], "{}", UpstreamHealth::default());
        assert!(!page.contains("<script"), "{page}");
        for part in [
            "&lt;script&gt;&#39;&amp;",
            "<progress value=0.5",
            "class='s running'",
            "1 min 30 s",
            "never",
            "no request yet",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
        let other = r#"{"status": "failed", "model": "'><script>\u202e"}"#;
        let page = render(vec![running], other, UpstreamHealth::default());
        assert!(
            page.contains("script&gt;\\u202e'")
                && page.contains("No task matches the filter")
                && !page.contains("<script"),
            "{page}"
        );
    }

    #[test]
    fn tasks_that_need_somebody_come_first() {
        let tasks = vec![
            task("succeeded", Status::Succeeded, 10),
            task("young", Status::Running, 20),
            task("failed", Status::Failed, 30),
            task("old", Status::Running, 40),
            task("expired", Status::Expired, 50),
        ];
        let order = |query: &str| {
            let page = render(tasks.clone(), query, UpstreamHealth::default());
            let rows = page.split("<code>").skip(1).map(|row| row.split('<').next().unwrap().to_owned());
            rows.collect::<Vec<_>>()
        };
        assert_eq!(order("{}"), ["failed", "expired", "old", "young", "succeeded"]);
        assert_eq!(order(r#"{"sort": "oldest", "id": "d"}"#), ["expired", "old", "failed", "succeeded"]);
    }

    #[test]
    fn an_upstream_shows_since_when_and_why() {
        let at = NOW - Duration::from_secs(70);
        let failed = RequestOutcome {
            operation: Operation::Get,
            code: Some(401),
            reason: Some(Reason::Unauthorized),
            took: Duration::ZERO,
            at,
            date: None,
            cause: Some("the <key>".to_owned()),
            own_key: Arc::default(),
        };
        let mut health = UpstreamHealth::default();
        for _ in 0..3 {
            health.on_request_ended(&failed);
        }
        let page = render(vec![task("a", Status::Running, 20_000)], "{}", health);
        for part in ["refuses requests", "1 min 10 s ago", "last error: unauthorized 401 (get): the &lt;key&gt;"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }

    #[test]
    fn a_wrong_choice_is_an_error_that_names_the_right_ones() {
        let views = [Arc::new(UpstreamView::empty("gw".into(), "new_api"))];
        let choices = Choices::of(&views);
        for (query, message) in [
            (r#"{"status": "done"}"#, "status must be one of queued, running"),
            (r#"{"upstream": "x"}"#, "upstream must be one of gw"),
            (r#"{"sort": "x"}"#, "sort must be one of attention, newest"),
            (r#"{"refresh": "x"}"#, "refresh must be one of off"),
        ] {
            let query: PageQuery = serde_json::from_str(query).unwrap();
            let error = query.check(&choices).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
