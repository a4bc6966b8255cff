//! The contract between the services: generated gRPC code and the one table of error codes.
//!
//! Services meet only here and in the queue's message types; none imports another.

/// What the delivery role offers.
pub mod delivery {
    /// Version 1.
    #[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tidegate.delivery.v1");
    }
}

/// What the fanout role offers.
pub mod fanout {
    /// Version 1.
    #[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tidegate.fanout.v1");
    }
}

mod auth;
mod error_code;

pub use auth::{RequireAuth, Rpc, RpcAuth};
pub use error_code::{ErrorCode, ServiceError};
