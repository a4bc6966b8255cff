//! Why a remote server could not be asked, or its answer is not believed.

use tidegate_proto::{ErrorCode, ServiceError};

/// An error of a fetch or a delivery. Texts name classes, never what the remote side wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The address is not global unicast, or is not one we may connect to.
    #[error("the address is not a public one")]
    BlockedAddress,
    /// Not an absolute http(s) URL that may be fetched.
    #[error("the URL cannot be fetched: {0}")]
    BadUrl(&'static str),
    /// The name has no address, or its servers do not say; the word tells which.
    #[error("the name could not be resolved")]
    Dns(&'static str),
    /// No connection: refused, or no way there.
    #[error("no connection")]
    Connect,
    /// No connection within the time for one.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The certificate or the handshake is wrong; the word tells what.
    #[error("the TLS handshake failed")]
    Tls(&'static str),
    /// The deadline of the whole request passed.
    #[error("the deadline passed")]
    Timeout,
    /// The connection broke before the answer was whole.
    #[error("the connection broke")]
    Broken,
    /// The body is larger than we take, after decompression.
    #[error("the answer is too large")]
    TooLarge,
    /// Too many redirects, or one to where none may lead.
    #[error("the redirect is not followed: {0}")]
    Redirect(&'static str),
    /// An answer other than 2xx.
    #[error("the answer is {0}")]
    Status(u16),
    /// The content type is not exactly an ActivityStreams one (R1).
    #[error("the content type is not an ActivityStreams one")]
    WrongType,
    /// The document's `id` is not where it was found (R1).
    #[error("the id is not the address of the document")]
    WrongId,
    /// WebFinger answered for somebody else.
    #[error("the handle is somebody else's")]
    WrongSubject,
    /// The actor does not list the key.
    #[error("the actor does not list the key")]
    WrongOwner,
    /// The document cannot be read.
    #[error("the document cannot be read")]
    Malformed,
    /// This host was asked too often within the minute.
    #[error("the budget for this host is used up")]
    Budget,
    /// We could not sign: our own fault.
    #[error("the request could not be signed")]
    Signing,
    /// We could not sign because the key is stored with another key-encryption key: our own fault,
    /// until the operator sets the right one.
    #[error("the private key cannot be decrypted")]
    OwnKey,
    /// So many names were being looked up that this one's turn did not come.
    #[error("too many names are being looked up")]
    NoPlace,
}

impl EgressError {
    /// A short fixed word, for metrics, `deliveries.reason` and callers that tell cases apart.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::BlockedAddress => "blocked_address",
            Self::BadUrl(_) => "bad_url",
            Self::Dns(kind) | Self::Tls(kind) => kind,
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::TooLarge => "too_large",
            Self::Redirect(_) => "redirect",
            Self::Status(410) => "gone",
            Self::Status(404) => "not_found",
            Self::Status(_) => "status",
            Self::WrongType => "wrong_type",
            Self::WrongId => "wrong_id",
            Self::WrongSubject => "wrong_subject",
            Self::WrongOwner => "wrong_owner",
            Self::Malformed => "malformed",
            Self::Budget => "budget",
            Self::Signing => "signing",
            Self::OwnKey => "own_key",
            Self::NoPlace => "no_place",
        }
    }

    /// The row of the one table of error codes.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::BlockedAddress | Self::Status(401 | 403) => ErrorCode::PermissionDenied,
            Self::BadUrl(_)
            | Self::Redirect(_)
            | Self::TooLarge
            | Self::WrongType
            | Self::WrongId
            | Self::WrongSubject
            | Self::WrongOwner
            | Self::Malformed => ErrorCode::InvalidArgument,
            Self::Status(404 | 410) => ErrorCode::NotFound,
            Self::Budget | Self::NoPlace | Self::Status(429) => ErrorCode::ResourceExhausted,
            Self::Timeout | Self::ConnectTimeout => ErrorCode::DeadlineExceeded,
            Self::Dns(_) | Self::Connect | Self::Tls(_) | Self::Broken | Self::Status(_) => {
                ErrorCode::Unavailable
            }
            Self::Signing | Self::OwnKey => ErrorCode::Internal,
        }
    }

    /// Whether a byte of a request may have reached the other side.
    pub const fn may_have_arrived(&self) -> bool {
        !matches!(
            self,
            Self::BlockedAddress
                | Self::BadUrl(_)
                | Self::Dns(_)
                | Self::Connect
                | Self::ConnectTimeout
                | Self::Tls(_)
                | Self::Budget
                | Self::Signing
                | Self::OwnKey
                | Self::NoPlace
        )
    }

    /// Whether asking again at once is pointless: what a negative cache may remember. Our own
    /// limits and faults are not the host's answer.
    pub const fn is_worth_remembering(&self) -> bool {
        !matches!(
            self,
            Self::Budget | Self::Signing | Self::OwnKey | Self::NoPlace
        )
    }
}

impl From<EgressError> for ServiceError {
    fn from(error: EgressError) -> Self {
        Self::new(error.code(), format!("{}: {error}", error.class()))
    }
}
