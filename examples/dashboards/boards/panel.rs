//! One panel: its queries and its display options.

use serde_json::{Value, json};

use super::values::{CLASS_COLORS, STATUS_COLORS, by_name, datasource, link, short_names, thresholds};

/// A panel under construction; [`super::grafana`] places it on the grid.
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

    /// A title line for the panels below it.
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

    /// Width and height in grid units. A wide graph has its legend on the right.
    pub fn size(mut self, width: u64, height: u64) -> Self {
        if self.model["type"] == "timeseries" {
            let side = if width < 12 { "bottom" } else { "right" };
            self.model["options"]["legend"]["placement"] = json!(side);
        }
        Self { width, height, ..self }
    }

    /// The shortest step. Rare events look like noise with shorter steps.
    pub fn every(mut self, step: &str) -> Self {
        self.model["interval"] = json!(step);
        self
    }

    /// The end of the axis, unless a value is higher.
    pub fn soft_max(mut self, max: f64) -> Self {
        self.model["fieldConfig"]["defaults"]["custom"]["axisSoftMax"] = json!(max);
        self
    }

    /// Shows a stat without color, for values that are neither good nor bad.
    pub fn plain(mut self) -> Self {
        self.model["options"]["colorMode"] = json!("none");
        self.thresholds(&[(None, "text")])
    }

    /// Puts the legend below the graph, because task ids are long.
    pub fn legend_below(mut self) -> Self {
        self.model["options"]["legend"]["placement"] = json!("bottom");
        self
    }

    /// The unit of the values.
    pub fn unit(self, unit: &str) -> Self {
        self.default("unit", &json!(unit))
    }

    /// The top of the axis or gauge.
    pub fn max(self, max: f64) -> Self {
        self.default("max", &json!(max))
    }

    /// Digits after the decimal point.
    pub fn decimals(self, decimals: u8) -> Self {
        self.default("decimals", &json!(decimals))
    }

    /// Colors by value.
    pub fn thresholds(self, steps: &[(Option<f64>, &str)]) -> Self {
        self.default("thresholds", &thresholds(steps))
    }

    /// A dashed line at `limit`, where an alert fires.
    pub fn limit(mut self, limit: f64) -> Self {
        self.model["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] = json!("dashed");
        self.thresholds(&[(None, "transparent"), (Some(limit), "red")])
    }

    /// Dashed lines at `limit` and `-limit`. The soft limits of the axis keep noise small.
    pub fn limits(mut self, limit: f64) -> Self {
        let defaults = &mut self.model["fieldConfig"]["defaults"];
        defaults["min"].take();
        defaults["custom"]["axisSoftMin"] = json!(-limit / 3.0);
        defaults["custom"]["axisSoftMax"] = json!(limit / 3.0);
        defaults["custom"]["thresholdsStyle"]["mode"] = json!("dashed");
        self.thresholds(&[(None, "red"), (Some(-limit), "transparent"), (Some(limit), "red")])
    }

    /// Words that replace some numbers.
    pub fn mappings(self, mappings: &Value) -> Self {
        self.default("mappings", mappings)
    }

    /// The text without data.
    pub fn no_value(self, text: &str) -> Self {
        self.default("noValue", &json!(text))
    }

    /// The link of each value.
    pub fn link(self, title: &str, url: &str) -> Self {
        self.default("links", &json!([link(title, url)]))
    }

    /// Shows the name of the series instead of its value.
    pub fn names_only(mut self) -> Self {
        self.model["options"]["textMode"] = json!("name");
        self
    }

    /// Shows the name of the series beside its value, also of a single one.
    pub fn with_names(mut self) -> Self {
        self.model["options"]["textMode"] = json!("value_and_name");
        self
    }

    /// Gives each series that is named like a status the color of that status.
    pub fn colored_by_status(self) -> Self {
        self.colored_by_name(&STATUS_COLORS)
    }

    /// Shows every series in a shade of red.
    pub fn in_red(self) -> Self {
        self.default("color", &json!({"mode": "shades", "fixedColor": "red"}))
    }

    /// Gives each series that is named like a failure class a color that says who has to act.
    pub fn colored_by_class(self) -> Self {
        self.colored_by_name(&CLASS_COLORS)
    }

    fn colored_by_name(mut self, colors: &[(&str, &str)]) -> Self {
        let overrides = colors
            .iter()
            .map(|(status, color)| {
                let color = json!({"mode": "fixed", "fixedColor": color});
                by_name(status, &[("color", color)])
            })
            .collect();
        self.model["fieldConfig"]["overrides"] = Value::Array(overrides);
        self
    }

    /// Overrides for the columns of a table.
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

    /// The initial sort order of a table: columns, and whether descending.
    pub fn sorted_by(mut self, columns: &[(&str, bool)]) -> Self {
        let order: Vec<Value> =
            columns.iter().map(|(column, descending)| json!({"displayName": column, "desc": descending})).collect();
        self.model["options"]["sortBy"] = Value::Array(order);
        self
    }

    /// Joins the queries of a table, and shows the named columns in this order.
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

    /// A range query.
    pub fn range(self, expr: &str, legend: &str) -> Self {
        self.target(expr, legend, "time_series", "range")
    }

    /// A range query with exemplars.
    pub fn exemplars(self, expr: &str, legend: &str, format: &str) -> Self {
        let mut panel = self.target(expr, legend, format, "range");
        let targets = panel.model["targets"].as_array_mut();
        if let Some(target) = targets.and_then(|targets| targets.last_mut()) {
            target["exemplar"] = json!(true);
        }
        panel
    }

    /// An instant query.
    pub fn instant(self, expr: &str, legend: &str) -> Self {
        self.target(expr, legend, "time_series", "instant")
    }

    /// An instant query with its labels as columns.
    pub fn rows(self, expr: &str) -> Self {
        self.target(expr, "", "table", "instant")
    }

    fn target(mut self, expr: &str, legend: &str, format: &str, when: &str) -> Self {
        if legend.contains("{{task_id}}") {
            self.model["transformations"] = short_names();
        }
        let targets =
            self.model["targets"].as_array_mut().expect("only rows have no targets, and rows have no queries");
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

    /// The JSON model, without `id` and `gridPos`.
    pub fn into_model(self) -> Value {
        self.model
    }
}
