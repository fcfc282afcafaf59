//! How the exporter authenticates to a server.

use std::sync::Arc;
use std::time::SystemTime;

use super::error::SendError;
use super::key::{AuthorizationHeader, Key};
use super::oauth2::TokenClient;
use crate::secret::{BasicAuth, SecretSource, Signer};

/// How requests to a server are authenticated.
#[derive(Clone)]
pub enum Credentials {
    /// With a fixed key.
    Key(Arc<SecretSource>),
    /// With tokens that are signed here.
    Token(Arc<Signer>),
    /// With signatures by an access key and a secret key.
    Signature(Arc<SecretSource>, Arc<SecretSource>),
    /// With a user name and a password.
    Basic(BasicAuth),
    /// With tokens of a token endpoint.
    OAuth2(Arc<TokenClient>),
}

impl Credentials {
    /// The key to use at `now`; `None` without credentials.
    ///
    /// # Errors
    /// When a token is needed, and the token endpoint gives none.
    pub async fn key(credentials: Option<&Self>, now: SystemTime) -> Result<Option<Key>, SendError> {
        let Some(credentials) = credentials else { return Ok(None) };
        Ok(Some(match credentials {
            Self::Key(source) => Key::Sent(source.get().await),
            Self::Token(signer) => Key::Sent(signer.token(now).await),
            Self::Signature(access_key, secret_key) => Key::Pair(access_key.get().await, secret_key.get().await),
            Self::Basic(basic) => Key::Header(AuthorizationHeader::basic(basic.get().await)),
            Self::OAuth2(client) => Key::Header(client.token().await?),
        }))
    }
}
