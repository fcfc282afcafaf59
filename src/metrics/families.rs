//! Every metric family: the contract of `docs/metrics.md` as data.

/// The type that a family has in the text format.
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

/// One family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its label names; `label_*` of sources come on top where the contract says so.
    pub labels: &'static [&'static str],
    /// Its `# HELP`.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:expr;)+) => {
        $(#[doc = concat!("`", $name, "`")]
        pub const $id: Family = Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+

        /// Every family of ours, in the order of the page; `process_*` comes from the `prometheus` crate.
        pub const ALL: &[Family] = &[$($id),+];
    };
}

/// Said of everything that an upstream told us.
macro_rules! polled {
    ($text:literal) => {
        concat!($text, " As old as videogen_task_last_poll_timestamp_seconds.")
    };
}

families! {
    // Upstreams and polling
    UPSTREAM_UP: Gauge "videogen_upstream_up" ["upstream"] "1 when the latest finished request was answered well, or complained about one task only; 0 for every other error.";
    UPSTREAM_LAST_SUCCESS: Gauge "videogen_upstream_last_success_timestamp_seconds" ["upstream", "operation"] "When the last good answer came.";
    UPSTREAM_REQUESTS: Counter "videogen_upstream_requests_total" ["upstream", "operation", "code"] "Requests by HTTP status, none where no answer came.";
    UPSTREAM_REQUEST_ERRORS: Counter "videogen_upstream_request_errors_total" ["upstream", "operation", "reason"] "Requests that gave no task, by reason. A failed task in a good answer is no error.";
    UPSTREAM_REQUEST_DURATION: Histogram "videogen_upstream_request_duration_seconds" ["upstream", "operation"] "Time from sending a request to having read its answer.";
    UPSTREAM_THROTTLE_WAIT: Counter "videogen_upstream_throttle_wait_seconds_total" ["upstream"] "Time that due polls waited for our own rate limit.";
    UPSTREAM_BACKOFF_UNTIL: Gauge "videogen_upstream_backoff_until_timestamp_seconds" ["upstream"] "Until when the upstream is left alone, for its Retry-After or because of errors.";
    CLOCK_SKEW: Gauge "videogen_upstream_clock_skew_seconds" ["upstream"] "The Date of the last answer, which has whole seconds, minus the middle of its request by our clock.";
    POLL_LAG: Histogram "videogen_poll_lag_seconds" ["upstream"] "How much later than due polls were sent: our own backlog.";
    POLLS_IN_FLIGHT: Gauge "videogen_polls_in_flight" ["upstream"] "Requests that wait for an answer.";
    WEBHOOKS: Counter "videogen_webhooks_total" ["upstream", "result"] "Callbacks: accepted, unauthorized (another secret), invalid (no task in it), unknown_task (one that is not watched).";
    WEBHOOK_LAST: Gauge "videogen_webhook_last_received_timestamp_seconds" ["upstream"] "When a callback was last accepted.";
    DISCOVERY_TASKS: Gauge "videogen_discovery_tasks" ["upstream", "source"] "Task ids that a source names now.";
    DISCOVERY_LAST_SUCCESS: Gauge "videogen_discovery_last_success_timestamp_seconds" ["upstream", "source"] "When a source was last read without an error.";
    DISCOVERY_ERRORS: Counter "videogen_discovery_errors_total" ["upstream", "source"] "Reads of a source that failed, and ids left out because they are no task ids.";
    DISCOVERY_TRUNCATED: Counter "videogen_discovery_truncated_total" ["upstream", "source"] "Reads of a source that stopped before its end.";

    // The exporter
    BUILD_INFO: Gauge "videogen_exporter_build_info" ["version", "revision", "rustversion"] "Always 1; what runs.";
    RELOAD_SUCCESSFUL: Gauge "videogen_exporter_config_last_reload_successful" [] "Whether the configuration in the file is in force.";
    RELOAD_SUCCESS_TIME: Gauge "videogen_exporter_config_last_reload_success_timestamp_seconds" [] "When the configuration in force was loaded.";
    SERIES_TASKS: Gauge "videogen_exporter_task_series_tasks" [] "Tasks that have series of their own.";
    SERIES_LIMIT: Gauge "videogen_exporter_task_series_limit" [] "Most tasks that may have series of their own.";
    SERIES_REFUSED: Counter "videogen_exporter_task_series_refused_total" [] "Tasks that had to go without series of their own, each once.";
    LABELS_FOLDED: Counter "videogen_exporter_label_values_folded_total" ["label"] "Label values that became other because there were too many, each occurrence once.";
    RENDER_DURATION: Gauge "videogen_exporter_render_duration_seconds" [] "Time that it took to make the last page that was read to its end, compression included.";
    EXPOSITION_BYTES: Gauge "videogen_exporter_exposition_bytes" ["format"] "Size of the last page in a format that was read to its end, before compression.";
    STORE_UP: Gauge "videogen_exporter_store_up" [] "1 when the last write of the state was committed, 0 when it was not: then nothing new is counted, and what ended waits.";
    STORE_ERRORS: Counter "videogen_exporter_store_errors_total" [] "Writes of the state that were not committed.";
    STORE_COMMIT: Histogram "videogen_exporter_store_commit_duration_seconds" [] "Time from beginning a transaction to having it on the disk.";
    LOG_MESSAGES: Counter "videogen_exporter_log_messages_total" ["level"] "Log messages.";

    // Aggregates
    TASKS: Gauge "videogen_tasks" ["upstream", "provider", "model", "status"] polled!("Tasks that are active, or were first read as ended within tasks.retention.");
    OLDEST_SUBMIT: Gauge "videogen_oldest_active_task_submit_timestamp_seconds" ["upstream", "provider", "model", "status"] polled!("Submit time of the oldest active task, or when it was first seen.");
    OLDEST_POLL: Gauge "videogen_oldest_active_task_poll_timestamp_seconds" ["upstream"] "The oldest last good poll, or first sight, of the active tasks.";
    DISCOVERED: Counter "videogen_tasks_discovered_total" ["upstream", "source"] "Tasks by the source that brought them first, history included.";
    SUBMITTED: Counter "videogen_tasks_submitted_total" ["upstream", "provider", "model"] polled!("Tasks that are counted.");
    FINISHED: Counter "videogen_tasks_finished_total" ["upstream", "provider", "model", "status"] polled!("Ends, each end of a task once.");
    FAILURES: Counter "videogen_task_failures_total" ["upstream", "provider", "model", "status", "failure_class"] polled!("Ends other than succeeded, by class of failure.");
    LATENCY: Histogram "videogen_task_latency_seconds" ["upstream", "provider", "model", "status"] polled!("Finish minus submit of ended tasks, both from one clock.");
    QUEUE: Histogram "videogen_task_queue_seconds" ["upstream", "provider", "model"] polled!("Start minus submit of ended tasks.");
    RUN: Histogram "videogen_task_run_seconds" ["upstream", "provider", "model", "status"] polled!("Finish minus start of ended tasks.");
    TOKENS: Counter "videogen_tokens_total" ["upstream", "provider", "model", "token_type"] polled!("Tokens used, once a task.");
    QUOTA: Counter "videogen_quota_total" ["upstream", "provider", "model"] polled!("Gateway units used by succeeded tasks. Units differ between upstreams.");
    VIDEO_SECONDS: Counter "videogen_video_seconds_total" ["upstream", "provider", "model", "resolution"] polled!("Seconds of video of succeeded tasks.");
    TRANSITIONS: Counter "videogen_status_transitions_total" ["upstream", "provider", "model", "from", "to"] polled!("Changes of status that were seen.");
    REGRESSIONS: Counter "videogen_status_regressions_total" ["upstream", "provider", "model"] polled!("Ended tasks that later had another end, such as a success after a failure.");
    DISAGREEMENTS: Gauge "videogen_status_disagreements" ["upstream", "provider", "model", "gateway_status", "upstream_status"] polled!("Tasks of which the gateway says one thing and the provider behind it another.");
    GATEWAY_LAG: Histogram "videogen_gateway_finish_lag_seconds" ["upstream", "provider", "model"] polled!("The gateway's finish minus the provider's, of ended tasks with both.");
    INVALID_DURATIONS: Counter "videogen_invalid_durations_total" ["upstream", "provider", "model", "span", "problem"] polled!("Spans left out because they are negative or longer than 30 days.");
    SCHEMA_DRIFT: Counter "videogen_schema_drift_total" ["upstream", "provider", "field", "problem"] "Fields of answers that were not as their provider documents them.";
    UNKNOWN_STATUSES: Counter "videogen_unknown_statuses_total" ["upstream", "provider"] "Answers with a status word that no table knows.";

    // One task
    TASK_STATUS: Gauge "videogen_task_status" ["upstream", "task_id", "status"] polled!("1 for the status that the task has, 0 for the seven others.");
    TASK_STATUS_CODE: Gauge "videogen_task_status_code" ["upstream", "task_id"] polled!("1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired, 7 lost, 8 unknown.");
    TASK_INFO: Gauge "videogen_task_info" ["upstream", "task_id", "provider", "model", "upstream_model", "resolution", "service_tier", "progress_source"] polled!("Always 1; what the task is.");
    TASK_PROGRESS: Gauge "videogen_task_progress_ratio" ["upstream", "task_id"] polled!("Progress from 0 to 1, absent where the upstream gives none.");
    TASK_SUBMIT: Gauge "videogen_task_submit_timestamp_seconds" ["upstream", "task_id"] polled!("When the task was submitted.");
    TASK_START: Gauge "videogen_task_start_timestamp_seconds" ["upstream", "task_id"] polled!("When work on the task began.");
    TASK_FINISH: Gauge "videogen_task_finish_timestamp_seconds" ["upstream", "task_id"] polled!("When the task ended.");
    TASK_DURATION: Gauge "videogen_task_duration_seconds" ["upstream", "task_id"] polled!("Finish minus submit of the ended task, both from one clock.");
    TASK_VIDEO_SECONDS: Gauge "videogen_task_video_seconds" ["upstream", "task_id"] polled!("Length of the video.");
    TASK_TOKENS: Gauge "videogen_task_tokens" ["upstream", "task_id", "token_type"] polled!("Tokens that the task used; the parts add up to the total.");
    TASK_QUOTA: Gauge "videogen_task_quota" ["upstream", "task_id"] polled!("Gateway units that the succeeded task used.");
    TASK_FIRST_SEEN: Gauge "videogen_task_first_seen_timestamp_seconds" ["upstream", "task_id"] "When a source first named the task, by our clock.";
    TASK_LAST_CHANGE: Gauge "videogen_task_last_change_timestamp_seconds" ["upstream", "task_id"] polled!("When status or progress last changed, by our clock.");
    TASK_LAST_POLL: Gauge "videogen_task_last_poll_timestamp_seconds" ["upstream", "task_id"] "When the last good answer came.";
    TASK_DEADLINE: Gauge "videogen_task_deadline_timestamp_seconds" ["upstream", "task_id"] polled!("When the provider gives the active task up.");
    TASK_RESULT_EXPIRY: Gauge "videogen_task_result_expiry_timestamp_seconds" ["upstream", "task_id"] polled!("When the result of the succeeded task can no longer be fetched.");
    TASK_POLL_FAILURES: Gauge "videogen_task_consecutive_poll_failures" ["upstream", "task_id"] "Polls of the task that failed in a row.";
}

/// Requests: from a fast gateway to the longest usual time-out.
pub const REQUEST_BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Poll lag: nothing to worry about, up to minutes behind.
pub const LAG_BUCKETS: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Store commit: from a fast disk to one that cannot keep up.
pub const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
