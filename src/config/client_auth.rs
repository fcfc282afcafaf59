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
                let OAuth2Config { client_id, client_secret_file, client_secret_env, token_url, .. } = oauth2;
                json!({ "oauth2": [client_id, client_secret_file, client_secret_env, token_url] }).to_string()
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// What `check` says about upstreams with these keys; files `user`, `colon`, `pass` exist.
    fn problems(entry: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("user", "S3CRET-user"), ("colon", "S3CRET:x"), ("pass", "S3CRET-pass"), ("empty", " ")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let text = format!("state: {{memory: {{}}}}\nupstreams:\n- {{name: a, {entry}}}\n");
        parse(&text, &folder.path().join("c.yml")).err().map(|error| error.to_string()).unwrap_or_default()
    }

    const OAUTH2: &str = "client_id: me, client_secret_file: pass, token_url: 'http://127.0.0.1:1/token'";

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let upstream = |keys: &str| format!("provider: tokenhot, {keys}");
        let oauth2 = |keys: &str| upstream(&format!("oauth2: {{client_id: me, {keys}}}"));
        let basic = "basic_auth: {username: u, password_file: pass}";
        let table = [
            (
                upstream(&format!("{basic}, oauth2: {{{OAUTH2}}}")),
                "upstreams.0: set at most one of authorization, basic_auth and oauth2",
            ),
            (
                upstream(&format!("{basic}, authorization: {{credentials_file: pass}}")),
                "upstreams.0: set at most one of",
            ),
            (
                upstream(&format!("http_sd_configs: [{{url: 'http://h', {basic}, oauth2: {{{OAUTH2}}}}}]")),
                "upstreams.0.http_sd_configs.0: set at most one of",
            ),
            (
                upstream(&format!("list_configs: [{{{basic}, oauth2: {{{OAUTH2}}}}}]")),
                "upstreams.0.list_configs.0: set at most one of",
            ),
            (format!("provider: kling, {basic}"), "upstreams.0.basic_auth: this provider has keys that sign"),
            (format!("provider: jimeng, oauth2: {{{OAUTH2}}}"), "upstreams.0.oauth2: this provider has keys that sign"),
            (
                format!("provider: kling, list_configs: [{{{basic}}}]"),
                "upstreams.0.list_configs.0.basic_auth: this provider",
            ),
            (
                upstream("basic_auth: {password_file: pass}"),
                "upstreams.0.basic_auth: set exactly one of username, username_file and username_env",
            ),
            (
                upstream("basic_auth: {username: u, username_file: user, password_file: pass}"),
                "set exactly one of username,",
            ),
            (
                upstream("basic_auth: {username: u}"),
                "upstreams.0.basic_auth: set exactly one of password_file and password_env",
            ),
            (
                upstream("basic_auth: {username: u, password_file: pass, password: S3CRET}"),
                "upstreams.0.basic_auth.password: unknown key",
            ),
            (
                upstream("basic_auth: {username: 'S3CRET:x', password_file: pass}"),
                "upstreams.0.basic_auth.username: a user name must not",
            ),
            (
                upstream("basic_auth: {username_file: colon, password_file: pass}"),
                "upstreams.0.basic_auth.username_file: a user name must not",
            ),
            (
                upstream("basic_auth: {username: u, password_file: empty}"),
                "upstreams.0.basic_auth.password_file: the secret is empty",
            ),
            (
                upstream("basic_auth: {username: u, password_env: VGX_NOT_SET}"),
                "upstreams.0.basic_auth.password_env: environment variable VGX_NOT_SET is not set",
            ),
            (
                oauth2("token_url: 'http://h'"),
                "upstreams.0.oauth2: set exactly one of client_secret_file and client_secret_env",
            ),
            (
                oauth2("client_secret_file: pass, client_secret: S3CRET, token_url: 'http://h'"),
                "upstreams.0.oauth2.client_secret: unknown key",
            ),
            (oauth2("client_secret_file: pass"), "upstreams.0.oauth2: the key `token_url` is missing"),
            (oauth2("client_secret_file: pass, token_url: h"), "upstreams.0.oauth2.token_url: not a URL"),
            (
                oauth2("client_secret_file: pass, token_url: 'http://h', scopes: ['a b']"),
                "upstreams.0.oauth2.scopes.0: a scope is",
            ),
            (
                oauth2("client_secret_file: pass, token_url: 'http://h', endpoint_params: {client_secret: S3CRET}"),
                "upstreams.0.oauth2.endpoint_params.client_secret: set `client_secret_file`",
            ),
            (
                oauth2("client_secret_file: pass, token_url: 'http://h', endpoint_params: {grant_type: password}"),
                "endpoint_params.grant_type: is always client_credentials",
            ),
            (
                oauth2("client_secret_file: pass, token_url: 'http://h', tls_config: {cert_file: x}"),
                "upstreams.0.oauth2.tls_config: set both",
            ),
            (
                oauth2("client_secret_file: pass, token_url: 'http://h', no_proxy: x"),
                "upstreams.0.oauth2.no_proxy: needs proxy_url",
            ),
            (upstream("no_proxy: internal.example"), "upstreams.0.no_proxy: needs proxy_url"),
            (
                upstream("proxy_url: 'http://p', no_proxy: '10.0.0.0/33'"),
                "upstreams.0.no_proxy: must be a list of host names",
            ),
            (
                upstream("http_sd_configs: [{url: 'http://h', no_proxy: x}]"),
                "upstreams.0.http_sd_configs.0.no_proxy: needs proxy_url",
            ),
            (
                upstream("proxy_authorization: {username: u, password_file: pass}"),
                "upstreams.0.proxy_authorization: needs proxy_url",
            ),
            (
                upstream("proxy_url: 'http://p', proxy_authorization: {username: u}"),
                "upstreams.0.proxy_authorization: set exactly one of password_file",
            ),
            (
                upstream("proxy_url: 'http://u:S3CRET@p', proxy_authorization: {username: u, password_file: pass}"),
                "upstreams.0.proxy_authorization: proxy_url has a user already",
            ),
        ];
        for (entry, message) in table {
            let found = problems(&entry);
            assert!(found.contains(message), "{entry}: no {message:?} in {found:?}");
            assert_eq!(found.matches("c.yml:").count(), 1, "{entry}: only one problem: {found}");
            assert!(!found.contains("S3CRET"), "{found}");
        }
    }

    #[test]
    fn each_way_is_accepted_at_each_place() {
        for auth in [
            "authorization: {credentials_file: pass}".to_owned(),
            "basic_auth: {username: '', password_file: pass}".to_owned(),
            "basic_auth: {username_file: user, password_env: PATH}".to_owned(),
            format!(
                "oauth2: {{{OAUTH2}, scopes: [a, b], endpoint_params: {{audience: x}}, proxy_url: 'http://p', no_proxy: '*'}}"
            ),
        ] {
            for place in [
                auth.clone(),
                format!("list_configs: [{{{auth}}}]"),
                format!("http_sd_configs: [{{url: 'http://h', {auth}}}]"),
            ] {
                assert_eq!(problems(&format!("provider: tokenhot, {place}")), "", "{place}");
            }
        }
    }
}
