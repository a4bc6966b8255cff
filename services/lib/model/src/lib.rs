//! Pure rules and plain data that every service shares: no I/O, no clock of its own, nothing
//! of ours below it.

mod clock;
mod delivery;
mod domain;
mod host;
mod id;
mod instance;
mod message;
mod remote;
mod secret;
mod visibility;

pub use clock::{Clock, ManualClock};
pub use delivery::{DeliveryState, Lane, RETRY_LADDER, is_always_sent};
pub use domain::registrable_domain;
pub use host::{HostError, canonical_host, host_of, same_origin, shard_of};
pub use id::{id_at, time_of};
pub use instance::{INSTANCE_ACTOR_USERNAME, Instance};
pub use message::{FANOUT_RANGE_FOLLOWERS, Mail, Message, Queues};
pub use remote::{Addressing, RemoteActor, RemoteAttachment, RemoteEmoji, RemoteField, RemoteNote};
pub use secret::Secret;
pub use visibility::Visibility;
