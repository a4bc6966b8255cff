//! The simulated fediverse: one process and one port that play thousands of hosts, with actors
//! that follow, post and misbehave as told, and a ledger of everything they receive.
//!
//! Every test of Tidegate in which another server takes part uses this one simulator; what no
//! well-behaved library can play (bytes on a socket, hostile names) is played beside it. It
//! verifies signatures with code of its own over the `rsa` crate, and takes nothing from
//! Tidegate's crates, so that both sides cannot share a mistake.
//!
//! ```no_run
//! # async fn example() -> Result<(), tidegate_loadtest::SimError> {
//! use tidegate_loadtest::{PostSpec, Sim, SimConfig};
//!
//! let tidegate = "127.0.0.1:3000".parse().expect("an address");
//! let sim = Sim::start(SimConfig::towards("tide.test", tidegate)).await?;
//! let ada = sim.add_actor("alpha.sim.test", "ada", true);
//! sim.follow(&ada, "http://tide.test/users/grace").await?;
//! sim.post(&ada, &PostSpec::public("<p>hello</p>")).await?;
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod bare;
pub mod behaviour;
pub mod control;
pub mod documents;
mod error;
pub mod ledger;
pub mod neighbour;
pub mod signature;
mod sim;
mod transport;
mod world;

pub use behaviour::{Fault, HostBehaviour, Script, SignaturePolicy, Step};
pub use error::SimError;
pub use ledger::{ActivityHead, Arrival, Counts, Entry, Ledger, LedgerBounds};
pub use signature::{Scheme, verdict::Verdict};
pub use sim::{
    Delivery, PostSpec, Posted, RawRequest, RawSignature, RemoteActor, Sent, Sim, SimConfig,
    SimTls, Visibility,
};
pub use transport::Answer;
pub use world::{ActorRef, ActorSpec, Document, FollowState, Following, Recipient};
