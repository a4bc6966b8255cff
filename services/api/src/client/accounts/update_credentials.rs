//! `PATCH /api/v1/accounts/update_credentials`.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_model::{RemoteField, Visibility};

use crate::auth::{Scope, User};
use crate::client::actions::limits::FIELDS;
use crate::client::actions::profile::{self, Changes};
use crate::client::entities::CredentialAccount;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    display_name: Option<String>,
    note: Option<String>,
    locked: Option<bool>,
    bot: Option<bool>,
    discoverable: Option<bool>,
    indexable: Option<bool>,
    hide_collections: Option<bool>,
    fields_attributes: Option<Vec<FieldBody>>,
    source: Source,
    /// A file, or its content as a `data:` URL.
    #[serde(deserialize_with = "blank_as_none")]
    avatar: Option<String>,
    #[serde(deserialize_with = "blank_as_none")]
    header: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldBody {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    privacy: Option<String>,
    sensitive: Option<bool>,
    language: Option<String>,
}

impl Body {
    fn into_changes(self) -> ApiResult<Changes> {
        if self.avatar.is_some() || self.header.is_some() {
            return Err(ApiError::not_offered("Pictures of an account"));
        }
        let mut preferences = Map::new();
        if let Some(privacy) = self.source.privacy {
            let known = Visibility::parse(&privacy)
                .ok_or_else(|| ApiError::validation("Privacy is not a visibility"))?;
            preferences.insert("privacy".to_owned(), json!(known.as_str()));
        }
        if let Some(sensitive) = self.source.sensitive {
            preferences.insert("sensitive".to_owned(), json!(sensitive));
        }
        if let Some(language) = self.source.language {
            if language.len() > 16 {
                return Err(ApiError::validation("Language must be a language code"));
            }
            // Null removes the preference.
            let value = if language.is_empty() {
                Value::Null
            } else {
                json!(language)
            };
            preferences.insert("language".to_owned(), value);
        }
        let fields = self.fields_attributes.map(|fields| {
            fields
                .into_iter()
                .filter(|field| !(field.name.is_empty() && field.value.is_empty()))
                .take(FIELDS + 1)
                .map(|field| RemoteField {
                    name: field.name,
                    value: field.value,
                })
                .collect()
        });
        Ok(Changes {
            display_name: self.display_name.map(|name| name.trim().to_owned()),
            note: self.note,
            locked: self.locked,
            bot: self.bot,
            discoverable: self.discoverable,
            indexable: self.indexable,
            hide_collections: self.hide_collections,
            fields,
            preferences,
        })
    }
}

pub(crate) async fn update_credentials(
    State(app): State<App>,
    user: User,
    Params(body): Params<Body>,
) -> ApiResult<Json<CredentialAccount>> {
    user.require(Scope::WriteAccounts)?;
    profile::change(&app, user.account_id(), &body.into_changes()?).await?;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::credentials(&mut connection, &app.deps.instance, user.account_id()).await?;
    Ok(Json(body))
}
