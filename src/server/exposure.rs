//! What is unsafe about an address that other machines reach.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::listener::Listener;
use super::web::{WebConfig, WebSource};
use crate::config::{ApiKey, Scope};

/// Whether somebody who is not known can read.
pub fn is_readable_by_all(web: &WebConfig, keys: &[ApiKey]) -> bool {
    web.is_open() && !keys.iter().any(|key| key.may(Scope::Read))
}

/// What is unsafe about an address that other machines reach.
pub fn warnings_of_address(web: &WebConfig, keys: &[ApiKey]) -> impl Iterator<Item = &'static str> {
    let open = "anyone who can reach this address can read tasks, metrics and the configuration; give it logins with \
        --web.config.file, or an API key with scope read (docs/security.md)";
    let plain = "keys and passwords are sent to this address without TLS: whoever can read the traffic can read them";
    let has_plain_secrets = web.tls.is_none() && !(web.users.is_empty() && keys.is_empty());
    let found = [(open, is_readable_by_all(web, keys)), (plain, has_plain_secrets)];
    found.into_iter().filter(|(_, is_so)| *is_so).map(|(text, _)| text)
}

/// The addresses that other machines reach, and what was said of them.
pub struct Exposure {
    addresses: Vec<(String, Arc<WebSource>)>,
    said: BTreeSet<(usize, &'static str)>,
}

impl Exposure {
    /// Of these listeners.
    pub fn of(listeners: &[(Listener, Arc<WebSource>)]) -> Self {
        let exposed = listeners.iter().filter(|(listener, _)| !listener.is_local());
        let addresses = exposed.map(|(listener, web)| (listener.to_string(), web.clone())).collect();
        Self { addresses, said: BTreeSet::new() }
    }

    /// Logs what is unsafe with these keys, and was not said of the keys before.
    pub fn log(&mut self, keys: &[ApiKey]) {
        let mut found = BTreeSet::new();
        for (n, (address, web)) in self.addresses.iter().enumerate() {
            for warning in warnings_of_address(&web.current(), keys) {
                if !self.said.contains(&(n, warning)) {
                    tracing::warn!(address, "{warning}");
                }
                found.insert((n, warning));
            }
        }
        self.said = found;
    }
}
