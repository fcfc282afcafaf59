//! `rules`: prints the bundled alerts and recording rules with the addresses of their user.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Failure, print_line};
use crate::config::from_text;
use crate::server::parse_grafana_url;

/// The bundled alerts.
const ALERTS: &str = include_str!("../../config/rules/alerts.yml");

/// The bundled recording rules.
const RECORDING: &str = include_str!("../../config/rules/recording.yml");

/// The addresses in the bundled files.
const GRAFANA_URL: &str = "http://localhost:3000";
const RUNBOOK_URL: &str = "https://github.com/videogen-exporter/videogen-exporter/blob/main/docs/runbooks.md";

/// How often Grafana evaluates its alerts.
const GRAFANA_INTERVAL: &str = "30s";

/// The arguments.
#[derive(Debug, Args)]
pub struct Rules {
    /// The address of your Grafana, for the links to dashboards.
    #[arg(long, value_name = "URL", default_value = GRAFANA_URL, value_parser = parse_grafana_url)]
    grafana_url: String,
    /// The page with the runbooks; `#` and the name of the alert in lower case are added.
    #[arg(long, value_name = "URL", default_value = RUNBOOK_URL, value_parser = parse_grafana_url)]
    runbook_url: String,
    /// What to print.
    #[arg(long, value_enum, default_value = "prometheus")]
    format: Format,
    /// A label of the `PrometheusRule`, such as release=prometheus; can be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// The uid of Grafana's Prometheus data source.
    #[arg(long, value_name = "UID", default_value = "prometheus")]
    datasource_uid: String,
    /// The folder of the alerts in Grafana.
    #[arg(long, value_name = "NAME", default_value = "Videogen")]
    folder: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A rule file of Prometheus: recording rules and alerts.
    Prometheus,
    /// A `PrometheusRule` for the Prometheus Operator, with the same rules.
    Operator,
    /// Grafana-managed alerts as a provisioning file (JSON). The recording rules stay in Prometheus.
    Grafana,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let label = text.split_once('=').filter(|(name, value)| !name.is_empty() && plain(name) && plain(value));
    let (name, value) = label.ok_or("expected NAME=VALUE of letters, digits and -_./")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Rules {
    /// Prints them.
    pub fn run(&self) -> Result<(), Failure> {
        print_line(self.render()?.trim_end())
    }

    fn render(&self) -> Result<String, Failure> {
        let text = |file: &str| file.replace(GRAFANA_URL, &self.grafana_url).replace(RUNBOOK_URL, &self.runbook_url);
        let (recording, alerts) = (text(RECORDING), text(ALERTS));
        match self.format {
            Format::Prometheus => Ok(format!("groups:\n{}{}", groups(&recording), groups(&alerts))),
            Format::Operator => Ok(self.operator(&[groups(&recording), groups(&alerts)])),
            Format::Grafana => self.grafana(&alerts),
        }
    }

    fn operator(&self, groups: &[&str]) -> String {
        let mut out =
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: videogen-exporter\n"
                .to_owned();
        if !self.labels.is_empty() {
            out.push_str("  labels:\n");
            out.extend(self.labels.iter().map(|(name, value)| format!("    {name}: \"{value}\"\n")));
        }
        out.push_str("spec:\n  groups:\n");
        for line in groups.iter().flat_map(|groups| groups.lines()) {
            out.push_str(if line.is_empty() { "" } else { "  " });
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    fn grafana(&self, alerts: &str) -> Result<String, Failure> {
        let file: RuleFile = from_text(alerts).map_err(|error| Failure::Input(format!("bundled rules: {error}")))?;
        let group = |group: &Group| {
            let rules: Vec<Value> = group.rules.iter().map(|rule| self.grafana_rule(rule)).collect();
            json!({
                "orgId": 1, "name": group.name, "folder": self.folder, "interval": GRAFANA_INTERVAL, "rules": rules,
            })
        };
        let groups: Vec<Value> = file.groups.iter().map(group).collect();
        let document = json!({ "apiVersion": 1, "groups": groups });
        Ok(serde_json::to_string_pretty(&document).unwrap_or_default())
    }

    /// An alert whose query returns what fires, as Prometheus's do: it fires for each series, whatever its value is.
    fn grafana_rule(&self, rule: &AlertRule) -> Value {
        let window = rule.labels.get("long");
        let uid = window.map_or_else(String::new, |window| format!("-{window}"));
        let title = window.map_or_else(String::new, |window| format!(" ({window})"));
        let expression = |id: &str, rest: Value| {
            let mut model = rest;
            model["refId"] = id.into();
            model["datasource"] = json!({ "type": "__expr__", "uid": "__expr__" });
            json!({
                "refId": id, "datasourceUid": "__expr__", "relativeTimeRange": { "from": 0, "to": 0 }, "model": model,
            })
        };
        let query = json!({
            "refId": "A", "datasourceUid": self.datasource_uid, "relativeTimeRange": { "from": 600, "to": 0 },
            "model": { "refId": "A", "expr": rule.expr, "instant": true, "range": false },
        });
        let is_there = json!({ "type": "math", "expression": "is_number($A) || is_nan($A) || is_inf($A)" });
        let fires = json!({
            "type": "threshold", "expression": "B",
            "conditions": [{ "evaluator": { "type": "gt", "params": [0] } }],
        });
        // Grafana's `$value` describes all queries; this is the value of the first.
        let annotations: BTreeMap<&str, String> =
            rule.annotations.iter().map(|(name, text)| (&**name, text.replace("$value", "$values.A.Value"))).collect();
        json!({
            "uid": format!("{}{uid}", rule.alert.to_lowercase()), "title": format!("{}{title}", rule.alert),
            "condition": "C", "data": [query, expression("B", is_there), expression("C", fires)],
            "noDataState": "OK", "execErrState": "Error", "for": rule.duration,
            "keepFiringFor": rule.keep_firing_for.as_deref().unwrap_or("0s"),
            "labels": rule.labels, "annotations": annotations, "isPaused": false,
        })
    }
}

/// The groups of a rule file, without what precedes them.
fn groups(file: &str) -> &str {
    file.split_once("\ngroups:\n").map_or(file, |(_, groups)| groups)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<AlertRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertRule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    duration: String,
    #[serde(default)]
    keep_firing_for: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rules(format: Format) -> Rules {
        Rules {
            grafana_url: parse_grafana_url("https://grafana.example.com/").unwrap(),
            runbook_url: parse_grafana_url("https://wiki.example.com/runbooks").unwrap(),
            format,
            labels: vec![parse_label("release=prometheus").unwrap()],
            datasource_uid: "prom".to_owned(),
            folder: "Videogen".to_owned(),
        }
    }

    fn yaml(text: &str) -> Value {
        from_text(text).unwrap()
    }

    #[test]
    fn every_address_is_replaced() {
        for format in [Format::Prometheus, Format::Operator, Format::Grafana] {
            let text = rules(format).render().unwrap();
            assert!(!text.contains("localhost") && !text.contains("github.com"), "{format:?}");
            assert!(text.contains("https://grafana.example.com/d/videogen-task?var-upstream="), "{format:?}");
            assert!(text.contains("https://wiki.example.com/runbooks#videogentaskfailed"), "{format:?}");
        }
    }

    #[test]
    fn each_format_has_every_rule() {
        let count = |groups: &Value| -> usize {
            groups.as_array().unwrap().iter().map(|group| group["rules"].as_array().unwrap().len()).sum()
        };
        let (alerts, recording) = (count(&yaml(ALERTS)["groups"]), count(&yaml(RECORDING)["groups"]));
        let prometheus = yaml(&rules(Format::Prometheus).render().unwrap());
        assert_eq!(count(&prometheus["groups"]), alerts + recording);
        let operator = yaml(&rules(Format::Operator).render().unwrap());
        assert_eq!(operator["spec"]["groups"], prometheus["groups"]);
        assert_eq!(operator["metadata"]["labels"]["release"], "prometheus");
        let grafana: Value = serde_json::from_str(&rules(Format::Grafana).render().unwrap()).unwrap();
        assert_eq!(count(&grafana["groups"]), alerts);
    }

    #[test]
    fn alerts_of_grafana_have_their_own_names_and_its_values() {
        let grafana: Value = serde_json::from_str(&rules(Format::Grafana).render().unwrap()).unwrap();
        let all = grafana["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        let all: Vec<&Value> = all.collect();
        for key in ["uid", "title"] {
            let names: BTreeSet<&str> = all.iter().map(|rule| rule[key].as_str().unwrap()).collect();
            assert_eq!(names.len(), all.len(), "{key}");
            // Grafana takes no longer uid.
            assert!(names.iter().all(|name| key != "uid" || name.len() <= 40), "{names:?}");
        }
        let text = grafana.to_string();
        assert!(text.contains("$values.A.Value") && !text.contains("$value "), "a value of Prometheus");
    }

    #[test]
    fn addresses_and_labels_are_checked() {
        for url in ["grafana", "ftp://x", "https://x/'y", "https://x/#y", "https://x y", "https://x/{{y}}"] {
            assert!(parse_grafana_url(url).is_err(), "{url}");
        }
        assert!(parse_label("release").is_err() && parse_label("=x").is_err() && parse_label("a=b c").is_err());
    }
}
