//! Answers that the documentation allows and that nobody has recorded, by what must be read from them.

use serde_json::{Value, json};
use videogen_exporter::cli::answer_json;
use videogen_exporter::provider::Callback;

use super::providers::dialect;

fn read(provider: &str, http_status: u16, body: &Value) -> Value {
    answer_json(&dialect(provider).read(http_status, body.to_string().as_bytes()))
}

/// Compares the named fields of a task, or of an error; null stands for an absent one.
fn check(provider: &str, http_status: u16, body: &Value, expected: &Value) {
    let printed = read(provider, http_status, body);
    let kind = printed["kind"].as_str().unwrap();
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(printed[kind][key], *value, "{key} of {provider} {http_status} {body}: {printed}");
    }
}

#[test]
fn failures_of_fal_have_many_forms() {
    let failed = |code: &str, class: &str| json!({"status": "failed", "error_code": code, "failure_class": class});
    let completed =
        |error: Value| json!({"status": "COMPLETED", "request_id": "u", "error": error, "error_type": null});
    check(
        "fal",
        200,
        &completed(json!({"type": "internal_error", "message": "x"})),
        &failed("internal_error", "provider_error"),
    );
    for error in [json!(true), json!(["x"]), json!([{"msg": "m"}])] {
        check("fal", 200, &completed(error), &json!({"status": "failed"}));
    }
    for error in [json!(null), json!("")] {
        check("fal", 200, &completed(error), &json!({"status": "succeeded"}));
    }
    let refused = |code: &str| json!({"detail": [{"loc": ["body"], "msg": "m", "type": code}]});
    check("fal", 422, &refused("content_policy_violation"), &failed("content_policy_violation", "content_policy"));
    check("fal", 422, &refused("client_cancelled"), &json!({"status": "cancelled", "error_code": "client_cancelled"}));
    check(
        "fal",
        422,
        &json!({"error": "m", "error_type": "internal_error"}),
        &failed("internal_error", "provider_error"),
    );
    check(
        "fal",
        422,
        &json!({"detail": [{"loc": ["path", "id"], "msg": "m", "type": "uuid"}]}),
        &json!({"kind": "http_other"}),
    );
    check("fal", 400, &json!({"detail": "Request is STILL IN PROGRESS"}), &json!({"status": "running"}));
}

#[test]
fn a_result_of_fal_is_whatever_the_model_wants() {
    let fal = dialect("fal");
    let result = |body: &Value| answer_json(&fal.read_result(200, body.to_string().as_bytes()));
    for (body, has_url) in [
        (json!({"video": {"url": "https://media.example.com/v.mp4"}, "status": "ok"}), true),
        (json!({"videos": [{"url": "x"}, {"url": "https://media.example.com/v.mp4"}]}), true),
        (json!({"video": "https://media.example.com/v.mp4"}), true),
        (json!({"seed": 1}), false),
        (json!({}), false),
    ] {
        let printed = result(&body);
        assert_eq!(
            (&printed["task"]["status"], &printed["task"]["has_result_url"]),
            (&json!("succeeded"), &json!(has_url)),
            "{body}: {printed}"
        );
    }
    let mut answer = fal.read_result(422, br#"{"detail": "plain"}"#).unwrap();
    fal.apply_header(&mut answer, Some("content_policy_violation"));
    let printed = answer_json(&Ok(answer));
    assert_eq!(printed["task"]["failure_class"], "content_policy", "{printed}");
    let callback = json!({"request_id": "r", "status": "ERROR", "payload": {"detail": [{"msg": "m", "type": "client_cancelled"}]}});
    let Callback::Answer(answer) = fal.read_callback(callback.to_string().as_bytes()).unwrap() else { panic!() };
    let printed = answer_json(&Ok(*answer));
    assert_eq!(printed["task"]["status"], "cancelled", "{printed}");
}

#[test]
fn one_url_in_a_list_is_enough() {
    let urls = json!(["/relative", "https://media.example.com/v.mp4"]);
    for (provider, body) in [
        (
            "openrouter",
            json!({"id": "j", "polling_url": "/p", "status": "completed", "urls": null, "unsigned_urls": urls}),
        ),
        ("runway", json!({"id": "j", "status": "SUCCEEDED", "createdAt": "2026-11-20T00:00:00Z", "output": urls})),
        (
            "openai_videos",
            json!({"id": "j", "object": "video", "status": "completed", "created_at": 1_795_132_800, "urls": urls}),
        ),
    ] {
        check(provider, 200, &body, &json!({"status": "succeeded", "has_result_url": true}));
    }
}

#[test]
fn codes_stand_in_other_places() {
    let gemini = |errors: Value| json!({"id": "v", "status": "incomplete", "errors": errors});
    check(
        "gemini_interactions",
        200,
        &gemini(json!([{"code": "internal"}])),
        &json!({"error_code": "incomplete", "failure_class": "no_output"}),
    );
    let failed =
        json!({"id": "v", "status": "failed", "errors": [{"code": "https://x.y/errors/permission_denied?x=1#f"}]});
    check("gemini_interactions", 200, &failed, &json!({"error_code": "permission_denied", "failure_class": "auth"}));
    let image = json!({"id": "v", "status": "completed", "output_video": {"type": "image", "uri": "https://x.y/i"}});
    check("gemini_interactions", 200, &image, &json!({"status": "failed", "error_code": "empty_response"}));
    let xai = json!({"status": "failed", "error": {"type": "internal_error", "message": "m"}});
    check("xai", 200, &xai, &json!({"error_code": "internal_error", "failure_class": "provider_error"}));
    check("xai", 400, &json!({"code": "x", "error": "incorrect api key"}), &json!({"kind": "unauthorized"}));
    check("kling", 400, &json!({"code": 1103, "message": "m", "request_id": "r"}), &json!({"kind": "forbidden"}));
    for message in ["Requested entity was not found.", "litellm.NotFoundError: 404 Not Found", "invalid task_id (2013)"]
    {
        let error =
            json!({"error": {"message": message, "type": "internal_server_error", "param": null, "code": "500"}});
        check("litellm", 500, &error, &json!({"kind": "not_found"}));
    }
    let host =
        json!({"error": {"message": "host not found", "type": "internal_server_error", "param": null, "code": "500"}});
    check("litellm", 500, &host, &json!({"kind": "server_error"}));
}

/// Bodies of vendors inside a gateway's row.
#[test]
fn vendors_inside_a_gateway_are_known_by_little() {
    let row = |status: &str, reason: &str, data: Value| {
        json!({"code": "success", "message": "", "data": {
            "task_id": "t", "platform": "48", "status": status, "progress": "50%", "submit_time": 1_795_132_800, "start_time": 0,
            "finish_time": if status == "IN_PROGRESS" { 0 } else { 1_795_132_860 }, "fail_reason": reason, "data": data, "quota": 1,
            "properties": {"upstream_model_name": "m", "origin_model_name": "m"},
        }})
    };
    let busy = json!({"code": 50429, "data": null, "message": "m", "request_id": "r", "status": 50429});
    check("new_api", 200, &row("IN_PROGRESS", "", busy.clone()), &json!({"status": "running", "error_code": "50429"}));
    check("new_api", 200, &row("FAILURE", "x", busy), &json!({"status": "failed", "error_code": "50429"}));
    let xai = |code: &str| json!({"status": "failed", "model": "", "error": {"code": code, "message": "m"}, "video": {"url": "", "duration": 0}});
    check(
        "new_api",
        200,
        &row("FAILURE", "m", xai("service_unavailable")),
        &json!({"failure_class": "provider_error"}),
    );
    let old = json!({"video": {"url": "https://media.example.com/v.mp4", "duration": 5}});
    check(
        "new_api",
        200,
        &row("SUCCESS", "", old),
        &json!({"has_result_url": true, "duration": 5, "upstream_status": "succeeded"}),
    );
    let pending = json!({"model": "grok", "status": "pending", "progress": 10, "usage": {"cost_in_usd_ticks": 0}});
    check("new_api", 200, &row("IN_PROGRESS", "", pending), &json!({"upstream_status": "running"}));
    let gone = json!({"error": {"code": 404, "message": "models/veo is no longer available", "status": "NOT_FOUND"}});
    check("new_api", 200, &row("FAILURE", "fail_to_fetch_task", gone), &json!({"failure_class": "invalid_input"}));
}
