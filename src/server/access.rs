//! Authorization: API keys and webhook secrets, compared in constant time, while their client has not failed too often.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use super::client::Client;
use super::error::HttpError;
use super::log_interval::LogInterval;
use super::login::{Busy, Logins, Memory};
use super::rates::{Attempt, Rates};
use super::web::Users;
use crate::clock;
use crate::config::{ApiKey, Scope};
use crate::metrics::{AuthFailure, Metrics};
use crate::secret::Secret;

/// Longest key that is compared, in bytes.
const MAX_KEY: usize = 4096;

/// Requests a second and burst of one key.
const KEY_RATE: (u32, u32) = (50, 200);

/// Failed requests a second and burst of one client.
const FAILURE_RATE: (u32, u32) = (10, 20);

/// Rates of keys and clients. They live as long as the program, so that a reload does not reset them.
pub struct Access {
    keys: Rates<Arc<str>>,
    failures: Rates<Client>,
    logins: Logins,
    log: LogInterval,
    metrics: Arc<Metrics>,
}

/// The configured entries whose key a request has; one key may have several.
pub struct Permissions<'a>(Vec<&'a ApiKey>);

impl Permissions<'_> {
    /// The first that may change tasks of an upstream.
    pub fn writer_for(&self, upstream: &str) -> Option<&ApiKey> {
        self.entries().find(|key| key.may(Scope::Write) && key.is_for(upstream))
    }

    /// Whether some entry is for every upstream.
    pub fn have_every_upstream(&self) -> bool {
        self.entries().any(|key| key.upstreams.is_empty())
    }

    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.iter().copied()
    }
}

impl Access {
    /// Nobody has failed yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let (keys, failures) = (Rates::new(KEY_RATE.0, KEY_RATE.1), Rates::new(FAILURE_RATE.0, FAILURE_RATE.1));
        Self { keys, failures, logins: Logins::new(), log: LogInterval::default(), metrics }
    }

    /// The permissions of a request, by its key.
    ///
    /// # Errors
    /// 401 without a known key; 429, whatever the key, when the client has failed too often.
    pub async fn find_permissions<'a>(
        &self,
        keys: &'a [ApiKey],
        client: Client,
        headers: &HeaderMap,
    ) -> Result<Permissions<'a>, HttpError> {
        if keys.is_empty() {
            let message = "the API cannot change tasks: api.authorization is not configured; add a key to it";
            return Err(HttpError::new(StatusCode::FORBIDDEN, message));
        }
        let given = bearer_key(headers);
        let mut secrets = Vec::new();
        for entry in keys {
            secrets.push((entry, entry.key.get().await));
        }
        let reason = if given.is_some() { AuthFailure::Wrong } else { AuthFailure::Missing };
        let compare = || {
            // Every key is compared, so that the response time does not depend on which key matches.
            let is_equal = |secret: &Secret| given.is_some_and(|given| secret.matches(given));
            let found: Vec<_> = secrets.iter().filter(|(_, secret)| is_equal(secret)).map(|(key, _)| *key).collect();
            (!found.is_empty()).then_some(Permissions(found))
        };
        let message = "missing or unknown API key; send a key of api.authorization as `Authorization: Bearer KEY`";
        self.attempt(client, reason, compare, || HttpError::new(StatusCode::UNAUTHORIZED, message))
    }

    /// Checks the key of a request, and counts the request towards the rate limit of that key.
    ///
    /// # Errors
    /// As [`Access::find_permissions`]; 429 also when the key is used too often.
    pub async fn admit(&self, keys: &[ApiKey], client: Client, headers: &HeaderMap) -> Result<(), HttpError> {
        let permissions = self.find_permissions(keys, client, headers).await?;
        if !permissions.entries().any(|key| key.may(Scope::Write)) {
            self.report(client, AuthFailure::Scope);
            let message = "this API key may not change tasks: its entry in api.authorization lacks the scope write";
            return Err(HttpError::new(StatusCode::FORBIDDEN, message));
        }
        let names: BTreeSet<_> = permissions.entries().map(|key| &key.name).collect();
        if names.into_iter().all(|name| self.keys.take(name, clock::instant())) {
            return Ok(());
        }
        self.report(client, AuthFailure::RateLimited);
        Err(too_many_requests())
    }

    /// Checks a name and password.
    ///
    /// # Errors
    /// 401 when they are wrong; 429 when the client has failed too often, unless it has logged in with them before: a flood of
    /// somebody behind the same address must not lock it out; 503 when too many passwords wait for their check.
    pub async fn check_login(&self, users: &Users, client: Client, login: (&str, &str)) -> Result<(), HttpError> {
        let memory = self.logins.recall(users, client, login);
        if memory == Memory::RightOfClient {
            return Ok(());
        }
        // A check takes long: its failure is counted before, so that many at once do not exceed the rate.
        if !self.failures.take(&client, clock::instant()) {
            self.report(client, AuthFailure::RateLimited);
            return Err(too_many_requests());
        }
        let is_right = match memory {
            Memory::Right | Memory::RightOfClient => {
                self.logins.remember_client(users, client, login);
                true
            }
            Memory::Wrong => false,
            Memory::Unknown => self.logins.check(users, client, login).await.map_err(|Busy| {
                self.failures.give_back(&client);
                let message = "too many passwords are being checked; retry after one second";
                HttpError::new(StatusCode::SERVICE_UNAVAILABLE, message).with_retry_after(1)
            })?,
        };
        if !is_right {
            self.report(client, AuthFailure::Wrong);
            return Err(HttpError::new(StatusCode::UNAUTHORIZED, "wrong name or password"));
        }
        self.failures.give_back(&client);
        Ok(())
    }

    /// Compares a webhook secret; `None` where there is none.
    ///
    /// # Errors
    /// 404 for a wrong secret, as for an unknown path; 429, whatever the secret, when the client has failed too often.
    pub fn check_webhook(&self, client: Client, secret: Option<&Secret>, given: &str) -> Result<(), HttpError> {
        let compare = || secret.is_some_and(|secret| secret.matches(given)).then_some(());
        self.attempt(client, AuthFailure::Wrong, compare, HttpError::unknown_path)
    }

    /// Refuses a callback with a wrong signature.
    ///
    /// # Errors
    /// 401 for a wrong signature; 429 when the client has failed too often.
    pub fn check_signature(&self, client: Client, is_valid: bool) -> Result<(), HttpError> {
        let wrong = || HttpError::new(StatusCode::UNAUTHORIZED, "the signature of the callback is not valid");
        self.attempt(client, AuthFailure::Wrong, || is_valid.then_some(()), wrong)
    }

    fn attempt<T>(
        &self,
        client: Client,
        reason: AuthFailure,
        compare: impl FnOnce() -> Option<T>,
        error: impl FnOnce() -> HttpError,
    ) -> Result<T, HttpError> {
        match self.failures.attempt(&client, clock::instant(), compare) {
            Attempt::Passed(found) => Ok(found),
            Attempt::Failed => {
                self.report(client, reason);
                Err(error())
            }
            Attempt::Refused => {
                self.report(client, AuthFailure::RateLimited);
                Err(too_many_requests())
            }
        }
    }

    /// Counts a failure and, now and then, logs it.
    pub fn report(&self, client: Client, reason: AuthFailure) {
        self.metrics.server.auth_failed(reason);
        if self.log.is_due(clock::instant()) {
            let reason = reason.as_str();
            tracing::warn!(client.address = %client, reason, "request not authorized; more of them are only counted for a minute");
        }
    }
}

/// The key of a request; `None` for another kind of login, such as that of a proxy, and for a key that is longer than any.
pub fn bearer_key(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && key.len() <= MAX_KEY).then_some(key.trim())
}

fn too_many_requests() -> HttpError {
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; retry after one second").with_retry_after(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Clock;
    use crate::config::MetricsConfig;
    use crate::secret::SecretSource;
    use crate::telemetry::LogCounts;

    fn api_key(folder: &std::path::Path) -> ApiKey {
        let file = folder.join("key");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        let key = Arc::new(SecretSource::from_file(&file).ok().unwrap());
        ApiKey {
            name: "key".into(),
            key,
            upstreams: Vec::new(),
            scopes: vec![Scope::Write],
            labels: BTreeMap::new(),
            max_tasks: 1,
        }
    }

    fn access() -> Access {
        let metrics = Metrics::new(&MetricsConfig::default(), LogCounts::default(), Clock::default()).unwrap();
        Access::new(Arc::new(metrics))
    }

    #[test]
    fn a_right_webhook_secret_is_refused_during_a_flood_and_only_there() {
        let (access, secret) = (access(), Secret::new("0123456789abcdef").ok().unwrap());
        let client = |last| Client::new([192, 0, 2, last].into());
        let check = |last, given| access.check_webhook(client(last), Some(&secret), given).err();
        assert!(check(1, "0123456789abcdef").is_none());
        // On a slow machine the rate recovers a little.
        let mut flood = (0..1000).map(|_| (check(1, "wrong"), check(1, "0123456789abcdef")));
        let refused = flood.find_map(|(_, right)| right).expect("a right secret is told apart during a flood");
        assert!(format!("{refused:?}").contains("429"), "{refused:?}");
        assert!(check(2, "0123456789abcdef").is_none(), "another address");
        let not_found = access.check_webhook(client(2), None, "x").unwrap_err();
        assert_eq!(format!("{not_found:?}"), format!("{:?}", HttpError::unknown_path()));
    }

    #[tokio::test]
    async fn rates_continue_when_the_keys_are_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let access = access();
        let client = Client::new([192, 0, 2, 1].into());
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer 0123456789abcdef".parse().unwrap());
        let mut refused = 0;
        // Each round has keys of another reload. On a slow machine the rate recovers a little.
        for _ in 0..100 * KEY_RATE.1 {
            let keys = [api_key(folder.path())];
            refused += u32::from(access.admit(&keys, client, &headers).await.is_err());
            if refused > 0 {
                break;
            }
        }
        assert!(refused > 0, "a reload resets the rate of a key");
    }
}
