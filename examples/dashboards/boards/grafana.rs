//! A Grafana dashboard in the classic JSON model: variables, links, annotations and grid.

use serde_json::{Value, json};

use super::panel::Panel;
use super::promql;
use super::values::datasource;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// The tag that lists our dashboards in one drop-down menu.
const TAG: &str = "videogen-exporter";

/// One dashboard; its panels are in reading order.
pub struct Dashboard {
    /// Also the stem of the file name. It never changes, because links depend on it.
    pub uid: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub variables: Vec<Value>,
    pub panels: Vec<Panel>,
}

impl Dashboard {
    /// The file name and its content.
    pub fn into_file(self) -> (String, String) {
        let name = format!("{}.json", self.uid);
        let mut model = self.model();
        // Another crate may enable a feature of serde_json that changes the order of keys.
        model.sort_all_objects();
        (name, format!("{model:#}\n"))
    }

    fn model(self) -> Value {
        let mut variables = vec![json!({
            "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            "current": {"text": "default", "value": "default"}, "options": [], "refresh": 1, "regex": "",
            "hide": 0, "multi": false, "includeAll": false, "skipUrlSync": false,
        })];
        variables.extend(self.variables);
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": 42,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "fiscalYearStartMonth": 0,
            "weekStart": "",
            "liveNow": false,
            "links": [{
                "type": "dashboards", "title": "Videogen", "tags": [TAG], "asDropdown": true,
                "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link",
                "tooltip": "Other dashboards, with the same selection and time range", "url": "",
            }],
            "templating": {"list": variables},
            "annotations": {"list": [
                {
                    "name": "Annotations & Alerts", "builtIn": 1, "type": "dashboard", "enable": true,
                    "hide": true, "iconColor": "rgba(0, 211, 255, 1)",
                    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
                },
                {
                    "name": "Critical alerts", "enable": true, "hide": false, "iconColor": "red",
                    "datasource": datasource(),
                    "expr": promql::alerts(r#"severity="critical""#),
                    "titleFormat": "{{alertname}}", "textFormat": "{{upstream}} {{model}} {{task_id}}",
                    "step": "60s",
                },
                {
                    "name": "Starts and reloads of exporters", "enable": true, "hide": false, "iconColor": "blue",
                    "datasource": datasource(),
                    "expr": format!(
                        "time() - max by (instance) (videogen_exporter_config_last_reload_success_timestamp_seconds{{{}}}) < 60",
                        promql::JOB
                    ),
                    "titleFormat": "exporter started or reloaded", "textFormat": "{{instance}}", "step": "60s",
                },
            ]},
            "panels": on_grid(self.panels),
        })
    }
}

/// Places the panels line by line; a row title starts a new line.
fn on_grid(panels: Vec<Panel>) -> Vec<Value> {
    let (mut x, mut y, mut line) = (0, 0, 0);
    let mut placed = Vec::new();
    for (id, panel) in (1_u64..).zip(panels) {
        let (width, height) = (panel.width, panel.height);
        if x + width > COLUMNS {
            y += line;
            (x, line) = (0, 0);
        }
        let mut model = panel.into_model();
        model["id"] = json!(id);
        model["gridPos"] = json!({"x": x, "y": y, "w": width, "h": height});
        placed.push(model);
        x += width;
        line = line.max(height);
    }
    placed
}

/// A variable with the values of `query`; several values or all of them can be selected.
pub fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "type": "query", "name": name, "label": label, "datasource": datasource(),
        "query": {"query": query, "refId": "StandardVariableQuery"}, "definition": query,
        "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".+",
        "current": {"text": "All", "value": "$__all"}, "options": [], "regex": "", "hide": 0,
        "skipUrlSync": false,
    })
}

/// Selects exporters: their jobs, then their instances.
pub fn exporters() -> [Value; 2] {
    let instances = r#"label_values(videogen_exporter_build_info{job=~"$job"}, instance)"#;
    [
        variable("job", "Job", "label_values(videogen_exporter_build_info, job)"),
        variable("instance", "Exporter", instances),
    ]
}

/// Selects teams, where the aggregate labels of the configuration have `team`. "All" includes tasks without one.
pub fn team() -> Value {
    let query = r#"label_values(videogen_tasks{job=~"$job",upstream=~"$upstream",label_team!=""}, label_team)"#;
    let mut team = variable("team", "Team", query);
    team["allValue"] = json!(".*");
    team
}

/// The variables of a dashboard: the exporters, and these.
pub fn variables(more: impl IntoIterator<Item = Value>) -> Vec<Value> {
    exporters().into_iter().chain(more).collect()
}

/// Selects upstreams.
pub fn upstream() -> Value {
    let query = r#"label_values(videogen_upstream_request_errors_total{job=~"$job"}, upstream)"#;
    variable("upstream", "Upstream", query)
}

/// Selects models.
pub fn model() -> Value {
    let query = r#"label_values(videogen_tasks{job=~"$job",upstream=~"$upstream"}, model)"#;
    variable("model", "Model", query)
}

/// Selects tasks from those in the time range of the dashboard, highest ids first.
///
/// It has no "All", because thousands of tasks in each panel are unreadable.
pub fn task() -> Value {
    let query = format!("label_values(videogen_task_info{{{}}}, task_id)", promql::MODEL);
    let mut task = variable("task", "Task", &query);
    task["sort"] = json!(2);
    task["includeAll"] = json!(false);
    task["allValue"] = json!(null);
    task["current"] = json!({});
    task
}
