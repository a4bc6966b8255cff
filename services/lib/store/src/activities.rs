//! Activities on their way out: the body is built once, in the transaction of the change, and
//! committed with its audience, its place in the order, and the message that plans it.

use sqlx::PgConnection;
use tidegate_model::{Lane, Message, Queues};

use crate::{OutboxHandle, StoreError};

/// What an activity is about, as far as order goes: on every host, activities of one key are
/// taken in the order in which they were committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKey {
    /// Create, Update, Delete, Announce and its Undo: by the status's row.
    Status(i64),
    /// Follow, Block, Accept, Reject and their Undos from one account to another.
    Relation {
        /// Who acts.
        from: i64,
        /// Towards whom.
        to: i64,
    },
    /// Like and its Undo.
    Like {
        /// Who likes.
        account_id: i64,
        /// What.
        status_id: i64,
    },
    /// Update and Delete of an actor.
    Actor(i64),
}

impl OrderKey {
    fn encode(&self) -> String {
        match self {
            Self::Status(id) => format!("status:{id}"),
            Self::Relation { from, to } => format!("relation:{from}:{to}"),
            Self::Like {
                account_id,
                status_id,
            } => format!("like:{account_id}:{status_id}"),
            Self::Actor(id) => format!("actor:{id}"),
        }
    }
}

/// Who is addressed. What the row says is re-read when it is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience {
    /// Remote followers of this account.
    pub followers_of: Option<i64>,
    /// These accounts; local ones are passed over.
    pub accounts: Vec<i64>,
    /// Every inbox that an earlier activity about the same status was planned for.
    pub earlier_recipients: bool,
}

/// An activity to send.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The activity's id.
    pub uri: String,
    /// `Create`, `Follow`, `Undo`, ...
    pub kind: &'static str,
    /// The local account that signs.
    pub account_id: i64,
    /// Its place in the order.
    pub order: OrderKey,
    /// Its lane.
    pub lane: Lane,
    /// The JSON bytes; never altered afterwards.
    pub body: Vec<u8>,
    /// Base64 SHA-256 of `body`.
    pub digest: String,
    /// The status that it is about, re-read before every POST.
    pub status_id: Option<i64>,
    /// To whom.
    pub audience: Audience,
}

/// Writes the activity and the message that plans it, within the caller's transaction. Returns
/// the activity's number. The caller wakes the outbox after the commit.
pub async fn enqueue(
    connection: &mut PgConnection,
    outbox: &OutboxHandle,
    queues: &Queues,
    draft: &Draft,
) -> Result<i64, StoreError> {
    let order_key = draft.order.encode();
    let seq: i64 = sqlx::query_scalar(
        "insert into order_keys (order_key, seq) values ($1, 1)
         on conflict (order_key) do update set seq = order_keys.seq + 1
         returning seq",
    )
    .bind(&order_key)
    .fetch_one(&mut *connection)
    .await?;
    let activity_id: i64 = sqlx::query_scalar(
        "insert into activities (uri, kind, account_id, order_key, seq, lane, body, digest,
                                 status_id, to_followers_of, to_accounts, to_earlier_recipients)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         returning id",
    )
    .bind(&draft.uri)
    .bind(draft.kind)
    .bind(draft.account_id)
    .bind(&order_key)
    .bind(seq)
    .bind(draft.lane.as_str())
    .bind(&draft.body)
    .bind(&draft.digest)
    .bind(draft.status_id)
    .bind(draft.audience.followers_of)
    .bind(&draft.audience.accounts)
    .bind(draft.audience.earlier_recipients)
    .fetch_one(&mut *connection)
    .await?;
    outbox
        .add(connection, &queues.plan(), &Message::Plan { activity_id })
        .await?;
    Ok(activity_id)
}
