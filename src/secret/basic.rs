//! User names and passwords of the `Basic` scheme (RFC 7617).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Secret, SecretSource};

/// Where a user name comes from.
#[derive(Clone)]
pub enum Username {
    /// The configuration.
    Fixed(Arc<str>),
    /// A file or an environment variable.
    Read(Arc<SecretSource>),
}

/// A user name and where its password comes from.
#[derive(Clone)]
pub struct BasicAuth {
    /// The user name.
    pub username: Username,
    /// The password.
    pub password: Arc<SecretSource>,
}

/// What a user name and a password are sent as.
#[derive(Clone)]
pub struct BasicCredentials {
    /// `base64(user:password)`.
    pub encoded: Secret,
    /// The password, and the user name unless the configuration has it.
    pub parts: Vec<Secret>,
}

/// `base64(user:password)`.
pub fn encode_basic(user: &str, password: &str) -> Secret {
    Secret(STANDARD.encode(format!("{user}:{password}")).into())
}

impl BasicAuth {
    /// The current user name and password; changed files are read again.
    pub async fn get(&self) -> BasicCredentials {
        if let Username::Read(source) = &self.username {
            source.get().await;
        }
        self.password.get().await;
        self.current()
    }

    /// Both as they were read last.
    pub fn current(&self) -> BasicCredentials {
        let password = self.password.current();
        match &self.username {
            Username::Fixed(user) => {
                BasicCredentials { encoded: encode_basic(user, password.expose()), parts: vec![password] }
            }
            Username::Read(source) => {
                let user = source.current();
                BasicCredentials {
                    encoded: encode_basic(user.expose(), password.expose()),
                    parts: vec![password, user],
                }
            }
        }
    }

    /// Reads its files again. Blocks.
    pub fn reread(&self) {
        if let Username::Read(source) = &self.username {
            source.reread();
        }
        self.password.reread();
    }

    /// Whether it names files.
    pub fn has_files(&self) -> bool {
        let is_file = matches!(&self.username, Username::Read(source) if source.file().is_some());
        is_file || self.password.file().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7617, sections 2 and 2.1.
    #[test]
    fn credentials_are_those_of_the_standard() {
        for (user, password, encoded) in [
            ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123£", "dGVzdDoxMjPCow=="),
            ("", "", "Og=="),
        ] {
            assert_eq!(encode_basic(user, password).expose(), encoded);
        }
    }
}
