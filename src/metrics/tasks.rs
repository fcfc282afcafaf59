//! The rows of one task, straight from its record.

use super::families::{self, Family};
use super::proto::Message;
use super::text::{Text, Value, escape};
use crate::config::TaskStatusForm;
use crate::domain::task::UNKNOWN_MODEL;
use crate::domain::{Status, Task, Timestamp};

/// A family of single tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskFamily {
    Status,
    StatusCode,
    Info,
    Progress,
    Submit,
    Start,
    Finish,
    Duration,
    VideoSeconds,
    Tokens,
    Quota,
    FirstSeen,
    LastChange,
    LastPoll,
    Deadline,
    ResultExpiry,
    PollFailures,
}

/// Where rows go: each with the labels that it has beside the task's own.
pub trait Rows {
    /// One more.
    fn row(&mut self, own: &[(&str, &str)], value: Value);
}

impl TaskFamily {
    /// Those of a page, in their order.
    pub fn all(form: TaskStatusForm) -> impl Iterator<Item = Self> {
        let status = match form {
            TaskStatusForm::Set => Self::Status,
            TaskStatusForm::Code => Self::StatusCode,
        };
        [
            status,
            Self::Info,
            Self::Progress,
            Self::Submit,
            Self::Start,
            Self::Finish,
            Self::Duration,
            Self::VideoSeconds,
            Self::Tokens,
            Self::Quota,
            Self::FirstSeen,
            Self::LastChange,
            Self::LastPoll,
            Self::Deadline,
            Self::ResultExpiry,
            Self::PollFailures,
        ]
        .into_iter()
    }

    /// Its name and help.
    pub const fn family(self) -> &'static Family {
        match self {
            Self::Status => &families::TASK_STATUS,
            Self::StatusCode => &families::TASK_STATUS_CODE,
            Self::Info => &families::TASK_INFO,
            Self::Progress => &families::TASK_PROGRESS,
            Self::Submit => &families::TASK_SUBMIT,
            Self::Start => &families::TASK_START,
            Self::Finish => &families::TASK_FINISH,
            Self::Duration => &families::TASK_DURATION,
            Self::VideoSeconds => &families::TASK_VIDEO_SECONDS,
            Self::Tokens => &families::TASK_TOKENS,
            Self::Quota => &families::TASK_QUOTA,
            Self::FirstSeen => &families::TASK_FIRST_SEEN,
            Self::LastChange => &families::TASK_LAST_CHANGE,
            Self::LastPoll => &families::TASK_LAST_POLL,
            Self::Deadline => &families::TASK_DEADLINE,
            Self::ResultExpiry => &families::TASK_RESULT_EXPIRY,
            Self::PollFailures => &families::TASK_POLL_FAILURES,
        }
    }

    /// A task's rows of it; none where it has no value.
    pub fn rows(self, task: &Task, rows: &mut impl Rows) {
        let value = match self {
            Self::Status => {
                for status in Status::ALL {
                    rows.row(&[("status", status.as_str())], Value::Whole((status == task.status).into()));
                }
                None
            }
            Self::Tokens => {
                for (kind, tokens) in task.tokens.parts() {
                    if let Some(tokens) = tokens {
                        rows.row(&[("token_type", kind.as_str())], Value::Float(tokens));
                    }
                }
                None
            }
            Self::Info => {
                info(task, rows);
                None
            }
            Self::StatusCode => Some(Value::Whole(task.status.code() as u64)),
            Self::Progress => task.progress.map(Value::Float),
            Self::Submit => moment(task.times.submit),
            Self::Start => moment(task.times.start),
            Self::Finish => moment(task.times.finish),
            Self::Duration => task.duration().map(Value::Float),
            Self::VideoSeconds => task.video_seconds.map(Value::Float),
            Self::Quota => task.quota.filter(|_| task.status == Status::Succeeded).map(Value::Float),
            Self::FirstSeen => moment(Some(task.first_seen)),
            Self::LastChange => moment(Some(task.last_change)),
            Self::LastPoll => moment(task.last_poll),
            Self::Deadline => moment(task.deadline.filter(|_| task.is_active())),
            Self::ResultExpiry => moment(task.result_expiry.filter(|_| task.status == Status::Succeeded)),
            Self::PollFailures => Some(Value::Whole(task.poll_failures.into())),
        };
        if let Some(value) = value {
            rows.row(&[], value);
        }
    }
}

fn moment(moment: Option<Timestamp>) -> Option<Value> {
    moment.map(|moment| Value::Thousandths(moment.as_millis()))
}

fn info(task: &Task, rows: &mut impl Rows) {
    let progress_source = match (task.progress, task.synthetic_progress) {
        (None, _) => "",
        (Some(_), true) => "synthetic",
        (Some(_), false) => "reported",
    };
    let own = [
        ("provider", task.provider),
        ("model", task.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
        ("upstream_model", task.upstream_model.as_deref().unwrap_or("")),
        ("resolution", task.resolution.as_deref().unwrap_or("")),
        ("service_tier", task.service_tier.as_deref().unwrap_or("")),
        ("progress_source", progress_source),
    ];
    let labels = &task.origin.labels;
    if labels.is_empty() {
        return rows.row(&own, Value::Whole(1));
    }
    let names: Vec<String> = labels.keys().map(|name| format!("label_{name}")).collect();
    let more = names.iter().zip(labels.values()).map(|(name, value)| (name.as_str(), value.as_str()));
    rows.row(&own.into_iter().chain(more).collect::<Vec<_>>(), Value::Whole(1));
}

/// Lines of the two text formats, which are the same for gauges.
#[derive(Debug, Default)]
pub struct Lines {
    /// The page so far.
    pub text: Text,
    /// How every line of this family and upstream begins, up to the task's id.
    lead: Vec<u8>,
    led: Option<(&'static str, Box<str>)>,
    /// The id, escaped.
    id: Vec<u8>,
}

impl Lines {
    /// Turns to another task, or the same one in another family.
    pub fn turn_to(&mut self, family: &'static Family, task: &Task) {
        if self.led.as_ref().is_none_or(|(name, upstream)| *name != family.name || **upstream != *task.upstream) {
            self.lead.clear();
            self.lead.extend_from_slice(family.name.as_bytes());
            self.lead.extend_from_slice(b"{upstream=\"");
            escape(&mut self.lead, &task.upstream);
            self.lead.extend_from_slice(b"\",task_id=\"");
            self.led = Some((family.name, (&*task.upstream).into()));
        }
        self.id.clear();
        escape(&mut self.id, task.id.as_str());
    }
}

impl Rows for Lines {
    fn row(&mut self, own: &[(&str, &str)], value: Value) {
        let out = &mut self.text.0;
        out.extend_from_slice(&self.lead);
        out.extend_from_slice(&self.id);
        for (name, value) in own {
            out.extend_from_slice(b"\",");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            escape(out, value);
        }
        out.extend_from_slice(b"\"}");
        self.text.end(value);
    }
}

/// The same as protobuf messages.
pub struct Messages<'a> {
    /// The messages so far.
    pub message: &'a mut Message,
    /// Whose they are.
    pub task: &'a Task,
}

impl Rows for Messages<'_> {
    fn row(&mut self, own: &[(&str, &str)], value: Value) {
        let labels = [("upstream", &*self.task.upstream), ("task_id", self.task.id.as_str())];
        self.message.gauge(labels.into_iter().chain(own.iter().copied()), value.as_f64());
    }
}
