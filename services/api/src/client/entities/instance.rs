//! The instance itself, in both versions.

use serde_json::{Value, json};
use tidegate_model::Instance;

use super::Account;
use crate::client::actions::limits;

/// What is told to clients that look at versions: the generation of Mastodon's API that we
/// follow, and who we are. 4.3 promises grouped notifications, which are not built yet: apps that
/// see it ask for those only.
const VERSION: &str = concat!("4.2.0+tidegate-", env!("CARGO_PKG_VERSION"));

/// Generation 2 of Mastodon's API is the one with grouped notifications.
const API_GENERATION: u32 = 1;

/// Everything about the instance that is not fixed.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) email: String,
    pub(crate) contact: Option<Account>,
    /// `open`, `approval`, `invite` or `closed`.
    pub(crate) registrations: &'static str,
    /// Characters of a post.
    pub(crate) max_status_chars: usize,
    pub(crate) users: i64,
    pub(crate) active_month: i64,
    pub(crate) statuses: i64,
    pub(crate) domains: i64,
    pub(crate) languages: Vec<String>,
    pub(crate) rules: Vec<Value>,
}

impl Facts {
    fn open(&self) -> bool {
        matches!(self.registrations, "open" | "approval")
    }

    fn needs_approval(&self) -> bool {
        self.registrations == "approval"
    }
}

/// What clients may rely on, in both versions of the document. Media and polls are not built:
/// none may be attached, and the numbers that clients insist on are Mastodon's.
fn configuration(facts: &Facts) -> Value {
    json!({
        "statuses": {
            "max_characters": facts.max_status_chars,
            "max_media_attachments": 0,
            "characters_reserved_per_url": 23,
        },
        "media_attachments": {
            "description_limit": 1_500,
            "image_matrix_limit": 33_177_600,
            "image_size_limit": 16_777_216,
            "supported_mime_types": [],
            "video_frame_rate_limit": 120,
            "video_matrix_limit": 8_294_400,
            "video_size_limit": 103_809_024,
        },
        "polls": {
            "max_options": 4,
            "max_characters_per_option": 50,
            "min_expiration": 300,
            "max_expiration": 2_629_746,
        },
    })
}

/// The address that streaming connects to.
fn streaming(instance: &Instance) -> String {
    match instance.base().split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some((_, rest)) => format!("wss://{rest}"),
        None => String::new(),
    }
}

/// `GET /api/v2/instance`.
pub(crate) fn instance_v2(instance: &Instance, facts: &Facts) -> Value {
    let base = instance.base();
    let picture = format!("{base}{}", super::account::MISSING_PICTURE);
    let mut configuration = configuration(facts);
    configuration["urls"] = json!({
        "streaming": streaming(instance),
        "status": null,
        "about": format!("{base}/about"),
        "privacy_policy": format!("{base}/privacy-policy"),
        "terms_of_service": null,
    });
    // No web push yet, and so no key; clients read the key before they offer it.
    configuration["vapid"] = json!({ "public_key": "" });
    configuration["accounts"] = json!({
        "max_display_name_length": limits::DISPLAY_NAME_CHARACTERS,
        "max_note_length": limits::NOTE_CHARACTERS,
        "max_avatar_description_length": 0,
        "max_header_description_length": 0,
        "max_featured_tags": 0,
        "max_pinned_statuses": 0,
        "max_profile_fields": limits::FIELDS,
        "profile_field_name_limit": limits::FIELD_CHARACTERS,
        "profile_field_value_limit": limits::FIELD_CHARACTERS,
    });
    configuration["translation"] = json!({ "enabled": false });
    configuration["timelines_access"] = json!({
        "live_feeds": { "local": "public", "remote": "public" },
        "hashtag_feeds": { "local": "public", "remote": "public" },
        "trending_link_feeds": { "local": "disabled", "remote": "disabled" },
    });
    configuration["limited_federation"] = json!(false);
    json!({
        "domain": instance.domain,
        "title": facts.title,
        "version": VERSION,
        "source_url": format!("{base}/about"),
        "description": facts.description,
        "usage": { "users": { "active_month": facts.active_month } },
        "thumbnail": { "url": picture, "description": "" },
        "icon": [{ "src": picture, "size": "96x96" }],
        "languages": facts.languages,
        "configuration": configuration,
        "registrations": {
            "enabled": facts.open(),
            "approval_required": facts.needs_approval(),
            "reason_required": facts.needs_approval(),
            "message": null,
            "min_age": null,
            "url": null,
        },
        "api_versions": { "mastodon": API_GENERATION },
        "contact": { "email": facts.email, "account": facts.contact },
        "rules": facts.rules,
    })
}

/// `GET /api/v1/instance`, for clients that do not know the second version.
pub(crate) fn instance_v1(instance: &Instance, facts: &Facts) -> Value {
    let mut configuration = configuration(facts);
    configuration["accounts"] = json!({ "max_featured_tags": 0 });
    json!({
        "uri": instance.domain,
        "title": facts.title,
        "short_description": facts.description,
        "description": facts.description,
        "email": facts.email,
        "version": VERSION,
        "urls": { "streaming_api": streaming(instance) },
        "stats": {
            "user_count": facts.users,
            "status_count": facts.statuses,
            "domain_count": facts.domains,
        },
        "thumbnail": format!("{}{}", instance.base(), super::account::MISSING_PICTURE),
        "languages": facts.languages,
        "registrations": facts.open(),
        "approval_required": facts.needs_approval(),
        "invites_enabled": facts.registrations == "invite",
        "configuration": configuration,
        "contact_account": facts.contact,
        "rules": facts.rules,
    })
}
