//! Actors, local and remote.

use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use tidegate_model::{Instance, RemoteActor, RemoteField};
use time::OffsetDateTime;

use crate::{StoreError, inboxes};

/// A row of `accounts`.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Account {
    pub id: i64,
    pub username: String,
    pub domain: Option<String>,
    pub uri: String,
    pub url: String,
    pub inbox_url: String,
    pub shared_inbox_url: Option<String>,
    pub outbox_url: String,
    pub followers_url: String,
    pub following_url: String,
    pub actor_type: String,
    pub display_name: String,
    pub note: String,
    pub avatar_url: String,
    pub header_url: String,
    pub fields: Json<Vec<RemoteField>>,
    pub locked: bool,
    pub bot: bool,
    pub discoverable: Option<bool>,
    pub indexable: bool,
    pub hide_collections: Option<bool>,
    pub key_id: String,
    pub public_key_pem: String,
    pub followers_count: i64,
    pub following_count: i64,
    pub statuses_count: i64,
    pub last_status_at: Option<OffsetDateTime>,
    pub suspended_at: Option<OffsetDateTime>,
    pub deleted_at: Option<OffsetDateTime>,
    pub fetched_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl Account {
    /// Whether it lives here.
    pub const fn is_local(&self) -> bool {
        self.domain.is_none()
    }

    /// The inbox to deliver to: the shared one if there is one.
    pub fn preferred_inbox(&self) -> &str {
        self.shared_inbox_url.as_deref().unwrap_or(&self.inbox_url)
    }

    /// The handle as the API shows it: without a domain for local accounts.
    pub fn acct(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{}@{domain}", self.username),
            None => self.username.clone(),
        }
    }
}

/// The account with this id.
pub async fn by_id(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<Account>, StoreError> {
    Ok(
        sqlx::query_as("select * from accounts where id = $1 and deleted_at is null")
            .bind(id)
            .fetch_optional(executor)
            .await?,
    )
}

/// The accounts with these ids, in no order.
pub async fn by_ids(
    executor: impl PgExecutor<'_>,
    ids: &[i64],
) -> Result<Vec<Account>, StoreError> {
    Ok(
        sqlx::query_as("select * from accounts where id = any($1) and deleted_at is null")
            .bind(ids)
            .fetch_all(executor)
            .await?,
    )
}

/// The account with this actor id.
pub async fn by_uri(
    executor: impl PgExecutor<'_>,
    uri: &str,
) -> Result<Option<Account>, StoreError> {
    Ok(
        sqlx::query_as("select * from accounts where uri = $1 and deleted_at is null")
            .bind(uri)
            .fetch_optional(executor)
            .await?,
    )
}

/// The account that owns this key id.
pub async fn by_key_id(
    executor: impl PgExecutor<'_>,
    key_id: &str,
) -> Result<Option<Account>, StoreError> {
    Ok(
        sqlx::query_as("select * from accounts where key_id = $1 and deleted_at is null")
            .bind(key_id)
            .fetch_optional(executor)
            .await?,
    )
}

/// The account with this handle; `domain` is `None` for local ones. Case does not matter.
pub async fn by_handle(
    executor: impl PgExecutor<'_>,
    username: &str,
    domain: Option<&str>,
) -> Result<Option<Account>, StoreError> {
    Ok(sqlx::query_as(
        "select * from accounts
         where lower(username) = lower($1) and lower(coalesce(domain, '')) = lower(coalesce($2, ''))
           and deleted_at is null",
    )
    .bind(username)
    .bind(domain)
    .fetch_optional(executor)
    .await?)
}

/// A new local account and its keys, already encrypted by the vault under `id`.
#[derive(Debug, Clone)]
pub struct NewLocalAccount<'a> {
    /// From [`next_id`].
    pub id: i64,
    /// As typed; unique without regard to case.
    pub username: &'a str,
    /// `Person`, or `Application` for the instance actor.
    pub actor_type: &'a str,
    /// SPKI PEM of the RSA key.
    pub public_key_pem: &'a str,
    /// PKCS#8 of the RSA key, encrypted.
    pub rsa_private: &'a [u8],
    /// PKCS#8 of the Ed25519 key, encrypted.
    pub ed25519_private: &'a [u8],
    /// Multibase of the public Ed25519 key.
    pub ed25519_public: &'a str,
}

/// An id for a row that must be known before it is inserted.
pub async fn next_id(executor: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select snowflake()")
        .fetch_one(executor)
        .await?)
}

/// Inserts a local account with its keys; `Conflict` when the name is taken.
pub async fn create_local(
    connection: &mut PgConnection,
    instance: &Instance,
    new: &NewLocalAccount<'_>,
) -> Result<Account, StoreError> {
    let is_instance_actor = new.actor_type == "Application";
    let uri = if is_instance_actor {
        instance.instance_actor()
    } else {
        instance.actor(new.username)
    };
    let key_id = format!("{uri}#main-key");
    let account = sqlx::query_as(
        "insert into accounts (id, username, uri, url, inbox_url, shared_inbox_url, outbox_url,
                               followers_url, following_url, actor_type, bot, key_id, public_key_pem)
         values ($1, $2, $3, $4, $3 || '/inbox', $5, $3 || '/outbox', $3 || '/followers',
                 $3 || '/following', $6, $7, $8, $9)
         returning *",
    )
    .bind(new.id)
    .bind(new.username)
    .bind(&uri)
    .bind(instance.profile(new.username))
    .bind(instance.shared_inbox())
    .bind(new.actor_type)
    .bind(is_instance_actor)
    .bind(&key_id)
    .bind(new.public_key_pem)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "insert into account_keys (account_id, rsa_private, ed25519_private, ed25519_public)
         values ($1, $2, $3, $4)",
    )
    .bind(new.id)
    .bind(new.rsa_private)
    .bind(new.ed25519_private)
    .bind(new.ed25519_public)
    .execute(connection)
    .await?;
    Ok(account)
}

/// A local account's private keys as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StoredKeys {
    /// Whose.
    pub account_id: i64,
    /// The id of the RSA key.
    pub key_id: String,
    /// Encrypted PKCS#8.
    pub rsa_private: Vec<u8>,
    /// Encrypted PKCS#8.
    pub ed25519_private: Vec<u8>,
    /// Multibase of the public Ed25519 key.
    pub ed25519_public: String,
    /// Grows when keys are replaced.
    pub version: i32,
}

/// The private keys of a local account.
pub async fn keys_of(
    executor: impl PgExecutor<'_>,
    account_id: i64,
) -> Result<Option<StoredKeys>, StoreError> {
    Ok(sqlx::query_as(
        "select k.account_id, a.key_id, k.rsa_private, k.ed25519_private, k.ed25519_public, k.version
         from account_keys k join accounts a on a.id = k.account_id
         where k.account_id = $1",
    )
    .bind(account_id)
    .fetch_optional(executor)
    .await?)
}

/// Writes down a remote actor as its own origin described it, new or refreshed.
///
/// The id never moves to another handle or origin: a document whose handle belongs to another
/// id replaces that id's row only when both have the same origin (a re-created account);
/// otherwise it is a `Conflict`.
pub async fn upsert_remote(
    connection: &mut PgConnection,
    actor: &RemoteActor,
) -> Result<Account, StoreError> {
    let account: Account = sqlx::query_as(
        "insert into accounts (username, domain, uri, url, inbox_url, shared_inbox_url, outbox_url,
                               followers_url, following_url, actor_type, display_name, note,
                               avatar_url, header_url, fields, locked, bot, discoverable, indexable,
                               key_id, public_key_pem, fetched_at, created_at,
                               profile_updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                 $19, $20, $21, now(), coalesce($22, now()), case when $23 is not null then least($23, now()) end)
         on conflict (uri) do update set
             url = excluded.url, inbox_url = excluded.inbox_url,
             shared_inbox_url = excluded.shared_inbox_url, outbox_url = excluded.outbox_url,
             followers_url = excluded.followers_url, following_url = excluded.following_url,
             actor_type = excluded.actor_type, display_name = excluded.display_name,
             note = excluded.note, avatar_url = excluded.avatar_url,
             header_url = excluded.header_url, fields = excluded.fields, locked = excluded.locked,
             bot = excluded.bot, discoverable = excluded.discoverable,
             indexable = excluded.indexable, key_id = excluded.key_id,
             public_key_pem = excluded.public_key_pem, fetched_at = now(), updated_at = now(),
             profile_updated_at = coalesce(excluded.profile_updated_at, accounts.profile_updated_at)
         where accounts.domain is not null
         returning *",
    )
    .bind(&actor.username)
    .bind(&actor.domain)
    .bind(&actor.uri)
    .bind(&actor.url)
    .bind(&actor.inbox)
    .bind(&actor.shared_inbox)
    .bind(&actor.outbox)
    .bind(&actor.followers)
    .bind(&actor.following)
    .bind(&actor.actor_type)
    .bind(&actor.display_name)
    .bind(&actor.note)
    .bind(&actor.avatar_url)
    .bind(&actor.header_url)
    .bind(Json(&actor.fields))
    .bind(actor.locked)
    .bind(actor.bot)
    .bind(actor.discoverable)
    .bind(actor.indexable)
    .bind(&actor.key_id)
    .bind(&actor.public_key_pem)
    .bind(actor.published)
    .bind(actor.updated)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| StoreError::Conflict("accounts_local".to_owned()))?;
    // The follow rows carry the inbox; when it moved they move with it.
    if let Some(inbox_id) = inboxes::intern(
        connection,
        account.preferred_inbox(),
        account.shared_inbox_url.is_some(),
    )
    .await?
    {
        sqlx::query(
            "update follows set inbox_id = $2
             where account_id = $1 and inbox_id is distinct from $2",
        )
        .bind(account.id)
        .bind(inbox_id)
        .execute(connection)
        .await?;
    }
    Ok(account)
}

/// Takes in what a known remote actor says about itself in an activity: its profile, and nothing
/// that decides who it is or where it lives. Key and inboxes come only from its own origin, by
/// [`upsert_remote`]; where the actor names others, its document counts as stale, so that the
/// next request that fails under the old key has it fetched.
///
/// `false` when nothing was changed: a newer document is known (rule R3), or the actor is not.
pub async fn update_profile(
    connection: &mut PgConnection,
    actor: &RemoteActor,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "update accounts set
             url = $2, actor_type = $3, display_name = $4, note = $5, avatar_url = $6,
             header_url = $7, fields = $8, locked = $9, bot = $10, discoverable = $11,
             indexable = $12, updated_at = now(),
             profile_updated_at = case when $13 is null then profile_updated_at else least($13, now()) end,
             fetched_at = case when key_id = $14 and public_key_pem = $15 and inbox_url = $16
                                    and shared_inbox_url is not distinct from $17
                               then fetched_at end
         where uri = $1 and domain is not null and deleted_at is null
           and ($13 is null or profile_updated_at is null or profile_updated_at <= $13)",
    )
    .bind(&actor.uri)
    .bind(&actor.url)
    .bind(&actor.actor_type)
    .bind(&actor.display_name)
    .bind(&actor.note)
    .bind(&actor.avatar_url)
    .bind(&actor.header_url)
    .bind(Json(&actor.fields))
    .bind(actor.locked)
    .bind(actor.bot)
    .bind(actor.discoverable)
    .bind(actor.indexable)
    .bind(actor.updated)
    .bind(&actor.key_id)
    .bind(&actor.public_key_pem)
    .bind(&actor.inbox)
    .bind(&actor.shared_inbox)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(changed == 1)
}
