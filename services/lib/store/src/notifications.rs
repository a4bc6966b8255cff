//! Notifications: unique on (recipient, kind, source), so that whoever inserts the row, and
//! nobody else, sends the push and the live update.

use sqlx::PgConnection;

use crate::StoreError;

/// What a notification is about. The words are Mastodon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationKind {
    /// Somebody mentioned the recipient; source is the status.
    Mention,
    /// Somebody boosted the recipient's post; source is the reblog's status.
    Reblog,
    /// Somebody favourited the recipient's post; source is the favourite.
    Favourite,
    /// Somebody follows the recipient; source is the follow.
    Follow,
    /// Somebody asks to follow the recipient; source is the follow.
    FollowRequest,
    /// Somebody whose posts the recipient asked to be told of has posted; source is the status.
    Status,
}

impl NotificationKind {
    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mention => "mention",
            Self::Reblog => "reblog",
            Self::Favourite => "favourite",
            Self::Follow => "follow",
            Self::FollowRequest => "follow_request",
            Self::Status => "status",
        }
    }
}

/// Tells `recipient`, unless it is from themselves, from somebody they block or mute with
/// notifications, or was told before. Returns whether a row was inserted.
pub async fn add(
    connection: &mut PgConnection,
    recipient: i64,
    kind: NotificationKind,
    source_id: i64,
    from: i64,
    status_id: Option<i64>,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "insert into notifications (account_id, kind, source_id, from_account_id, status_id)
         select $1, $2, $3, $4, $5
         where $1 <> $4
           and exists (select 1 from accounts where id = $1 and domain is null and deleted_at is null)
           and not exists (select 1 from blocks where account_id = $1 and target_id = $4)
           and not exists (select 1 from mutes where account_id = $1 and target_id = $4
                           and hide_notifications and (expires_at is null or expires_at > now()))
         on conflict (account_id, kind, source_id) do nothing",
    )
    .bind(recipient)
    .bind(kind.as_str())
    .bind(source_id)
    .bind(from)
    .bind(status_id)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(inserted == 1)
}

/// Withdraws a notification, when what caused it was undone.
pub async fn withdraw(
    connection: &mut PgConnection,
    kind: NotificationKind,
    source_id: i64,
) -> Result<(), StoreError> {
    sqlx::query("delete from notifications where kind = $1 and source_id = $2")
        .bind(kind.as_str())
        .bind(source_id)
        .execute(connection)
        .await?;
    Ok(())
}
