//! Every dialect with undocumented input: no panics, no leaked URLs, and drift is counted.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use videogen_exporter::cli::answer_json;
use videogen_exporter::domain::drift::{Field, FieldProblem};
use videogen_exporter::domain::{Answer, ApiError, Drift};
use videogen_exporter::provider::Dialect;

use super::providers::{Entry, dialect, manifest};
use super::sane;

/// Any JSON, a few levels deep, with keys that the dialects read.
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
    fn any_json_is_decoded_without_panics_or_urls(body in any_json()) {
        sane::check(body.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_decoded_without_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
        sane::check(&body);
    }

    #[test]
    fn a_response_with_any_field_changed_is_decoded_without_panics(pick in any::<prop::sample::Index>(), field in any::<prop::sample::Index>(), new in any_json()) {
        let bodies: Vec<_> = manifest().iter().filter(|e| e.expect["kind"] == "task").filter_map(Entry::json).collect();
        let mut body = bodies[pick.index(bodies.len())].clone();
        let paths = paths(&body, "");
        let path = &paths[field.index(paths.len())];
        *body.pointer_mut(path).unwrap() = new;
        sane::check(body.to_string().as_bytes());
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

#[test]
fn the_fuzzing_corpus_is_decoded_without_panics() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read");
    let mut checked = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        sane::check(&fs::read(entry.unwrap().path()).unwrap());
        checked += 1;
    }
    assert!(checked >= 100, "only {checked} inputs");
}

/// Deep nesting, long texts and many entries: bounded work and no stack overflow.
#[test]
fn huge_and_deep_bodies_are_decoded_in_bounded_space() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    sane::check(deep("[", "]").as_bytes());
    sane::check(deep("{\"data\":", "}").as_bytes());
    let nested = (0..60)
        .fold("null".to_owned(), |inner, _| format!("{{\"code\":0,\"data\":{{\"status\":\"x\",\"data\":{inner}}}}}"));
    sane::check(nested.as_bytes());
    let quoted = (0..12).fold("{\"status\":\"running\"}".to_owned(), |inner, _| {
        json!({"code": "success", "data": {"task_id": "t", "status": "IN_PROGRESS", "data": inner}}).to_string()
    });
    sane::check(quoted.as_bytes());
    let long = "x".repeat(1 << 20);
    sane::check(json!({"id": long, "status": long, "model": long, "error": {"message": long}}).to_string().as_bytes());
    sane::check(json!({"items": vec![json!({"id": "a", "status": "running"}); 10_000]}).to_string().as_bytes());
}

/// Recorded responses with errors: they are decoded, and missing fields are counted.
const ODD: [&str; 5] = ["missing_fields", "zero_timestamps", "string_numbers", "null_data", "lower_case_status"];

/// Compatible servers that omit fields that `OpenAI` always sends.
const LACKING: [&str; 2] = ["openai_videos/milliseconds", "openai_videos/compat_processing"];

fn drift_of(result: &Result<Answer, ApiError>) -> Drift {
    match result {
        Ok(answer) => answer.drift,
        Err(error) => error.drift,
    }
}

/// Recorded responses without errors, of providers whose fields are documented: file, dialect, body and decoded result.
fn clean_responses(which: impl Fn(&str) -> bool) -> Vec<(String, Arc<Dialect>, Value, Value)> {
    let entries = manifest().into_iter().filter(|entry| entry.expect["kind"] == "task");
    let entries = entries.filter(|entry| which(entry.expect["task"]["status"].as_str().unwrap()));
    let documented = entries.filter(|entry| entry.provider != "custom");
    let clean = documented.filter(|entry| !ODD.iter().any(|odd| entry.file.contains(odd)));
    clean
        .filter_map(|entry| {
            let body = entry.json()?;
            let dialect = entry.dialect();
            let decoded = answer_json(&dialect.read(entry.http_status, body.to_string().as_bytes()));
            Some((entry.file, dialect, body, decoded))
        })
        .collect()
}

/// The fields of the result before that are missing or different now.
fn lost_fields(before: &Value, after: &Value) -> Vec<String> {
    let Some(before) = before["task"].as_object() else { return Vec::new() };
    let gone = |key: &str, value: &Value| after["task"].get(key) != Some(value);
    before.iter().filter(|(key, value)| gone(key, value)).map(|(key, _)| key.clone()).collect()
}

fn without(body: &Value, path: &str) -> Value {
    let mut body = body.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => {}
    }
    body
}

fn with(body: &Value, path: &str, new: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(path).unwrap() = new;
    body
}

#[test]
fn documented_responses_have_no_drift() {
    let (mut checked, mut odd) = (0, 0);
    for entry in manifest().iter().filter(|entry| entry.expect["kind"] == "task") {
        let drift = drift_of(&entry.dialect().read(entry.http_status, &entry.body()));
        if ODD.iter().chain(&LACKING).any(|odd| entry.file.contains(odd)) {
            odd += usize::from(!drift.is_none());
        } else {
            assert!(drift.is_none(), "{}: {:?}", entry.file, drift.iter().collect::<Vec<_>>());
            checked += 1;
        }
    }
    assert!(checked > 80 && odd > 12, "{checked} {odd}");
}

#[test]
fn a_documented_partial_row_has_no_drift() {
    for body in [
        json!({"task_id": "t", "platform": "54", "status": "SUCCESS", "progress": "100%", "fail_reason": "", "created_at": 1_700_000_001, "finished_at": 1_700_000_009}),
        json!({"task_id": "t", "status": "completed", "url": "https://x.y/v.mp4", "format": "mp4"}),
        json!({"code": "success", "data": {"error": null, "format": "mp4", "metadata": null, "status": "processing", "task_id": "t", "url": ""}}),
    ] {
        let drift = dialect("new_api").read(200, body.to_string().as_bytes()).unwrap().drift;
        assert!(drift.is_none(), "{body}: {:?}", drift.iter().collect::<Vec<_>>());
    }
}

/// Such a number would fill a counter for ever: every recorded answer with its numbers replaced counts nothing impossible.
#[test]
fn amounts_and_times_that_no_task_can_have_are_drift_and_are_not_read() {
    fn replace_numbers(value: &mut Value, by: &Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|field| replace_numbers(field, by)),
            Value::Array(items) => items.iter_mut().for_each(|item| replace_numbers(item, by)),
            Value::Number(_) => value.clone_from(by),
            _ => {}
        }
    }
    let mut drifted = 0;
    for entry in manifest().iter().filter(|entry| entry.expect["kind"] == "task") {
        let Some(body) = entry.json() else { continue };
        for number in [json!(1e300), json!(-1e300), json!("9e99"), json!(u64::MAX)] {
            let mut body = body.clone();
            replace_numbers(&mut body, &number);
            sane::check(body.to_string().as_bytes());
            let read = entry.dialect().read(entry.http_status, body.to_string().as_bytes());
            drifted += usize::from(drift_of(&read).iter().any(|(_, problem)| problem == FieldProblem::Unreadable));
        }
    }
    assert!(drifted > 100, "{drifted}");
}

#[test]
fn error_responses_have_no_drift() {
    for entry in manifest().iter().filter(|entry| entry.expect["kind"] == "error") {
        let drift = drift_of(&entry.dialect().read(entry.http_status, &entry.body()));
        assert!(
            drift.is_none() || entry.file.contains("null_data"),
            "{}: {:?}",
            entry.file,
            drift.iter().collect::<Vec<_>>()
        );
    }
}

/// Whether drift is counted, or a body is logged that no vendor is known to have.
fn is_noticed(result: &Result<Answer, ApiError>) -> bool {
    !drift_of(result).is_none() || result.as_ref().is_ok_and(|answer| answer.has_unknown_body)
}

/// No field is lost silently because its type changed.
#[test]
fn a_lost_field_of_the_wrong_type_is_counted_as_drift() {
    let mut changes = 0;
    for (file, dialect, body, decoded) in clean_responses(|status| status == "succeeded") {
        for path in paths(&body, "") {
            for wrong in [json!(true), json!({"odd": 1}), json!(["odd"])] {
                let is_parent = body.pointer(&path).is_some_and(|value| value.is_object() || value.is_array());
                if is_parent && !wrong.is_boolean() || body.pointer(&path) == Some(&json!(true)) {
                    continue;
                }
                let result = dialect.read(200, with(&body, &path, wrong.clone()).to_string().as_bytes());
                let lost = lost_fields(&decoded, &answer_json(&result));
                assert!(lost.is_empty() || is_noticed(&result), "{file} {path} = {wrong}: lost {lost:?} without drift");
                changes += usize::from(!lost.is_empty());
            }
        }
    }
    assert!(changes > 500, "only {changes} changes lost a field");
}

/// Excused by the contract: a reduced row has only a URL, a video object of a gateway may have no length, times of Veo are not
/// guaranteed, only some types of `MiniMax` have tokens, and a request may be repeated or not.
#[test]
fn a_missing_or_null_documented_field_is_counted_as_drift() {
    let mut changes = 0;
    let excused = [
        "gateway_succeeded.json /data/url",
        "createTime",
        "/metadata",
        "tokens.json /task/usage",
        "sora_openai_shape.json /seconds",
        "/response_format",
        "xai/done_without_status.json /video",
        "litellm/",
        "luma/succeeded.json /request",
    ];
    for (file, dialect, body, decoded) in clean_responses(|status| status == "succeeded") {
        if LACKING.iter().any(|lacking| file.contains(lacking)) {
            continue;
        }
        for path in paths(&body, "") {
            for (what, body) in [("gone", without(&body, &path)), ("null", with(&body, &path, Value::Null))] {
                let result = dialect.read(200, body.to_string().as_bytes());
                let mut lost = lost_fields(&decoded, &answer_json(&result));
                // `data` may be null: the gateway has no response of the provider.
                let holds_nothing = what == "null" && path == "/data/data";
                lost.retain(|key| {
                    matches!(
                        key.as_str(),
                        "status" | "submit" | "finish" | "tokens_total" | "duration" | "has_result_url"
                    )
                });
                let place = format!("{file} {path}");
                if lost.is_empty() || holds_nothing || excused.iter().any(|excuse| place.contains(excuse)) {
                    continue;
                }
                assert!(is_noticed(&result), "{place} {what}: lost {lost:?} without drift");
                changes += 1;
            }
        }
    }
    assert!(changes > 150, "only {changes} changes lost a field");
}

#[test]
fn drift_has_its_field_and_problem() {
    let (_, ark, body, _) = clean_responses(|status| status == "succeeded")
        .into_iter()
        .find(|(file, ..)| file.starts_with("ark/"))
        .unwrap();
    let read = |body: &Value| drift_of(&ark.read(200, body.to_string().as_bytes())).iter().collect::<Vec<_>>();
    for (path, new, field, problem) in [
        ("/created_at", Value::Null, Field::Submit, FieldProblem::Missing),
        ("/created_at", json!("yesterday"), Field::Submit, FieldProblem::Unreadable),
        ("/created_at", json!([1]), Field::Submit, FieldProblem::WrongType),
        ("/usage/total_tokens", json!({}), Field::TokensTotal, FieldProblem::WrongType),
        ("/usage/total_tokens", json!("many"), Field::TokensTotal, FieldProblem::Unreadable),
        ("/usage/total_tokens", json!(-1), Field::TokensTotal, FieldProblem::Unreadable),
        ("/content", Value::Null, Field::ResultUrl, FieldProblem::Missing),
        ("/content/video_url", json!("soon"), Field::ResultUrl, FieldProblem::Unreadable),
    ] {
        assert_eq!(read(&with(&body, path, new.clone())), [(field, problem)], "{path} = {new}");
    }
    assert_eq!(read(&without(&body, "/status"))[0], (Field::Status, FieldProblem::Missing));
}
