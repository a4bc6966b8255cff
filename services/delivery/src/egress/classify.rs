//! What an error of the HTTP library means in our words.

use std::error::Error;
use std::io;

use super::EgressError;
use super::resolver::Blocked;

/// The class of a failed request. Nothing of the library's text is kept: it may hold what the
/// remote side wrote.
pub(super) fn classify(error: &reqwest::Error) -> EgressError {
    if caused_by::<Blocked>(error) {
        EgressError::BlockedAddress
    } else if error.is_timeout() {
        EgressError::Timeout
    } else if error.is_dns() {
        EgressError::Dns
    } else if caused_by::<rustls::Error>(error) {
        EgressError::Tls
    } else if error.is_connect() {
        EgressError::Connect
    } else {
        EgressError::Broken
    }
}

fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if current.is::<E>() {
            return true;
        }
        // An I/O error hides what it wraps: its source is the source of that.
        let wrapped = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(inner) = wrapped {
            return caused_by::<E>(inner);
        }
        next = current.source();
    }
    false
}
