//! `tidegate-loadtest`: the neighbour server of `make run`, and the simulated fediverse as a
//! process of its own.

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use http::StatusCode;
use tidegate_loadtest::{
    Sim, SimConfig, SimTls,
    bare::{self, BareOptions},
    control,
    neighbour::{Neighbour, NeighbourConfig},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use url::Url;

/// A fediverse on one port, for trying out and testing Tidegate.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three talking accounts to follow and be answered by.
    Neighbour(NeighbourOptions),
    /// The simulated fediverse, steered over HTTP (see loadtest/README.md).
    Sim(SimOptions),
    /// Signs and POSTs, nothing else: the cost that Tidegate's is compared with.
    Bare(BareArgs),
}

#[derive(Debug, clap::Args)]
struct NeighbourOptions {
    /// Listening address; Tidegate's egress has to map the neighbour's name to it.
    #[arg(long, default_value = "127.0.0.1:3900")]
    listen: SocketAddr,
    /// Base URL of the Tidegate instance.
    #[arg(long, default_value = "http://localhost:3000")]
    tidegate: Url,
    /// Host name of the neighbour.
    #[arg(long, default_value = "neighbour.test")]
    name: String,
    /// File that keeps key and followers over a restart.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Seconds between two posts of the whole house.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// More names and where they lead: NAME=ADDRESS:PORT, repeatable.
    #[arg(long, value_parser = mapping)]
    resolve: Vec<(String, SocketAddr)>,
}

#[derive(Debug, clap::Args)]
struct SimOptions {
    /// Listening address of all simulated hosts.
    #[arg(long, default_value = "127.0.0.1:3901")]
    listen: SocketAddr,
    /// Listening address of the control interface.
    #[arg(long, default_value = "127.0.0.1:3902")]
    control: SocketAddr,
    /// Names that are not simulated and where they lead: NAME=ADDRESS:PORT, repeatable.
    #[arg(long, value_parser = mapping)]
    resolve: Vec<(String, SocketAddr)>,
    /// A second port, over TLS: ADDRESS:PORT.
    #[arg(long, requires = "tls_ca")]
    tls_listen: Option<SocketAddr>,
    /// Where the certificate of the authority for it is written.
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// What a name is answered that is no simulated host: as servers do, or 503 where hosts are
    /// made only after the start and senders are to come again.
    #[arg(long, default_value = "421")]
    strangers: StatusCode,
    /// Names one label below this have a certificate.
    #[arg(long, default_value = "tls.test")]
    tls_suffix: String,
}

#[derive(Debug, clap::Args)]
struct BareArgs {
    /// Where all names lead.
    #[arg(long)]
    address: SocketAddr,
    /// Hosts are h0.SUFFIX, h1.SUFFIX ...
    #[arg(long)]
    suffix: String,
    /// How many of them.
    #[arg(long, default_value_t = 1_000)]
    hosts: usize,
    /// Activities, each to every host.
    #[arg(long, default_value_t = 10)]
    activities: usize,
    /// Requests under way at most.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 2_048)]
    body_bytes: usize,
}

fn mapping(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("write it as NAME=ADDRESS:PORT")?;
    let address = address
        .parse()
        .map_err(|_| format!("{address} is not ADDRESS:PORT"))?;
    Ok((name.to_owned(), address))
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let result = match Options::parse().command {
        Command::Neighbour(options) => run_neighbour(options).await,
        Command::Sim(options) => run_sim(options).await,
        Command::Bare(args) => run_bare(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_neighbour(options: NeighbourOptions) -> anyhow::Result<()> {
    let pause = Duration::from_secs(options.every);
    let neighbour = Neighbour::start(&NeighbourConfig {
        listen: options.listen,
        tidegate: options.tidegate,
        name: options.name,
        resolve: options.resolve.into_iter().collect(),
        state: options.state,
    })
    .await?;
    for handle in neighbour.handles() {
        println!("follow @{handle}");
    }
    neighbour.live(pause, stopped()).await;
    Ok(())
}

async fn run_sim(options: SimOptions) -> anyhow::Result<()> {
    let sim = Sim::start(SimConfig {
        listen: options.listen,
        resolve: options.resolve.into_iter().collect(),
        strangers: options.strangers,
        tls: options
            .tls_listen
            .zip(options.tls_ca)
            .map(|(listen, ca_file)| SimTls {
                listen,
                suffix: options.tls_suffix,
                ca_file,
            }),
        ..SimConfig::default()
    })
    .await?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        stopped().await;
        on_signal.cancel();
    });
    control::serve(sim.clone(), options.control, stop.cancelled_owned()).await?;
    sim.shutdown().await;
    Ok(())
}

async fn run_bare(args: BareArgs) -> anyhow::Result<()> {
    let options = BareOptions {
        address: args.address,
        suffix: args.suffix,
        hosts: args.hosts,
        activities: args.activities,
        in_flight: args.in_flight,
        body_bytes: args.body_bytes,
    };
    let result = bare::run(&options).await?;
    println!("{}", serde_json::to_string(&result)?);
    Ok(())
}

/// Done when the process is asked to stop.
async fn stopped() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // Then Ctrl-C has to do.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
