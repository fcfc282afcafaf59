//! Writes the series of single tasks, directly from their records.

use std::sync::Arc;
use std::time::Duration;

use super::families::{self, Family};
use super::protobuf::Message;
use super::text::{SampleValue, TextBuffer, write_escaped};
use crate::config::TaskStatusForm;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::label_set::exported_label;
use crate::domain::number::Number;
use crate::domain::outlook::{Outlook, StuckRules};
use crate::domain::task::TaskCost;
use crate::domain::{FailureClass, Status, Task, Timestamp};

/// A family of single tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskFamily {
    Status,
    StatusCode,
    Info,
    FailureInfo,
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
    ExpectedFinish,
    Stuck,
    Cost,
    PollFailures,
}

/// What the series of an upstream's tasks need beside the tasks.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// What is expected of active tasks.
    pub outlook: Arc<Outlook>,
    /// The wall clock.
    pub now: Timestamp,
}

impl TaskContext {
    /// Nothing is expected.
    pub fn none() -> Self {
        let stuck = StuckRules { factor: 1.0, floor: Duration::MAX };
        Self { outlook: Arc::new(Outlook::new(stuck)), now: Timestamp::from_secs(0) }
    }
}

/// Writes rows of one task; the labels `upstream` and `task_id` are added.
pub trait RowWriter {
    /// Writes a row with additional labels.
    fn write_row(&mut self, labels: &[(&str, &str)], value: SampleValue);

    /// Writes a row for each status: 1 for that of the task, 0 for the others.
    fn write_status(&mut self, now: Status) {
        for status in Status::ALL {
            self.write_row(&[("status", status.as_str())], SampleValue::Integer((status == now).into()));
        }
    }
}

impl TaskFamily {
    /// Every family, in the order of the page.
    pub const ALL: [Self; 21] = [
        Self::Status,
        Self::StatusCode,
        Self::Info,
        Self::FailureInfo,
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
        Self::ExpectedFinish,
        Self::Stuck,
        Self::Cost,
        Self::PollFailures,
    ];

    /// The families of a page with this form of the status.
    pub fn in_form(form: TaskStatusForm) -> impl Iterator<Item = Self> {
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
            Self::FailureInfo => &families::TASK_FAILURE_INFO,
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
            Self::ExpectedFinish => &families::TASK_EXPECTED_FINISH,
            Self::Stuck => &families::TASK_STUCK,
            Self::Cost => &families::TASK_COST,
            Self::PollFailures => &families::TASK_POLL_FAILURES,
        }
    }

    /// Whether a task has rows in this family.
    #[inline]
    pub fn has_rows(self, task: &Task, context: &TaskContext) -> bool {
        match self {
            Self::Status | Self::Info => true,
            Self::Cost => task.cost.is_some(),
            Self::ExpectedFinish => context.outlook.expected_finish(task).is_some(),
            Self::Stuck => context.outlook.is_stuck(task, context.now),
            Self::FailureInfo => counted_failure(task).is_some(),
            Self::Tokens => !task.tokens.get().is_empty(),
            _ => self.value(task).is_some(),
        }
    }

    /// Writes the rows of a task in this family.
    pub fn write_rows(self, task: &Task, context: &TaskContext, rows: &mut impl RowWriter) {
        match self {
            Self::Status => rows.write_status(task.status),
            Self::Info => write_info(task, rows),
            Self::FailureInfo => write_failure_info(task, rows),
            Self::Tokens => {
                for (kind, tokens) in task.tokens.get().parts() {
                    if let Some(tokens) = tokens {
                        rows.write_row(&[("token_type", kind.as_str())], SampleValue::Float(tokens));
                    }
                }
            }
            Self::Cost => {
                if let Some(TaskCost { money, .. }) = task.cost.as_deref() {
                    let labels = [("currency", money.currency.code()), ("cost_source", money.source.as_str())];
                    rows.write_row(&labels, SampleValue::Float(money.to_f64()));
                }
            }
            Self::ExpectedFinish => {
                if let Some(value) = time_value(context.outlook.expected_finish(task)) {
                    rows.write_row(&[], value);
                }
            }
            Self::Stuck => {
                if context.outlook.is_stuck(task, context.now) {
                    rows.write_row(&[], SampleValue::Integer(1));
                }
            }
            _ => {
                if let Some(value) = self.value(task) {
                    rows.write_row(&[], value);
                }
            }
        }
    }

    /// The value of a task in a family with one row per task.
    #[inline]
    fn value(self, task: &Task) -> Option<SampleValue> {
        match self {
            Self::Status
            | Self::Info
            | Self::FailureInfo
            | Self::Tokens
            | Self::ExpectedFinish
            | Self::Stuck
            | Self::Cost => None,
            Self::StatusCode => Some(SampleValue::Integer(task.status.code() as u64)),
            Self::Progress => task.progress.map(number_value),
            Self::Submit => time_value(task.times.submit),
            Self::Start => time_value(task.times.start),
            Self::Finish => time_value(task.times.finish),
            Self::Duration => task.duration().map(SampleValue::Float),
            Self::VideoSeconds => task.video_seconds.map(number_value),
            Self::Quota => task.quota.filter(|_| task.status == Status::Succeeded).map(number_value),
            Self::FirstSeen => time_value(Some(task.first_seen)),
            Self::LastChange => time_value(Some(task.last_change)),
            Self::LastPoll => time_value(task.last_poll),
            Self::Deadline => time_value(task.deadline.filter(|_| task.is_active())),
            Self::ResultExpiry => time_value(task.result_expiry.filter(|_| task.status == Status::Succeeded)),
            Self::PollFailures => Some(SampleValue::Integer(task.poll_failures.into())),
        }
    }
}

fn number_value(number: Number) -> SampleValue {
    SampleValue::Float(number.get())
}

fn time_value(time: Option<Timestamp>) -> Option<SampleValue> {
    time.map(|time| SampleValue::Thousandths(time.as_millis()))
}

fn write_info(task: &Task, rows: &mut impl RowWriter) {
    let progress_source = match (task.progress, task.synthetic_progress) {
        (None, _) => "",
        (Some(_), true) => "synthetic",
        (Some(_), false) => "reported",
    };
    let labels = [
        ("provider", task.origin.provider),
        ("model", task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
        ("upstream_model", task.video.upstream_model.as_deref().unwrap_or("")),
        ("resolution", task.video.resolution.as_deref().unwrap_or("")),
        ("service_tier", task.video.service_tier.as_deref().unwrap_or("")),
        ("progress_source", progress_source),
    ];
    let source_labels = &task.origin.labels;
    if source_labels.is_empty() {
        return rows.write_row(&labels, SampleValue::Integer(1));
    }
    let names: Vec<String> = source_labels.keys().map(|name| exported_label(name)).collect();
    let more = names.iter().zip(source_labels.values()).map(|(name, value)| (name.as_str(), value.as_str()));
    rows.write_row(&labels.into_iter().chain(more).collect::<Vec<_>>(), SampleValue::Integer(1));
}

/// The class of a failure that was counted: what ended before it was seen is history.
#[inline]
fn counted_failure(task: &Task) -> Option<FailureClass> {
    task.failure.filter(|_| task.counted.ends & (1 << task.status.index()) != 0)
}

fn write_failure_info(task: &Task, rows: &mut impl RowWriter) {
    let Some(class) = counted_failure(task) else { return };
    let labels = [
        ("provider", task.origin.provider),
        ("model", task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)),
        ("status", task.status.as_str()),
        ("failure_class", class.as_str()),
    ];
    let more = task.origin.aggregate_labels.iter().map(|(name, value)| (&**name, &**value));
    rows.write_row(&labels.into_iter().chain(more).collect::<Vec<_>>(), SampleValue::Integer(1));
}

/// Writes rows as lines; gauges look the same in both text formats.
#[derive(Debug)]
pub struct TextRows {
    /// The page so far.
    pub text: TextBuffer,
    /// What the lines of one family and upstream have in common, up to the task id.
    prefix: Vec<u8>,
    /// The family and upstream of `prefix`.
    prefix_key: Option<(TaskFamily, Arc<str>)>,
    /// The end of a status line, by status and value (0 or 1).
    status_suffixes: [[Vec<u8>; 2]; Status::ALL.len()],
}

impl Default for TextRows {
    fn default() -> Self {
        let status_suffixes = Status::ALL
            .map(|status| [0, 1].map(|value| format!("\",status=\"{}\"}} {value}\n", status.as_str()).into_bytes()));
        Self { text: TextBuffer::default(), prefix: Vec::new(), prefix_key: None, status_suffixes }
    }
}

impl TextRows {
    /// Writes the rows of a task in a family.
    pub fn write(&mut self, family: TaskFamily, task: &Task, context: &TaskContext) {
        let upstream = &task.origin.upstream;
        if self.prefix_key.as_ref().is_none_or(|(last, of)| *last != family || !Arc::ptr_eq(of, upstream)) {
            self.prefix.clear();
            self.prefix.extend_from_slice(family.family().name.as_bytes());
            self.prefix.extend_from_slice(b"{upstream=\"");
            write_escaped(&mut self.prefix, upstream);
            self.prefix.extend_from_slice(b"\",task_id=\"");
            self.prefix_key = Some((family, upstream.clone()));
        }
        family.write_rows(task, context, &mut TaskTextRows { rows: self, task });
    }
}

/// Writes the lines of one task, in the family of [`TextRows::write`].
struct TaskTextRows<'a> {
    rows: &'a mut TextRows,
    task: &'a Task,
}

impl TaskTextRows<'_> {
    /// Begins a line, up to and including the id.
    fn begin_line(&mut self) {
        let out = &mut self.rows.text.0;
        out.extend_from_slice(&self.rows.prefix);
        write_escaped(out, self.task.id.as_str());
    }
}

impl RowWriter for TaskTextRows<'_> {
    fn write_row(&mut self, labels: &[(&str, &str)], value: SampleValue) {
        self.begin_line();
        let out = &mut self.rows.text.0;
        for (name, value) in labels {
            out.extend_from_slice(b"\",");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            write_escaped(out, value);
        }
        out.extend_from_slice(b"\"}");
        self.rows.text.end_line(value);
    }

    fn write_status(&mut self, now: Status) {
        let from = self.rows.text.0.len();
        self.begin_line();
        let TextRows { text: TextBuffer(out), status_suffixes, .. } = &mut *self.rows;
        let start = from..out.len();
        for (n, (status, suffixes)) in Status::ALL.iter().zip(status_suffixes).enumerate() {
            if n > 0 {
                out.extend_from_within(start.clone());
            }
            out.extend_from_slice(&suffixes[usize::from(*status == now)]);
        }
    }
}

/// Writes rows as protobuf messages.
pub struct ProtobufRows<'a> {
    /// The messages so far.
    pub message: &'a mut Message,
    /// The task.
    pub task: &'a Task,
}

impl RowWriter for ProtobufRows<'_> {
    fn write_row(&mut self, labels: &[(&str, &str)], value: SampleValue) {
        let task = [("upstream", &*self.task.origin.upstream), ("task_id", self.task.id.as_str())];
        self.message.gauge(task.into_iter().chain(labels.iter().copied()), value.as_f64());
    }
}
