//! The lines of one task, written straight from its record.

use super::families::{self, Family};
use super::text::{Text, to_f64};
use crate::config::TaskStatusForm;
use crate::domain::task::UNKNOWN_MODEL;
use crate::domain::{Status, Task, Timestamp};

/// Writes a task's lines of one family; none where it has no value.
pub type Lines = fn(&mut Text, &Family, &Task);

/// The per-task families in the order of the page.
pub fn families(form: TaskStatusForm) -> [(&'static Family, Lines); 16] {
    let status: (&Family, Lines) = match form {
        TaskStatusForm::Set => (&families::TASK_STATUS, status_set),
        TaskStatusForm::Code => (&families::TASK_STATUS_CODE, status_code),
    };
    [
        status,
        (&families::TASK_INFO, info),
        (&families::TASK_PROGRESS, |text, family, task| gauge(text, family, task, task.progress)),
        (&families::TASK_SUBMIT, |text, family, task| moment(text, family, task, task.times.submit)),
        (&families::TASK_START, |text, family, task| moment(text, family, task, task.times.start)),
        (&families::TASK_FINISH, |text, family, task| moment(text, family, task, task.times.finish)),
        (&families::TASK_DURATION, |text, family, task| gauge(text, family, task, task.duration())),
        (&families::TASK_VIDEO_SECONDS, |text, family, task| gauge(text, family, task, task.video_seconds)),
        (&families::TASK_TOKENS, tokens),
        (&families::TASK_QUOTA, |text, family, task| {
            gauge(text, family, task, task.quota.filter(|_| task.status == Status::Succeeded));
        }),
        (&families::TASK_FIRST_SEEN, |text, family, task| moment(text, family, task, Some(task.first_seen))),
        (&families::TASK_LAST_CHANGE, |text, family, task| moment(text, family, task, Some(task.last_change))),
        (&families::TASK_LAST_POLL, |text, family, task| moment(text, family, task, task.last_poll)),
        (&families::TASK_DEADLINE, |text, family, task| {
            moment(text, family, task, task.deadline.filter(|_| task.is_active()));
        }),
        (&families::TASK_RESULT_EXPIRY, |text, family, task| {
            moment(text, family, task, task.result_expiry.filter(|_| task.status == Status::Succeeded));
        }),
        (&families::TASK_POLL_FAILURES, |text, family, task| {
            gauge(text, family, task, Some(f64::from(task.poll_failures)));
        }),
    ]
}

fn begin(text: &mut Text, family: &Family, task: &Task) {
    text.begin(family.name);
    text.label("upstream", &task.upstream);
    text.label("task_id", task.id.as_str());
}

fn gauge(text: &mut Text, family: &Family, task: &Task, value: Option<f64>) {
    if let Some(value) = value {
        begin(text, family, task);
        text.end(value);
    }
}

fn moment(text: &mut Text, family: &Family, task: &Task, moment: Option<Timestamp>) {
    gauge(text, family, task, moment.map(Timestamp::as_secs_f64));
}

fn status_set(text: &mut Text, family: &Family, task: &Task) {
    for status in Status::ALL {
        begin(text, family, task);
        text.label("status", status.as_str());
        text.end(f64::from(u8::from(status == task.status)));
    }
}

fn status_code(text: &mut Text, family: &Family, task: &Task) {
    gauge(text, family, task, Some(to_f64(task.status.code() as u64)));
}

fn tokens(text: &mut Text, family: &Family, task: &Task) {
    for (kind, tokens) in task.tokens.parts() {
        if let Some(tokens) = tokens {
            begin(text, family, task);
            text.label("token_type", kind.as_str());
            text.end(tokens);
        }
    }
}

fn info(text: &mut Text, family: &Family, task: &Task) {
    begin(text, family, task);
    text.label("provider", task.provider);
    text.label("model", task.model.as_deref().unwrap_or(UNKNOWN_MODEL));
    text.label("upstream_model", task.upstream_model.as_deref().unwrap_or(""));
    text.label("resolution", task.resolution.as_deref().unwrap_or(""));
    text.label("service_tier", task.service_tier.as_deref().unwrap_or(""));
    let reported = task.progress.is_some();
    text.label(
        "progress_source",
        match (reported, task.synthetic_progress) {
            (false, _) => "",
            (true, true) => "synthetic",
            (true, false) => "reported",
        },
    );
    for (name, value) in &*task.origin.labels {
        text.label(&format!("label_{name}"), value);
    }
    text.end(1.0);
}
