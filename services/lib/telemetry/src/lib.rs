//! What every role does to be seen and to end well: metrics, logs, and the two-stage stop.

mod logging;
mod metrics;
mod stop;

pub use logging::{LogFormat, init_logging};
pub use metrics::{metrics_router, render};
pub use prometheus;
pub use stop::Stop;
