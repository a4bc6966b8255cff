//! Home timelines in Redis: one plain list per account.
//!
//! Appending is the hot path and is one `RPUSHX` per list in pipelines, at about 1 us of Redis
//! each; everything that needs more than one step is a script, so that nothing comes between.
//! A list is trusted only by the run of Redis that it was built in.

mod link;

use std::time::Duration;

use ::redis::{Pipeline, Script};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_model::{Clock, Secret};

use self::link::{Link, Live};
use crate::{
    List, Marker, TRIM_ABOVE, TRIM_TO, TTL, TimelineError, Timelines, deadline_after, new_nonce,
};

/// For a read: a person waits, and SQL can answer instead.
const READ_LIMIT: Duration = Duration::from_millis(250);

/// For a pipeline of appends or a rebuild: nobody waits at a screen, and giving up early would
/// only repeat work. The client library's own 500 ms died under load.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Lists per pipeline: measured flat from here on, and small enough that a reader on the same
/// server waits half a millisecond at most.
const CHUNK: usize = 500;

/// Pipelines in flight at once: keeps Redis busy while replies travel.
const CHUNKS_IN_FLIGHT: usize = 4;

/// How to reach a Redis.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://...` or `rediss://...`.
    pub url: Secret<String>,
    /// For `rediss://`: certificates in PEM, one of whose owners must have signed the server's.
    pub authorities: String,
    /// In front of every key, for example `tidegate:`.
    pub prefix: String,
}

/// The backend on Redis.
pub struct RedisTimelines {
    node: Node,
    prefix: String,
    clock: Clock,
    scripts: Scripts,
}

/// One server. Lists are grouped by [`RedisTimelines::groups`] before they are written, so that
/// several servers mean several of these and nothing else.
struct Node {
    /// Apart from writes, so that a long pipeline does not delay a reader.
    reads: Link,
    writes: Link,
}

struct Scripts {
    begin: Script,
    finish: Script,
    trim: Script,
    touch: Script,
}

impl RedisTimelines {
    /// Only checks the URL; connections are made when first needed and whenever they are lost.
    pub fn new(options: &RedisOptions, clock: Clock) -> Result<Self, TimelineError> {
        Ok(Self {
            node: Node {
                reads: Link::new(options, READ_LIMIT)?,
                writes: Link::new(options, WRITE_LIMIT)?,
            },
            prefix: options.prefix.clone(),
            clock,
            scripts: Scripts {
                begin: Script::new(include_str!("begin.lua")),
                finish: Script::new(include_str!("finish.lua")),
                trim: Script::new(include_str!("trim.lua")),
                touch: Script::new(include_str!("touch.lua")),
            },
        })
    }

    /// Whether Redis answers, for `tidegate doctor`. Readiness does not ask: timelines are read
    /// from the database while Redis is away.
    pub async fn check(&self) -> Result<(), TimelineError> {
        self.node.reads.live().await.map(|_| ())
    }

    fn key(&self, account: i64) -> String {
        format!("{}home:{account}", self.prefix)
    }

    fn node_of(&self, _account: i64) -> &Node {
        &self.node
    }

    /// The accounts of each server.
    fn groups<'a>(&'a self, accounts: &'a [i64]) -> impl Iterator<Item = (&'a Node, &'a [i64])> {
        std::iter::once((&self.node, accounts))
    }

    fn now_seconds(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    /// One pipeline of appends. Returns the lists that are now too long.
    async fn append_chunk(
        &self,
        node: &Node,
        accounts: &[i64],
        status_id: i64,
    ) -> Result<Vec<String>, TimelineError> {
        let keys: Vec<String> = accounts.iter().map(|account| self.key(*account)).collect();
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in &keys {
            pipeline.cmd("RPUSHX").arg(key).arg(status_id);
        }
        let lengths: Vec<usize> = node
            .writes
            .run(async |live: &mut Live| pipeline.query_async(&mut live.connection).await)
            .await?;
        let long = keys.into_iter().zip(lengths);
        // The marker is the first element.
        Ok(long
            .filter(|(_, length)| *length > TRIM_ABOVE + 1)
            .map(|(key, _)| key)
            .collect())
    }

    async fn trim(&self, node: &Node, key: &str) -> Result<(), TimelineError> {
        let mut trim = self.scripts.trim.key(key);
        trim.arg(TRIM_ABOVE).arg(TRIM_TO);
        node.writes
            .run(async |live: &mut Live| trim.invoke_async::<()>(&mut live.connection).await)
            .await
    }
}

#[async_trait]
impl Timelines for RedisTimelines {
    async fn append(&self, accounts: &[i64], status_id: i64) -> Result<(), TimelineError> {
        for (node, accounts) in self.groups(accounts) {
            let chunks: Vec<_> = accounts
                .chunks(CHUNK)
                .map(|chunk| self.append_chunk(node, chunk, status_id))
                .collect();
            let long: Vec<Vec<String>> = stream::iter(chunks)
                .buffer_unordered(CHUNKS_IN_FLIGHT)
                .try_collect()
                .await?;
            for key in long.into_iter().flatten() {
                if let Err(error) = self.trim(node, &key).await {
                    // The append stands; the next one finds the list too long again.
                    tracing::warn!(%error, "a long list was not cut");
                }
            }
        }
        Ok(())
    }

    async fn read(&self, account: i64) -> Result<List, TimelineError> {
        let mut command = ::redis::cmd("LRANGE");
        command.arg(self.key(account)).arg(0).arg(-1);
        let (values, run): (Vec<String>, String) = self
            .node_of(account)
            .reads
            .run(async |live: &mut Live| {
                let values = command.query_async(&mut live.connection).await?;
                Ok((values, live.run.clone()))
            })
            .await?;
        Ok(trusted(&values, &run, self.now_seconds()))
    }

    async fn begin(
        &self,
        account: i64,
        time_limit: Duration,
    ) -> Result<Option<String>, TimelineError> {
        let now_millis = (self.clock.now().unix_timestamp_nanos() / 1_000_000) as i64;
        let deadline = deadline_after(now_millis, time_limit);
        // Twice the limit: somebody may still finish a little late, but nobody for ever.
        let life = time_limit.saturating_mul(2).max(Duration::from_secs(1));
        let random = new_nonce();
        let (taken, nonce) = self
            .node_of(account)
            .writes
            .run(async |live: &mut Live| {
                // The run is part of the nonce: a rebuild does not survive its store.
                let nonce = format!("{random}.{}", live.run);
                let mut begin = self.scripts.begin.key(self.key(account));
                begin
                    .arg(&nonce)
                    .arg(deadline)
                    .arg(now_millis / 1000)
                    .arg(&live.run)
                    .arg(millis(life));
                let taken: bool = begin.invoke_async(&mut live.connection).await?;
                Ok((taken, nonce))
            })
            .await?;
        Ok(taken.then_some(nonce))
    }

    async fn finish(
        &self,
        account: i64,
        nonce: &str,
        floor: i64,
        ids: &[i64],
    ) -> Result<bool, TimelineError> {
        // A cut drops the front: that must be the oldest.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        self.node_of(account)
            .writes
            .run(async |live: &mut Live| {
                if run_of(nonce) != Some(live.run.as_str()) {
                    return Ok(false);
                }
                let mut finish = self.scripts.finish.key(self.key(account));
                finish
                    .arg(nonce)
                    .arg(floor)
                    .arg(&live.run)
                    .arg(millis(TTL))
                    .arg(TRIM_ABOVE)
                    .arg(TRIM_TO)
                    .arg(&ids);
                finish.invoke_async(&mut live.connection).await
            })
            .await
    }

    async fn remove(&self, accounts: &[i64]) -> Result<(), TimelineError> {
        for (node, accounts) in self.groups(accounts) {
            for chunk in accounts.chunks(CHUNK) {
                let mut pipeline = Pipeline::with_capacity(chunk.len());
                for account in chunk {
                    pipeline.cmd("UNLINK").arg(self.key(*account)).ignore();
                }
                node.writes
                    .run(async |live: &mut Live| {
                        pipeline.query_async::<()>(&mut live.connection).await
                    })
                    .await?;
            }
        }
        Ok(())
    }

    async fn touch(&self, account: i64) -> Result<(), TimelineError> {
        let mut touch = self.scripts.touch.key(self.key(account));
        touch.arg(millis(TTL));
        self.node_of(account)
            .writes
            .run(async |live: &mut Live| touch.invoke_async::<()>(&mut live.connection).await)
            .await
    }
}

/// What a stored list is worth to this run of Redis.
fn trusted(values: &[String], run: &str, now_seconds: i64) -> List {
    let Some((head, ids)) = values.split_first() else {
        return List::Absent;
    };
    match Marker::decode(head) {
        Some(Marker::Building { nonce, deadline })
            if deadline > now_seconds && run_of(&nonce) == Some(run) =>
        {
            List::Building
        }
        Some(Marker::Complete {
            floor,
            run: built_in,
        }) if built_in == run => {
            // Anything but a number would mean that somebody else wrote here.
            match ids.iter().map(|id| id.parse()).collect() {
                Ok(ids) => List::Complete { floor, ids },
                Err(_) => List::Absent,
            }
        }
        _ => List::Absent,
    }
}

fn run_of(nonce: &str) -> Option<&str> {
    nonce.split_once('.').map(|(_, run)| run)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn only_a_list_of_this_run_is_trusted() {
        let values = list(&["complete:7:run", "9", "8"]);
        assert_eq!(
            trusted(&values, "run", 0),
            List::Complete {
                floor: 7,
                ids: vec![9, 8]
            }
        );
        assert_eq!(trusted(&values, "other", 0), List::Absent);
        assert_eq!(
            trusted(&list(&["complete:7:run", "x"]), "run", 0),
            List::Absent
        );
        assert_eq!(trusted(&list(&["9", "8"]), "run", 0), List::Absent);
        assert_eq!(trusted(&[], "run", 0), List::Absent);
    }

    #[test]
    fn a_rebuild_counts_until_its_deadline_and_in_its_run() {
        let values = list(&["building:n.run:100", "9"]);
        assert_eq!(trusted(&values, "run", 99), List::Building);
        assert_eq!(trusted(&values, "run", 100), List::Absent);
        assert_eq!(trusted(&values, "other", 99), List::Absent);
    }
}
