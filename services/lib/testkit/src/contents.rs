//! Everything that a database holds, to see that something left no trace.

use std::collections::BTreeMap;

use sqlx::PgPool;

/// By table: how many rows there are, and a sum over what is in them, so that a row that only
/// changed shows as well.
pub type Contents = BTreeMap<String, (i64, i64)>;

/// Far fewer than the schema has: a pool of another database would find nothing to compare.
const FEWEST_TABLES: usize = 20;

/// The contents of every table, all at one moment.
pub async fn contents(pool: &PgPool) -> Contents {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relkind = 'r' and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(pool)
    .await
    .expect("tables are listed");
    assert!(tables.len() > FEWEST_TABLES, "not our schema: {tables:?}");
    let each: Vec<String> = tables
        .iter()
        .map(|table| {
            // Hashes of 64 bits, folded so that the sum of millions of them fits.
            format!(
                "select '{table}', count(*),
                        coalesce(sum(hashtextextended(t::text, 0) % 1000000007), 0)::bigint
                 from {table} t"
            )
        })
        .collect();
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as(sqlx::AssertSqlSafe(each.join(" union all ")))
            .fetch_all(pool)
            .await
            .expect("tables are read");
    rows.into_iter()
        .map(|(table, count, sum)| (table, (count, sum)))
        .collect()
}

/// What differs, in words; empty when nothing does.
pub fn differences(before: &Contents, after: &Contents) -> Vec<String> {
    after
        .iter()
        .filter(|(place, found)| before.get(*place) != Some(*found))
        .map(|(place, (count, _))| {
            let earlier = before.get(place).map_or(0, |(count, _)| *count);
            match count - earlier {
                0 => format!("{place} changed"),
                more => format!("{place} {more:+}"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Postgres;

    #[tokio::test]
    async fn a_new_row_and_a_changed_one_are_seen() {
        let database = Postgres::shared().await.fresh_database().await;
        let empty = contents(&database.pool).await;
        let run = async |statement: &'static str| {
            sqlx::query(statement)
                .execute(&database.pool)
                .await
                .expect("runs");
            contents(&database.pool).await
        };
        let one = run("insert into settings (name, value) values ('x', '1')").await;
        assert_eq!(differences(&empty, &one), ["settings +1"]);
        let other = run("update settings set value = '2'").await;
        assert_eq!(differences(&one, &other), ["settings changed"]);
        assert!(differences(&other, &contents(&database.pool).await).is_empty());
    }
}
