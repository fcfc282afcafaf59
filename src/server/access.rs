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
    holders: Vec<Holder>,
    strangers: DefaultDirectRateLimiter,
}

/// Who holds a key.
struct Holder {
    key: ApiKey,
    rate: DefaultDirectRateLimiter,
}

/// What a request may do: all that any entry with its key may.
pub struct Rights<'a>(Vec<&'a Holder>);

impl Rights<'_> {
    /// True when they are for this upstream, too.
    pub fn cover(&self, upstream: &str) -> bool {
        self.0.iter().any(|holder| holder.key.is_for(upstream))
    }
}

fn limiter((rate, burst): (NonZero<u32>, NonZero<u32>)) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
}

impl Access {
    /// By these keys.
    pub fn new(keys: &[ApiKey]) -> Self {
        let holder = |key: &ApiKey| Holder { key: key.clone(), rate: limiter(RATE) };
        Self { holders: keys.iter().map(holder).collect(), strangers: limiter(STRANGERS) }
    }

    /// What a request may do, by the key that it carries.
    pub async fn rights(&self, headers: &HeaderMap) -> Result<Rights<'_>, Refusal> {
        if self.holders.is_empty() {
            let why = "nobody may change tasks here: api.authorization is not configured";
            return Err(Refusal::new(StatusCode::FORBIDDEN, why));
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let mut found = Vec::new();
        // All of them, so that the time tells nothing about which one it is.
        for holder in &self.holders {
            let is_it = holder.key.key.get().await.is(given.unwrap_or_default());
            found.extend((is_it && given.is_some()).then_some(holder));
        }
        if found.is_empty() {
            let why = "a key of api.authorization is needed: Authorization: Bearer KEY";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, why));
        }
        Ok(Rights(found))
    }

    /// The same, and one more request towards the limit of this key.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.rights(headers).await {
            Ok(Rights(holders)) if holders.iter().all(|holder| holder.rate.check().is_ok()) => Ok(()),
            Ok(_) => Err(too_many()),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    /// This, or nothing but that there are too many of its kind: whoever guesses has to take their time.
    pub fn refuse(&self, refusal: Refusal) -> Refusal {
        if self.strangers.check().is_ok() { refusal } else { too_many() }
    }
}

fn too_many() -> Refusal {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").after(1)
}
