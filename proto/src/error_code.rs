//! The one table that says what an error is called in gRPC and in HTTP.

use http::StatusCode;
use tonic::{Code, Status};

/// The nine things that can be wrong with a call between roles, or with a request to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request itself is wrong; sending it again changes nothing.
    InvalidArgument,
    /// Nobody, or somebody unknown, is asking.
    Unauthenticated,
    /// Known, but not allowed.
    PermissionDenied,
    /// What was asked for does not exist, or is not for the asker to see.
    NotFound,
    /// The state does not allow it: taken, already there, out of order.
    Conflict,
    /// A limit or budget is used up; try again later.
    ResourceExhausted,
    /// A part we need is away; try again later.
    Unavailable,
    /// It took longer than the caller wanted to wait.
    DeadlineExceeded,
    /// Our fault.
    Internal,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 9] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::ResourceExhausted,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// The code's row: its gRPC code and its HTTP status.
    const fn row(self) -> (Code, StatusCode) {
        match self {
            Self::InvalidArgument => (Code::InvalidArgument, StatusCode::UNPROCESSABLE_ENTITY),
            Self::Unauthenticated => (Code::Unauthenticated, StatusCode::UNAUTHORIZED),
            Self::PermissionDenied => (Code::PermissionDenied, StatusCode::FORBIDDEN),
            Self::NotFound => (Code::NotFound, StatusCode::NOT_FOUND),
            Self::Conflict => (Code::AlreadyExists, StatusCode::CONFLICT),
            Self::ResourceExhausted => (Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS),
            Self::Unavailable => (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT),
            Self::Internal => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// As gRPC says it.
    pub const fn grpc(self) -> Code {
        self.row().0
    }

    /// As HTTP says it.
    pub const fn http(self) -> StatusCode {
        self.row().1
    }

    /// The code that a gRPC answer stands for; what is not in the table is [`Self::Internal`].
    pub fn from_grpc(code: Code) -> Self {
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.grpc() == code)
            .unwrap_or(Self::Internal)
    }
}

/// An error as it crosses between roles: a code of the table and a sentence for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// Which row of the table.
    pub code: ErrorCode,
    /// What is wrong, for people; never holds secrets or private posts.
    pub message: String,
}

impl ServiceError {
    /// Makes an error of `code` that says `message`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        Self::new(error.code.grpc(), error.message)
    }
}

impl From<Status> for ServiceError {
    fn from(status: Status) -> Self {
        Self::new(ErrorCode::from_grpc(status.code()), status.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_over_grpc() {
        for code in ErrorCode::ALL {
            let there: Status = ServiceError::new(code, "why").into();
            let back = ServiceError::from(there);
            assert_eq!(back.code, code);
            assert_eq!(back.message, "why");
        }
    }

    #[test]
    fn a_code_outside_the_table_is_our_fault() {
        assert_eq!(ErrorCode::from_grpc(Code::DataLoss), ErrorCode::Internal);
    }
}
