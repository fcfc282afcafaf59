//! The proxy of a client.

use std::fmt;
use std::net::IpAddr;

use crate::secret::BasicAuth;

/// A proxy for all requests except to some hosts.
#[derive(Clone)]
pub struct Proxy {
    /// Its URL, which may contain a user and a password.
    pub url: String,
    /// Hosts, domains and networks that are reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// Its user and password.
    pub authorization: Option<BasicAuth>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Proxy {
    /// Whether its URL contains a user or a password.
    pub fn has_user_in_url(&self) -> bool {
        let url = reqwest::Url::parse(&self.url);
        url.is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    }

    /// For the HTTP library, with the password as it was read last.
    ///
    /// # Errors
    /// The key of what is invalid, and why.
    pub(super) fn build(&self) -> Result<reqwest::Proxy, (&'static str, String)> {
        // The message of reqwest contains the URL, which may contain a password.
        let proxy = reqwest::Proxy::all(&self.url);
        let proxy = proxy.map_err(|_| ("proxy_url", "not a URL".to_owned()))?;
        let no_proxy = self.no_proxy.as_deref().map(parse_no_proxy).transpose().map_err(|why| ("no_proxy", why))?;
        let proxy = proxy.no_proxy(no_proxy);
        let Some(authorization) = &self.authorization else { return Ok(proxy) };
        let header = format!("Basic {}", authorization.current().encoded.expose());
        let unusable = |_| ("proxy_authorization", "cannot be sent in a header".to_owned());
        let mut header = reqwest::header::HeaderValue::from_str(&header).map_err(unusable)?;
        header.set_sensitive(true);
        Ok(proxy.custom_http_auth(header))
    }
}

/// reqwest takes any other text for the name of a host, which then never matches.
fn parse_no_proxy(text: &str) -> Result<reqwest::NoProxy, String> {
    let is_network = |(address, bits): (&str, &str)| {
        let most = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        address.parse().is_ok_and(|address| bits.parse::<u8>().is_ok_and(|bits| bits <= most(address)))
    };
    let is_host = |entry: &str| {
        !entry.is_empty()
            && entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    for entry in text.split(',').map(str::trim) {
        let is_fine = match entry.split_once('/') {
            Some(network) => is_network(network),
            None => entry == "*" || entry.parse::<IpAddr>().is_ok() || is_host(entry),
        };
        if !is_fine {
            let message =
                "a list of host names, domains, addresses and networks such as 10.0.0.0/8, separated by commas";
            return Err(format!("must be {message}; ports are not supported"));
        }
    }
    reqwest::NoProxy::from_string(text).ok_or_else(|| "is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_addresses_and_networks_are_accepted() {
        for text in ["*", "10.0.0.0/8,internal.example", ".internal.example, 127.0.0.1 ,::1", "fd00::/8", "my_host"] {
            assert!(parse_no_proxy(text).is_ok(), "{text}");
        }
        for text in
            ["", "a,,b", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "a.example:8080", "http://a", "*.a.example", "a b"]
        {
            assert!(parse_no_proxy(text).is_err(), "{text}");
        }
    }
}
