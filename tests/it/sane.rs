//! Properties of any bytes decoded as a response of any provider; the fuzz target uses them too.

use std::sync::LazyLock;

use videogen_exporter::cli::{answer_json, list_json};
use videogen_exporter::domain::{Answer, Status};
use videogen_exporter::provider::{Callback, Dialect, PROVIDERS};

/// Every dialect that needs no configuration.
static DIALECTS: LazyLock<Vec<Dialect>> =
    LazyLock::new(|| PROVIDERS.iter().filter_map(|provider| Dialect::from_provider(provider).ok()).collect());

/// Providers that report failed tasks with these HTTP statuses.
const REFUSALS: [(&str, u16); 3] = [("fal", 400), ("fal", 422), ("jimeng", 400)];

/// Decodes `body` in every dialect, as a task and as a list, with good and bad HTTP statuses.
///
/// # Panics
/// When a result is impossible or has a URL.
pub fn check(body: &[u8]) {
    for dialect in DIALECTS.iter() {
        for http_status in [200, 202, 400, 404, 422, 429, 503] {
            let read = dialect.read(http_status, body);
            if let Ok(answer) = &read {
                let is_refusal = REFUSALS.contains(&(dialect.name(), http_status));
                assert!(http_status < 300 || is_refusal, "{}: an error read as a task", dialect.name());
                check_answer(answer, dialect);
            }
            check_output(&answer_json(&read).to_string(), body, dialect);
        }
        let result = dialect.read_result(200, body);
        if let Ok(answer) = &result {
            check_answer(answer, dialect);
        }
        check_output(&answer_json(&result).to_string(), body, dialect);
        if let Ok(Callback::Answer(answer)) = dialect.read_callback(body) {
            check_answer(&answer, dialect);
            check_output(&answer_json(&Ok(*answer)).to_string(), body, dialect);
        }
        let list = dialect.read_list(200, body).map(|list| list.tasks);
        list.iter().flatten().for_each(|answer| check_answer(answer, dialect));
        check_output(&list_json(&list).to_string(), body, dialect);
    }
}

fn check_answer(answer: &Answer, dialect: &Dialect) {
    let name = dialect.name();
    assert!(answer.status() != Status::Lost, "{name}: no response means lost");
    assert!(answer.progress.is_none_or(|progress| (0.0..=1.0).contains(&progress)), "{name}: {:?}", answer.progress);
    assert!(answer.status().is_end() || answer.times.finish.is_none(), "{name}: a finish time without an end");
    assert!(answer.failure.is_none() || answer.status() == Status::Failed, "{name}: a class without a failure");
    let tokens = answer.tokens.parts().map(|(_, tokens)| (tokens, 1e12));
    let cost = answer.cost.map(|cost| cost.amount);
    let numbers = [(answer.video_seconds, 86_400.0), (answer.credits, 1e15), (cost, 1e9)].into_iter().chain(tokens);
    for (number, most) in numbers {
        assert!(number.is_none_or(|number| (0.0..=most).contains(&number)), "{name}: an invalid number: {number:?}");
    }
    let times = [answer.times.submit, answer.times.start, answer.times.finish, answer.expires_at];
    for time in times.into_iter().flatten() {
        assert!(
            (1_420_070_400..4_102_444_800).contains(&(time.as_millis() / 1000)),
            "{name}: an invalid time: {time:?}"
        );
    }
    let message = answer.error_message.as_deref().unwrap_or("");
    assert!(message.chars().count() <= 300, "{name}: a long message");
}

fn check_output(output: &str, body: &[u8], dialect: &Dialect) {
    let lower = output.to_ascii_lowercase();
    assert!(!lower.contains("http://") && !lower.contains("https://"), "{}: a URL in {output}", dialect.name());
    // Each byte may be escaped, and the status of a gateway appears twice.
    assert!(output.len() <= 16 * body.len() + 4096, "{}: {} bytes of {}", dialect.name(), output.len(), body.len());
}
