//! `POST /api/v1/statuses`: a new post.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use tidegate_model::Visibility;

use crate::auth::{Scope, User};
use crate::client::actions::idempotency;
use crate::client::actions::post::{self, NewPost};
use crate::client::entities::{CredentialSource, Status};
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    status: Option<String>,
    spoiler_text: Option<String>,
    visibility: Option<String>,
    sensitive: Option<bool>,
    language: Option<String>,
    #[serde(deserialize_with = "blank_as_none")]
    in_reply_to_id: Option<String>,
    media_ids: Vec<String>,
    poll: Option<Value>,
    #[serde(deserialize_with = "blank_as_none")]
    scheduled_at: Option<String>,
    #[serde(deserialize_with = "blank_as_none")]
    quoted_status_id: Option<String>,
    /// Whom the text may name; anybody when absent.
    allowed_mentions: Option<Vec<String>>,
}

impl Body {
    /// Refuses what is not built rather than posting half of what was meant.
    fn refuse_unbuilt(&self) -> ApiResult<()> {
        refuse_attachments(&self.media_ids, self.poll.as_ref())?;
        if self.scheduled_at.is_some() {
            Err(ApiError::not_offered("Scheduled posts"))
        } else if self.quoted_status_id.is_some() {
            Err(ApiError::not_offered("Quotes"))
        } else {
            Ok(())
        }
    }

    fn into_post(
        self,
        defaults: &CredentialSource,
        idempotency_key: Option<String>,
        app_id: i64,
    ) -> ApiResult<NewPost> {
        self.refuse_unbuilt()?;
        let visibility = self
            .visibility
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| defaults.privacy.clone());
        let visibility = Visibility::parse(&visibility).ok_or_else(|| {
            ApiError::validation("Visibility is not one of public, unlisted, private, direct")
        })?;
        let in_reply_to_id = match self.in_reply_to_id {
            Some(id) => Some(id.parse().map_err(|_| ApiError::not_found())?),
            None => None,
        };
        let mut text = self.status.unwrap_or_default();
        let mut spoiler_text = self.spoiler_text.unwrap_or_default();
        // A warning around nothing is the post itself.
        if text.trim().is_empty() {
            text = std::mem::take(&mut spoiler_text);
        }
        Ok(NewPost {
            sensitive: self.sensitive.unwrap_or(defaults.sensitive) || !spoiler_text.is_empty(),
            language: language(self.language)?.or_else(|| defaults.language.clone()),
            text,
            spoiler_text,
            visibility,
            in_reply_to_id,
            // A form says "nobody" with one blank; what is no id names nobody.
            allowed_mentions: self
                .allowed_mentions
                .map(|ids| ids.iter().filter_map(|id| id.parse().ok()).collect()),
            idempotency_key,
            app_id,
        })
    }
}

/// Refuses what a post or an edit cannot carry yet.
pub(super) fn refuse_attachments(media_ids: &[String], poll: Option<&Value>) -> ApiResult<()> {
    let asks_for_poll = match poll {
        None | Some(Value::Null) => false,
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    };
    if !media_ids.is_empty() {
        Err(ApiError::not_offered("Media"))
    } else if asks_for_poll {
        Err(ApiError::not_offered("Polls"))
    } else {
        Ok(())
    }
}

/// The longest BCP 47 code that clients send is `zh-Hant-TW`.
const MAX_LANGUAGE_BYTES: usize = 16;

/// A language code, if there is one.
pub(super) fn language(code: Option<String>) -> ApiResult<Option<String>> {
    match code.filter(|code| !code.is_empty()) {
        Some(code)
            if code.len() <= MAX_LANGUAGE_BYTES
                && code
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
        {
            Ok(Some(code))
        }
        Some(_) => Err(ApiError::validation("Language is not a language code")),
        None => Ok(None),
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    user: User,
    headers: HeaderMap,
    Params(body): Params<Body>,
) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteStatuses)?;
    let viewer = user.account_id();
    let instance = &app.deps.instance;
    let key = idempotency::key_of(&headers)?;
    let (author, defaults) = {
        let mut connection = app.deps.pool.acquire().await?;
        let author = load::account_of(&mut connection, viewer).await?;
        let defaults = load::credentials(&mut connection, instance, viewer)
            .await?
            .source;
        (author, defaults)
    };
    let new = body.into_post(&defaults, key, user.caller.app_id)?;
    let row = post::post(&app, &author, &new).await?;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::status(&mut connection, instance, Some(viewer), &row).await?;
    Ok(Json(body))
}
