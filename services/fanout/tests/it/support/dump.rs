//! Everything that the database and the timelines hold, in words that two worlds share: ids that
//! the database made are replaced by what they stand for, times are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::World;

/// Columns that say when, or follow from generated ids.
const VOLATILE: [&str; 16] = [
    "created_at",
    "updated_at",
    "fetched_at",
    "profile_updated_at",
    "last_status_at",
    "done_at",
    "received_at",
    "planned_at",
    "published_at",
    "sent_at",
    "claimed_until",
    "edited_at",
    "deleted_at",
    "digest",
    "body",
    "uuid",
];

/// Tables whose own id nothing refers to.
const ANONYMOUS: [&str; 5] = [
    "notifications",
    "dead_messages",
    "outbox",
    "mutes",
    "status_edits",
];

/// Of the queue only what deliveries there are to make; a repeat of a message is not an effect.
const SKIPPED: [&str; 2] = ["queue_messages", "_sqlx_migrations"];

impl World {
    /// The dump: per table the set of its rows, and the home timelines of `readers`.
    pub(crate) async fn dump(&self, readers: &[i64]) -> BTreeMap<String, BTreeSet<String>> {
        let labels = self.labels().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_class c
             where c.relkind in ('r', 'p') and not c.relispartition
               and c.relnamespace = 'public'::regnamespace order by 1",
        )
        .fetch_all(&self.deps.pool)
        .await
        .expect("tables");
        let mut dump = BTreeMap::new();
        for table in tables {
            if SKIPPED.contains(&table.as_str()) {
                continue;
            }
            let statement = format!("select to_jsonb(t) from {table} t");
            let rows: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(&self.deps.pool)
                .await
                .expect("rows");
            let count = rows.len();
            let rows: BTreeSet<String> = rows
                .into_iter()
                .map(|row| canonical(&table, row, &labels))
                .collect();
            assert_eq!(rows.len(), count, "two rows of {table} say the same");
            dump.insert(table, rows);
        }
        for reader in readers {
            let ids = self.timelines.ids(*reader).await;
            let ids = ids.map(|ids| {
                ids.iter()
                    .map(|id| label(*id, &labels))
                    .collect::<BTreeSet<_>>()
            });
            dump.insert(
                format!("home of {reader}"),
                BTreeSet::from([format!("{ids:?}")]),
            );
        }
        dump
    }

    /// What generated ids stand for.
    async fn labels(&self) -> HashMap<i64, String> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "select id, 'account ' || uri from accounts
             union all select id, 'status ' || uri from statuses
             union all select id, 'follow ' || uri from follows
             union all select id, 'block ' || uri from blocks
             union all select id, 'favourite ' || uri from favourites
             union all select id, 'activity ' || kind || ' ' || account_id || ' ' || seq
                       from activities",
        )
        .fetch_all(&self.deps.pool)
        .await
        .expect("labels");
        let inboxes: Vec<(i64, String)> = sqlx::query_as("select -id, url from inboxes")
            .fetch_all(&self.deps.pool)
            .await
            .expect("inboxes");
        rows.into_iter().chain(inboxes).collect()
    }
}

fn canonical(table: &str, mut row: Value, labels: &HashMap<i64, String>) -> String {
    let fields = row.as_object_mut().expect("a row");
    for (column, value) in fields.iter_mut() {
        if VOLATILE.contains(&column.as_str()) || (column == "id" && ANONYMOUS.contains(&table)) {
            *value = Value::from(if value.is_null() { "no" } else { "yes" });
        } else if column == "inbox_id" || (column == "id" && table == "inboxes") {
            // Inboxes have small numbers of their own; negative ones stand for them.
            *value = value
                .as_i64()
                .map_or(Value::Null, |id| label(-id, labels).into());
        } else if column == "inbox_ids" {
            let ids = value.as_array().expect("ids").iter();
            let urls: BTreeSet<String> = ids
                .map(|id| label(-id.as_i64().expect("a number"), labels))
                .collect();
            *value = Value::from(urls.into_iter().collect::<Vec<_>>());
        }
    }
    in_words(&row.to_string(), labels)
}

/// Replaces every long number, also inside texts such as order keys.
fn in_words(text: &str, labels: &HashMap<i64, String>) -> String {
    let (mut words, mut digits) = (String::new(), String::new());
    for one in text.chars().chain(['\n']) {
        if one.is_ascii_digit() {
            digits.push(one);
            continue;
        }
        match digits.parse::<i64>() {
            // Snowflakes of this century have 18 digits; fixed ids of tests are small.
            Ok(id) if digits.len() >= 15 => words.push_str(&label(id, labels)),
            _ => words.push_str(&digits),
        }
        digits.clear();
        words.push(one);
    }
    words
}

fn label(id: i64, labels: &HashMap<i64, String>) -> String {
    labels
        .get(&id)
        .cloned()
        .unwrap_or_else(|| format!("#{}", if id < 1_000_000 { id } else { 0 }))
}
