//! The credentials of an upstream.

use std::sync::Arc;
use std::time::SystemTime;

use super::token::Signer;
use super::{Secret, SecretSource};

/// What an upstream is asked with.
#[derive(Clone)]
pub enum Credentials {
    /// A key as it is.
    Key(Arc<SecretSource>),
    /// Tokens that are signed with two keys.
    Signed(Arc<Signer>),
}

impl Credentials {
    /// What goes into the request's header at `now`.
    pub async fn get(&self, now: SystemTime) -> Secret {
        match self {
            Self::Key(source) => source.get().await,
            Self::Signed(signer) => signer.token(now).await,
        }
    }
}
