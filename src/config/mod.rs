//! The configuration file. One module for each section; all problems are reported at once, with line and key.

mod api;
mod authorization;
mod basic_auth;
mod billing;
mod client_auth;
mod discovery;
mod http;
mod lenient;
mod likely_mistakes;
mod list;
mod litellm;
mod load;
mod metrics;
mod oauth2;
mod polling;
mod price_rule;
mod price_scalars;
mod pricing;
mod problem;
mod request;
mod scalars;
mod schema;
mod schema_parts;
mod secret_reference;
mod shown;
mod sources;
mod state;
mod strict;
mod tasks;
mod upstream;
mod webhook;
mod yaml;
mod yaml_file;

use schemars::JsonSchema;
use serde::Deserialize;

pub use api::{ApiKey, Scope};
pub use billing::{Balance, CustomBalance, QuotaPerUnit, UpstreamBilling};
pub use discovery::{HttpSourceSettings, SqlSourceSettings};
pub use list::ListSourceSettings;
pub use load::{ConfigError, load, load_state, load_to_check, parse};
pub use metrics::{MetricsConfig, PerTask, TaskStatusForm};
pub use polling::{ByList, Polling};
pub use pricing::{PriceList, rules_of_model};
pub use problem::{Origin, Problem, Problems};
pub use scalars::{ConfigDuration, Text};
pub use schema::json_schema;
pub use shown::ShownConfig;
pub use sources::{FileSourceSettings, StaticSourceSettings, TargetGroup, group_label_problem};
pub use state::State;
pub use tasks::{CountSinceConfig, StuckConfig, TasksConfig};
pub use upstream::{Upstream, UpstreamConfig};
pub use webhook::Webhook;
pub use yaml::from_text;
pub use yaml_file::YamlFile;

/// Configuration of videogen-exporter. A missing key has its default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Poll intervals, rate limits and time-outs; an upstream can override each of them.
    pub polling: polling::PollingConfig,
    /// How long tasks are kept, and which tasks are counted.
    pub tasks: TasksConfig,
    /// Which series are exported.
    pub metrics: MetricsConfig,
    /// Where counters, tasks and known ids are kept over a restart: exactly one of `sqlite` and `memory`. The default is `sqlite`.
    pub state: state::StateConfig,
    /// Keys of the HTTP API.
    pub api: api::ApiConfig,
    /// What tasks cost. Without it, only costs that answers report are counted.
    pub pricing: Option<pricing::PricingConfig>,
    /// The gateways and providers whose tasks are polled.
    pub upstreams: Vec<UpstreamConfig>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, with all defaults of `polling`.
    pub file: File,
    /// The upstreams with inherited settings.
    pub upstreams: Vec<Upstream>,
    /// Keys of the registration API.
    pub api: Vec<ApiKey>,
    /// The state store.
    pub state: State,
    /// What tasks cost.
    pub pricing: Option<PriceList>,
    /// What is unsafe, and does not prevent a start.
    pub warnings: Vec<String>,
}

impl Config {
    /// The upstream of this name.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| *upstream.name == *name)
    }
}
