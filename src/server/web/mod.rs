//! `--web.config.file`: TLS, logins, headers and a rate for the port, in the format of Prometheus's exporter-toolkit.

mod client_certs;
mod files;
mod settings;
mod source;
mod tls;
mod tls_names;
mod users;

pub use settings::WebConfig;
pub use source::WebSource;
pub use users::{PasswordHash, SLOW_COST, Users};
