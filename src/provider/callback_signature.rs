//! Verifies the signatures of callbacks (docs/upstreams.md 25).

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::domain::Timestamp;
use crate::http::PublicKey;
use crate::secret::crypto::{decode_hex, is_ed25519, is_mac, is_rs256, sha256_hex};

/// How a provider signs its callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackSignature {
    /// Standard Webhooks, with a secret: <https://www.standardwebhooks.com>.
    StandardWebhooks,
    /// Standard Webhooks with a secret, or a JSON Web Token with published keys (Gemini).
    StandardOrToken,
    /// `X-OpenRouter-Signature`, with a secret.
    OpenRouter,
    /// `X-Fal-Webhook-Signature`, with published keys.
    Fal,
    /// `X-HMAC-SIGNATURE` over the head of the request, with the API key as the secret.
    Vidu,
}

/// The keys that a callback may be signed with.
#[derive(Default)]
pub struct CallbackKeys<'a> {
    /// The secret.
    pub secret: Option<&'a str>,
    /// Published keys.
    pub public: &'a [PublicKey],
}

/// A callback as it was received.
pub struct SignedRequest<'a> {
    /// The path of the request.
    pub path: &'a str,
    /// Its query; empty without one.
    pub query: &'a str,
    /// The value of a header.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The raw body.
    pub body: &'a [u8],
    /// The current time.
    pub now: Timestamp,
}

/// A callback that is older, or that comes from the future, is not accepted.
const MAX_AGE: Duration = Duration::from_mins(5);

impl CallbackSignature {
    /// Where the provider publishes its keys, if it does.
    pub const fn jwks_url(self) -> Option<&'static str> {
        match self {
            Self::StandardOrToken => Some("https://generativelanguage.googleapis.com/.well-known/jwks.json"),
            Self::Fal => Some("https://rest.alpha.fal.ai/.well-known/jwks.json"),
            Self::StandardWebhooks | Self::OpenRouter | Self::Vidu => None,
        }
    }

    /// Whether a callback can be verified with a secret.
    pub const fn has_secret(self) -> bool {
        !matches!(self, Self::Fal)
    }

    /// Whether a callback is signed with one of the keys, not long ago. Signatures are compared in constant time.
    pub fn is_valid(self, request: &SignedRequest<'_>, keys: &CallbackKeys<'_>) -> bool {
        let secret = keys.secret;
        let checked = match self {
            Self::StandardWebhooks => secret.and_then(|secret| check_standard(request, secret)),
            Self::StandardOrToken => {
                secret.and_then(|secret| check_standard(request, secret)).or_else(|| check_token(request, keys.public))
            }
            Self::OpenRouter => secret.and_then(|secret| check_openrouter(request, secret)),
            Self::Fal => check_fal(request, keys.public),
            Self::Vidu => secret.and_then(|secret| check_vidu(request, secret)),
        };
        checked.is_some()
    }
}

fn is_recent(request: &SignedRequest<'_>, time: Timestamp) -> Option<()> {
    let age = request.now.as_millis().abs_diff(time.as_millis());
    (u128::from(age) <= MAX_AGE.as_millis()).then_some(())
}

fn seconds(text: &str) -> Option<Timestamp> {
    let seconds: i64 = text.trim().parse().ok()?;
    (0..=253_402_300_799).contains(&seconds).then(|| Timestamp::from_secs(seconds))
}

/// `webhook-signature: v1,BASE64 …` of `id.timestamp.body`; the secret is `whsec_BASE64`.
fn check_standard(request: &SignedRequest<'_>, secret: &str) -> Option<()> {
    let header = |name| (request.header)(name);
    let (id, time, signatures) = (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    is_recent(request, seconds(time)?)?;
    let encoded = secret.strip_prefix("whsec_");
    let key = encoded.map_or_else(|| Some(secret.as_bytes().to_vec()), |encoded| STANDARD.decode(encoded).ok())?;
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", request.body].concat();
    let mut given = signatures.split(' ').filter_map(|entry| STANDARD.decode(entry.strip_prefix("v1,")?).ok());
    given.any(|tag| is_mac(&key, &message, &tag)).then_some(())
}

/// `t=SECONDS,v1=HEX` of `SECONDS,body`.
fn check_openrouter(request: &SignedRequest<'_>, secret: &str) -> Option<()> {
    let header = (request.header)("x-openrouter-signature")?;
    let part = |name: &str| header.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let time = part("t")?;
    is_recent(request, seconds(time)?)?;
    let message = [time.as_bytes(), b",", request.body].concat();
    is_mac(secret.as_bytes(), &message, &decode_hex(part("v1")?)?).then_some(())
}

/// Ed25519 over the id of the request, the user, the time and the SHA-256 of the body, on a line each.
fn check_fal(request: &SignedRequest<'_>, keys: &[PublicKey]) -> Option<()> {
    let header = |name| (request.header)(name);
    let time = header("x-fal-webhook-timestamp")?;
    is_recent(request, seconds(time)?)?;
    let tag = decode_hex(header("x-fal-webhook-signature")?)?;
    let (id, user) = (header("x-fal-webhook-request-id")?, header("x-fal-webhook-user-id")?);
    let message = [id, user, time, &sha256_hex(request.body)].join("\n");
    let verifies = |key: &PublicKey| match key {
        PublicKey::Ed25519(point) => is_ed25519(point, message.as_bytes(), &tag),
        PublicKey::Rsa(..) => false,
    };
    keys.iter().any(verifies).then_some(())
}

/// HMAC over method, path, query, access key, date and the named headers, on a line each.
fn check_vidu(request: &SignedRequest<'_>, secret: &str) -> Option<()> {
    let header = |name: &str| (request.header)(name);
    let date = header("date")?;
    let sent = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    is_recent(request, Timestamp::from_millis(sent.as_millisecond()))?;
    let mut message = format!("POST\n{}\n{}\nvidu\n{date}\n", request.path, request.query);
    for name in header("x-hmac-signed-headers")?.split(';').map(str::trim).filter(|name| !name.is_empty()) {
        let _ = writeln!(message, "{name}:{}", header(name)?);
    }
    let tag = STANDARD.decode(header("x-hmac-signature")?).ok()?;
    is_mac(secret.as_bytes(), message.as_bytes(), &tag).then_some(())
}

/// A JSON Web Token (RFC 7519) with RS256, that has not expired.
fn check_token(request: &SignedRequest<'_>, keys: &[PublicKey]) -> Option<()> {
    let token = (request.header)("webhook-signature")?.trim();
    let (signed, tag) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let decode =
        |part: &str| -> Option<serde_json::Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    if decode(head)?.get("alg")?.as_str()? != "RS256" {
        return None;
    }
    let claims = decode(claims)?;
    let time = |name: &str| claims.get(name)?.as_i64().map(Timestamp::from_secs);
    match (time("exp"), time("iat")) {
        (Some(expiry), _) if expiry < request.now => return None,
        (None, Some(issued)) => is_recent(request, issued)?,
        (None, None) => return None,
        (Some(_), _) => {}
    }
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    let verifies = |key: &PublicKey| match key {
        PublicKey::Rsa(n, e) => is_rs256((n, e), signed.as_bytes(), &tag),
        PublicKey::Ed25519(_) => false,
    };
    keys.iter().any(verifies).then_some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secret::crypto::{hex, mac, sign_ed25519};

    const NOW: i64 = 1_795_132_800;
    const BODY: &[u8] = br#"{"id":"t"}"#;
    const PATH: &str = "/webhooks/u/s";

    fn is_valid(
        kind: CallbackSignature,
        headers: &BTreeMap<&str, String>,
        body: &[u8],
        keys: &CallbackKeys<'_>,
    ) -> bool {
        let header = |name: &str| headers.get(&*name.to_ascii_lowercase()).map(String::as_str);
        let request = SignedRequest { path: PATH, query: "", header: &header, body, now: Timestamp::from_secs(NOW) };
        kind.is_valid(&request, keys)
    }

    /// A signed callback is valid; with another body, another time, another key or a missing header it is not.
    fn check(
        kind: CallbackSignature,
        sign: &dyn Fn(i64) -> BTreeMap<&'static str, String>,
        keys: &CallbackKeys<'_>,
        wrong: &CallbackKeys<'_>,
        covers_body: bool,
    ) {
        let headers = sign(NOW - 60);
        assert!(is_valid(kind, &headers, BODY, keys), "{kind:?}");
        assert_eq!(is_valid(kind, &headers, b"{}", keys), !covers_body, "{kind:?}: another body");
        assert!(!is_valid(kind, &headers, BODY, wrong), "{kind:?}: another key");
        assert!(!is_valid(kind, &headers, BODY, &CallbackKeys::default()), "{kind:?}: no key");
        for time in [NOW - 301, NOW + 301] {
            assert!(!is_valid(kind, &sign(time), BODY, keys), "{kind:?}: {time}");
        }
        for name in headers.keys() {
            let mut without = headers.clone();
            without.remove(name);
            assert!(!is_valid(kind, &without, BODY, keys), "{kind:?} without {name}");
            without.insert(name, "\u{1}x,=;.".to_owned());
            assert!(!is_valid(kind, &without, BODY, keys), "{kind:?} with another {name}");
        }
    }

    #[test]
    fn callbacks_are_verified_as_their_provider_says() {
        let (secret, other) = ("whsec_c2VjcmV0", "whsec_b3RoZXI=");
        let of = |secret| CallbackKeys { secret: Some(secret), public: &[] };
        for kind in [CallbackSignature::StandardWebhooks, CallbackSignature::StandardOrToken] {
            let sign = |time: i64| {
                let message = [format!("msg_1.{time}.").as_bytes(), BODY].concat();
                BTreeMap::from([
                    ("webhook-id", "msg_1".to_owned()),
                    ("webhook-timestamp", time.to_string()),
                    ("webhook-signature", format!("v1,AAAA v1,{}", STANDARD.encode(mac(b"secret", &message)))),
                ])
            };
            check(kind, &sign, &of(secret), &of(other), true);
        }
        let sign = |time: i64| {
            let tag = hex(&mac(b"secret", &[format!("{time},").as_bytes(), BODY].concat()));
            BTreeMap::from([("x-openrouter-signature", format!("t={time},v1={tag}"))])
        };
        check(CallbackSignature::OpenRouter, &sign, &of("secret"), &of("other"), true);
        let sign = |time: i64| {
            let date = jiff::fmt::rfc2822::to_string(
                &jiff::Timestamp::from_second(time).unwrap().to_zoned(jiff::tz::TimeZone::UTC),
            )
            .unwrap();
            let message = format!("POST\n{PATH}\n\nvidu\n{date}\nx-request-nonce:n1\n");
            BTreeMap::from([
                ("date", date),
                ("x-request-nonce", "n1".to_owned()),
                ("x-hmac-signed-headers", "x-request-nonce".to_owned()),
                ("x-hmac-signature", STANDARD.encode(mac(b"secret", message.as_bytes()))),
            ])
        };
        check(CallbackSignature::Vidu, &sign, &of("secret"), &of("other"), false);
        let public = |seed| [PublicKey::Ed25519(sign_ed25519([seed; 32], b"").0)];
        let sign = |time: i64| {
            let hash = sha256_hex(BODY);
            let (_, tag) = sign_ed25519([1; 32], format!("r1\nu1\n{time}\n{hash}").as_bytes());
            BTreeMap::from([
                ("x-fal-webhook-request-id", "r1".to_owned()),
                ("x-fal-webhook-user-id", "u1".to_owned()),
                ("x-fal-webhook-timestamp", time.to_string()),
                ("x-fal-webhook-signature", hex(&tag)),
            ])
        };
        let [keys, wrong] = [public(1), public(2)];
        let keys = CallbackKeys { secret: None, public: &keys };
        check(CallbackSignature::Fal, &sign, &keys, &CallbackKeys { secret: None, public: &wrong }, true);
    }

    /// Made with `openssl dgst -sha256 -sign`.
    const MODULUS: &str = "ljx3I0NLhOI6InPKoxDYGqXwSkAFOEGFP4QiGjKBBwIbmTV-ILoR9tONEGb-DQUYrg98HVzy5YM7zWcusd9qAPtIBqxGhvdIeftI4P_AbRVmhYUWQw939CaHqkI0Pu5unTve2odAtp6CRxgX5HYm_pQhE5aB3Ns1ChaldOVq07eK5ybFwZYOTMnqplMZqRjbJmBVBuvpdS4eSljnjuvwVSYAcQ2zUhPJqlsEERg_zzgCB0Z440aUztDGjuc4JeU8OqxlBkgTTPSzerv0mmKmL-prSguzERGkQxVUkpVeocvOcMLm5FDoTlkbXASd-joao9VVubJtlENy2hmR9DxoNQ";
    const TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiMSJ9.eyJpc3MiOiAiaHR0cHM6Ly9nZW5lcmF0aXZlbGFuZ3VhZ2UuZ29vZ2xlYXBpcy5jb20iLCAiaWF0IjogMTc5NTEzMjc0MCwgImV4cCI6IDE3OTUxMzMxMDB9.ATlLyfz-aPsiFhKsS9ajZ9xR0JNUEbNkfXakaOFaNcC7Kv2OiYBwUhS7jkQFQ5vKtUi9C0O-OZR7zR-SwyVWD889WCtmtlrt4uJm34iROS6WNITyq2RzZp-DyBWDfugJntNhSlz7E_27dd1XmfNizn9xXTulzfd22LJB7KmA7kP0kdzPDgpxweBbNZubMvO5dg-F0CdYIaRKqeL8wcg4DrSCv0NERJ4n7lA6ifnOi07ixsTuBdW9vmxRFc4tRdbCav77_STZ3NhI-9gY4AiDL_yqvRC-piysW6Gpv8Q1Hg_B8FZtbXRbkAUqGCvgjbn7z8b-AIqT0lMcE0kGhEA1AQ";
    const EXPIRED: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiMSJ9.eyJleHAiOiAxNzk1MTMyNzk5fQ.I5C578GGAG5eIsS_bqc4ws2Ti57qp7VN8hXu6she0k4JGbj6DaifRmkHTlUIeVdemBGLX39XGnqtPigWpjxt74GGgpMkHLxsvFvczQgALfkEaX9FXMGS0OJxLDitSxQcaWGZIjeJAgZ-1AdZSxiKXMPRn9SzGvucz2JLSqEEj7EmTfeLtel6b12DjJFwXlTKonoqIOSJyWfKeR10cMmKecDLLb0D5nEa2_M5k8UP8trW7Uc4BFxp6ZB4ZlPePBadHSpyRgSY-RUwkSw57nIKpGHotW1ryDnlee8hPN3wHf2iEGfq8mJeV0ahEN-Kdja4BlEkl4cVY71JkwwXGQ2H0w";
    const WITHOUT_TIME: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAiMSJ9.eyJpc3MiOiAieCJ9.VeP7VcKsCOM7eJwvD1wztVBZzLaZAH8TbIdqltmIucBK36PJZnkXvm4sd5S-GNFMKdsRy0gtKxa5NqtnPn1m7OD9dQmnLoall3g0FpHYWir0xnuiIP1n56s2Hs4nOPzg-UNrxbYveifaw0q9lECSgVAz0nluIBupRMst89vyoKAMpLOoc7zgH910VL5GKiNLfENSSJIOVIEOMvwLNlkHTAKZjGys4-I8fOEhwGn58tt2eQLbfaVzDnki9wnfE8jiuBZWUCvG-7y_AQOMEhtLQRmXXp-SlOmvUfPCiGOKHH7O-dhNGZXZkvN19fJ6fG2vZmpOdiUKMYwSuXFeL3C9Jw";

    #[test]
    fn a_token_is_verified_with_a_published_key() {
        let modulus = URL_SAFE_NO_PAD.decode(MODULUS).unwrap();
        let keys = [PublicKey::Ed25519(vec![1]), PublicKey::Rsa(modulus.clone(), vec![1, 0, 1])];
        let check = |token: &str, keys: &[PublicKey]| {
            let headers = BTreeMap::from([("webhook-signature", token.to_owned())]);
            is_valid(CallbackSignature::StandardOrToken, &headers, BODY, &CallbackKeys { secret: None, public: keys })
        };
        assert!(check(TOKEN, &keys));
        assert!(!check(TOKEN, &keys[..1]) && !check(TOKEN, &[PublicKey::Rsa(modulus, vec![3])]));
        let unsigned = format!("{}.", TOKEN.rsplit_once('.').unwrap().0);
        for wrong in [EXPIRED, WITHOUT_TIME, &unsigned, "a.b.c", "", &TOKEN.replacen("eyJ", "eyK", 1)] {
            assert!(!check(wrong, &keys), "{wrong}");
        }
    }
}
