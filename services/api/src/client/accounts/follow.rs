//! `POST /api/v1/accounts/{id}/follow`: follows, or changes what of a follow is shown.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::auth::{Scope, User};
use crate::client::actions::follow::{self, Wishes};
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::state::App;

/// Languages that one follow may be narrowed to; nobody reads more.
const MAX_LANGUAGES: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    reblogs: Option<bool>,
    notify: Option<bool>,
    languages: Option<Vec<String>>,
}

pub(crate) async fn follow(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    Params(body): Params<Body>,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteFollows)?;
    let languages = body.languages.unwrap_or_default();
    let proper = languages.len() <= MAX_LANGUAGES
        && languages.iter().all(|code| (2..=16).contains(&code.len()));
    if !proper {
        return Err(ApiError::validation("Languages must be language codes"));
    }
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    let wishes = Wishes {
        reblogs: body.reblogs,
        notify: body.notify,
        languages: (!languages.is_empty()).then_some(languages),
    };
    follow::follow(&app, &viewer, &target, &wishes).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}
