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
    Signed(Arc<Signer>),
}

impl Credentials {
    /// The key or token to send at `now`.
    pub async fn get(&self, now: SystemTime) -> Secret {
        match self {
            Self::Key(source) => source.get().await,
            Self::Signed(signer) => signer.token(now).await,
        }
    }
}
