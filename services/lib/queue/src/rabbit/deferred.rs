//! Messages that wait for another try, in the database: RabbitMQ cannot delay, and what waits
//! in a consumer's hand takes the place of what could be handled now.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::types::AMQPValue;
use sqlx::PgPool;
use sqlx::types::Json;

use super::publisher::Item;
use crate::table::bounded;
use crate::{QueueError, envelope};

/// The longest delay, as on the embedded queue.
const MAX_DELAY: Duration = Duration::from_hours(24);

/// The header that keeps count of deliveries before the broker's own count began.
const COUNT: &str = "x-tidegate-redeliveries";

/// Writes a delivered message down, due after `delay`. Only then may it be acknowledged.
pub(super) async fn write(
    pool: &PgPool,
    queue: &str,
    payload: &[u8],
    redeliveries: u32,
    delay: Duration,
) -> Result<(), QueueError> {
    let message = envelope::decode(payload).map_err(|error| QueueError::Other(error.into()))?;
    bounded(
        sqlx::query(
            "insert into deferred_messages (queue, payload, redeliveries, due_at)
             values ($1, $2, $3, now() + make_interval(secs => $4))",
        )
        .bind(queue)
        .bind(Json(message))
        .bind(i32::try_from(redeliveries).unwrap_or(i32::MAX))
        .bind(delay.min(MAX_DELAY).as_secs_f64())
        .execute(pool),
    )
    .await?;
    Ok(())
}

/// A message on its way back, with its count.
pub(super) fn counted(item: Item, redeliveries: u32) -> Item {
    if redeliveries == 0 {
        return item;
    }
    item.with_header(COUNT, &redeliveries.to_string())
}

/// How often it was delivered before its last time in the database.
pub(super) fn count(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|table| table.inner().get(COUNT)) {
        Some(AMQPValue::LongString(text)) => text.to_string().parse().unwrap_or(0),
        _ => 0,
    }
}
