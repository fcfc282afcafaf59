//! Who may change anything: keys of the configuration, compared in constant time, each with its own rate.

use std::num::NonZero;

use axum::http::{HeaderMap, StatusCode, header};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::problem::Refusal;
use crate::config::ApiKey;

/// Requests a second that one key may make for long, and at once.
const RATE: (NonZero<u32>, NonZero<u32>) = (NonZero::new(50).unwrap(), NonZero::new(200).unwrap());

/// The same for all requests without a good key together.
const STRANGERS: (NonZero<u32>, NonZero<u32>) = (NonZero::new(10).unwrap(), NonZero::new(20).unwrap());

/// The keys.
pub struct Access {
    keys: Vec<Holder>,
    strangers: DefaultDirectRateLimiter,
}

/// Who holds a key.
pub struct Holder {
    key: ApiKey,
    rate: DefaultDirectRateLimiter,
}

impl Holder {
    /// True when the key is for this upstream.
    pub fn may(&self, upstream: &str) -> bool {
        self.key.is_for(upstream)
    }
}

fn limiter((rate, burst): (NonZero<u32>, NonZero<u32>)) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
}

impl Access {
    /// By these keys.
    pub fn new(keys: &[ApiKey]) -> Self {
        let holder = |key: &ApiKey| Holder { key: key.clone(), rate: limiter(RATE) };
        Self { keys: keys.iter().map(holder).collect(), strangers: limiter(STRANGERS) }
    }

    /// Whose key a request carries.
    pub async fn check(&self, headers: &HeaderMap) -> Result<&Holder, Refusal> {
        if self.keys.is_empty() {
            let why = "nobody may change tasks here: api.authorization is not configured";
            return Err(Refusal::new(StatusCode::FORBIDDEN, why));
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let mut found = None;
        // All of them, so that the time tells nothing about which one it is.
        for holder in &self.keys {
            let is_it = holder.key.key.get().await.is(given.unwrap_or_default());
            found = if is_it && given.is_some() { Some(holder) } else { found };
        }
        let rate = found.map_or(&self.strangers, |holder| &holder.rate);
        if rate.check().is_err() {
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").after(1));
        }
        found.ok_or_else(|| {
            Refusal::new(StatusCode::UNAUTHORIZED, "a key of api.authorization is needed: Authorization: Bearer KEY")
        })
    }
}
