//! Boosts.

use tidegate_federation::document::Boost;
use tidegate_model::{Instance, Visibility};
use tidegate_store::StoreError;
use tidegate_store::accounts::{self, Account};
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::statuses::{self, Status};

use super::Unit;
use super::outgoing;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Boosts a post that the account may see, and returns the boost's row; a repeat returns the
/// boost there is. Open posts may be boosted by anybody, private ones by their author alone.
pub(crate) async fn reblog(
    app: &App,
    account: &Account,
    original: &Status,
    wished: Option<Visibility>,
) -> ApiResult<Status> {
    let own_private =
        original.visibility() == Visibility::Private && original.account_id == account.id;
    if !original.visibility().is_open() && !own_private {
        return Err(ApiError::not_found());
    }
    let visibility = if own_private {
        Visibility::Private
    } else {
        match wished {
            Some(wish) if wish != Visibility::Direct => wish,
            _ => Visibility::Public,
        }
    };
    let us = &app.deps.instance;
    let mut unit = Unit::begin(app).await?;
    let id = accounts::next_id(&mut *unit).await?;
    let uri = format!("{}/activity", us.status(&account.username, id));
    let inserted =
        statuses::insert_reblog(&mut unit, account.id, true, original, id, &uri, visibility)
            .await?;
    let Some(row) = inserted else {
        return existing(&mut unit, account.id, original.id)
            .await?
            .ok_or_else(ApiError::not_found);
    };
    let author = load::account_of(&mut unit, original.account_id).await?;
    notifications::add(
        &mut unit,
        author.id,
        NotificationKind::Reblog,
        row.id,
        account.id,
        Some(original.id),
    )
    .await?;
    let boost = boost(account, &author, original, &row);
    unit.send(&outgoing::announce(us, &row, &boost, author.id))
        .await?;
    unit.fan_out(row.id).await?;
    unit.commit().await?;
    Ok(row)
}

/// Takes a boost back.
pub(crate) async fn unreblog(app: &App, account: &Account, original: &Status) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    if let Some(row) = existing(&mut unit, account.id, original.id).await? {
        remove(&mut unit, &app.deps.instance, account, original, &row).await?;
    }
    unit.commit().await
}

/// Removes a local boost within a unit and tells those who got it.
pub(crate) async fn remove(
    unit: &mut Unit<'_>,
    us: &Instance,
    account: &Account,
    original: &Status,
    row: &Status,
) -> Result<(), StoreError> {
    let author = load::account_of(unit, original.account_id).await?;
    statuses::delete(unit, row.id).await?;
    notifications::withdraw(unit, NotificationKind::Reblog, row.id).await?;
    let boost = boost(account, &author, original, row);
    unit.send(&outgoing::undo_announce(us, row, &boost, author.id))
        .await
}

async fn existing(
    unit: &mut Unit<'_>,
    account_id: i64,
    original_id: i64,
) -> Result<Option<Status>, StoreError> {
    Ok(sqlx::query_as(
        "select * from statuses
         where account_id = $1 and reblog_of_id = $2 and deleted_at is null",
    )
    .bind(account_id)
    .bind(original_id)
    .fetch_optional(&mut **unit)
    .await?)
}

fn boost(account: &Account, author: &Account, original: &Status, row: &Status) -> Boost {
    Boost {
        id: row.id,
        username: account.username.clone(),
        object: original.uri.clone(),
        author: author.uri.clone(),
        visibility: row.visibility(),
        published: row.created_at,
    }
}
