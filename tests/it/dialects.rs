//! Every dialect end to end: many tasks from the first poll to each final status.

use std::fmt::Write as _;
use std::time::Duration;

use videogen_exporter::provider::PROVIDERS;

use super::exporter::{Exporter, QUICK};
use super::simulation::Simulation;

/// Each provider, the path of its API and the final statuses of its dialect.
const DIALECTS: &[(&str, &str, &[&str])] = &[
    ("new_api", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("tokenhot", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("tikhub_seedance", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("tikhub_kling", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("tikhub_sora", "", &["succeeded", "failed"]),
    ("tikhub_veo", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("ark", "/api/v3", &["succeeded", "failed", "cancelled", "expired"]),
    ("openai_videos", "", &["succeeded", "failed"]),
    ("kling", "", &["succeeded", "failed"]),
    ("veo", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("minimax_hailuo", "", &["succeeded", "failed"]),
    ("dashscope", "", &["succeeded", "failed", "cancelled"]),
    ("fal", "", &["succeeded", "failed", "cancelled"]),
    ("gemini_interactions", "", &["succeeded", "failed", "cancelled"]),
    ("jimeng", "", &["succeeded", "failed", "expired"]),
    ("litellm", "", &["succeeded", "failed"]),
    ("luma", "", &["succeeded", "failed"]),
    ("openrouter", "", &["succeeded", "failed", "cancelled", "expired"]),
    ("replicate", "", &["succeeded", "failed", "cancelled"]),
    ("runway", "", &["succeeded", "failed", "cancelled"]),
    ("vidu", "", &["succeeded", "failed", "cancelled"]),
    ("xai", "/xai", &["succeeded", "failed", "expired"]),
    ("custom", "", &["succeeded", "failed", "cancelled", "expired"]),
];

/// Extra configuration: `custom` describes the tasks of Ark; `minimax_v2` is version 2 of `MiniMax`.
fn overrides(name: &str) -> &'static str {
    match name {
        "custom" => {
            "request: {path: '/api/v3/contents/generations/tasks/{task_id}'}\n  \
             response: {fields: {status: /status, submit_time: $.created_at, finish_time: /updated_at, \
             tokens_total: /usage/total_tokens, error_code: /error/code}}"
        }
        "minimax_v2" => "request: {path: '/v2/query/video_generation/{task_id}'}",
        _ => "model: m",
    }
}

#[tokio::test]
async fn every_dialect_is_followed_to_each_of_its_final_statuses() {
    let fake = Simulation::start(150, 40.0).await;
    let ids = fake.ids();
    let mut text = format!(
        "{}tasks: {{count_since: always}}\nupstreams:\n",
        QUICK.replace("requests_per_second: 500", "requests_per_second: 400")
    );
    let mut expected = DIALECTS.to_vec();
    expected.push(("minimax_v2", "", &["succeeded", "failed", "cancelled", "expired"]));
    expected.push(("vertex", "", &["succeeded", "failed", "cancelled", "expired"]));
    for (name, path, _) in &expected {
        let provider = match *name {
            "minimax_v2" => "minimax_hailuo",
            "vertex" => "veo",
            name => name,
        };
        let prefix = match *name {
            "veo" | "tikhub_veo" => "models/veo-3.1/operations/",
            "fal" => "owner/app/requests/",
            "vertex" => "projects/p/locations/l/publishers/google/models/veo-3.1/operations/",
            _ => "",
        };
        let ids: Vec<_> = ids.iter().map(|id| format!("{prefix}{id}")).collect();
        let _ = write!(
            text,
            "- name: {name}\n  provider: {provider}\n  base_url: http://{}{path}\n  {}\n  static_configs: [{{targets: [{}]}}]\n",
            fake.address,
            overrides(name),
            ids.join(", ")
        );
    }
    assert_eq!(expected.len(), PROVIDERS.len() + 2, "a provider is missing");

    let exporter = Exporter::start(&text, std::path::Path::new(".")).await;
    let deadline = std::time::Instant::now() + Duration::from_mins(5);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let page = exporter.page().await;
        let missing: Vec<_> = expected
            .iter()
            .flat_map(|(name, _, ends)| ends.iter().map(move |end| (*name, *end)))
            .filter(|(name, end)| finished(&page, name, end) == 0)
            .collect();
        // Unknown tasks are lost only after a minute and some providers never expire tasks; all others have ended.
        let late: Vec<_> = expected.iter().filter(|(name, ..)| active(&page, name) > 8).collect();
        if missing.is_empty() && late.is_empty() {
            for (name, _, ends) in &expected {
                let all: usize =
                    ["succeeded", "failed", "cancelled", "expired"].iter().map(|end| finished(&page, name, end)).sum();
                let own: usize = ends.iter().map(|end| finished(&page, name, end)).sum();
                assert_eq!(all, own, "{name} has a final status that its dialect does not have");
                assert_eq!(own + active(&page, name), ids.len(), "{name}: {own} tasks ended");
                for reason in ["api_error", "invalid_body", "bad_request", "http_other", "wrong_path", "server_error"] {
                    assert_eq!(errors(&page, name, reason), 0, "{name} {reason}");
                }
            }
            assert!(
                !page.contains("schema_drift_total{"),
                "{:?}",
                page.lines().filter(|l| l.contains("drift")).collect::<Vec<_>>()
            );
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{missing:?} {late:?}");
    }
    exporter.stop().await;
}

/// The sum of all samples of a family with these labels.
fn sum(page: &str, family: &str, labels: &[&str]) -> usize {
    let samples = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    let matching = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    matching.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

fn finished(page: &str, upstream: &str, end: &str) -> usize {
    sum(page, "videogen_tasks_finished_total", &[&format!("upstream=\"{upstream}\""), &format!("status=\"{end}\"")])
}

fn active(page: &str, upstream: &str) -> usize {
    let of = |status: &str| sum(page, "videogen_tasks", &[&format!("upstream=\"{upstream}\""), status]);
    ["status=\"queued\"", "status=\"running\"", "status=\"unknown\""].into_iter().map(of).sum()
}

fn errors(page: &str, upstream: &str, reason: &str) -> usize {
    let labels = [&*format!("upstream=\"{upstream}\""), &*format!("reason=\"{reason}\"")];
    sum(page, "videogen_upstream_request_errors_total", &labels)
}
