//! What an error of the HTTP library means in our words.

use std::error::Error;
use std::io;

use super::EgressError;
use super::resolver::{Blocked, NoAnswer, NoPlace};

/// The class of a failed request. Nothing of the library's text is kept: it may hold what the
/// remote side wrote.
pub(super) fn classify(error: &reqwest::Error) -> EgressError {
    if caused_by::<Blocked>(error) {
        EgressError::BlockedAddress
    } else if caused_by::<NoPlace>(error) {
        EgressError::NoPlace
    } else if caused_by::<NoAnswer>(error) {
        EgressError::Dns("dns_timeout")
    } else if error.is_timeout() && error.is_connect() {
        EgressError::ConnectTimeout
    } else if error.is_timeout() {
        EgressError::Timeout
    } else if error.is_dns() {
        EgressError::Dns(dns_kind(error))
    } else if error.is_connect() {
        let tls = find::<rustls::Error>(error);
        tls.map_or(EgressError::Connect, |error| {
            EgressError::Tls(tls_kind(error))
        })
    } else {
        // TLS that fails after its handshake too: the request may have arrived.
        EgressError::Broken
    }
}

/// What is wrong with a handshake, in a word that an operator can look up.
fn tls_kind(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "tls_expired",
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "tls_not_yet_valid",
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "tls_name",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "tls_issuer",
        Error::InvalidCertificate(_) => "tls_certificate",
        Error::PeerIncompatible(_)
        | Error::AlertReceived(rustls::AlertDescription::ProtocolVersion) => "tls_version",
        _ => "tls",
    }
}

/// Whether a name does not exist, or its servers refuse to say. The system's resolver tells this
/// only by its own fixed texts: first those of glibc, then those of musl.
const DNS_TEXTS: [(&str, &str); 5] = [
    ("Temporary failure", "dns_temporary"),
    ("Try again", "dns_temporary"),
    ("not known", "dns_no_name"),
    ("does not resolve", "dns_no_name"),
    ("No address associated", "dns_no_address"),
];

fn dns_kind(error: &reqwest::Error) -> &'static str {
    let Some(error) = find::<io::Error>(error) else {
        return "dns";
    };
    if error.kind() == io::ErrorKind::NotFound {
        return "dns_no_address";
    }
    let text = error.to_string();
    let known = DNS_TEXTS.iter().find(|(part, _)| text.contains(part));
    known.map_or("dns", |(_, kind)| kind)
}

fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    find::<E>(error).is_some()
}

/// The first error of this type in a chain of causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error hides what it wraps: its source is the source of that.
        let wrapped = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(inner) = wrapped {
            return find::<E>(inner);
        }
        next = current.source();
    }
    None
}
