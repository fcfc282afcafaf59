//! What `/config` shows of a configuration: only what is listed here, so that a new key is not shown by accident.

use serde::Serialize;

use super::polling::PollingConfig;
use super::scalars::ConfigDuration;
use super::{ApiKey, Config, MetricsConfig, State, StuckConfig, TasksConfig, Upstream};

/// Names, hosts, intervals and limits. Paths, queries, statements, bodies, headers and ids are not shown: they may contain
/// secrets or data of customers.
#[derive(Debug, Serialize)]
pub struct ShownConfig<'a> {
    polling: &'a PollingConfig,
    tasks: &'a TasksConfig,
    metrics: &'a MetricsConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<ShownPricing<'a>>,
    state: &'static str,
    api: Vec<ShownApiKey<'a>>,
    upstreams: Vec<ShownUpstream<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownApiKey<'a> {
    /// Empty for all.
    upstreams: Vec<&'a str>,
    scopes: Vec<&'static str>,
    /// Names of the labels that its tasks have.
    labels: Vec<&'a str>,
    max_tasks: usize,
}

#[derive(Debug, Serialize)]
struct ShownPricing<'a> {
    currency: &'static str,
    rules: usize,
    budgets: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct ShownUpstream<'a> {
    name: &'a str,
    provider: &'static str,
    host: Option<String>,
    has_key: bool,
    has_webhook: bool,
    polling: PollingConfig,
    stuck: StuckConfig,
    /// Rules that its tasks may meet.
    price_rules: usize,
    /// How often its account is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<ConfigDuration>,
    static_tasks: usize,
    file_sources: Vec<ShownSource>,
    http_sources: Vec<ShownSource>,
    list_sources: Vec<ShownSource>,
    sql_sources: Vec<ShownSource>,
}

/// A source of task ids.
#[derive(Debug, Serialize)]
struct ShownSource {
    refresh_interval: ConfigDuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookback: Option<ConfigDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<ConfigDuration>,
}

impl Config {
    /// What may be shown.
    pub fn shown(&self) -> ShownConfig<'_> {
        let file = &self.file;
        let state = match self.state {
            State::Sqlite(_) => "sqlite",
            State::Memory => "memory",
        };
        ShownConfig {
            polling: &file.polling,
            tasks: &file.tasks,
            metrics: &file.metrics,
            pricing: self.pricing.as_ref().map(|pricing| ShownPricing {
                currency: pricing.currency.code(),
                rules: pricing.rules.len(),
                budgets: pricing.budgets.iter().map(|budget| &*budget.name).collect(),
            }),
            state,
            api: self.api.iter().map(ShownApiKey::new).collect(),
            upstreams: self.upstreams.iter().map(ShownUpstream::new).collect(),
        }
    }
}

impl<'a> ShownApiKey<'a> {
    fn new(key: &'a ApiKey) -> Self {
        Self {
            upstreams: key.upstreams.iter().map(|name| &**name).collect(),
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            labels: key.labels.keys().map(String::as_str).collect(),
            max_tasks: key.max_tasks,
        }
    }
}

impl<'a> ShownUpstream<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        let source = |interval| ShownSource {
            refresh_interval: ConfigDuration(interval),
            host: None,
            lookback: None,
            timeout: None,
        };
        let http = upstream.http_sources.iter();
        let lists = upstream.list_sources.iter();
        let sql = upstream.sql_sources.iter();
        Self {
            name: &upstream.name,
            provider: upstream.dialect.name(),
            host: upstream.client.options().host(),
            has_key: upstream.key.is_some(),
            has_webhook: upstream.webhook.is_some(),
            polling: upstream.polling.into(),
            stuck: upstream.stuck,
            price_rules: upstream.billing.pricing.as_ref().map_or(0, |pricing| pricing.rules.len()),
            balance: upstream.billing.balance.as_ref().map(|balance| ConfigDuration(balance.refresh_interval)),
            static_tasks: upstream.static_sources.iter().map(|group| group.tasks.len()).sum(),
            file_sources: upstream.file_sources.iter().map(|file| source(file.refresh_interval)).collect(),
            http_sources: http
                .map(|http| ShownSource { host: http.client.options().host(), ..source(http.refresh_interval) })
                .collect(),
            list_sources: lists
                .map(|list| ShownSource {
                    lookback: Some(ConfigDuration(list.lookback)),
                    ..source(list.refresh_interval)
                })
                .collect(),
            sql_sources: sql
                .map(|sql| ShownSource { timeout: Some(ConfigDuration(sql.timeout)), ..source(sql.refresh_interval) })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn only_names_hosts_intervals_and_limits_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("S3CRET.key"), "0123456789abcdef").unwrap();
        let text = "state: {sqlite: {path: S3CRET.db}}\n\
            api: {authorization: [{credentials_file: S3CRET.key, upstreams: [own]}]}\n\
            upstreams:\n- name: own\n  provider: custom\n  base_url: 'https://api.example.com:8443/S3CRET'\n  \
            authorization: {credentials_file: S3CRET.key}\n  proxy_url: 'http://S3CRET:x@proxy.example'\n  \
            request: {method: POST, path: '/S3CRET/{task_id}', body: '{\"a\": \"S3CRET {task_id}\"}', headers: {X-S3CRET: S3CRET}}\n  \
            response: {fields: {status: /S3CRET}, statuses: {queued: [S3CRET]}}\n  \
            static_configs: [{targets: [S3CRET, b], labels: {team: S3CRET}}]\n  \
            file_sd_configs: [{files: [S3CRET.json], refresh_interval: 7s}]\n  \
            http_sd_configs: [{url: 'https://ids.example.com/S3CRET?x=S3CRET'}]\n  \
            sql_sd_configs: [{url_file: S3CRET.key, query: 'select S3CRET', timeout: 9s}]\n";
        let config = parse(text, &folder.path().join("c.yml")).unwrap_or_else(|error| panic!("{error}"));
        let shown = serde_json::to_string(&config.shown()).unwrap();
        assert!(!shown.contains("S3CRET"), "{shown}");
        for part in [
            r#""host":"api.example.com:8443""#,
            r#""host":"ids.example.com""#,
            r#""static_tasks":2"#,
            r#""refresh_interval":"7s""#,
            r#""timeout":"9s""#,
            r#""max_tasks":100000"#,
            r#""state":"sqlite""#,
        ] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
    }
}
