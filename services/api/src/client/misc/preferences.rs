//! `GET /api/v1/preferences`: the defaults of the composer and of reading.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::auth::{Scope, User};
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn preferences(State(app): State<App>, user: User) -> ApiResult<Json<Value>> {
    user.require(Scope::ReadAccounts)?;
    let mut connection = app.deps.pool.acquire().await?;
    let source = load::credentials(&mut connection, &app.deps.instance, user.account_id())
        .await?
        .source;
    Ok(Json(json!({
        "posting:default:visibility": source.privacy,
        "posting:default:sensitive": source.sensitive,
        "posting:default:language": source.language,
        "posting:default:quote_policy": source.quote_policy,
        "reading:expand:media": "default",
        "reading:expand:spoilers": false,
        "reading:autoplay:gifs": false,
    })))
}
