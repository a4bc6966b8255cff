//! Accounts, and the owner's view of an account.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidegate_model::Instance;
use tidegate_store::StoreError;
use tidegate_store::accounts::{self, Account as Row};

use crate::client::entities::{
    Account, CredentialAccount, CredentialSource, Role, account, plain_fields,
};

/// Renders accounts in the order of `ids`; those that are gone are left out.
pub(crate) async fn accounts_in_order(
    connection: &mut PgConnection,
    instance: &Instance,
    ids: &[i64],
) -> Result<Vec<Account>, StoreError> {
    let found = accounts(connection, instance, ids).await?;
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

/// Renders accounts by their ids.
pub(crate) async fn accounts(
    connection: &mut PgConnection,
    instance: &Instance,
    ids: &[i64],
) -> Result<HashMap<i64, Account>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(accounts::by_ids(connection, ids)
        .await?
        .into_iter()
        .map(|row| (row.id, account(&row, instance)))
        .collect())
}

/// The row of an account, or `NotFound`.
pub(crate) async fn account_of(connection: &mut PgConnection, id: i64) -> Result<Row, StoreError> {
    accounts::by_id(connection, id)
        .await?
        .ok_or(StoreError::NotFound)
}

/// At most this many open requests are counted, as Mastodon does: clients show a dot.
const REQUESTS_COUNTED: i64 = 40;

/// The owner's view of a local account.
pub(crate) async fn credentials(
    connection: &mut PgConnection,
    instance: &Instance,
    account_id: i64,
) -> Result<CredentialAccount, StoreError> {
    let row = account_of(&mut *connection, account_id).await?;
    let (role, preferences): (String, Json<Value>) =
        sqlx::query_as("select role, preferences from users where account_id = $1")
            .bind(account_id)
            .fetch_one(&mut *connection)
            .await?;
    let follow_requests_count: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from follows
             where target_id = $1 and state = 'pending' limit $2) as open",
    )
    .bind(account_id)
    .bind(REQUESTS_COUNTED)
    .fetch_one(connection)
    .await?;
    let chosen = |name: &str| preferences.get(name).and_then(Value::as_str);
    Ok(CredentialAccount {
        account: account(&row, instance),
        source: CredentialSource {
            privacy: chosen("privacy").unwrap_or("public").to_owned(),
            sensitive: preferences
                .get("sensitive")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            language: chosen("language").map(str::to_owned),
            note: row.note.clone(),
            fields: plain_fields(&row.fields),
            follow_requests_count,
            hide_collections: row.hide_collections,
            discoverable: row.discoverable,
            indexable: row.indexable,
            attribution_domains: [],
            quote_policy: "nobody",
        },
        role: Role::named(&role),
    })
}
