//! What an answer changes of a task. What it does not tell stays as it was.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::labels::sanitize;
use crate::domain::number::Number;
use crate::domain::reading::{Answer, ClockSource, Times};
use crate::domain::scrub::scrub;
use crate::domain::task::TaskError;
use crate::domain::video_words;
use crate::domain::{FailureClass, Status, Task, Timestamp};

/// Applies an answer.
pub fn apply_answer(task: &mut Task, answer: &Answer, now: Timestamp) {
    task.last_poll = Some(answer.asked.unwrap_or(now));
    task.poll_failures = 0;
    task.strikes = None;
    if task.video.model.is_none() && answer.model.is_some() {
        Arc::make_mut(&mut task.video).model.clone_from(&answer.model);
    }
    task.read_has_side_effect |= answer.read_has_side_effect;
    task.has_large_answers = answer.is_large;
    if let Some(row) = &answer.row {
        task.is_list_only |= row.is_list_only;
        add_labels(task, &row.labels);
    }
    if answer.is_partial {
        return apply_partial(task, answer);
    }
    task.gateway_status = answer.gateway_status;
    task.upstream_status = answer.upstream_status;
    apply_told(task, answer);
}

/// Applies a row without the vendor's body, or from a list that leaves out fields.
fn apply_partial(task: &mut Task, row: &Answer) {
    let status = partial_status(task, row);
    let mut row = row.clone();
    row.reported_status = Some(status);
    if status == task.status {
        row.progress = row.progress.or(task.progress.map(Number::get));
        row.failure = row.failure.or(task.failure);
        if row.times.finish.is_none() && task.times.finish.is_some() {
            row.times = task.times;
        }
    }
    if row.error_code.is_none() && task.error.as_ref().is_some_and(|error| error.code.is_some()) {
        // The known error tells more.
        row.error_message = None;
    }
    task.gateway_status = row.gateway_status.or(task.gateway_status);
    task.upstream_status = row.upstream_status.or(task.upstream_status);
    apply_told(task, &row);
}

/// The status of a row together with what is known of the provider's.
fn partial_status(task: &Task, row: &Answer) -> Status {
    let told = row.status();
    match task.upstream_status.filter(|_| row.upstream_status.is_none()) {
        Some(_) if told.is_end() || row.gateway_status.is_none() => told,
        // The video is there once the gateway has it.
        Some(Status::Succeeded) => Status::Running,
        Some(known) if known.is_end() || known.stage() > told.stage() => known,
        _ => told,
    }
}

/// Applies what an answer tells about a task, apart from the statuses of gateway and provider.
fn apply_told(task: &mut Task, answer: &Answer) {
    // The upstream has never reported a lost task as ended.
    task.reopened = task.status.is_end() && task.status != Status::Lost && !answer.status().is_end();
    if task.reopened {
        return; // Only another end replaces an end.
    }
    task.failure = FailureClass::of_end(answer.status(), answer.failure);
    apply_error(task, answer);
    task.status = answer.status();
    task.progress = answer.progress.and_then(Number::new);
    task.synthetic_progress = answer.synthetic_progress;
    task.seen_active |= !answer.status().is_end();
    task.times = merge_times(task.times, answer.times);
    task.finish_is_synthetic = answer.finish_is_synthetic;
    task.video_seconds = answer.video_seconds.and_then(Number::new).or(task.video_seconds);
    task.quota = answer.credits.and_then(Number::new).or(task.quota);
    task.deadline = answer.deadline.or(task.deadline);
    task.result_expiry = answer.expires_at.or(task.result_expiry);
    if !answer.tokens.is_empty() {
        task.tokens = answer.tokens.into();
    }
    let video = &task.video;
    let upstream_model =
        changed_text(video.upstream_model.as_deref(), answer.model_upstream.as_deref(), |text| Some(sanitize(text)));
    let asked_model =
        changed_text(video.asked_model.as_deref(), answer.model_origin.as_deref(), |text| Some(sanitize(text)));
    let resolution = changed_text(video.resolution.as_deref(), answer.resolution.as_deref(), |text| {
        video_words::resolution(text).map(Cow::Borrowed)
    });
    let service_tier = changed_text(video.service_tier.as_deref(), answer.service_tier.as_deref(), |text| {
        video_words::service_tier(text).map(Cow::Borrowed)
    });
    // Usually nothing has changed, and tasks continue to share the record.
    if [&upstream_model, &asked_model, &resolution, &service_tier].into_iter().any(Option::is_some) {
        let video = Arc::make_mut(&mut task.video);
        video.upstream_model = upstream_model.or(video.upstream_model.take());
        video.asked_model = asked_model.or(video.asked_model.take());
        video.resolution = resolution.or(video.resolution.take());
        video.service_tier = service_tier.or(video.service_tier.take());
    }
}

/// Adds the labels that a row brings. Labels that the task has stay.
fn add_labels(task: &mut Task, labels: &[(String, String)]) {
    let is_new = |(name, _): &&(String, String)| !task.origin.labels.contains_key(name);
    let new: Vec<_> = labels.iter().filter(is_new).cloned().collect();
    if !new.is_empty() {
        let labels = task.origin.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        let labels = labels.chain(new).collect();
        Arc::make_mut(&mut task.origin).labels = Arc::new(labels);
    }
}

/// Keeps the error of an answer. An answer without one leaves the last error.
fn apply_error(task: &mut Task, answer: &Answer) {
    if answer.error_code.is_none() && answer.error_message.is_none() {
        return;
    }
    let code = answer.error_code.as_deref().map(|code| sanitize(code).into_owned());
    let message = answer.error_message.as_deref().and_then(scrub);
    let error = TaskError { code, message, class: task.failure };
    if task.error.as_deref() != Some(&error) {
        task.error = Some(Arc::new(error));
    }
}

/// The text of an answer in the form that is exported, if it differs from the known one. An answer without the text changes
/// nothing.
fn changed_text<'a>(
    known: Option<&str>,
    text: Option<&'a str>,
    exported: impl FnOnce(&'a str) -> Option<Cow<'a, str>>,
) -> Option<Arc<str>> {
    // Usually it is the text of the answer before.
    let text = text.filter(|text| known != Some(*text)).and_then(exported)?;
    (!text.is_empty() && known != Some(&*text)).then(|| Arc::from(text))
}

/// Adds known times to the times of an answer that lacks them, unless this would mix two clocks unnoticed.
fn merge_times(old: Times, new: Times) -> Times {
    if new.submit.is_none() && old.submit.is_some() {
        let clock = if new.finish.is_some() && new.clock != old.clock { ClockSource::Mixed } else { old.clock };
        return Times { start: new.start.or(old.start), submit: old.submit, finish: new.finish, clock };
    }
    let start = new.start.or(if new.clock == old.clock { old.start } else { None });
    Times { start, ..new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, TaskId};

    fn read(task: &Task, answer: &Answer) -> Task {
        let mut task = task.clone();
        apply_answer(&mut task, answer, Timestamp::from_secs(5));
        task
    }

    fn row(gateway: Status) -> Answer {
        Answer { gateway_status: Some(gateway), is_partial: true, ..Answer::new(gateway) }
    }

    fn whole(gateway: Status, upstream: Status, status: Status) -> Answer {
        Answer { gateway_status: Some(gateway), upstream_status: Some(upstream), ..Answer::new(status) }
    }

    #[test]
    fn a_row_without_the_vendors_body_leaves_what_is_known_of_the_vendor() {
        use Status::{Cancelled, Failed, Queued, Running, Succeeded};
        let new = Task::new("u".into(), "new_api", NewTask::new(TaskId::parse("t").unwrap()), Timestamp::from_secs(0));
        for (known, row_status, expected) in [
            (whole(Running, Cancelled, Cancelled), Running, Cancelled),
            (whole(Running, Succeeded, Running), Running, Running),
            (whole(Running, Succeeded, Running), Succeeded, Succeeded),
            (whole(Queued, Running, Running), Queued, Running),
            (whole(Running, Running, Running), Failed, Failed),
        ] {
            let before = read(&new, &known);
            let after = read(&before, &row(row_status));
            assert_eq!(after.status, expected, "{known:?} and a row that is {row_status:?}");
            assert_eq!((after.upstream_status, after.reopened), (before.upstream_status, false));
        }
        assert_eq!(read(&new, &row(Running)).status, Running, "nothing is known");
    }

    #[test]
    fn a_row_without_fields_erases_nothing() {
        let new =
            Task::new("u".into(), "dashscope", NewTask::new(TaskId::parse("t").unwrap()), Timestamp::from_secs(0));
        let failed = Answer {
            progress: Some(0.5),
            failure: Some(FailureClass::ContentPolicy),
            error_code: Some("DataInspectionFailed".to_owned()),
            error_message: Some("refused".to_owned()),
            ..whole(Status::Failed, Status::Failed, Status::Failed)
        };
        let before = read(&new, &failed);
        let after = read(&before, &Answer { is_partial: true, ..Answer::new(Status::Failed) });
        assert_eq!(after.progress, Number::new(0.5));
        assert_eq!((after.failure, &after.error), (before.failure, &before.error));
        assert_eq!((after.gateway_status, after.upstream_status), (before.gateway_status, before.upstream_status));
    }
}
