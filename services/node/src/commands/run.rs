//! `tidegate run`: from the ports to the exit code.

use anyhow::anyhow;

use crate::config::Config;
use crate::lifecycle::Signals;
use crate::roles::Roles;
use crate::wiring::{Database, Node, Ports};

/// What shells expect of a process that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Runs until a signal or until a part crashes.
pub(super) async fn run(config: Config, roles: Roles) -> anyhow::Result<()> {
    roles.check(&config)?;
    let mut signals = Signals::catch()?;
    let opening = open(&config, roles);
    let mut opening = std::pin::pin!(opening);
    let (opened, is_wanted) = tokio::select! {
        opened = &mut opening => (opened, true),
        signal = signals.next() => {
            tracing::info!(signal, "stopping while the database opens; a second signal stops at once");
            // A private server that is being made is finished, so that it can be stopped.
            (or_at_once(&mut signals, &mut opening).await, false)
        }
    };
    let (ports, mut database) = opened?;
    let outcome = if is_wanted {
        serve(&config, roles, ports, &mut database, &mut signals).await
    } else {
        Ok(())
    };
    let closing = std::pin::pin!(database.close());
    let closed = or_at_once(&mut signals, closing).await;
    outcome.and(closed)
}

/// Takes the ports, then the database: whoever cannot listen makes none.
async fn open(config: &Config, roles: Roles) -> anyhow::Result<(Ports, Database)> {
    let ports = Ports::take(config, roles).await?;
    let database = Database::start(config).await?;
    Ok((ports, database))
}

/// The rest of something, unless another signal comes first: that one ends the process.
async fn or_at_once<T>(signals: &mut Signals, rest: impl Future<Output = T>) -> T {
    tokio::select! {
        result = rest => result,
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            std::process::exit(INTERRUPTED)
        }
    }
}

async fn serve(
    config: &Config,
    roles: Roles,
    ports: Ports,
    database: &mut Database,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let starting = Node::start(config, roles, ports, database.pool.clone());
    let mut node = tokio::select! {
        node = starting => node?,
        signal = signals.next() => {
            tracing::info!(signal, "stopping while starting");
            return Ok(());
        }
    };
    greet(config, roles);
    let crash = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping; a second signal stops at once");
            None
        }
        error = node.crash() => Some(error),
        how = database.ended() => Some(anyhow!(how)),
    };
    let ending = async {
        match crash {
            None => node.stop(&config.shutdown).await,
            Some(error) => {
                // Readiness needs no drain: this process is broken already.
                if let Err(second) = node.end(config.shutdown.grace.0).await {
                    tracing::warn!("while ending: {second:#}");
                }
                Err(error)
            }
        }
    };
    tokio::select! {
        result = ending => result,
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            database.stop_at_once();
            std::process::exit(INTERRUPTED)
        }
    }
}

/// What somebody in front of a terminal wants to know next.
fn greet(config: &Config, roles: Roles) {
    tracing::info!(
        api = roles.api,
        fanout = roles.fanout,
        delivery = roles.delivery,
        "ready"
    );
    if !roles.api {
        return;
    }
    println!("Tidegate is ready at {}", config.instance.base_url);
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "tidegate".to_owned());
    println!(
        "  First account: sign up at {}/auth/sign_up, or type\n    \
         {program} admin account create --username NAME --email ADDRESS --role owner --confirmed",
        config.instance.base_url
    );
    if config.mail.is_folder() {
        println!("  Mails land in {}", config.data_dir.join("mail").display());
    }
    println!(
        "  Metrics and health: http://{}/metrics",
        config.metrics.listen
    );
}
