//! What one request is authenticated with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::secret::{BasicCredentials, Secret, encode_basic};

/// What one request is authenticated with.
#[derive(Clone)]
pub enum Key {
    /// A key or token, which is sent in the request's header of the key.
    Sent(Secret),
    /// An access key, which is sent, and a secret key, which signs the request.
    Pair(Secret, Secret),
    /// A complete `Authorization` header, whatever header the request has for its key.
    Header(AuthorizationHeader),
    /// The id and the secret of an `OAuth` client, which are added to the request's form.
    Form(Box<str>, Secret),
}

/// A complete `Authorization` header.
#[derive(Clone)]
pub struct AuthorizationHeader {
    /// `Basic` or `Bearer`.
    pub scheme: &'static str,
    credentials: Secret,
    /// Secrets that it was made from.
    parts: Vec<Secret>,
    refused: Refused,
}

/// Whether a server has refused a key; whoever issued the key has a clone.
#[derive(Clone, Default)]
pub struct Refused(Arc<AtomicBool>);

impl Refused {
    /// Whether it was refused.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl AuthorizationHeader {
    /// `Basic` with this user name and password (RFC 7617).
    pub fn basic(credentials: BasicCredentials) -> Self {
        let BasicCredentials { encoded, parts } = credentials;
        Self { scheme: "Basic", credentials: encoded, parts, refused: Refused::default() }
    }

    /// `Basic` with an `OAuth` client's id and secret, each form-encoded before (RFC 6749, section 2.3.1).
    pub fn of_client(id: &str, secret: &Secret) -> Self {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let encoded = encode_basic(&encode(id), &encode(secret.expose()));
        Self::basic(BasicCredentials { encoded, parts: vec![secret.clone()] })
    }

    /// `Bearer` with a token (RFC 6750) that was issued for `client_secret`.
    pub fn bearer(token: Secret, client_secret: Secret, refused: Refused) -> Self {
        Self { scheme: "Bearer", credentials: token, parts: vec![client_secret], refused }
    }

    /// The value of the header.
    pub fn value(&self) -> String {
        format!("{} {}", self.scheme, self.credentials.expose())
    }
}

impl Key {
    /// Its secrets, so that they can be removed from a text.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Sent(secret) | Self::Form(_, secret) => vec![secret.expose()],
            Self::Pair(access_key, secret_key) => vec![access_key.expose(), secret_key.expose()],
            Self::Header(header) => {
                [&header.credentials].into_iter().chain(&header.parts).map(Secret::expose).collect()
            }
        }
    }

    /// Notes that the server refused it.
    pub(super) fn set_refused(&self) {
        if let Self::Header(header) = self {
            header.refused.set();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).ok().unwrap()
    }

    #[test]
    fn a_client_is_encoded_twice() {
        for (id, secret_text, value) in [
            ("id", "secret", "Basic aWQ6c2VjcmV0"),
            // "a%3Ab:%C3%A9+%26" and "p%2Bq%25" between colons: `a:b`, `p+q%`.
            ("a:b", "p+q%", "Basic YSUzQWI6cCUyQnElMjU="),
            ("i d", "x y", "Basic aStkOngreQ=="),
        ] {
            assert_eq!(AuthorizationHeader::of_client(id, &secret(secret_text)).value(), value, "{id}");
        }
    }

    #[test]
    fn every_secret_of_a_key_is_known_and_a_refusal_is_seen_by_all() {
        let refused = Refused::default();
        let key = Key::Header(AuthorizationHeader::bearer(secret("token"), secret("client"), refused.clone()));
        assert_eq!(key.secrets(), ["token", "client"]);
        assert!(!refused.get());
        key.clone().set_refused();
        assert!(refused.get());
        let basic = BasicCredentials { encoded: encode_basic("u", "pass"), parts: vec![secret("pass")] };
        assert_eq!(Key::Header(AuthorizationHeader::basic(basic)).secrets(), ["dTpwYXNz", "pass"]);
        assert_eq!(Key::Form("id".into(), secret("client")).secrets(), ["client"]);
    }
}
