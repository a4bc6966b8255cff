//! One page of a list that is read by id, in either direction.

use axum::http::HeaderMap;
use tidegate_model::Instance;

use crate::pagination::{Links, Paging};

/// A page: the id that the list is paged by, and the id of what is shown, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    rows: Vec<(i64, i64)>,
    full: bool,
}

impl Page {
    /// Takes rows as they were read; those read upwards are turned round.
    pub(crate) fn new(mut rows: Vec<(i64, i64)>, ascending: bool, limit: i64) -> Self {
        if ascending {
            rows.reverse();
        }
        let full = rows.len() as i64 == limit;
        Self { rows, full }
    }

    /// What is shown, in order.
    pub(crate) fn items(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.1).collect()
    }

    /// The `Link` header.
    pub(crate) fn links(&self, paging: &Paging, instance: &Instance, kind: Links) -> HeaderMap {
        let newest = self.rows.first().map(|row| row.0);
        let oldest = self.rows.last().map(|row| row.0);
        paging.links(instance, kind, newest, oldest, self.full)
    }
}

/// Reads a [`Page`]. The statement selects (paging id, shown id) and ends in its conditions;
/// `$1` is the upper and `$2` the lower bound of the paging id, both exclusive, `$3` the limit,
/// and further bindings follow from `$4`. The order is added here, once for each direction, so
/// that an index serves both.
macro_rules! read_page {
    ($connection:expr, $paging:expr, $limit:expr, $sql:literal, by $key:literal $(, $bind:expr)* $(,)?) => {{
        let ascending = $paging.is_ascending();
        let limit: i64 = $limit;
        let sql: &'static str = if ascending {
            concat!($sql, " order by ", $key, " asc limit $3")
        } else {
            concat!($sql, " order by ", $key, " desc limit $3")
        };
        sqlx::query_as::<_, (i64, i64)>(sql)
            .bind($paging.max_id.unwrap_or(i64::MAX))
            .bind($paging.above().unwrap_or(0))
            .bind(limit)
            $(.bind($bind))*
            .fetch_all($connection)
            .await
            .map(|rows| $crate::client::page::Page::new(rows, ascending, limit))
    }};
}
pub(crate) use read_page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_upwards_is_shown_downwards() {
        let page = Page::new(vec![(1, 10), (2, 20)], true, 2);
        assert_eq!(page.items(), [20, 10]);
        let page = Page::new(vec![(2, 20), (1, 10)], false, 3);
        assert_eq!(page.items(), [20, 10]);
    }
}
