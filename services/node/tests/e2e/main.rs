//! End to end: the real binary, the real servers, a simulated fediverse, and real clients. Every
//! story runs in both modes with the same text.

mod client;
mod clients;
mod cluster;
mod faults;
mod fedify;
mod first_run;
mod kills;
mod load;
mod operations;
mod operators;
mod process;
mod refusals;
mod rpc_health;
mod stories;
mod strangers;
mod tls;
mod workers;
