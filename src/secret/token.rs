//! Tokens that are signed here: JSON Web Tokens by HS256 (RFC 7515, RFC 7519), as Kling wants them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::{Secret, SecretSource};

/// How long a token is valid (docs/upstreams.md 7).
const LIFETIME: Duration = Duration::from_mins(30);

/// It is valid from a little earlier on, for clocks that are not quite alike.
const LEEWAY: Duration = Duration::from_secs(5);

/// From this age on a new one is signed: some minutes before the old one ends.
const RENEWAL: Duration = Duration::from_mins(25);

/// Two keys, and the token that was signed with them last.
pub struct Signer {
    access_key: Arc<SecretSource>,
    secret_key: Arc<SecretSource>,
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Secret,
    access_key: Secret,
    secret_key: Secret,
    signed: SystemTime,
}

impl Signer {
    /// Signs with these keys.
    pub fn new(access_key: SecretSource, secret_key: SecretSource) -> Self {
        Self { access_key: Arc::new(access_key), secret_key: Arc::new(secret_key), held: Mutex::default() }
    }

    /// A token that is valid at `now`: the last one until shortly before its end, or until a key has changed.
    pub async fn token(&self, now: SystemTime) -> Secret {
        let (access_key, secret_key) = (self.access_key.get().await, self.secret_key.get().await);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let good = held.as_ref().filter(|held| {
            // A clock that was set back makes an age that cannot be told: then a new one is signed, too.
            let age = now.duration_since(held.signed);
            age.is_ok_and(|age| age < RENEWAL)
                && held.access_key.expose() == access_key.expose()
                && held.secret_key.expose() == secret_key.expose()
        });
        if let Some(held) = good {
            return held.token.clone();
        }
        let token = sign(&access_key, &secret_key, now);
        *held = Some(Held { token: token.clone(), access_key, secret_key, signed: now });
        token
    }
}

fn sign(access_key: &Secret, secret_key: &Secret, now: SystemTime) -> Secret {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = serde_json::json!({
        "iss": access_key.expose(),
        "exp": (now + LIFETIME).as_secs(),
        "nbf": now.saturating_sub(LEEWAY).as_secs(),
    });
    Secret(compact(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), secret_key.expose().as_bytes()).into())
}

/// The compact form: header, claims and signature as base64url with dots between them (RFC 7515, section 7.1).
fn compact(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    #[test]
    fn the_compact_form_is_that_of_the_standard() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let token = compact("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", claims, &key);
        assert!(token.ends_with(".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "{token}");
    }
}
