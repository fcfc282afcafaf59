//! The kinds of panels, each with the options that all our panels of that kind share.

use serde_json::json;

use super::panel::Panel;

impl Panel {
    /// One number per series, colored by its thresholds.
    pub fn stat(title: &str, description: &str) -> Self {
        Self::new("stat", title, description).size(4, 4).default("color", &json!({"mode": "thresholds"})).options(
            &json!({
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "colorMode": "background", "graphMode": "none", "justifyMode": "auto",
                "textMode": "auto", "orientation": "auto", "wideLayout": true,
                "showPercentChange": false, "percentChangeColorMode": "standard",
                "text": {"titleSize": 14, "valueSize": 26},
            }),
        )
    }

    /// Lines over time.
    pub fn lines(title: &str, description: &str) -> Self {
        Self::new("timeseries", title, description)
            .default("color", &json!({"mode": "palette-classic"}))
            .default("min", &json!(0))
            .default(
                "custom",
                &json!({
                    "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never",
                    "spanNulls": false, "stacking": {"mode": "none", "group": "A"},
                    "thresholdsStyle": {"mode": "off"},
                }),
            )
            .options(&json!({
                "legend": {
                    "displayMode": "table", "placement": "right", "showLegend": true,
                    "calcs": ["lastNotNull", "max"], "sortBy": "Last *", "sortDesc": true,
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }))
    }

    /// Stacked areas over time.
    pub fn stacked(title: &str, description: &str) -> Self {
        let mut panel = Self::lines(title, description);
        let custom = &mut panel.model["fieldConfig"]["defaults"]["custom"];
        custom["stacking"]["mode"] = json!("normal");
        custom["fillOpacity"] = json!(30);
        panel
    }

    /// Stacked bars over time, for rare events.
    pub fn bars(title: &str, description: &str) -> Self {
        let mut panel = Self::stacked(title, description);
        let custom = &mut panel.model["fieldConfig"]["defaults"]["custom"];
        custom["drawStyle"] = json!("bars");
        custom["fillOpacity"] = json!(70);
        panel
    }

    /// Buckets of a histogram over time.
    pub fn heatmap(title: &str, description: &str) -> Self {
        Self::new("heatmap", title, description)
            .default(
                "custom",
                &json!({
                    "hideFrom": {"legend": false, "tooltip": false, "viz": false},
                    "scaleDistribution": {"type": "linear"},
                }),
            )
            .options(&json!({
                "calculate": false,
                "yAxis": {"axisPlacement": "left", "unit": "s"},
                "rowsFrame": {"layout": "auto"},
                "color": {
                    "mode": "scheme", "scheme": "Oranges", "fill": "dark-orange",
                    "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false,
                },
                "cellGap": 1,
                "filterValues": {"le": 1e-9},
                "tooltip": {"mode": "single", "yHistogram": true, "showColorScale": false},
                "legend": {"show": true},
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "showValue": "never",
                "cellValues": {},
            }))
    }

    /// One horizontal bar per series.
    pub fn bar_gauge(title: &str, description: &str) -> Self {
        Self::new("bargauge", title, description)
            .default("color", &json!({"mode": "thresholds"}))
            .default("min", &json!(0))
            .options(&json!({
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true,
                "valueMode": "color", "namePlacement": "auto", "sizing": "auto",
                "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 40,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []},
            }))
    }

    /// The states of each series over time, as colored stripes.
    pub fn state_timeline(title: &str, description: &str) -> Self {
        Self::new("state-timeline", title, description)
            .default("color", &json!({"mode": "palette-classic"}))
            .default("custom", &json!({"lineWidth": 0, "fillOpacity": 80}))
            .options(&json!({
                "mergeValues": true, "showValue": "auto", "alignValue": "left",
                "rowHeight": 0.9, "perPage": 20,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
                "tooltip": {"mode": "single", "sort": "none"},
            }))
    }

    /// A table over the whole width, one row per series.
    pub fn table(title: &str, description: &str) -> Self {
        Self::new("table", title, description)
            .size(24, 8)
            .unit("short")
            .default(
                "custom",
                &json!({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": false, "minWidth": 80}),
            )
            .options(&json!({"showHeader": true, "cellHeight": "sm", "sortBy": []}))
    }
}
