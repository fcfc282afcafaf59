//! Protects people who read the pages from other web sites: DNS rebinding and forged requests.

use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, Method, header};

/// Endings of names that no public DNS server answers for.
const PRIVATE_ENDINGS: [&str; 4] = [".svc", ".local", ".internal", ".localhost"];

/// Names of `--web.allowed-host` and `--web.external-url`, under which browsers may read the pages.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// These names.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| normalize(&name)).collect())
    }

    /// Whether a request is for one of these names, an address, or a name that only a private network has. Another name may
    /// belong to a web site that resolves it to our address, to read our pages with the browser of a visitor.
    pub fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok().and_then(host_of));
        hosts.chain(uri.host().map(|host| Some(normalize(host)))).all(|host| host.is_some_and(|host| self.has(&host)))
    }

    fn has(&self, host: &str) -> bool {
        let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        let is_private = !host.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| host.ends_with(ending));
        is_address || is_private || self.0.iter().any(|name| name == host)
    }

    /// Whether the `Origin` of a request is another web site.
    pub fn is_foreign_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return false };
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // A name that somebody makes point here is the same in both headers: it has to be one of ours as well.
        let is_own = |authority: &str| {
            own.is_some_and(|own| own.eq_ignore_ascii_case(authority))
                && host_of(authority).is_some_and(|host| self.has(&host))
                || host_of(authority).is_some_and(|host| self.0.contains(&host))
        };
        !authority.is_some_and(is_own)
    }
}

/// Whether another web site makes a browser send this request, and it would change something.
pub fn is_cross_site_write(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// Parses a name of `--web.allowed-host`.
///
/// # Errors
/// When it is no host name.
pub fn parse_host(text: &str) -> Result<String, String> {
    let host = host_of(text).filter(|host| !host.is_empty() && *host == normalize(text));
    host.ok_or_else(|| "expected a host name without a scheme, port or path".to_owned())
}

/// The URL under which people reach the exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUrl {
    /// Its host.
    pub host: String,
    /// Its path, without the last slash.
    pub path: String,
}

/// Parses `--web.external-url`.
///
/// # Errors
/// When it is no URL with `http` or `https`, or has a query.
pub fn parse_external_url(text: &str) -> Result<ExternalUrl, String> {
    let url = parse_url(text).filter(|(uri, _)| uri.query().is_none());
    let url = url.and_then(|(uri, host)| Some(ExternalUrl { host, path: parse_prefix(uri.path()).ok()? }));
    url.ok_or_else(|| "expected a URL such as https://exporter.example.com/".to_owned())
}

/// A URL of a page, and its host.
fn parse_url(text: &str) -> Option<(Uri, String)> {
    let uri = text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))?;
    let host = normalize(uri.host()?);
    (!host.is_empty()).then_some((uri, host))
}

/// Parses `--web.route-prefix`: a path. Returns it without the last slash.
///
/// # Errors
/// When it has characters that a path of a page does not need.
pub fn parse_prefix(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let path = text.trim_end_matches('/');
    let is_path = path.is_empty() || path.starts_with('/') && !path.contains("//");
    if is_path && path.bytes().all(is_plain) && !path.split('/').any(|part| matches!(part, "." | "..")) {
        return Ok(path.to_owned());
    }
    Err("expected a path such as /videogen, of letters, digits and -_.~".to_owned())
}

/// Parses an address of Grafana, for links; also one below a path. Returns it without the last slash.
///
/// # Errors
/// When it is no URL with `http` or `https`, or has characters that a link cannot have.
pub fn parse_grafana_url(text: &str) -> Result<String, String> {
    parse_url(text).ok_or_else(|| "expected a URL such as https://grafana.example.com".to_owned())?;
    if text.contains(['\'', '"', '<', '>', '{', '}', '#', '?', '\\']) {
        return Err("expected a URL without a query, and without quotes".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn host_of(authority: &str) -> Option<String> {
    authority.parse::<Authority>().ok().map(|authority| normalize(authority.host()))
}

fn normalize(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_public_name_that_is_not_allowed_is_refused() {
        let hosts = AllowedHosts::new(["Exporter.Example.com".to_owned()]);
        let allows = |host| hosts.allow(&Uri::from_static("/"), &headers(&[("host", host)]));
        for host in [
            "localhost:10470",
            "exporter",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "vgx.monitoring.svc",
            "a.b.svc.cluster.local:1",
            "x.internal",
            "exporter.example.com:443",
            "EXPORTER.example.com.",
        ] {
            assert!(allows(host), "{host}");
        }
        for host in
            ["evil.example", "exporter.example.com.evil.example", "127.0.0.1.nip.io", "a b", "", "x.local.evil.io"]
        {
            assert!(!allows(host), "{host}");
        }
        assert!(!hosts.allow(&Uri::from_static("http://evil.example/"), &headers(&[("host", "localhost")])));
    }

    #[test]
    fn other_web_sites_are_recognized() {
        let hosts = AllowedHosts::new(["x.example.com".to_owned()]);
        let foreign = |origin| hosts.is_foreign_origin(&headers(&[("host", "localhost:10470"), ("origin", origin)]));
        assert!(!foreign("http://localhost:10470") && !foreign("https://x.example.com"));
        assert!(foreign("http://localhost:3000") && foreign("null") && foreign("https://evil.example"));
        assert!(!hosts.is_foreign_origin(&headers(&[("host", "localhost")])), "no browser");
        let rebound = headers(&[("host", "evil.example:10470"), ("origin", "http://evil.example:10470")]);
        assert!(hosts.is_foreign_origin(&rebound));
        let cross = headers(&[("sec-fetch-site", "cross-site")]);
        assert!(is_cross_site_write(&Method::POST, &cross) && !is_cross_site_write(&Method::GET, &cross));
        assert!(!is_cross_site_write(&Method::POST, &headers(&[("sec-fetch-site", "same-origin")])));
    }

    #[test]
    fn flags_are_checked() {
        for (text, path) in [("https://X.example.com:8443/vgx/a/", "/vgx/a"), ("http://x.example.com", "")] {
            let expected = ExternalUrl { host: "x.example.com".to_owned(), path: path.to_owned() };
            assert_eq!(parse_external_url(text), Ok(expected), "{text}");
        }
        for text in ["x.example.com", "ftp://x", "https://x/?a=b", "https://x/a'b", "https://x//a", "https://x/a/.."] {
            assert!(parse_external_url(text).is_err(), "{text}");
        }
        assert_eq!(parse_host("X.example.com").as_deref(), Ok("x.example.com"));
        assert!(parse_host("http://x").is_err() && parse_host("x:80").is_err() && parse_host("").is_err());
    }
}
