//! `upstreams:` — the gateways and providers to poll: address, key, task sources.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::authorization::AuthorizationConfig;
use super::basic_auth::BasicAuthConfig;
use super::billing::{BalanceConfig, QuotaPerUnitConfig, UpstreamBilling, UpstreamTasksConfig};
use super::client_auth::ClientAuth;
use super::discovery::{HttpSdConfig, HttpSourceSettings, SqlSdConfig, SqlSourceSettings};
use super::http::{ClientConfig, ProxyConfig, ProxyUrl, TlsConfig};
use super::likely_mistakes::UpstreamParts;
use super::list::{ListConfig, ListSourceSettings};
use super::oauth2::OAuth2Config;
use super::polling::{BodyLimits, Polling, PollingConfig};
use super::pricing::PriceList;
use super::problem::Problems;
use super::request::{RequestConfig, ResponseConfig};
use super::scalars::Text;
use super::schema_parts::words;
use super::sources::{FileSdConfig, FileSourceSettings, StaticSourceSettings, TargetGroup};
use super::tasks::StuckConfig;
use super::webhook::{Webhook, WebhookConfig};
use crate::domain::labels::sanitize;
use crate::domain::{Answer, TaskId};
use crate::files;
use crate::http::{Client, Credentials, Proxy};
use crate::provider::{self, Dialect, Provider};

/// A gateway or provider whose tasks are polled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The `upstream` label; unique.
    pub name: Text,
    /// The provider, which decides how requests and answers look.
    #[schemars(schema_with = "providers")]
    pub provider: Text,
    /// Base URL: the root, without /v1 (ark: with /api/v3). Without it, the provider's own.
    #[serde(default)]
    pub base_url: Option<Text>,
    /// The key for its API.
    #[serde(default)]
    pub authorization: Option<AuthorizationConfig>,
    /// A user name and a password, instead of `authorization`.
    #[serde(default)]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Tokens of a token endpoint, instead of `authorization`.
    #[serde(default)]
    pub oauth2: Option<OAuth2Config>,
    /// The model of tasks whose responses name none.
    #[serde(default)]
    pub model: Text,
    /// Overrides of the provider's requests.
    #[serde(default)]
    pub request: Option<RequestConfig>,
    /// How responses are read, and the classes of error codes.
    #[serde(default)]
    pub response: Option<ResponseConfig>,
    /// How callbacks of the provider are accepted.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// TLS settings.
    #[serde(default)]
    pub tls_config: Option<TlsConfig>,
    /// Proxy URL; it may contain a password.
    #[serde(default)]
    pub proxy_url: Option<ProxyUrl>,
    /// Hosts that are reached without the proxy.
    #[serde(default)]
    pub no_proxy: Option<Text>,
    /// User and password of the proxy.
    #[serde(default)]
    pub proxy_authorization: Option<BasicAuthConfig>,
    /// Overrides of `polling:` for this upstream.
    #[serde(default)]
    pub polling: PollingConfig,
    /// Task ids in this file.
    #[serde(default)]
    pub static_configs: Vec<TargetGroup>,
    /// Files of task ids.
    #[serde(default)]
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Servers that return task ids.
    #[serde(default)]
    pub http_sd_configs: Vec<HttpSdConfig>,
    /// The provider's own lists of tasks.
    #[serde(default)]
    pub list_configs: Vec<ListConfig>,
    /// Databases with task ids.
    #[serde(default)]
    pub sql_sd_configs: Vec<SqlSdConfig>,
    /// Overrides of `tasks:` for this upstream.
    #[serde(default)]
    pub tasks: UpstreamTasksConfig,
    /// How many of a new-api gateway's units are one unit of money: `auto`, or a value and a currency.
    #[serde(default)]
    pub quota_per_unit: Option<QuotaPerUnitConfig>,
    /// How the balance of the account is read.
    #[serde(default)]
    pub balance: Option<BalanceConfig>,
}

fn providers(_: &mut SchemaGenerator) -> Schema {
    words(provider::PROVIDERS.iter().map(|provider| provider.name))
}

/// A checked upstream.
#[derive(Clone)]
pub struct Upstream {
    /// The `upstream` label.
    pub name: Arc<str>,
    /// The dialect of its API.
    pub dialect: Arc<Dialect>,
    /// Its HTTP client.
    pub client: Arc<Client>,
    /// The key for its API.
    pub key: Option<Credentials>,
    /// The model of tasks whose responses name none.
    model: Option<Arc<str>>,
    /// How callbacks are checked.
    pub webhook: Option<Arc<Webhook>>,
    /// Poll intervals and rate limits.
    pub polling: Polling,
    /// Task ids in the configuration, in file order.
    pub static_sources: Vec<StaticSourceSettings>,
    /// Files of task ids, in file order.
    pub file_sources: Vec<FileSourceSettings>,
    /// `http_sd` servers, in file order.
    pub http_sources: Vec<HttpSourceSettings>,
    /// The upstream's own task lists, in file order.
    pub list_sources: Vec<ListSourceSettings>,
    /// Databases of task ids, in file order.
    pub sql_sources: Vec<SqlSourceSettings>,
    /// When its tasks are stuck.
    pub stuck: StuckConfig,
    /// What its tasks cost and are charged.
    pub billing: Arc<UpstreamBilling>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("provider", &self.dialect.name())
            .finish_non_exhaustive()
    }
}

/// Most idle connections to all upstreams together. Where only few files may be open it is a quarter of those.
const MAX_IDLE: usize = 1024;

/// Which part of the open files idle connections may take.
const IDLE_SHARE: u64 = 4;

/// What upstreams inherit from other sections.
pub struct Defaults<'a> {
    /// `polling:`, checked.
    pub polling: &'a Polling,
    /// `polling:` as written.
    pub polling_config: &'a PollingConfig,
    /// `tasks.stuck:`.
    pub stuck: StuckConfig,
    /// `pricing:`.
    pub pricing: Option<&'a PriceList>,
}

/// Checks all entries. The result is complete only when no problem was added.
pub fn check_all(
    entries: &[UpstreamConfig],
    defaults: &Defaults<'_>,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Upstream> {
    let few_files = usize::try_from(files::descriptor_limit() / IDLE_SHARE).unwrap_or(MAX_IDLE);
    // With very many upstreams none is kept.
    let max_idle = MAX_IDLE.min(few_files) / entries.len().max(1);
    let mut names = BTreeMap::new();
    let mut upstreams = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let at = format!("upstreams.{n}");
        if let Some(first) = names.insert(entry.name.0.as_str(), n) {
            problems.add(format!("{at}.name"), format!("upstreams.{first} has the same name; names must be unique"));
        }
        upstreams.extend(entry.check(&at, defaults, folder, max_idle, problems));
    }
    upstreams
}

impl Upstream {
    /// The configured model of tasks whose responses name none.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The model of a task whose response names none: the configured one, or that in its id.
    pub fn model_of<'a>(&'a self, id: &'a TaskId) -> Option<&'a str> {
        self.model.as_deref().or_else(|| self.dialect.model_of_id(id))
    }

    /// Whether reading a task with this answer alone changes it at its gateway: by the answer, or by a model of Google's.
    pub fn is_read_with_effect(&self, id: &TaskId, answer: &Answer) -> bool {
        let model = || answer.told_model().or_else(|| self.model_of(id));
        answer.read_has_side_effect
            || self.dialect.is_new_api() && model().is_some_and(|model| model.starts_with("veo"))
    }
}

impl UpstreamConfig {
    fn check(
        &self,
        at: &str,
        defaults: &Defaults<'_>,
        folder: &Path,
        max_idle: usize,
        problems: &mut Problems,
    ) -> Option<Upstream> {
        if self.name.0.is_empty() || sanitize(&self.name.0) != self.name.0.as_str() {
            problems
                .add(format!("{at}.name"), "a name has 1 to 128 printable characters and is neither a URL nor a key");
        }
        let found = provider::by_name(&self.provider.0);
        if found.is_none() {
            problems.add(
                format!("{at}.provider"),
                format!("unknown provider; known providers: {}", provider::names_of(|_| true)),
            );
        }
        let has_large_bodies = found.is_some_and(|provider| provider.repeats_inputs);
        let limits = if has_large_bodies { BodyLimits::LARGE } else { BodyLimits::USUAL };
        let polling = self.polling.resolve(Some(defaults.polling_config), limits, &format!("{at}.polling"), problems);
        let polling = if problems.is_empty() { polling } else { *defaults.polling };
        let key = self.auth().check(at, found.and_then(|provider| provider.signs), folder, problems);
        let proxy = self.proxy().check(at, folder, problems);
        let dialect = found.and_then(|provider| self.build_dialect(provider, at, problems));
        let entries = self.static_configs.iter().enumerate();
        let static_sources: Vec<StaticSourceSettings> =
            entries.map(|(n, group)| group.check(&format!("{at}.static_configs.{n}"), problems)).collect();
        let entries = self.file_sd_configs.iter().enumerate();
        let file_sources =
            entries.map(|(n, entry)| entry.check(folder, &format!("{at}.file_sd_configs.{n}"), problems)).collect();
        let entries = self.http_sd_configs.iter().enumerate();
        let http_sources = entries
            .filter_map(|(n, entry)| entry.check(folder, &format!("{at}.http_sd_configs.{n}"), problems))
            .collect();
        let entries = self.sql_sd_configs.iter().enumerate();
        let sql_sources = entries
            .filter_map(|(n, entry)| entry.check(folder, &format!("{at}.sql_sd_configs.{n}"), problems))
            .collect();
        if !self.model.0.is_empty() && sanitize(&self.model.0) != self.model.0.as_str() {
            problems.add(
                format!("{at}.model"),
                "a model name has 1 to 128 printable characters and is neither a URL nor a key",
            );
        }
        if let Some(provider) = found {
            self.parts(provider).warn_of_likely_mistakes(at, problems);
        }
        let client = found
            .and_then(|provider| self.check_http(at, provider, (&polling, proxy.as_ref()), folder, max_idle, problems));
        let dialect = dialect?;
        let entries = self.list_configs.iter().enumerate();
        let list_sources = entries
            .map(|(n, entry)| entry.check(&dialect, key.as_ref(), folder, &format!("{at}.list_configs.{n}"), problems))
            .collect();
        let webhook = self.webhook.as_ref().and_then(|webhook| {
            webhook.check(
                &dialect,
                (self.tls_config.as_ref(), proxy.clone()),
                &format!("{at}.webhook"),
                folder,
                problems,
            )
        });
        for (n, group) in static_sources.iter().enumerate() {
            group.check_ids(&dialect, &format!("{at}.static_configs.{n}"), problems);
        }
        let stuck = self.tasks.stuck.resolve(defaults.stuck, &format!("{at}.tasks.stuck"), problems);
        let (quota, balance) = (self.quota_per_unit.as_ref(), self.balance.as_ref());
        let quota_per_unit = quota.and_then(|quota| quota.check(&dialect, &format!("{at}.quota_per_unit"), problems));
        let balance = balance.and_then(|balance| balance.check(&dialect, &format!("{at}.balance"), problems));
        let client = client?;
        let prices = |list: &PriceList| list.pricing(&self.name.0, &dialect, &client.options().base_url);
        let billing = UpstreamBilling {
            pricing: defaults.pricing.map(prices),
            budgets: defaults.pricing.map_or_else(Vec::new, |list| list.budgets.clone()),
            quota_per_unit,
            balance,
        };
        Some(Upstream {
            name: self.name.0.as_str().into(),
            dialect: Arc::new(dialect),
            client,
            stuck,
            billing: Arc::new(billing),
            key,
            model: Some(self.model.0.as_str()).filter(|model| !model.is_empty()).map(Into::into),
            webhook,
            polling,
            static_sources,
            file_sources,
            http_sources,
            list_sources,
            sql_sources,
        })
    }

    fn parts<'a>(&'a self, provider: &'a Provider) -> UpstreamParts<'a> {
        let request = self.request.as_ref();
        let has_auth = self.authorization.is_some() || self.basic_auth.is_some() || self.oauth2.is_some();
        UpstreamParts {
            provider,
            base_url: self.base_url.as_ref().map(|url| url.0.as_str()),
            path: request.and_then(|request| request.path.as_ref()).map(|path| path.0.as_str()),
            has_key: has_auth || self.tls_config.as_ref().is_some_and(|tls| tls.cert_file.is_some()),
        }
    }

    fn auth(&self) -> ClientAuth<'_> {
        ClientAuth {
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
            oauth2: self.oauth2.as_ref(),
        }
    }

    fn proxy(&self) -> ProxyConfig<'_> {
        ProxyConfig {
            url: self.proxy_url.as_ref(),
            no_proxy: self.no_proxy.as_ref(),
            authorization: self.proxy_authorization.as_ref(),
        }
    }

    fn build_dialect(&self, provider: &'static Provider, at: &str, problems: &mut Problems) -> Option<Dialect> {
        let before = problems.len();
        let mut overrides = self.request.clone().unwrap_or_default().check(&format!("{at}.request"), problems);
        overrides.custom_base_url = self.base_url.is_some();
        if let Some(response) = &self.response {
            let at = format!("{at}.response");
            overrides.failures = response.check_failures(&at, problems);
            if provider.is_custom() {
                overrides.response = Some(response.check(&at, problems));
            } else {
                for key in response.custom_keys() {
                    let message =
                        format!("provider {} reads its own responses; only `failures` may be given", provider.name);
                    problems.add(format!("{at}.{key}"), message);
                }
            }
        }
        if problems.len() > before {
            return None;
        }
        let dialect = Dialect::new(provider, overrides);
        let dialect = dialect.map_err(|error| problems.add(format!("{at}.{}", error.key), error.message)).ok()?;
        if dialect.needs_key() && self.authorization.is_none() {
            problems.add(format!("{at}.request.headers"), "{credentials} needs `authorization`, which is missing");
        }
        Some(dialect)
    }

    fn check_http(
        &self,
        at: &str,
        provider: &Provider,
        (polling, proxy): (&Polling, Option<&Proxy>),
        folder: &Path,
        max_idle: usize,
        problems: &mut Problems,
    ) -> Option<Arc<Client>> {
        let configured = self.base_url.as_ref().map(|url| url.0.as_str());
        let Some(base_url) = configured.or(provider.base_url) else {
            problems.add(at, format!("the key `base_url` is missing; provider {} has no default", provider.name));
            return None;
        };
        let client = ClientConfig {
            url: ("base_url", base_url),
            build: Client::new,
            tls: self.tls_config.as_ref(),
            proxy: proxy.cloned(),
            timeout: polling.timeout,
            max_body_size: polling.max_body_size,
            has_large_bodies: provider.repeats_inputs,
            max_idle,
        };
        client.check(at, folder, problems)
    }
}
