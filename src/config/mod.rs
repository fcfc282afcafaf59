//! The configuration file: one file a section, each with its check; every problem is told at once, with its place.

mod api;
mod authorization;
mod discovery;
mod http;
mod load;
mod metrics;
mod polling;
mod problem;
mod request;
mod sources;
mod state;
mod tasks;
mod upstream;
mod value;
mod yaml;

use serde::{Deserialize, Serialize};

pub use api::ApiKey;
pub use discovery::{HttpSource, ListSource, SqlSource};
pub use load::{ConfigError, load, parse};
pub use metrics::{MetricsConfig, PerTask, TaskStatusForm};
pub use polling::Polling;
pub use problem::{Place, Problem, Problems};
pub use sources::{FileSource, StaticSource, TargetGroup, group_label_problem};
pub use state::State;
pub use tasks::{CountSinceConfig, TasksConfig};
pub use upstream::{Upstream, UpstreamConfig};
pub use value::{Span, Text};
pub use yaml::from_text;

/// The file as written, with every default filled in.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// How often and how fast; each upstream may override it.
    pub polling: polling::PollingConfig,
    /// How long tasks are kept and which of them count.
    pub tasks: TasksConfig,
    /// What is shown.
    pub metrics: MetricsConfig,
    /// What survives a restart.
    pub state: state::StateConfig,
    /// Who may register tasks.
    pub api: api::ApiConfig,
    /// Who is asked.
    pub upstreams: Vec<UpstreamConfig>,
}

/// A configuration without a problem in it, ready to be run.
#[derive(Debug, Clone)]
pub struct Config {
    /// As written, for showing what is in force.
    pub file: File,
    /// Every upstream with what it inherits.
    pub upstreams: Vec<Upstream>,
    /// Who may register tasks.
    pub api: Vec<ApiKey>,
    /// Where what survives is kept.
    pub state: State,
}
