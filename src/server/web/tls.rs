//! `tls_server_config`: builds the TLS of a listener from the file and the files it names.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;

use super::client_certs::{POLICIES, Policy, Verifier};
use super::files::Files;
use super::tls_names::{CIPHER_SUITES, CURVES, Named, VERSIONS, supported};
use crate::config::{Problems, Text};
use crate::files::is_readable_by_others;

const AT: &str = "tls_server_config";

/// The section. An empty text is the same as none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsServerConfig {
    cert: Text,
    cert_file: Text,
    key: Text,
    key_file: Text,
    client_ca: Text,
    client_ca_file: Text,
    client_auth_type: Text,
    client_allowed_sans: Option<Vec<Text>>,
    min_version: Text,
    max_version: Text,
    cipher_suites: Option<Vec<Text>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<Vec<Text>>,
}

/// What clients have to prove with certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCerts {
    /// Each has to send one.
    pub are_required: bool,
    /// Those that are sent have to be by a CA that is trusted.
    pub are_verified: bool,
    /// The CAs are those of the file, not those of the system.
    pub have_own_ca: bool,
    /// They have to have one of some names.
    pub have_allowed_names: bool,
}

impl TlsServerConfig {
    /// Whether nothing is set that TLS needs: then there is none.
    fn is_empty(&self) -> bool {
        let texts = [
            &self.cert,
            &self.cert_file,
            &self.key,
            &self.key_file,
            &self.client_ca,
            &self.client_ca_file,
            &self.client_auth_type,
        ];
        texts.iter().all(|Text(text)| text.is_empty())
    }

    /// `client_auth_type`, by default that nobody is asked; `None` if it is not one of the kinds.
    fn policy(&self) -> Option<Policy> {
        let name = Some(self.client_auth_type.0.as_str()).filter(|name| !name.is_empty()).unwrap_or(POLICIES[0].0);
        POLICIES.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
    }

    fn has_client_ca(&self) -> bool {
        !self.client_ca.0.is_empty() || !self.client_ca_file.0.is_empty()
    }

    /// What clients have to prove.
    pub fn client_certs(&self) -> ClientCerts {
        let policy = self.policy();
        ClientCerts {
            are_required: policy.is_some_and(|policy| policy.requires),
            are_verified: policy.is_some_and(|policy| policy.verifies),
            have_own_ca: self.has_client_ca(),
            have_allowed_names: self.client_allowed_sans.is_some(),
        }
    }

    /// Builds the TLS of a listener; `None` without any, and when there are problems.
    pub fn check(&self, has_http2: bool, files: &mut Files, problems: &mut Problems) -> Option<Arc<ServerConfig>> {
        if self.is_empty() {
            return None;
        }
        let before = problems.len();
        let mut provider = default_provider();
        self.limit(&mut provider, problems);
        let versions = self.versions(problems);
        if versions.iter().all(|version| version.version == ProtocolVersion::TLSv1_2)
            && provider.cipher_suites.iter().all(|suite| suite.tls13().is_some())
            && problems.len() == before
        {
            let message = "no cipher suite is left: TLS is limited to TLS12, and the list has none for it";
            problems.add(format!("{AT}.cipher_suites"), message);
        }
        let provider = Arc::new(provider);
        let verifier = self.verifier(&provider, files, problems);
        let chain = read_required("cert", (&self.cert, &self.cert_file), files, problems);
        let key = read_required("key", (&self.key, &self.key_file), files, problems);
        let chain = chain.and_then(|pem| certificates(&pem, &key_of("cert", &self.cert), problems));
        let key = key.and_then(|pem| {
            let key = PrivateKeyDer::from_pem_slice(&pem);
            key.map_err(|_| problems.add(key_of("key", &self.key), "has no private key in PEM")).ok()
        });
        if problems.len() > before {
            return None;
        }
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let has_client_certs = verifier.is_some();
        let config = builder.and_then(|builder| {
            let builder = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
                None => builder.with_no_client_auth(),
            };
            builder.with_single_cert(chain.unwrap_or_default(), key.ok_or(rustls::Error::NoCertificatesPresented)?)
        });
        let mut config = config.map_err(|error| problems.add(AT, describe(&error))).ok()?;
        if has_client_certs {
            // A resumed session would skip the certificate of its client, which may be refused by now.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        let protocols: &[&[u8]] = if has_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Some(Arc::new(config))
    }

    /// `min_version` to `max_version`, of what rustls has.
    fn versions(&self, problems: &mut Problems) -> Vec<&'static SupportedProtocolVersion> {
        let mut place = |key: &str, Text(name): &Text, default: usize| {
            if name.is_empty() {
                return default;
            }
            let found = VERSIONS.iter().position(|(known, _)| known == name);
            if found.is_none() {
                let message = format!("unknown TLS version; this exporter has {}", supported(&VERSIONS));
                problems.add(format!("{AT}.{key}"), message);
            }
            found.unwrap_or(default)
        };
        let last = VERSIONS.len() - 1;
        // Without `min_version`, Go begins with TLS 1.2.
        let (min, max) = (place("min_version", &self.min_version, 2), place("max_version", &self.max_version, last));
        if min > max {
            problems.add(format!("{AT}.min_version"), "must not be above max_version");
            return Vec::new();
        }
        let versions: Vec<_> = VERSIONS[min..=max].iter().filter_map(|(_, version)| *version).collect();
        if versions.is_empty() {
            problems.add(
                format!("{AT}.max_version"),
                format!("no version is left: this exporter has {}", supported(&VERSIONS)),
            );
        } else if VERSIONS[min].1.is_none() {
            let message = format!("TLS begins with TLS12: this exporter has {}", supported(&VERSIONS));
            problems.warn(format!("{AT}.min_version"), message);
        }
        versions
    }

    /// Leaves only the configured cipher suites and curves.
    fn limit(&self, provider: &mut CryptoProvider, problems: &mut Problems) {
        let configured = choose("cipher_suites", "cipher suite", self.cipher_suites.as_ref(), &CIPHER_SUITES, problems);
        if let Some(mut suites) = configured {
            // As in Go, the list is about TLS 1.2: those of TLS 1.3 are all secure.
            suites.retain(|suite| suite.tls13().is_none());
            let of_tls13 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
            provider.cipher_suites = of_tls13.copied().chain(suites).collect();
        }
        if let Some(curves) = choose("curve_preferences", "curve", self.curve_preferences.as_ref(), &CURVES, problems) {
            provider.kx_groups = curves;
        }
    }

    /// Who checks the certificates of clients; `None` if nobody asks for one, and when there are problems.
    fn verifier(&self, provider: &Arc<CryptoProvider>, files: &mut Files, problems: &mut Problems) -> Option<Verifier> {
        let has_ca = self.has_client_ca();
        let Some(policy) = self.policy() else {
            let names = POLICIES.map(|(name, _)| name).join(", ");
            problems.add(format!("{AT}.client_auth_type"), format!("unknown value; known values: {names}"));
            return None;
        };
        let key = key_of("client_ca", &self.client_ca);
        let pem = if has_ca {
            read_either("client_ca", (&self.client_ca, &self.client_ca_file), files, problems)
        } else {
            None
        };
        if has_ca && !policy.asks {
            problems.add(AT, "client_ca needs a client_auth_type: without one, no client is asked for a certificate");
        }
        let sans: Vec<String> = self.client_allowed_sans.iter().flatten().map(|Text(name)| name.clone()).collect();
        if sans.is_empty() && self.client_allowed_sans.is_some() {
            problems.add(format!("{AT}.client_allowed_sans"), "has no name: no certificate could be accepted");
        }
        if !sans.is_empty() && !policy.asks {
            problems.add(AT, "client_allowed_sans needs a client_auth_type: no client is asked for a certificate");
        }
        let trusted = match pem {
            Some(pem) => certificates(&pem, &key, problems)?,
            None if has_ca => return None,
            None => system_certificates(policy),
        };
        if !policy.asks {
            return None;
        }
        let verifier = Verifier::new(policy, (trusted, has_ca), sans, provider.clone());
        verifier.map_err(|message| problems.add(key, message)).ok()
    }
}

/// The key of a value that may be in the file or in another one.
fn key_of(name: &str, inline: &Text) -> String {
    if inline.0.is_empty() { format!("{AT}.{name}_file") } else { format!("{AT}.{name}") }
}

/// Reads what is required either in this file or in another one.
fn read_required(
    name: &str,
    (inline, file): (&Text, &Text),
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    if inline.0.is_empty() && file.0.is_empty() {
        problems.add(AT, format!("missing one of {name} or {name}_file"));
        return None;
    }
    read_either(name, (inline, file), files, problems)
}

/// Go takes the CAs of the system where the file names none.
fn system_certificates(policy: Policy) -> Vec<CertificateDer<'static>> {
    if policy.verifies { rustls_native_certs::load_native_certs().certs } else { Vec::new() }
}

fn read_either(
    name: &str,
    (inline, file): (&Text, &Text),
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    if !inline.0.is_empty() && !file.0.is_empty() {
        problems.add(AT, format!("set only one of {name} and {name}_file"));
        return None;
    }
    if !inline.0.is_empty() {
        return Some(inline.0.clone().into_bytes());
    }
    let (path, read) = files.read(&file.0);
    if name == "key" && is_readable_by_others(&path) {
        problems.warn(format!("{AT}.key_file"), "every user of this machine can read the file; give it mode 0600");
    }
    let message = |error| format!("cannot read {}: {error}", path.display());
    read.map_err(|error| problems.add(format!("{AT}.{name}_file"), message(error))).ok()
}

/// The certificates in a PEM text; at least one.
fn certificates(pem: &[u8], key: &str, problems: &mut Problems) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(found),
        _ => {
            problems.add(key, "has no certificate in PEM");
            None
        }
    }
}

/// What rustls has of a configured list, in its order; `None` without a list.
fn choose<T: Copy>(
    key: &str,
    kind: &str,
    configured: Option<&Vec<Text>>,
    names: &[Named<T>],
    problems: &mut Problems,
) -> Option<Vec<T>> {
    let configured = configured.filter(|list| !list.is_empty())?;
    let (before, mut chosen, mut missing) = (problems.len(), Vec::new(), Vec::new());
    for (n, Text(name)) in configured.iter().enumerate() {
        match names.iter().find(|(known, _)| known == name) {
            Some((_, Some(found))) => chosen.push(*found),
            Some((name, None)) => missing.push(*name),
            None => problems
                .add(format!("{AT}.{key}.{n}"), format!("unknown {kind}; this exporter has {}", supported(names))),
        }
    }
    let missing = missing.join(", ");
    if problems.len() == before && chosen.is_empty() {
        let message = format!("no {kind} is left without {missing}; this exporter has {}", supported(names));
        problems.add(format!("{AT}.{key}"), message);
    } else if !missing.is_empty() {
        let message = format!("this exporter does not have {missing}; it has {}", supported(names));
        problems.warn(format!("{AT}.{key}"), message);
    }
    Some(chosen)
}

/// An error of rustls for people.
fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        other => other.to_string(),
    }
}
