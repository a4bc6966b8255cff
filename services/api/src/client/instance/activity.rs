//! `GET /api/v1/instance/activity`: twelve weeks, newest first, numbers as text.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidegate_model::id_at;
use time::{Duration, OffsetDateTime};

use crate::error::ApiResult;
use crate::state::App;

const WEEKS: i64 = 12;
const WEEK: Duration = Duration::weeks(1);

pub(crate) async fn activity(State(app): State<App>) -> ApiResult<Json<Vec<Value>>> {
    let this_week = start_of_week(app.deps.clock.now());
    let first = this_week - WEEK * (WEEKS as i32 - 1);
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "select extract(epoch from week)::bigint,
                (select count(*) from statuses s where s.local and s.deleted_at is null
                     and s.id >= $2 and s.created_at >= week and s.created_at < week + interval '7 days'),
                (select count(*) from users u where u.last_active_at >= week
                     and u.last_active_at < week + interval '7 days'),
                (select count(*) from users u where u.created_at >= week
                     and u.created_at < week + interval '7 days')
         from generate_series($1, $1 + interval '77 days', interval '7 days') as week
         order by week desc",
    )
    .bind(first)
    .bind(id_at(first))
    .fetch_all(&app.deps.pool)
    .await?;
    let body = rows
        .into_iter()
        .map(|(week, statuses, logins, registrations)| {
            json!({
                "week": week.to_string(),
                "statuses": statuses.to_string(),
                "logins": logins.to_string(),
                "registrations": registrations.to_string(),
            })
        })
        .collect();
    Ok(Json(body))
}

/// Monday, at midnight UTC.
fn start_of_week(at: OffsetDateTime) -> OffsetDateTime {
    let days = i64::from(at.weekday().number_days_from_monday());
    at.replace_time(time::Time::MIDNIGHT) - Duration::days(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn weeks_start_on_monday() {
        let sunday = datetime!(2026-11-22 21:00 UTC);
        assert_eq!(start_of_week(sunday), datetime!(2026-11-16 0:00 UTC));
        assert_eq!(
            start_of_week(datetime!(2026-11-16 0:00 UTC)),
            datetime!(2026-11-16 0:00 UTC)
        );
    }
}
