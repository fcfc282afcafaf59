//! Authorization of requests that change tasks: API keys compared in constant time, with a rate limit for each.

use std::num::NonZero;

use axum::http::{HeaderMap, StatusCode, header};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::error::HttpError;
use crate::config::ApiKey;

/// Requests a second and burst of one key.
const KEY_RATE: (NonZero<u32>, NonZero<u32>) = (NonZero::new(50).unwrap(), NonZero::new(200).unwrap());

/// Requests a second and burst of all requests without a known key, together.
const UNAUTHORIZED_RATE: (NonZero<u32>, NonZero<u32>) = (NonZero::new(10).unwrap(), NonZero::new(20).unwrap());

/// The configured keys and their rate limits.
pub struct Access {
    keys: Vec<LimitedKey>,
    unauthorized: DefaultDirectRateLimiter,
}

/// A key with its rate limit.
struct LimitedKey {
    key: ApiKey,
    limiter: DefaultDirectRateLimiter,
}

/// The configured entries whose key a request carries; one key may have several.
pub struct Permissions<'a>(Vec<&'a LimitedKey>);

impl Permissions<'_> {
    /// Whether they include an upstream.
    pub fn has_upstream(&self, upstream: &str) -> bool {
        self.0.iter().any(|entry| entry.key.is_for(upstream))
    }
}

fn new_limiter((rate, burst): (NonZero<u32>, NonZero<u32>)) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
}

impl Access {
    /// Access with these keys.
    pub fn new(keys: &[ApiKey]) -> Self {
        let limited = |key: &ApiKey| LimitedKey { key: key.clone(), limiter: new_limiter(KEY_RATE) };
        Self { keys: keys.iter().map(limited).collect(), unauthorized: new_limiter(UNAUTHORIZED_RATE) }
    }

    /// The permissions of a request, by its key.
    pub async fn find_permissions(&self, headers: &HeaderMap) -> Result<Permissions<'_>, HttpError> {
        if self.keys.is_empty() {
            let message = "the API cannot change tasks: api.authorization is not configured; add a key to it";
            return Err(HttpError::new(StatusCode::FORBIDDEN, message));
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let mut found = Vec::new();
        // Every key is compared, so that the response time does not depend on which key matches.
        for entry in &self.keys {
            let is_equal = entry.key.key.get().await.matches(given.unwrap_or_default());
            found.extend((is_equal && given.is_some()).then_some(entry));
        }
        if found.is_empty() {
            let message = "missing or unknown API key; send a key of api.authorization as `Authorization: Bearer KEY`";
            return Err(HttpError::new(StatusCode::UNAUTHORIZED, message));
        }
        Ok(Permissions(found))
    }

    /// Checks the key of a request, and counts the request towards the rate limit of that key.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        match self.find_permissions(headers).await {
            Ok(Permissions(entries)) if entries.iter().all(|entry| entry.limiter.check().is_ok()) => Ok(()),
            Ok(_) => Err(too_many_requests()),
            Err(error) => Err(self.limit_unauthorized(error)),
        }
    }

    /// Returns the error, or 429 when there are too many of its kind: this slows down guessing of keys.
    pub fn limit_unauthorized(&self, error: HttpError) -> HttpError {
        if self.unauthorized.check().is_ok() { error } else { too_many_requests() }
    }
}

fn too_many_requests() -> HttpError {
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; retry after one second").with_retry_after(1)
}
