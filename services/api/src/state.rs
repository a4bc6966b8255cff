//! What every handler shares: dependencies, options and small caches.

use std::{ops::Deref, sync::Arc, time::Duration};

use moka::future::Cache;
use tidegate_store::{StoreError, settings};
use url::Url;

use crate::{ApiDeps, auth::TokenCache, federation::Inbox, signup::password::PasswordPool};

/// How long a setting read from the database is believed: a switch is felt by every replica
/// within this time (design section 9).
const SETTINGS_TTL: Duration = Duration::from_secs(4);

/// Counting everybody reads two tables; nobody minds figures of ten minutes ago.
const FIGURES_TTL: Duration = Duration::from_mins(10);

/// Whether strangers may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registrations {
    /// Anybody.
    #[default]
    Open,
    /// Anybody, but an operator decides.
    Approval,
    /// Only the invited; until invites exist this is as closed.
    Invite,
    /// Nobody.
    Closed,
}

impl Registrations {
    /// Whether a sign-up form makes sense.
    pub const fn is_enabled(self) -> bool {
        matches!(self, Self::Open | Self::Approval)
    }

    /// As settings and pages spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approval => "approval",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// The operator's choices.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The instance's name.
    pub title: String,
    /// A sentence about it.
    pub description: String,
    /// Where people write to; may be empty.
    pub contact_email: String,
    /// The mode until somebody switches it at run time.
    pub registrations: Registrations,
    /// What newcomers agree to, one rule per entry.
    pub rules: Vec<String>,
    /// Whether an address must be confirmed by mail before the account works.
    pub confirm_email: bool,
    /// Passwords hashed at once, by all requests. Each takes 19 MiB and about 30 ms of a core.
    pub hash_permits: usize,
    /// Of these, how many only log-ins may use, so that a rush of sign-ups locks nobody out.
    pub hash_permits_for_log_in: usize,
    /// Foreign signatures verified at once: work for the processor, so about its cores.
    pub verify_permits: usize,
    /// How far the time of a foreign signature may be from ours, either way.
    pub signature_window: time::Duration,
    /// How long a browser stays signed in.
    pub session_lifetime: Duration,
    /// Whether keys of plain http servers are believed: test networks only.
    pub allow_plain_http: bool,
    /// Characters in a post.
    pub max_status_chars: usize,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            title: "Tidegate".to_owned(),
            description: "A small place in the fediverse.".to_owned(),
            contact_email: String::new(),
            registrations: Registrations::Open,
            rules: vec![
                "Be kind.".to_owned(),
                "No spam, no harassment, nothing illegal.".to_owned(),
            ],
            confirm_email: true,
            hash_permits: 2,
            hash_permits_for_log_in: 1,
            verify_permits: 4,
            signature_window: tidegate_federation::signature::DEFAULT_WINDOW,
            // Two weeks: pages are used to approve apps, which is seldom.
            session_lifetime: Duration::from_hours(14 * 24),
            allow_plain_http: false,
            max_status_chars: 500,
        }
    }
}

/// The state of the router. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// What [`App`] points to.
pub(crate) struct Inner {
    pub(crate) deps: ApiDeps,
    pub(crate) options: ApiOptions,
    pub(crate) tokens: TokenCache,
    /// The origin of all our URLs, for signatures.
    pub(crate) base: Url,
    pub(crate) passwords: PasswordPool,
    pub(crate) inbox: Inbox,
    registrations: Cache<(), Registrations>,
    figures: Cache<(), Figures>,
}

/// What NodeInfo and instance pages count.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Figures {
    #[sqlx(try_from = "i64")]
    pub(crate) users: u64,
    #[sqlx(try_from = "i64")]
    pub(crate) active_month: u64,
    #[sqlx(try_from = "i64")]
    pub(crate) active_half_year: u64,
    #[sqlx(try_from = "i64")]
    pub(crate) local_posts: u64,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    pub(crate) fn new(deps: ApiDeps, options: ApiOptions) -> Self {
        let base = Url::parse(deps.instance.base())
            .expect("the instance was made from a URL, and this is its origin");
        Self(Arc::new(Inner {
            base,
            passwords: PasswordPool::new(&options),
            inbox: Inbox::new(&options),
            deps,
            options,
            tokens: TokenCache::default(),
            registrations: Cache::builder()
                .max_capacity(1)
                .time_to_live(SETTINGS_TTL)
                .build(),
            figures: Cache::builder()
                .max_capacity(1)
                .time_to_live(FIGURES_TTL)
                .build(),
        }))
    }

    /// Whether strangers may sign up now.
    pub(crate) async fn registrations(&self) -> Result<Registrations, StoreError> {
        if let Some(mode) = self.registrations.get(&()).await {
            return Ok(mode);
        }
        let stored = settings::get(&self.deps.pool, settings::REGISTRATION_MODE).await?;
        let mode = stored.unwrap_or(self.options.registrations);
        self.registrations.insert((), mode).await;
        Ok(mode)
    }

    /// How large this place is, as of some minutes ago.
    pub(crate) async fn figures(&self) -> Result<Figures, StoreError> {
        if let Some(figures) = self.figures.get(&()).await {
            return Ok(figures);
        }
        let now = self.deps.clock.now();
        let figures: Figures = sqlx::query_as(
            "select count(*) filter (where confirmed_at is not null) as users,
                    count(*) filter (where last_active_at > $1) as active_month,
                    count(*) filter (where last_active_at > $2) as active_half_year,
                    (select coalesce(sum(a.statuses_count), 0)::bigint
                     from users u join accounts a on a.id = u.account_id) as local_posts
             from users where not disabled",
        )
        .bind(now - time::Duration::days(30))
        .bind(now - time::Duration::days(180))
        .fetch_one(&self.deps.pool)
        .await?;
        self.figures.insert((), figures).await;
        Ok(figures)
    }
}
