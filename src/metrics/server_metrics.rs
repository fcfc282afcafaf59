//! The metrics of the HTTP server.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::families;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// Why a request was not authorized.
    AuthFailure {
        /// It has no key.
        Missing = "missing",
        /// Its key or secret is not known.
        Wrong = "wrong",
        /// Its client has failed too often, or the key is used too often.
        RateLimited = "rate_limited",
        /// Its key is for other upstreams.
        Scope = "scope",
    }
}

/// The families of the HTTP server.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    auth_failures: IntCounterVec,
    accept_errors: IntCounter,
    /// Without a value until there is a web configuration.
    web_config: IntGaugeVec,
}

impl Default for ServerMetrics {
    /// Registered nowhere.
    fn default() -> Self {
        Self::register(&Registry::new()).expect("an empty registry takes every family")
    }
}

impl ServerMetrics {
    /// Registers all of them, each reason at 0.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let family = &families::AUTH_FAILURES;
        let auth_failures = IntCounterVec::new(Opts::new(family.name, family.help), &family.label_names())?;
        registry.register(Box::new(auth_failures.clone()))?;
        for reason in AuthFailure::ALL {
            auth_failures.with_label_values(&[reason.as_str()]);
        }
        let family = &families::ACCEPT_ERRORS;
        let accept_errors = IntCounter::new(family.name, family.help)?;
        registry.register(Box::new(accept_errors.clone()))?;
        let family = &families::WEB_CONFIG_RELOAD_SUCCESSFUL;
        let web_config = IntGaugeVec::new(Opts::new(family.name, family.help), &family.label_names())?;
        registry.register(Box::new(web_config.clone()))?;
        Ok(Self { auth_failures, accept_errors, web_config })
    }

    /// A connection could not be accepted.
    pub fn accept_failed(&self) {
        self.accept_errors.inc();
    }

    /// Whether the web configuration is in force as its files are now.
    pub fn web_config_checked(&self, is_current: bool) {
        self.web_config.with_label_values::<&str>(&[]).set(is_current.into());
    }

    /// A request was not authorized.
    pub fn auth_failed(&self, reason: AuthFailure) {
        self.auth_failures.with_label_values(&[reason.as_str()]).inc();
    }
}
