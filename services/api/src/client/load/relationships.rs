//! How the viewer stands to a batch of accounts: one statement for all of them.

use std::collections::HashMap;

use sqlx::PgConnection;
use tidegate_store::StoreError;
use time::OffsetDateTime;

use crate::client::entities::{Relationship, datetime};

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    following: Option<String>,
    show_reblogs: Option<bool>,
    notify: Option<bool>,
    languages: Option<Vec<String>>,
    followed: Option<String>,
    blocking: bool,
    blocked_by: bool,
    muting: bool,
    hide_notifications: Option<bool>,
    mute_expires_at: Option<OffsetDateTime>,
    comment: Option<String>,
}

/// The relationships to those of `ids` that exist, in the order of `ids`.
pub(crate) async fn relationships(
    connection: &mut PgConnection,
    viewer: i64,
    ids: &[i64],
) -> Result<Vec<Relationship>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select a.id, f.state as following, f.show_reblogs, f.notify, f.languages,
                r.state as followed,
                exists (select 1 from blocks where account_id = $1 and target_id = a.id) as blocking,
                exists (select 1 from blocks where account_id = a.id and target_id = $1) as blocked_by,
                m.id is not null as muting, m.hide_notifications, m.expires_at as mute_expires_at,
                n.comment
         from accounts a
         left join follows f on f.account_id = $1 and f.target_id = a.id
         left join follows r on r.account_id = a.id and r.target_id = $1
         left join mutes m on m.account_id = $1 and m.target_id = a.id
                          and (m.expires_at is null or m.expires_at > now())
         left join account_notes n on n.account_id = $1 and n.target_id = a.id
         where a.id = any($2) and a.deleted_at is null",
    )
    .bind(viewer)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<i64, Relationship> =
        rows.into_iter().map(|row| (row.id, render(row))).collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// The relationship to one account.
pub(crate) async fn relationship(
    connection: &mut PgConnection,
    viewer: i64,
    id: i64,
) -> Result<Relationship, StoreError> {
    relationships(connection, viewer, &[id])
        .await?
        .pop()
        .ok_or(StoreError::NotFound)
}

fn render(row: Row) -> Relationship {
    let is = |state: &Option<String>, word: &str| state.as_deref() == Some(word);
    let following = is(&row.following, "accepted");
    Relationship {
        id: row.id.to_string(),
        following,
        showing_reblogs: following && row.show_reblogs.unwrap_or(false),
        notifying: following && row.notify.unwrap_or(false),
        requested: is(&row.following, "pending"),
        languages: row.languages,
        followed_by: is(&row.followed, "accepted"),
        requested_by: is(&row.followed, "pending"),
        blocking: row.blocking,
        blocked_by: row.blocked_by,
        muting: row.muting,
        muting_notifications: row.hide_notifications.unwrap_or(false),
        muting_expires_at: row.mute_expires_at.map(datetime),
        domain_blocking: false,
        endorsed: false,
        note: row.comment.unwrap_or_default(),
    }
}
