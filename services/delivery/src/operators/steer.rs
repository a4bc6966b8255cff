//! Hosts are paused, resumed and tried by operators. The row is changed; the owner of the host's
//! shard reads it within about two seconds.

use tidegate_model::shard_of;

use super::hosts::canonical;
use super::{HostView, OperatorError, Operators, Why, acts};

/// What an act came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Steered {
    /// The host as it is now.
    pub host: HostView,
    /// What happens next, in a sentence.
    pub note: String,
}

impl Operators {
    /// Nothing more is sent to a host; what is for it waits.
    pub async fn pause(&self, name: &str, why: &Why) -> Result<Steered, OperatorError> {
        let host = canonical(name)?;
        let shard = i32::try_from(shard_of(&host, self.queues.shards())).unwrap_or(0);
        let mut transaction = tidegate_store::begin(&self.pool).await?;
        // A host may be paused before anything was ever sent to it.
        let is_new: bool = sqlx::query_scalar(
            "insert into hosts as h (host, shard, paused_at, paused_reason, steered_at)
             values ($1, $2, now(), $3, now())
             on conflict (host) do update set
                 paused_at = coalesce(h.paused_at, excluded.paused_at),
                 paused_reason = excluded.paused_reason, steered_at = excluded.steered_at
             returning xmax = 0",
        )
        .bind(&host)
        .bind(shard)
        .bind(why.reason())
        .fetch_one(&mut *transaction)
        .await?;
        acts::record(&mut transaction, why, "pause", &host).await?;
        transaction.commit().await?;
        let note = if is_new {
            format!("{host} is paused; nothing was ever sent there, so check the spelling")
        } else {
            format!(
                "{host} is paused: within seconds nothing more is sent to it, and what is for it \
                 waits until it is resumed"
            )
        };
        self.steered(&host, note).await
    }

    /// What waited for a paused host is sent, in order.
    pub async fn resume(&self, name: &str, why: &Why) -> Result<Steered, OperatorError> {
        let before = self.host(name).await?;
        let host = before.host;
        let mut transaction = tidegate_store::begin(&self.pool).await?;
        let resumed = sqlx::query(
            "update hosts set paused_at = null, paused_reason = null, steered_at = now()
             where host = $1 and paused_at is not null",
        )
        .bind(&host)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if resumed == 0 {
            return Err(OperatorError::Refused(format!("{host} is not paused")));
        }
        acts::record(&mut transaction, why, "resume", &host).await?;
        transaction.commit().await?;
        let note = match before.state.as_str() {
            "ok" => format!("{host} is resumed: what waits for it is sent in order"),
            "failing" => format!(
                "{host} is resumed, but it fails: what waits for it is sent when a probe succeeds"
            ),
            _ => format!(
                "{host} is resumed, but it is unavailable: it is asked with a GET once a day, and \
                 taken back when it answers"
            ),
        };
        self.steered(&host, note).await
    }

    /// A host that fails is tried now. One that is well has nothing to be tried for.
    pub async fn probe(&self, name: &str, why: &Why) -> Result<Steered, OperatorError> {
        let before = self.host(name).await?;
        let host = before.host.clone();
        if before.paused_at.is_some() {
            return Err(OperatorError::Refused(format!(
                "{host} is paused, so nothing is sent to it: resume it first"
            )));
        }
        let mut transaction = tidegate_store::begin(&self.pool).await?;
        let state: Option<String> = sqlx::query_scalar(
            "update hosts set next_probe_at = $2, steered_at = now()
             where host = $1 and state <> 'ok' and paused_at is null returning state",
        )
        .bind(&host)
        .bind(self.clock.now())
        .fetch_optional(&mut *transaction)
        .await?;
        let note = match state.as_deref() {
            Some("failing") => {
                format!(
                    "{host} fails: one of the deliveries that wait for it is tried within seconds"
                )
            }
            Some(_) => format!(
                "{host} is unavailable: it is asked with a GET within seconds; when it answers it \
                 is taken back, and its dead deliveries can be replayed"
            ),
            None => {
                let note = format!("{host} is ok: there is nothing to probe");
                return Ok(Steered { host: before, note });
            }
        };
        acts::record(&mut transaction, why, "probe", &host).await?;
        transaction.commit().await?;
        self.steered(&host, note).await
    }

    async fn steered(&self, host: &str, note: String) -> Result<Steered, OperatorError> {
        let host = self.host(host).await?;
        Ok(Steered { host, note })
    }
}
