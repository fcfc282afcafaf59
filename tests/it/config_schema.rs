//! The JSON Schema of the configuration file and the loader accept and refuse the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use videogen_exporter::config::{self, ConfigError, File, from_text};
use videogen_exporter::domain::pricing::CURRENCIES;

use crate::documents::{assert_up_to_date, read, root};
use crate::program::program;

const PATH: &str = "docs/videogen-exporter.schema.json";

static SCHEMA: LazyLock<Value> = LazyLock::new(config::json_schema);

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());

/// What the schema says against a configuration.
fn refusals(document: &Value) -> Vec<String> {
    VALIDATOR.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn assert_accepted(place: &str, document: &Value) {
    let refusals = refusals(document);
    assert!(refusals.is_empty(), "{place}: {refusals:#?}\n{document:#}");
}

/// The problems that the loader finds, by key.
fn problems(document: &Value) -> Vec<(String, String)> {
    match config::parse(&document.to_string(), Path::new("x.yml")) {
        Ok(_) => Vec::new(),
        Err(ConfigError(problems)) => problems.into_iter().map(|problem| (problem.key, problem.message)).collect(),
    }
}

/// What the types of the loader say against a configuration, without the rules beyond types.
fn type_problem(document: &Value) -> Option<String> {
    let mut document = document.clone();
    document.as_object_mut().unwrap().retain(|_, section| !section.is_null());
    from_text::<File>(&document.to_string()).err()
}

#[test]
fn the_committed_schema_is_that_of_the_types_and_what_the_program_prints() {
    assert_up_to_date(PATH, &format!("{:#}\n", *SCHEMA));
    let output = program().args(["config", "schema"]).output().unwrap();
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema, *SCHEMA);
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$id"].as_str().unwrap().ends_with(&format!("/{PATH}")), "{}", schema["$id"]);
}

/// The keys of an object of the schema.
fn keys(object: &Value) -> BTreeSet<&str> {
    object["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// The schema that a `$ref` names.
fn resolve(node: &'static Value) -> &'static Value {
    match node["$ref"].as_str() {
        Some(target) => resolve(SCHEMA.pointer(target.strip_prefix('#').unwrap()).unwrap()),
        None => node,
    }
}

fn alternatives(node: &'static Value) -> impl Iterator<Item = &'static Value> {
    ["anyOf", "oneOf"].into_iter().flat_map(|key| node[key].as_array().into_iter().flatten())
}

#[test]
fn every_key_is_described_in_words_of_the_user() {
    let mut described = 0;
    for (name, part) in SCHEMA["$defs"].as_object().unwrap().iter().chain([(&"root".to_owned(), &*SCHEMA)]) {
        for (key, property) in part["properties"].as_object().into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_else(|| panic!("{name}.{key}"));
            assert!(description.len() > 10 && description.ends_with('.'), "{name}.{key}: {description}");
            described += 1;
        }
    }
    assert!(described > 150, "{described}");
    let text = SCHEMA.to_string();
    for word in ["Self::", "[`", "`]", "Option<", "struct"] {
        assert!(!text.contains(word), "the schema contains {word}");
    }
}

#[test]
fn defaults_are_shown() {
    let default = |part: &str, key: &str| SCHEMA["$defs"][part]["properties"][key]["default"].clone();
    for (part, key, expected) in [
        ("PollingConfig", "interval", json!("15s")),
        ("PollingConfig", "max_body_size", json!("4MiB")),
        ("PollingConfig", "by_list", json!("auto")),
        ("TasksConfig", "count_since", json!("first_start")),
        ("StuckConfig", "factor", json!(3.0)),
        ("MetricsConfig", "per_task", json!("all")),
        ("ApiKeyConfig", "scopes", json!(["write"])),
        ("SqliteConfig", "path", json!("videogen-exporter.db")),
        ("ListConfig", "scope", json!("own")),
        ("ListConfig", "discover", json!(true)),
        ("SqlSdConfig", "timeout", json!("10s")),
        ("PriceConfig", "each", json!(1)),
        ("UpstreamConfig", "model", Value::Null),
    ] {
        assert_eq!(default(part, key), expected, "{part}.{key}");
    }
}

/// A part of a document as a whole configuration: one, entries of `upstreams:`, or keys of an upstream. `None` for other YAML.
fn whole(mut part: Value) -> Option<Value> {
    let has = |part: &Value, key: &str| part.get(key).is_some();
    // An entry may show only what is added to it.
    for entry in part.get_mut("upstreams").and_then(Value::as_array_mut).into_iter().flatten() {
        entry.as_object_mut().unwrap().entry("provider").or_insert("custom".into());
    }
    let known = |part: &Value, node: &Value| {
        part.as_object().is_some_and(|part| part.keys().all(|key| keys(node).contains(&**key)))
    };
    let upstream = &SCHEMA["$defs"]["UpstreamConfig"];
    match &part {
        Value::Object(_) if known(&part, &SCHEMA) => Some(part),
        Value::Array(entries) if entries.iter().all(|entry| has(entry, "name") && has(entry, "provider")) => {
            Some(json!({ "upstreams": part }))
        }
        Value::Object(keys) if known(&part, upstream) => {
            let mut keys = keys.clone();
            keys.insert("name".to_owned(), "a".into());
            keys.entry("provider").or_insert("custom".into());
            Some(json!({ "upstreams": [keys] }))
        }
        _ => None,
    }
}

/// The YAML blocks of a Markdown document.
fn blocks(text: &str) -> Vec<&str> {
    let parts = text.split("```yaml\n").skip(1);
    parts.map(|part| part.split("\n```").next().unwrap()).collect()
}

#[test]
fn configurations_of_tests_are_accepted() {
    let mut accepted = 0;
    for folder in ["tests/fixtures/config", "tests/fixtures/providers/custom"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yml");
            let is_other = [".bad.yml", "/prices_rules.yml", "/prices_euros.yml"].iter().any(|end| name.ends_with(end));
            if is_yaml && !is_other {
                assert_accepted(&name, &from_text(&fs::read_to_string(&path).unwrap()).unwrap());
                accepted += 1;
            }
        }
    }
    assert!(accepted >= 14, "{accepted}");
}

#[test]
fn examples_in_documents_are_accepted() {
    let mut foreign = Vec::new();
    let mut accepted = 0;
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in files.chain([root().join("README.md")]).filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text) {
            let first = format!("{}: {}", path.file_name().unwrap().display(), block.lines().next().unwrap());
            match whole(from_text(block).unwrap_or_else(|error| panic!("{}: {error}\n{block}", path.display()))) {
                Some(document) => {
                    assert_accepted(&path.display().to_string(), &document);
                    accepted += 1;
                }
                None => foreign.push(first),
            }
        }
    }
    assert!(accepted >= 15, "{accepted}");
    // Files of Prometheus and Alertmanager, of `--web.config.file`, of `file_sd_configs`, and rules of prices.
    assert!(foreign.len() <= 10, "{foreign:#?}");
    let own = foreign.iter().filter(|block| block.starts_with("configuration.md"));
    assert_eq!(own.collect::<Vec<_>>(), ["configuration.md: - targets: [task_JaURYzdMLaz, task_n1GONEtW9YS]"]);
}

/// The full example with its commented keys.
fn uncommented() -> String {
    let is_key = |text: &str| {
        let text = text.trim_start().trim_start_matches("- ").trim_start_matches("{ ");
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        end > 0 && text[end..].starts_with(':')
    };
    let text = read("config/videogen-exporter.yml");
    let (_, body) = text.split_once("\n\n").unwrap();
    let body = body.replace("authorization: []  ", "authorization:  ");
    let line = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(rest) if is_key(rest) => format!("{}{rest}\n", &line[..line.len() - line.trim_start().len()]),
        _ => format!("{line}\n"),
    };
    body.lines().map(line).collect()
}

#[test]
fn the_full_example_is_accepted_with_its_commented_keys() {
    let text = uncommented();
    let document: Value = from_text(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_accepted("config/videogen-exporter.yml", &document);
    assert_eq!(type_problem(&document), None);
    assert!(keys(&SCHEMA).iter().all(|section| document.get(section).is_some()), "{document:#}");
    let upstream = document["upstreams"][0].as_object().unwrap();
    assert!(upstream.len() > 20, "{:?}", upstream.keys());
}

/// A value that a schema accepts: the first example, word or alternative; mappings with their required keys only.
fn sample(node: &'static Value) -> Value {
    let node = resolve(node);
    if let Some(example) = node["examples"].get(0).or(node.get("const")) {
        return example.clone();
    }
    if let Some(words) = node["enum"].as_array() {
        // A gateway, whose upstream may have most keys.
        return words.iter().find(|word| *word == "tokenhot").unwrap_or(&words[0]).clone();
    }
    if let Some(first) = alternatives(node).next() {
        return sample(first);
    }
    match node["type"].as_str().or(node["type"][0].as_str()) {
        Some("object") => {
            let required = node["required"].as_array().into_iter().flatten().map(|key| key.as_str().unwrap());
            Value::Object(required.map(|key| (key.to_owned(), sample(&node["properties"][key]))).collect())
        }
        Some("array") => json!([sample(&node["items"])]),
        Some("string") => json!("x"),
        Some("integer") => json!(1),
        Some("number") => json!(1.5),
        Some("boolean") => json!(true),
        other => panic!("{other:?}: {node}"),
    }
}

/// Where a value stands: its path, and the configuration with a value there.
struct Place<'a> {
    path: Vec<String>,
    embed: &'a dyn Fn(Value) -> Value,
}

impl Place<'_> {
    fn key(&self) -> String {
        self.path.join(".")
    }

    fn below(&self, key: &str) -> Vec<String> {
        [self.path.as_slice(), &[key.to_owned()]].concat()
    }
}

/// Visits every value of the schema, those of its mappings and lists included.
fn visit_all(node: &'static Value, place: &Place<'_>, visit: &mut dyn FnMut(&'static Value, &Place<'_>)) {
    visit(node, place);
    descend(node, place, visit);
}

fn descend(node: &'static Value, place: &Place<'_>, visit: &mut dyn FnMut(&'static Value, &Place<'_>)) {
    let node = resolve(node);
    for alternative in alternatives(node) {
        descend(alternative, place, visit);
    }
    let fixed = node["properties"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let of_patterns = node["patternProperties"].as_object().into_iter().flatten().map(|(_, value)| ("6", value));
    let free = node.get("additionalProperties").filter(|value| value.is_object());
    let free_key = if node.get("propertyNames").is_some() { "EUR" } else { "free" };
    for (key, value) in fixed.chain(of_patterns).chain(free.map(|value| (free_key, value))) {
        let mut base = sample(node);
        if key == "response" {
            // Only this provider has all keys of it.
            base["provider"] = "custom".into();
        }
        let embed = |value: Value| {
            let mut object = base.clone();
            object[key] = value;
            (place.embed)(object)
        };
        visit_all(value, &Place { path: place.below(key), embed: &embed }, visit);
    }
    if let Some(items) = node.get("items") {
        visit_all(items, &Place { path: place.below("0"), embed: &|value| (place.embed)(json!([value])) }, visit);
    }
}

/// Calls `visit` with every place of a configuration.
fn for_each_place(mut visit: impl FnMut(&'static Value, &Place<'_>)) -> usize {
    let mut places = 0;
    descend(&SCHEMA, &Place { path: Vec::new(), embed: &|root| root }, &mut |node, place| {
        places += 1;
        visit(node, place);
    });
    places
}

#[test]
fn every_key_of_the_schema_is_one_of_the_loader() {
    let places = for_each_place(|node, place| {
        let document = (place.embed)(sample(node));
        assert_accepted(&place.key(), &document);
        assert_eq!(type_problem(&document), None, "{}", place.key());
    });
    assert!(places > 400, "{places}");
}

/// The loader tells all keys that it knows when it meets another one.
#[test]
fn every_key_of_the_loader_is_one_of_the_schema() {
    let mut compared = 0;
    let mut compare = |node: &'static Value, place: &Place<'_>| {
        let mut objects = vec![resolve(node)];
        objects.extend(alternatives(resolve(node)).map(resolve));
        for object in
            objects.into_iter().filter(|node| node["additionalProperties"] == false || node.get("properties").is_some())
        {
            for key in object["required"].as_array().into_iter().flatten() {
                let mut without = sample(object);
                without.as_object_mut().unwrap().remove(key.as_str().unwrap());
                let document = (place.embed)(without);
                assert!(type_problem(&document).is_some(), "{}: the loader does not need {key}", place.key());
            }
            let mut with_unknown = sample(object);
            let known = object["properties"].as_object().into_iter().flatten().next();
            with_unknown["unknown_key"] = known.map_or(json!(1), |(_, value)| sample(value));
            let document = (place.embed)(with_unknown);
            assert!(!refusals(&document).is_empty(), "the schema accepts an unknown key: {document}");
            let at = [place.key().as_str(), "unknown_key"].join(".");
            let at = at.trim_start_matches('.');
            let problems = problems(&document);
            let problem = problems.iter().find(|(key, _)| key == at).map(|(_, message)| message);
            let message = problem.unwrap_or_else(|| panic!("{at}: the loader accepts an unknown key: {problems:?}"));
            if object.get("properties").is_some() {
                let known = message.rsplit(": ").next().unwrap().split(", ").filter(|key| !key.is_empty());
                assert_eq!(keys(object), known.collect(), "{at}: {message}");
            }
            compared += 1;
        }
    };
    compare(&SCHEMA, &Place { path: Vec::new(), embed: &|root| root });
    for_each_place(&mut compare);
    assert!(compared > 60, "{compared}");
}

/// The words of a schema that accepts nothing else.
fn words(node: &'static Value) -> Option<BTreeSet<&'static str>> {
    let node = resolve(node);
    let own = node["enum"].as_array().into_iter().flatten().chain(node.get("const")).filter_map(Value::as_str);
    let mut found: BTreeSet<_> = own.collect();
    for alternative in alternatives(node) {
        if resolve(alternative)["type"] != "null" {
            found.extend(words(alternative)?);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The loader tells all words that it knows when it meets another one.
#[test]
fn every_word_of_the_loader_is_one_of_the_schema() {
    let mut compared = 0;
    for_each_place(|node, place| {
        let Some(words) = words(node) else { return };
        let problems = problems(&(place.embed)(json!("unknown_word")));
        let message = problems.iter().find(|(key, _)| *key == place.key()).map(|(_, message)| message);
        let message = message.unwrap_or_else(|| panic!("{}: any word is accepted", place.key()));
        let known = message.rsplit(": ").next().unwrap().split(", ").collect();
        assert_eq!(words, known, "{}: {message}", place.key());
        compared += 1;
    });
    assert!(compared >= 15, "{compared}");
    // The loader does not tell these.
    assert_eq!(SCHEMA["$defs"]["Currency"]["anyOf"][0]["enum"], json!(CURRENCIES));
}

#[test]
fn the_loader_and_the_schema_agree_about_every_type() {
    let probes = json!([
        null, true, 0, 1, -1, 1.5, "", "zzz", "15s", "1MiB", "1.5", "USD", "auto", "2026-04-02T08:00:00Z", "2026-04-02",
        [], ["zzz"], [1], [[]], [{}], {}, { "zzz": 1 }, { "zzz": [] }
    ]);
    let (mut accepted, mut refused) = (0, 0);
    for_each_place(|_, place| {
        for probe in probes.as_array().unwrap() {
            let document = (place.embed)(probe.clone());
            let (refusals, type_problem) = (refusals(&document), type_problem(&document));
            if refusals.is_empty() {
                assert_eq!(type_problem, None, "{}: the schema accepts {probe}", place.key());
                accepted += 1;
            } else {
                let below = format!("{}.", place.key());
                // Words that the types take for texts.
                let is_word = |message: &str| message.starts_with("unknown ") || message.contains("number of seconds");
                let is_here = |(key, message): &(String, String)| {
                    (*key == place.key() || key.starts_with(&below)) && is_word(message)
                };
                let is_refused = type_problem.is_some() || problems(&document).iter().any(is_here);
                assert!(is_refused, "{}: the loader accepts {probe}: {refusals:?}", place.key());
                refused += 1;
            }
        }
    });
    assert!(accepted > 1000 && refused > 5000, "{accepted} accepted, {refused} refused");
}

#[test]
fn what_is_wrong_is_refused_by_both() {
    let upstream = |keys: &str| format!("upstreams: [{{name: a, provider: tokenhot, {keys}}}]");
    for text in [
        "polling: {intervall: 15s}",
        "poling: {}",
        "polling: [15s]",
        "polling: {interval: 15}",
        "polling: {interval: 15 parsecs}",
        "polling: {interval: 1y}",
        "polling: {max_body_size: 4 MiBi}",
        "polling: {by_list: always}",
        "polling: {burst: '20'}",
        "tasks: {count_since: yesterday}",
        "tasks: {error_messages: 'yes'}",
        "tasks: {stuck: {factor: high}}",
        "metrics: {per_task: some}",
        "metrics: {task_status: code_and_set}",
        "metrics: {aggregate_labels: team}",
        "state: {postgres: {}}",
        "state: {memory: {size: 1MiB}}",
        "api: {authorization: [{credentials: secret}]}",
        "api: {authorization: [{credentials_file: x, scopes: [admin]}]}",
        "pricing: {currency: EURO}",
        "pricing: {rates: {EURO: 1}}",
        "pricing: {rates: {EUR: -1}}",
        "pricing: {rules: [{match: {}, price: {per: minute, amount: 1}}]}",
        "pricing: {budgets: [{name: x, per: year, amount: 1}]}",
        "upstreams: [{name: a}]",
        "upstreams: [{name: a, provider: sora}]",
        "upstreams: {name: a, provider: tokenhot}",
        &upstream("key: x"),
        &upstream("authorization: {credentials: S3CRET}"),
        &upstream("authorization: x"),
        &upstream("request: {method: PUT}"),
        &upstream("request: {shape: sora}"),
        &upstream("response: {fields: {stat: /x}}").replace("tokenhot", "custom"),
        &upstream("response: {statuses: {lost: [x]}}").replace("tokenhot", "custom"),
        &upstream("response: {failures: {bad_luck: [x]}}"),
        &upstream("static_configs: [{targets: x}]"),
        &upstream("static_configs: [{target: [x]}]"),
        &upstream("list_configs: [{scope: some}]"),
        &upstream("list_configs: [{labels: {x: colour}}]"),
        &upstream("quota_per_unit: manual"),
        &upstream("tls_config: {insecure_skip_verify: true}"),
    ] {
        let has_upstreams = text.starts_with("upstreams");
        let whole = if has_upstreams {
            text.to_owned()
        } else {
            format!("{text}\nupstreams: [{{name: a, provider: tokenhot}}]")
        };
        assert!(config::parse(&whole, Path::new("x.yml")).is_err(), "the loader accepts {whole}");
        let document: Value = from_text(&whole).unwrap();
        assert!(!refusals(&document).is_empty(), "the schema accepts {whole}");
    }
}

/// Texts of the tokens that scalars are made of.
fn scalar_text() -> impl Strategy<Value = String> {
    let tokens = [
        "0",
        "1",
        "15",
        "1.5",
        ".5",
        "5.",
        "1,5",
        "-",
        "+",
        "_",
        " ",
        "\t",
        ",",
        ":",
        ".",
        "e",
        "E7",
        "s",
        "m",
        "h",
        "d",
        "w",
        "y",
        "mo",
        "ms",
        "us",
        "\u{b5}s",
        "ns",
        "min",
        "mins",
        "hours",
        "secs",
        "days",
        "ago",
        " ago",
        "01:02:03",
        "P",
        "PT",
        "T",
        "S",
        "H",
        "M",
        "D",
        "k",
        "K",
        "KB",
        "MiB",
        "GB",
        "b",
        "B",
        "i",
        "2026-04-02",
        "2026",
        "04",
        "02",
        "T08:00:00",
        "t08",
        "08",
        "00",
        "Z",
        "z",
        "+08:00",
        "[UTC]",
        "[Asia/Shanghai]",
        "USD",
        "eur",
        "Cny",
        "first_start",
        "always",
        "inf",
        "NaN",
        "true",
        "null",
        "1e999",
    ];
    prop::collection::vec(prop::sample::select(tokens.to_vec()), 0..6).prop_map(|tokens| tokens.concat())
}

/// Whatever text the loader accepts matches the patterns of the schema. Returns how many places accept it.
fn assert_not_stricter(text: &str) -> usize {
    let priced = |price: Value| json!({ "pricing": { "rules": [{ "match": {}, "price": price }] } });
    let valid = json!([{ "match": {}, "price": { "per": "task", "amount": 1 }, "valid": { "from": text } }]);
    let by_types = [
        json!({ "tasks": { "retention": text } }),
        json!({ "tasks": { "count_since": text } }),
        json!({ "tasks": { "stuck": { "factor": text } } }),
        json!({ "polling": { "max_body_size": text } }),
        json!({ "pricing": { "rules": valid } }),
        priced(json!({ "per": "task", "amount": text })),
    ];
    let by_rules =
        [json!({ "pricing": { "currency": text } }), priced(json!({ "per": "task", "by_seconds": { text: 1 } }))];
    let by_types = by_types.into_iter().filter(|document| type_problem(document).is_none());
    let by_rules = by_rules.into_iter().filter(|document| problems(document).iter().all(|(key, _)| key == "upstreams"));
    by_types.chain(by_rules).map(|document| assert_accepted(text, &document)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_that_the_loader_accepts_is_refused(text in scalar_text()) {
        assert_not_stricter(&text);
    }
}

#[test]
fn texts_in_unusual_forms_are_accepted() {
    for text in [
        "15s",
        " 15s ",
        "1h30m",
        "1 hour, 30 minutes",
        "1.5h",
        "1,5 hours",
        "2w 3d",
        "01:02:03",
        "1d 01:02:03.5",
        "PT15S",
        "p1dt2h",
        "+15s",
        "-0s",
        "0y15s",
        "0mo",
        "0 years, 3h",
        "15\u{b5}s",
        "0s ago",
        "P0Y",
        "500ms",
        "4MiB",
        "4 mib",
        "500",
        "500kB",
        ".5G",
        "5.k",
        "1_000",
        "-0",
        "0.5",
        "1e-7",
        "+3",
        "5.",
        ".5",
        "2026-04-02",
        "2026-04-02T08:00:00Z",
        "2026-04-02 08:00:00+08",
        "20260402T080000Z",
        "2026-04-02T08Z",
        "2026-04-02T08:00:00Z[UTC]",
        "+002026-04-02T08:00Z",
        "usd",
        "Usd",
        "first_start",
        "6",
        "+6",
    ] {
        assert!(assert_not_stricter(text) > 0, "the loader does not accept {text}");
    }
}

#[test]
fn empty_sections_and_other_forms_of_keys_are_accepted() {
    let sections: Map<String, Value> = keys(&SCHEMA).into_iter().map(|key| (key.to_owned(), Value::Null)).collect();
    assert_accepted("empty sections", &Value::Object(sections));
    let empty_key = json!({ "polling": null, "upstreams": [{ "name": 7, "provider": "tokenhot", "polling": { "interval": null }, "oauth2": null }] });
    assert_accepted("empty keys", &empty_key);
    assert_eq!(problems(&empty_key), []);
    let fixed = json!({ "upstreams": [{ "name": "a", "provider": "tokenhot", "quota_per_unit": { "value": 5e5, "currency": "usd" } }] });
    assert_accepted("a value and a currency", &fixed);
    assert_eq!(problems(&fixed), []);
}

/// The configurations that users begin with, in this repository and as copies.
const EXAMPLES: [&str; 5] = [
    "config/videogen-exporter.yml",
    "config/minimal.yml",
    "packaging/compose/videogen-exporter.example.yml",
    "packaging/kustomize/base/videogen-exporter.yml",
    "packaging/kustomize/overlays/example/videogen-exporter.yml",
];

#[test]
fn every_example_is_accepted_and_names_its_schema_to_editors() {
    for path in EXAMPLES {
        let first = format!("# yaml-language-server: $schema={}", SCHEMA["$id"].as_str().unwrap());
        assert_eq!(read(path).lines().next(), Some(first.as_str()), "{path}");
    }
    // The packages install a schema of their own.
    let package = "packaging/systemd/videogen-exporter.yml";
    assert!(read(package).starts_with("# yaml-language-server: $schema=/usr/share/"), "{package}");
    for path in EXAMPLES.into_iter().chain([package, "packaging/compose/demo.yml"]) {
        assert_accepted(path, &from_text(&read(path)).unwrap());
    }
}
