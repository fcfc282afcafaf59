//! Signs the JSON Web Tokens (RFC 7519, HS256) that Kling's API requires.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::{Secret, SecretSource};

/// Validity of a token (docs/upstreams.md 7).
const LIFETIME: Duration = Duration::from_mins(30);

/// A token is valid from this long before its signing, to tolerate clock skew.
const CLOCK_LEEWAY: Duration = Duration::from_secs(5);

/// Age at which a new token is signed, before the old one expires.
const RENEW_AFTER: Duration = Duration::from_mins(25);

/// Signs tokens with two keys; reuses a token while it is valid.
pub struct Signer {
    access_key: Arc<SecretSource>,
    secret_key: Arc<SecretSource>,
    cached: Mutex<Option<CachedToken>>,
}

struct CachedToken {
    token: Secret,
    access_key: Secret,
    secret_key: Secret,
    signed_at: SystemTime,
}

impl Signer {
    /// With these keys.
    pub fn new(access_key: SecretSource, secret_key: SecretSource) -> Self {
        Self { access_key: Arc::new(access_key), secret_key: Arc::new(secret_key), cached: Mutex::default() }
    }

    /// A token that is valid at `now`. A new one is signed shortly before the last one expires, or after a key has changed.
    pub async fn token(&self, now: SystemTime) -> Secret {
        let (access_key, secret_key) = (self.access_key.get().await, self.secret_key.get().await);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let valid = cached.as_ref().filter(|cached| {
            // The age is unknown after the clock was set back; then sign a new token, too.
            let age = now.duration_since(cached.signed_at);
            age.is_ok_and(|age| age < RENEW_AFTER)
                && cached.access_key.expose() == access_key.expose()
                && cached.secret_key.expose() == secret_key.expose()
        });
        if let Some(cached) = valid {
            return cached.token.clone();
        }
        let token = sign(&access_key, &secret_key, now);
        *cached = Some(CachedToken { token: token.clone(), access_key, secret_key, signed_at: now });
        token
    }
}

fn sign(access_key: &Secret, secret_key: &Secret, now: SystemTime) -> Secret {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = serde_json::json!({
        "iss": access_key.expose(),
        "exp": (now + LIFETIME).as_secs(),
        "nbf": now.saturating_sub(CLOCK_LEEWAY).as_secs(),
    });
    Secret(encode_token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), secret_key.expose().as_bytes()).into())
}

/// Encodes a token: header, claims and signature as base64url, separated by dots (RFC 7515, section 7.1).
fn encode_token(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    #[test]
    fn a_token_has_the_compact_form_of_the_standard() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let token = encode_token("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", claims, &key);
        assert!(token.ends_with(".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "{token}");
    }
}
