//! `tidegate admin hosts`: what is known of remote hosts, and a hand on them.

use std::fmt::Write;

use tidegate_delivery::{By, HostView, Operators, Steered, Why};

use super::table::{Table, at, counted, or_dash};
use crate::cli::{Hosts, HostsList, SteerHost};
use crate::config::Config;
use crate::wiring::{Database, operators};

pub(super) async fn execute(config: &Config, command: Hosts) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| {
            let operators = operators(config, pool).await?;
            match command {
                Hosts::List(list) => print!("{}", listed(&operators, &list).await?),
                Hosts::Show { host } => print!("{}", shown(&operators.host(&host).await?)),
                Hosts::Pause(steer) => {
                    say(&operators.pause(&steer.host, &why(&steer)?).await?);
                }
                Hosts::Resume(steer) => {
                    say(&operators.resume(&steer.host, &why(&steer)?).await?);
                }
                Hosts::Probe(steer) => {
                    say(&operators.probe(&steer.host, &why(&steer)?).await?);
                }
            }
            Ok(())
        })
        .await
}

fn why(steer: &SteerHost) -> anyhow::Result<Why> {
    Ok(Why::new(By::CommandLine, &steer.because)?)
}

fn say(steered: &Steered) {
    println!("{}.", steered.note);
}

async fn listed(operators: &Operators, list: &HostsList) -> anyhow::Result<String> {
    let filter = list.filter();
    let limit = i64::from(list.limit);
    let hosts = operators.hosts(&filter, limit, &list.after).await?;
    let total = operators.count_hosts(&filter).await?;
    let mut table = Table::new(&[
        "HOST",
        "STATE",
        "WAITING",
        "DEAD",
        "NEXT PROBE (UTC)",
        "LAST SUCCESS (UTC)",
        "LAST ERROR",
    ]);
    for host in &hosts {
        table.row(vec![
            host.host.clone(),
            state(host),
            counted(host.queued + host.parked, host.counted_to),
            counted(host.dead, host.counted_to),
            at(host.next_probe_at),
            at(host.last_success_at),
            or_dash(&host.last_error),
        ]);
    }
    let mut text = table.render();
    let _infallible = writeln!(text, "{} of {total} hosts.", hosts.len());
    if let (Some(last), true) = (hosts.last(), hosts.len() as i64 == limit) {
        let _infallible = writeln!(text, "Next page: --after {}", last.host);
    }
    Ok(text)
}

/// An operator's pause goes before what the engine learnt.
fn state(host: &HostView) -> String {
    match host.paused_at {
        Some(_) => format!("{}, paused", host.state),
        None => host.state.clone(),
    }
}

fn shown(host: &HostView) -> String {
    let rate = host.rate.map_or_else(
        || "not limited".to_owned(),
        |rate| format!("{rate:.2} requests a second"),
    );
    let lines = [
        ("host", host.host.clone()),
        ("state", state(host)),
        ("paused since (UTC)", at(host.paused_at)),
        ("paused because", or_dash(&host.paused_reason)),
        ("failing since (UTC)", at(host.failing_since)),
        ("unavailable since (UTC)", at(host.unavailable_since)),
        ("days with failed probes", host.failed_days.to_string()),
        ("next probe (UTC)", at(host.next_probe_at)),
        ("last success (UTC)", at(host.last_success_at)),
        ("last failure (UTC)", at(host.last_failure_at)),
        ("last error", or_dash(&host.last_error)),
        ("pace", rate),
        ("queued", counted(host.queued, host.counted_to)),
        ("parked", counted(host.parked, host.counted_to)),
        ("dead", counted(host.dead, host.counted_to)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _infallible = writeln!(text, "{name:<24} {}", value.escape_debug());
    }
    text
}
