//! What an inbox's answer means (design section 6, "Answers"). Pure.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Attempted, Reply};
use crate::egress::EgressError;

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Class {
    /// 2xx.
    Delivered,
    /// Final for this row: any 4xx that is not named below.
    Final(String),
    /// 404, 405 or 410: final, unless the whole host is moving.
    Gone(&'static str),
    /// Nothing answers there: refused, no name, no valid certificate.
    HostDown(&'static str),
    /// It may pass: no answer in time, 5xx, 408, 425, a redirect.
    HostTrouble(&'static str),
    /// 503 with a time.
    Busy {
        reason: &'static str,
        retry_after: Option<Duration>,
    },
    /// 429.
    TooMany { retry_after: Option<Duration> },
    /// 401: their mistake, or our clock or key. `skew` is how far their clock is ahead of ours.
    Unauthorized { skew: Option<time::Duration> },
    /// No answer, for a reason of ours that passes: this process stood still, or had no place for
    /// a look-up. It says nothing about the host.
    Unheard(&'static str),
    /// Nothing was sent, because the key cannot be read until an operator does something.
    OwnKey,
    /// Our own fault, or an address that must not be asked: asking again changes nothing.
    OwnFault(&'static str),
}

/// Certificates that a wrong clock or a missing list of issuers refuses.
const OWN_TLS: [&str; 3] = ["tls_expired", "tls_not_yet_valid", "tls_issuer"];

impl Class {
    pub(crate) const fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered)
    }

    /// How long the host asks to be left alone.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::TooMany { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// A fixed word for what went wrong.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Final(reason) => Some(reason),
            Self::Gone(reason)
            | Self::HostDown(reason)
            | Self::HostTrouble(reason)
            | Self::Busy { reason, .. }
            | Self::Unheard(reason)
            | Self::OwnFault(reason) => Some(reason),
            Self::TooMany { .. } => Some("status_429"),
            Self::Unauthorized { .. } => Some("status_401"),
            Self::OwnKey => Some("own_key"),
        }
    }

    /// The same without an answer, when this process stood still while one was due.
    pub(crate) fn unheard(self) -> Self {
        match self {
            Self::HostDown(reason) | Self::HostTrouble(reason) => Self::Unheard(reason),
            other => other,
        }
    }

    /// Whether the trouble may as well be ours: the network, or what a certificate is judged by.
    /// With a wrong clock or without the list of issuers those of all hosts are refused here.
    pub(crate) fn may_be_ours(&self) -> bool {
        match self {
            Self::HostDown(reason) => !reason.starts_with("tls") || OWN_TLS.contains(reason),
            Self::HostTrouble(reason) => {
                matches!(*reason, "timeout" | "connect_timeout" | "broken")
            }
            _ => false,
        }
    }
}

/// The meaning of an attempt that ended at `now`.
pub(crate) fn classify(attempted: &Attempted, now: OffsetDateTime) -> Class {
    match &attempted.reply {
        Reply::Answered {
            status,
            retry_after,
        } => match status {
            200..=299 => Class::Delivered,
            401 => Class::Unauthorized {
                skew: attempted.server_date.map(|date| date - now),
            },
            404 => Class::Gone("status_404"),
            405 => Class::Gone("status_405"),
            410 => Class::Gone("status_410"),
            408 => Class::HostTrouble("status_408"),
            425 => Class::HostTrouble("status_425"),
            429 => Class::TooMany {
                retry_after: *retry_after,
            },
            400..=499 => Class::Final(format!("status_{status}")),
            503 if retry_after.is_some() => Class::Busy {
                reason: "status_503",
                retry_after: *retry_after,
            },
            500 => Class::HostTrouble("status_500"),
            502 => Class::HostTrouble("status_502"),
            503 => Class::HostTrouble("status_503"),
            504 => Class::HostTrouble("status_504"),
            // Redirects of a POST are never followed; a host under repair answers so too.
            300..=399 => Class::HostTrouble("redirect"),
            500..=599 => Class::HostTrouble("status_5xx"),
            _ => Class::HostTrouble("status_odd"),
        },
        Reply::Failed(error) => match error {
            EgressError::BlockedAddress | EgressError::BadUrl(_) | EgressError::Signing => {
                Class::OwnFault(error.class())
            }
            EgressError::Dns(kind) | EgressError::Tls(kind) => Class::HostDown(kind),
            EgressError::Connect => Class::HostDown("connect"),
            EgressError::NoPlace => Class::Unheard(error.class()),
            EgressError::OwnKey => Class::OwnKey,
            other => Class::HostTrouble(other.class()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Class {
        let attempted = Attempted {
            reply: Reply::Answered {
                status,
                retry_after: retry_after.map(Duration::from_secs),
            },
            ..Attempted::failed(EgressError::Broken)
        };
        classify(&attempted, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_table_of_answers() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answered(status, None), Class::Delivered);
        }
        for status in [400, 402, 403, 406, 413, 422, 451, 499] {
            let reason = format!("status_{status}");
            assert_eq!(answered(status, Some(9)), Class::Final(reason));
        }
        for status in [404, 405, 410] {
            assert!(matches!(answered(status, None), Class::Gone(_)), "{status}");
        }
        for status in [
            301, 302, 307, 308, 408, 425, 500, 502, 503, 504, 520, 599, 100,
        ] {
            let class = answered(status, None);
            assert!(
                matches!(class, Class::HostTrouble(_)),
                "{status}: {class:?}"
            );
        }
        let wait = Some(Duration::from_secs(7));
        assert_eq!(answered(429, Some(7)), Class::TooMany { retry_after: wait });
        let busy = Class::Busy {
            reason: "status_503",
            retry_after: wait,
        };
        assert_eq!(answered(503, Some(7)), busy);
    }

    #[test]
    fn errors_by_kind() {
        let class = |error| classify(&Attempted::failed(error), OffsetDateTime::UNIX_EPOCH);
        for (error, word) in [
            (EgressError::Connect, "connect"),
            (EgressError::Dns("dns_no_name"), "dns_no_name"),
            (EgressError::Tls("tls_expired"), "tls_expired"),
        ] {
            assert_eq!(class(error), Class::HostDown(word));
        }
        for error in [
            EgressError::Timeout,
            EgressError::ConnectTimeout,
            EgressError::Broken,
        ] {
            assert!(matches!(class(error), Class::HostTrouble(_)));
        }
        for error in [
            EgressError::BlockedAddress,
            EgressError::BadUrl("x"),
            EgressError::Signing,
        ] {
            assert!(matches!(class(error), Class::OwnFault(_)));
        }
        assert_eq!(class(EgressError::NoPlace), Class::Unheard("no_place"));
        assert_eq!(class(EgressError::OwnKey), Class::OwnKey);
    }

    #[test]
    fn what_failed_before_a_request_touched_nobody() {
        for (error, touched) in [
            (EgressError::Connect, false),
            (EgressError::Tls("tls"), false),
            (EgressError::Dns("dns"), false),
            (EgressError::ConnectTimeout, false),
            (EgressError::OwnKey, false),
            (EgressError::NoPlace, false),
            (EgressError::Timeout, true),
            (EgressError::Broken, true),
        ] {
            assert_eq!(Attempted::failed(error).touched, touched);
        }
    }

    #[test]
    fn a_wrong_clock_or_a_missing_list_of_issuers_here_refuses_every_certificate() {
        for (reason, may_be_ours) in [
            ("tls_expired", true),
            ("tls_not_yet_valid", true),
            ("tls_issuer", true),
            ("tls_name", false),
            ("tls_version", false),
            ("connect", true),
        ] {
            assert_eq!(
                Class::HostDown(reason).may_be_ours(),
                may_be_ours,
                "{reason}"
            );
        }
        assert!(!Class::HostTrouble("status_503").may_be_ours());
    }

    #[test]
    fn the_clock_of_who_refuses_is_compared_with_ours() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let attempted = Attempted {
            reply: Reply::Answered {
                status: 401,
                retry_after: None,
            },
            server_date: Some(now + time::Duration::hours(2)),
            ..Attempted::failed(EgressError::Broken)
        };
        let skew = Some(time::Duration::hours(2));
        assert_eq!(classify(&attempted, now), Class::Unauthorized { skew });
    }
}
