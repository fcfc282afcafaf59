//! Client certificates: who has to send one, and which are accepted, as Go decides it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, oid::ObjectIdentifier};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// `extendedKeyUsage` of certificates for clients, and for anything (RFC 5280, section 4.2.1.12).
const CLIENT_AUTH: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// `client_auth_type` (`crypto/tls.ClientAuthType` of Go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Clients are asked for a certificate.
    pub asks: bool,
    /// A client without one is refused.
    pub requires: bool,
    /// One that is sent has to be by a CA of `client_ca`, or of the system.
    pub verifies: bool,
}

const NONE: Policy = Policy { asks: false, requires: false, verifies: false };

/// The five kinds; `RequireClientCert` is an older name of `RequireAnyClientCert`.
pub const POLICIES: [(&str, Policy); 6] = [
    ("NoClientCert", NONE),
    ("RequestClientCert", Policy { asks: true, ..NONE }),
    ("RequireAnyClientCert", Policy { asks: true, requires: true, verifies: false }),
    ("RequireClientCert", Policy { asks: true, requires: true, verifies: false }),
    ("VerifyClientCertIfGiven", Policy { asks: true, requires: false, verifies: true }),
    ("RequireAndVerifyClientCert", Policy { asks: true, requires: true, verifies: true }),
];

/// Checks the certificates of clients.
pub struct Verifier {
    policy: Policy,
    /// The certificates of `client_ca`: a client may also send one of them itself.
    trusted: Vec<CertificateDer<'static>>,
    /// Checks chains; `None` when there is no CA.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    allowed_sans: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Accepts certificates by the CAs in `trusted`, which are of the file itself or of the system; with `allowed_sans`, only those that have one of these names.
    ///
    /// # Errors
    /// When one of `trusted` is no certificate.
    pub fn new(
        policy: Policy,
        (trusted, is_own): (Vec<CertificateDer<'static>>, bool),
        allowed_sans: Vec<String>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if is_own {
            for certificate in &trusted {
                roots.add(certificate.clone()).map_err(|error| error.to_string())?;
            }
        } else {
            // Those of the system that cannot be read are not the fault of the file.
            roots.add_parsable_certificates(trusted.iter().cloned());
        }
        let chains = if roots.is_empty() || !policy.verifies {
            None
        } else {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Some(builder.build().map_err(|error| error.to_string())?)
        };
        Ok(Self { policy, trusted, chains, allowed_sans, provider })
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.policy.asks
    }

    fn client_auth_mandatory(&self) -> bool {
        self.policy.requires
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.as_ref().map_or(&[], |chains| chains.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.policy.verifies {
            // Go accepts a certificate that is trusted itself. The rules of the web would refuse it when it is a CA's.
            if self.trusted.iter().any(|trusted| trusted == end_entity) {
                check_usable(&parse(end_entity)?, now)?;
            } else {
                let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
                self.chains.as_ref().ok_or(unknown)?.verify_client_cert(end_entity, intermediates, now)?;
            }
        }
        if !self.allowed_sans.is_empty() {
            let names = alternative_names(&parse(end_entity)?)?;
            if !names.iter().any(|name| self.allowed_sans.contains(name)) {
                let message = "no name in the certificate of the client is in client_allowed_sans";
                return Err(Error::General(message.to_owned()));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

const BAD_ENCODING: Error = Error::InvalidCertificate(CertificateError::BadEncoding);

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(der).map_err(|_| BAD_ENCODING)
}

/// Checks that a certificate is valid now, and for clients.
fn check_usable(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = &certificate.tbs_certificate.validity;
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    let usage = certificate.tbs_certificate.get::<ExtendedKeyUsage>().map_err(|_| BAD_ENCODING)?;
    if usage.is_none_or(|(_, usage)| usage.0.iter().any(|purpose| CLIENT_AUTH.contains(purpose))) {
        Ok(())
    } else {
        Err(Error::InvalidCertificate(CertificateError::InvalidPurpose))
    }
}

/// The alternative names of a certificate as Go writes them: DNS names, mail addresses, IP addresses and URIs.
fn alternative_names(certificate: &Certificate) -> Result<Vec<String>, Error> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>().map_err(|_| BAD_ENCODING)?;
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name) => {
            Some(name.as_str().to_owned())
        }
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())).ok()
        }
        _ => None,
    };
    Ok(names.iter().flat_map(|(_, names)| names.0.iter().filter_map(text)).collect())
}
