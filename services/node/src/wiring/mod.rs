//! Builds a node out of its configuration: stores, the way between roles, the roles themselves.

mod assembly;
mod authorities;
mod database;
mod dead_messages;
mod discovery;
mod gauges;
mod http;
mod node;
mod ports;
mod rpc;
mod rpc_metrics;
mod services;
mod stores;

pub(crate) use database::Database;
pub(crate) use node::Node;
pub(crate) use ports::Ports;
pub(crate) use services::{api_for_commands, operators};
pub(crate) use stores::{open_queue, open_timelines};
