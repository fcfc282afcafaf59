//! Public keys that a provider publishes as a JSON Web Key Set (RFC 7517).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::Client;
use super::error::SendError;
use super::request::Request;
use crate::clock;
use crate::domain::Reason;

/// How long keys are used before they are read again.
const VALIDITY: Duration = Duration::from_hours(24);

/// How soon keys may be read again because a signature fits none of them, or because they could not be read.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// Most keys that are used.
const MAX_KEYS: usize = 32;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519 (RFC 8037): the point.
    Ed25519(Vec<u8>),
    /// RSA: modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
}

/// The key set of one provider.
pub struct KeySet {
    client: Arc<Client>,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    keys: Arc<[PublicKey]>,
    /// When they were read.
    read_at: Option<Instant>,
    /// When it was last tried.
    tried_at: Option<Instant>,
}

impl KeySet {
    /// Of the document that this client reads.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, cached: Mutex::default() }
    }

    /// The keys; `are_stale` when a signature fits none of those that were returned before. They are read at most once a minute.
    /// While that fails, the last good ones are returned, or none.
    pub async fn keys(&self, are_stale: bool) -> Arc<[PublicKey]> {
        let mut cached = self.cached.lock().await;
        let now = clock::instant();
        let is_older = |at: Option<Instant>, age| at.is_none_or(|at| now.saturating_duration_since(at) >= age);
        if is_older(cached.tried_at, RETRY_AFTER) && (are_stale || is_older(cached.read_at, VALIDITY)) {
            cached.tried_at = Some(now);
            match self.read().await {
                Ok(keys) => (cached.keys, cached.read_at) = (keys, Some(now)),
                Err(error) => {
                    let host = self.client.options().host().unwrap_or_default();
                    tracing::warn!(host, %error, "keys for callbacks cannot be read");
                }
            }
        }
        cached.keys.clone()
    }

    async fn read(&self) -> Result<Arc<[PublicKey]>, SendError> {
        let response = self.client.send(&Request::get([]), None).await?;
        if response.status != 200 {
            return Err(SendError::new(Reason::HttpOther, format!("HTTP {}", response.status)));
        }
        let no_keys = || SendError::new(Reason::InvalidBody, "not a JSON Web Key Set with usable keys");
        parse(&response.body?).filter(|keys| !keys.is_empty()).ok_or_else(no_keys)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// The keys of a document, without those of other kinds.
fn parse(body: &[u8]) -> Option<Arc<[PublicKey]>> {
    let document: Document = serde_json::from_slice(body).ok()?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty());
    let key = |key: Key| match (&*key.kty, &*key.crv) {
        ("OKP", "Ed25519") => Some(PublicKey::Ed25519(decode(&key.x)?)),
        ("RSA", _) => Some(PublicKey::Rsa(decode(&key.n)?, decode(&key.e)?)),
        _ => None,
    };
    Some(document.keys.into_iter().filter_map(key).take(MAX_KEYS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_two_kinds_are_read_and_others_ignored() {
        let body = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQI="},{"kty":"EC","crv":"P-256","x":"AQ"},{"kty":"RSA","n":"AQI","e":"AQAB"}]}"#;
        let keys = parse(body).unwrap();
        assert_eq!(*keys, [PublicKey::Ed25519(vec![1, 2]), PublicKey::Rsa(vec![1, 2], vec![1, 0, 1])]);
        assert!(parse(b"{}").is_none() && parse(br#"{"keys":[]}"#).unwrap().is_empty());
    }
}
