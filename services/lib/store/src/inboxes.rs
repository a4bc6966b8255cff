//! Inboxes by number: deliveries and follows carry the number, never the URL.

use sqlx::PgConnection;
use tidegate_model::{host_of, registrable_domain};

use crate::StoreError;

/// Host states of one registrable domain: its own, and those of the first hosts below it. What
/// comes later shares the domain's own. More than any instance with names of its own needs.
pub const STATES_PER_DOMAIN: i64 = 50;

/// Below this many nobody has to take turns: so many at the same moment are out of reach.
const FAR_FROM_IT: i64 = STATES_PER_DOMAIN / 2;

/// First key of the advisory lock, which is held within a transaction; the second tells domains
/// apart. Any fixed number.
const LOCK: i32 = 0x7469_6464;

/// The number of an inbox URL, made on first sight. `None` when the URL has no usable host. Call
/// it within a transaction.
pub async fn intern(
    connection: &mut PgConnection,
    url: &str,
    shared: bool,
) -> Result<Option<i64>, StoreError> {
    let Ok(host) = host_of(url) else {
        return Ok(None);
    };
    // An inbox that is there is only read: were its row locked, a follow (inbox, then accounts)
    // and a refreshed actor (account, then inbox) would wait for each other.
    let known: Option<i64> = sqlx::query_scalar("select id from inboxes where url = $1")
        .bind(url)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_some() {
        return Ok(known);
    }
    let state_host = state_host(connection, &host).await?;
    let made: Option<i64> = sqlx::query_scalar(
        "insert into inboxes (url, host, shared, state_host) values ($1, $2, $3, $4)
         on conflict (url) do nothing returning id",
    )
    .bind(url)
    .bind(&host)
    .bind(shared)
    .bind(state_host)
    .fetch_optional(&mut *connection)
    .await?;
    if made.is_some() {
        return Ok(made);
    }
    // Somebody else made it between the two statements.
    let id = sqlx::query_scalar("select id from inboxes where url = $1")
        .bind(url)
        .fetch_one(connection)
        .await?;
    Ok(Some(id))
}

/// Whose state the deliveries to a host have; `None`: its own.
async fn state_host(
    connection: &mut PgConnection,
    host: &str,
) -> Result<Option<String>, StoreError> {
    // As its other inboxes: what waits for a host waits in one place.
    let known: Option<Option<String>> =
        sqlx::query_scalar("select state_host from inboxes where host = $1 order by id limit 1")
            .bind(host)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(state_host) = known {
        return Ok(state_host);
    }
    let Some(domain) = registrable_domain(host).filter(|domain| *domain != host) else {
        return Ok(None);
    };
    if states_below(connection, domain).await? < FAR_FROM_IT {
        return Ok(None);
    }
    // Whoever would have to wait shares: waiting here for each other could last for ever, and
    // nobody is worse off for it than one host of very many.
    let is_alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCK)
        .bind(domain)
        .fetch_one(&mut *connection)
        .await?;
    if is_alone && states_below(connection, domain).await? < STATES_PER_DOMAIN - 1 {
        return Ok(None);
    }
    Ok(Some(domain.to_owned()))
}

/// Hosts below a domain with states of their own, as far as it matters. One step through the
/// index for each, however many inboxes they have.
async fn states_below(connection: &mut PgConnection, domain: &str) -> Result<i64, StoreError> {
    let backwards: String = domain.chars().rev().collect();
    Ok(sqlx::query_scalar(
        "with recursive below as (
             (select reverse(host) collate \"C\" as name from inboxes
              where state_host is null
                and reverse(host) collate \"C\" > $1 and reverse(host) collate \"C\" < $2
              order by reverse(host) collate \"C\" limit 1)
             union all
             select (select reverse(host) collate \"C\" from inboxes
                     where state_host is null and reverse(host) collate \"C\" > below.name
                       and reverse(host) collate \"C\" < $2
                     order by reverse(host) collate \"C\" limit 1)
             from below where below.name is not null)
         select count(name) from (select name from below limit $3) b",
    )
    // Names that go on after the dot; the slash is what follows a dot.
    .bind(format!("{backwards}."))
    .bind(format!("{backwards}/"))
    .bind(STATES_PER_DOMAIN)
    .fetch_one(connection)
    .await?)
}
