//! Hosts and deliveries on the command line.

use std::str::FromStr;

use clap::{Args, Subcommand};
use tidegate_delivery::{Cursor, Filter, HostFilter};

use crate::config::Span;

#[derive(Debug, Subcommand)]
pub(crate) enum Hosts {
    /// Shows hosts by name, with what waits for them.
    List(HostsList),
    /// Shows one host.
    Show {
        /// Its name, like mastodon.example.
        host: String,
    },
    /// Sends nothing more to a host; what is for it waits.
    Pause(SteerHost),
    /// Sends what waited for a paused host, in order.
    Resume(SteerHost),
    /// Tries a host that fails now instead of at its next time.
    Probe(SteerHost),
}

#[derive(Debug, Args)]
pub(crate) struct HostsList {
    /// Only hosts in this state: ok, failing or unavailable.
    #[arg(long)]
    state: Option<String>,
    /// Only hosts that were paused.
    #[arg(long)]
    paused: bool,
    /// Only hosts for which something waits.
    #[arg(long)]
    backlog: bool,
    /// Only hosts whose names start so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    name: String,
    /// How many, at most 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Starts after this name: the next page.
    #[arg(long, value_name = "HOST", default_value = "")]
    pub(crate) after: String,
}

impl HostsList {
    pub(crate) fn filter(&self) -> HostFilter {
        HostFilter {
            state: self.state.clone(),
            paused: self.paused,
            backlog: self.backlog,
            name_prefix: self.name.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SteerHost {
    /// Its name, like mastodon.example.
    pub(crate) host: String,
    /// Why; kept with the act.
    #[arg(long, value_name = "WHY", default_value = "")]
    pub(crate) because: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// Shows deliveries, oldest first; without --state those that are not over.
    List(DeliveriesList),
    /// Gives dead deliveries another life.
    Replay(DeliveriesMove),
    /// Cancels deliveries that are parked or dead. Not to be taken back.
    Purge(DeliveriesMove),
    /// Shows where one post went.
    Status {
        /// The post's number.
        id: i64,
    },
}

/// Everything that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// queued, parked, delivered, dead or cancelled.
    #[arg(long)]
    state: Option<String>,
    /// The host that it goes to.
    #[arg(long)]
    host: Option<String>,
    /// The local account that sends it: a name like ada, or a URI.
    #[arg(long)]
    actor: Option<String>,
    /// The reason, as `list` shows it.
    #[arg(long)]
    reason: Option<String>,
    /// Made longer ago than this, for example 2h or 7d.
    #[arg(long, value_name = "AGE")]
    older_than: Option<Span>,
    /// Made within this time, for example 2h or 7d.
    #[arg(long, value_name = "AGE")]
    younger_than: Option<Span>,
    /// The number of the post that it is about.
    #[arg(long, value_name = "ID")]
    status: Option<i64>,
    /// The number of the activity.
    #[arg(long, value_name = "ID")]
    activity: Option<i64>,
}

impl Which {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            state: self.state.clone(),
            host: self.host.clone(),
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            older_than: self.older_than.map(|age| age.0),
            younger_than: self.younger_than.map(|age| age.0),
            status_id: self.status,
            activity_id: self.activity,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesList {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many, at most 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Starts after this delivery, as `list` names it: the next page.
    #[arg(long, value_name = "ACTIVITY-INBOX")]
    pub(crate) after: Option<Place>,
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesMove {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Needed when nothing else says which: every one.
    #[arg(long)]
    pub(crate) all: bool,
    /// How many at most; without it all that match.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) limit: Option<i64>,
    /// Why; kept with the act.
    #[arg(long, value_name = "WHY", default_value = "")]
    pub(crate) because: String,
}

/// A delivery as `list` names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(pub(crate) Cursor);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a delivery: copy one from the first column");
        let (activity_id, inbox_id) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Self(Cursor {
            activity_id: activity_id.parse().map_err(|_| wrong())?,
            inbox_id: inbox_id.parse().map_err(|_| wrong())?,
        }))
    }
}
