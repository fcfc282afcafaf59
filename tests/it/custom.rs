//! Custom APIs that the configuration describes, and overrides of known providers.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use videogen_exporter::cli::answer_json;
use videogen_exporter::config::{self, Upstream};
use videogen_exporter::domain::drift::{Field, FieldProblem};
use videogen_exporter::domain::{FailureClass, TaskId, Timestamp};

use super::exporter::{Exporter, QUICK};
use super::upstream::{self, Reply};

const CUSTOM: &str = "
  request: {method: POST, path: '/jobs/{task_id}?full=1', headers: {X-Api-Key: 'Key {credentials}', X-Region: eu}, body: '{\"id\": \"{task_id}\"}'}
  response:
    fields:
      status: /job/state
      progress: $.job.steps[?@.name == 'render'].done
      submit_time: /job/times/0
      finish_time: $.job.times[-1]
      model_origin: $..model
      tokens_total: /job/cost/tokens
      error_code: /job/error
      result_url: /job/video
      expires_after: /job/ttl
    statuses: {running: [COOKING], succeeded: [SERVED], cancelled: ['false']}
    failures: {content_policy: [SPICY], quota: [TAB]}
    time_unit: ms
    progress_unit: ratio";

fn upstream(text: &str) -> Upstream {
    let text = format!("upstreams:\n- name: own\n  provider: {text}\n");
    config::parse(&text, Path::new("x.yml")).unwrap_or_else(|error| panic!("{error}")).upstreams.remove(0)
}

fn read(upstream: &Upstream, body: &Value) -> Value {
    answer_json(&upstream.dialect.read(200, body.to_string().as_bytes()))
}

#[test]
fn a_custom_response_is_decoded_by_pointers_and_paths() {
    let own = upstream(&format!(
        "custom\n  base_url: http://localhost:1\n  authorization: {{credentials_env: PATH}}{CUSTOM}"
    ));
    let job = |state: Value| {
        json!({"job": {"state": state, "steps": [{"name": "upload", "done": 1}, {"name": "render", "done": 1.0}], "error": "spicy",
            "times": [1_795_132_800_000_i64, 1_795_132_860_000_i64], "spec": {"model": "m-9"}, "cost": {"tokens": "12"}, "ttl": 60,
            "video": "https://x.y/v.mp4?Expires=1795219200&sig=S3CRET"}})
    };
    let cooking = read(&own, &job(json!("cooking")))["task"].clone();
    assert_eq!(
        cooking,
        json!({"status": "running", "progress": 1.0, "submit": 1_795_132_800, "model_origin": "m-9", "tokens_total": 12, "error_code": "spicy",
            "has_result_url": false, "expires_at": 1_795_219_200})
    );
    let served = read(&own, &job(json!("SERVED")))["task"].clone();
    assert_eq!(
        (&served["status"], &served["finish"], &served["has_result_url"]),
        (&json!("succeeded"), &json!(1_795_132_860), &json!(true))
    );
    assert!(!served.to_string().contains("S3CRET"));
    for (state, status) in [
        (json!("failed"), "failed"),
        (json!(false), "cancelled"),
        (json!("DONE"), "succeeded"),
        (json!("?"), "unknown"),
    ] {
        assert_eq!(read(&own, &job(state.clone()))["task"]["status"], status, "{state}");
    }
    let answer = own.dialect.read(200, job(json!("failed")).to_string().as_bytes()).unwrap();
    assert_eq!(answer.failure.map(FailureClass::as_str), Some("content_policy"));
    assert_eq!(answer.deadline.map(Timestamp::as_millis), Some(1_795_132_860_000));

    let mut odd = job(json!("cooking"));
    odd["job"]["cost"]["tokens"] = json!({});
    odd["job"]["times"] = json!(["soon"]);
    let drift: Vec<_> = own.dialect.read(200, odd.to_string().as_bytes()).unwrap().drift.iter().collect();
    let wrong = FieldProblem::Unreadable;
    assert_eq!(drift, [(Field::Submit, wrong), (Field::Finish, wrong), (Field::TokensTotal, FieldProblem::WrongType)]);
    let nothing = own.dialect.read(200, b"{\"job\": {}}").unwrap_err();
    assert_eq!((nothing.kind.as_str(), nothing.code.as_deref()), ("invalid_body", Some("null_data")));
    assert_eq!(nothing.drift.iter().collect::<Vec<_>>(), [(Field::Status, FieldProblem::Missing)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_api_is_polled() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "k-S3CRET").unwrap();
    let api = upstream::Upstream::start("127.0.0.1:0").await;
    api.script("a b", vec![Reply::Body(200, json!({"job": {"state": "COOKING"}}).to_string())]);
    let text = format!(
        "{QUICK}upstreams:\n- name: own\n  provider: custom\n  base_url: http://{}/v7\n  authorization: {{credentials_file: key}}\n  \
         static_configs: [{{targets: ['a b']}}]{CUSTOM}\n",
        api.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&["videogen_task_status{upstream=\"own\",task_id=\"a b\",status=\"running\"} 1"]).await;
    let request = api.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.query.as_str()),
        ("POST", "/v7/jobs/a%20b", "full=1")
    );
    assert_eq!(request.header("x-api-key").as_deref(), Some("Key k-S3CRET"));
    assert_eq!(request.header("x-region").as_deref(), Some("eu"));
    assert_eq!(request.header("authorization"), None, "the key is in one header only");
    assert_eq!(request.body, "{\"id\": \"a b\"}");
    exporter.stop().await;
}

#[test]
fn a_known_provider_is_polled_and_decoded_as_configured() {
    let id = TaskId::parse("models/veo-3/operations/x").unwrap();
    let request = |upstream: &Upstream| upstream.dialect.request(&id).unwrap();
    let veo = upstream("tikhub_veo\n  request: {path: '/veo/{model}/fetch', body: '{\"op\":\"{operation}\"}'}");
    let sent = request(&veo);
    assert_eq!((sent.method.as_str(), sent.segments.join("/").as_str()), ("POST", "veo/veo-3/fetch"));
    assert_eq!(sent.body.as_deref(), Some("{\"op\":\"models/veo-3/operations/x\"}"));
    let plain = upstream("tikhub_veo\n  request: {method: GET, path: '/veo/{task_id}'}");
    assert_eq!(
        (request(&plain).segments.join("|").as_str(), request(&plain).body),
        ("veo|models/veo-3/operations/x", None)
    );

    let vertex = TaskId::parse("projects/p/locations/l/publishers/google/models/veo-3/operations/x").unwrap();
    assert!(upstream("veo").dialect.request(&vertex).is_err(), "Gemini has no such operations");
    let here = upstream("veo\n  base_url: https://us-central1-aiplatform.googleapis.com");
    let sent = here.dialect.request(&vertex).unwrap();
    let path = "v1/projects/p/locations/l/publishers/google/models/veo-3:fetchPredictOperation";
    assert_eq!((sent.segments.join("/").as_str(), &*sent.key.name), (path, "Authorization"));
    let moved = upstream("veo\n  base_url: http://x\n  request: {path: '/v2/{parent}:fetch'}")
        .dialect
        .request(&vertex)
        .unwrap();
    assert_eq!((moved.method.as_str(), &*moved.key.name), ("POST", "Authorization"));

    let ark = upstream("ark\n  request: {path: '/elsewhere/{task_id}'}");
    assert!(ark.dialect.batch().is_none(), "no batches with another path");
    let traced = upstream("ark\n  request: {headers: {X-Trace: a}}");
    let batch = traced.dialect.batch_request(std::slice::from_ref(&vertex)).unwrap();
    assert_eq!(batch.headers, [("X-Trace".to_owned(), "a".to_owned())], "a batch has the same headers");

    let body = json!({"output": {"task_id": "t", "task_status": "RUNNING", "submit_time": "2026-11-20 08:00:00.000"}});
    for (offset, submit) in [("", 1_795_132_800), ("\n  request: {time_offset: Z}", 1_795_161_600)] {
        assert_eq!(read(&upstream(&format!("dashscope{offset}")), &body)["task"]["submit"], submit, "{offset}");
    }
    let kling =
        json!({"code": 0, "data": {"task_id": "1", "task_status": "processing", "created_at": 1, "updated_at": 1}});
    assert_eq!(read(&upstream("tokenhot\n  request: {shape: kling}"), &kling)["task"]["status"], "running");
    assert_eq!(read(&upstream("tokenhot\n  request: {shape: openai_videos}"), &kling)["error"]["kind"], "invalid_body");
}

/// A body of 4 MiB with about as many values as are accepted, in objects nested ten deep, and the status at the end.
fn nested_body() -> String {
    let leaf = (0..10).fold(json!({"state": "x".repeat(750)}), |inner, n| json!({"level": n, "more": [inner, n]}));
    let leaf = leaf.to_string();
    let leaves = vec![leaf.as_str(); (4 << 20) / (leaf.len() + 1)];
    format!("{{\"parts\": [{}], \"job\": {{\"status\": \"RUNNING\"}}}}", leaves.join(","))
}

/// What an upstream may send is bounded before it is searched.
#[test]
fn a_response_with_too_many_values_is_an_invalid_body() {
    let own = upstream(
        "custom\n  base_url: http://localhost:1\n  request: {path: '/{task_id}'}\n  \
         response: {fields: {status: '$..a'}}",
    );
    let body = format!(r#"[{}{{"a": "RUNNING"}}]"#, r#"{"a":{"a":{"a":0}}},"#.repeat(200_000));
    let error = own.dialect.read(200, body.as_bytes()).unwrap_err();
    assert_eq!((error.kind.as_str(), error.code.as_deref()), ("invalid_body", Some("too_many_values")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_expensive_responses_does_not_slow_down_the_others() {
    let gateway = upstream::Upstream::start("127.0.0.1:0").await;
    gateway.script("heavy", vec![Reply::Body(200, nested_body())]);
    for id in ["a", "b", "c"] {
        gateway.script(id, vec![upstream::status("IN_PROGRESS")]);
    }
    let heavy = format!(
        "- {{name: heavy, provider: custom, base_url: 'http://{}', request: {{path: '/heavy/{{task_id}}'}},\n  \
         response: {{fields: {{status: '$..job.status'}}}}, static_configs: [{{targets: [heavy]}}]}}\n",
        gateway.address
    );
    let light = ["a", "b", "c"].map(|id| {
        let address = gateway.address;
        format!(
            "- {{name: {id}, provider: new_api, base_url: 'http://{address}', static_configs: [{{targets: [{id}]}}]}}\n"
        )
    });
    let quick = QUICK.replace("timeout: 1s", "timeout: 20s");
    let exporter = Exporter::start(&format!("{quick}upstreams:\n{heavy}{}", light.concat()), Path::new(".")).await;
    exporter.wait_for(&["videogen_task_status{upstream=\"heavy\",task_id=\"heavy\",status=\"running\"} 1"]).await;
    let polls =
        |id: &str| gateway.requests().iter().filter(|request| request.path.ends_with(&format!("/{id}"))).count();
    let (before, begun) = (["heavy", "a", "b", "c"].map(polls), std::time::Instant::now());
    while polls("heavy") < before[0] + 4 || begun.elapsed() < std::time::Duration::from_secs(2) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The interval is at most 400 ms; half of that rate is required, because the machine may be busy.
    let least = usize::try_from(begun.elapsed().as_millis() / 800).unwrap();
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        let made = polls(id) - before[n + 1];
        assert!(made >= least, "{id}: {made} polls in {:?}, expected at least {least}", begun.elapsed());
    }
    exporter.stop().await;
}
