//! The thread around a post.

use std::collections::HashMap;

use sqlx::PgConnection;
use tidegate_model::Instance;
use tidegate_store::StoreError;
use tidegate_store::statuses::{self, Status as Row};

use crate::client::entities::Context;
use crate::client::load;

/// How much of a thread is shown. Mastodon's numbers: a stranger gets less, because a thread is
/// among the most expensive pages.
struct Bounds {
    ancestors: i64,
    descendants: i64,
    depth: i32,
}

const SIGNED_IN: Bounds = Bounds {
    ancestors: 4_096,
    descendants: 4_096,
    depth: 4_096,
};
const STRANGER: Bounds = Bounds {
    ancestors: 40,
    descendants: 60,
    depth: 20,
};

/// Everything above and below `row` that the viewer may see; below in depth-first order, older
/// answers first.
pub(crate) async fn context(
    connection: &mut PgConnection,
    instance: &Instance,
    viewer: Option<i64>,
    row: &Row,
) -> Result<Context, StoreError> {
    let bounds = if viewer.is_some() {
        SIGNED_IN
    } else {
        STRANGER
    };
    let above = ancestors(&mut *connection, row, &bounds).await?;
    let below = descendants(&mut *connection, row, &bounds).await?;
    let ids: Vec<i64> = above.iter().chain(&below).copied().collect();
    let mut seen: HashMap<i64, Row> = statuses::visible(&mut *connection, &ids, viewer)
        .await?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    let mut pick =
        |ids: &[i64]| -> Vec<Row> { ids.iter().filter_map(|id| seen.remove(id)).collect() };
    let (above, below) = (pick(&above), pick(&below));
    Ok(Context {
        ancestors: load::statuses(&mut *connection, instance, viewer, &above).await?,
        descendants: load::statuses(connection, instance, viewer, &below).await?,
    })
}

/// From the root down.
async fn ancestors(
    connection: &mut PgConnection,
    row: &Row,
    bounds: &Bounds,
) -> Result<Vec<i64>, StoreError> {
    // `union` and not `union all`: a cycle in stored data must not go on for ever.
    let mut ids: Vec<i64> = sqlx::query_scalar(
        "with recursive above (id, parent, depth) as (
             select id, in_reply_to_id, 1 from statuses where id = $1
             union
             select s.id, s.in_reply_to_id, above.depth + 1
             from above join statuses s on s.id = above.parent
             where above.depth <= $2
         )
         select id from above where depth > 1 order by depth limit $2",
    )
    .bind(row.id)
    .bind(bounds.ancestors as i32)
    .fetch_all(connection)
    .await?;
    ids.reverse();
    Ok(ids)
}

/// Depth first.
async fn descendants(
    connection: &mut PgConnection,
    row: &Row,
    bounds: &Bounds,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "with recursive below (id, path, depth) as (
             select id, array[id], 1 from statuses where in_reply_to_id = $1
             union all
             select s.id, below.path || s.id, below.depth + 1
             from below join statuses s on s.in_reply_to_id = below.id
             where below.depth < $2 and not s.id = any(below.path)
         )
         select id from (select id, path from below limit $3) as bounded order by path",
    )
    .bind(row.id)
    .bind(bounds.depth)
    .bind(bounds.descendants)
    .fetch_all(connection)
    .await?)
}
