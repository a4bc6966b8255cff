//! `tidegate admin deliveries`: what is on its way, what died, and what is done about it.

use std::fmt::Write;
use std::pin::pin;

use anyhow::Context;
use futures::StreamExt;
use tidegate_delivery::{
    By, ListedDeliveries, Move, MoveKind, Operators, Progress, StatusDelivery, Why,
};

use super::table::{Table, at, counted, or_dash};
use crate::cli::{Deliveries, DeliveriesList, DeliveriesMove};
use crate::config::Config;
use crate::wiring::{Database, operators};

/// Rows between two lines of progress: some seconds of work.
const TELL_EVERY: i64 = 10_000;

pub(super) async fn execute(config: &Config, command: Deliveries) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| {
            let operators = operators(config, pool).await?;
            match command {
                Deliveries::List(list) => print!("{}", listed(&operators, &list).await?),
                Deliveries::Replay(order) => shift(&operators, MoveKind::Replay, &order).await?,
                Deliveries::Purge(order) => shift(&operators, MoveKind::Purge, &order).await?,
                Deliveries::Status { id } => {
                    print!("{}", of_status(&operators.per_status(id).await?));
                }
            }
            Ok(())
        })
        .await
}

async fn listed(operators: &Operators, list: &DeliveriesList) -> anyhow::Result<String> {
    let limit = i64::from(list.limit);
    let after = list.after.map(|place| place.0).unwrap_or_default();
    let found = operators
        .deliveries_with_totals(&list.which.filter(), limit, after)
        .await?;
    let mut text = table(&found);
    let totals = found.totals.iter().map(|(state, total)| {
        let total = counted(*total, found.counted_to);
        format!("{total} {state}")
    });
    let _infallible = writeln!(
        text,
        "{} shown, oldest first; matching: {}.",
        found.rows.len(),
        totals.collect::<Vec<_>>().join(", ")
    );
    if let (Some(last), true) = (found.rows.last(), found.rows.len() as i64 == limit) {
        let next = last.cursor();
        let _infallible = writeln!(
            text,
            "Next page: --after {}-{}",
            next.activity_id, next.inbox_id
        );
    }
    Ok(text)
}

fn table(found: &ListedDeliveries) -> String {
    let mut table = Table::new(&[
        "ACTIVITY-INBOX",
        "KIND",
        "HOST",
        "LANE",
        "STATE",
        "REASON",
        "TRIES",
        "ANSWER",
        "NEXT TRY (UTC)",
    ]);
    for row in &found.rows {
        let answer = row.last_status.map(|status| status.to_string());
        table.row(vec![
            format!("{}-{}", row.activity_id, row.inbox_id),
            row.kind.clone(),
            row.host.clone(),
            row.lane.clone(),
            row.state.clone(),
            or_dash(row.reason.as_deref().unwrap_or_default()),
            row.attempts.to_string(),
            or_dash(
                &answer
                    .or_else(|| row.last_error.clone())
                    .unwrap_or_default(),
            ),
            at(row.next_try_at),
        ]);
    }
    table.render()
}

async fn shift(
    operators: &Operators,
    kind: MoveKind,
    order: &DeliveriesMove,
) -> anyhow::Result<()> {
    let filter = order.which.filter();
    anyhow::ensure!(
        order.all || !filter.is_empty(),
        "this would be every delivery that can be: say which with --host, --actor, --reason, \
         --older-than, --younger-than, --status or --activity, or give --all"
    );
    let mut steps = pin!(operators.moving(Move {
        kind,
        filter,
        all: order.all,
        limit: order.limit.unwrap_or(0),
        why: Why::new(By::CommandLine, &order.because)?,
    }));
    let mut progress = Progress::default();
    let mut told = 0;
    while let Some(step) = steps.next().await {
        let moved = progress.moved;
        progress = step.with_context(|| {
            format!("it ended after {moved} deliveries; give the same command again to go on")
        })?;
        if progress.moved >= told + TELL_EVERY && !progress.finished {
            told = progress.moved;
            println!("{told} so far");
        }
    }
    println!("{}", progress.note(kind));
    Ok(())
}

fn of_status(found: &StatusDelivery) -> String {
    if found.totals.is_empty() {
        return "Nothing was to be delivered for this post.\n".to_owned();
    }
    let mut table = Table::new(&[
        "HOST",
        "STATE",
        "REASON",
        "TRIES",
        "ANSWER",
        "NEXT TRY (UTC)",
    ]);
    for host in &found.hosts {
        let answer = host.last_status.map(|status| status.to_string());
        table.row(vec![
            host.host.clone(),
            host.state.clone(),
            or_dash(host.reason),
            host.attempts.to_string(),
            or_dash(&answer.unwrap_or_default()),
            at(host.next_try_at),
        ]);
    }
    let totals = found.totals.iter();
    let totals: Vec<String> = totals
        .map(|(state, total)| format!("{total} {state}"))
        .collect();
    let mut text = format!("Deliveries: {}.\n", totals.join(", "));
    if found.hosts_total > 0 {
        text += &table.render();
    }
    let _infallible = writeln!(
        text,
        "{} of {} hosts that have not got everything.",
        found.hosts.len(),
        found.hosts_total
    );
    text
}
