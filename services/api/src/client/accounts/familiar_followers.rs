//! `GET /api/v1/accounts/familiar_followers?id[]=`: who of those that I follow follows them?

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::auth::{Scope, User};
use crate::client::entities::Account;
use crate::client::id::ids;
use crate::client::load;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

/// Accounts asked about at once.
const MAX_IDS: usize = 40;

/// Faces shown for each: clients show a handful.
const MAX_FAMILIAR: i64 = 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    id: Vec<String>,
}

/// The familiar followers of one account.
#[derive(Debug, Serialize)]
pub(crate) struct FamiliarFollowers {
    id: String,
    accounts: Vec<Account>,
}

pub(crate) async fn familiar_followers(
    State(app): State<App>,
    user: User,
    Params(query): Params<Query>,
) -> ApiResult<Json<Vec<FamiliarFollowers>>> {
    user.require(Scope::ReadFollows)?;
    let ids = ids(&query.id, MAX_IDS);
    let mut connection = app.deps.pool.acquire().await?;
    let pairs: Vec<(i64, i64)> = sqlx::query_as(
        "select target, follower from (
             select theirs.target_id as target, theirs.account_id as follower,
                    row_number() over (partition by theirs.target_id order by theirs.id desc) as place
             from follows mine
             join follows theirs on theirs.account_id = mine.target_id and theirs.state = 'accepted'
             join accounts a on a.id = theirs.target_id
             where mine.account_id = $1 and mine.state = 'accepted'
               and theirs.target_id = any($2) and theirs.account_id <> $1
               and coalesce(a.hide_collections, false) = false
         ) as familiar where place <= $3",
    )
    .bind(user.account_id())
    .bind(&ids)
    .bind(MAX_FAMILIAR)
    .fetch_all(&mut *connection)
    .await?;
    let followers: Vec<i64> = pairs.iter().map(|pair| pair.1).collect();
    let accounts = load::accounts(&mut connection, &app.deps.instance, &followers).await?;
    let mut found: HashMap<i64, Vec<Account>> = HashMap::new();
    for (target, follower) in pairs {
        if let Some(account) = accounts.get(&follower) {
            found.entry(target).or_default().push(account.clone());
        }
    }
    let body = ids
        .iter()
        .map(|id| FamiliarFollowers {
            id: id.to_string(),
            accounts: found.remove(id).unwrap_or_default(),
        })
        .collect();
    Ok(Json(body))
}
