//! Every dialect against its recorded answers, and against everything else that could come over a wire.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use videogen_exporter::cli::shown;
use videogen_exporter::domain::{Status, TaskId};
use videogen_exporter::provider::{self, PROVIDERS};

#[derive(Deserialize)]
struct Entry {
    file: String,
    provider: String,
    http_status: u16,
    expect: Value,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers")
}

fn manifest() -> Vec<Entry> {
    serde_json::from_str(&fs::read_to_string(folder().join("manifest.json")).unwrap()).unwrap()
}

fn read(provider: &str, status: u16, body: &[u8]) -> Value {
    shown(&provider::named(provider).unwrap().read(status, body))
}

/// The three fields that the manifest leaves out.
fn without_extras(mut said: Value) -> Value {
    if let Some(task) = said.get_mut("task").and_then(Value::as_object_mut) {
        for extra in ["expires_at", "gateway_status", "upstream_status"] {
            task.remove(extra);
        }
    }
    said
}

#[test]
fn recorded_answers_come_out_exactly() {
    let mut checked: BTreeMap<String, usize> = BTreeMap::new();
    for entry in manifest().iter().filter(|entry| entry.expect["kind"] != "list") {
        let body = fs::read(folder().join(&entry.file)).unwrap();
        // A vendor's own answers are what stands inside an envelope: the gateways' dialect knows them by shape alone.
        let name = provider::named(&entry.provider).map_or("new_api", |provider| provider.name());
        let said = without_extras(read(name, entry.http_status, &body));
        assert_eq!(said, entry.expect, "{} read as {name}", entry.file);
        *checked.entry(entry.provider.clone()).or_default() += 1;
    }
    for provider in PROVIDERS {
        assert!(checked.get(provider.name()).is_some_and(|n| *n >= 15), "{} has too few answers", provider.name());
    }
    assert!(checked.values().sum::<usize>() >= 150, "{checked:?}");
}

/// A vendor's answer, and the same answer in the `data` of a gateway that still says that the task runs.
#[test]
fn inside_an_envelope_a_vendors_end_wins_over_a_gateway_that_has_not_noticed() {
    let mut checked = 0;
    for entry in manifest() {
        let task = &entry.expect["task"];
        let end = task["status"].as_str().unwrap_or("");
        let vendor =
            !entry.provider.starts_with("tikhub") && !matches!(entry.provider.as_str(), "new_api" | "tokenhot");
        if entry.expect["kind"] != "task" || !vendor {
            continue;
        }
        let inner: Value = serde_json::from_slice(&fs::read(folder().join(&entry.file)).unwrap()).unwrap();
        let row = json!({"task_id": "t", "status": "IN_PROGRESS", "submit_time": 1, "finish_time": 0, "data": inner});
        for data in [row.clone(), {
            let mut row = row;
            row["data"] = row["data"].to_string().into();
            row
        }] {
            let envelope = json!({"code": "success", "message": "", "data": data});
            let said = read("new_api", 200, envelope.to_string().as_bytes());
            let status = said["task"]["status"].as_str().unwrap();
            let wanted = match end {
                "failed" | "cancelled" | "expired" | "queued" => end,
                _ => "running",
            };
            assert_eq!(status, wanted, "{}", entry.file);
            assert_eq!(said["task"]["task_id"], "t", "{}", entry.file);
            checked += 1;
        }
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn an_id_stays_one_segment_of_the_path() {
    let id = TaskId::parse("../keys?all=1").unwrap();
    for provider in PROVIDERS {
        let request = provider.request(&id);
        assert_eq!(request.segments.last().map(String::as_str), Some("../keys?all=1"), "{}", provider.name());
        assert!(!request.segments.iter().any(|segment| segment == "content"), "the video itself is never fetched");
    }
}

#[test]
fn reading_has_a_side_effect_only_where_the_gateway_asks_google_itself() {
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
        let read = provider::named("new_api").unwrap().read(200, &answer).unwrap();
        assert_eq!(read.read_has_side_effect, has, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Rows of the rule "which word wins", as (gateway, inner, `fail_reason`, ours).
#[test]
fn the_winning_word_is_the_one_of_the_table() {
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
        let said = read("tokenhot", 200, body.to_string().as_bytes());
        assert_eq!(said["task"]["status"], ours, "{gateway} over {inner} with {reason:?}");
    }
}

/// Answers that are easily taken for something else.
#[test]
fn an_error_is_no_task_and_a_flat_row_is_no_envelope() {
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
    let said = read("new_api", 200, flat.to_string().as_bytes())["task"].clone();
    for (key, value) in
        [("task_id", json!("t1")), ("status", json!("failed")), ("finish", json!(1_772_095_426)), ("credits", json!(7))]
    {
        assert_eq!(said[key], value, "{said}");
    }
    let words = |gateway: &str, inner: &str| {
        let body =
            json!({"code": "success", "data": {"status": gateway, "data": {"id": "c", "status": inner}}}).to_string();
        provider::named("new_api").unwrap().read(200, body.as_bytes()).unwrap().unknown_word
    };
    assert_eq!(words("UPSCALING", "running").as_deref(), Some("UPSCALING"));
    assert_eq!(words("IN_PROGRESS", "upscaling").as_deref(), Some("upscaling"));
    assert_eq!(words("UNKNOWN", "running"), None, "that word is known");
}

#[test]
fn times_come_from_one_clock() {
    let task = |row: Value| {
        read("new_api", 200, json!({"code": "success", "data": row}).to_string().as_bytes())["task"].clone()
    };
    let inner = json!({"status": "succeeded", "created_at": 100, "updated_at": 200});
    // Both of the gateway: the gateway's.
    let both =
        task(json!({"status": "SUCCESS", "submit_time": 110, "start_time": 120, "finish_time": 210, "data": inner}));
    assert_eq!((&both["submit"], &both["start"], &both["finish"]), (&json!(110), &json!(120), &json!(210)));
    // The gateway's finish is missing: the provider's pair, and not the gateway's start with it.
    let pair =
        task(json!({"status": "SUCCESS", "submit_time": 110, "start_time": 120, "finish_time": 0, "data": inner}));
    assert_eq!((&pair["submit"], &pair["start"], &pair["finish"]), (&json!(100), &Value::Null, &json!(200)));
    // Neither pair is complete.
    let rest = task(json!({"status": "FAILURE", "submit_time": 0, "created_at": 90, "updated_at": 300, "data": null}));
    assert_eq!((&rest["submit"], &rest["finish"]), (&json!(90), &json!(300)));
}

/// Any JSON, a few levels deep, with the keys that the dialects look for.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("code"),
        Just("data"),
        Just("status"),
        Just("task_status"),
        Just("output"),
        Just("task"),
        Just("object"),
        Just("error"),
        Just("progress"),
        Just("usage"),
        Just("submit_time"),
        Just("finish_time"),
        Just("created_at"),
        Just("fail_reason"),
        Just("result_url"),
        Just("name"),
        Just("done"),
        Just("response"),
        Just("base_resp"),
        Just("total_tokens"),
        Just("task_id"),
        Just("metadata"),
        Just("success"),
        Just("message"),
        Just("quota"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![
            Just("SUCCESS"),
            Just("FAILURE"),
            Just("running"),
            Just("expired"),
            Just("success"),
            Just("video"),
            Just("100%"),
            Just("-1"),
            Just("1e400"),
            Just("https://secret.example/v?sig=S3CRET"),
            Just("任务超时")
        ]
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_without_a_panic_and_without_a_url(body in any_json(), status in prop_oneof![Just(200u16), 100u16..600]) {
        for provider in PROVIDERS {
            let result = provider.read(status, body.to_string().as_bytes());
            let said = shown(&result).to_string();
            prop_assert!(!said.contains("S3CRET"), "{}", said);
            if let Ok(answer) = result {
                prop_assert!(answer.status != Status::Lost);
                prop_assert!(answer.progress.is_none_or(|p| (0.0..=1.0).contains(&p)));
                prop_assert!(answer.status.is_end() || answer.times.finish.is_none());
                prop_assert!(answer.tokens.parts().iter().all(|(_, n)| n.is_none_or(|n| n >= 0.0 && n.is_finite())));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300), status in 100u16..600) {
        for provider in PROVIDERS {
            let _ = provider.read(status, &body);
        }
    }

    #[test]
    fn a_good_answer_with_a_field_changed_is_still_read(pick in any::<prop::sample::Index>(), field in any::<prop::sample::Index>(), new in any_json()) {
        let good: Vec<_> = manifest().into_iter().filter(|e| e.expect["kind"] == "task").collect();
        let entry = &good[pick.index(good.len())];
        let mut body: Value = serde_json::from_slice(&fs::read(folder().join(&entry.file)).unwrap()).unwrap();
        let paths = paths(&body, "");
        let path = &paths[field.index(paths.len())];
        *body.pointer_mut(path).unwrap() = new;
        let said = read("new_api", 200, body.to_string().as_bytes());
        prop_assert!(said["kind"] == "task" || said["kind"] == "error");
        prop_assert!(!said.to_string().contains("S3CRET"));
    }
}

fn paths(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
        _ => Vec::new(),
    };
    inner.into_iter().flat_map(|(path, value)| [vec![path.clone()], paths(value, &path)].concat()).collect()
}

/// The answers that this copy was taken from, where they are at hand: the copy must not have drifted.
#[test]
fn the_copied_answers_are_those_of_the_contract() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    if !shared.is_dir() {
        // Written past the test runner, which would keep it to itself.
        let message = b"SKIPPED: the contract's own answers are not beside this checkout; the copy is checked alone\n";
        std::io::stderr().write_all(message).unwrap();
        return;
    }
    for entry in manifest() {
        let ours = fs::read(folder().join(&entry.file)).unwrap();
        assert_eq!(ours, fs::read(shared.join(&entry.file)).unwrap(), "{}", entry.file);
    }
    assert_eq!(fs::read(folder().join("manifest.json")).unwrap(), fs::read(shared.join("manifest.json")).unwrap());
}
