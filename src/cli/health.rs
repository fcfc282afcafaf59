//! `health`: asks the running exporter whether it is healthy, for health checks of containers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::runtime::block_on_one_thread;
use super::web_files::WebFiles;
use crate::http::{OwnPort, ask_own_port};

/// Asks `/-/healthy` at the best of the addresses.
pub fn run(options: &Options) -> Result<(), Failure> {
    if options.systemd_socket {
        let message =
            "--web.systemd-socket says no address; name that of the socket unit with --web.listen-address instead";
        return Err(Failure::Input(message.to_owned()));
    }
    let files = WebFiles::load(&options.web_config_files, &options.listen_addresses)?;
    let open = options.listen_addresses.iter().filter(|address| !files.of(address).current().client_certs.are_required);
    let Some(address) = open.min_by_key(|address| preference(address)) else {
        return Err(Failure::Input(
            "every address wants a client certificate; let the exporter listen on one more address for health checks, such as \
             --web.listen-address=127.0.0.1:10471 or unix:PATH, with --web.config.file=ADDRESS=FILE for the others, and name it here"
                .to_owned(),
        ));
    };
    let is_tls = files.of(address).current().tls.is_some();
    let path = format!("{}/-/healthy", options.web().route_prefix);
    let (port, unhealthy) = (own_port(address), |why: String| Failure::Input(format!("{address}: {why}")));
    match block_on_one_thread(async { Ok(ask_own_port(&port, is_tls, &path).await) })? {
        Ok((200, text)) => print_line(text.trim_end()),
        Ok((status, text)) => Err(unhealthy(format!("HTTP {status}: {}", text.trim_end()))),
        Err(error) => Err(unhealthy(format!("no answer: {error}"))),
    }
}

/// Paths first, then addresses of this machine only.
fn preference(address: &str) -> u8 {
    match own_port(address) {
        OwnPort::Unix(_) => 0,
        OwnPort::Tcp(reached) if reached == address => 1,
        OwnPort::Tcp(_) => 2,
    }
}

/// How an address is reached from this machine.
fn own_port(address: &str) -> OwnPort {
    if let Some(path) = address.strip_prefix("unix:") {
        return OwnPort::Unix(PathBuf::from(path));
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let reached = match host.trim_matches(['[', ']']).parse() {
        // An address for every interface includes that of this machine.
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[::1]:{port}"),
        Err(_) if host.is_empty() => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        _ => address.to_owned(),
    };
    OwnPort::Tcp(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reached_from_this_machine() {
        for (address, reached) in [
            ("127.0.0.1:10470", "127.0.0.1:10470"),
            ("0.0.0.0:10470", "127.0.0.1:10470"),
            (":10470", "127.0.0.1:10470"),
            ("[::]:10470", "[::1]:10470"),
            ("[::1]:1", "[::1]:1"),
            ("10.0.0.7:10470", "10.0.0.7:10470"),
            ("exporter.example:10470", "exporter.example:10470"),
        ] {
            assert_eq!(own_port(address), OwnPort::Tcp(reached.to_owned()));
        }
        assert_eq!(own_port("unix:/run/x.sock"), OwnPort::Unix("/run/x.sock".into()));
        let addresses = ["0.0.0.0:1", "10.0.0.7:1", "unix:/x", "127.0.0.1:2"];
        let best = |addresses: &[&'static str]| addresses.iter().copied().min_by_key(|address| preference(address));
        assert_eq!(best(&addresses), Some("unix:/x"));
        assert_eq!(best(&addresses[..2]), Some("10.0.0.7:1"));
    }
}
