//! `basic_auth:` and `proxy_authorization:` — a user name, and a reference to its password.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::scalars::Text;
use super::secret_reference::SecretReference;
use crate::secret::{BasicAuth, Username};

/// A user name, and where its password is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuthConfig {
    /// The user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    /// A file that contains the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_file: Option<Text>,
    /// An environment variable that contains the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_env: Option<Text>,
    /// A credential of systemd that contains the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_credential: Option<Text>,
    /// A file that contains the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<Text>,
    /// An environment variable that contains the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<Text>,
    /// A credential of systemd that contains the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_credential: Option<Text>,
}

/// RFC 7617, section 2.
const USERNAME_RULE: &str = "a user name must not contain colons or control characters";

impl BasicAuthConfig {
    pub(super) fn check(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<BasicAuth> {
        let username = self.check_username(at, folder, problems);
        let password =
            SecretReference::new("password", [&self.password_file, &self.password_env, &self.password_credential]);
        let password = password.load(at, folder, problems).map(Arc::new);
        Some(BasicAuth { username: username?, password: password? })
    }

    fn check_username(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<Username> {
        let reference =
            SecretReference::new("username", [&self.username_file, &self.username_env, &self.username_credential]);
        let (key, username) = match &self.username {
            Some(Text(name)) if !reference.is_set() => ("username".to_owned(), Username::Fixed(name.as_str().into())),
            None if reference.is_single() => {
                (reference.key(), Username::Read(Arc::new(reference.load(at, folder, problems)?)))
            }
            _ => {
                problems.add(at, "set exactly one of username, username_file, username_env and username_credential");
                return None;
            }
        };
        let is_valid = |name: &str| !name.contains(|c: char| c == ':' || c.is_control());
        let is_fine = match &username {
            Username::Fixed(name) => is_valid(name),
            Username::Read(source) => is_valid(source.current().expose()),
        };
        if !is_fine {
            problems.add(format!("{at}.{key}"), USERNAME_RULE);
        }
        Some(username)
    }
}
