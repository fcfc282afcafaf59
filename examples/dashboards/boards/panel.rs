//! One panel: what it asks Prometheus, and how it shows the answer.

use serde_json::{Value, json};

use super::values::{STATUS_COLOURS, by_name, datasource, link, thresholds};

/// A panel in the making; its place on the grid is the dashboard's business.
pub struct Panel {
    pub(super) model: Value,
    pub width: u64,
    pub height: u64,
}

impl Panel {
    pub(super) fn new(kind: &str, title: &str, description: &str) -> Self {
        let model = json!({
            "type": kind, "title": title, "description": description,
            "datasource": datasource(), "targets": [],
            "fieldConfig": {"defaults": {"mappings": []}, "overrides": []}, "options": {},
        });
        let panel = Self { model, width: 12, height: 8 };
        panel.thresholds(&[(None, "green")])
    }

    /// A line across the page that names the panels below it.
    pub fn row(title: &str) -> Self {
        let model = json!({"type": "row", "title": title, "collapsed": false, "panels": []});
        Self { model, width: 24, height: 1 }
    }

    pub(super) fn default(mut self, key: &str, value: &Value) -> Self {
        self.model["fieldConfig"]["defaults"][key] = value.clone();
        self
    }

    pub(super) fn options(mut self, options: &Value) -> Self {
        self.model["options"] = options.clone();
        self
    }

    /// Columns and lines of the grid; a wide graph has room for its legend beside it.
    pub fn size(mut self, width: u64, height: u64) -> Self {
        if self.model["type"] == "timeseries" {
            let side = if width < 12 { "bottom" } else { "right" };
            self.model["options"]["legend"]["placement"] = json!(side);
        }
        Self { width, height, ..self }
    }

    /// The shortest step: what happens about once a minute is noise when looked at more closely.
    pub fn every(mut self, step: &str) -> Self {
        self.model["interval"] = json!(step);
        self
    }

    /// Lets the axis end here as long as no value is higher.
    pub fn soft_max(mut self, max: f64) -> Self {
        self.model["fieldConfig"]["defaults"]["custom"]["axisSoftMax"] = json!(max);
        self
    }

    /// Shows a stat without colour, for what is neither good nor bad.
    pub fn plain(mut self) -> Self {
        self.model["options"]["colorMode"] = json!("none");
        self.thresholds(&[(None, "text")])
    }

    /// Puts a wide graph's legend below it, for the long names of tasks.
    pub fn legend_below(mut self) -> Self {
        self.model["options"]["legend"]["placement"] = json!("bottom");
        self
    }

    /// The unit of its values.
    pub fn unit(self, unit: &str) -> Self {
        self.default("unit", &json!(unit))
    }

    /// The top of its axis or gauge.
    pub fn max(self, max: f64) -> Self {
        self.default("max", &json!(max))
    }

    /// How many digits after the point.
    pub fn decimals(self, decimals: u8) -> Self {
        self.default("decimals", &json!(decimals))
    }

    /// From which value on it has which colour.
    pub fn thresholds(self, steps: &[(Option<f64>, &str)]) -> Self {
        self.default("thresholds", &thresholds(steps))
    }

    /// A dashed line at `limit`, where an alert would fire.
    pub fn limit(mut self, limit: f64) -> Self {
        self.model["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] = json!("dashed");
        self.thresholds(&[(None, "transparent"), (Some(limit), "red")])
    }

    /// Dashed lines at `limit` above and below 0, for what may be either; an axis that makes noise no mountains.
    pub fn limits(mut self, limit: f64) -> Self {
        let defaults = &mut self.model["fieldConfig"]["defaults"];
        defaults["min"].take();
        defaults["custom"]["axisSoftMin"] = json!(-limit / 3.0);
        defaults["custom"]["axisSoftMax"] = json!(limit / 3.0);
        defaults["custom"]["thresholdsStyle"]["mode"] = json!("dashed");
        self.thresholds(&[(None, "red"), (Some(-limit), "transparent"), (Some(limit), "red")])
    }

    /// The words to show in place of some numbers.
    pub fn mappings(self, mappings: &Value) -> Self {
        self.default("mappings", mappings)
    }

    /// What it says when there is nothing to show.
    pub fn no_value(self, text: &str) -> Self {
        self.default("noValue", &json!(text))
    }

    /// Where a click on a value leads.
    pub fn link(self, title: &str, url: &str) -> Self {
        self.default("links", &json!([link(title, url)]))
    }

    /// Shows the series' name and not its value.
    pub fn names_only(mut self) -> Self {
        self.model["options"]["textMode"] = json!("name");
        self
    }

    /// Gives the series that are named after a status that status' colour.
    pub fn coloured_by_status(mut self) -> Self {
        let overrides = STATUS_COLOURS
            .iter()
            .map(|(status, colour)| {
                let colour = json!({"mode": "fixed", "fixedColor": colour});
                by_name(status, &[("color", colour)])
            })
            .collect();
        self.model["fieldConfig"]["overrides"] = Value::Array(overrides);
        self
    }

    /// How a table's columns differ from each other.
    pub fn columns(mut self, overrides: Vec<Value>) -> Self {
        let blank = json!({
            "matcher": {"id": "byRegexp", "options": "/.*/"},
            "properties": [{"id": "noValue", "value": "–"}],
        });
        let mut all = vec![blank];
        all.extend(overrides);
        self.model["fieldConfig"]["overrides"] = Value::Array(all);
        self
    }

    /// The columns that a table is sorted by at first.
    pub fn sorted_by(mut self, columns: &[(&str, bool)]) -> Self {
        let order: Vec<Value> =
            columns.iter().map(|(column, descending)| json!({"displayName": column, "desc": descending})).collect();
        self.model["options"]["sortBy"] = Value::Array(order);
        self
    }

    /// Puts a table's queries side by side, and shows the named columns in this order.
    pub fn joined(mut self, columns: &[(&str, &str)], hidden: &[&str]) -> Self {
        let order: Value = columns.iter().zip(0_u64..).map(|((from, _), at)| (*from, at)).collect();
        let names: Value = columns.iter().copied().collect();
        let excluded: Value = hidden.iter().map(|name| (*name, true)).collect();
        self.model["transformations"] = json!([
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "indexByName": order, "renameByName": names,
                "excludeByName": excluded, "includeByName": {},
            }},
        ]);
        self
    }

    /// A query over the range.
    pub fn range(self, expr: &str, legend: &str) -> Self {
        self.target(expr, legend, "time_series", "range")
    }

    /// A query over the range whose exemplars lead to tasks.
    pub fn exemplars(self, expr: &str, legend: &str, format: &str) -> Self {
        let mut panel = self.target(expr, legend, format, "range");
        let targets = panel.model["targets"].as_array_mut();
        if let Some(target) = targets.and_then(|targets| targets.last_mut()) {
            target["exemplar"] = json!(true);
        }
        panel
    }

    /// A query at the end of the range.
    pub fn instant(self, expr: &str, legend: &str) -> Self {
        self.target(expr, legend, "time_series", "instant")
    }

    /// A query at the end of the range, its labels as columns.
    pub fn rows(self, expr: &str) -> Self {
        self.target(expr, "", "table", "instant")
    }

    fn target(mut self, expr: &str, legend: &str, format: &str, when: &str) -> Self {
        let targets = self.model["targets"].as_array_mut().expect("only a row has no targets, and a row asks nothing");
        let letter = u8::try_from(targets.len()).expect("a panel has few queries") + b'A';
        targets.push(json!({
            "refId": char::from(letter).to_string(),
            "datasource": datasource(),
            "expr": expr,
            "legendFormat": legend,
            "format": format,
            "range": when == "range",
            "instant": when == "instant",
        }));
        self
    }

    /// The panel as Grafana reads it, without its place.
    pub fn into_model(self) -> Value {
        self.model
    }
}
