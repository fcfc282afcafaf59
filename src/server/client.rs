//! Clients by their address, also behind trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Whom limits apply to: an IPv4 address, or an IPv6 network of 64 bits, because one client can use all of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The client at an address.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// The whole address of a client: two Prometheus servers may be in one network.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// An address or a network of `--web.trusted-proxies`.
#[derive(Debug, Clone)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or_else(|_| address());
        network.map(Self).map_err(|_| "expected an IP address, or a network such as 10.0.0.0/8".to_owned())
    }
}

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// These addresses and networks.
    pub const fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether a trusted proxy has this address.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|Network(network)| network.contains(&address))
    }

    /// The address that a request comes from which `peer` sent. The header is read from the right, because only trusted proxies wrote
    /// its end.
    pub fn find_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer;
        let lists = headers.get_all("x-forwarded-for").iter().rev();
        let mut hops = lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
        while self.has(address)
            && let Some(hop) = hops.next().and_then(parse_hop)
        {
            address = hop;
        }
        address.to_canonical()
    }
}

/// An address, which some proxies write with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|text| text.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        Client::new(proxies.find_address(peer.parse().unwrap(), &headers)).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let trusted = &["10.0.0.0/8", "fd00::1"];
        for (peer, forwarded, client) in [
            ("192.0.2.1", &["198.51.100.7"] as &[_], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3", &["6.6.6.6, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
            ("10.1.2.3", &["6.6.6.6", "198.51.100.7:4711"], "198.51.100.7"),
            ("10.1.2.3", &["6.6.6.6, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["6.6.6.6, unknown, 10.0.0.9"], "10.0.0.9"),
            ("::ffff:10.1.2.3", &["[2001:db8:1:2:3::4]:80"], "2001:db8:1:2::/64"),
            ("fd00::1", &["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
            ("fd00::2", &["2001:db8:1:2::9"], "fd00::/64"),
        ] {
            assert_eq!(find(trusted, peer, forwarded), client, "{peer} {forwarded:?}");
        }
        assert!("10.0.0.0/99".parse::<Network>().is_err() && "proxy".parse::<Network>().is_err());
    }
}
