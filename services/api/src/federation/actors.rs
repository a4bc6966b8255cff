//! Actor documents, and pages for browsers that open an actor's id.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tidegate_federation::document;
use tidegate_model::INSTANCE_ACTOR_USERNAME;
use tidegate_store::accounts::{self, Account};

use super::{
    activitypub::{Keep, document as answer, wants_page},
    documents,
};
use crate::{
    error::{ApiError, ApiResult},
    state::App,
    web,
};

/// The local person of this name: 404 for nobody, 410 for somebody who left, 403 for somebody
/// who is suspended.
pub(super) async fn local(app: &App, name: &str) -> ApiResult<Account> {
    if name.eq_ignore_ascii_case(INSTANCE_ACTOR_USERNAME) {
        return Err(ApiError::not_found());
    }
    let account: Account = sqlx::query_as(
        "select * from accounts
         where lower(username) = lower($1) and lower(coalesce(domain, '')) = ''",
    )
    .bind(name)
    .fetch_optional(&app.deps.pool)
    .await?
    .ok_or_else(ApiError::not_found)?;
    if account.deleted_at.is_some() {
        return Err(ApiError::new(StatusCode::GONE, "This account is gone"));
    }
    if account.suspended_at.is_some() {
        return Err(ApiError::forbidden("This account is suspended"));
    }
    Ok(account)
}

/// `GET /users/:name`.
pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if wants_page(&headers) {
        return match local(&app, &name).await {
            Ok(account) => web::redirect_or_page(&account.url),
            Err(error) => web::PageError::from(error).into_response(),
        };
    }
    actor_response(&app, &name).await.into_response()
}

/// The actor document of a local person.
pub(crate) async fn actor_response(app: &App, name: &str) -> ApiResult<Response> {
    let account = local(app, name).await?;
    let us = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let doc = documents::actor(&mut connection, us, &account).await?;
    Ok(answer(&document::actor(us, &doc), Keep::Public))
}

/// `GET /actor`: served to anybody without a signature, or two servers that demand signatures
/// would wait for each other for ever.
pub(super) async fn instance(State(app): State<App>) -> ApiResult<Response> {
    let account = accounts::by_handle(&app.deps.pool, INSTANCE_ACTOR_USERNAME, None)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let actor = document::instance_actor(&app.deps.instance, &account.public_key_pem);
    Ok(answer(&actor, Keep::Public))
}
