//! Warnings about an upstream that is valid, and will probably not work.

use super::problem::Problems;
use crate::http::is_local_url;
use crate::provider::Provider;

/// The configured parts of an upstream that mistakes are found in.
pub(super) struct UpstreamParts<'a> {
    pub provider: &'a Provider,
    /// `base_url`, if it is set.
    pub base_url: Option<&'a str>,
    /// `request.path`, if it is set.
    pub path: Option<&'a str>,
    /// Whether requests carry a key, or connections a client certificate.
    pub has_key: bool,
}

impl UpstreamParts<'_> {
    /// Warns of what is probably a mistake.
    pub fn warn_of_likely_mistakes(&self, at: &str, problems: &mut Problems) {
        let provider = self.provider;
        // Every provider that we know wants a key. A fake or a proxy on this machine may not.
        let url = self.base_url.or(provider.base_url).unwrap_or_default();
        if !self.has_key && !provider.is_custom() && !is_local_url(url) {
            let message = format!(
                "there is none, and provider {} wants a key: polls will probably fail as unauthorized; set credentials_file or credentials_env",
                provider.name
            );
            problems.warn(format!("{at}.authorization"), message);
        }
        let own_paths = provider.requests.iter().map(|request| request.path).filter(|_| self.path.is_none());
        let mut paths = own_paths.chain(self.path);
        if let Some(repeated) = self.base_url.and_then(|url| paths.find_map(|path| overlap(url, path))) {
            let message = format!(
                "ends in {repeated}, and the path of requests begins with it: they would go to {repeated}{repeated}/…; remove it here"
            );
            problems.warn(format!("{at}.base_url"), message);
        }
    }
}

/// The longest path that a base URL ends with and a path begins with, such as `/v1`.
fn overlap<'a>(base_url: &'a str, path: &str) -> Option<&'a str> {
    let base = base_url.trim_end_matches('/');
    let after_scheme = base.find("://").map_or(0, |at| at + 3);
    let starts = base.match_indices('/').map(|(at, _)| at).filter(|at| *at >= after_scheme);
    let mut ends = starts.map(|at| &base[at..]);
    let is_start = |end: &&str| path.strip_prefix(*end).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ends.find(is_start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_repeated_path_is_found() {
        for (base, path, expected) in [
            ("https://gw.example/v1", "/v1/videos/{task_id}", Some("/v1")),
            ("https://gw.example/v1/", "/v1/videos/{task_id}", Some("/v1")),
            ("https://gw.example/x/api/v1", "/api/v1/tasks/{task_id}", Some("/api/v1")),
            ("https://gw.example/v1/videos", "/v1/videos/{task_id}", Some("/v1/videos")),
            ("https://gw.example", "/v1/videos/{task_id}", None),
            ("https://gw.example/api/v3", "/contents/generations/tasks/{task_id}", None),
            ("https://gw.example/v1", "/v1beta/{operation}", None),
            ("https://v1", "/v1/videos", None),
        ] {
            assert_eq!(overlap(base, path), expected, "{base} {path}");
        }
    }

    #[test]
    fn likely_mistakes_are_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yml");
        std::fs::write(folder.path().join("ids.json"), "[]").unwrap();
        let signed = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        std::fs::write(folder.path().join("crt.pem"), signed.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
        let warnings = |entry: &str| parse(&format!("upstreams: [{{name: gw, {entry}}}]"), &path).unwrap().warnings;
        let key = "authorization: {credentials_env: HOME}";
        for (entry, key, word) in [
            ("provider: tokenhot", "upstreams.0.authorization", "provider tokenhot wants a key"),
            ("provider: ark, base_url: 'https://gw.example/api/v3'", "upstreams.0.authorization", "unauthorized"),
            ("provider: tokenhot, base_url: 'https://gw.example/v1', KEY", "upstreams.0.base_url", "/v1/v1/…"),
            (
                "provider: dashscope, base_url: 'https://gw.example/api/v1', KEY",
                "upstreams.0.base_url",
                "/api/v1/api/v1",
            ),
            (
                "provider: kling, base_url: 'https://gw/x', request: {path: '/x/{task_id}'}, KEY",
                "upstreams.0.base_url",
                "ends in /x",
            ),
            (
                "provider: tokenhot, KEY, file_sd_configs: [{files: ['ids.json', 'none/*.json']}]",
                "upstreams.0.file_sd_configs.0.files.1",
                "matches no file",
            ),
            (
                "provider: tokenhot, KEY, file_sd_configs: [{files: ['none.json']}]",
                "upstreams.0.file_sd_configs.0.files.0",
                "matches no file",
            ),
        ] {
            let found = warnings(&entry.replace("KEY", "authorization: {credentials_env: HOME}"));
            assert_eq!(found.len(), 1, "{entry}: {found:?}");
            assert!(found[0].starts_with(&format!("{key}: ")) && found[0].contains(word), "{entry}: {found:?}");
        }
        for entry in [
            &format!("provider: tokenhot, {key}"),
            &format!("provider: tokenhot, base_url: 'https://gw.example', {key}"),
            &format!("provider: ark, base_url: 'https://gw.example/api/v3', {key}"),
            "provider: tokenhot, base_url: 'http://127.0.0.1:10480'",
            "provider: tokenhot, base_url: 'http://[::1]:10480'",
            "provider: tokenhot, base_url: 'http://localhost'",
            "provider: tokenhot, basic_auth: {username: x, password_env: HOME}",
            "provider: tokenhot, tls_config: {cert_file: crt.pem, key_file: key.pem}",
            &format!("provider: tokenhot, {key}, file_sd_configs: [{{files: ['*.json']}}]"),
        ] {
            assert_eq!(warnings(entry), [""; 0], "{entry}");
        }
    }
}
