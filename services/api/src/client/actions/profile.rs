//! Changes of a local profile, sent to the followers.

use serde_json::Value;
use sqlx::types::Json;
use tidegate_federation::document;
use tidegate_model::{Lane, RemoteField};
use tidegate_store::accounts::Account;
use tidegate_store::activities::{Audience, OrderKey};

use super::{Unit, limits, outgoing};
use crate::error::{ApiError, ApiResult};
use crate::federation::actor_doc;
use crate::state::App;

/// What shall change; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) display_name: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) locked: Option<bool>,
    pub(crate) bot: Option<bool>,
    pub(crate) discoverable: Option<bool>,
    pub(crate) indexable: Option<bool>,
    pub(crate) hide_collections: Option<bool>,
    pub(crate) fields: Option<Vec<RemoteField>>,
    /// Laid over `users.preferences`; a null removes.
    pub(crate) preferences: serde_json::Map<String, Value>,
}

impl Changes {
    fn check(&self) -> ApiResult<()> {
        let too_long = |text: &Option<String>, max: usize| {
            text.as_ref().is_some_and(|text| text.chars().count() > max)
        };
        if too_long(&self.display_name, limits::DISPLAY_NAME_CHARACTERS) {
            return Err(ApiError::validation(
                "Display name is too long (maximum is 30 characters)",
            ));
        }
        if too_long(&self.note, limits::NOTE_CHARACTERS) {
            return Err(ApiError::validation(
                "Bio is too long (maximum is 500 characters)",
            ));
        }
        let fields = self.fields.as_deref().unwrap_or_default();
        let long_field = fields.iter().any(|field| {
            field.name.chars().count() > limits::FIELD_CHARACTERS
                || field.value.chars().count() > limits::FIELD_CHARACTERS
        });
        if fields.len() > limits::FIELDS || long_field {
            return Err(ApiError::validation(
                "Fields are at most 4, of 255 characters each",
            ));
        }
        Ok(())
    }

    fn is_public(&self) -> bool {
        self.display_name.is_some()
            || self.note.is_some()
            || self.locked.is_some()
            || self.bot.is_some()
            || self.discoverable.is_some()
            || self.indexable.is_some()
            || self.fields.is_some()
    }
}

/// Writes the changes down and tells the followers of those that others can see.
pub(crate) async fn change(app: &App, account_id: i64, changes: &Changes) -> ApiResult<()> {
    changes.check()?;
    let mut unit = Unit::begin(app).await?;
    let account: Account = sqlx::query_as(
        "update accounts set
             display_name = coalesce($2, display_name), note = coalesce($3, note),
             locked = coalesce($4, locked), bot = coalesce($5, bot),
             discoverable = coalesce($6, discoverable), indexable = coalesce($7, indexable),
             hide_collections = coalesce($8, hide_collections), fields = coalesce($9, fields),
             actor_type = case when coalesce($5, bot) then 'Service' else 'Person' end,
             updated_at = greatest(now(), updated_at + interval '1 second')
         where id = $1 returning *",
    )
    .bind(account_id)
    .bind(&changes.display_name)
    .bind(&changes.note)
    .bind(changes.locked)
    .bind(changes.bot)
    .bind(changes.discoverable)
    .bind(changes.indexable)
    .bind(changes.hide_collections)
    .bind(changes.fields.as_ref().map(Json))
    .fetch_one(&mut *unit)
    .await?;
    if !changes.preferences.is_empty() {
        sqlx::query(
            "update users set preferences = jsonb_strip_nulls(preferences || $2)
             where account_id = $1",
        )
        .bind(account_id)
        .bind(Json(&changes.preferences))
        .execute(&mut *unit)
        .await?;
    }
    if changes.is_public() {
        let doc = actor_doc(&mut unit, &app.deps.instance, &account).await?;
        let body = document::update_actor(&app.deps.instance, &doc, account.updated_at);
        let audience = Audience {
            followers_of: Some(account.id),
            ..Audience::default()
        };
        unit.send(&outgoing::draft(
            "Update",
            account.id,
            OrderKey::Actor(account.id),
            Lane::Slow,
            &body,
            None,
            audience,
        ))
        .await?;
    }
    unit.commit().await
}
