//! Every dialect with recorded responses, and the rules for others.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use videogen_exporter::cli::{answer_json, list_json};
use videogen_exporter::domain::{Answer, ApiError, FailureClass, Status, TaskId};
use videogen_exporter::provider::{self, Dialect, PROVIDERS};

/// A recorded response and its expected result.
#[derive(Deserialize)]
pub struct Entry {
    pub file: String,
    pub provider: String,
    pub http_status: u16,
    pub expect: Value,
    /// Headers that matter.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The configuration of its upstream, for provider custom.
    config: Option<String>,
    upstream: Option<String>,
}

impl Entry {
    /// The dialect that reads it.
    pub fn dialect(&self) -> Arc<Dialect> {
        let (Some(config), Some(name)) = (&self.config, &self.upstream) else {
            return Arc::new(dialect(&self.provider));
        };
        let config = videogen_exporter::config::load(&folder().join(config)).unwrap();
        config.upstream(name).unwrap().dialect.clone()
    }

    /// Its body.
    pub fn body(&self) -> Vec<u8> {
        fs::read(folder().join(&self.file)).unwrap()
    }

    /// Its body; `None` when it is not an object with fields.
    pub fn json(&self) -> Option<Value> {
        let body: Value = serde_json::from_slice(&self.body()).ok()?;
        body.as_object().is_some_and(|fields| !fields.is_empty()).then_some(body)
    }

    /// How it is read, as the answer for one task.
    pub fn read(&self) -> Result<Answer, ApiError> {
        let dialect = self.dialect();
        let header = dialect.answer_header().and_then(|name| self.headers.get(name));
        dialect.read(self.http_status, &self.body()).map(|mut answer| {
            dialect.apply_header(&mut answer, header.map(String::as_str));
            answer
        })
    }
}

/// The folder of the recorded responses.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers")
}

/// All recorded responses.
pub fn manifest() -> Vec<Entry> {
    serde_json::from_str(&fs::read_to_string(folder().join("manifest.json")).unwrap()).unwrap()
}

/// The dialect of a provider without configuration; `custom` has none.
pub fn dialect(name: &str) -> Dialect {
    Dialect::from_provider(provider::by_name(name).unwrap()).unwrap()
}

/// Every dialect that needs no configuration.
pub fn dialects() -> impl Iterator<Item = Dialect> {
    PROVIDERS.iter().filter_map(|provider| Dialect::from_provider(provider).ok())
}

fn answer(provider: &str, body: &[u8]) -> Result<Answer, ApiError> {
    dialect(provider).read(200, body)
}

fn read(provider: &str, status: u16, body: &[u8]) -> Value {
    answer_json(&dialect(provider).read(status, body))
}

/// Fields that an entry of the manifest may omit.
const EXTRAS: [&str; 6] = ["expires_at", "gateway_status", "upstream_status", "failure_class", "cost", "currency"];

/// Removes the fields that an expected result omits, where it may.
fn without_extras(mut decoded: Value, expected: &Value) -> Value {
    let without = |task: &mut Value, expected: &Value| {
        let task = task.as_object_mut().unwrap();
        for extra in EXTRAS.into_iter().filter(|extra| expected.get(extra).is_none()) {
            task.remove(extra);
        }
    };
    decoded.get_mut("task").into_iter().for_each(|task| without(task, &expected["task"]));
    let tasks = decoded.get_mut("tasks").and_then(Value::as_array_mut).into_iter().flatten();
    tasks.enumerate().for_each(|(n, task)| without(task, &expected["tasks"][n]));
    decoded
}

#[test]
fn recorded_responses_are_decoded_as_expected() {
    let mut checked: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in manifest() {
        let dialect = entry.dialect();
        let listed = dialect.read_list(entry.http_status, &entry.body()).map(|list| list.tasks);
        let single = without_extras(answer_json(&entry.read()), &entry.expect);
        let list = without_extras(list_json(&listed), &entry.expect);
        let kind = entry.expect["kind"].as_str().unwrap();
        let decoded = if kind == "list" { &list } else { &single };
        if *decoded != entry.expect || kind == "error" && dialect.has_list() && list != entry.expect {
            wrong.push(format!("{}\n  {decoded}\n  {}\n  as a list: {list}", entry.file, entry.expect));
        }
        *checked.entry(entry.provider).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked.values().sum::<usize>(), 352, "{checked:?}");
    for provider in
        PROVIDERS.iter().filter(|provider| !matches!(provider.name, "tikhub_kling" | "tikhub_sora" | "tikhub_veo"))
    {
        assert!(checked.get(provider.name).is_some_and(|n| *n >= 9), "{} has too few responses", provider.name);
    }
}

/// Providers whose bodies a gateway's dialect recognizes by their shape, at the top level.
const RECOGNIZED: [&str; 10] = [
    "ark",
    "dashscope",
    "kling",
    "minimax_hailuo",
    "new_api",
    "openai_videos",
    "tikhub_seedance",
    "tokenhot",
    "veo",
    "vidu",
];

/// Providers whose bodies it recognizes in a row.
const RECOGNIZED_IN_ROWS: [&str; 8] =
    ["ark", "dashscope", "jimeng", "kling", "minimax_hailuo", "openai_videos", "veo", "vidu"];

/// Gateways put responses of providers into an envelope; their dialect recognizes them by shape.
#[test]
fn a_gateway_decodes_the_responses_of_providers_by_their_shape() {
    let is_single = |entry: &&Entry| entry.expect["kind"] != "list" && RECOGNIZED.contains(&&*entry.provider);
    for entry in manifest().iter().filter(is_single) {
        let decoded = read("new_api", entry.http_status, &entry.body());
        assert_eq!(without_extras(decoded, &entry.expect), entry.expect, "{}", entry.file);
    }
}

/// Each response of a provider in the `data` of a gateway that still reports a running task.
#[test]
fn the_final_status_of_the_provider_wins_over_a_running_gateway() {
    let mut checked = 0;
    for entry in manifest() {
        let task = &entry.expect["task"];
        let end = task["status"].as_str().unwrap_or("");
        if entry.expect["kind"] != "task" || !RECOGNIZED_IN_ROWS.contains(&&*entry.provider) {
            continue;
        }
        let inner: Value = serde_json::from_slice(&entry.body()).unwrap();
        let row = json!({"task_id": "t", "status": "IN_PROGRESS", "submit_time": 1, "finish_time": 0, "data": inner});
        for data in [row.clone(), {
            let mut row = row;
            row["data"] = row["data"].to_string().into();
            row
        }] {
            let envelope = json!({"code": "success", "message": "", "data": data});
            let decoded = read("new_api", 200, envelope.to_string().as_bytes());
            let status = decoded["task"]["status"].as_str().unwrap();
            let wanted = match end {
                "failed" | "cancelled" | "expired" | "queued" => end,
                _ => "running",
            };
            assert_eq!(status, wanted, "{}", entry.file);
            assert_eq!(decoded["task"]["task_id"], "t", "{}", entry.file);
            checked += 1;
        }
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn an_id_is_one_segment_of_the_path() {
    let id = TaskId::parse("../keys?all=1").unwrap();
    let has_operations = |dialect: &Dialect| dialect.name().contains("veo") || dialect.name() == "fal";
    for dialect in dialects().filter(|dialect| !has_operations(dialect)) {
        let request = dialect.request(&id).unwrap();
        let in_query = request.query.iter().any(|(_, value)| value == "../keys?all=1");
        let in_path = request.segments.iter().any(|segment| segment == "../keys?all=1");
        let in_body = request.body.as_ref().is_some_and(|body| body.contains(r#""task_id":"../keys?all=1""#));
        assert!(in_path || in_query || in_body, "{}", dialect.name());
        assert!(!request.segments.iter().any(|segment| segment == "content"), "the video is fetched");
    }
    for (provider, id, fine) in [
        ("veo", "models/veo-3/operations/x", true),
        ("veo", "projects/p/locations/l/publishers/google/models/veo-3/operations/x", false),
        ("veo", "models/../operations/x", false),
        ("veo", "models//operations/x", false),
        ("veo", "task_1", false),
        ("tikhub_veo", "models/veo-3/operations/x", true),
        ("tikhub_veo", "models/a/b/operations/x", false),
        ("tikhub_veo", "task_1", false),
    ] {
        assert_eq!(dialect(provider).request(&TaskId::parse(id).unwrap()).is_ok(), fine, "{provider} {id}");
    }
}

#[test]
fn polling_has_a_side_effect_only_where_the_gateway_polls_google() {
    let body = |file: &str| fs::read(folder().join(file)).unwrap();
    let veo = |data: &Value| json!({"code": "success", "data": data}).to_string().into_bytes();
    for (answer, has) in [
        (body("veo/gateway_running.json"), true),
        (veo(&json!({"task_id": "t", "status": "IN_PROGRESS", "platform": "41", "data": null})), true),
        (veo(&json!({"task_id": "t", "status": "IN_PROGRESS", "platform": 24})), true),
        (veo(&json!({"task_id": "t", "status": "IN_PROGRESS", "data": {"name": "models/veo-3/operations/x"}})), true),
        (
            veo(&json!({"status": "IN_PROGRESS", "data": "{\"name\":\"models/veo-3/operations/x\",\"done\":false}"})),
            true,
        ),
        (veo(&json!({"status": "IN_PROGRESS", "properties": {"origin_model_name": "veo-3.1"}})), true),
        (body("new_api/running.json"), false),
        (body("tokenhot/sora_running.json"), false),
        (body("tokenhot/sora_openai_shape.json"), false),
    ] {
        let read = self::answer("new_api", &answer).unwrap();
        assert_eq!(read.read_has_side_effect, has, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Rows are (gateway status, provider status, `fail_reason`, expected status).
#[test]
fn the_status_is_chosen_by_the_documented_rules() {
    for (gateway, inner, reason, ours) in [
        ("SUCCESS", "failed", "", "succeeded"),
        ("SUCCESS", "running", "http://x.y/v.mp4", "succeeded"),
        ("FAILURE", "succeeded", "broken", "failed"),
        ("FAILURE", "cancelled", "broken", "cancelled"),
        ("FAILURE", "expired", "", "expired"),
        ("FAILURE", "running", "任务超时（旧系统遗留任务，不进行退款，请联系管理员）", "expired"),
        ("FAILURE", "running", "Canceled", "cancelled"),
        ("FAILURE", "running", "expired", "expired"),
        ("FAILURE", "running", "it expired", "failed"),
        ("FAILURE", "running", "timeout", "failed"),
        ("IN_PROGRESS", "succeeded", "", "running"),
        ("IN_PROGRESS", "queued", "", "queued"),
        ("QUEUED", "running", "", "running"),
        ("NOT_START", "unheard_of", "", "queued"),
        ("UNKNOWN", "running", "", "running"),
        ("UNKNOWN", "unheard_of", "", "unknown"),
        ("UPSCALING", "failed", "", "failed"),
    ] {
        let body = json!({"code": "success", "data": {
            "task_id": "t", "status": gateway, "fail_reason": reason, "data": {"id": "cgt", "status": inner}}});
        let decoded = read("tokenhot", 200, body.to_string().as_bytes());
        assert_eq!(decoded["task"]["status"], ours, "{gateway} over {inner} with {reason:?}");
    }
}

/// Responses that are easily misread.
#[test]
fn errors_and_flat_rows_are_recognized() {
    let error = |body: Value| read("tokenhot", 200, body.to_string().as_bytes())["error"].clone();
    for (body, kind) in [
        (json!({"status": "error", "code": "get_task_failed", "message": "db down"}), "api_error"),
        (json!({"status": 500, "code": "get_task_failed", "message": "db down"}), "api_error"),
        (json!({"status": "failed", "message": "no such model"}), "api_error"),
        (json!({"success": true, "data": null, "error": {"code": "insufficient_quota"}}), "quota_exhausted"),
        (json!({"code": "success", "data": {"error": {"code": "insufficient_quota"}}}), "quota_exhausted"),
    ] {
        assert_eq!(error(body.clone())["kind"], kind, "{body}");
    }
    let flat = json!({"task_id": "t1", "platform": "54", "status": "FAILURE", "progress": "100%", "fail_reason": "boom",
        "submit_time": 1_772_095_377, "finish_time": 1_772_095_426, "quota": 7,
        "data": {"id": "cgt-1", "status": "running", "created_at": 1_772_095_375}});
    let decoded = read("new_api", 200, flat.to_string().as_bytes())["task"].clone();
    for (key, value) in
        [("task_id", json!("t1")), ("status", json!("failed")), ("finish", json!(1_772_095_426)), ("credits", json!(7))]
    {
        assert_eq!(decoded[key], value, "{decoded}");
    }
    let words = |gateway: &str, inner: &str| {
        let body = json!({"code": "success", "data": {"status": gateway, "data": {"id": "cgt-c", "status": inner}}})
            .to_string();
        answer("new_api", body.as_bytes()).unwrap().unknown_word
    };
    assert_eq!(words("UPSCALING", "running").as_deref(), Some("UPSCALING"));
    assert_eq!(words("IN_PROGRESS", "upscaling").as_deref(), Some("upscaling"));
    assert_eq!(words("UNKNOWN", "running"), None, "`UNKNOWN` is a known word");
}

#[test]
fn times_are_taken_from_one_clock() {
    let task = |row: Value| {
        read("new_api", 200, json!({"code": "success", "data": row}).to_string().as_bytes())["task"].clone()
    };
    let inner = json!({"status": "succeeded", "created_at": 1_700_000_100, "updated_at": 1_700_000_200});
    // The gateway has submit and finish: its times are used.
    let both = task(
        json!({"status": "SUCCESS", "submit_time": 1_700_000_110, "start_time": 1_700_000_120, "finish_time": 1_700_000_210, "data": inner}),
    );
    assert_eq!(
        (&both["submit"], &both["start"], &both["finish"]),
        (&json!(1_700_000_110), &json!(1_700_000_120), &json!(1_700_000_210))
    );
    // The gateway has no finish: the times of the provider are used, without the start of the gateway.
    let pair = task(
        json!({"status": "SUCCESS", "submit_time": 1_700_000_110, "start_time": 1_700_000_120, "finish_time": 0, "data": inner}),
    );
    assert_eq!(
        (&pair["submit"], &pair["start"], &pair["finish"]),
        (&json!(1_700_000_100), &Value::Null, &json!(1_700_000_200))
    );
    // Neither has both times.
    let rest = task(
        json!({"status": "FAILURE", "submit_time": 0, "created_at": 1_700_000_090, "updated_at": 1_700_000_300, "data": null}),
    );
    assert_eq!((&rest["submit"], &rest["finish"]), (&json!(1_700_000_090), &json!(1_700_000_300)));
}

/// Compares the recorded responses with the originals, if these exist.
#[test]
fn the_recorded_responses_equal_those_of_the_contract() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    if !shared.is_dir() {
        // The test runner hides output of `eprintln!`.
        let message = b"SKIPPED: the originals of the recorded responses are not beside this checkout\n";
        std::io::stderr().write_all(message).unwrap();
        return;
    }
    let read = |folder: &Path| -> Vec<Value> {
        serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (read(&folder()), read(&shared));
    for entry in &ours {
        let file = entry["file"].as_str().unwrap();
        assert!(theirs.contains(entry), "{file}: the contract has no equal entry");
        assert_eq!(fs::read(folder().join(file)).unwrap(), fs::read(shared.join(file)).unwrap(), "{file}");
    }
    let missing = theirs.len() - ours.len();
    let message = format!(
        "{} of the {} responses of the contract are recorded, {missing} are missing\n",
        ours.len(),
        theirs.len()
    );
    std::io::stderr().write_all(message.as_bytes()).unwrap();
}

/// The tables of codes and texts, for providers and for gateways that forward them.
#[test]
fn a_failure_has_the_class_of_its_provider_table() {
    let mut checked = 0;
    for entry in manifest().iter().filter(|entry| entry.expect["task"]["status"] == "failed") {
        let class = entry.read().unwrap().failure;
        let wanted = match entry.file.as_str() {
            "new_api/null_upstream_id.json" | "minimax_hailuo/failed.json" | "custom/mpt_minus_one.json" => None,
            "dashscope/failed.json"
            | "kling/failed_message_succeed.json"
            | "gemini_interactions/failed_uri_code.json"
            | "fal/result_invalid.json"
            | "vidu/failed_download.json"
            | "custom/fal_like_failed.json" => Some(FailureClass::InvalidInput),
            "new_api/failed.json"
            | "gemini_interactions/failed_internal.json"
            | "openrouter/failed_provider.json"
            | "xai/failed.json"
            | "fal/completed_with_error.json"
            | "runway/failed_internal.json"
            | "replicate/failed_other.json"
            | "jimeng/failed_audit_service.json"
            | "luma/failed_other.json"
            | "custom/comfy_error.json" => Some(FailureClass::ProviderError),
            "new_api/upstream_error_failed.json"
            | "new_api/gateway_jimeng_made_failure.json"
            | "new_api/gateway_sora_made_failure.json" => Some(FailureClass::GatewayError),
            "gemini_interactions/completed_without_output.json" => Some(FailureClass::NoOutput),
            _ => Some(FailureClass::ContentPolicy),
        };
        assert_eq!(class, wanted, "{}", entry.file);
        checked += 1;
    }
    assert!(checked >= 15, "{checked}");
    for (provider, body, class) in [
        ("ark", json!({"id": "t", "status": "failed", "error": {"code": "QuotaExceeded"}}), FailureClass::Quota),
        ("ark", json!({"id": "t", "status": "failed", "error": {"code": "ServerOverloaded"}}), FailureClass::RateLimit),
        (
            "ark",
            json!({"id": "t", "status": "failed", "error": {"code": "InternalServiceError"}}),
            FailureClass::ProviderError,
        ),
        (
            "openai_videos",
            json!({"id": "t", "status": "failed", "error": {"code": "moderation_blocked"}}),
            FailureClass::ContentPolicy,
        ),
        (
            "openai_videos",
            json!({"id": "t", "status": "failed", "error": {"message": "upstream returned error"}}),
            FailureClass::GatewayError,
        ),
        (
            "minimax_hailuo",
            json!({"task_id": "t", "status": "Fail", "base_resp": {"status_code": 1008}}),
            FailureClass::Quota,
        ),
        (
            "minimax_hailuo",
            json!({"task": {"id": "t", "status": "failed", "error": {"code": "1013"}}}),
            FailureClass::ProviderError,
        ),
        (
            "kling",
            json!({"data": {"task_id": "t", "task_status": "failed", "task_status_msg": "Task timed out"}}),
            FailureClass::Timeout,
        ),
        (
            "dashscope",
            json!({"output": {"task_status": "FAILED", "code": "InternalError.Timeout"}}),
            FailureClass::Timeout,
        ),
        (
            "veo",
            json!({"name": "models/v/operations/x", "done": true, "error": {"code": 8, "message": "m"}}),
            FailureClass::RateLimit,
        ),
        ("veo", json!({"name": "models/v/operations/x", "done": true}), FailureClass::NoOutput),
        (
            "new_api",
            json!({"code": "success", "data": {"status": "FAILURE", "fail_reason": "Failed to get channel info, channel ID: 7"}}),
            FailureClass::GatewayError,
        ),
        (
            "tokenhot",
            json!({"code": "success", "data": {"status": "FAILURE", "fail_reason": "task failed, code: DataInspectionFailed , message: x"}}),
            FailureClass::ContentPolicy,
        ),
        (
            "tokenhot",
            json!({"code": "success", "data": {"status": "FAILURE", "data": {"status": "Fail", "base_resp": {"status_code": 1027}}}}),
            FailureClass::ContentPolicy,
        ),
    ] {
        assert_eq!(answer(provider, body.to_string().as_bytes()).unwrap().failure, Some(class), "{provider} {body}");
    }
}

/// Responses by the rules of docs/upstreams.md.
#[test]
fn unrecorded_kinds_of_responses_follow_the_documented_rules() {
    let kind = |provider: &str, body: Value| {
        let decoded = read(provider, 200, body.to_string().as_bytes());
        decoded["error"]["kind"].as_str().unwrap_or_else(|| decoded["task"]["status"].as_str().unwrap()).to_owned()
    };
    let kling =
        |code: u32| json!({"code": code, "message": "x", "data": {"task_id": "1", "task_status": "processing"}});
    for (provider, body, wanted) in [
        ("kling", kling(1303), "rate_limited"),
        ("kling", kling(1203), "not_found"),
        ("kling", json!({"code": 1026, "message": "x", "data": null}), "api_error"),
        ("tikhub_kling", kling(1203), "not_found"),
        ("tikhub_kling", kling(0), "running"),
        ("veo", json!({"done": false}), "invalid_body"),
        ("veo", json!({"done": true, "response": {"videos": [{"gcsUri": "gs://x"}]}}), "invalid_body"),
        ("veo", json!({"done": true, "error": {"code": 4}}), "expired"),
        ("veo", json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]), "api_error"),
        ("openai_videos", json!({"error": {"message": "m", "code": "insufficient_quota"}}), "quota_exhausted"),
        ("minimax_hailuo", json!({"base_resp": {"status_code": 1039}}), "rate_limited"),
        ("dashscope", json!({"code": "Throttling.RateQuota", "message": "m"}), "rate_limited"),
        ("ark", json!({"error": {"code": "AccountOverdueError"}}), "quota_exhausted"),
        ("ark", json!({"status": "error", "message": "down"}), "api_error"),
        ("ark", json!({}), "invalid_body"),
    ] {
        assert_eq!(kind(provider, body.clone()), wanted, "{provider} {body}");
    }
    let waiting =
        json!({"id": "v", "object": "video", "status": "in_progress", "created_at": 1, "metadata": {"url": "pending"}});
    assert!(read("openai_videos", 200, waiting.to_string().as_bytes())["task"]["error_message"].is_null());

    let list = |provider: &str, body: Value| {
        list_json(&dialect(provider).read_list(200, body.to_string().as_bytes()).map(|list| list.tasks))
    };
    for (provider, body) in [
        ("ark", json!({"total": 0, "items": null})),
        ("dashscope", json!({"data": null, "total": 0})),
        ("kling", json!({"code": 0, "data": {"list": null, "total": 0}})),
        ("new_api", json!({"success": true, "data": {"items": null, "total": 0}})),
    ] {
        assert_eq!(list(provider, body.clone())["tasks"], json!([]), "{provider} {body}");
    }
    let refused =
        list("minimax_hailuo", json!({"items": [], "base_resp": {"status_code": 1004, "status_msg": "login fail"}}));
    assert_eq!(refused["error"]["kind"], "unauthorized");
    let plain = list(
        "tikhub_sora",
        json!({"data": [{"id": "v1", "status": "completed", "created_at": 1_700_000_001, "completed_at": 1_700_000_009, "model": "sora-2"}]}),
    );
    assert_eq!((&plain["tasks"][0]["task_id"], &plain["tasks"][0]["finish"]), (&json!("v1"), &json!(1_700_000_009)));
}

/// A gateway may have vendors that no table knows. Their bodies are no drift: nothing that is documented has changed.
#[test]
fn the_body_of_an_unknown_vendor_is_no_drift() {
    for body in [
        json!({"phase": 3, "clip": {"state": 1}}),
        json!({}),
        json!({"status": 3, "result": "x"}),
        json!({"state": "odd"}),
        json!({"id": "x1", "status": "rendering", "clip": {"url": "https://media.example.com/v.mp4"}}),
        json!({"status": "succeeded", "video": {"url": "https://media.example.com/v.mp4"}}),
    ] {
        let row = json!({"code": "success", "data": {
            "task_id": "t", "platform": "99", "status": "IN_PROGRESS", "progress": "30%", "submit_time": 1_795_132_800,
            "start_time": 0, "finish_time": 0, "quota": 1, "fail_reason": "", "data": body,
            "properties": {"upstream_model_name": "m", "origin_model_name": "m"},
        }});
        let answer = answer("new_api", row.to_string().as_bytes()).unwrap();
        assert!(answer.drift.is_none(), "{body}: {:?}", answer.drift.iter().collect::<Vec<_>>());
        assert_eq!((answer.status(), answer.has_unknown_body), (Status::Running, true), "{body}");
    }
}

/// `response.failures` of any provider has priority over its table.
#[test]
fn configured_classes_of_codes_override_those_of_the_provider() {
    let failures = vec![("sensitiveoutput".to_owned(), FailureClass::Other), ("X1".to_owned(), FailureClass::Quota)];
    let overrides = provider::Overrides { failures, ..provider::Overrides::default() };
    let ark = Dialect::new(provider::by_name("ark").unwrap(), overrides).unwrap();
    for (code, class) in [
        ("SensitiveOutput", FailureClass::Other),
        ("x1", FailureClass::Quota),
        ("OutputVideoSensitiveContentDetected", FailureClass::ContentPolicy),
    ] {
        let body = json!({"id": "t", "status": "failed", "error": {"code": code, "message": "m"}});
        assert_eq!(ark.read(200, body.to_string().as_bytes()).unwrap().failure, Some(class), "{code}");
        let list = json!({"items": [body]});
        assert_eq!(ark.read_list(200, list.to_string().as_bytes()).unwrap().tasks[0].failure, Some(class), "{code}");
    }
}

/// Every status word of docs/upstreams.md, in any case, at a provider without words of its own.
#[test]
fn every_documented_status_word_is_known() {
    let words = [
        (
            Status::Queued,
            "not_start submitted queued queueing queuing pending preparing created in_queue waiting starting scheduled throttled staged",
        ),
        (Status::Running, "in_progress running processing suspended generating dreaming preprocessing requires_action"),
        (Status::Succeeded, "success succeed succeeded completed complete done finished"),
        (Status::Failed, "failure failed fail error"),
        (Status::Cancelled, "cancel cancelled canceled aborted"),
        (Status::Expired, "expired timeout timed_out"),
    ];
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/upstreams.md")).unwrap();
    for (status, words) in words {
        let row = format!("| {} | {} |", status.as_str(), words.replace(' ', ", "));
        assert!(documented.contains(&row), "docs/upstreams.md has other words: {row}");
        for word in words.split(' ').flat_map(|word| [word.to_owned(), word.to_uppercase()]) {
            let body = json!({"id": "t", "status": word, "updated_at": 1_795_132_800});
            let answer = answer("ark", body.to_string().as_bytes()).unwrap();
            assert_eq!((answer.status(), answer.unknown_word), (status, None), "{word}");
        }
    }
}

/// Codes about money, keys and rates have priority over the HTTP status, at every provider that has them.
#[test]
fn money_and_keys_are_told_under_any_http_status() {
    for (provider, body, kind) in [
        ("dashscope", json!({"code": "Arrearage", "message": "x"}), "quota_exhausted"),
        ("openai_videos", json!({"error": {"code": "billing_hard_limit_reached"}}), "quota_exhausted"),
        ("openai_videos", json!({"error": {"code": "insufficient_quota"}}), "quota_exhausted"),
        ("new_api", json!({"error": {"code": "insufficient_user_quota"}}), "quota_exhausted"),
        ("new_api", json!({"code": "Arrearage", "message": "x"}), "quota_exhausted"),
        ("vidu", json!({"code": 400, "reason": "CreditInsufficient"}), "quota_exhausted"),
        ("vidu", json!({"code": 400, "reason": "QuotaExceeded"}), "rate_limited"),
        ("ark", json!({"error": {"code": "AccountOverdueError"}}), "quota_exhausted"),
        ("litellm", json!({"error": {"type": "budget_exceeded", "code": "400"}}), "quota_exhausted"),
        ("litellm", json!({"error": {"type": "no_db_connection", "code": "400"}}), "unauthorized"),
        (
            "veo",
            json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}),
            "unauthorized",
        ),
        (
            "new_api",
            json!({"error": {"code": 400, "message": "API key expired. Renew it.", "status": "INVALID_ARGUMENT"}}),
            "unauthorized",
        ),
        ("kling", json!({"code": 1102, "message": "x"}), "quota_exhausted"),
        (
            "jimeng",
            json!({"ResponseMetadata": {"Error": {"Code": "SignatureDoesNotMatch", "Message": "x"}}}),
            "unauthorized",
        ),
    ] {
        for status in [400, 401, 403, 404, 409, 422, 429, 500, 503] {
            let error = read(provider, status, body.to_string().as_bytes())["error"]["kind"].clone();
            assert_eq!(error, kind, "{provider} {status} {body}");
        }
    }
    // Without the reason, an invalid argument is just that.
    let other = json!({"error": {"code": 400, "message": "duration is wrong", "status": "INVALID_ARGUMENT"}});
    assert_eq!(read("veo", 400, other.to_string().as_bytes())["error"]["kind"], "bad_request");
}
