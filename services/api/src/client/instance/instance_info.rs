//! `GET /api/v1/instance` and `/api/v2/instance`: the first thing that a client asks.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use moka::future::Cache;
use serde_json::{Value, json};

use crate::client::entities::{Facts, account, instance_v1, instance_v2};
use crate::error::ApiResult;
use crate::state::App;

/// Counting everybody costs a scan; a number that is minutes old is as good.
const COUNTS_TTL: Duration = Duration::from_mins(5);

/// By instance, because several run in one process in tests.
static COUNTS: LazyLock<Cache<String, Counts>> = LazyLock::new(|| {
    Cache::builder()
        .max_capacity(16)
        .time_to_live(COUNTS_TTL)
        .build()
});

#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Counts {
    users: i64,
    active_month: i64,
    statuses: i64,
    domains: i64,
}

pub(crate) async fn v1(State(app): State<App>) -> ApiResult<Json<Value>> {
    Ok(Json(instance_v1(&app.deps.instance, &facts(&app).await?)))
}

pub(crate) async fn v2(State(app): State<App>) -> ApiResult<Json<Value>> {
    Ok(Json(instance_v2(&app.deps.instance, &facts(&app).await?)))
}

async fn facts(app: &App) -> ApiResult<Facts> {
    let counts = counts(app).await?;
    let registrations = app.registrations().await?;
    let owner = sqlx::query_as(
        "select a.* from accounts a join users u on u.account_id = a.id
         where u.role in ('owner', 'admin') and a.deleted_at is null and a.suspended_at is null
         order by u.role = 'owner' desc, u.id limit 1",
    )
    .fetch_optional(&app.deps.pool)
    .await?;
    let options = &app.options;
    Ok(Facts {
        title: options.title.clone(),
        description: options.description.clone(),
        email: options.contact_email.clone(),
        contact: owner.map(|row| account(&row, &app.deps.instance)),
        registrations: registrations.as_str(),
        max_status_chars: options.max_status_chars,
        users: counts.users,
        active_month: counts.active_month,
        statuses: counts.statuses,
        domains: counts.domains,
        languages: vec!["en".to_owned()],
        rules: rules(&options.rules),
    })
}

/// The operator's rules with the numbers of their places.
pub(crate) fn rules(texts: &[String]) -> Vec<Value> {
    texts
        .iter()
        .zip(1..)
        .map(|(text, number): (_, u32)| {
            json!({ "id": number.to_string(), "text": text, "hint": "", "translations": {} })
        })
        .collect()
}

async fn counts(app: &App) -> ApiResult<Counts> {
    let name = app.deps.instance.domain.clone();
    if let Some(counts) = COUNTS.get(&name).await {
        return Ok(counts);
    }
    let counts: Counts = sqlx::query_as(
        "select (select count(*) from users where confirmed_at is not null) as users,
                (select count(*) from users
                 where last_active_at > now() - interval '30 days') as active_month,
                (select count(*) from statuses
                 where local and deleted_at is null and reblog_of_id is null) as statuses,
                (select count(distinct domain) from accounts where domain is not null) as domains",
    )
    .fetch_one(&app.deps.pool)
    .await?;
    COUNTS.insert(name, counts).await;
    Ok(counts)
}
