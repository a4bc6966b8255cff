//! Favourites.

use tidegate_federation::document;
use tidegate_store::accounts::{self, Account};
use tidegate_store::favourites;
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::statuses::Status;

use super::Unit;
use super::outgoing::{self, Deed};
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

/// Favourites a post that the account may see. A repeat does nothing.
pub(crate) async fn favourite(app: &App, account: &Account, status: &Status) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    let author = load::account_of(&mut unit, status.account_id).await?;
    let number = accounts::next_id(&mut *unit).await?;
    let us = &app.deps.instance;
    let uri = document::interaction_id(us, &account.username, Deed::Like.plural(), number);
    if let Some(row) = favourites::add(&mut unit, account.id, status.id, &uri).await? {
        if author.is_local() {
            notifications::add(
                &mut unit,
                author.id,
                NotificationKind::Favourite,
                row.id,
                account.id,
                Some(status.id),
            )
            .await?;
        } else {
            unit.send(&outgoing::deed(
                Deed::Like,
                account,
                &author,
                Some(status),
                &uri,
            ))
            .await?;
        }
    }
    unit.commit().await
}

/// Takes a favourite back.
pub(crate) async fn unfavourite(app: &App, account: &Account, status: &Status) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    let author = load::account_of(&mut unit, status.account_id).await?;
    if let Some(row) = favourites::remove(&mut unit, account.id, status.id).await? {
        notifications::withdraw(&mut unit, NotificationKind::Favourite, row.id).await?;
        if !author.is_local() {
            unit.send(&outgoing::undo(
                Deed::Like,
                account,
                &author,
                Some(status),
                &row.uri,
            ))
            .await?;
        }
    }
    unit.commit().await
}
