//! What the delivery role offers to other roles over gRPC.

mod deliveries;
mod egress;

pub use deliveries::DeliveriesService;
pub use egress::EgressService;
