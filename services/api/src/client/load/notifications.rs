//! Notifications with their accounts and posts.

use std::collections::HashMap;

use sqlx::PgConnection;
use tidegate_model::Instance;
use tidegate_store::{StoreError, statuses as store};
use time::OffsetDateTime;

use crate::client::entities::{Notification, Status, datetime};
use crate::client::load;

/// A row of `notifications`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct NotificationRow {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) from_account_id: i64,
    pub(crate) status_id: Option<i64>,
    pub(crate) created_at: OffsetDateTime,
}

/// Renders notifications of `viewer` in their order. One whose post may no longer be seen, or
/// whose account is gone, is left out.
pub(crate) async fn notifications(
    connection: &mut PgConnection,
    instance: &Instance,
    viewer: i64,
    rows: &[NotificationRow],
) -> Result<Vec<Notification>, StoreError> {
    let account_ids: Vec<i64> = rows.iter().map(|row| row.from_account_id).collect();
    let status_ids: Vec<i64> = rows.iter().filter_map(|row| row.status_id).collect();
    let accounts = load::accounts(&mut *connection, instance, &account_ids).await?;
    let visible = store::visible(&mut *connection, &status_ids, Some(viewer)).await?;
    let statuses: HashMap<String, Status> =
        load::statuses(connection, instance, Some(viewer), &visible)
            .await?
            .into_iter()
            .map(|status| (status.id.clone(), status))
            .collect();
    Ok(rows
        .iter()
        .filter_map(|row| {
            let status = match row.status_id {
                Some(id) => Some(statuses.get(&id.to_string())?.clone()),
                None => None,
            };
            Some(Notification {
                id: row.id.to_string(),
                kind: row.kind.clone(),
                created_at: datetime(row.created_at),
                group_key: format!("ungrouped-{}", row.id),
                account: accounts.get(&row.from_account_id)?.clone(),
                status,
            })
        })
        .collect())
}
