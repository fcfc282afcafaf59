//! Metric registry, docs, dashboards, rules and runbooks use the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use videogen_exporter::config::from_text;
use videogen_exporter::domain::Reason;
use videogen_exporter::domain::drift::{Field, FieldProblem};
use videogen_exporter::domain::failure::FailureClass;
use videogen_exporter::domain::reading::TokenType;
use videogen_exporter::domain::span::{Span, SpanProblem};
use videogen_exporter::domain::video_words::ResolutionClass;
use videogen_exporter::metrics::families::{self, Family, Kind};
use videogen_exporter::metrics::{CallbackResult, Operation};
use videogen_exporter::provider::PROVIDERS;

#[path = "../../examples/dashboards/boards/mod.rs"]
mod boards;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A generated file is up to date; `VGX_BLESS=1` writes it.
pub fn assert_up_to_date(path: &str, now: &str) {
    if std::env::var("VGX_BLESS").is_ok() {
        fs::write(root().join(path), now).unwrap();
    }
    assert!(read(path) == now, "{path} is stale: run the tests once with VGX_BLESS=1");
}

/// The document with the text between two marks replaced.
pub fn replace_section(text: &str, name: &str, new: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: written by the tests -->\n"), format!("<!-- end of {name} -->"));
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no mark {begin}"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("no mark {end}"));
    format!("{head}{begin}{new}{end}{tail}")
}

#[test]
fn the_metrics_document_lists_every_family() {
    let mut table = "| name | type | labels | what |\n|---|---|---|---|\n".to_owned();
    for family in families::all() {
        let (Family { name, kind, help, .. }, labels) = (family, family.label_names());
        let help = help.replace(" As fresh as videogen_task_last_poll_timestamp_seconds.", "");
        let _ = writeln!(table, "| `{name}` | {} | {} | {help} |", kind.as_str(), labels.join(", "));
    }
    assert_up_to_date("docs/metrics.md", &replace_section(&read("docs/metrics.md"), "families", &table));
    let names: BTreeSet<_> = families::all().iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families::all().len(), "two families have the same name");
    let text = read("docs/metrics.md");
    let words = Reason::ALL.iter().map(|r| r.as_str()).chain(FailureClass::ALL.iter().map(|c| c.as_str()));
    let words = words
        .chain(Field::ALL.iter().map(|word| word.as_str()))
        .chain(FieldProblem::ALL.iter().map(|word| word.as_str()))
        .chain(Operation::ALL.iter().map(|word| word.as_str()))
        .chain(CallbackResult::ALL.iter().map(|word| word.as_str()))
        .chain(TokenType::ALL.iter().map(|word| word.as_str()))
        .chain(ResolutionClass::ALL.iter().map(|word| word.as_str()))
        .chain(Span::ALL.iter().map(|word| word.as_str()))
        .chain(SpanProblem::ALL.iter().map(|word| word.as_str()));
    for word in words {
        assert!(text.contains(word), "docs/metrics.md does not name {word}");
    }
    assert_known_names("docs/metrics.md", &text);
}

/// What a provider supports: one task, many at once, list, progress, times, tokens, credits, error detail.
type Capabilities = (&'static str, [&'static str; 8]);

/// An undocumented list.
const UNTESTED: &str = "untested; needs the dashboard token";

#[rustfmt::skip]
const CAPABILITIES: &[Capabilities] = &[
    ("ark", ["yes", "500 a request", "yes, 7 days", "–", "submit, finish, deadline", "completion, total", "–", "code, message"]),
    ("custom", ["as configured", "–", "–", "as configured", "as configured", "as configured", "as configured", "as configured"]),
    ("dashscope", ["yes", "–", "yes, 24 h", "–", "submit, start, finish (UTC+8)", "–", "–", "code, message"]),
    ("fal", ["yes, status and result", "–", "–", "–", "–", "–", "–", "code, message"]),
    ("gemini_interactions", ["yes, very large", "–", "–", "–", "submit, finish", "input, output, total", "–", "code, message"]),
    ("jimeng", ["yes, a signed POST", "–", "–", "–", "–", "–", "–", "code, message"]),
    ("kling", ["yes", "–", "yes", "–", "submit, finish (ms)", "–", "Kling units", "message"]),
    ("litellm", ["yes", "–", "–", "as the vendor", "submit, finish, as the vendor", "–", "–", "the vendor's code, message"]),
    ("luma", ["yes, both APIs", "–", "Dream Machine", "–", "submit", "–", "–", "message, code of the Agents API"]),
    ("minimax_hailuo", ["yes, v1 and v2", "–", "v2, 7 days", "–", "v2: submit, finish", "v2: some types", "–", "code, message"]),
    ("new_api", ["yes", "–", "with a dashboard token", "coarse", "submit, start, finish", "the vendor's", "quota", "reason, the vendor's code"]),
    ("openai_videos", ["yes", "–", "yes", "per cent", "submit, finish, expiry", "–", "–", "code, message"]),
    ("openrouter", ["yes", "–", "–", "–", "–", "–", "USD", "message"]),
    ("replicate", ["yes", "–", "yes", "–", "submit, start, finish", "–", "–", "message with a code"]),
    ("runway", ["yes", "–", "–", "ratio", "submit", "–", "–", "code, message"]),
    ("tikhub_kling", ["yes", "–", UNTESTED, "coarse", "submit, start, finish", "–", "quota", "reason"]),
    ("tikhub_seedance", ["yes", "–", UNTESTED, "coarse", "submit, start, finish", "completion, total", "quota", "reason, the vendor's code"]),
    ("tikhub_sora", ["yes", "–", UNTESTED, "per cent", "submit, finish", "–", "–", "code, message"]),
    ("tikhub_veo", ["yes", "–", "–", "–", "mostly submit, finish", "–", "–", "code, message"]),
    ("tokenhot", ["yes", "–", UNTESTED, "coarse", "as the gateway, may be 0", "the vendor's, or a total", "quota", "reason, the vendor's code"]),
    ("vidu", ["yes", "–", "–", "–", "–", "–", "Vidu credits", "code"]),
    ("xai", ["yes", "–", "–", "per cent", "–", "–", "USD", "code, message"]),
    ("veo", ["yes, Gemini and Vertex", "–", "–", "–", "mostly submit, finish", "–", "–", "code, message"]),
];

#[test]
fn the_readme_lists_every_provider_and_only_existing_metrics() {
    for path in ["README.md", "docs/configuration.md", "docs/runbooks.md", "docs/dashboards.md", "docs/architecture.md"]
    {
        assert_known_names(path, &read(path));
    }
    let mut table =
        "| provider | one task | many at once | list | callbacks | progress | times | tokens | credits or money | error detail |\n\
        |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for provider in PROVIDERS {
        let known = CAPABILITIES.iter().find(|(name, _)| *name == provider.name);
        let (_, columns) = known.unwrap_or_else(|| panic!("the capabilities of {} are missing", provider.name));
        assert_eq!(columns[2] == "–", provider.list.is_none(), "{}", provider.name);
        assert_eq!(columns[1] == "–", provider.batch.is_none(), "{}", provider.name);
        let callbacks = match provider.webhook_signature {
            Some(_) => "signed",
            None if provider.read_callback.is_some() => "yes",
            None => "–",
        };
        let (requests, details) = columns.split_at(3);
        let columns = [requests, &[callbacks], details].concat();
        let _ = writeln!(table, "| `{}` | {} |", provider.name, columns.join(" | "));
    }
    assert_eq!(CAPABILITIES.len(), PROVIDERS.len());
    assert_up_to_date("README.md", &replace_section(&read("README.md"), "providers", &table));
    for image in ["overview", "task", "upstream"] {
        assert!(root().join(format!("docs/images/{image}.png")).is_file(), "docs/images/{image}.png is missing");
    }
}

/// Every word with the prefix of our metrics is an existing metric.
fn assert_known_names(path: &str, text: &str) {
    let known = |word: &str| {
        families::all().iter().any(|family| family.name == base(word))
            || is_known_prefix(word)
            || recorded().contains(word)
    };
    for word in
        text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').filter(|w| w.starts_with("videogen_"))
    {
        assert!(known(word.trim_end_matches(':')), "{path} names {word}, which does not exist");
    }
}

/// A prefix of several metrics such as `videogen_exporter_`, or the name of the crate.
fn is_known_prefix(word: &str) -> bool {
    word == "videogen_exporter"
        || word.ends_with('_') && families::all().iter().any(|family| family.name.starts_with(word))
}

fn base(name: &str) -> &str {
    let histogram =
        |name: &str| families::all().iter().any(|family| family.name == name && family.kind == Kind::Histogram);
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|part| name.strip_suffix(part).filter(|name| histogram(name)))
        .unwrap_or(name)
}

struct Rule {
    name: String,
    expr: String,
    alert: bool,
    annotations: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for file in ["config/rules/recording.yml", "config/rules/alerts.yml"] {
        let document: Value = from_text(&read(file)).unwrap();
        for rule in document["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            let text = |key: &str| rule[key].as_str().map(str::to_owned);
            let annotations = rule["annotations"].as_object().into_iter().flatten();
            found.push(Rule {
                alert: rule.get("alert").is_some(),
                name: text("alert").or_else(|| text("record")).unwrap(),
                expr: text("expr").unwrap(),
                annotations: annotations
                    .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
                    .collect(),
            });
        }
    }
    found
}

fn recorded() -> BTreeSet<String> {
    rules().into_iter().filter(|rule| !rule.alert).map(|rule| rule.name).collect()
}

/// Metrics of Prometheus itself.
const FOREIGN: [&str; 5] = ["up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds", "scrape_samples_scraped"];

struct Names<'a> {
    place: &'a str,
    recorded: &'a BTreeSet<String>,
    seen: usize,
}

impl ExprVisitor for Names<'_> {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        let selector = match expr {
            Expr::VectorSelector(selector) => Some(selector),
            Expr::MatrixSelector(range) => Some(&range.vs),
            _ => None,
        };
        if let Some(VectorSelector { name: Some(name), matchers, .. }) = selector {
            self.seen += 1;
            let family = families::all().into_iter().find(|family| family.name == base(name));
            let foreign =
                FOREIGN.contains(&name.as_str()) || name.starts_with("process_") || self.recorded.contains(name);
            if family.is_none() && !foreign {
                return Err(format!("{}: there is no metric {name}", self.place));
            }
            for matcher in &matchers.matchers {
                // Counters of tasks have the configured aggregate labels.
                let is_aggregate = matcher.name.starts_with("label_")
                    && family.is_some_and(|family| family.label_names().contains(&"model"));
                let usual = is_aggregate || matches!(matcher.name.as_str(), "job" | "instance" | "le");
                if let Some(family) = family.filter(|f| !usual && !f.label_names().contains(&matcher.name.as_str())) {
                    return Err(format!("{}: {} has no label {}", self.place, family.name, matcher.name));
                }
            }
        }
        Ok(true)
    }
}

fn check_names(place: &str, expr: &str) -> usize {
    let parsed = parser::parse(expr).unwrap_or_else(|error| panic!("{place}: {error}\n{expr}"));
    let recorded = recorded();
    let mut names = Names { place, recorded: &recorded, seen: 0 };
    walk_expr(&mut names, &parsed).unwrap_or_else(|error| panic!("{error}"));
    names.seen
}

#[test]
fn every_rule_uses_existing_metrics_and_every_alert_has_a_runbook_and_tests() {
    let runbooks = read("docs/runbooks.md");
    let headings: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let tested = tested_alerts();
    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let seen = check_names(&rule.name, &rule.expr);
        assert!(seen > 0, "{} uses no metric", rule.name);
        if !rule.alert {
            continue;
        }
        for key in ["summary", "description", "runbook_url", "dashboard_url"] {
            assert!(rule.annotations.get(key).is_some_and(|text| !text.is_empty()), "{} has no {key}", rule.name);
        }
        assert!(rule.annotations["runbook_url"].ends_with(&format!("#{}", rule.name.to_lowercase())), "{}", rule.name);
        let board = rule.annotations["dashboard_url"].split("/d/").nth(1).unwrap_or_default();
        let board = board.split('?').next().unwrap_or_default();
        assert!(root().join(format!("dashboards/{board}.json")).is_file(), "{} links to {board}", rule.name);
        assert!(headings.contains(rule.name.as_str()), "docs/runbooks.md has no heading {}", rule.name);
        assert_eq!(
            tested.get(&rule.name),
            Some(&(true, true)),
            "{} needs a test that fires and a test that does not",
            rule.name
        );
        alerts.insert(rule.name);
    }
    assert!(alerts.len() >= 15, "{alerts:?}");
    for heading in headings.iter().filter(|heading| heading.starts_with("Videogen")) {
        assert!(alerts.contains(*heading), "docs/runbooks.md explains {heading}, which does not exist");
    }
    assert!(["VideogenTaskFailed", "VideogenTaskExpired"].iter().all(|name| alerts.contains(*name)));
}

/// What is gone is not well: an alert keeps firing while its exporter is away.
#[test]
fn every_alert_is_held_while_its_exporter_is_away() {
    let document: Value = from_text(&read("config/rules/alerts.yml")).unwrap();
    let mut held = 0;
    for rule in document["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let (name, expr) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        if ["VideogenExporterDown", "VideogenExporterAbsent"].contains(&name) {
            continue;
        }
        // A second rule of the same name is told apart by its window.
        let window = rule["labels"]["long"].as_str().map(|long| format!(",long=\"{long}\"")).unwrap_or_default();
        let holds = format!("job:videogen_alerts:held{{alertname=\"{name}\"{window}}})");
        assert!(expr.trim_end().ends_with(&holds), "{name} does not end with {holds}: {expr}");
        let keeps = rule["keep_firing_for"].as_str().unwrap_or_default();
        assert!(!matches!(keeps, "" | "0s"), "{name} does not keep firing until it is held");
        held += 1;
    }
    assert!(held > 40, "{held}");
}

/// By alert: whether a test expects it to fire with labels and annotations, and whether a test expects it not to fire.
fn tested_alerts() -> BTreeMap<String, (bool, bool)> {
    let mut tested = BTreeMap::<String, (bool, bool)>::new();
    for entry in fs::read_dir(root().join("config/rules/tests")).unwrap() {
        let document: Value = from_text(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let tests = document["tests"].as_array().unwrap().iter();
        for case in tests.flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten()) {
            let expected = case["exp_alerts"].as_array().unwrap();
            let whole = |alert: &Value| alert["exp_labels"].is_object() && alert["exp_annotations"].is_object();
            let (fires, is_silent) = tested.entry(case["alertname"].as_str().unwrap().to_owned()).or_default();
            *fires |= !expected.is_empty() && expected.iter().all(whole);
            *is_silent |= expected.is_empty();
        }
    }
    tested
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(root().join("dashboards")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())).collect()
}

#[test]
fn the_dashboards_are_up_to_date() {
    let written = boards::all();
    for (name, text) in &written {
        assert!(
            read(&format!("dashboards/{name}")) == *text,
            "dashboards/{name} is stale: cargo run --example dashboards"
        );
    }
    assert_eq!(written.len(), dashboards().len(), "dashboards/ has a file that is not generated");
}

#[test]
fn every_panel_uses_existing_metrics_and_has_a_description() {
    let mut targets = 0;
    for (path, board) in dashboards() {
        let uid = board["uid"].as_str().unwrap();
        assert_eq!(path.file_stem().unwrap().to_str(), Some(uid), "the file name of a dashboard is its uid");
        for panel in board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let place = format!("{uid}: {}", panel["title"].as_str().unwrap());
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{place} has no description");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                let expr =
                    expr.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$__interval", "1m");
                assert!(check_names(&place, &expr) > 0, "{place} uses no metric");
                targets += 1;
            }
        }
        for variable in board["templating"]["list"].as_array().unwrap() {
            let query = variable["query"]["query"].as_str().unwrap_or("");
            assert_known_names(uid, query);
        }
    }
    assert!(targets >= 60, "{targets}");
}
