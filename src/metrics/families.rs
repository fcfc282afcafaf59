//! Every metric family as data, documented in `docs/metrics.md`. Counters of tasks are in the table of `domain::counter`.

use crate::domain::Counter;
use crate::domain::counter::CounterKind;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Never falls.
    Counter,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    /// The word of the `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its label names, without those of [`LABEL_SET`].
    labels: &'static [&'static str],
    /// It also has the labels of a label set.
    has_label_set: bool,
    /// Its `# HELP`.
    pub help: &'static str,
}

/// Label names of a label set, without the configured aggregate labels.
const LABEL_SET: [&str; 3] = ["upstream", "provider", "model"];

impl Family {
    /// The family of a counter of tasks.
    pub const fn from_counter(counter: Counter) -> Self {
        let spec = counter.spec();
        let kind = match spec.kind {
            CounterKind::Counter => Kind::Counter,
            CounterKind::Histogram(_) => Kind::Histogram,
        };
        Self { name: spec.family, kind, labels: spec.labels, has_label_set: true, help: spec.help }
    }

    /// Its label names, without the `label_*` of sources.
    pub fn label_names(&self) -> Vec<&'static str> {
        let label_set = if self.has_label_set { &LABEL_SET[..] } else { &[] };
        [label_set, self.labels].concat()
    }
}

/// Every family of the exporter; `process_*` comes from the `prometheus` crate.
pub fn all() -> Vec<Family> {
    let counters = Counter::ALL.iter().map(|counter| Family::from_counter(*counter));
    BEFORE_COUNTERS.iter().copied().chain(counters).chain(AFTER_COUNTERS.iter().copied()).collect()
}

macro_rules! families {
    ($list:ident $($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:expr;)+) => {
        $(#[doc = concat!("`", $name, "`")]
        pub const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], has_label_set: false, help: $help };)+

        const $list: &[Family] = &[$($id),+];
    };
}

/// Adds the freshness of values that an upstream reports.
macro_rules! polled {
    ($text:literal) => {
        concat!($text, " As fresh as videogen_task_last_poll_timestamp_seconds.")
    };
}

families! { BEFORE_COUNTERS
    // Upstreams and polling
    UPSTREAM_UP: Gauge "videogen_upstream_up" ["upstream"] "0 after three failed requests in a row, or when requests have failed for a minute without a success; else 1. Requests about one task, for balances, or with a key of a list's own do not count.";
    UPSTREAM_LAST_SUCCESS: Gauge "videogen_upstream_last_success_timestamp_seconds" ["upstream", "operation"] "Time of the last successful request, also of one before the last restart.";
    UPSTREAM_REFUSALS: Gauge "videogen_upstream_consecutive_refusals" ["upstream", "operation", "reason"] "Requests refused as unauthorized, forbidden, quota_exhausted or wrong_path since one of this operation was last admitted.";
    UPSTREAM_REQUESTS: Counter "videogen_upstream_requests_total" ["upstream", "operation", "code"] "Requests by HTTP status; none where there was no response.";
    UPSTREAM_REQUEST_ERRORS: Counter "videogen_upstream_request_errors_total" ["upstream", "operation", "reason"] "Failed requests, by reason. A failed task in a good response is no error.";
    UPSTREAM_REQUEST_DURATION: Histogram "videogen_upstream_request_duration_seconds" ["upstream", "operation"] "Time from sending a request to having read its response.";
    UPSTREAM_THROTTLE_WAIT: Counter "videogen_upstream_throttle_wait_seconds_total" ["upstream"] "Time that due polls waited for the configured rate limit.";
    UPSTREAM_BACKOFF_UNTIL: Gauge "videogen_upstream_backoff_until_timestamp_seconds" ["upstream"] "End of the current back-off, after Retry-After or errors.";
    CLOCK_SKEW: Gauge "videogen_upstream_clock_skew_seconds" ["upstream"] "The Date of the last response, which has whole seconds, minus the middle of its request by our clock.";
    POLL_LAG: Histogram "videogen_poll_lag_seconds" ["upstream"] "How much later than due polls were sent.";
    UPSTREAM_AMNESIA: Gauge "videogen_upstream_amnesia" ["upstream"] "1 while the upstream does not know over half of its active tasks, and more than 20. They are not lost for that.";
    POLLS_IN_FLIGHT: Gauge "videogen_polls_in_flight" ["upstream"] "Requests without a response yet.";
    WEBHOOKS: Counter "videogen_webhooks_total" ["upstream", "result"] "Callbacks: accepted, unauthorized (wrong secret), invalid (no task in it), unknown_task (not tracked).";
    WEBHOOK_LAST: Gauge "videogen_webhook_last_received_timestamp_seconds" ["upstream"] "Time of the last accepted callback.";
    READINGS: Counter "videogen_readings_total" ["upstream", "via"] "Good readings of tasks, by how they came: alone (get), as a row of the upstream's list (list), in a batch, or by a callback (webhook).";
    READS_WITH_EFFECT: Counter "videogen_reads_with_effect_total" ["upstream"] "Reads of single tasks that made the gateway ask Gemini or Vertex and store only a status.";
    DISCOVERY_TASKS: Gauge "videogen_discovery_tasks" ["upstream", "source"] "Task ids in a source now.";
    DISCOVERY_LAST_SUCCESS: Gauge "videogen_discovery_last_success_timestamp_seconds" ["upstream", "source"] "Time of the last read of a source without an error.";
    DISCOVERY_ERRORS: Counter "videogen_discovery_errors_total" ["upstream", "source"] "Failed reads of a source, and ids rejected because they are no task ids.";
    DISCOVERY_TRUNCATED: Counter "videogen_discovery_truncated_total" ["upstream", "source"] "Reads of a source that stopped before its end.";

    ACCOUNT_BALANCE: Gauge "videogen_account_balance" ["upstream", "currency"] "What the upstream's account still has; absent without a limit, or when it could not be read for three intervals.";
    ACCOUNT_USED: Gauge "videogen_account_used" ["upstream", "currency"] "What the upstream's account has used.";
    ACCOUNT_LAST_SUCCESS: Gauge "videogen_account_last_success_timestamp_seconds" ["upstream"] "Time of the last read of the upstream's account.";
    BUDGET: Gauge "videogen_budget" ["budget", "currency"] "What may be spent in the budget's period.";
    BUDGET_SPENT: Gauge "videogen_budget_spent" ["budget", "currency"] "Costs counted since the budget's period began.";
    BUDGET_END: Gauge "videogen_budget_end_timestamp_seconds" ["budget"] "When the budget's period ends.";
    BASELINE: Gauge "videogen_baseline_latency_seconds" ["upstream", "provider", "model", "percentile"] "Percentiles of the latency of the last 500 succeeded tasks within 7 days; absent with fewer than 20.";

    // The exporter
    BUILD_INFO: Gauge "videogen_exporter_build_info" ["version", "revision", "rustversion"] "Always 1; version of the exporter.";
    RELOAD_SUCCESSFUL: Gauge "videogen_exporter_config_last_reload_successful" [] "1 when the last reload of the configuration succeeded.";
    RELOAD_SUCCESS_TIME: Gauge "videogen_exporter_config_last_reload_success_timestamp_seconds" [] "Time of the last successful load of the configuration.";
    SERIES_TASKS: Gauge "videogen_exporter_task_series_tasks" [] "Tasks with per-task series.";
    SERIES_LIMIT: Gauge "videogen_exporter_task_series_limit" [] "Most tasks that may have per-task series.";
    SERIES_REFUSED: Counter "videogen_exporter_task_series_refused_total" [] "Tasks refused per-task series because of the limit, each once.";
    LABELS_FOLDED: Counter "videogen_exporter_label_values_folded_total" ["label"] "Label values replaced by other because of the limit, each occurrence once.";
    LABEL_SETS: Gauge "videogen_exporter_label_sets" ["upstream"] "Label sets: combinations of model and aggregate labels with counters.";
    LABEL_SETS_LIMIT: Gauge "videogen_exporter_label_sets_limit" [] "Most label sets that an upstream may have.";
    LABEL_SETS_FOLDED: Counter "videogen_exporter_label_sets_folded_total" ["upstream"] "Label sets of tasks that became one with other because of the limit, each occurrence once.";
    RENDER_DURATION: Gauge "videogen_exporter_render_duration_seconds" [] "Time to render the last scrape, compression included.";
    EXPOSITION_BYTES: Gauge "videogen_exporter_exposition_bytes" ["format"] "Size of the last scrape in this format, before compression.";
    STORE_UP: Gauge "videogen_exporter_store_up" [] "1 when the last write to the state store was committed; at 0 counters pause until it recovers.";
    STORE_ERRORS: Counter "videogen_exporter_store_errors_total" [] "Failed writes to the state store.";
    STORE_COMMIT: Histogram "videogen_exporter_store_commit_duration_seconds" [] "Duration of a transaction, from its begin to its commit.";
    STORE_PENDING: Gauge "videogen_exporter_store_pending_commits" [] "Ends of tasks that wait until the state store can be written.";
    STATE_BYTES: Gauge "videogen_exporter_state_bytes" [] "Size of the state's database and its write-ahead log; absent in memory.";
    STATE_ROWS_SKIPPED: Gauge "videogen_exporter_state_rows_skipped" [] "Rows of the state that could not be read and were set aside, since the start.";
    LOG_LINES_DROPPED: Counter "videogen_exporter_log_lines_dropped_total" [] "Log lines that were dropped because nobody read standard error in time.";
    ACCEPT_ERRORS: Counter "videogen_exporter_accept_errors_total" [] "Connections that could not be accepted, for example because too many files are open.";
    WEB_CONFIG_RELOAD_SUCCESSFUL: Gauge "videogen_exporter_web_config_last_reload_successful" [] "1 if every file of --web.config.file is in force as it is now, 0 if an older one is. Absent without such a file.";
    AUTH_FAILURES: Counter "videogen_exporter_auth_failures_total" ["reason"] "Requests that were not authorized: missing (no key), wrong, rate_limited, scope (a key of other upstreams).";
    LOG_MESSAGES: Counter "videogen_exporter_log_messages_total" ["level"] "Log messages.";

    // Aggregates
    TASKS: Gauge "videogen_tasks" ["upstream", "provider", "model", "status"] polled!("Tasks that are active or ended within tasks.retention.");
    OLDEST_SUBMIT: Gauge "videogen_oldest_active_task_submit_timestamp_seconds" ["upstream", "provider", "model", "status"] polled!("Submit time of the oldest active task, or when it was first seen.");
    OLDEST_POLL: Gauge "videogen_oldest_active_task_poll_timestamp_seconds" ["upstream"] "Time of the last successful poll, or first sight, of the active task for which that is the longest ago.";
    DISCOVERED: Counter "videogen_tasks_discovered_total" ["upstream", "source"] "Tasks by the source that discovered them first, history included.";
    TASKS_STUCK: Gauge "videogen_tasks_stuck" ["upstream", "provider", "model"] polled!("Active tasks that are older than tasks.stuck allows.");
    DISAGREEMENTS: Gauge "videogen_status_disagreements" ["upstream", "provider", "model", "gateway_status", "upstream_status"] polled!("Tasks whose gateway reports another status than the provider behind it.");
    SCHEMA_DRIFT: Counter "videogen_schema_drift_total" ["upstream", "provider", "field", "problem"] "Fields of responses that were not as their provider documents them.";
    UNKNOWN_STATUSES: Counter "videogen_unknown_statuses_total" ["upstream", "provider"] "Responses with an unknown status word.";
}

families! { AFTER_COUNTERS
    // One task
    TASK_STATUS: Gauge "videogen_task_status" ["upstream", "task_id", "status"] polled!("1 for the status of the task, 0 for the seven others.");
    TASK_STATUS_CODE: Gauge "videogen_task_status_code" ["upstream", "task_id"] polled!("1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired, 7 lost, 8 unknown.");
    TASK_INFO: Gauge "videogen_task_info" ["upstream", "task_id", "provider", "model", "upstream_model", "resolution", "service_tier", "progress_source"] polled!("Always 1; details of the task.");
    TASK_FAILURE_INFO: Gauge "videogen_task_failure_info" ["upstream", "task_id", "provider", "model", "status", "failure_class"] polled!("Always 1; how and why the task ended without success, unless it is history.");
    TASK_PROGRESS: Gauge "videogen_task_progress_ratio" ["upstream", "task_id"] polled!("Progress from 0 to 1; absent where the upstream reports none.");
    TASK_SUBMIT: Gauge "videogen_task_submit_timestamp_seconds" ["upstream", "task_id"] polled!("Submit time of the task.");
    TASK_START: Gauge "videogen_task_start_timestamp_seconds" ["upstream", "task_id"] polled!("Start time of the task.");
    TASK_FINISH: Gauge "videogen_task_finish_timestamp_seconds" ["upstream", "task_id"] polled!("Finish time of the task.");
    TASK_DURATION: Gauge "videogen_task_duration_seconds" ["upstream", "task_id"] polled!("Finish minus submit of the ended task, both from one clock.");
    TASK_VIDEO_SECONDS: Gauge "videogen_task_video_seconds" ["upstream", "task_id"] polled!("Length of the video.");
    TASK_TOKENS: Gauge "videogen_task_tokens" ["upstream", "task_id", "token_type"] polled!("Tokens that the task used; the parts add up to the total.");
    TASK_QUOTA: Gauge "videogen_task_quota" ["upstream", "task_id"] polled!("Gateway units that the succeeded task used.");
    TASK_FIRST_SEEN: Gauge "videogen_task_first_seen_timestamp_seconds" ["upstream", "task_id"] "When the task was first discovered, by our clock.";
    TASK_LAST_CHANGE: Gauge "videogen_task_last_change_timestamp_seconds" ["upstream", "task_id"] polled!("When status or progress last changed, by our clock.");
    TASK_LAST_POLL: Gauge "videogen_task_last_poll_timestamp_seconds" ["upstream", "task_id"] "Time of the last successful poll.";
    TASK_DEADLINE: Gauge "videogen_task_deadline_timestamp_seconds" ["upstream", "task_id"] polled!("When the provider will give up the active task.");
    TASK_RESULT_EXPIRY: Gauge "videogen_task_result_expiry_timestamp_seconds" ["upstream", "task_id"] polled!("When the result of the succeeded task expires.");
    TASK_EXPECTED_FINISH: Gauge "videogen_task_expected_finish_timestamp_seconds" ["upstream", "task_id"] "When the active task should have finished: submission plus the 95th percentile of its model's latency. Absent while that is unknown.";
    TASK_STUCK: Gauge "videogen_task_stuck" ["upstream", "task_id"] polled!("1 for an active task that is older than tasks.stuck allows; otherwise absent.");
    TASK_COST: Gauge "videogen_task_cost" ["upstream", "task_id", "currency", "cost_source"] polled!("What the task cost at its provider.");
    TASK_POLL_FAILURES: Gauge "videogen_task_consecutive_poll_failures" ["upstream", "task_id"] "Consecutive failed polls of the task.";
}

/// Request duration: from a fast gateway to the longest usual time-out. Seconds.
pub const REQUEST_BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Poll lag: from none to minutes. Seconds.
pub const LAG_BUCKETS: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Store commit: from a fast disk to one that cannot keep up. Seconds.
pub const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
