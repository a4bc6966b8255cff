//! Notifications that a status causes: the mentioned, the boosted author, and followers who
//! asked to be told. Each is one row, unique on (recipient, kind, source).

use sqlx::PgConnection;
use tidegate_store::accounts::Account;
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::statuses::{self, Status};

use crate::FanoutDeps;
use crate::metrics::NOTIFICATIONS;
use crate::trouble::Trouble;

/// Everything that this status notifies of, in one transaction.
pub(super) async fn all(
    deps: &FanoutDeps,
    status: &Status,
    author: &Account,
) -> Result<(), Trouble> {
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    let inserted = if let Some(original) = status.reblog_of_id {
        boosted(&mut transaction, status, original).await?
    } else {
        mentioned(&mut transaction, status.id, author.id).await?
            + watchers(&mut transaction, status).await?
    };
    transaction.commit().await?;
    NOTIFICATIONS.inc_by(inserted);
    Ok(())
}

/// Tells the local accounts that a status names. Also used when an edit names more of them.
pub(crate) async fn mentioned(
    connection: &mut PgConnection,
    status_id: i64,
    author_id: i64,
) -> Result<u64, Trouble> {
    let recipients: Vec<i64> = sqlx::query_scalar(
        "select m.account_id from mentions m join accounts a on a.id = m.account_id
         where m.status_id = $1 and not m.silent and a.domain is null
         order by m.account_id",
    )
    .bind(status_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut inserted = 0;
    for recipient in recipients {
        let kind = NotificationKind::Mention;
        let new = notifications::add(
            connection,
            recipient,
            kind,
            status_id,
            author_id,
            Some(status_id),
        )
        .await?;
        inserted += u64::from(new);
    }
    Ok(inserted)
}

async fn boosted(
    connection: &mut PgConnection,
    reblog: &Status,
    original: i64,
) -> Result<u64, Trouble> {
    let Some(original) = statuses::by_id(&mut *connection, original).await? else {
        return Ok(0);
    };
    let new = notifications::add(
        connection,
        original.account_id,
        NotificationKind::Reblog,
        reblog.id,
        reblog.account_id,
        Some(original.id),
    )
    .await?;
    Ok(u64::from(new))
}

/// Followers with the bell on. As with Mastodon not for replies, unless the author continues
/// a thread of their own.
async fn watchers(connection: &mut PgConnection, status: &Status) -> Result<u64, Trouble> {
    let is_reply = status.in_reply_to_uri.is_some() || status.in_reply_to_id.is_some();
    let own_thread = status.in_reply_to_account_id == Some(status.account_id);
    if !status.visibility().reaches_followers() || (is_reply && !own_thread) {
        return Ok(0);
    }
    Ok(sqlx::query(
        "insert into notifications (account_id, kind, source_id, from_account_id, status_id)
         select f.account_id, $3, $2, $1, $2
         from follows f
         where f.target_id = $1 and f.notify and f.state = 'accepted' and f.inbox_id is null
           and not exists (select 1 from mutes m
                where m.account_id = f.account_id and m.target_id = $1 and m.hide_notifications
                  and (m.expires_at is null or m.expires_at > now()))
         order by f.account_id
         on conflict (account_id, kind, source_id) do nothing",
    )
    .bind(status.account_id)
    .bind(status.id)
    .bind(NotificationKind::Status.as_str())
    .execute(connection)
    .await?
    .rows_affected())
}
