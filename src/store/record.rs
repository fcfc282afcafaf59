//! A task as it is kept: every field by its own name, times in Unix milliseconds, what is not known left out.
//!
//! Apart from [`Task`], so that renaming something in the program does not lose what was kept by an older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cost_record::{BillRecord, CostRecord};
use super::error_record::{ErrorRecord, FailedPollRecord};
use super::record_flags::{self, FLAGS, PARTS};
use crate::domain::number::Number;
use crate::domain::reading::{ClockSource, Times, Tokens};
use crate::domain::task::{Strikes, Video};
use crate::domain::{FailureClass, NewTask, Status, Task, TaskId, Timestamp};

/// The `record` of a row.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    status: String,
    first_seen: i64,
    last_change: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_poll: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_bill: Option<BillRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_poll: Option<FailedPollRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_expiry: Option<i64>,
    #[serde(skip_serializing_if = "zero")]
    poll_failures: u32,
    #[serde(skip_serializing_if = "zero")]
    strikes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    strikes_since: Option<i64>,
    /// Names of the set flags; see `record_flags`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<String>,
    /// Names of the counted parts (see `record_flags`) and of the counted ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counted: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn zero(value: &u32) -> bool {
    *value == 0
}

const CLOCKS: [(ClockSource, &str); 3] =
    [(ClockSource::Gateway, "gateway"), (ClockSource::Upstream, "upstream"), (ClockSource::Mixed, "mixed")];

/// The record of a task.
pub fn write(task: &Task) -> String {
    let millis = |moment: Option<Timestamp>| moment.map(Timestamp::as_millis);
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let word = |status: Option<Status>| status.map(|status| status.as_str().to_owned());
    let clock = CLOCKS.iter().find(|(clock, _)| *clock == task.times.clock).map(|(_, word)| (*word).to_owned());
    let mut whole = task.clone();
    let tokens = task.tokens.get();
    let ends = Status::ENDS.iter().filter(|end| task.counted.ends & (1 << end.index()) != 0);
    let record = Record {
        status: task.status.as_str().to_owned(),
        first_seen: task.first_seen.as_millis(),
        last_change: task.last_change.as_millis(),
        last_poll: millis(task.last_poll),
        progress: task.progress.map(Number::get),
        submit: millis(task.times.submit),
        start: millis(task.times.start),
        finish: millis(task.times.finish),
        clock,
        model: text(&task.video.model),
        upstream_model: text(&task.video.upstream_model),
        asked_model: text(&task.video.asked_model),
        video_seconds: task.video_seconds.map(Number::get),
        resolution: text(&task.video.resolution),
        service_tier: text(&task.video.service_tier),
        prompt_tokens: tokens.prompt,
        completion_tokens: tokens.completion,
        total_tokens: tokens.total,
        quota: task.quota.map(Number::get),
        cost: task.cost.as_deref().map(CostRecord::new),
        waiting_bill: task.waiting_bill.as_deref().map(BillRecord::new),
        failure: task.failure.map(|class| class.as_str().to_owned()),
        error: task.error.as_deref().map(ErrorRecord::new),
        failed_poll: task.failed_poll.as_deref().map(FailedPollRecord::new),
        gateway_status: word(task.gateway_status),
        upstream_status: word(task.upstream_status),
        deadline: millis(task.deadline),
        result_expiry: millis(task.result_expiry),
        poll_failures: task.poll_failures,
        strikes: task.strikes.map_or(0, |strikes| strikes.count),
        strikes_since: millis(task.strikes.map(|strikes| strikes.since)),
        flags: record_flags::set(&FLAGS, &mut whole).collect(),
        counted: record_flags::set(&PARTS, &mut whole.counted).chain(ends.map(|end| end.as_str().to_owned())).collect(),
        labels: (*task.origin.labels).clone(),
        source: task.origin.source.clone(),
        key: text(&task.origin.key),
    };
    serde_json::to_string(&record).expect("texts and numbers only")
}

/// What the columns of a row say.
pub struct Columns {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Its dialect.
    pub provider: &'static str,
    /// The id.
    pub task_id: String,
    /// How many transitions were committed.
    pub revision: u32,
    /// When its end was first read.
    pub ended: Option<i64>,
}

/// The task of a row. Aggregate labels are not stored: the configuration decides them.
///
/// # Errors
/// With what is wrong with the row.
pub fn read(columns: Columns, record: &str) -> Result<Task, String> {
    let record: Record = serde_json::from_str(record).map_err(|error| error.to_string())?;
    let moment = |millis: Option<i64>| millis.map(Timestamp::from_millis);
    let text = |text: Option<String>| text.map(Arc::<str>::from);
    let status = |word: &str| Status::from_word(word).ok_or_else(|| format!("unknown status `{word}`"));
    let word = |word: Option<String>| word.as_deref().map(status).transpose();
    let id = TaskId::parse(&columns.task_id).map_err(|error| error.to_string())?;
    let class = |word: &str| FailureClass::from_word(word).ok_or_else(|| format!("unknown failure class `{word}`"));
    let clock = CLOCKS.iter().find(|(_, word)| Some(*word) == record.clock.as_deref());
    let new = NewTask { labels: Arc::new(record.labels), key: text(record.key), ..NewTask::new(id) };
    let mut task = Task::new(columns.upstream, columns.provider, new, Timestamp::from_millis(record.first_seen));
    task.revision = columns.revision;
    Arc::make_mut(&mut task.origin).source = record.source;
    task.ended_seen = moment(columns.ended);
    task.status = status(&record.status)?;
    task.last_change = Timestamp::from_millis(record.last_change);
    task.last_poll = moment(record.last_poll);
    task.progress = record.progress.and_then(Number::new);
    task.times = Times {
        submit: moment(record.submit),
        start: moment(record.start),
        finish: moment(record.finish),
        clock: clock.map_or_else(ClockSource::default, |(clock, _)| *clock),
    };
    task.video = Arc::new(Video {
        model: text(record.model),
        upstream_model: text(record.upstream_model),
        asked_model: text(record.asked_model),
        resolution: text(record.resolution),
        service_tier: text(record.service_tier),
    });
    task.video_seconds = record.video_seconds.and_then(Number::new);
    let tokens =
        Tokens { prompt: record.prompt_tokens, completion: record.completion_tokens, total: record.total_tokens };
    task.tokens = tokens.into();
    task.quota = record.quota.and_then(Number::new);
    task.cost = record.cost.map(CostRecord::read).transpose()?.map(Box::new);
    task.waiting_bill = record.waiting_bill.map(BillRecord::read).transpose()?.map(Box::new);
    task.failure = record.failure.as_deref().map(class).transpose()?;
    task.error = record.error.map(ErrorRecord::read).transpose()?.map(Arc::new);
    task.failed_poll = record.failed_poll.map(FailedPollRecord::read).transpose()?.map(Arc::new);
    task.gateway_status = word(record.gateway_status)?;
    task.upstream_status = word(record.upstream_status)?;
    task.deadline = moment(record.deadline);
    task.result_expiry = moment(record.result_expiry);
    task.poll_failures = record.poll_failures;
    task.strikes = moment(record.strikes_since).map(|since| Strikes { count: record.strikes, since });
    for (name, flag) in FLAGS {
        *flag(&mut task) = record.flags.iter().any(|set| set == name);
    }
    for (name, part) in PARTS {
        *part(&mut task.counted) = record.counted.iter().any(|set| set == name);
    }
    let ends = Status::ENDS.iter().filter(|end| record.counted.iter().any(|set| set == end.as_str()));
    task.counted.ends = ends.fold(0, |bits, end| bits | 1 << end.index());
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Reason;
    use crate::domain::pricing::{Billing, CostSource, Currency, Money};
    use crate::domain::reading::PollError;
    use crate::domain::task::{Counted, FailedPoll, TaskCost, TaskError, TaskOrigin};

    /// Names every field: a new field does not compile until it is stored, or omitted here with a reason.
    fn full_task() -> Task {
        let at = |secs: i64| Some(Timestamp::from_millis(1_700_000_000_123 + secs * 1000));
        let text = |text: &str| Some(Arc::<str>::from(text));
        Task {
            origin: Arc::new(TaskOrigin {
                upstream: "u".into(),
                provider: "ark",
                source: "file/0".to_owned(),
                key: text("0a1b"),
                labels: Arc::new(BTreeMap::from([("team".to_owned(), "grow\"th\n".to_owned())])),
                aggregate_labels: Arc::new([]), // Comes from the configuration.
            }),
            id: TaskId::parse("t \"1\"").unwrap(),
            discovered_after_first_load: true,
            first_seen: Timestamp::from_millis(1),
            status: Status::Failed,
            progress: Number::new(0.25),
            synthetic_progress: true,
            times: Times { submit: at(0), start: at(1), finish: at(2), clock: ClockSource::Gateway },
            finish_is_synthetic: true,
            video: Arc::new(Video {
                model: text("m"),
                upstream_model: text("um"),
                asked_model: text("am"),
                resolution: text("720p"),
                service_tier: text("flex"),
            }),
            video_seconds: Number::new(5.04),
            tokens: Tokens { prompt: Some(1.0), completion: Some(2.5), total: Some(4.0) }.into(),
            quota: Number::new(0.1),
            cost: Some(Box::new(TaskCost {
                money: Money { micros: 7, currency: Currency::USD, source: CostSource::Derived },
                counted: 5,
            })),
            waiting_bill: Some(Box::new(Billing { units: Some(7.5), has_audio: Some(true), ..Billing::default() })),
            failure: Some(FailureClass::Quota),
            error: Some(Arc::new(TaskError {
                code: Some("E1".to_owned()),
                message: Some("too \"much\"".to_owned()),
                class: Some(FailureClass::Quota),
            })),
            failed_poll: Some(Arc::new(FailedPoll {
                error: PollError { reason: Reason::Tls, cause: Some("certificate has expired".to_owned()) },
                at: Timestamp::from_millis(7),
            })),
            gateway_status: Some(Status::Running),
            upstream_status: Some(Status::Failed),
            deadline: at(3),
            result_expiry: at(4),
            ended_seen: at(5),
            reopened: true,
            last_change: Timestamp::from_millis(2),
            last_poll: at(6),
            poll_failures: 3,
            seen_active: true,
            read_has_side_effect: true,
            has_large_answers: true,
            is_list_only: true,
            is_forgotten: true,
            strikes: Some(Strikes { count: 2, since: Timestamp::from_millis(3) }),
            counted: Counted {
                submitted: true,
                ends: 1 << Status::Failed.index() | 1 << Status::Lost.index(),
                latency: true,
                queue: true,
                run: true,
                tokens: true,
                quota: true,
                video: true,
                gateway_lag: true,
                vendor_latency: true,
                charge_waits: true,
                unpriced: true,
            },
            revision: 7,
        }
    }

    fn read_back(task: &Task) -> Task {
        let columns = Columns {
            upstream: task.origin.upstream.clone(),
            provider: task.origin.provider,
            task_id: task.id.to_string(),
            revision: task.revision,
            ended: task.ended_seen.map(Timestamp::as_millis),
        };
        read(columns, &write(task)).unwrap()
    }

    #[test]
    fn a_task_is_read_back_unchanged() {
        let new = NewTask::new(TaskId::parse("t").unwrap());
        for task in [full_task(), Task::new("u".into(), "ark", new, Timestamp::from_millis(9))] {
            assert_eq!(read_back(&task), task);
        }
        for (flag, _) in FLAGS {
            let mut task = full_task();
            for (name, set) in FLAGS {
                *set(&mut task) = name == flag;
            }
            assert_eq!(read_back(&task), task, "{flag}");
        }
        for (part, _) in PARTS {
            let mut task = full_task();
            for (name, set) in PARTS {
                *set(&mut task.counted) = name == part;
            }
            assert_eq!(read_back(&task), task, "{part}");
        }
        for clock in CLOCKS.map(|(clock, _)| clock) {
            let mut task = full_task();
            task.times.clock = clock;
            assert_eq!(read_back(&task), task);
        }
    }

    #[test]
    fn an_invalid_record_is_an_error() {
        let columns =
            || Columns { upstream: "u".into(), provider: "ark", task_id: "t".into(), revision: 0, ended: None };
        for (record, why) in [
            ("", "EOF"),
            ("{}", "unknown status ``"),
            (r#"{"status":"done"}"#, "unknown status `done`"),
            (r#"{"status":"failed","failure":"bad luck"}"#, "unknown failure class"),
            (r#"{"status":"failed","first_seen":"today"}"#, "invalid type"),
        ] {
            let message = read(columns(), record).unwrap_err();
            assert!(message.contains(why), "{record}: {message}");
        }
        assert!(read(columns(), r#"{"status":"queued","of_a_later_version":1}"#).is_ok());
    }
}
