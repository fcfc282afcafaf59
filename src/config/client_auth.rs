//! How the exporter authenticates to a server: one of `authorization:`, `basic_auth:` and `oauth2:`.

use std::path::Path;

use serde_json::json;

use super::authorization::AuthorizationConfig;
use super::basic_auth::BasicAuthConfig;
use super::oauth2::OAuth2Config;
use super::problem::Problems;
use crate::http::Credentials;
use crate::provider::Signs;

/// The three sections as written; at most one of them is set.
#[derive(Clone, Copy)]
pub(super) struct ClientAuth<'a> {
    pub authorization: Option<&'a AuthorizationConfig>,
    pub basic_auth: Option<&'a BasicAuthConfig>,
    pub oauth2: Option<&'a OAuth2Config>,
}

impl ClientAuth<'_> {
    /// Whether one of them is set.
    pub(super) const fn is_set(&self) -> bool {
        self.authorization.is_some() || self.basic_auth.is_some() || self.oauth2.is_some()
    }

    /// Loads the secrets; `at` is the place that has the sections.
    pub(super) fn check(
        &self,
        at: &str,
        signs: Option<Signs>,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Credentials> {
        let others = [("basic_auth", self.basic_auth.is_some()), ("oauth2", self.oauth2.is_some())];
        if signs.is_some()
            && let Some((key, _)) = others.iter().find(|(_, is_set)| *is_set)
        {
            problems.add(format!("{at}.{key}"), "this provider has keys that sign; only `authorization` can be used");
            return None;
        }
        match (self.authorization, self.basic_auth, self.oauth2) {
            (None, None, None) => None,
            (Some(auth), None, None) => auth.check(&format!("{at}.authorization"), signs, folder, problems),
            (None, Some(basic), None) => {
                basic.check(&format!("{at}.basic_auth"), folder, problems).map(Credentials::Basic)
            }
            (None, None, Some(oauth2)) => {
                oauth2.check(&format!("{at}.oauth2"), folder, problems).map(Credentials::OAuth2)
            }
            _ => {
                problems.add(at, "set at most one of authorization, basic_auth and oauth2");
                None
            }
        }
    }

    /// Identifies whose access it is, without a secret; empty if none is set.
    pub(super) fn reference(&self) -> String {
        match (self.authorization, self.basic_auth, self.oauth2) {
            (Some(auth), _, _) => serde_json::to_string(auth).unwrap_or_default(),
            (_, Some(basic), _) => json!({ "basic_auth": basic }).to_string(),
            (_, _, Some(oauth2)) => {
                let secret = oauth2.secret();
                let secret = (secret.key(), secret.value());
                let access = (&oauth2.scopes, &oauth2.endpoint_params);
                json!({ "oauth2": [oauth2.client_id, secret, oauth2.token_url, access] }).to_string()
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{from_text, parse};

    #[test]
    fn clients_with_different_secrets_or_scopes_are_different() {
        let oauth2 = |rest: &str| {
            let config: OAuth2Config = from_text(&format!("{{client_id: me, token_url: u, {rest}}}")).unwrap();
            ClientAuth { authorization: None, basic_auth: None, oauth2: Some(&config) }.reference()
        };
        let references = [
            "client_secret_file: a",
            "client_secret_file: b",
            "client_secret_env: a",
            "client_secret_credential: a",
            "client_secret_credential: b",
            "client_secret_credential: a, scopes: [s]",
            "client_secret_credential: a, endpoint_params: {x: y}",
        ]
        .map(oauth2);
        let distinct: std::collections::BTreeSet<_> = references.iter().collect();
        assert_eq!(distinct.len(), references.len(), "{references:?}");
    }

    const BASIC: &str = "basic_auth: {username: u, password_file: pass}";

    /// The begin of an `oauth2`.
    const CLIENT: &str = "oauth2: {client_id: me, client_secret_file: pass, token_url: 'http://127.0.0.1:1/token'";

    /// What `check` says about an upstream with these keys. `BASIC` and `CLIENT` stand for the texts above; the files `user`, `colon`,
    /// `pass` and `empty` exist.
    fn problems(entry: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("user", "S3CRET-user"), ("colon", "S3CRET:x"), ("pass", "S3CRET-pass"), ("empty", " ")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let entry = entry.replace("BASIC", BASIC).replace("CLIENT", CLIENT);
        let entry = if entry.starts_with("provider") { entry } else { format!("provider: tokenhot, {entry}") };
        let text = format!("state: {{memory: {{}}}}\nupstreams:\n- {{name: a, {entry}}}\n");
        parse(&text, &folder.path().join("c.yml")).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Each entry has one problem, at this key of the upstream and with this message.
    fn assert_problems(table: &[(&str, &str)]) {
        for (entry, message) in table {
            let (found, message) = (problems(entry), format!("upstreams.0{message}"));
            assert!(found.contains(&message), "{entry}: no {message:?} in {found:?}");
            assert_eq!(found.matches("c.yml:").count(), 1, "{entry}: only one problem: {found}");
            assert!(!found.contains("S3CRET"), "{found}");
        }
    }

    #[test]
    fn a_place_has_one_way_and_a_provider_that_signs_has_only_its_own() {
        assert_problems(&[
            ("BASIC, CLIENT}", ": set at most one of authorization, basic_auth and oauth2"),
            ("BASIC, authorization: {credentials_file: pass}", ": set at most one of"),
            ("CLIENT}, authorization: {credentials_file: pass}", ": set at most one of"),
            ("http_sd_configs: [{url: 'http://h', BASIC, CLIENT}}]", ".http_sd_configs.0: set at most one of"),
            ("list_configs: [{BASIC, CLIENT}}]", ".list_configs.0: set at most one of"),
            ("provider: kling, BASIC", ".basic_auth: this provider has keys that sign"),
            ("provider: jimeng, CLIENT}", ".oauth2: this provider has keys that sign"),
            ("provider: kling, list_configs: [{BASIC}]", ".list_configs.0.basic_auth: this provider"),
        ]);
    }

    #[test]
    fn a_user_and_a_reference_to_a_password_are_needed() {
        assert_problems(&[
            (
                "basic_auth: {password_file: pass}",
                ".basic_auth: set exactly one of username, username_file, username_env and",
            ),
            ("basic_auth: {username: u, username_file: user, password_file: pass}", ".basic_auth: set exactly one of"),
            ("basic_auth: {username: u}", ".basic_auth: set exactly one of password_file, password_env and"),
            ("basic_auth: {username: u, password_file: pass, password: S3CRET}", ".basic_auth.password: unknown key"),
            ("basic_auth: {username: 'S3CRET:x', password_file: pass}", ".basic_auth.username: a user name must not"),
            ("basic_auth: {username_file: colon, password_file: pass}", ".basic_auth.username_file: a user name must"),
            ("basic_auth: {username: u, password_file: empty}", ".basic_auth.password_file: the secret is empty"),
            ("basic_auth: {username: u, password_env: VGX_NOT_SET}", ".basic_auth.password_env: environment variable"),
        ]);
    }

    #[test]
    fn a_client_and_its_token_endpoint_are_checked() {
        assert_problems(&[
            (
                "oauth2: {client_id: me, token_url: 'http://h'}",
                ".oauth2: set exactly one of client_secret_file, client_secret_env and",
            ),
            ("CLIENT, client_secret: S3CRET}", ".oauth2.client_secret: unknown key"),
            ("oauth2: {client_id: me, client_secret_file: pass}", ".oauth2: the key `token_url` is missing"),
            ("oauth2: {client_id: me, client_secret_file: pass, token_url: h}", ".oauth2.token_url: not a URL"),
            ("oauth2: {client_id: '', client_secret_file: pass, token_url: 'http://h'}", ".oauth2.client_id: must not"),
            ("CLIENT, scopes: [a, 'a b']}", ".oauth2.scopes.1: a scope is"),
            (
                "CLIENT, endpoint_params: {client_secret: S3CRET}}",
                ".oauth2.endpoint_params.client_secret: set `client_",
            ),
            ("CLIENT, endpoint_params: {grant_type: x}}", ".oauth2.endpoint_params.grant_type: is always client_cred"),
            ("CLIENT, tls_config: {cert_file: x}}", ".oauth2.tls_config: set both cert_file and key_file"),
            ("CLIENT, proxy_url: 'http://u:S3CRET@:::'}", ".oauth2.proxy_url: not a URL"),
        ]);
    }

    #[test]
    fn what_goes_with_a_proxy_needs_one() {
        assert_problems(&[
            ("no_proxy: internal.example", ".no_proxy: needs proxy_url"),
            ("CLIENT, no_proxy: x}", ".oauth2.no_proxy: needs proxy_url"),
            ("http_sd_configs: [{url: 'http://h', no_proxy: x}]", ".http_sd_configs.0.no_proxy: needs proxy_url"),
            ("proxy_url: 'http://p', no_proxy: '10.0.0.0/33'", ".no_proxy: must be a list of host names"),
            ("proxy_authorization: {username: u, password_file: pass}", ".proxy_authorization: needs proxy_url"),
            ("proxy_url: 'http://p', proxy_authorization: {username: u}", ".proxy_authorization: set exactly one of"),
            (
                "proxy_url: 'http://u:S3CRET@p', proxy_authorization: {username: u, password_file: pass}",
                ".proxy_authorization: proxy_url has a user already",
            ),
        ]);
    }

    #[test]
    fn each_way_is_accepted_at_each_place() {
        for auth in [
            "authorization: {credentials_file: pass}",
            "basic_auth: {username: '', password_file: pass}",
            "basic_auth: {username_file: user, password_env: HOME}",
            "CLIENT}",
            "CLIENT, scopes: [a, b], endpoint_params: {audience: x}, proxy_url: 'http://p', no_proxy: '*'}",
        ] {
            for place in [
                auth.to_owned(),
                format!("list_configs: [{{{auth}}}]"),
                format!("http_sd_configs: [{{url: 'http://h', {auth}}}]"),
            ] {
                assert_eq!(problems(&place), "", "{place}");
            }
        }
    }
}
