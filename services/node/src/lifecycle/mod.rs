//! From start to exit: tasks that may not die unnoticed, signals, the two-stage stop, health.

mod health;
mod signals;
mod tasks;

pub(crate) use health::{Health, router};
pub(crate) use signals::Signals;
pub(crate) use tasks::Tasks;
