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

/// The metadata key under which `Egress` says more about an error than its code does, in one
/// fixed word: `gone` against `not_found`, `blocked_address`, `wrong_id`, `timeout`, ...
pub const EGRESS_CLASS: &str = "tidegate-egress-class";

/// The classes of documents that speak for somebody else: whoever asked for one raises the alarm.
pub const EGRESS_FORGERIES: [&str; 3] = ["wrong_id", "wrong_owner", "wrong_subject"];

mod auth;
mod error_code;

pub use auth::{RequireAuth, Rpc, RpcAuth};
pub use error_code::{ErrorCode, ServiceError};
