//! How numbers are dressed: colours, thresholds, words and links.

use serde_json::{Value, json};

/// The colour of each status, the same everywhere.
pub const STATUS_COLOURS: [(&str, &str); 8] = [
    ("queued", "blue"),
    ("running", "yellow"),
    ("succeeded", "green"),
    ("failed", "red"),
    ("cancelled", "purple"),
    ("expired", "orange"),
    ("lost", "#8F3B1B"),
    ("unknown", "text"),
];

/// The page of the task in a table's line.
pub const TASK_PAGE: &str = "/d/videogen-task?${datasource:queryparam}&${job:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&var-model=$__all\
    &var-task=${__data.fields.Task:percentencode}&${__url_time_range}";

/// The page of the upstream in a table's line.
pub const UPSTREAM_PAGE: &str = "/d/videogen-upstream?${datasource:queryparam}&${job:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&${__url_time_range}";

/// The page of the upstream that a series is about.
pub const UPSTREAM_PAGE_OF_SERIES: &str = "/d/videogen-upstream?${datasource:queryparam}\
    &${job:queryparam}&var-upstream=${__field.labels.upstream:percentencode}&${__url_time_range}";

/// The overview of the upstream in a table's line.
pub const OVERVIEW_PAGE: &str = "/d/videogen-overview?${datasource:queryparam}&${job:queryparam}\
    &var-upstream=${__data.fields.Upstream:percentencode}&${__url_time_range}";

/// The data source that the dashboard's variable names.
pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Steps for a panel's or a column's colours.
pub fn thresholds(steps: &[(Option<f64>, &str)]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|(from, colour)| json!({"value": from, "color": colour})).collect();
    json!({"mode": "absolute", "steps": steps})
}

/// What differs for the field of this name.
pub fn by_name(name: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<Value> = properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// A link for a value.
pub fn link(title: &str, url: &str) -> Value {
    json!({"title": title, "url": url, "targetBlank": false})
}

/// Words and colours for numbers.
pub fn words(words: &[(u8, &str, &str)]) -> Value {
    let options: Value = words
        .iter()
        .zip(0_u64..)
        .map(|((number, text, colour), index)| {
            (number.to_string(), json!({"text": text, "color": colour, "index": index}))
        })
        .collect();
    json!([{"type": "value", "options": options}])
}

/// The statuses by their own names, for a label that is one.
pub fn status_names() -> Value {
    let options: Value = STATUS_COLOURS
        .iter()
        .zip(0_u64..)
        .map(|((status, colour), index)| (*status, json!({"text": status, "color": colour, "index": index})))
        .collect();
    json!([{"type": "value", "options": options}])
}

/// A word in place of what is below 0.
pub fn below_zero(word: &str) -> Value {
    json!([{"type": "range", "options": {"from": null, "to": 0, "result": {"text": word, "color": "red", "index": 0}}}])
}

/// The statuses by the number that `promql::state` gives them.
pub fn status_words() -> Value {
    let numbered: Vec<(u8, &str, &str)> =
        (1_u8..).zip(STATUS_COLOURS).map(|(number, (status, colour))| (number, status, colour)).collect();
    words(&numbered)
}
