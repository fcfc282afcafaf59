//! The credentials of an upstream.

use std::sync::Arc;
use std::time::SystemTime;

use super::token::Signer;
use super::{Secret, SecretSource};

/// How requests to an upstream are authenticated.
#[derive(Clone)]
pub enum Credentials {
    /// With a fixed key.
    Key(Arc<SecretSource>),
    /// With tokens that are signed here.
    Token(Arc<Signer>),
    /// With signatures by an access key and a secret key.
    Signature(Arc<SecretSource>, Arc<SecretSource>),
}

/// What one request is authenticated with.
#[derive(Clone)]
pub enum Key {
    /// A key or token, which is sent.
    Sent(Secret),
    /// An access key, which is sent, and a secret key, which signs the request.
    Pair(Secret, Secret),
}

impl Credentials {
    /// The key to use at `now`.
    pub async fn get(&self, now: SystemTime) -> Key {
        match self {
            Self::Key(source) => Key::Sent(source.get().await),
            Self::Token(signer) => Key::Sent(signer.token(now).await),
            Self::Signature(access_key, secret_key) => Key::Pair(access_key.get().await, secret_key.get().await),
        }
    }
}

impl Key {
    /// Its secrets, so that they can be removed from a text.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Sent(secret) => vec![secret.expose()],
            Self::Pair(access_key, secret_key) => vec![access_key.expose(), secret_key.expose()],
        }
    }
}
