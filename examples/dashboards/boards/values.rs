//! Colors, thresholds, value mappings and links.

use serde_json::{Value, json};

/// The color of each status, the same in all panels.
pub const STATUS_COLORS: [(&str, &str); 8] = [
    ("queued", "blue"),
    ("running", "yellow"),
    ("succeeded", "green"),
    ("failed", "red"),
    ("cancelled", "purple"),
    ("expired", "orange"),
    ("lost", "#8F3B1B"),
    ("unknown", "text"),
];

/// The color of each failure class says who has to act: blue the caller, yellow the owner of the account, red the upstream.
pub const CLASS_COLORS: [(&str, &str); 13] = [
    ("content_policy", "blue"),
    ("invalid_input", "light-blue"),
    ("quota", "yellow"),
    ("rate_limit", "light-yellow"),
    ("auth", "dark-yellow"),
    ("provider_error", "red"),
    ("gateway_error", "dark-red"),
    ("timeout", "light-red"),
    ("no_output", "semi-dark-red"),
    ("expired", "orange"),
    ("lost", "#8F3B1B"),
    ("cancelled", "purple"),
    ("other", "text"),
];

/// The dashboard of the task in a table row.
pub const TASK_PAGE: &str = "/d/videogen-task?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&var-model=$__all\
    &var-task=${__value.raw:percentencode}&${__url_time_range}";

/// The dashboard of the upstream in a table row.
pub const UPSTREAM_PAGE: &str = "/d/videogen-upstream?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&${__url_time_range}";

/// The dashboard of the upstream of a series.
pub const UPSTREAM_PAGE_OF_SERIES: &str = "/d/videogen-upstream?${datasource:queryparam}\
    &${job:queryparam}&${instance:queryparam}&var-upstream=${__field.labels.upstream:percentencode}&${__url_time_range}";

/// The overview, filtered to the upstream in a table row.
pub const OVERVIEW_PAGE: &str = "/d/videogen-overview?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&${__url_time_range}";

/// The data source that the dashboard variable selects.
pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Color steps of a panel or a column.
pub fn thresholds(steps: &[(Option<f64>, &str)]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|(from, color)| json!({"value": from, "color": color})).collect();
    json!({"mode": "absolute", "steps": steps})
}

/// Overrides for the field with this name.
pub fn by_name(name: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<Value> = properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// A column with a color behind its value.
pub fn colored(name: &str, unit: &str, digits: u8, steps: &[(Option<f64>, &str)]) -> Value {
    by_name(
        name,
        &[
            ("unit", json!(unit)),
            ("decimals", json!(digits)),
            ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
            ("color", json!({"mode": "thresholds"})),
            ("thresholds", thresholds(steps)),
        ],
    )
}

/// A link of a value.
pub fn link(title: &str, url: &str) -> Value {
    json!({"title": title, "url": url, "targetBlank": false})
}

/// Value mappings: words and colors that replace numbers.
pub fn words(words: &[(u8, &str, &str)]) -> Value {
    let options: Value = words
        .iter()
        .zip(0_u64..)
        .map(|((number, text, color), index)| {
            (number.to_string(), json!({"text": text, "color": color, "index": index}))
        })
        .collect();
    json!([{"type": "value", "options": options}])
}

/// The words of `promql::upstream_state`.
pub fn upstream_states() -> Value {
    words(&[
        (0, "no answer", "red"),
        (1, "answers", "green"),
        (2, "not known", "#7b8087"),
        (3, "refuses", "orange"),
        (4, "not all exporters", "semi-dark-orange"),
    ])
}

/// Value mappings for labels whose values are statuses.
pub fn status_names() -> Value {
    let options: Value = STATUS_COLORS
        .iter()
        .zip(0_u64..)
        .map(|((status, color), index)| (*status, json!({"text": status, "color": color, "index": index})))
        .collect();
    json!([{"type": "value", "options": options}])
}

/// A word that replaces negative values.
pub fn below_zero(word: &str) -> Value {
    json!([{"type": "range", "options": {"from": null, "to": 0, "result": {"text": word, "color": "red", "index": 0}}}])
}

/// Value mappings for the codes of `promql::state`.
pub fn status_words() -> Value {
    let numbered: Vec<(u8, &str, &str)> =
        (1_u8..).zip(STATUS_COLORS).map(|(number, (status, color))| (number, status, color)).collect();
    words(&numbered)
}

/// An id that is longer than 52 characters is shown with its two ends, of which the last differs most. Links have it whole.
const LONG_ID: &str = "(.{36}).{5,}(.{12})$";

/// The override of a column with task ids: they are shortened in the middle.
pub fn task_ids(more: &[(&str, Value)]) -> Value {
    let shortened = json!([{
        "type": "regex",
        "options": {"pattern": format!("^{LONG_ID}"), "result": {"index": 0, "text": "$1…$2"}},
    }]);
    let properties: Vec<_> = [("mappings", shortened)].into_iter().chain(more.iter().cloned()).collect();
    by_name("Task", &properties)
}

/// Shortens task ids in the names of series.
pub fn short_names() -> Value {
    let options = json!({"regex": format!("^(change |poll |){LONG_ID}"), "renamePattern": "$1$2…$3"});
    json!([{"id": "renameByRegex", "options": options}])
}
