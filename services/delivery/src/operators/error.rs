//! Why an operator's wish was not met.

use tidegate_proto::{ErrorCode, ServiceError};
use tidegate_store::StoreError;

/// An error that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The wish makes no sense as it is.
    #[error("{0}")]
    Invalid(String),
    /// What is meant is not there.
    #[error("{0}")]
    NotFound(String),
    /// The state does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperatorError {
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<sqlx::Error> for OperatorError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<OperatorError> for ServiceError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Invalid(text) => Self::new(ErrorCode::InvalidArgument, text),
            OperatorError::NotFound(text) => Self::new(ErrorCode::NotFound, text),
            OperatorError::Refused(text) => Self::new(ErrorCode::Conflict, text),
            OperatorError::Store(error) => {
                tracing::warn!(%error, "an operator's wish could not be met");
                let code = match error {
                    StoreError::Unavailable(_) => ErrorCode::Unavailable,
                    StoreError::NotFound | StoreError::Conflict(_) | StoreError::Database(_) => {
                        ErrorCode::Internal
                    }
                };
                Self::new(code, "the database did not do it; try again")
            }
        }
    }
}
