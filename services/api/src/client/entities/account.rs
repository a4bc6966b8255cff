//! Accounts: as everybody sees them, and as their owner does.

use serde::Serialize;
use tidegate_federation::html;
use tidegate_model::{Instance, RemoteField};
use tidegate_store::accounts::Account as Row;

use super::{CustomEmoji, date, midnight};

/// Where the picture of an account without one is served.
pub(crate) const MISSING_PICTURE: &str = "/avatars/missing.png";

/// An account as everybody sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) acct: String,
    pub(crate) display_name: String,
    pub(crate) locked: bool,
    pub(crate) bot: bool,
    pub(crate) discoverable: Option<bool>,
    pub(crate) indexable: bool,
    pub(crate) group: bool,
    pub(crate) created_at: String,
    pub(crate) note: String,
    pub(crate) url: String,
    pub(crate) uri: String,
    pub(crate) avatar: String,
    pub(crate) avatar_static: String,
    pub(crate) avatar_description: String,
    pub(crate) header: String,
    pub(crate) header_static: String,
    pub(crate) header_description: String,
    pub(crate) followers_count: i64,
    pub(crate) following_count: i64,
    pub(crate) statuses_count: i64,
    pub(crate) last_status_at: Option<String>,
    pub(crate) hide_collections: Option<bool>,
    pub(crate) show_media: bool,
    pub(crate) show_media_replies: bool,
    pub(crate) show_featured: bool,
    pub(crate) emojis: Vec<CustomEmoji>,
    pub(crate) fields: Vec<Field>,
    pub(crate) feature_approval: FeatureApproval,
    /// Local accounts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) noindex: Option<bool>,
    /// Local accounts only; no role is shown in public.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended: Option<bool>,
}

/// A profile field. Links are not verified.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) verified_at: Option<String>,
}

/// Who may put the account on a public list: nobody, because such lists are not offered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FeatureApproval {
    automatic: [(); 0],
    manual: [(); 0],
    current_user: &'static str,
}

/// An account as its owner sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CredentialAccount {
    #[serde(flatten)]
    pub(crate) account: Account,
    pub(crate) source: CredentialSource,
    pub(crate) role: Role,
}

/// What the owner typed and chose.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CredentialSource {
    pub(crate) privacy: String,
    pub(crate) sensitive: bool,
    pub(crate) language: Option<String>,
    pub(crate) note: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) follow_requests_count: i64,
    pub(crate) hide_collections: Option<bool>,
    pub(crate) discoverable: Option<bool>,
    pub(crate) indexable: bool,
    pub(crate) attribution_domains: [(); 0],
    pub(crate) quote_policy: &'static str,
}

/// What the owner may do here.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) name: String,
    /// A number of bits, as text.
    pub(crate) permissions: String,
    pub(crate) color: String,
    pub(crate) highlighted: bool,
    pub(crate) collection_limit: u32,
}

impl Role {
    /// The role of this spelling in `users.role`. Only what there is an API for is granted;
    /// the administrator's bit (1) covers everything.
    pub(crate) fn named(name: &str) -> Self {
        let (id, permissions) = match name {
            "owner" => ("3", "1"),
            "admin" => ("2", "1"),
            "moderator" => ("1", "0"),
            _ => ("-99", "0"),
        };
        Self {
            id: id.to_owned(),
            name: if id == "-99" {
                String::new()
            } else {
                name.to_owned()
            },
            permissions: permissions.to_owned(),
            color: String::new(),
            highlighted: false,
            collection_limit: 0,
        }
    }
}

/// An account in the list of those that the viewer mutes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MutedAccount {
    #[serde(flatten)]
    pub(crate) account: Account,
    pub(crate) mute_expires_at: Option<String>,
}

/// Renders an account. Of a suspended one only the name is shown.
pub(crate) fn account(row: &Row, instance: &Instance) -> Account {
    let suspended = row.suspended_at.is_some();
    let local = row.is_local();
    let missing = format!("{}{MISSING_PICTURE}", instance.base());
    let picture = |url: &str| {
        if suspended || url.is_empty() {
            missing.clone()
        } else {
            url.to_owned()
        }
    };
    let (avatar, header) = (picture(&row.avatar_url), picture(&row.header_url));
    Account {
        id: row.id.to_string(),
        username: row.username.clone(),
        acct: row.acct(),
        display_name: if suspended {
            String::new()
        } else {
            row.display_name.clone()
        },
        locked: row.locked,
        bot: row.bot,
        discoverable: row.discoverable,
        indexable: row.indexable,
        group: row.actor_type == "Group",
        created_at: midnight(row.created_at),
        note: if suspended {
            String::new()
        } else {
            biography(row, instance)
        },
        url: row.url.clone(),
        uri: row.uri.clone(),
        avatar_static: avatar.clone(),
        avatar,
        avatar_description: String::new(),
        header_static: header.clone(),
        header,
        header_description: String::new(),
        followers_count: row.followers_count,
        following_count: row.following_count,
        statuses_count: row.statuses_count,
        last_status_at: row.last_status_at.map(date),
        hide_collections: row.hide_collections,
        show_media: true,
        show_media_replies: true,
        show_featured: true,
        emojis: Vec::new(),
        fields: if suspended {
            Vec::new()
        } else {
            html_fields(row, instance)
        },
        feature_approval: FeatureApproval {
            automatic: [],
            manual: [],
            current_user: "denied",
        },
        noindex: local.then_some(false),
        roles: local.then_some([]),
        suspended: suspended.then_some(true),
    }
}

/// The biography as HTML. A remote one was made safe when it was stored, and is again (R9); a
/// local one is plain.
fn biography(row: &Row, instance: &Instance) -> String {
    if row.is_local() {
        html::format_status(&row.note, &[], instance)
    } else {
        html::sanitize(&row.note)
    }
}

/// The fields with values as HTML.
fn html_fields(row: &Row, instance: &Instance) -> Vec<Field> {
    let mut fields = plain_fields(&row.fields);
    for field in &mut fields {
        field.value = if row.is_local() {
            field_value(&field.value, instance)
        } else {
            // As with the biography: made safe again (R9).
            html::sanitize(&field.value)
        };
    }
    fields
}

/// A local field's value as HTML: a line, not a paragraph.
pub(crate) fn field_value(text: &str, instance: &Instance) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let html = html::format_status(&line, &[], instance);
    let inner = html
        .strip_prefix("<p>")
        .and_then(|rest| rest.strip_suffix("</p>"));
    inner.map(str::to_owned).unwrap_or(html)
}

/// Fields as they are stored: of a local account, as typed.
pub(crate) fn plain_fields(fields: &[RemoteField]) -> Vec<Field> {
    fields
        .iter()
        .map(|field| Field {
            name: field.name.clone(),
            value: field.value.clone(),
            verified_at: None,
        })
        .collect()
}
