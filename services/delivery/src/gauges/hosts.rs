//! Remote hosts by state, and the twenty that most wait for.

use std::collections::BTreeSet;

use sqlx::PgPool;
use tidegate_store::StoreError;

use crate::metrics::{HOST_STATES, HOSTS, WORST_SILENT, WORST_WAITING};

/// Hosts that are shown by name: as many as a person reads.
const SHOWN: i64 = 20;

/// Counts the hosts.
pub(super) async fn by_state(pool: &PgPool) -> Result<(), StoreError> {
    let states: Vec<(String, i64)> = sqlx::query_as(
        "select case when paused_at is null then state else 'paused' end, count(*)
         from hosts group by 1",
    )
    .fetch_all(pool)
    .await?;
    for state in HOST_STATES {
        let found = states.iter().find(|(name, _)| name == state);
        let hosts = found.map_or(0, |(_, hosts)| *hosts);
        HOSTS.with_label_values(&[state]).set(hosts);
    }
    Ok(())
}

/// The hosts that are shown by name. The condition is spelled as the index by host has it.
#[derive(Default)]
pub(super) struct Worst(BTreeSet<String>);

impl Worst {
    /// Shows who is worst now, and nobody else.
    pub(super) async fn measure(&mut self, pool: &PgPool) -> Result<(), StoreError> {
        let found: Vec<(String, i64, i64)> = sqlx::query_as(
            "select w.host, w.waiting,
                    coalesce(extract(epoch from
                        now() - coalesce(h.last_success_at, h.failing_since)), 0)::bigint
             from (select host, count(*) as waiting
                   from (select host from deliveries
                         where coalesce(state in ('queued', 'parked', 'dead'), false)
                           and state <> 'dead'
                         limit 1000000) r
                   group by host order by waiting desc, host limit $1) w
             left join hosts h on h.host = w.host",
        )
        .bind(SHOWN)
        .fetch_all(pool)
        .await?;
        let shown: BTreeSet<String> = found.iter().map(|(host, ..)| host.clone()).collect();
        for (host, waiting, silent) in found {
            WORST_WAITING.with_label_values(&[&host]).set(waiting);
            WORST_SILENT.with_label_values(&[&host]).set(silent.max(0));
        }
        self.show_only(shown);
        Ok(())
    }

    /// Shows nobody.
    pub(super) fn forget(&mut self) {
        self.show_only(BTreeSet::new());
    }

    fn show_only(&mut self, shown: BTreeSet<String>) {
        for gone in self.0.difference(&shown) {
            for gauge in [&WORST_WAITING, &WORST_SILENT] {
                // It was shown, so it can be removed.
                let _known = gauge.remove_label_values(&[gone]);
            }
        }
        self.0 = shown;
    }
}
