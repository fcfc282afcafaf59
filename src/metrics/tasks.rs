//! The rows of one task, straight from its record.

use std::sync::Arc;

use super::families::{self, Family};
use super::proto::Message;
use super::text::{Text, Value, escape};
use crate::config::TaskStatusForm;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::number::Number;
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

    /// Those of all statuses, of which one is that of the task.
    fn status(&mut self, now: Status) {
        for status in Status::ALL {
            self.row(&[("status", status.as_str())], Value::Whole((status == now).into()));
        }
    }
}

impl TaskFamily {
    /// All of them, in their order on a page.
    pub const ALL: [Self; 17] = [
        Self::Status,
        Self::StatusCode,
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
    ];

    /// Those of a page, which has the status in one form.
    pub fn all(form: TaskStatusForm) -> impl Iterator<Item = Self> {
        let other = match form {
            TaskStatusForm::Set => Self::StatusCode,
            TaskStatusForm::Code => Self::Status,
        };
        Self::ALL.into_iter().filter(move |family| *family != other)
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

    /// True when a task has rows of it.
    #[inline]
    pub fn has(self, task: &Task) -> bool {
        match self {
            Self::Status | Self::Info => true,
            Self::Tokens => !task.tokens.get().is_empty(),
            _ => self.value(task).is_some(),
        }
    }

    /// A task's rows of it.
    pub fn rows(self, task: &Task, rows: &mut impl Rows) {
        match self {
            Self::Status => rows.status(task.status),
            Self::Info => info(task, rows),
            Self::Tokens => {
                for (kind, tokens) in task.tokens.get().parts() {
                    if let Some(tokens) = tokens {
                        rows.row(&[("token_type", kind.as_str())], Value::Float(tokens));
                    }
                }
            }
            _ => {
                if let Some(value) = self.value(task) {
                    rows.row(&[], value);
                }
            }
        }
    }

    /// What a task has of a family of single values.
    #[inline]
    fn value(self, task: &Task) -> Option<Value> {
        match self {
            Self::Status | Self::Info | Self::Tokens => None,
            Self::StatusCode => Some(Value::Whole(task.status.code() as u64)),
            Self::Progress => task.progress.map(float),
            Self::Submit => moment(task.times.submit),
            Self::Start => moment(task.times.start),
            Self::Finish => moment(task.times.finish),
            Self::Duration => task.duration().map(Value::Float),
            Self::VideoSeconds => task.video_seconds.map(float),
            Self::Quota => task.quota.filter(|_| task.status == Status::Succeeded).map(float),
            Self::FirstSeen => moment(Some(task.first_seen)),
            Self::LastChange => moment(Some(task.last_change)),
            Self::LastPoll => moment(task.last_poll),
            Self::Deadline => moment(task.deadline.filter(|_| task.is_active())),
            Self::ResultExpiry => moment(task.result_expiry.filter(|_| task.status == Status::Succeeded)),
            Self::PollFailures => Some(Value::Whole(task.poll_failures.into())),
        }
    }
}

fn float(number: Number) -> Value {
    Value::Float(number.get())
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
        ("provider", task.origin.provider),
        ("model", task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
        ("upstream_model", task.video.upstream_model.as_deref().unwrap_or("")),
        ("resolution", task.video.resolution.as_deref().unwrap_or("")),
        ("service_tier", task.video.service_tier.as_deref().unwrap_or("")),
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
#[derive(Debug)]
pub struct Lines {
    /// The page so far.
    pub text: Text,
    /// How every line of an upstream's tasks in a family begins, up to their ids; and of which one in which.
    lead: Vec<u8>,
    led: Option<(TaskFamily, Arc<str>)>,
    /// How a line of each status goes on, with 0 and with 1.
    statuses: [[Vec<u8>; 2]; Status::ALL.len()],
}

impl Default for Lines {
    fn default() -> Self {
        let statuses = Status::ALL
            .map(|status| [0, 1].map(|value| format!("\",status=\"{}\"}} {value}\n", status.as_str()).into_bytes()));
        Self { text: Text::default(), lead: Vec::new(), led: None, statuses }
    }
}

impl Lines {
    /// Writes a task's rows of a family.
    pub fn write(&mut self, family: TaskFamily, task: &Task) {
        let upstream = &task.origin.upstream;
        if self.led.as_ref().is_none_or(|(led, of)| *led != family || !Arc::ptr_eq(of, upstream)) {
            self.lead.clear();
            self.lead.extend_from_slice(family.family().name.as_bytes());
            self.lead.extend_from_slice(b"{upstream=\"");
            escape(&mut self.lead, upstream);
            self.lead.extend_from_slice(b"\",task_id=\"");
            self.led = Some((family, upstream.clone()));
        }
        family.rows(task, &mut TaskLines { lines: self, task });
    }
}

/// The lines of one task in the family that [`Lines`] is at.
struct TaskLines<'a> {
    lines: &'a mut Lines,
    task: &'a Task,
}

impl TaskLines<'_> {
    /// Begins a line: all up to the quote behind the id.
    fn begin(&mut self) {
        let out = &mut self.lines.text.0;
        out.extend_from_slice(&self.lines.lead);
        escape(out, self.task.id.as_str());
    }
}

impl Rows for TaskLines<'_> {
    fn row(&mut self, own: &[(&str, &str)], value: Value) {
        self.begin();
        let out = &mut self.lines.text.0;
        for (name, value) in own {
            out.extend_from_slice(b"\",");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            escape(out, value);
        }
        out.extend_from_slice(b"\"}");
        self.lines.text.end(value);
    }

    fn status(&mut self, now: Status) {
        let from = self.lines.text.0.len();
        self.begin();
        let Lines { text: Text(out), statuses, .. } = &mut *self.lines;
        let begun = from..out.len();
        for (n, (status, tails)) in Status::ALL.iter().zip(statuses).enumerate() {
            if n > 0 {
                out.extend_from_within(begun.clone());
            }
            out.extend_from_slice(&tails[usize::from(*status == now)]);
        }
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
        let labels = [("upstream", &*self.task.origin.upstream), ("task_id", self.task.id.as_str())];
        self.message.gauge(labels.into_iter().chain(own.iter().copied()), value.as_f64());
    }
}
